"""
The inflated bytes of a `.tar.gz`, read once from the front.

The gzip data is read to its very end: readers of tar stop at the end marker, and never notice
that the rest is cut off, damaged, or another archive. Follows RFC 1952.
"""

import os
import zlib
from collections.abc import Iterator

from wheelyard.archive.deadline import Deadline
from wheelyard.archive.faults import archive_bomb, invalid_archive
from wheelyard.archive.inflate import GZIP, PIECE, Inflater
from wheelyard.archive.limits import ArchiveLimits

_GZIP_FIRST_BYTE = b"\x1f"
_PADDING_MEMBERS = 16
"""Gzip members of nothing but zeros that may follow the first."""


class TarStream:
    """
    A gzip file that holds one tar archive.

    Args:
        descriptor: Of the file, open for reading.
        limits: Of what it may inflate to.
        deadline: Asked for every piece.
    """

    __slots__ = (
        "_at",
        "_buffer",
        "_deadline",
        "_descriptor",
        "_left",
        "_next",
        "_source",
        "position",
    )

    def __init__(self, descriptor: int, limits: ArchiveLimits, deadline: Deadline) -> None:
        self._descriptor = descriptor
        self._deadline = deadline
        self._left = limits.inflatable(os.fstat(descriptor).st_size, limits.tar_inflated)
        self._at = 0
        self._source = self._inflated()
        self._buffer = b""
        self._next = 0
        self.position = 0
        """Bytes that have been taken or skipped."""

    def take(self, size: int) -> bytes:
        """
        Return the next `size` bytes, fewer only at the end.

        Raises:
            Invalid: The gzip data is damaged (code `invalid_archive`) or over the limits
                (`archive_bomb`).
        """
        found = self._buffer[self._next : self._next + size]
        self._next += len(found)
        self.position += len(found)
        if len(found) == size:
            return found
        parts = [found]
        missing = size - len(found)
        while missing and self._refill():
            parts.append(self._buffer[:missing])
            self._next = len(parts[-1])
            self.position += self._next
            missing -= self._next
        return b"".join(parts)

    def skip(self, size: int) -> bool:
        """
        Pass over `size` bytes, and return whether there were as many.

        Raises:
            Invalid: As for `take`.
        """
        self.position += size
        self._next += size
        while self._next > len(self._buffer):
            beyond = self._next - len(self._buffer)
            if not self._refill():
                return False
            self._next = beyond
        return True

    def ends_in_zeros(self) -> bool:
        """
        Read to the end, and return whether only zeros were left.

        Raises:
            Invalid: As for `take`.
        """
        rest = self._buffer[self._next :]
        zeros = not rest.strip(b"\0")
        while zeros and self._refill():
            zeros = not self._buffer.strip(b"\0")
        return zeros

    def _refill(self) -> bool:
        self._buffer = next(self._source, b"")
        self._next = 0
        return bool(self._buffer)

    def _inflated(self) -> Iterator[bytes]:
        """Yield the data of the first gzip member; what follows may only be padding."""
        yield from filter(None, self._member())
        members = 0
        while self._find_member():
            members += 1
            if members > _PADDING_MEMBERS:
                raise archive_bomb("it has too many gzip members")
            for piece in self._member():
                if piece.strip(b"\0"):
                    raise invalid_archive("it has a second gzip member with other files")

    def _find_member(self) -> bool:
        """Pass over zeros, and return whether another gzip member begins there."""
        for piece in self._compressed():
            self._deadline.check()
            rest = piece.lstrip(b"\0")
            if rest:
                self._at -= len(rest)
                if not rest.startswith(_GZIP_FIRST_BYTE):
                    raise invalid_archive("bytes follow its gzip data")
                return True
        return False

    def _member(self) -> Iterator[bytes]:
        """Yield the pieces of the gzip member that begins here."""
        inflater = Inflater(GZIP)
        try:
            for piece in inflater.pieces(self._compressed()):
                self._deadline.check()
                self._left -= len(piece)
                if self._left < 0:
                    raise archive_bomb("it inflates to more than the limit for its size")
                yield piece
        except zlib.error as error:
            raise invalid_archive("it is not gzip data, or is damaged") from error
        if not inflater.ended:
            raise invalid_archive("its gzip data is cut off")
        self._at -= len(inflater.leftover)

    def _compressed(self) -> Iterator[bytes]:
        while piece := os.pread(self._descriptor, PIECE, self._at):
            self._at += len(piece)
            yield piece
