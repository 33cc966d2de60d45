"""
The members of a tar archive, one header of 512 bytes after the other.

Extensions are bounded before they are read, and parsed in linear time; what readers interpret
differently is refused. Follows POSIX.1-2001 (ustar and pax), and the long names of GNU tar.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from wheelyard.archive.deadline import Deadline
from wheelyard.archive.faults import archive_bomb, invalid_archive, unsafe_archive
from wheelyard.archive.limits import ArchiveLimits
from wheelyard.archive.names import check_count
from wheelyard.archive.tar_stream import TarStream

_BLOCK = 512
_HEADER = struct.Struct("<100s 8s 8s 8s 12s 12s 8s c 100s 6s 2s 32s 32s 8s 8s 155s 12x")
_CHECKSUM = slice(148, 156)
_OCTAL = re.compile(rb" *([0-7]*) *(?:\0[ \0]*)?")
_IGNORED_NUMBERS = (1, 2, 3, 5, 13, 14)
"""The places of mode, owner, group, time and device numbers among the fields."""
_IGNORED_NUMBER = re.compile(rb" *-?[0-7]* *(?:\0.*)?|[\x80\xff].*", re.DOTALL)
_USTAR = b"ustar\0"
_HIGH_BIT = 0x80

_LONG_NAME = b"L"
_LONG_LINK = b"K"
_PAX = b"x"
_PAX_GLOBAL = b"g"
_EXTENSIONS = frozenset({_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL})
_PAX_LENGTH_DIGITS = 8
_SPARSE = "GNU.sparse."
_PAX_CHARSETS = frozenset({"ISO-IR 10646 2000 UTF-8"})


class Kind(Enum):
    """What a member of a tar archive is."""

    FILE = "file"
    FOLDER = "folder"
    HARD_LINK = "hard link"
    SYMBOLIC_LINK = "symbolic link"


_KINDS = {
    b"0": Kind.FILE,
    b"\0": Kind.FILE,
    b"1": Kind.HARD_LINK,
    b"2": Kind.SYMBOLIC_LINK,
    b"5": Kind.FOLDER,
}


@dataclass(frozen=True, slots=True)
class TarMember:
    """One member of a tar archive, whose data comes next in the stream."""

    name: str
    kind: Kind
    size: int
    """Bytes of data; zero for all but files."""
    target: str
    """Of a link, as written."""


@dataclass(frozen=True, slots=True)
class _Header:
    name: bytes
    type: bytes
    size: int
    target: bytes


def tar_members(
    stream: TarStream, limits: ArchiveLimits, deadline: Deadline
) -> Iterator[TarMember]:
    """
    Yield the members, and read the archive to its end.

    Between two members the caller may take up to `size` bytes from the stream.

    Raises:
        Invalid: The archive could be read in two ways (code `invalid_archive`), has members that
            no sdist needs (`unsafe_archive`) or is over the limits (`archive_bomb`).
    """
    extensions: dict[str, str] = {}
    count = extended = 0
    while (header := _next_header(stream)) is not None:
        deadline.check()
        if header.type in _EXTENSIONS:
            extended += header.size + _BLOCK
            _check_extension(header, extended, limits)
            _extend(extensions, header, _padded(stream, header.size))
            continue
        count += 1
        check_count(count, limits)
        member = _member(header, extensions)
        extensions = {}
        stop = stream.position + member.size + -member.size % _BLOCK
        yield member
        if not stream.skip(stop - stream.position):
            raise invalid_archive("a member is cut off", member.name)
    if extensions:
        raise invalid_archive("it ends within the header of a member")
    if not count:
        raise invalid_archive("it has no members")


def _next_header(stream: TarStream) -> _Header | None:
    block = stream.take(_BLOCK)
    if not block.strip(b"\0") and len(block) in {0, _BLOCK}:
        if not stream.ends_in_zeros():
            raise invalid_archive("it has members behind its end")
        return None
    if len(block) < _BLOCK:
        raise invalid_archive("it is not a tar archive, or was cut off")
    fields = _HEADER.unpack(block)
    name, _, _, _, size, _, checksum, kind, target, magic = fields[:10]
    prefix = fields[15].partition(b"\0")[0]
    name = name.partition(b"\0")[0]
    if not _is_checksum(block, checksum):
        raise invalid_archive("the header of a member is damaged", name)
    # Their values mean nothing here, but some readers stop in silence at one that is no number.
    if not all(_IGNORED_NUMBER.fullmatch(fields[place]) for place in _IGNORED_NUMBERS):
        raise invalid_archive("a field of a member's header is not a number", name)
    if prefix and kind not in _EXTENSIONS:
        if magic != _USTAR:
            raise invalid_archive("a member's header has fields of no standard", name)
        name = prefix + b"/" + name
    return _Header(name, kind, _number(size, name), target.partition(b"\0")[0])


def _is_checksum(block: bytes, field: bytes) -> bool:
    match = _OCTAL.fullmatch(field)
    expected = int(match[1] or b"0", 8) if match else 0
    blanked = sum(block) - sum(block[_CHECKSUM]) + 8 * ord(" ")
    # Some old writers summed signed characters.
    signed = blanked - 256 * sum(byte >= _HIGH_BIT for byte in block) if expected != blanked else 0
    return expected in {blanked, signed}


def _number(field: bytes, name: bytes) -> int:
    match = _OCTAL.fullmatch(field)
    if match is None:
        raise invalid_archive("the size of a member is not an octal number", name)
    return int(match[1] or b"0", 8)


def _check_extension(header: _Header, extended: int, limits: ArchiveLimits) -> None:
    if header.size > limits.tar_extension:
        raise archive_bomb(f"a long name or PAX header is over {limits.tar_extension} bytes")
    if extended > limits.tar_extensions:
        raise archive_bomb(f"long names and PAX headers are over {limits.tar_extensions} bytes")


def _padded(stream: TarStream, size: int) -> bytes:
    block = stream.take(size + -size % _BLOCK)
    if len(block) < size:
        raise invalid_archive("a long name or PAX header is cut off")
    return block[:size]


def _extend(extensions: dict[str, str], header: _Header, data: bytes) -> None:
    """Add what the next member's name, target and size are."""
    if header.type in {_PAX, _PAX_GLOBAL}:
        records = _pax_records(data)
    else:
        field = "path" if header.type == _LONG_NAME else "linkpath"
        records = {field: _text(data.partition(b"\0")[0])}
    if header.type == _PAX_GLOBAL:
        if set(records) - {"comment"}:
            raise invalid_archive("a global PAX header has more than a comment")
        return
    _check_pax(records)
    if records.keys() & extensions.keys():
        raise invalid_archive("a member has two long names or PAX headers")
    extensions.update(records)


