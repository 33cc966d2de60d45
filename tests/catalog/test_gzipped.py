"""Stored objects that are compressed with gzip."""

import gzip
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wheelyard.catalog.document_cache import gunzipped, gzipped

MIB = 1024 * 1024
BODY = b"pages, advisories, searches" * 40


@given(st.binary(max_size=2000))
def test_what_was_compressed_is_read_again(body: bytes) -> None:
    """Compressed bytes are read again, and equal bytes are stored as equal bytes."""
    assert gunzipped(gzipped(body), len(body)) == body
    assert gzipped(body) == gzipped(body)


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"no gzip",
        gzipped(BODY)[:-1],
        gzipped(BODY)[:20] + b"?" + gzipped(BODY)[21:],
        gzipped(BODY)[:-8] + bytes(8),  # another checksum
        gzipped(BODY) + b"?",
        gzipped(BODY) * 2,
    ],
)
def test_damaged_bytes_count_as_missing(stored: bytes) -> None:
    """Compressed bytes that are damaged, cut off or followed by others count as missing."""
    assert gunzipped(stored, MIB) is None


@pytest.mark.slow
def test_more_than_the_limit_is_never_inflated() -> None:
    """Compressed bytes of more than the limit count as missing, and are never inflated whole."""
    assert gunzipped(gzipped(BODY), len(BODY) - 1) is None
    bomb = gzip.compress(bytes(200 * MIB))
    tracemalloc.start()
    try:
        assert gunzipped(bomb, MIB) is None
        assert tracemalloc.get_traced_memory()[1] < 4 * MIB
    finally:
        tracemalloc.stop()
