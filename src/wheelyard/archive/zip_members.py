"""
A strict ZIP reader that accepts only files which all programs read alike.

A ZIP file lists its members twice: in a local header before each, and in the central directory at
the end. Readers trust the one or the other, and find the directory in different ways: first or last
signature, with or without the ZIP64 records. A file is accepted only if all ways lead to one
directory, both listings agree and cover every byte once, and no feature is used that readers
interpret differently. Data is inflated in chunks and may not exceed the size in its header. Follows
APPNOTE 6.3.10.
"""

import os
import stat
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import NamedTuple

from msgspec import Struct

from wheelyard.archive.archive_rules import (
    KIB,
    MIB,
    TAR_BLOCK_BYTES,
    TAR_CHECKSUM,
    ArchiveLimits,
    MemberKind,
    MemberPaths,
    ReadContext,
    archive_bomb,
    damaged_archive,
    invalid_archive,
    missing_metadata,
    normalized_path,
    tar_checksum,
    unsafe_archive,
)

READ_CHUNK_BYTES = 256 * KIB
"""The bytes of one read from a file."""
INFLATED_CHUNK_BYTES = MIB
"""The most bytes of inflated data in one chunk."""
_RAW_DEFLATE_BITS = -15
"""Window bits of a deflate stream without a header."""

_STORED = 0
_DEFLATED = 8

_CENTRAL = struct.Struct("<4sBBHHHHHLLLHHHHHLL")
_CENTRAL_SIGNATURE = b"PK\1\2"
_LOCAL = struct.Struct("<4sHHHHHLLLHH")
_LOCAL_SIGNATURE = b"PK\3\4"
_UTF8 = 1 << 11
_DATA_DESCRIPTOR = 1 << 3
_ENCRYPTED = 1 << 0 | 1 << 6 | 1 << 13
_PATCH_DATA = 1 << 5
_DOS_LABEL_OR_FOLDER = 1 << 3 | 1 << 4
"""MS-DOS attributes: a volume label, and a folder."""
_MAX_VERSION_NEEDED = 63
"""Version 6.3 of the format. Readers reject a member that needs a later one."""

_EOCD = struct.Struct("<4s4H2LH")
"""The end of central directory record."""
_EOCD_SIGNATURE = b"PK\5\6"
_ZIP64_LOCATOR = struct.Struct("<4sLQL")
_ZIP64_LOCATOR_SIGNATURE = b"PK\6\7"
_ZIP64_EOCD = struct.Struct("<4sQ2H2L4Q")
_ZIP64_EOCD_SIGNATURE = b"PK\6\6"
_ZIP64_EOCD_REMAINING = 44
"""The size field of a ZIP64 end record without extensible data."""
_MAX_16 = 0xFFFF
_MAX_32 = 0xFFFFFFFF

_EXTRA_HEADER = struct.Struct("<HH")
_ZIP64_EXTRA = 0x0001
_LIBARCHIVE_EXTRA = 0x6C78
"""With this extra field, programs with libarchive may read a file as a link or a folder."""
_UNICODE_PATH_EXTRA = 0x7075
_UNICODE_PATH_PREFIX_BYTES = 5
"""A version and a checksum, before the name."""
_ZIP64_FIELD_LENGTHS = frozenset({0, 8, 16, 24, 28})
_ZIP64_NUMBER_BYTES = 8
_ZIP64_DISK_BYTES = 4

NameCheck = Callable[[str, ArchiveLimits], None]


class Inflater:
    """
    A decompressor for one deflate stream.

    Args:
        window_bits: The argument by which zlib is told the format of the stream.
    """

    __slots__ = ("stream",)

    def __init__(self, window_bits: int) -> None:
        self.stream = zlib.decompressobj(window_bits)

    def chunks(self, compressed_chunks: Iterable[bytes]) -> Iterator[bytes]:
        """
        Yield the inflated data up to the end of the stream, or of its chunks if they are cut off.

        A chunk may be empty. Raises zlib.error if the data is malformed.
        """
        for chunk in compressed_chunks:
            remaining = chunk
            while remaining:
                yield self.stream.decompress(remaining, INFLATED_CHUNK_BYTES)
                remaining = self.stream.unconsumed_tail
            if self.stream.eof:
                return
        # all input is consumed, but output that did not fit into the last chunk may remain
        while not self.stream.eof:
            chunk = self.stream.decompress(b"", INFLATED_CHUNK_BYTES)
            if not chunk:
                return
            yield chunk


