"""
A strict tar reader that accepts only archives which all programs read alike.

Extension headers are limited in size and parsed in linear time. Follows POSIX.1-2001 (ustar and
pax), and the long names of GNU tar.
"""

import os
import re
import struct
import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple

from msgspec import Struct

from wheelyard.archive.archive_rules import (
    TAR_BLOCK_BYTES,
    ArchiveLimits,
    MemberKind,
    ReadContext,
    archive_bomb,
    damaged_archive,
    invalid_archive,
    tar_checksum,
    unsafe_archive,
)
from wheelyard.archive.zip_members import READ_CHUNK_BYTES, Inflater

GZIP_WINDOW_BITS: Final = 31
"""The argument by which zlib expects a gzip member, and verifies its checksum and length."""
_GZIP_FIRST_BYTE: Final = b"\x1f"
_MAX_PADDING_MEMBERS: Final = 16
"""How many gzip members of zeros may follow the first member."""

_HEADER = struct.Struct("<100s 8s 8s 8s 12s 12s 8s c 100s 6s 2s 32s 32s 8s 8s 155s 12x")
_OCTAL_NUMBER = re.compile(rb" *([0-7]*) *(?:\0[ \0]*)?")
_BLANKS = re.compile(rb" +")
_UNUSED_NUMBER = re.compile(rb" *[0-7]*[ \0]*|[\x80\xff].*", re.DOTALL)
_MODIFICATION_TIME = re.compile(rb" *[0-7]*[ \0]*|\x80\0{6}.{5}|\xff{7}.{5}", re.DOTALL)
"""The times that all readers accept: some readers stop at a larger time."""
_USTAR_MAGIC = b"ustar\0"
_HIGH_BIT = 0x80

_FIRST_NAME = re.compile(rb"(?!BZh[1-9]1AY&SY)[^\0-\x1f\x7f]*\0*")
"""
A name field of a first header that does not begin with the signature of another format.

Some readers look for such a signature before that of tar. Signatures of compressions except bzip2's
have control characters or are not text. Signatures of archive formats have a lower priority than
the magic of tar.
"""

_TRUNCATED_NAME_BYTES = 99
"""Bytes of a long name that every writer puts into the header's name field."""

_LONG_NAME = b"L"
_LONG_LINK = b"K"
_PAX = b"x"
_PAX_GLOBAL = b"g"
_EXTENSIONS = frozenset({_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL})
_ALLOWED_EXTENSIONS = re.compile(b"g?(?:x|LK?|KL?)?")
"""The types of the extensions before one member. Of another sequence readers ignore a part."""
_PAX_LENGTH_DIGITS = 8
_PAX_KEY = re.compile(rb"[^\0-\x20\x7f][^\0-\x1f\x7f]*")
"""Without a leading blank, which GNU tar skips and other readers take as part of the key."""
_PAX_CHARSET = "ISO-IR 10646 2000 UTF-8"
_PAX_DECIMAL = re.compile(r"-?[0-9]{1,12}(?:\.[0-9]{0,40})?")
_PAX_INTEGER = re.compile(r"-?[0-9]{1,20}")
_PAX_NUMBERS = {
    "atime": _PAX_DECIMAL,
    "ctime": _PAX_DECIMAL,
    "gid": _PAX_DECIMAL,
    "mtime": _PAX_DECIMAL,
    "uid": _PAX_DECIMAL,
    "LIBARCHIVE.creationtime": _PAX_DECIMAL,
    "SCHILY.dev": _PAX_INTEGER,
    "SCHILY.ino": _PAX_INTEGER,
    "SCHILY.nlink": _PAX_INTEGER,
}
"""The numbers that all readers accept."""
_SPARSE_KEY_PREFIX = "GNU.sparse."
_AMBIGUOUS_PAX_KEY = re.compile(r"GNU\.|SUN\.|SCHILY\.(?!acl\.|xattr\.|(?:dev|fflags|ino|nlink)$)")
"""Keys that change the type or the data of a member for some readers only."""

_OLD_FILE = b"\0"
"""The type of a file, or of a folder whose name ends in a slash, from before POSIX."""
_KINDS = {
    b"0": MemberKind.FILE,
    _OLD_FILE: MemberKind.FILE,
    b"1": MemberKind.HARD_LINK,
    b"2": MemberKind.SYMBOLIC_LINK,
    b"5": MemberKind.FOLDER,
}


