"""
Decompression of tar archives in chunks of limited size.

The file is read to its end: tar readers stop at the end marker, and do not notice if the rest is
truncated, damaged, or another archive. Follows RFC 1952 for gzip.
"""

import os
import zlib
from collections.abc import Iterator
from typing import Final

from wheelyard.archive.rules import ReadContext, archive_bomb, invalid_archive
from wheelyard.archive.zip_members import READ_CHUNK_BYTES, Inflater

GZIP_WINDOW_BITS: Final = 31
"""With these, zlib expects a gzip member and verifies its checksum and length."""
_GZIP_FIRST_BYTE: Final = b"\x1f"
_MAX_PADDING_MEMBERS: Final = 16
"""How many gzip members of zeros may follow the first member."""


class GzipReader:
    """The decompressed data of one archive, which may inflate to as much as the limits allow."""

    __slots__ = ("_context", "_left", "_offset")

    def __init__(self, context: ReadContext) -> None:
        size = os.fstat(context.descriptor).st_size
        self._context = context
        self._left = context.limits.inflatable(size, context.limits.tar_inflated)
        self._offset = 0

    def chunks(self) -> Iterator[bytes]:
        """
        Yield the data of the first gzip member in chunks of 1 byte to 1 MiB.

        Raise Invalid for damaged data, if more than zeros follow, and for more data than the limits
        allow.
        """
        yield from filter(None, self._member())
        members = 0
        while self._skip_padding():
            members += 1
            if members > _MAX_PADDING_MEMBERS:
                raise archive_bomb("it has too many gzip members")
            for chunk in self._member():
                if chunk.strip(b"\0"):
                    raise invalid_archive("it has a second gzip member with other files")

    def _skip_padding(self) -> bool:
        """Skip zeros; return whether a gzip member follows, or raise Invalid for other bytes."""
        for chunk in self._compressed():
            self._context.deadline.check()
            rest = chunk.lstrip(b"\0")
            if rest:
                self._offset -= len(rest)
                if not rest.startswith(_GZIP_FIRST_BYTE):
                    raise invalid_archive("bytes follow its gzip data")
                return True
        return False

    def _member(self) -> Iterator[bytes]:
        """Yield the inflated data of the gzip member at the offset, and move behind it."""
        inflater = Inflater(GZIP_WINDOW_BITS)
        try:
            for chunk in inflater.chunks(self._compressed()):
                self._context.deadline.check()
                self._left -= len(chunk)
                if self._left < 0:
                    raise archive_bomb("it inflates to more than the limit for its size")
                yield chunk
        except zlib.error as error:
            raise invalid_archive("it is not gzip data, or is damaged") from error
        if not inflater.stream.eof:
            raise invalid_archive("its gzip data is cut off")
        self._offset -= len(inflater.stream.unused_data)

    def _compressed(self) -> Iterator[bytes]:
        while chunk := os.pread(self._context.descriptor, READ_CHUNK_BYTES, self._offset):
            self._offset += len(chunk)
            yield chunk
