"""The page of standards: each row is whole, and names a test that exists."""

import re

import pytest

from tests.clients.harness import REPOSITORY

PAGE = (REPOSITORY / "docs/standards.md").read_text()
COLUMNS = ["standard", "subject", "status", "since", "here", "test"]
STATUSES = {"final", "accepted", "provisional", "draft"}
VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+")
TEST = re.compile(r"`(tests/[a-z0-9_/]+\.py)::(test_[a-z0-9_]+)`")


def table_rows() -> list[list[str]]:
    """Return the cells of each row of the tables, without those of their heads."""
    lines = [line.strip("|").split("|") for line in PAGE.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in cells] for cells in lines]
    return [row for row in rows if row != COLUMNS and set(row) != {"---"}]


ROWS = table_rows()


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_a_standard_has_all_fields(row: list[str]) -> None:
    """Each standard has its status, its version and its test, or says that it is not here."""
    assert len(row) == len(COLUMNS)
    assert all(row)
    _, _, status, since, _, test = row
    assert status in STATUSES
    if since == "no":
        assert test == "none"
        return
    assert VERSION.fullmatch(since)
    match = TEST.fullmatch(test)
    assert match is not None
    assert f"\ndef {match[2]}(" in (REPOSITORY / match[1]).read_text()


def test_each_standard_has_one_row() -> None:
    """No standard is in the tables twice, and the tables are not empty."""
    names = [row[0] for row in ROWS]
    assert len(names) == len(set(names)) > 20
