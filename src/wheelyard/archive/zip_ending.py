"""
The end of a ZIP file: where its central directory is, and that nothing lies around it.

Programs find it in different ways, first or last signature, with or without the 64-bit records.
Only a file in which all ways lead to the same place is accepted. Follows APPNOTE 6.3.10.
"""

import os
import struct
from dataclasses import dataclass

from wheelyard.archive.faults import archive_bomb, invalid_archive
from wheelyard.archive.limits import ArchiveLimits
from wheelyard.archive.names import check_count

_END = struct.Struct("<4s4H2LH")
_END_SIGNATURE = b"PK\5\6"
_LOCATOR = struct.Struct("<4sLQL")
_LOCATOR_SIGNATURE = b"PK\6\7"
_END64 = struct.Struct("<4sQ2H2L4Q")
_END64_SIGNATURE = b"PK\6\6"
_END64_REST = 44
"""What the 64-bit record says of its own size when it has no extensible data."""
_COMMENT_LIMIT = 0xFFFF
_ENTRY_SIZE = 46
"""The fixed part of an entry of the central directory, in bytes."""
MAX_16 = 0xFFFF
MAX_32 = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Directory:
    """The central directory of a ZIP file."""

    entries: int
    offset: int
    size: int


def find_directory(descriptor: int, file_size: int, limits: ArchiveLimits) -> Directory:
    """
    Return where the central directory is.

    Args:
        descriptor: Of the file, open for reading.
        file_size: In bytes.
        limits: Tested before anything of the size that the file claims is read.

    Raises:
        Invalid: The file does not end as a ZIP file does, or could be read in two ways (code
            `invalid_archive`), or its directory is over the limits (code `archive_bomb`).
    """
    tail_offset = max(0, file_size - _END.size - _COMMENT_LIMIT)
    tail = os.pread(descriptor, file_size - tail_offset, tail_offset)
    at = tail.rfind(_END_SIGNATURE)
    if at < 0 or len(tail) - at < _END.size:
        raise invalid_archive("it is not a ZIP file, or was cut off")
    _check_comment(tail, at)
    stop = tail_offset + at
    _, *numbers, _ = _END.unpack_from(tail, at)
    directory, stop = _reconciled(descriptor, numbers, stop)
    if directory.offset + directory.size != stop:
        raise invalid_archive("its directory is not where the end of the file says")
    check_count(directory.entries, limits)
    if directory.size > limits.central_directory:
        raise archive_bomb(f"its directory is larger than {limits.central_directory} bytes")
    if directory.entries * _ENTRY_SIZE > directory.size:
        raise invalid_archive("its directory is too small for its members")
    return directory


def _check_comment(tail: bytes, at: int) -> None:
    comment = tail[at + _END.size :]
    if len(comment) != int.from_bytes(tail[at + _END.size - 2 : at + _END.size], "little"):
        raise invalid_archive("bytes follow its end")
    if b"PK" in comment or not comment.isascii():
        raise invalid_archive("its comment is not plain text")


def _reconciled(descriptor: int, numbers: list[int], stop: int) -> tuple[Directory, int]:
    """Return the directory, and where the first of the records that follow it begins."""
    wide = _wide_numbers(descriptor, stop)
    if wide is None:
        final, begin = numbers, stop
    else:
        final, begin = wide, stop - _LOCATOR.size - _END64.size
        limits = (MAX_16, MAX_16, MAX_16, MAX_16, MAX_32, MAX_32)
        for narrow, number, limit in zip(numbers, wide, limits, strict=True):
            if narrow not in {number, limit}:
                raise invalid_archive("its two end records differ")
    disk, start_disk, entries_here, entries, size, offset = final
    if disk or start_disk or entries_here != entries:
        raise invalid_archive("it is a part of a split archive")
    return Directory(entries, offset, size), begin


def _wide_numbers(descriptor: int, stop: int) -> list[int] | None:
    """Return the six numbers of the 64-bit end record before `stop`, or None without one."""
    both = _END64.size + _LOCATOR.size
    block = os.pread(descriptor, both, stop - both) if stop >= both else b""
    if not block[_END64.size :].startswith(_LOCATOR_SIGNATURE):
        return None
    _, disk, offset, disks = _LOCATOR.unpack_from(block, _END64.size)
    signature, rest, _, _, *numbers = _END64.unpack_from(block)
    if (disk, disks, offset) != (0, 1, stop - both) or signature != _END64_SIGNATURE:
        raise invalid_archive("its ZIP64 locator does not point to the ZIP64 end record")
    if rest != _END64_REST:
        raise invalid_archive("its ZIP64 end record has extensible data")
    return numbers
