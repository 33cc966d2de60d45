"""The rules in `[[retention]]` tables."""

import reprlib
from typing import Any

import pytest

from wheelyard.errors import Invalid
from wheelyard.model.retention_rules import parse_rules


def test_a_rule_says_what_it_deletes() -> None:
    """A rule is described in the words of its conditions."""
    table = {"projects": ["Acme_*"], "only": "dev", "keep_last": 3, "older_than_days": 1}
    (rule,) = parse_rules([{**table, "not_downloaded_days": 30, "note": "nightly builds"}])

    conditions = "not among the last 3, older than 1 day, not downloaded for 30 days"
    assert rule.description == f"dev releases of acme-*: {conditions}"
    assert rule.reason == f"retention rule 1 (nightly builds): {conditions}"


@pytest.mark.parametrize(
    "table",
    [
        {},
        {"projects": ["acme-*"]},
        {"only": "dev"},
        {"only": "final", "keep_last": 1},
        {"keep_last": 0},
        {"keep_last": -1},
        {"older_than_days": 0},
        {"not_downloaded_days": 0},
        {"not_downloaded_days": 366},
        {"keep_last": 1, "projects": []},
        {"keep_last": 1, "projects": ["/"]},
        {"keep_last": 1, "index": "No index"},
        {"keep_last": 1, "keep": 2},
        {"keep_last": "1"},
        {"keep_last": 1, "note": "two\nlines"},
    ],
    ids=reprlib.repr,
)
def test_a_dangerous_rule_is_refused(table: dict[str, Any]) -> None:
    """A rule that is wrong, or that would delete new releases, is refused with its number."""
    with pytest.raises(Invalid, match="number 2") as refused:
        parse_rules(({"keep_last": 1}, table))

    assert refused.value.code == "invalid_field"