class ZipMember(Struct, frozen=True):
    """One member of a ZIP file, with sizes and offsets in bytes."""

    name: str
    flags: int
    method: int
    crc: int
    compressed_size: int
    size: int
    """The bytes of the inflated data."""
    header_offset: int

    @property
    def kind(self) -> MemberKind:
        """The kind of the member: FOLDER if its name ends with a slash, else FILE."""
        return MemberKind.FOLDER if self.name.endswith("/") else MemberKind.FILE


class ZipArchive(Struct, frozen=True):
    """An open ZIP file whose structure is valid."""

    context: ReadContext
    members: dict[str, ZipMember]
    """The members by name, in the order of the file."""
    data_offsets: dict[str, int]
    """The offset of each member's data."""
    _small_contents: dict[str, bytes] = {}
    """The data of small members that were read already: RECORD names these members, too."""

    def read_path(self, path: str, limit: int) -> bytes:
        """
        Return the inflated data of the member at `path`, of at most `limit` bytes.

        Raises Invalid if the member is missing (code `missing_metadata`), larger (code
        `archive_bomb`), or not as its header says (code `invalid_archive`).
        """
        member = self.members.get(path)
        if member is None:
            filename = path.rpartition("/")[2]
            raise missing_metadata(f"it has no file {filename}", path)
        return self.read(member, limit)

    def read(self, member: ZipMember, limit: int) -> bytes:
        """
        Return the inflated data of a member, which is kept for the next read if it is small.

        Raises Invalid (code `archive_bomb`), before reading, if the member has more than `limit`
        bytes. Raises Invalid (code `invalid_archive`) if it is not as its header says.
        """
        if member.size > limit:
            raise archive_bomb(f"a member is larger than {limit} bytes", member.name)
        data = b"".join(self.chunks(member))
        if len(data) <= INFLATED_CHUNK_BYTES:
            self._small_contents[member.name] = data
        return data

    def chunks(self, member: ZipMember) -> Iterator[bytes]:
        """
        Yield a member's inflated data in chunks of at most 1 MiB.

        Raises Invalid (code `invalid_archive`) if the data are malformed, or have not the size and
        checksum of the header.
        """
        if member.name in self._small_contents:
            yield self._small_contents[member.name]
            return
        compressed_chunks = self._read_compressed(member)

        # old build tools deflated folders to no bytes, where no stream has to be complete
        is_empty_folder = member.kind is MemberKind.FOLDER and not member.compressed_size
        is_inflated = member.method == _DEFLATED and not is_empty_folder
        chunks = _inflate(compressed_chunks, member) if is_inflated else compressed_chunks
        crc = 0
        size = 0
        for chunk in chunks:
            self.context.deadline.check()
            crc = zlib.crc32(chunk, crc)
            size += len(chunk)
            # refused at once, so that a header with a false size costs no more than that size
            if size > member.size:
                raise damaged_archive("a member is longer than its header says", member.name)
            yield chunk
        if size != member.size or crc != member.crc:
            raise damaged_archive("a member is not what its header says", member.name)

    def verify(self, member: ZipMember) -> None:
        """Read a member to its end, and raise Invalid if its data is not as its header says."""
        for _ in self.chunks(member):
            pass

    def _read_compressed(self, member: ZipMember) -> Iterator[bytes]:
        """Yield the data of a member as the file has them, or raise Invalid if they are cut off."""
        # `pread` moves no offset: several members may be read at a time
        offset = self.data_offsets[member.name]
        stop = offset + member.compressed_size
        while offset < stop:
            size = min(READ_CHUNK_BYTES, stop - offset)
            chunk = os.pread(self.context.descriptor, size, offset)
            if not chunk:
                raise damaged_archive("a member is cut off", member.name)
            offset += len(chunk)
            yield chunk


