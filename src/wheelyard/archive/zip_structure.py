"""
The members of a ZIP file, agreed on by both of its listings.

A ZIP file lists its members twice: in a header before each, and in the central directory at the
end. Readers trust the one or the other. The walk here takes both and accepts a file only if they
agree, cover every byte once, and use nothing that readers interpret differently. Nothing is
inflated. Follows APPNOTE 6.3.10.
"""

import os
import stat
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from wheelyard.archive.deadline import Deadline
from wheelyard.archive.faults import archive_bomb, invalid_archive, unsafe_archive
from wheelyard.archive.limits import ArchiveLimits
from wheelyard.archive.paths import Kind, Paths, path_of
from wheelyard.archive.zip_ending import Directory, find_directory
from wheelyard.archive.zip_extra import Sizes, check_extra

STORED = 0
DEFLATED = 8

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

NameRule = Callable[[str, ArchiveLimits], None]


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a ZIP file; sizes and offsets in bytes."""

    name: str
    flags: int
    method: int
    crc: int
    compressed: int
    size: int
    header_offset: int

    @property
    def raw_name(self) -> bytes:
        """The bytes of the name in the file."""
        return self.name.encode()

    @property
    def is_folder(self) -> bool:
        """Whether this only names a folder."""
        return self.name.endswith("/")


@dataclass(frozen=True, slots=True)
class ZipFile:
    """An open ZIP file whose structure has been accepted."""

    descriptor: int
    size: int
    members: dict[str, Member]
    """In the order of the file."""
    data_offsets: dict[str, int]
    """Where the data of each member begins."""


def read_structure(
    descriptor: int, name_rule: NameRule, limits: ArchiveLimits, deadline: Deadline
) -> ZipFile:
    """
    Return the members of a ZIP file, none of which has been inflated.

    Args:
        descriptor: Of the file, open for reading.
        name_rule: Refuses the names that a member may not have.
        limits: Of what is read.
        deadline: Asked for every member.

    Raises:
        Invalid: The file could be read in two ways (code `invalid_archive`), writes outside its
            place (`unsafe_archive`) or is over the limits (`archive_bomb`).
    """
    file_size = os.fstat(descriptor).st_size
    directory = find_directory(descriptor, file_size, limits)
    _refuse_tar(descriptor)
    listed = sorted(_central_members(descriptor, directory), key=lambda one: one.header_offset)
    members: dict[str, Member] = {}
    data_offsets: dict[str, int] = {}
    paths = Paths()
    position = 0
    for member in listed:
        deadline.check()
        name_rule(member.name, limits)
        paths.add(path_of(member.name), Kind.FOLDER if member.is_folder else Kind.FILE)
        if member.name in members or paths.repeated:
            raise invalid_archive("two members have one name", member.name)
        if member.header_offset != position:
            raise invalid_archive("its members overlap, or bytes lie between them", member.name)
        data_offsets[member.name] = _check_local(descriptor, member)
        members[member.name] = member
        position = data_offsets[member.name] + member.compressed
    if position != directory.offset:
        raise invalid_archive("it has bytes that belong to no member")
    _check_inflated(listed, file_size, limits)
    paths.check()
    return ZipFile(descriptor, file_size, members, data_offsets)


def _check_inflated(members: list[Member], file_size: int, limits: ArchiveLimits) -> None:
    # Only what the headers claim; the inflater holds each member to its claim.
    allowed = limits.inflatable(file_size, limits.zip_inflated)
    if sum(member.size for member in members) > allowed:
        largest = max(members, key=lambda one: one.size)
        raise archive_bomb(f"it inflates to more than {allowed} bytes", largest.name)


def _refuse_tar(descriptor: int) -> None:
    block = os.pread(descriptor, _TAR_BLOCK, 0)
    digits = block[_TAR_CHECKSUM].strip(b" \0")
    total = sum(block) - sum(block[_TAR_CHECKSUM]) + 8 * ord(" ")
    if digits.isdigit() and digits == b"%0*o" % (len(digits), total):
        raise invalid_archive("it is a ZIP file and a tar file at once")


def _central_members(descriptor: int, directory: Directory) -> Iterator[Member]:
    block = os.pread(descriptor, directory.size, directory.offset)
    at = 0
    for _ in range(directory.entries):
        if len(block) - at < _CENTRAL.size or not block.startswith(_CENTRAL_SIGNATURE, at):
            raise invalid_archive("its directory is damaged")
        member, at = _central_member(block, at)
        yield member
    if at != len(block):
        raise invalid_archive("its directory has more entries than its end says")


def _central_member(block: bytes, at: int) -> tuple[Member, int]:
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
    sizes = check_extra(extra, raw_name, Sizes(size, compressed, offset), disk)
    _check_kind(name, attributes, sizes)
    member = Member(name, flags, method, crc, sizes.compressed, sizes.inflated, sizes.offset)
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
    if method not in {STORED, DEFLATED}:
        raise invalid_archive("a member is neither stored nor deflated", name)


def _check_kind(name: str, attributes: int, sizes: Sizes) -> None:
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


def _check_local(descriptor: int, member: Member) -> int:
    """Return where the data of a member begins, once its own header has been compared."""
    at = member.header_offset
    raw_name = member.raw_name
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
    sizes = check_extra(extra, raw_name, Sizes(size, compressed, at), 0)
    found = (flags, method, crc, sizes.compressed, sizes.inflated)
    if found != (member.flags, member.method, member.crc, member.compressed, member.size):
        raise invalid_archive("a member's header differs from the directory", member.name)
    return data_at
