"""
Wheel variants (PEP 825, a draft): the `variant.json` of a wheel, and the document of a release.

Each wheel with a label has a `variant.json` with the properties of this label. A release has one
document with all labels, `NAME-VERSION-variants.json`, by which a client chooses among the wheels.
It is made from those of the wheels, has the same bytes in whatever order they come, and is never
kept as truth. Two keys that PEP 825 does not have are carried on, as uv reads them: `providers`,
which it needs, and `static-properties`. For any other key, uv refuses the whole release.
"""

import json
import re
from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any, Final, TypeAlias

from wheelyard.errors import Invalid, quoted
from wheelyard.model.distribution_filename import LABEL_LIMIT

VariantDocument: TypeAlias = Mapping[str, Any]
"""A valid `variant.json` in canonical form, or what several of them say together."""

WHEEL_LIMIT: Final = 256 * 1024
"""Bytes of the `variant.json` of a wheel."""
RELEASE_LIMIT: Final = 1024 * 1024
"""Bytes of the document of a release."""
MAX_DEPTH: Final = 12
"""Nested objects and lists."""
SCHEMA_LIMIT: Final = 256
"""Characters of the URL of the schema."""
NULL: Final = "null"
"""The label of the wheel without properties, which is for every machine."""
VARIANT_CONFLICT: Final = "variant_conflict"
"""The code of an Invalid for a wheel that does not fit the others of its release."""

_SCHEMA: Final = "$schema"
_PRIORITIES: Final = "default-priorities"
_NAMESPACE: Final = "namespace"
_VARIANTS: Final = "variants"
_KNOWN: Final = frozenset({_SCHEMA, _PRIORITIES, _VARIANTS})
_PROVIDERS: Final = "providers"
_STATIC_PROPERTIES: Final = "static-properties"
_URL: Final = re.compile(rf"https://[!-~]{{1,{SCHEMA_LIMIT}}}")
_LABEL: Final = re.compile(rf"[0-9a-z_.]{{1,{LABEL_LIMIT}}}")
_NAME: Final = re.compile("[a-z0-9_]+")
_VALUE: Final = re.compile("[a-z0-9_.]+")


def parse_variant(raw: bytes, label: str) -> VariantDocument:
    """
    Return the `variant.json` of the wheel with a label.

    Raises Invalid (code `invalid_variant`) if it is malformed, too long or too deep, or not about
    exactly this label.
    """
    document = _object(_decode(raw), "it")
    schema = document.get(_SCHEMA)
    if not isinstance(schema, str) or not _URL.fullmatch(schema):
        raise _malformed(f"{_SCHEMA} is no https URL")
    priorities = _object(document.get(_PRIORITIES), _PRIORITIES)
    order = _texts(priorities.get(_NAMESPACE), f"{_PRIORITIES}.{_NAMESPACE}", _NAME)
    _require_no_other_key(priorities, (_NAMESPACE,), _PRIORITIES)
    variants = _object(document.get(_VARIANTS), _VARIANTS)
    if list(variants) != [label] or not _LABEL.fullmatch(label):
        raise _malformed(f"{_VARIANTS} has not exactly the label of the filename, {quoted(label)}")
    properties = _properties(_object(variants[label], f"{_VARIANTS}.{label}"), order)
    if (label == NULL) != (not properties):
        raise _malformed(f"the label {NULL}, and no other, has no properties")
    extras = {key: value for key, value in document.items() if key not in _KNOWN}
    _require_no_other_key(extras, (_PROVIDERS, _STATIC_PROPERTIES), "it")
    if _PROVIDERS in extras:
        providers = _object(extras[_PROVIDERS], _PROVIDERS)
        if providers.keys() != set(order):
            raise _malformed(f"{_PROVIDERS} has not exactly the namespaces of {_PRIORITIES}")
        for namespace, provider in providers.items():
            _object(provider, f"{_PROVIDERS}.{namespace}")
    if _STATIC_PROPERTIES in extras:
        _object(extras[_STATIC_PROPERTIES], _STATIC_PROPERTIES)
    return {_SCHEMA: schema, _PRIORITIES: priorities, _VARIANTS: {label: properties}, **extras}


def _properties(
    namespaces: Mapping[str, Any], order: Iterable[str]
) -> dict[str, dict[str, list[str]]]:
    """Return the values of each feature by namespace, or raise Invalid if they are malformed."""
    properties = dict[str, dict[str, list[str]]]()
    for namespace, features in namespaces.items():
        if namespace not in order:
            raise _malformed(f"{_PRIORITIES}.{_NAMESPACE} lacks {quoted(namespace)}")
        if not _object(features, f"the namespace {quoted(namespace)}"):
            raise _malformed(f"the namespace {quoted(namespace)} has no feature")
        properties[namespace] = {}
        for feature, values in features.items():
            if not _NAME.fullmatch(feature):
                raise _malformed(f"the feature {quoted(feature)} is not of {_NAME.pattern}")
            # sorted, as two orders of one set are no contradiction
            what = f"the feature {quoted(feature)} of {quoted(namespace)}"
            properties[namespace][feature] = sorted(_texts(values, what, _VALUE))
    return properties


def missing_variant(label: str) -> Invalid:
    """Return the error (code `invalid_variant`) for a wheel with a label and no `variant.json`."""
    return _malformed(f"there is none beside METADATA, and the filename has the label {label}")


