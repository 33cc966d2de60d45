"""
The members of a ZIP file, agreed on by both of its listings, and their data.

A ZIP file lists its members twice: in a header before each, and in the central directory at the
end. Readers trust the one or the other, and find the directory in different ways: first or last
signature, with or without the 64-bit records. A file is accepted only if all ways lead to the same
place, both listings agree and cover every byte once, and nothing is used that readers interpret
differently. Data is inflated in pieces and held to what the headers claim. Follows APPNOTE 6.3.10.
"""

import os
import stat
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from wheelyard.archive.archive_errors import archive_bomb, invalid_archive, unsafe_archive
from wheelyard.archive.limits import KIB, MIB, ArchiveLimits, ReadContext
from wheelyard.archive.member_names import MemberKind, MemberPaths, normalized_path

READ_CHUNK_BYTES = 256 * KIB
"""Read from a file at once, in bytes."""
INFLATED_CHUNK_BYTES = MIB
"""Inflated at once at most, in bytes."""
_RAW = -15
"""Window bits of a deflate stream without a header."""

_STORED = 0
_DEFLATED = 8

_CENTRAL = struct.Struct("<4sBBHHHHHLLLHHHHHLL")
_CENTRAL_SIGNATURE = b"PK\1\2"
_LOCAL = struct.Struct("<4sHHHHHLLLHH")
_LOCAL_SIGNATURE = b"PK\3\4"
_UTF8 = 1 << 11
_DESCRIPTOR = 1 << 3
_ENCRYPTED = 1 << 0 | 1 << 6 | 1 << 13
_PATCHED = 1 << 5
_DOS_NOT_A_FILE = 1 << 3 | 1 << 4
"""Attributes of MS-DOS: the label of a disk, and a folder."""
_KNOWN_VERSION = 63
"""Of the format, 6.3; readers refuse a member that says it needs a later one."""
_TAR_BLOCK = 512
_TAR_CHECKSUM = slice(148, 156)

_END = struct.Struct("<4s4H2LH")
_END_SIGNATURE = b"PK\5\6"
_LOCATOR = struct.Struct("<4sLQL")
_LOCATOR_SIGNATURE = b"PK\6\7"
_END64 = struct.Struct("<4sQ2H2L4Q")
_END64_SIGNATURE = b"PK\6\6"
_END64_REST = 44
"""What the 64-bit record says of its own size when it has no extensible data."""
_COMMENT_LIMIT = 0xFFFF
_MAX_16 = 0xFFFF
_MAX_32 = 0xFFFFFFFF

_FIELD = struct.Struct("<HH")
_ZIP64 = 0x0001
_EXPERIMENTAL = 0x6C78
"""An extra field of libarchive; with it, its programs take a file for a link or a folder."""
_UNICODE_PATH = 0x7075
_UNICODE_PATH_HEAD = 5
"""A version and a checksum precede the name."""
_ZIP64_LENGTHS = frozenset({0, 8, 16, 24, 28})
_DISK_SIZE = 4

NameRule = Callable[[str, ArchiveLimits], None]