def _pax_records(data: bytes) -> dict[str, str]:
    records: dict[str, str] = {}
    at = 0
    while at < len(data):
        blank = data.find(b" ", at, at + _PAX_LENGTH_DIGITS)
        digits = data[at:blank]
        length = int(digits) if blank > 0 and digits.isdigit() else 0
        record = data[blank + 1 : at + length]
        key, equals, value = record[:-1].partition(b"=")
        if not 0 < length <= len(data) - at or not equals or not record.endswith(b"\n"):
            raise invalid_archive("a PAX header is malformed")
        if records.setdefault(_text(key), _text(value, key)) != _text(value, key):
            raise invalid_archive("a PAX header gives one field twice", key)
        at += length
    return records


def _text(raw: bytes, key: bytes = b"path") -> str:
    # Only names have to be read; other records, as those of file systems, may hold any bytes.
    errors = "strict" if key in {b"path", b"linkpath", b"size", b"hdrcharset"} else "replace"
    try:
        return raw.decode(errors=errors)
    except UnicodeDecodeError as error:
        raise invalid_archive("a member's name is not UTF-8", raw) from error


def _check_pax(records: dict[str, str]) -> None:
    if records.get("hdrcharset", *_PAX_CHARSETS) not in _PAX_CHARSETS:
        raise invalid_archive("a PAX header is not in UTF-8")
    for key in records:
        if key.startswith(_SPARSE):
            raise unsafe_archive("it has a sparse member")


def _member(header: _Header, extensions: dict[str, str]) -> TarMember:
    path, target = extensions.get("path"), extensions.get("linkpath")
    name = _text(header.name) if path is None else path
    kind = _KINDS.get(header.type)
    if kind is None:
        raise unsafe_archive("a member is neither a file, a folder nor a link", name)
    if kind is Kind.FILE and header.type == b"\0" and name.endswith("/"):
        kind = Kind.FOLDER
    if extensions.get("size", str(header.size)) != str(header.size):
        raise invalid_archive("a member has two sizes", name)
    if header.size and kind is not Kind.FILE:
        raise invalid_archive("a folder or a link has data", name)
    return TarMember(name, kind, header.size, _text(header.target) if target is None else target)
