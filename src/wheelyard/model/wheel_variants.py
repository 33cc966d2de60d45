"""
Wheel variants (PEP 825, a draft): the `variant.json` of a wheel, and the document of a release.

Each wheel with a label has a `variant.json` with the properties of this label. A release has one
document with all labels, `NAME-VERSION-variants.json`, by which a client chooses among the wheels.
The document of a release is made from the `variant.json` of its wheels. Its bytes do not depend on
the order of the wheels, and it can always be made again. Two keys that PEP 825 does not have are
accepted, as uv reads them: `providers`, which uv needs, and `static-properties`. For any other key,
uv refuses the whole release.
"""

import json
import re
from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any, Final, TypeAlias

from wheelyard.errors import Invalid, quoted
from wheelyard.model.distribution_filename import LABEL_LIMIT

VariantDocument: TypeAlias = Mapping[str, Any]
"""A valid `variant.json` in canonical form, or several of them joined."""

WHEEL_LIMIT: Final = 256 * 1024
"""The most bytes of the `variant.json` of a wheel."""
RELEASE_LIMIT: Final = 1024 * 1024
"""The most bytes of the document of a release."""
MAX_DEPTH: Final = 12
"""How deep objects and lists may be nested."""
SCHEMA_LIMIT: Final = 256
"""The most characters of the URL of the schema."""
NULL: Final = "null"
"""The label of the wheel without properties, which fits every machine."""
VARIANT_CONFLICT: Final = "variant_conflict"
"""The code of an Invalid for a wheel that does not fit the others of its release."""

_SCHEMA: Final = "$schema"
_PRIORITIES: Final = "default-priorities"
_NAMESPACE: Final = "namespace"
_VARIANTS: Final = "variants"
_STANDARD_KEYS: Final = frozenset({_SCHEMA, _PRIORITIES, _VARIANTS})
_PROVIDERS: Final = "providers"
_STATIC_PROPERTIES: Final = "static-properties"
_URL: Final = re.compile(rf"https://[!-~]{{1,{SCHEMA_LIMIT}}}")
_LABEL: Final = re.compile(rf"[0-9a-z_.]{{1,{LABEL_LIMIT}}}")
_NAME: Final = re.compile("[a-z0-9_]+")
_VALUE: Final = re.compile("[a-z0-9_.]+")


def parse_variant(raw: bytes, label: str) -> VariantDocument:
    """
    Return the `variant.json` of the wheel with a label.

    Raises Invalid (code `invalid_variant`) if the JSON is malformed, too long or too deep, or not
    about exactly this label.
    """
    document = _require_object(_decode_strictly(raw), "it")
    schema = document.get(_SCHEMA)
    if not isinstance(schema, str) or not _URL.fullmatch(schema):
        raise _malformed_error(f"{_SCHEMA} is no https URL")
    priorities = _require_object(document.get(_PRIORITIES), _PRIORITIES)
    order = _require_texts(priorities.get(_NAMESPACE), f"{_PRIORITIES}.{_NAMESPACE}", _NAME)
    _require_no_other_key(priorities, (_NAMESPACE,), _PRIORITIES)
    variants = _require_object(document.get(_VARIANTS), _VARIANTS)
    if list(variants) != [label] or not _LABEL.fullmatch(label):
        raise _malformed_error(
            f"{_VARIANTS} has not exactly the label of the filename, {quoted(label)}"
        )
    properties = _properties(_require_object(variants[label], f"{_VARIANTS}.{label}"), order)
    if (label == NULL) != (not properties):
        raise _malformed_error(f"the label {NULL}, and no other, has no properties")
    extras = _checked_extras(document, order)
    return {_SCHEMA: schema, _PRIORITIES: priorities, _VARIANTS: {label: properties}, **extras}