def _inflate(compressed_chunks: Iterator[bytes], member: ZipMember) -> Iterator[bytes]:
    """Yield the inflated data of a member, or raise Invalid unless the stream ends with them."""
    inflater = Inflater(_RAW_DEFLATE_BITS)
    try:
        yield from inflater.chunks(compressed_chunks)
    except zlib.error as error:
        raise damaged_archive("a member cannot be inflated", member.name) from error
    # programs differ in what they do with bytes behind the end of a deflate stream
    if not inflater.stream.eof or inflater.stream.unused_data or next(compressed_chunks, b""):
        raise damaged_archive("a member's data does not end where it should", member.name)


def open_zip(context: ReadContext, check_name: NameCheck) -> ZipArchive:
    """
    Return an open ZIP file, without inflating a member.

    `check_name` is called with each member's name, and raises Invalid to refuse the name. Raises
    Invalid if the structure of the file is ambiguous or damaged (code `invalid_archive`), if a
    member cannot be unpacked safely (code `unsafe_archive`), or if the file exceeds a limit (code
    `archive_bomb`).
    """
    descriptor = context.descriptor
    limits = context.limits
    file_size = os.fstat(descriptor).st_size
    directory = _find_directory(descriptor, file_size)
    _reject_tar_polyglot(descriptor)
    entries = _read_central_directory(descriptor, directory, limits)
    members_by_offset = sorted(entries, key=attrgetter("header_offset"))
    members: dict[str, ZipMember] = {}
    data_offsets: dict[str, int] = {}
    paths = MemberPaths()
    position = 0
    for member in members_by_offset:
        context.deadline.check()
        check_name(member.name, limits)
        paths.add(normalized_path(member.name), member.kind)
        if member.name in members or paths.duplicates:
            raise invalid_archive("two members have one name", member.name)
        # in the order of the file, the members have to cover each byte exactly once
        if member.header_offset != position:
            raise invalid_archive("its members overlap, or bytes lie between them", member.name)
        data_offsets[member.name] = _check_local_header(descriptor, member)
        members[member.name] = member
        position = data_offsets[member.name] + member.compressed_size
    if position != directory.offset:
        raise invalid_archive("it has bytes that belong to no member")

    _check_inflated_size(
        members_by_offset, limits.max_inflated_bytes(file_size, limits.zip_inflated)
    )
    paths.check()
    return ZipArchive(context, members, data_offsets)


def _check_inflated_size(members: Sequence[ZipMember], limit: int) -> None:
    """Raise Invalid (code `archive_bomb`) if all members together are larger than `limit` bytes."""
    # these are the sizes of the headers: reading a member verifies that its size is true
    if sum(member.size for member in members) > limit:
        largest = max(members, key=attrgetter("size"))
        raise archive_bomb(f"it inflates to more than {limit} bytes", largest.name)


def _reject_tar_polyglot(descriptor: int) -> None:
    """Raise Invalid if the file begins with a tar header, which some programs would read."""
    # a ZIP file may begin with any bytes, so a tar header is known by its checksum alone
    block = os.pread(descriptor, TAR_BLOCK_BYTES, 0)
    digits = block[TAR_CHECKSUM].strip(b" \0")
    checksum_digits = b"%0*o" % (len(digits), tar_checksum(block))
    if digits.isdigit() and digits == checksum_digits:
        raise invalid_archive("it is a ZIP file and a tar file at once")


class _CentralDirectory(NamedTuple):
    """The number of entries of the central directory, its offset, and its size in bytes."""

    entries: int
    offset: int
    size: int