def read_variant(record: bytes) -> VariantDocument:
    """Return the document of which `encode_variant` has made JSON. Raises ValueError if damaged."""
    document: VariantDocument = json.loads(record)
    return document


def encode_variant(document: VariantDocument) -> bytes:
    """Return the JSON of a document, whose bytes follow from what it says."""
    return _canonical(document)


def join_variants(release: VariantDocument, other: VariantDocument) -> VariantDocument:
    """
    Return what two documents say together, in whatever order.

    Raises Invalid (code `variant_conflict`) if they contradict each other. Whether they are too
    long together is for `require_short` to say.
    """
    if release[_SCHEMA] != other[_SCHEMA]:
        # versions of a draft promise nothing to each other
        raise _conflict(f"{_SCHEMA} is {quoted(other[_SCHEMA])}, and {quoted(release[_SCHEMA])}")
    order = _joined_order(release[_PRIORITIES][_NAMESPACE], other[_PRIORITIES][_NAMESPACE])
    variants = dict(release[_VARIANTS])
    for label, properties in other[_VARIANTS].items():
        if variants.setdefault(label, properties) != properties:
            raise _conflict(f"the label {quoted(label)} has other properties")
    united = dict[str, Any]()
    for key in (release.keys() | other.keys()) - _KNOWN:
        united[key] = _united(release.get(key, {}), other.get(key, {}), key)
    return {
        _SCHEMA: release[_SCHEMA],
        _PRIORITIES: {_NAMESPACE: order},
        **united,
        _VARIANTS: variants,
    }


def require_short(release: VariantDocument) -> None:
    """Raise Invalid (code `variant_conflict`) if the document of a release is too long."""
    if len(encode_variant(release)) > RELEASE_LIMIT:
        raise _conflict(f"together they have more than {RELEASE_LIMIT} bytes")


def _joined_order(order: list[str], other: list[str]) -> list[str]:
    """Return the longer of two orders, or raise Invalid unless it begins with the shorter."""
    short, long = sorted((order, other), key=len)
    # any other way to join two orders would depend on which wheel came first
    if long[: len(short)] != short:
        orders = f"{quoted(', '.join(other))} and {quoted(', '.join(order))}"
        raise _conflict(f"{_PRIORITIES}.{_NAMESPACE} has two orders, {orders}")
    return long


def _united(members: Mapping[str, Any], other: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """Return what two objects say together, or raise Invalid if they contradict each other."""
    # as bytes: for Python, 1 and true are equal
    for key in members.keys() & other.keys():
        if _canonical(members[key]) != _canonical(other[key]):
            raise _conflict(f"{quoted(where)} says something else")
    return {**members, **other}


def _decode(raw: bytes) -> object:
    """Return the value of a JSON text that every reader takes for the same."""
    if len(raw) > WHEEL_LIMIT:
        raise _malformed(f"it has more than {WHEEL_LIMIT} bytes")
    try:
        value: object = json.loads(
            raw.decode(),
            object_pairs_hook=_unique,
            parse_constant=_refuse_number,
            parse_float=_finite,
        )
        # not every reader takes half of a pair of surrogates
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise _malformed("it is no JSON in UTF-8") from error
    if _depth(value) > MAX_DEPTH:
        raise _malformed(f"it is nested more than {MAX_DEPTH} times")
    return value


def _canonical(value: object) -> bytes:
    """Return the JSON of a value, whose bytes do not depend on the order of its keys."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the members of an object, or raise Invalid if a key is there twice."""
    # of two with one key, some readers take the first, and others the last
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _malformed("an object has a key twice")
    return members


def _refuse_number(text: str) -> object:
    raise _malformed(f"{text} is no number of JSON")


def _finite(text: str) -> float:
    """Return a number with a point or an exponent, or raise Invalid if it is too large."""
    number = float(text)
    if not isfinite(number):
        raise _malformed("it has a number that is too large")
    return number


def _depth(value: object) -> int:
    """Return how deep lists and objects are nested, without recursion."""
    depth = 0
    level = [value]
    while level:
        inner = list[object]()
        for member in level:
            if isinstance(member, dict):
                inner += member.values()
            elif isinstance(member, list):
                inner += member
        level = inner
        depth += 1
    return depth


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _malformed(f"{what} is no object")
    return value


def _require_no_other_key(value: Mapping[str, Any], names: Iterable[str], what: str) -> None:
    unknown = sorted(value.keys() - set(names))
    if unknown:
        raise _malformed(f"{what} has the unknown key {quoted(unknown[0])}")


def _texts(value: object, what: str, pattern: re.Pattern[str]) -> list[str]:
    """Return a list of different texts, at least one, or raise Invalid if it is none."""
    if not isinstance(value, list) or not value:
        raise _malformed(f"{what} is no list with an entry")
    for text in value:
        if not isinstance(text, str) or not pattern.fullmatch(text):
            raise _malformed(f"{what} has an entry that is not of {pattern.pattern}")
    if len(set(value)) != len(value):
        raise _malformed(f"{what} has an entry twice")
    return value


def _malformed(why: str) -> Invalid:
    return Invalid(
        f"The variant.json of the wheel is not valid: {why}. Build the wheel again with a current "
        "build tool.",
        code="invalid_variant",
    )


def _conflict(why: str) -> Invalid:
    return Invalid(
        "The variant.json of the wheel does not fit those of the other wheels of the release: "
        f"{why}. Build all wheels of a release with the same variants, and use a new version.",
        code=VARIANT_CONFLICT,
    )
