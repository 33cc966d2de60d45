"""
Stored objects that are compressed with gzip: pages of upstream indexes, advisories, searches.

All of them can be made again, so what is wrong with their bytes makes them as good as missing.
"""

import gzip
import zlib
from typing import Final

_LEVEL: Final = 3
"""Level 6 takes two to three times as long, and saves 6 to 8 percent."""
_GZIP_WINDOW_BITS: Final = 31
"""With these, zlib expects a gzip member and verifies its checksum and length."""


def gzipped(body: bytes) -> bytes:
    """Return `body` compressed; equal bytes give equal bytes."""
    return gzip.compress(body, _LEVEL, mtime=0)


def gunzipped(body: bytes, limit: int) -> bytes | None:
    """
    Return what `gzipped` has compressed, at most `limit` bytes.

    None for anything else: damaged, cut off, followed by other bytes, or larger. No more than
    `limit` bytes and one are ever in memory.
    """
    inflater = zlib.decompressobj(_GZIP_WINDOW_BITS)
    try:
        raw = inflater.decompress(body, limit + 1)
    except zlib.error:
        return None
    return raw if inflater.eof and not inflater.unused_data and len(raw) <= limit else None