def _find_directory(descriptor: int, file_size: int) -> _CentralDirectory:
    """Return where the central directory is, or raise Invalid unless all records agree."""
    # the last signature counts: a comment behind it may have no other (`_check_comment`)
    tail_offset = max(0, file_size - _EOCD.size - _MAX_16)
    tail = os.pread(descriptor, file_size - tail_offset, tail_offset)
    record_offset = tail.rfind(_EOCD_SIGNATURE)
    if record_offset < 0 or len(tail) - record_offset < _EOCD.size:
        raise damaged_archive("it is not a ZIP file, or was cut off")
    _check_comment(tail, record_offset)
    _, *numbers, _ = _EOCD.unpack_from(tail, record_offset)

    # the directory has to end where the first of the end records begins
    directory_end = tail_offset + record_offset
    zip64_numbers = _read_zip64_record(descriptor, directory_end)
    if zip64_numbers is not None:
        # the largest number of a field stands for that of ZIP64; any other one has to be equal
        largest = (_MAX_16, _MAX_16, _MAX_16, _MAX_16, _MAX_32, _MAX_32)
        for number, zip64_number, maximum in zip(numbers, zip64_numbers, largest, strict=True):
            if number not in {zip64_number, maximum}:
                raise invalid_archive("its two end records differ")
        numbers = zip64_numbers
        directory_end -= _ZIP64_LOCATOR.size + _ZIP64_EOCD.size
    disk, start_disk, entries_here, entries, size, offset = numbers
    if disk or start_disk or entries_here != entries:
        raise invalid_archive("it is a part of a split archive")
    if offset + size != directory_end:
        raise damaged_archive("its directory is not where the end of the file says")
    return _CentralDirectory(entries, offset, size)


def _check_comment(tail: bytes, record_offset: int) -> None:
    """Raise Invalid unless the comment ends the file, and has no signature of a record."""
    comment_offset = record_offset + _EOCD.size
    comment = tail[comment_offset:]
    # the last field of the record
    size_field = tail[comment_offset - 2 : comment_offset]
    if len(comment) != int.from_bytes(size_field, "little"):
        raise invalid_archive("bytes follow its end")
    if b"PK" in comment or not comment.isascii():
        raise invalid_archive("its comment is not plain text")


def _read_zip64_record(descriptor: int, records_end: int) -> list[int] | None:
    """
    Return the six numbers of the ZIP64 end record, or None if no such record ends at `records_end`.

    Raises Invalid if its locator points elsewhere, or the record has extensible data.
    """
    size = _ZIP64_EOCD.size + _ZIP64_LOCATOR.size
    block = b""
    if records_end >= size:
        block = os.pread(descriptor, size, records_end - size)
    if not block[_ZIP64_EOCD.size :].startswith(_ZIP64_LOCATOR_SIGNATURE):
        return None
    _, disk, offset, disks = _ZIP64_LOCATOR.unpack_from(block, _ZIP64_EOCD.size)
    signature, remaining, _, _, *numbers = _ZIP64_EOCD.unpack_from(block)
    if (disk, disks, offset) != (0, 1, records_end - size) or signature != _ZIP64_EOCD_SIGNATURE:
        raise invalid_archive("its ZIP64 locator does not point to the ZIP64 end record")
    if remaining != _ZIP64_EOCD_REMAINING:
        raise invalid_archive("its ZIP64 end record has extensible data")
    return numbers


def _read_central_directory(
    descriptor: int, directory: _CentralDirectory, limits: ArchiveLimits
) -> Iterator[ZipMember]:
    """Yield the members of the central directory, or raise Invalid if it is over a limit."""
    limits.check_count(directory.entries)
    if directory.size > limits.central_directory:
        raise archive_bomb(f"its directory is larger than {limits.central_directory} bytes")
    # read into memory as a whole, as its size is limited
    block = os.pread(descriptor, directory.size, directory.offset)
    entry_offset = 0
    for _ in range(directory.entries):
        if len(block) - entry_offset < _CENTRAL.size or not block.startswith(
            _CENTRAL_SIGNATURE, entry_offset
        ):
            raise damaged_archive("its directory is damaged")
        member, entry_offset = _parse_central_entry(block, entry_offset)
        yield member
    if entry_offset != len(block):
        raise invalid_archive("its directory has more entries than its end says")