def _checked_extras(document: Mapping[str, Any], namespaces: Iterable[str]) -> dict[str, Any]:
    """Return the keys that PEP 825 does not have, or raise Invalid for a key that uv refuses."""
    extras = {key: value for key, value in document.items() if key not in _STANDARD_KEYS}
    _require_no_other_key(extras, (_PROVIDERS, _STATIC_PROPERTIES), "it")
    if _PROVIDERS in extras:
        providers = _require_object(extras[_PROVIDERS], _PROVIDERS)
        if providers.keys() != set(namespaces):
            raise _malformed_error(f"{_PROVIDERS} has not exactly the namespaces of {_PRIORITIES}")
        for namespace, provider in providers.items():
            _require_object(provider, f"{_PROVIDERS}.{namespace}")
    if _STATIC_PROPERTIES in extras:
        _require_object(extras[_STATIC_PROPERTIES], _STATIC_PROPERTIES)
    return extras


def _properties(
    namespaces: Mapping[str, Any], order: Iterable[str]
) -> dict[str, dict[str, list[str]]]:
    """Return the values of each feature by namespace, or raise Invalid if they are malformed."""
    properties = dict[str, dict[str, list[str]]]()
    for namespace, features in namespaces.items():
        if namespace not in order:
            raise _malformed_error(f"{_PRIORITIES}.{_NAMESPACE} lacks {quoted(namespace)}")
        if not _require_object(features, f"the namespace {quoted(namespace)}"):
            raise _malformed_error(f"the namespace {quoted(namespace)} has no feature")
        properties[namespace] = {}
        for feature, values in features.items():
            if not _NAME.fullmatch(feature):
                raise _malformed_error(f"the feature {quoted(feature)} is not of {_NAME.pattern}")
            # sorted, as two orders of one set are no contradiction
            place = f"the feature {quoted(feature)} of {quoted(namespace)}"
            properties[namespace][feature] = sorted(_require_texts(values, place, _VALUE))
    return properties


def missing_variant(label: str) -> Invalid:
    """Return the error (code `invalid_variant`) for a wheel with a label and no `variant.json`."""
    return _malformed_error(
        f"there is none beside METADATA, and the filename has the label {label}"
    )


def read_variant(record: bytes) -> VariantDocument:
    """Return a document from the JSON of `encode_variant`. Raises ValueError for damaged JSON."""
    document: VariantDocument = json.loads(record)
    return document


def encode_variant(document: VariantDocument) -> bytes:
    """Return the JSON of a document. Equal documents have equal bytes."""
    return _encode_canonically(document)


def join_variants(release: VariantDocument, added: VariantDocument) -> VariantDocument:
    """
    Return two documents of a release joined, with the same result in either order.

    Raises Invalid (code `variant_conflict`) if the documents contradict each other. The length of
    the result is checked by `require_short`.
    """
    if release[_SCHEMA] != added[_SCHEMA]:
        # versions of a draft promise nothing to each other
        raise _conflict_error(
            f"{_SCHEMA} is {quoted(added[_SCHEMA])}, and {quoted(release[_SCHEMA])}"
        )
    order = _joined_order(release[_PRIORITIES][_NAMESPACE], added[_PRIORITIES][_NAMESPACE])
    variants = dict(release[_VARIANTS])
    for label, properties in added[_VARIANTS].items():
        if variants.setdefault(label, properties) != properties:
            raise _conflict_error(f"the label {quoted(label)} has other properties")
    extras = dict[str, Any]()
    for key in (release.keys() | added.keys()) - _STANDARD_KEYS:
        extras[key] = _joined_members(release.get(key, {}), added.get(key, {}), key)
    return {
        _SCHEMA: release[_SCHEMA],
        _PRIORITIES: {_NAMESPACE: order},
        **extras,
        _VARIANTS: variants,
    }


def require_short(release: VariantDocument) -> None:
    """Raise Invalid (code `variant_conflict`) if the document of a release is too long."""
    if len(encode_variant(release)) > RELEASE_LIMIT:
        raise _conflict_error(f"together they have more than {RELEASE_LIMIT} bytes")


def _joined_order(order: list[str], added_order: list[str]) -> list[str]:
    """Return the longer of two orders, or raise Invalid unless it begins with the shorter."""
    short, long = sorted((order, added_order), key=len)
    # any other way to join two orders would depend on which wheel came first
    if long[: len(short)] != short:
        orders = f"{quoted(', '.join(added_order))} and {quoted(', '.join(order))}"
        raise _conflict_error(f"{_PRIORITIES}.{_NAMESPACE} has two orders, {orders}")
    return long


