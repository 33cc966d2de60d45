"""Licences: what core metadata says, and which licences a pattern blocks."""

import reprlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.licenses import canonicalize_license_expression
from packaging.utils import NormalizedName

from wheelyard.errors import Invalid
from wheelyard.model.licences import UNKNOWN, UNREADABLE, licence_of, parse_licence_patterns

AGPL = "Classifier: License :: OSI Approved :: GNU Affero General Public License v3"
GPL = "Classifier: License :: OSI Approved :: GNU General Public License (GPL)"
CC0 = "Classifier: License :: CC0 1.0 Universal (CC0 1.0) Public Domain Dedication"
MIT = "Classifier: License :: OSI Approved :: MIT License"

LEAVES = ("MIT", "Apache-2.0", "GPL-2.0-only", "GPL-3.0-or-later")
EXPRESSIONS = st.recursive(
    st.sampled_from(LEAVES),
    lambda part: st.tuples(part, st.sampled_from(("AND", "OR")), part),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("licence", "is_blocked"),
    [
        ("MIT", False),
        ("AGPL-3.0-only", True),
        ("AGPL-3.0", True),  # its id before 2018
        ("AGPL-3.0-or-later", False),
        ("AGPL-3.0+", False),  # its id before 2018
        ("GPL-2.0-or-later", True),
        ("LGPL-3.0-only", False),
        ("MIT OR GPL-3.0", False),
        ("MIT AND GPL-3.0", True),
        ("GPL-3.0-only AND MIT OR Apache-2.0", False),
        ("(MIT OR GPL-3.0-only) AND AGPL-3.0-only", True),
        ("GPL-2.0-only WITH Classpath-exception-2.0", True),
        ("(" * 3000 + "GPL-2.0-only" + ")" * 3000, True),
        (UNKNOWN, False),
    ],
)
def test_a_licence_is_blocked_without_another_choice(licence: str, *, is_blocked: bool) -> None:
    """A licence is blocked if no choice remains but a blocked one; an unknown one is not."""
    assert parse_licence_patterns(["AGPL-3.0-only", "gpl-*"]).blocks(licence) is is_blocked


def test_blocking_unknown_leaves_known_licences() -> None:
    """Whoever blocks `unknown` gets only releases whose licence is known."""
    patterns = parse_licence_patterns(["unknown"])
    assert patterns.blocks(UNKNOWN)
    assert not patterns.blocks("MIT")


@pytest.mark.parametrize("text", ["GPL", "AGLP-*", "MIT OR Apache-2.0", "", "(MIT)"])
def test_a_pattern_that_matches_no_licence_is_refused(text: str) -> None:
    """A pattern that matches no licence of SPDX is refused, so that it does not go unnoticed."""
    with pytest.raises(Invalid, match="is no licence of SPDX"):
        parse_licence_patterns([text])


@pytest.mark.parametrize(
    ("fields", "licence"),
    [
        (["License-Expression: mit or apache-2.0", AGPL], "MIT OR Apache-2.0"),
        ([AGPL], "AGPL-3.0-only"),
        ([f"{AGPL} or later (AGPLv3+)"], "AGPL-3.0-or-later"),
        ([GPL], "GPL-1.0-or-later"),
        ([CC0], "CC0-1.0"),
        ([MIT, AGPL], "MIT OR AGPL-3.0-only"),
        ([MIT, "Classifier: License :: OSI Approved"], "MIT"),
        ([MIT, "Classifier: License :: Other/Proprietary License"], UNKNOWN),
        (["License: GPLv3+"], "GPL-3.0-or-later"),
        (["License: MIT License"], "MIT"),
        (["License: bsd-3-clause"], "BSD-3-Clause"),
        (["License: see LICENSE.txt"], UNKNOWN),
        (["License: MIT" + " and much more" * 20], UNKNOWN),
        (["License: " + " OR ".join(["MIT", "Apache-2.0"] * 10)], UNKNOWN),
        ([], UNKNOWN),
    ],
)
def test_the_expression_counts_before_classifiers(fields: list[str], licence: str) -> None:
    """The expression counts; else classifiers and `License`, if each means one licence."""
    raw = "\n".join(["Metadata-Version: 2.4", "Name: x", "Version: 1", *fields, "", ""])
    assert licence_of(raw.encode(), NormalizedName("x"), "1") == licence


@pytest.mark.parametrize(
    "fields",
    [
        ["License-Expression: " + " OR ".join(["MIT"] * 20_000)],
        ["License-Expression: MIT", "License-Expression: AGPL-3.0-only"],
        ["License-Expression: MIT", "license-expression : MIT"],
        ["License-Expression: free as in beer"],
        ["License-Expression:", " not a licence", MIT],
        ["no field", "License: MIT\rLicense-Expression: AGPL-3.0-only"],
        [*(f"Project-URL: {number}, x" for number in range(1000)), AGPL, "no field"],
        ["Requires-Python: no", MIT, f"{AGPL}\x85{AGPL}"],
    ],
    ids=reprlib.repr,
)
def test_an_unreadable_licence_is_blocked_by_any_rule(fields: list[str]) -> None:
    """What metadata says of a licence in a way that cannot be read is blocked by any rule."""
    raw = "\n".join(["Metadata-Version: 2.4", "Name: x", "Version: 1", *fields, "", ""])
    licence = licence_of(raw.encode(), NormalizedName("x"), "1")
    assert licence == UNREADABLE
    assert parse_licence_patterns(["GPL-*"]).blocks(licence)
    assert parse_licence_patterns(["unknown"]).blocks(licence)


@pytest.mark.parametrize(
    ("fields", "licence"),
    [
        (["License: MIT"], "MIT"),
        (["License: UNKNOWN", AGPL], "AGPL-3.0-only"),
        (["License:", "License-Expression: UNKNOWN", MIT], "MIT"),
        (["License:", " MIT"], "MIT"),
        (["Classifier: Topic :: Internet", "License: see LICENSE.txt"], UNKNOWN),
        ([], UNKNOWN),
    ],
)
def test_the_licence_of_broken_metadata_counts(fields: list[str], licence: str) -> None:
    """The licence of an old release counts, whatever else is wrong with its metadata."""
    lines = ["Metadata-Version: 1.1", "Name: x", "Version: 1", "Requires-Python: no", "x", *fields]
    raw = "\n".join([*lines, "", "License-Expression: AGPL-3.0-only"])
    assert licence_of(raw.encode(), NormalizedName("x"), "1") == licence


Tree = str | tuple["Tree", str, "Tree"]


def written(tree: Tree) -> str:
    """Return an expression with all its parentheses."""
    return tree if isinstance(tree, str) else f"({written(tree[0])} {tree[1]} {written(tree[2])})"


def leaves_no_choice(tree: Tree) -> bool:
    """Return whether GNU's licences cannot be avoided."""
    if isinstance(tree, str):
        return tree.startswith("GPL")
    sides = leaves_no_choice(tree[0]), leaves_no_choice(tree[2])
    return all(sides) if tree[1] == "OR" else any(sides)


@given(EXPRESSIONS)
def test_any_expression_is_blocked_if_every_choice_is(tree: Tree) -> None:
    """An expression is blocked exactly if every way to comply with it needs a blocked licence."""
    licence = canonicalize_license_expression(written(tree))
    assert parse_licence_patterns(["GPL-*"]).blocks(licence) is leaves_no_choice(tree)
