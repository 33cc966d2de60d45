"""Inflating a deflate stream in pieces of bounded size."""

import zlib
from collections.abc import Iterable, Iterator

from wheelyard.archive.limits import KIB, MIB

PIECE = 256 * KIB
"""Read from a file at once, in bytes."""
INFLATED_PIECE = MIB
"""Inflated at once at most, in bytes."""
GZIP = 31
"""Window bits of a gzip member, whose checksum and length zlib compares at its end."""
RAW = -15
"""Window bits of a deflate stream without a header."""


class Inflater:
    """One deflate stream; `window_bits` is `GZIP` or `RAW`."""

    __slots__ = ("_stream",)

    def __init__(self, window_bits: int) -> None:
        self._stream = zlib.decompressobj(window_bits)

    @property
    def ended(self) -> bool:
        """Whether the stream has come to its own end."""
        return self._stream.eof

    @property
    def leftover(self) -> bytes:
        """What followed the end of the stream in the last piece."""
        return self._stream.unused_data

    def pieces(self, source: Iterable[bytes]) -> Iterator[bytes]:
        """
        Yield the inflated data, at most 1 MiB at a time, and stop at the end of the stream.

        Raises:
            zlib.error: The data is damaged.
        """
        for piece in source:
            rest = piece
            while rest:
                yield self._stream.decompress(rest, INFLATED_PIECE)
                rest = self._stream.unconsumed_tail
            if self._stream.eof:
                return
        # All input is taken, but output that did not fit into the last piece may be held back.
        while not self._stream.eof and (held := self._stream.decompress(b"", INFLATED_PIECE)):
            yield held
