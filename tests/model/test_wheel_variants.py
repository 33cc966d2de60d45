"""The `variant.json` of a wheel, and what several of them say together."""

import json
import reprlib
from collections.abc import Iterable
from functools import reduce
from itertools import permutations
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.refused import refused
from tests.variants.wheels import variant_json
from wheelyard.errors import Invalid
from wheelyard.model.wheel_variants import (
    MAX_DEPTH,
    WHEEL_LIMIT,
    VariantDocument,
    encode_variant,
    join_variants,
    parse_variant,
    read_variant,
)

ORDER = {"namespace": ["x86_64", "nvidia"]}
NAMES = st.text("abz019_", min_size=1, max_size=6)
VALUES = st.lists(st.text("abz019_.", min_size=1, max_size=6), min_size=1, max_size=3, unique=True)
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text("aä€\0", max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=4,
)


def parsed(label: str, **changes: object) -> VariantDocument:
    """Return the parsed `variant.json` of a label."""
    return parse_variant(json.dumps(variant_json(label, **changes)).encode(), label)


def joined(documents: Iterable[VariantDocument]) -> bytes | str:
    """Return the JSON of what documents say together, or the code of the error."""
    try:
        return encode_variant(reduce(join_variants, documents))
    except Invalid as refusal:
        return refusal.code


def code_of(raw: bytes, label: str = "v3") -> str:
    """Return the code with which a `variant.json` is refused."""
    with pytest.raises(Invalid) as refusal:
        parse_variant(raw, label)
    return refusal.value.code


@pytest.mark.parametrize(
    ("label", "changes"),
    [
        ("v3", {"variants": {"v2": {"x86_64": {"level": ["v2"]}}}}),
        ("v3", {"variants": {"v3": {}, "v2": {}}}),
        ("v3", {"variants": {"v3": {}}}),
        ("v3", {"variants": {"v3": {"x86_64": {}}}}),
        ("v3", {"variants": {"v3": {"x86_64": []}}}),
        ("v3", {"variants": {"v3": {"blas": {"library": ["mkl"]}}}}),
        ("v3", {"variants": {"v3": {"x86_64": {"level": []}}}}),
        ("v3", {"variants": {"v3": {"x86_64": {"level": "v3"}}}}),
        ("v3", {"variants": {"v3": {"x86_64": {"level": ["V3"]}}}}),
        ("v3", {"variants": {"v3": {"x86_64": {"level": ["v3", "v3"]}}}}),
        ("v3", {"variants": {"v3": {"x86_64": {"Level": ["v3"]}}}}),
        ("v3", {"variants": {"v3": {"x86_64": {"level\n": ["v3"]}}}}),
        ("v3", {"variants": []}),
        ("v3", {"default-priorities": {}}),
        ("v3", {"default-priorities": {"namespace": []}}),
        ("v3", {"default-priorities": {"namespace": ["x86_64", "x86_64"]}}),
        ("v3", {"default-priorities": {"namespace": ["x86_64", 1]}}),
        ("v3", {"default-priorities": {"namespace": ["x86_64"], "feature": {}}}),
        ("v3", {"providers": 1}),
        ("v3", {"providers": {}}),
        ("v3", {"providers": {"x86_64": None}}),
        ("v3", {"providers": {"x86_64": {}, "nvidia": {}}}),
        ("v3", {"static-properties": []}),
        ("v3", {"more": 1}),
        ("v3", {"$schema": None}),
        ("v3", {"$schema": "http://example.com"}),
        ("v3", {"$schema": "https://example.com/\n"}),
        ("null", {"variants": {"null": {"x86_64": {"level": ["v3"]}}}}),
        ("v3\n", {}),
    ],
)
def test_a_malformed_one_is_refused(label: str, changes: dict[str, Any]) -> None:
    """A `variant.json` that is not about exactly the label of its wheel is refused."""
    assert code_of(json.dumps(variant_json(label, **changes)).encode(), label) == "invalid_variant"


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "it is no JSON"),
        (b"[]", "it is no object"),
        (b"\xff", "it is no JSON"),
        (b'{"a": 1, "a": 2}', "an object has a key twice"),
        (b'{"a": {"b": 1, "b": 1}}', "an object has a key twice"),
        (b'{"a": NaN}', "NaN is no number of JSON"),
        (b'{"a": 1e999}', "it has a number that is too large"),
        (b'{"a": ' + b"1" * 5000 + b"}", "it is no JSON"),
        (b'{"a": "\\ud800"}', "it is no JSON"),
        (b'{"a":' * 9000 + b"1" + b"}" * 9000, "it is no JSON"),
        (b'{"a":' * 13 + b"1" + b"}" * 13, f"it is nested more than {MAX_DEPTH} times"),
        (b" " * WHEEL_LIMIT + b"{}", f"it has more than {WHEEL_LIMIT} bytes"),
    ],
    ids=[
        *("empty", "a list", "no UTF-8", "key twice", "inner key twice", "NaN", "infinite"),
        *("long number", "surrogate", "far too deep", "too deep", "too long"),
    ],
)
def test_json_that_readers_take_differently_is_refused(raw: bytes, why: str) -> None:
    """JSON that is too deep or large, or that readers take for different values, is refused."""
    with refused(Invalid, "invalid_variant", why):
        parse_variant(raw, "v3")


