"""
The inflated bytes of a tar archive, whatever it is compressed with, in pieces of bounded size.

It is read to its very end: readers of tar stop at the end marker, and never notice that the
rest is cut off, damaged, or another archive. Follows RFC 1952 for gzip. Of bzip2 and xz, several
streams in a row are one, as parallel compressors write them and every reader reads them.
"""

import bz2
import lzma
import os
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from wheelyard.archive.archive_errors import archive_bomb, invalid_archive
from wheelyard.archive.limits import MIB, Deadline, ReadContext
from wheelyard.archive.zip_members import INFLATED_CHUNK_BYTES, READ_CHUNK_BYTES, Inflater
from wheelyard.model.distribution_filename import BZIP2_SUFFIXES, GZIP_SUFFIXES, XZ_SUFFIXES

GZIP: Final = 31
"""Window bits of a gzip member, whose checksum and length zlib compares at its end."""
_GZIP_FIRST_BYTE: Final = b"\x1f"
_BLOCK: Final = 512
"""Bytes of a tar archive's header; two blocks of zeros are its end marker."""
_SIZE: Final = slice(124, 136)
"""Where a header has the size of its member."""
_OCTAL: Final = re.compile(rb"[0-7]+")
_PADDING_MEMBERS: Final = 16
"""Gzip members of nothing but zeros that may follow the first."""
_XZ_MEMORY: Final = 128 * MIB
"""What reading xz data may take; its strongest usual setting takes half of that."""
_STREAMS: Final = 10_000
"""Streams in a row that may make up one archive."""


def decompress_tar(suffix: str, reading: ReadContext) -> Iterator[bytes]:
    """
    Return the pieces of a tar archive, none of them empty and none over 1 MiB.

    The suffix of the filename decides on the format. A file that is not of it, is damaged or over
    the limits is refused while it is read.
    """
    descriptor, limits = reading.descriptor, reading.limits
    allowed = limits.inflatable(os.fstat(descriptor).st_size, limits.tar_inflated)
    if suffix in GZIP_SUFFIXES:
        return _GzipFile(descriptor, allowed, reading.deadline).pieces()
    if suffix in BZIP2_SUFFIXES:
        source = _streams(descriptor, bz2.BZ2Decompressor, OSError)
    elif suffix in XZ_SUFFIXES:
        source = _streams(descriptor, _xz_decompressor, lzma.LZMAError)
    else:
        _check_end(descriptor, reading.deadline)
        source = _raw(descriptor)
    return _bounded(source, allowed, reading.deadline)


class _Decompressor(Protocol):
    """What the standard library has for bzip2 and for xz."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


def _xz_decompressor() -> _Decompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)


def _check_end(descriptor: int, deadline: Deadline) -> None:
    """Refuse a bare tar archive without its end marker: nothing else tells that it is whole."""
    at = 0
    while (block := os.pread(descriptor, _BLOCK, at)) != bytes(_BLOCK):
        deadline.check()
        size = block[_SIZE].strip(b" \0")
        if len(block) < _BLOCK or (size and not _OCTAL.fullmatch(size)):
            raise invalid_archive("it is no tar archive, or cut off: it has no end marker")
        at += _BLOCK + -(-int(size or b"0", 8) // _BLOCK) * _BLOCK
    if os.pread(descriptor, _BLOCK, at + _BLOCK) != bytes(_BLOCK):
        raise invalid_archive("it is cut off within its end marker")


def _raw(descriptor: int) -> Iterator[bytes]:
    at = 0
    while piece := os.pread(descriptor, READ_CHUNK_BYTES, at):
        at += len(piece)
        yield piece


def _bounded(source: Iterator[bytes], left: int, deadline: Deadline) -> Iterator[bytes]:
    for piece in source:
        deadline.check()
        left -= len(piece)
        if left < 0:
            raise archive_bomb("it inflates to more than the limit for its size")
        if piece:
            yield piece


def _streams(
    descriptor: int, new: Callable[[], _Decompressor], damage: type[Exception]
) -> Iterator[bytes]:
    """Yield the data of streams that follow one another; pieces may be empty."""
    source = _raw(descriptor)
    rest, count = next(source, b""), 0
    while rest:
        count += 1
        if count > _STREAMS:
            raise archive_bomb(f"it has more than {_STREAMS} compressed streams")
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


class _GzipFile:
    """A gzip file that holds one archive, which may inflate to `left` bytes."""

    __slots__ = ("_at", "_deadline", "_descriptor", "_left")

    def __init__(self, descriptor: int, left: int, deadline: Deadline) -> None:
        self._descriptor = descriptor
        self._deadline = deadline
        self._left = left
        self._at = 0

    def pieces(self) -> Iterator[bytes]:
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
        if not inflater.stream.eof:
            raise invalid_archive("its gzip data is cut off")
        self._at -= len(inflater.stream.unused_data)

    def _compressed(self) -> Iterator[bytes]:
        while piece := os.pread(self._descriptor, READ_CHUNK_BYTES, self._at):
            self._at += len(piece)
            yield piece