def _parse_central_entry(block: bytes, entry_offset: int) -> tuple[ZipMember, int]:
    """Return the member of a directory entry, and the offset of the next entry."""
    fields = _CENTRAL.unpack_from(block, entry_offset)
    version_needed = fields[3]
    flags, method = fields[4:6]
    crc, compressed, size = fields[8:11]
    name_size, extra_size, comment_size, disk, _, attributes, header_offset = fields[11:18]
    name_offset = entry_offset + _CENTRAL.size
    extra_offset = name_offset + name_size
    entry_end = extra_offset + extra_size
    raw_name = block[name_offset:extra_offset]
    extra = block[extra_offset:entry_end]
    name = _decode_name(raw_name, flags)
    if entry_end > len(block) or comment_size:
        raise invalid_archive("an entry of its directory is cut off, or has a comment", name)
    _check_flags(flags, method, name)
    if version_needed & 0xFF > _MAX_VERSION_NEEDED:
        raise invalid_archive("a member needs a later version of the format", name)
    sizes = _check_extra(extra, raw_name, _Sizes(size, compressed, header_offset), disk)
    _check_kind(name, attributes, sizes)
    member = ZipMember(name, flags, method, crc, sizes.compressed, sizes.inflated, sizes.offset)
    return member, entry_end


def _decode_name(raw_name: bytes, flags: int) -> str:
    """Return the name of a member, or raise Invalid if programs may read another one."""
    if not raw_name:
        raise unsafe_archive("a member has no name")
    # without the flag a name that is not ASCII is in a code page of DOS, which programs guess
    encoding = "utf-8" if flags & _UTF8 else "ascii"
    try:
        return raw_name.decode(encoding)
    except UnicodeDecodeError as error:
        raise invalid_archive("a member's name is not UTF-8", raw_name) from error


def _check_flags(flags: int, method: int, name: str) -> None:
    """Raise Invalid for a feature of the format that programs read differently."""
    if flags & (_ENCRYPTED | _PATCH_DATA):
        raise invalid_archive("a member is encrypted or a patch", name)
    if flags & _DATA_DESCRIPTOR:
        raise invalid_archive("a member has its sizes behind its data (a data descriptor)", name)
    if method not in {_STORED, _DEFLATED}:
        raise invalid_archive("a member is neither stored nor deflated", name)


class _Sizes(NamedTuple):
    """The numbers that may be in the ZIP64 extra field, in its order."""

    inflated: int
    compressed: int
    offset: int


def _check_kind(name: str, attributes: int, sizes: _Sizes) -> None:
    """Raise Invalid unless name and attributes say alike that a member is a file or folder."""
    # the upper half has the mode of Unix
    file_type = stat.S_IFMT(attributes >> 16)
    is_folder = name.endswith("/")
    if "\\" in name or name.endswith("/."):
        raise unsafe_archive("a member has a name that programs spell in two ways", name)
    if attributes & _DOS_LABEL_OR_FOLDER and not is_folder:
        raise invalid_archive("a member is a file by its name, and none by its attributes", name)
    is_plain = file_type in {0, stat.S_IFREG, stat.S_IFDIR}
    if not is_plain or (file_type == stat.S_IFDIR and not is_folder):
        raise unsafe_archive("a member is a link or a device", name)
    if is_folder and sizes.inflated:
        raise invalid_archive("a folder has data", name)


def _check_local_header(descriptor: int, member: ZipMember) -> int:
    """Return the offset of a member's data, or raise Invalid if its two headers differ."""
    header_offset = member.header_offset
    raw_name = member.name.encode()
    header = os.pread(descriptor, _LOCAL.size + len(raw_name), header_offset)
    if len(header) < _LOCAL.size or not header.startswith(_LOCAL_SIGNATURE):
        raise damaged_archive("a member is missing", member.name)
    _, _, flags, method, _, _, crc, *sizes_in_header = _LOCAL.unpack_from(header)
    compressed, size, name_size, extra_size = sizes_in_header
    if name_size != len(raw_name) or header[_LOCAL.size :] != raw_name:
        raise invalid_archive("a member has two names", member.name)
    data_offset: int = header_offset + _LOCAL.size + name_size + extra_size
    extra = b""
    if extra_size:
        extra = os.pread(descriptor, extra_size, data_offset - extra_size)
    if len(extra) != extra_size:
        raise damaged_archive("a member is cut off", member.name)
    sizes = _check_extra(extra, raw_name, _Sizes(size, compressed, header_offset), 0)
    numbers = (flags, method, crc, sizes.compressed, sizes.inflated)
    listed_numbers = (member.flags, member.method, member.crc, member.compressed_size, member.size)

    # readers of a stream believe the local header, and others the directory
    if numbers != listed_numbers:
        raise invalid_archive("a member's header differs from the directory", member.name)
    return data_offset


