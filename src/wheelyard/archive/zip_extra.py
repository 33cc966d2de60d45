"""The extra fields of a ZIP header: 64-bit sizes, and names that would overrule the header's."""

import struct
from typing import NamedTuple

from wheelyard.archive.faults import invalid_archive
from wheelyard.archive.zip_ending import MAX_16, MAX_32

_FIELD = struct.Struct("<HH")
_ZIP64 = 0x0001
_EXPERIMENTAL = 0x6C78
"""Of libarchive; with it, its programs take a file for a link or a folder."""
_UNICODE_PATH = 0x7075
_UNICODE_PATH_HEAD = 5
"""A version and a checksum precede the name."""
_ZIP64_LENGTHS = frozenset({0, 8, 16, 24, 28})
_DISK_SIZE = 4


class Sizes(NamedTuple):
    """The numbers of a header that may be too large for it; in the order of the extra field."""

    inflated: int
    compressed: int
    offset: int


def check_extra(extra: bytes, raw_name: bytes, sizes: Sizes, disk: int) -> Sizes:
    """
    Return the sizes of a header with what its extra fields add.

    Args:
        extra: The whole extra part of the header.
        raw_name: The name in the header.
        sizes: As in the header; 0xFFFFFFFF stands for a number in the extra fields.
        disk: The disk number of the header.

    Raises:
        Invalid: The fields are cut off, given twice, disagree, or change what the member is for
            some programs (code `invalid_archive`).
    """
    wide: bytes | None = None
    seen_path = False
    at = 0
    while at < len(extra):
        kind, value = _field(extra, at, raw_name)
        at += _FIELD.size + len(value)
        if kind == _ZIP64:
            if wide is not None:
                raise invalid_archive("a member has two ZIP64 fields", raw_name)
            wide = value
        elif kind == _EXPERIMENTAL:
            raise invalid_archive("a member has an extra field that few programs know", raw_name)
        elif kind == _UNICODE_PATH:
            if seen_path or value[_UNICODE_PATH_HEAD:] != raw_name:
                raise invalid_archive("a member has a second name", raw_name)
            seen_path = True
    if wide is None and disk == 0 and MAX_32 not in sizes:
        return sizes
    return _widened(wide or b"", raw_name, sizes, disk)


def _field(extra: bytes, at: int, raw_name: bytes) -> tuple[int, bytes]:
    if len(extra) - at < _FIELD.size:
        raise invalid_archive("a member's extra fields are cut off", raw_name)
    kind, length = _FIELD.unpack_from(extra, at)
    value = extra[at + _FIELD.size : at + _FIELD.size + length]
    if len(value) != length:
        raise invalid_archive("a member's extra fields are cut off", raw_name)
    return kind, value


def _widened(wide: bytes, raw_name: bytes, sizes: Sizes, disk: int) -> Sizes:
    if len(wide) not in _ZIP64_LENGTHS or disk not in {0, MAX_16}:
        raise invalid_archive("a member's ZIP64 field has an impossible size", raw_name)
    numbers = struct.unpack_from(f"<{len(wide) // 8}Q", wide)
    final = list(sizes)
    # Writers give either exactly the numbers that the header lacks, or all from the first on.
    lacking = [index for index, number in enumerate(sizes) if number == MAX_32]
    places = lacking if len(lacking) == len(numbers) else range(len(numbers))
    for place, number in zip(places, numbers, strict=True):
        if final[place] not in {MAX_32, number}:
            raise invalid_archive("a member's ZIP64 field differs from its header", raw_name)
        final[place] = number
    unfilled = any(index not in places for index in lacking)
    has_disk = len(wide) % 8 == _DISK_SIZE
    if unfilled or (disk == MAX_16) != has_disk or any(wide[len(numbers) * 8 :]):
        raise invalid_archive("a member's ZIP64 field is incomplete", raw_name)
    return Sizes(*final)
