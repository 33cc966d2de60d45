"""Patterns of project names."""

import pytest
from packaging.utils import canonicalize_name

from wheelyard.errors import Invalid
from wheelyard.model.access import parse_name_patterns


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("acme-*", ["acme-core", "ACME__core"], ["acme", "xacme-core", "acmecore"]),
        ("Acme_*", ["acme-core"], ["acme"]),
        ("acme", ["Acme"], ["acme-core", "acm"]),
        ("*-internal", ["a-internal"], ["internal", "a-internals"]),
        ("a?c", ["abc"], ["ac", "abbc"]),
        ("*", ["anything"], []),
    ],
)
def test_star_matches_any_text(pattern: str, matching: list[str], others: list[str]) -> None:
    """A star is any text, a question mark one character; names are compared normalised."""
    patterns = parse_name_patterns([pattern])

    assert all(patterns.match(canonicalize_name(each)) for each in matching)
    assert not any(patterns.match(canonicalize_name(other)) for other in others)


def test_without_a_pattern_no_name_matches() -> None:
    """Without a pattern, no name matches."""
    assert not parse_name_patterns([]).match(canonicalize_name("acme"))


@pytest.mark.parametrize(
    "text", ["", "acme-", "-acme", "a/b", "[a-z]", "a b", "\u0430cme", "a" * 129]
)
def test_what_no_name_can_match_is_refused(text: str) -> None:
    """What no name can match is refused, so that nobody relies on it."""
    with pytest.raises(Invalid, match="no pattern of names"):
        parse_name_patterns([text])
