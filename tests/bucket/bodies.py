"""
The bytes of an object: in memory when they are few, else in a file without a name.

A body never changes and lives as long as somebody refers to it. So a download that has begun reads
the old bytes to their end, whatever becomes of the object meanwhile.
"""

import base64
import os
import tempfile
import weakref
from dataclasses import dataclass
from hashlib import md5
from typing import Any

import google_crc32c

SMALL = 8 << 20
"""Bytes that a body may have in memory."""


class _File:
    """An open file that has no name, and is closed when nothing refers to it any more."""

    def __init__(self) -> None:
        with tempfile.TemporaryFile(buffering=0) as opened:
            self.descriptor = os.dup(opened.fileno())
        weakref.finalize(self, os.close, self.descriptor)

    def write(self, data: bytes | bytearray, position: int) -> None:
        view = memoryview(data)
        while view:
            written = os.pwrite(self.descriptor, view, position)
            view, position = view[written:], position + written


@dataclass(frozen=True, slots=True)
class Body:
    """
    Bytes that never change.

    Args:
        size: How many.
        crc32c: Their checksum, in base64 of four big-endian bytes.
        md5: Their digest, in base64.
        source: Where they are.
    """

    size: int
    crc32c: str
    md5: str
    source: bytes | _File

    def piece(self, start: int, stop: int) -> memoryview:
        """Return the bytes from `start` up to but not including `stop`."""
        if isinstance(self.source, bytes):
            return memoryview(self.source)[start:stop]
        return memoryview(os.pread(self.source.descriptor, stop - start, start))


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a writer was, so that it can go back."""

    size: int
    crc32c: int
    md5: Any  # hashlib names no type for its values


class Writer:
    """Takes bytes as they arrive."""

    def __init__(self) -> None:
        self.size = 0
        self._memory = bytearray()
        self._file: _File | None = None
        self._crc32c = 0
        self._md5 = md5(usedforsecurity=False)

    def write(self, data: bytes) -> None:
        """Add bytes at the end."""
        if self._file is None and self.size + len(data) > SMALL:
            self._file = _File()
            self._file.write(self._memory, 0)
            self._memory = bytearray()
        if self._file is None:
            self._memory += data
        else:
            self._file.write(data, self.size)
        self.size += len(data)
        self._crc32c = google_crc32c.extend(self._crc32c, data)
        self._md5.update(data)

    def mark(self) -> Mark:
        """Return where the writer is."""
        return Mark(self.size, self._crc32c, self._md5.copy())

    def go_back(self, mark: Mark) -> None:
        """Forget what was written since the mark; in a file it is overwritten later."""
        self.size, self._crc32c, self._md5 = mark.size, mark.crc32c, mark.md5
        del self._memory[mark.size :]

    def finish(self) -> Body:
        """Return what was written; the writer may go on for a body of its own no more."""
        crc32c = base64.b64encode(self._crc32c.to_bytes(4, "big")).decode()
        digest = base64.b64encode(self._md5.digest()).decode()
        return Body(self.size, crc32c, digest, self._file or bytes(self._memory))


def body_of(data: bytes) -> Body:
    """Return a body in memory."""
    crc32c = base64.b64encode(int(google_crc32c.value(data)).to_bytes(4, "big")).decode()
    digest = base64.b64encode(md5(data, usedforsecurity=False).digest()).decode()
    return Body(len(data), crc32c, digest, data)