class GzipReader:
    """The decompressed data of one archive, which may inflate to as much as the limits allow."""

    __slots__ = ("_bytes_left", "_context", "_offset")

    def __init__(self, context: ReadContext) -> None:
        size = os.fstat(context.descriptor).st_size
        self._context = context
        self._bytes_left = context.limits.max_inflated_bytes(size, context.limits.tar_inflated)
        self._offset = 0

    def chunks(self) -> Iterator[bytes]:
        """
        Yield the data of the first gzip member in chunks of 1 byte to 1 MiB.

        Raises Invalid for damaged data and if more than zeros follow (code `invalid_archive`), and
        if the limits allow no more data or time (code `archive_bomb`).
        """
        for chunk in self._inflate_member():
            # an inflater may yield an empty chunk, which a TarStream would take for the end
            if chunk:
                yield chunk

        # what readers do behind the first member differs, so only zeros may follow it
        padding_members = 0
        while self._skip_padding():
            padding_members += 1
            if padding_members > _MAX_PADDING_MEMBERS:
                raise archive_bomb("it has too many gzip members")
            for chunk in self._inflate_member():
                if chunk.strip(b"\0"):
                    raise invalid_archive("it has a second gzip member with other files")

    def _skip_padding(self) -> bool:
        """
        Skip zeros, and return whether a gzip member follows, or False at the end of the file.

        Raises Invalid (code `invalid_archive`) if other bytes follow.
        """
        for chunk in self._read_compressed():
            self._context.deadline.check()
            chunk_from_data = chunk.lstrip(b"\0")
            if chunk_from_data:
                self._offset -= len(chunk_from_data)  # back to the first byte that is not zero
                if not chunk_from_data.startswith(_GZIP_FIRST_BYTE):
                    raise invalid_archive("bytes follow its gzip data")
                return True
        return False

    def _inflate_member(self) -> Iterator[bytes]:
        """Yield the inflated data of the gzip member at the offset, and move behind it."""
        inflater = Inflater(GZIP_WINDOW_BITS)
        try:
            for chunk in inflater.chunks(self._read_compressed()):
                self._context.deadline.check()
                # counted while the data inflates, as no header of gzip says how large it is
                self._bytes_left -= len(chunk)
                if self._bytes_left < 0:
                    raise archive_bomb("it inflates to more than the limit for its size")
                yield chunk
        except zlib.error as error:
            raise damaged_archive("it is not gzip data, or is damaged") from error
        if not inflater.stream.eof:
            raise damaged_archive("its gzip data is cut off")
        self._offset -= len(inflater.stream.unused_data)

    def _read_compressed(self) -> Iterator[bytes]:
        """Yield the bytes of the file from the offset on, and move the offset with each chunk."""
        while chunk := os.pread(self._context.descriptor, READ_CHUNK_BYTES, self._offset):
            self._offset += len(chunk)
            yield chunk


class TarStream(Struct):
    """
    A forward-only stream of the bytes of a tar archive.

    Every method raises Invalid if the gzip data is damaged, or exceeds a limit.
    """

    source: Iterator[bytes]
    """Yields no empty chunk."""
    position: int = 0
    """The number of bytes that were read or skipped."""
    _buffer: bytes = b""
    _offset_in_buffer: int = 0
    """Where the next byte is in the buffer, or a place behind its end while bytes are skipped."""

    def read(self, size: int) -> bytes:
        """Return the next `size` bytes of the archive, or fewer at its end."""
        while len(self._buffer) - self._offset_in_buffer < size and self._refill():
            pass
        data = self._buffer[self._offset_in_buffer : self._offset_in_buffer + size]
        self._offset_in_buffer += len(data)
        self.position += len(data)
        return data

    def skip(self, size: int) -> bool:
        """Skip `size` bytes, and return False if the archive has fewer, else True."""
        self.position += size
        self._offset_in_buffer += size
        while (beyond := self._offset_in_buffer - len(self._buffer)) > 0:
            if not self._refill():
                return False
            self._offset_in_buffer = beyond
        return True

    def ends_in_zeros(self) -> bool:
        """Return whether all remaining bytes are zero, reading up to the first that is not."""
        while not self._buffer[self._offset_in_buffer :].strip(b"\0"):
            self._offset_in_buffer = len(self._buffer)
            if not self._refill():
                return True
        return False

    def _refill(self) -> bool:
        """Append the next chunk to the unread part of the buffer, and return False at the end."""
        chunk = next(self.source, b"")
        self._buffer = self._buffer[self._offset_in_buffer :] + chunk
        self._offset_in_buffer = 0
        return bool(chunk)