def test_the_release_has_the_labels_of_all_its_wheels() -> None:
    """The document of a release has all labels, and the longer order of namespaces."""
    providers = {"x86_64": {"requires": ["p"]}}
    documents = [
        parsed("v3", **{"default-priorities": ORDER}),
        parsed("v2", providers=providers),
        parsed("null", providers=providers),
    ]
    (result,) = {joined(order) for order in permutations(documents)}
    assert isinstance(result, bytes)
    assert json.loads(result) == {
        "$schema": documents[0]["$schema"],
        "default-priorities": ORDER,
        "providers": providers,
        "variants": {"v2": {"x86_64": {"level": ["v2"]}}, "v3": {"x86_64": {"level": ["v3"]}}}
        | {"null": {}},
    }


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"variants": {"v3": {"x86_64": {"level": ["v4"]}}}}),
        ({}, {"$schema": "https://variants-schema.example.com/v0.2.0.json"}),
        (
            {"default-priorities": ORDER},
            {"default-priorities": {"namespace": ["nvidia", "x86_64"]}},
        ),
        ({"providers": {"x86_64": {"a": 1}}}, {"providers": {"x86_64": {"a": True}}}),
        ({"static-properties": {"a": 1}}, {"static-properties": {"a": True}}),
    ],
    ids=reprlib.repr,
)
def test_contradictions_are_refused(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Two wheels that say different things of one release do not fit."""
    documents = [parsed("v3", **one), parsed("v3", **other)]
    assert {joined(order) for order in permutations(documents)} == {"variant_conflict"}


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """Draw a valid `variant.json` with its label, much of which two draws have in common."""
    order = draw(st.sampled_from((["a"], ["a", "b"], ["a", "c"], ["b", "a"])))
    features = st.dictionaries(NAMES, VALUES, min_size=1, max_size=2)
    properties = draw(st.dictionaries(st.sampled_from(order), features, min_size=1, max_size=2))
    label = draw(st.sampled_from(("v2", "v3", "cu.12")))
    others = dict[str, Any]()
    if draw(st.booleans()):
        provider = st.dictionaries(st.sampled_from(("requires", "plugin-api")), JSON)
        others["providers"] = {namespace: draw(provider) for namespace in order}
    if draw(st.booleans()):
        others["static-properties"] = draw(st.dictionaries(NAMES, JSON, max_size=2))
    priorities = {"namespace": order}
    changes = {"default-priorities": priorities, "variants": {label: properties}}
    return label, variant_json(label, **others, **changes)


@given(st.lists(documents(), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_the_order_of_the_wheels_does_not_matter(
    drawn: list[tuple[str, dict[str, Any]]], random: Random
) -> None:
    """Whatever order wheels come in, they fit or not, and the document has the same bytes."""
    parts = [parse_variant(json.dumps(raw).encode(), label) for label, raw in drawn]
    mixed = random.sample(parts, len(parts))

    result = joined(parts)

    assert joined(mixed) == result
    # one that is there already changes nothing
    assert joined([*parts, *mixed]) == result
    if isinstance(result, bytes):
        assert joined([read_variant(result)]) == result
        # what fits together still does when a wheel is deleted
        assert isinstance(joined(mixed[:1]), bytes)


@given(documents())
def test_the_kept_form_says_the_same(drawn: tuple[str, dict[str, Any]]) -> None:
    """The form of a `variant.json` that is kept beside a wheel is read and kept again unchanged."""
    label, raw = drawn
    document = parse_variant(json.dumps(raw).encode(), label)
    kept = encode_variant(document)
    assert read_variant(kept) == document
    assert encode_variant(parse_variant(kept, label)) == kept


@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_parsed_or_refused(raw: bytes) -> None:
    """No bytes end in anything but a document or a refusal."""
    assert code_of(raw) == "invalid_variant"