def _check_extra(extra: bytes, raw_name: bytes, sizes: _Sizes, disk: int) -> _Sizes:
    """
    Return the sizes of a header, completed by its ZIP64 field.

    In `sizes`, as in the header, 0xFFFFFFFF means that the number is in the ZIP64 field. Raises
    Invalid if programs read the extra fields differently.
    """
    needs_zip64 = disk != 0 or _MAX_32 in sizes
    # nearly all members return here
    if not extra and not needs_zip64:
        return sizes
    values: dict[int, list[bytes]] = {}
    for kind, value in _extra_fields(extra, raw_name):
        values.setdefault(kind, []).append(value)
    zip64_values = values.get(_ZIP64_EXTRA, [])
    if len(zip64_values) > 1:
        raise invalid_archive("a member has two ZIP64 fields", raw_name)
    if _LIBARCHIVE_EXTRA in values:
        raise invalid_archive("a member has an extra field that few programs know", raw_name)
    unicode_paths = values.get(_UNICODE_PATH_EXTRA, [])
    # some readers take this name, and others that of the header
    is_renamed = any(path[_UNICODE_PATH_PREFIX_BYTES:] != raw_name for path in unicode_paths)
    if len(unicode_paths) > 1 or is_renamed:
        raise invalid_archive("a member has a second name", raw_name)
    if not zip64_values and not needs_zip64:
        return sizes
    zip64_value = b"".join(zip64_values)
    return _apply_zip64(zip64_value, raw_name, sizes, disk)


def _extra_fields(extra: bytes, raw_name: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the kind and the value of each extra field, or raise Invalid if they are cut off."""
    offset = 0
    while offset < len(extra):
        value_offset = offset + _EXTRA_HEADER.size
        if value_offset > len(extra):
            raise invalid_archive("a member's extra fields are cut off", raw_name)
        kind, length = _EXTRA_HEADER.unpack(extra[offset:value_offset])
        offset = value_offset + length
        if offset > len(extra):
            raise invalid_archive("a member's extra fields are cut off", raw_name)
        yield kind, extra[value_offset:offset]


def _apply_zip64(data: bytes, raw_name: bytes, sizes: _Sizes, disk: int) -> _Sizes:
    """Return the sizes of a header, completed by the data of its ZIP64 field, or raise Invalid."""
    if len(data) not in _ZIP64_FIELD_LENGTHS or disk not in {0, _MAX_16}:
        raise invalid_archive("a member's ZIP64 field has an impossible size", raw_name)
    count = len(data) // _ZIP64_NUMBER_BYTES
    numbers = struct.unpack_from(f"<{count}Q", data)
    completed = list(sizes)
    # writers give either exactly the numbers that the header lacks, or all, from the first on
    missing = [index for index, number in enumerate(sizes) if number == _MAX_32]
    indexes = missing if len(missing) == count else list(range(count))
    for index, number in zip(indexes, numbers, strict=True):
        if completed[index] not in {_MAX_32, number}:
            raise invalid_archive("a member's ZIP64 field differs from its header", raw_name)
        completed[index] = number
    has_all = set(missing) <= set(indexes)
    # the number of the disk is behind the sizes, if the header has the largest one in place of it
    disk_bytes = data[count * _ZIP64_NUMBER_BYTES :]
    has_disk = len(disk_bytes) == _ZIP64_DISK_BYTES
    needs_disk = disk == _MAX_16
    if not has_all or needs_disk != has_disk or any(disk_bytes):
        raise invalid_archive("a member's ZIP64 field is incomplete", raw_name)
    return _Sizes(*completed)