class Inflater:
    """One deflate stream; `window_bits` say in which format, as for zlib."""

    __slots__ = ("stream",)

    def __init__(self, window_bits: int) -> None:
        self.stream = zlib.decompressobj(window_bits)

    def pieces(self, source: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the inflated data up to the end of the stream; zlib.error if it is damaged."""
        for piece in source:
            rest = piece
            while rest:
                yield self.stream.decompress(rest, INFLATED_CHUNK_BYTES)
                rest = self.stream.unconsumed_tail
            if self.stream.eof:
                return
        # All input is taken, but output that did not fit into the last piece may be held back.
        while not self.stream.eof and (held := self.stream.decompress(b"", INFLATED_CHUNK_BYTES)):
            yield held


@dataclass(frozen=True, slots=True)
class ZipMember:
    """One member of a ZIP file; sizes and offsets in bytes."""

    name: str
    flags: int
    method: int
    crc: int
    compressed: int
    size: int
    header_offset: int

    @property
    def is_folder(self) -> bool:
        """Whether this only names a folder."""
        return self.name.endswith("/")


@dataclass(frozen=True, slots=True)
class ZipArchive:
    """An open ZIP file whose structure has been accepted."""

    reading: ReadContext
    members: dict[str, ZipMember]
    """In the order of the file."""
    data_offsets: dict[str, int]
    """Where the data of each member begins."""

    def read(self, member: ZipMember, limit: int) -> bytes:
        """Return the data of a member; refuse one over `limit` bytes, unread."""
        if member.size > limit:
            raise archive_bomb(f"a member is larger than {limit} bytes", member.name)
        return b"".join(self.pieces(member))

    def pieces(self, member: ZipMember) -> Iterator[bytes]:
        """
        Yield the data of a member in pieces of at most 1 MiB.

        It is refused if it is longer or shorter than the header says, does not fill its place, or
        has another checksum.
        """
        source = self._compressed(member)
        crc = size = 0
        for piece in source if member.method == _STORED else _inflated_pieces(source, member):
            self.reading.deadline.check()
            crc = zlib.crc32(piece, crc)
            size += len(piece)
            if size > member.size:
                raise invalid_archive("a member is longer than its header says", member.name)
            yield piece
        if size != member.size or crc != member.crc:
            raise invalid_archive("a member is not what its header says", member.name)

    def check(self, member: ZipMember) -> None:
        """Read the data of a member only to see whether it is what the header says."""
        for _ in self.pieces(member):
            pass

    def _compressed(self, member: ZipMember) -> Iterator[bytes]:
        at = self.data_offsets[member.name]
        stop = at + member.compressed
        while at < stop:
            piece = os.pread(self.reading.descriptor, min(READ_CHUNK_BYTES, stop - at), at)
            if not piece:
                raise invalid_archive("a member is cut off", member.name)
            at += len(piece)
            yield piece


def _inflated_pieces(source: Iterator[bytes], member: ZipMember) -> Iterator[bytes]:
    inflater = Inflater(_RAW)
    try:
        yield from inflater.pieces(source)
    except zlib.error as error:
        raise invalid_archive("a member cannot be inflated", member.name) from error
    if not inflater.stream.eof or inflater.stream.unused_data or next(source, b""):
        raise invalid_archive("a member's data does not end where it should", member.name)


def open_zip(reading: ReadContext, name_rule: NameRule) -> ZipArchive:
    """
    Return the members of a ZIP file, none of which has been inflated.

    A file is refused that could be read in two ways, has a name that `name_rule` refuses, writes
    outside its place, or is over the limits.
    """
    descriptor, limits = reading.descriptor, reading.limits
    file_size = os.fstat(descriptor).st_size
    directory = _find_directory(descriptor, file_size, limits)
    _refuse_tar(descriptor)
    listed = sorted(_central_members(descriptor, directory), key=lambda one: one.header_offset)
    members: dict[str, ZipMember] = {}
    data_offsets: dict[str, int] = {}
    paths = MemberPaths()
    position = 0
    for member in listed:
        reading.deadline.check()
        name_rule(member.name, limits)
        paths.add(
            normalized_path(member.name), MemberKind.FOLDER if member.is_folder else MemberKind.FILE
        )
        if member.name in members or paths.repeated:
            raise invalid_archive("two members have one name", member.name)
        if member.header_offset != position:
            raise invalid_archive("its members overlap, or bytes lie between them", member.name)
        data_offsets[member.name] = _check_local(descriptor, member)
        members[member.name] = member
        position = data_offsets[member.name] + member.compressed
    if position != directory.offset:
        raise invalid_archive("it has bytes that belong to no member")
    _check_inflated(listed, limits.inflatable(file_size, limits.zip_inflated))
    paths.check()
    return ZipArchive(reading, members, data_offsets)


def _check_inflated(members: list[ZipMember], allowed: int) -> None:
    # Only what the headers claim; the inflater holds each member to its claim.
    if sum(member.size for member in members) > allowed:
        largest = max(members, key=lambda one: one.size)
        raise archive_bomb(f"it inflates to more than {allowed} bytes", largest.name)


def _refuse_tar(descriptor: int) -> None:
    block = os.pread(descriptor, _TAR_BLOCK, 0)
    digits = block[_TAR_CHECKSUM].strip(b" \0")
    total = sum(block) - sum(block[_TAR_CHECKSUM]) + 8 * ord(" ")
    if digits.isdigit() and digits == b"%0*o" % (len(digits), total):
        raise invalid_archive("it is a ZIP file and a tar file at once")


class _Directory(NamedTuple):
    """The central directory."""

    entries: int
    offset: int
    size: int


def _find_directory(descriptor: int, file_size: int, limits: ArchiveLimits) -> _Directory:
    """Return where the directory is; limits are tested before anything of that size is read."""
    tail_offset = max(0, file_size - _END.size - _COMMENT_LIMIT)
    tail = os.pread(descriptor, file_size - tail_offset, tail_offset)
    at = tail.rfind(_END_SIGNATURE)
    if at < 0 or len(tail) - at < _END.size:
        raise invalid_archive("it is not a ZIP file, or was cut off")
    _check_comment(tail, at)
    _, *numbers, _ = _END.unpack_from(tail, at)
    directory, stop = _reconciled(descriptor, numbers, tail_offset + at)
    if directory.offset + directory.size != stop:
        raise invalid_archive("its directory is not where the end of the file says")
    limits.check_count(directory.entries)
    if directory.size > limits.central_directory:
        raise archive_bomb(f"its directory is larger than {limits.central_directory} bytes")
    if directory.entries * _CENTRAL.size > directory.size:
        raise invalid_archive("its directory is too small for its members")
    return directory


def _check_comment(tail: bytes, at: int) -> None:
    comment = tail[at + _END.size :]
    if len(comment) != int.from_bytes(tail[at + _END.size - 2 : at + _END.size], "little"):
        raise invalid_archive("bytes follow its end")
    if b"PK" in comment or not comment.isascii():
        raise invalid_archive("its comment is not plain text")


def _reconciled(descriptor: int, numbers: list[int], stop: int) -> tuple[_Directory, int]:
    """Return the directory, and where the first of the records that follow it begins."""
    wide = _wide_numbers(descriptor, stop)
    if wide is None:
        final, begin = numbers, stop
    else:
        final, begin = wide, stop - _LOCATOR.size - _END64.size
        limits = (_MAX_16, _MAX_16, _MAX_16, _MAX_16, _MAX_32, _MAX_32)
        for narrow, number, limit in zip(numbers, wide, limits, strict=True):
            if narrow not in {number, limit}:
                raise invalid_archive("its two end records differ")
    disk, start_disk, entries_here, entries, size, offset = final
    if disk or start_disk or entries_here != entries:
        raise invalid_archive("it is a part of a split archive")
    return _Directory(entries, offset, size), begin


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


def _central_members(descriptor: int, directory: _Directory) -> Iterator[ZipMember]:
    block = os.pread(descriptor, directory.size, directory.offset)
    at = 0
    for _ in range(directory.entries):
        if len(block) - at < _CENTRAL.size or not block.startswith(_CENTRAL_SIGNATURE, at):
            raise invalid_archive("its directory is damaged")
        member, at = _central_member(block, at)
        yield member
    if at != len(block):
        raise invalid_archive("its directory has more entries than its end says")


def _central_member(block: bytes, at: int) -> tuple[ZipMember, int]:
    """Return the entry that begins at `at`, and where the next one begins."""
    fields = _CENTRAL.unpack_from(block, at)
    flags, method, crc, compressed, size = fields[4], fields[5], fields[8], fields[9], fields[10]
    name_size, extra_size, comment_size, disk, _, attributes, offset = fields[11:18]
    name_at = at + _CENTRAL.size
    extra_at = name_at + name_size
    stop = extra_at + extra_size
    raw_name, extra = block[name_at:extra_at], block[extra_at:stop]
    name = _decoded(raw_name, flags)
    if stop > len(block) or comment_size:
        raise invalid_archive("an entry of its directory is cut off, or has a comment", name)
    _check_flags(flags, method, name)
    if fields[3] & 0xFF > _KNOWN_VERSION:
        raise invalid_archive("a member needs a later version of the format", name)
    sizes = _check_extra(extra, raw_name, _Sizes(size, compressed, offset), disk)
    _check_kind(name, attributes, sizes)
    member = ZipMember(name, flags, method, crc, sizes.compressed, sizes.inflated, sizes.offset)
    return member, stop


def _decoded(raw_name: bytes, flags: int) -> str:
    if not raw_name:
        raise unsafe_archive("a member has no name")
    try:
        return raw_name.decode("utf-8" if flags & _UTF8 else "ascii")
    except UnicodeDecodeError as error:
        raise invalid_archive("a member's name is not UTF-8", raw_name) from error


def _check_flags(flags: int, method: int, name: str) -> None:
    if flags & (_ENCRYPTED | _PATCHED):
        raise invalid_archive("a member is encrypted or a patch", name)
    if flags & _DESCRIPTOR:
        raise invalid_archive("a member has its sizes behind its data (a data descriptor)", name)
    if method not in {_STORED, _DEFLATED}:
        raise invalid_archive("a member is neither stored nor deflated", name)


class _Sizes(NamedTuple):
    """The numbers of a header that may be too large for it; in the order of the extra field."""

    inflated: int
    compressed: int
    offset: int


def _check_kind(name: str, attributes: int, sizes: _Sizes) -> None:
    kind = stat.S_IFMT(attributes >> 16)
    is_folder = name.endswith("/")
    if "\\" in name or name.endswith("/."):
        raise unsafe_archive("a member has a name that programs spell in two ways", name)
    if attributes & _DOS_NOT_A_FILE and not is_folder:
        raise invalid_archive("a member is a file by its name, and none by its attributes", name)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR} or (kind == stat.S_IFDIR and not is_folder):
        raise unsafe_archive("a member is a link or a device", name)
    if is_folder and sizes.inflated:
        raise invalid_archive("a folder has data", name)


def _check_local(descriptor: int, member: ZipMember) -> int:
    """Return where the data of a member begins, once its own header has been compared."""
    at = member.header_offset
    raw_name = member.name.encode()
    header = os.pread(descriptor, _LOCAL.size + len(raw_name), at)
    if len(header) < _LOCAL.size or not header.startswith(_LOCAL_SIGNATURE):
        raise invalid_archive("a member is missing", member.name)
    _, _, flags, method, _, _, crc, compressed, size, name_size, extra_size = _LOCAL.unpack_from(
        header
    )
    if name_size != len(raw_name) or header[_LOCAL.size :] != raw_name:
        raise invalid_archive("a member has two names", member.name)
    data_at: int = at + _LOCAL.size + name_size + extra_size
    extra = os.pread(descriptor, extra_size, data_at - extra_size) if extra_size else b""
    if len(extra) != extra_size:
        raise invalid_archive("a member is cut off", member.name)
    sizes = _check_extra(extra, raw_name, _Sizes(size, compressed, at), 0)
    found = (flags, method, crc, sizes.compressed, sizes.inflated)
    if found != (member.flags, member.method, member.crc, member.compressed, member.size):
        raise invalid_archive("a member's header differs from the directory", member.name)
    return data_at


def _check_extra(extra: bytes, raw_name: bytes, sizes: _Sizes, disk: int) -> _Sizes:
    """
    Return the sizes of a header with what its extra fields add.

    In `sizes`, as in the header, 0xFFFFFFFF stands for a number that is in the extra fields.
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
    if wide is None and disk == 0 and _MAX_32 not in sizes:
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


def _widened(wide: bytes, raw_name: bytes, sizes: _Sizes, disk: int) -> _Sizes:
    if len(wide) not in _ZIP64_LENGTHS or disk not in {0, _MAX_16}:
        raise invalid_archive("a member's ZIP64 field has an impossible size", raw_name)
    numbers = struct.unpack_from(f"<{len(wide) // 8}Q", wide)
    final = list(sizes)
    # Writers give either exactly the numbers that the header lacks, or all from the first on.
    lacking = [index for index, number in enumerate(sizes) if number == _MAX_32]
    places = lacking if len(lacking) == len(numbers) else range(len(numbers))
    for place, number in zip(places, numbers, strict=True):
        if final[place] not in {_MAX_32, number}:
            raise invalid_archive("a member's ZIP64 field differs from its header", raw_name)
        final[place] = number
    unfilled = any(index not in places for index in lacking)
    has_disk = len(wide) % 8 == _DISK_SIZE
    if unfilled or (disk == _MAX_16) != has_disk or any(wide[len(numbers) * 8 :]):
        raise invalid_archive("a member's ZIP64 field is incomplete", raw_name)
    return _Sizes(*final)
