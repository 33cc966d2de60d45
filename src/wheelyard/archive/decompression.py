"""
Decompression of tar archives (gzip, bzip2, xz or none) in chunks of limited size.

The file is read to its end: tar readers stop at the end marker, and do not notice if the rest is
truncated, damaged, or another archive. Follows RFC 1952 for gzip. Several bzip2 or xz streams in a
row are one archive, as parallel compressors write them and every reader reads them.
"""

import bz2
import lzma
import os
import re
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, Protocol

from wheelyard.archive.rules import MIB, Deadline, ReadContext, archive_bomb, invalid_archive
from wheelyard.archive.zip_members import INFLATED_CHUNK_BYTES, READ_CHUNK_BYTES, Inflater
from wheelyard.model.distribution_filename import BZIP2_SUFFIXES, GZIP_SUFFIXES, XZ_SUFFIXES

GZIP_WINDOW_BITS: Final = 31
"""With these, zlib expects a gzip member and verifies its checksum and length."""
_GZIP_FIRST_BYTE: Final = b"\x1f"
_BLOCK_BYTES: Final = 512
"""The size of a tar header; two blocks of zeros are the end marker."""
_SIZE_FIELD: Final = slice(124, 136)
"""The member's size in a tar header."""
_OCTAL: Final = re.compile(rb"[0-7]+")
_MAX_PADDING_MEMBERS: Final = 16
"""How many gzip members of zeros may follow the first member."""
_XZ_MEMORY_LIMIT_BYTES: Final = 128 * MIB
"""The strongest usual setting of xz needs half of it."""
_MAX_STREAMS: Final = 10_000
"""How many compressed streams one archive may have."""


def decompress_tar(suffix: str, context: ReadContext) -> Iterator[bytes]:
    """
    Return an iterator of the decompressed data, in chunks of 1 byte to 1 MiB.

    `suffix` names the compression. Raise Invalid, perhaps from the iterator, for damaged data, and
    for more data than the limits allow.
    """
    descriptor, limits = context.descriptor, context.limits
    allowed = limits.inflatable(os.fstat(descriptor).st_size, limits.tar_inflated)
    if suffix in GZIP_SUFFIXES:
        return _GzipReader(descriptor, allowed, context.deadline).chunks()
    if suffix in BZIP2_SUFFIXES:
        source = _decompress_streams(descriptor, bz2.BZ2Decompressor, OSError)
    elif suffix in XZ_SUFFIXES:
        xz = partial(lzma.LZMADecompressor, lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_LIMIT_BYTES)
        source = _decompress_streams(descriptor, xz, lzma.LZMAError)
    else:
        _check_end_marker(descriptor, context.deadline)
        source = _read_chunks(descriptor)
    return _limit_output(source, allowed, context.deadline)


class _Decompressor(Protocol):
    """The interface of the decompressors for bzip2 and xz in the standard library."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


def _check_end_marker(descriptor: int, deadline: Deadline) -> None:
    """Raise Invalid if an uncompressed tar archive has no end marker: it may be truncated."""
    at = 0
    while (block := os.pread(descriptor, _BLOCK_BYTES, at)) != bytes(_BLOCK_BYTES):
        deadline.check()
        size = block[_SIZE_FIELD].strip(b" \0")
        if len(block) < _BLOCK_BYTES or (size and not _OCTAL.fullmatch(size)):
            raise invalid_archive("it is no tar archive, or cut off: it has no end marker")
        at += _BLOCK_BYTES + -(-int(size or b"0", 8) // _BLOCK_BYTES) * _BLOCK_BYTES
    if os.pread(descriptor, _BLOCK_BYTES, at + _BLOCK_BYTES) != bytes(_BLOCK_BYTES):
        raise invalid_archive("it is cut off within its end marker")


def _read_chunks(descriptor: int) -> Iterator[bytes]:
    at = 0
    while chunk := os.pread(descriptor, READ_CHUNK_BYTES, at):
        at += len(chunk)
        yield chunk


def _limit_output(source: Iterator[bytes], left: int, deadline: Deadline) -> Iterator[bytes]:
    for chunk in source:
        deadline.check()
        left -= len(chunk)
        if left < 0:
            raise archive_bomb("it inflates to more than the limit for its size")
        if chunk:
            yield chunk


def _decompress_streams(
    descriptor: int, new: Callable[[], _Decompressor], damage: type[Exception]
) -> Iterator[bytes]:
    """Yield the decompressed data of all streams in the file; chunks may be empty."""
    source = _read_chunks(descriptor)
    rest, count = next(source, b""), 0
    while rest:
        count += 1
        if count > _MAX_STREAMS:
            raise archive_bomb(f"it has more than {_MAX_STREAMS} compressed streams")
        stream = new()
        try:
            while not stream.eof:
                yield stream.decompress(rest, INFLATED_CHUNK_BYTES)
                rest = b""
                if stream.needs_input and not stream.eof:
                    rest = next(source, b"")
                    if not rest:
                        raise invalid_archive("its compressed data is cut off")
        except damage as error:
            raise invalid_archive("it is not compressed as its name says, or damaged") from error
        rest = stream.unused_data or next(source, b"")


class _GzipReader:
    """A gzip file with one archive, which may inflate to `left` bytes."""

    __slots__ = ("_deadline", "_descriptor", "_left", "_offset")

    def __init__(self, descriptor: int, left: int, deadline: Deadline) -> None:
        self._descriptor = descriptor
        self._deadline = deadline
        self._left = left
        self._offset = 0

    def chunks(self) -> Iterator[bytes]:
        """Yield the data of the first gzip member; raise Invalid if more than zeros follow."""
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
            self._deadline.check()
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
                self._deadline.check()
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
        while chunk := os.pread(self._descriptor, READ_CHUNK_BYTES, self._offset):
            self._offset += len(chunk)
            yield chunk
