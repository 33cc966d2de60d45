"""The stored form of the table of projects."""

import gzip
from functools import partial

import pytest
from packaging.utils import NormalizedName

from wheelyard.operations.search.project_table import decode_table, encode_table, table_of
from wheelyard.rendering.project_facts import ProjectFacts

# all workers of a run have to name the same tests: no time of day in the bytes
compressed = partial(gzip.compress, mtime=0)
TABLE = table_of(
    ProjectFacts(NormalizedName(f"p{number}"), "1.0", "Größe", uploaded=number, document="7")
    for number in range(30)
)


def test_stored_and_read() -> None:
    """A table is the same after it was stored."""
    assert decode_table(encode_table(TABLE)) == TABLE


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no table",
        encode_table(TABLE)[:-1],
        encode_table(TABLE)[:40] + b"?" + encode_table(TABLE)[41:],
        compressed(b"?"),
        compressed(b"\x91\x91\xa1a"),
        compressed(b"\x91\x91\x92\xa1a\x07"),  # a version that is no text
        compressed(b"\x91\x92\x91\xa1b\x91\xa1a"),  # not sorted
        compressed(b"\x91\x92\x91\xa1a\x91\xa1a"),  # twice
        compressed(b"\x91\x91\x97\xa1a\xa0\xa0\xa0\xa0\xa0\xcf" + b"\xff" * 8),  # no year
        compressed(b"\x91\x91\x91\xa1\xff"),
        encode_table(TABLE) + b"?",
    ],
    ids=len,  # compressed bytes have the time in them
)
def test_a_damaged_table_counts_as_missing(body: bytes) -> None:
    """What is damaged, cut, too large or no table of projects counts as missing."""
    assert decode_table(body) is None