def _joined_members(
    members: Mapping[str, Any], added_members: Mapping[str, Any], key_of_object: str
) -> Mapping[str, Any]:
    """Return the members of two objects, or raise Invalid if they contradict each other."""
    # compared as bytes, as for Python 1 and true are equal
    for key in members.keys() & added_members.keys():
        if _encode_canonically(members[key]) != _encode_canonically(added_members[key]):
            raise _conflict_error(f"{quoted(key_of_object)} says something else")
    return {**members, **added_members}


def _decode_strictly(raw: bytes) -> object:
    """Return the value of a JSON text, or raise Invalid if other readers may read another value."""
    if len(raw) > WHEEL_LIMIT:
        raise _malformed_error(f"it has more than {WHEEL_LIMIT} bytes")
    try:
        value: object = json.loads(
            raw.decode(),
            object_pairs_hook=_object_with_unique_keys,
            parse_constant=_refuse_number,
            parse_float=_finite_number,
        )
        # raises for half of a surrogate pair, which not every reader takes
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise _malformed_error("it is no JSON in UTF-8") from error
    if _depth(value) > MAX_DEPTH:
        raise _malformed_error(f"it is nested more than {MAX_DEPTH} times")
    return value


def _encode_canonically(value: object) -> bytes:
    """Return the JSON of a value, whose bytes do not depend on the order of its keys."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _object_with_unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the members of an object, or raise Invalid if a key is there twice."""
    # of two members with one key, some readers take the first, and others the last
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _malformed_error("an object has a key twice")
    return members


def _refuse_number(text: str) -> object:
    """Raise Invalid for `NaN` or `Infinity`, which Python takes and JSON does not have."""
    raise _malformed_error(f"{text} is no number of JSON")


def _finite_number(text: str) -> float:
    """Return a number with a point or an exponent, or raise Invalid if the number is too large."""
    number = float(text)
    if not isfinite(number):
        raise _malformed_error("it has a number that is too large")
    return number


def _depth(value: object) -> int:
    """Return how deep lists and objects are nested."""
    depth = 0
    values_of_level = [value]
    # without recursion, as a stranger decides about the depth
    while values_of_level:
        inner_values = list[object]()
        for outer_value in values_of_level:
            if isinstance(outer_value, dict):
                inner_values += outer_value.values()
            elif isinstance(outer_value, list):
                inner_values += outer_value
        values_of_level = inner_values
        depth += 1
    return depth


def _require_object(value: object, place: str) -> dict[str, Any]:
    """Return a value that is an object, or raise Invalid. `place` names the value in the error."""
    if not isinstance(value, dict):
        raise _malformed_error(f"{place} is no object")
    return value


def _require_no_other_key(value: Mapping[str, Any], keys: Iterable[str], place: str) -> None:
    """Raise Invalid if an object, which is at `place`, has another key than `keys`."""
    unknown_keys = sorted(value.keys() - set(keys))
    if unknown_keys:
        raise _malformed_error(f"{place} has the unknown key {quoted(unknown_keys[0])}")


def _require_texts(value: object, place: str, pattern: re.Pattern[str]) -> list[str]:
    """Return a value that is a list of different texts, at least one, or raise Invalid."""
    if not isinstance(value, list) or not value:
        raise _malformed_error(f"{place} is no list with an entry")
    for text in value:
        if not isinstance(text, str) or not pattern.fullmatch(text):
            raise _malformed_error(f"{place} has an entry that is not of {pattern.pattern}")
    if len(set(value)) != len(value):
        raise _malformed_error(f"{place} has an entry twice")
    return value


def _malformed_error(why: str) -> Invalid:
    """Return the error (code `invalid_variant`) about the `variant.json` of a wheel."""
    return Invalid(
        f"The variant.json of the wheel is not valid: {why}. Build the wheel again with a current "
        "build tool.",
        code="invalid_variant",
    )


def _conflict_error(why: str) -> Invalid:
    """Return the error (code `variant_conflict`) about wheels that contradict each other."""
    return Invalid(
        "The variant.json of the wheel does not fit those of the other wheels of the release: "
        f"{why}. Build all wheels of a release with the same variants, and use a new version.",
        code=VARIANT_CONFLICT,
    )