class TarMember(Struct, frozen=True):
    """
    The name, kind, size and link target of one tar member, without its data.

    The caller may read the data from the `TarStream` until it asks for the next member.
    """

    name: str
    kind: MemberKind
    size: int
    """Bytes of data. Zero unless the member is a file."""
    target: str
    """The target of a link, as written."""


class _HeaderFields(NamedTuple):
    """The fields of a header, with the bytes that its block has."""

    name: bytes
    mode: bytes
    owner: bytes
    group: bytes
    size: bytes
    modified_at: bytes
    checksum: bytes
    type: bytes
    target: bytes
    magic: bytes
    version: bytes
    owner_name: bytes
    group_name: bytes
    device_major: bytes
    device_minor: bytes
    prefix: bytes


class _Header(Struct, frozen=True):
    """A header whose checksum and numbers are valid."""

    name: bytes
    """The name with its prefix."""
    short_name: bytes
    """The name field without the prefix, in which some readers look for the last slash."""
    type: bytes
    size: int
    target: bytes


def tar_members(context: ReadContext) -> Iterator[tuple[TarMember, TarStream]]:
    """
    Yield each member of a tar archive, with the stream at the beginning of its data.

    Before the next member the caller may read up to `size` bytes of data from the stream. Names and
    targets are as written, and the caller has to check them. Raises Invalid if the archive is
    damaged or ambiguous (code `invalid_archive`), has unusual members (code `unsafe_archive`), or
    exceeds a limit (code `archive_bomb`).
    """
    stream = TarStream(GzipReader(context).chunks())

    # what the extension headers before the next member say, and their types
    extensions: dict[str, str] = {}
    extension_types = b""
    member_count = 0
    extension_bytes = 0
    while (header := _read_header(stream)) is not None:
        context.deadline.check()
        if header.type in _EXTENSIONS:
            extension_bytes += header.size + TAR_BLOCK_BYTES
            extension_types += header.type
            _check_extension(extension_types, header, extension_bytes, context.limits)
            extensions |= _parse_extension(header, _read_extension_data(stream, header.size))
            continue
        member_count += 1
        context.limits.check_count(member_count)
        member = _build_member(header, extensions, has_extension=bool(extension_types))
        extensions = {}
        extension_types = b""
        padding = -member.size % TAR_BLOCK_BYTES
        data_end = stream.position + member.size + padding
        yield member, stream
        # the caller may have read any part of the data
        if not stream.skip(data_end - stream.position):
            raise damaged_archive("a member is cut off", member.name)
    if extension_types:
        raise damaged_archive("it ends within the header of a member")
    if not member_count:
        raise invalid_archive("it has no members")


def _read_header(stream: TarStream) -> _Header | None:
    """Return the next header, or None at the end of the archive."""
    block = stream.read(TAR_BLOCK_BYTES)

    # one block of zeros or two end an archive; some writers leave them out
    if not block.strip(b"\0") and len(block) in {0, TAR_BLOCK_BYTES}:
        if not stream.ends_in_zeros():
            raise invalid_archive("it has members behind its end")
        return None
    if len(block) < TAR_BLOCK_BYTES:
        raise damaged_archive("it is not a tar archive, or was cut off")
    fields = _HeaderFields(*_HEADER.unpack(block))

    # programs tell the format of an archive by its first header
    if stream.position == TAR_BLOCK_BYTES:
        _check_first_name(fields)
    short_name = _text_of(fields.name)

    # before any other field is looked at: a damaged header may say anything
    if not _has_valid_checksum(block, fields.checksum):
        raise damaged_archive("the header of a member is damaged", short_name)
    _check_unused_fields(fields, short_name)
    name = short_name
    prefix = _text_of(fields.prefix)
    if prefix and fields.type not in _EXTENSIONS:
        if fields.magic != _USTAR_MAGIC:
            raise invalid_archive("a member's header has fields of no standard", short_name)
        name = prefix + b"/" + short_name
    size = _parse_size(fields.size, name)
    return _Header(name, short_name, fields.type, size, _text_of(fields.target))


def _text_of(field: bytes) -> bytes:
    """Return the bytes of a field up to its first NUL."""
    return field.partition(b"\0")[0]


def _check_first_name(fields: _HeaderFields) -> None:
    """Raise Invalid if a first header could be taken for the beginning of another format."""
    is_utf8 = fields.name.decode(errors="replace").encode() == fields.name
    is_text = is_utf8 and _FIRST_NAME.fullmatch(fields.name)
    if not is_text or not fields.magic.startswith(b"ustar"):
        raise invalid_archive("it begins as another format than tar does")


def _check_unused_fields(fields: _HeaderFields, name: bytes) -> None:
    """Raise Invalid for a malformed number that nobody needs: some readers stop at it silently."""
    devices = (fields.device_major, fields.device_minor)
    unused_numbers = (fields.mode, fields.owner, fields.group, *devices)
    are_numbers = all(_UNUSED_NUMBER.fullmatch(number) for number in unused_numbers)
    if not are_numbers or not _MODIFICATION_TIME.fullmatch(fields.modified_at):
        raise invalid_archive("a field of a member's header is not a number", name)


def _has_valid_checksum(block: bytes, field: bytes) -> bool:
    """Return whether the checksum field of a header has the checksum of the header's bytes."""
    match = _OCTAL_NUMBER.fullmatch(field)
    if match is None:
        return False
    checksum = int(match[1] or b"0", 8)
    unsigned_sum = tar_checksum(block)
    if checksum == unsigned_sum:
        return True
    # old writers summed signed characters, of which those with the high bit are 256 less
    high_bytes = sum(byte >= _HIGH_BIT for byte in block)
    return checksum == unsigned_sum - 256 * high_bytes


def _parse_size(field: bytes, name: bytes) -> int:
    """Return the number in the size field of the member `name`, or raise Invalid."""
    match = _OCTAL_NUMBER.fullmatch(field)
    if match is None or _BLANKS.fullmatch(field):
        raise invalid_archive("the size of a member is not an octal number", name)
    return int(match[1] or b"0", 8)


def _check_extension(
    extension_types: bytes, header: _Header, extension_bytes: int, limits: ArchiveLimits
) -> None:
    """Raise Invalid for extensions that readers understand differently, or above a limit."""
    if not _ALLOWED_EXTENSIONS.fullmatch(extension_types):
        raise invalid_archive("a member has two long names or PAX headers")
    if header.size > limits.tar_extension:
        raise archive_bomb(f"a long name or PAX header is over {limits.tar_extension} bytes")
    if extension_bytes > limits.tar_extensions:
        raise archive_bomb(f"long names and PAX headers are over {limits.tar_extensions} bytes")


def _read_extension_data(stream: TarStream, size: int) -> bytes:
    """Return the data of an extension header, or raise Invalid if it is cut off."""
    padding = -size % TAR_BLOCK_BYTES
    block = stream.read(size + padding)
    if len(block) < size:
        raise damaged_archive("a long name or PAX header is cut off")
    # some readers take the padding as data
    if block[size:].strip(b"\0"):
        raise invalid_archive("bytes follow a long name or PAX header")
    return block[:size]


def _parse_extension(header: _Header, data: bytes) -> dict[str, str]:
    """Return the fields, by PAX key, that an extension header sets for the next member."""
    if header.type in {_PAX, _PAX_GLOBAL}:
        records = _parse_pax_records(data)
    else:
        key = "path" if header.type == _LONG_NAME else "linkpath"
        records = {key: _decode_field(_text_of(data))}
    if header.type == _PAX_GLOBAL:
        if not records.keys() <= {"comment"}:
            raise invalid_archive("a global PAX header has more than a comment")
        return {}
    _check_pax(records)
    return records


def _parse_pax_records(data: bytes) -> dict[str, str]:
    """
    Return the fields of a PAX header by their keys, or raise Invalid.

    The data are records `LENGTH KEY=VALUE`, each with a line feed at its end (POSIX).
    """
    records: dict[str, str] = {}
    offset = 0
    while offset < len(data):
        # a stranger writes the length: few digits, as Python takes long to convert many
        blank = data.find(b" ", offset, offset + _PAX_LENGTH_DIGITS)
        digits = data[offset:blank]
        length = int(digits) if blank > 0 and digits.isdigit() else 0
        record = data[blank + 1 : offset + length]
        key, equals, value = record[:-1].partition(b"=")
        has_length = 0 < length <= len(data) - offset
        is_record = has_length and equals and record.endswith(b"\n")
        if not is_record:
            raise invalid_archive("a PAX header is malformed")
        # some readers search for hdrcharset anywhere, also in values
        if not _PAX_KEY.fullmatch(key) or b" hdrcharset=" in value:
            raise invalid_archive("a PAX header is malformed")
        text = _decode_field(value, key)
        # of two values some readers take the first, and some the last
        if records.setdefault(_decode_field(key), text) != text:
            raise invalid_archive("a PAX header gives one field twice", key)
        offset += length
    return records


def _decode_field(raw: bytes, key: bytes = b"path") -> str:
    """Return the text of a field, or raise Invalid if the field `key` must be UTF-8 and is not."""
    # only these must be text: other records may have any bytes
    errors = "strict" if key in {b"path", b"linkpath", b"size", b"hdrcharset"} else "replace"
    try:
        return raw.decode(errors=errors)
    except UnicodeDecodeError as error:
        raise invalid_archive("a member's name is not UTF-8", raw) from error


def _check_pax(records: dict[str, str]) -> None:
    """Raise Invalid for fields of a PAX header that readers understand differently."""
    if records.get("hdrcharset", _PAX_CHARSET) != _PAX_CHARSET:
        raise invalid_archive("a PAX header is not in UTF-8")
    for key, value in records.items():
        if key.startswith(_SPARSE_KEY_PREFIX):
            raise unsafe_archive("it has a sparse member")
        if _AMBIGUOUS_PAX_KEY.match(key):
            raise invalid_archive("a PAX header has a field that only some programs know", key)
        if key in _PAX_NUMBERS and not _PAX_NUMBERS[key].fullmatch(value):
            raise invalid_archive("a PAX header has a malformed number", key)


def _build_member(header: _Header, extensions: dict[str, str], *, has_extension: bool) -> TarMember:
    """
    Return the member that a header and the extensions before it describe, or raise Invalid.

    `has_extension` is also true for an extension that sets no field.
    """
    name = extensions.get("path")
    if name is None:
        name = _decode_field(header.name)
    kind = _KINDS.get(header.type)
    if kind is None:
        raise unsafe_archive("a member is neither a file, a folder nor a link", name)

    # writers of before POSIX mark a folder by the slash alone
    ends_in_slash = name.endswith("/") and header.short_name.endswith(b"/")
    if header.type == _OLD_FILE and ends_in_slash:
        # newer versions of Python take such a member for a file
        if has_extension:
            raise invalid_archive(
                "a folder with a long name or PAX header has the type of a file", name
            )
        kind = MemberKind.FOLDER
    has_folder_name = name.endswith(("/", "/.")) or _is_folder_name(header, name)
    if kind is not MemberKind.FOLDER and has_folder_name:
        raise invalid_archive("a file or a link has a name that ends as a folder's does", name)
    size_text = str(header.size)
    if extensions.get("size", size_text) != size_text:
        raise invalid_archive("a member has two sizes", name)
    if header.size and kind is not MemberKind.FILE:
        raise invalid_archive("a folder or a link has data", name)
    target = extensions.get("linkpath")
    if target is None:
        target = _decode_field(header.target)
    return TarMember(name, kind, header.size, target)


def _is_folder_name(header: _Header, name: str) -> bool:
    """Return whether a reader that ignores extensions takes a file or link for a folder."""
    short_name = header.short_name
    if not short_name.endswith(b"/"):
        return False
    # writers truncate a long name to the size of the field, perhaps behind a slash
    begins_name = name.encode().startswith(short_name)
    # Python's tarfile writes `?` there for what is not ASCII
    begins_ascii_name = name.encode("ascii", "replace").startswith(short_name)
    is_truncated = len(short_name) >= _TRUNCATED_NAME_BYTES and (begins_name or begins_ascii_name)
    return header.type == _OLD_FILE or not is_truncated
