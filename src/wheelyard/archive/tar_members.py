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
from typing import Final

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
"""With these, zlib expects a gzip member and verifies its checksum and length."""
_GZIP_FIRST_BYTE: Final = b"\x1f"
_MAX_PADDING_MEMBERS: Final = 16
"""How many gzip members of zeros may follow the first member."""

_HEADER = struct.Struct("<100s 8s 8s 8s 12s 12s 8s c 100s 6s 2s 32s 32s 8s 8s 155s 12x")
_OCTAL = re.compile(rb" *([0-7]*) *(?:\0[ \0]*)?")
_BLANK = re.compile(rb" +")
_UNUSED_FIELDS = (1, 2, 3, 13, 14)
"""The indexes of mode, owner, group and device numbers among the fields of a header."""
_UNUSED_NUMBER = re.compile(rb" *[0-7]*[ \0]*|[\x80\xff].*", re.DOTALL)
_MODIFICATION_TIME = re.compile(rb" *[0-7]*[ \0]*|\x80\0{6}.{5}|\xff{7}.{5}", re.DOTALL)
"""With a larger time some readers stop."""
_USTAR = b"ustar\0"
_HIGH_BIT = 0x80

_FIRST_NAME = re.compile(rb"(?!BZh[1-9]1AY&SY)[^\0-\x1f\x7f]*\0*")
"""
The first name field, without the signature of another format, which some readers check first.

Signatures of compressions except bzip2's have control characters or are not text. Signatures of
archive formats have a lower priority than the magic of tar.
"""

_TRUNCATED_NAME_BYTES = 99
"""Bytes of a long name that every writer puts into the header's name field."""

_LONG_NAME = b"L"
_LONG_LINK = b"K"
_PAX = b"x"
_PAX_GLOBAL = b"g"
_EXTENSIONS = frozenset({_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL})
_ALLOWED_EXTENSIONS = re.compile(b"g?(?:x|LK?|KL?)?")
"""The types of the extensions before one member. Of other sequences readers ignore some."""
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

_KINDS = {
    b"0": MemberKind.FILE,
    b"\0": MemberKind.FILE,
    b"1": MemberKind.HARD_LINK,
    b"2": MemberKind.SYMBOLIC_LINK,
    b"5": MemberKind.FOLDER,
}


class GzipReader:
    """The decompressed data of one archive, which may inflate to as much as the limits allow."""

    __slots__ = ("_context", "_left", "_offset")

    def __init__(self, context: ReadContext) -> None:
        size = os.fstat(context.descriptor).st_size
        self._context = context
        self._left = context.limits.inflatable(size, context.limits.tar_inflated)
        self._offset = 0

    def chunks(self) -> Iterator[bytes]:
        """
        Yield the data of the first gzip member in chunks of 1 byte to 1 MiB.

        Raises Invalid for damaged data and if more than zeros follow (code `invalid_archive`), and
        if the limits allow no more data or time (code `archive_bomb`).
        """
        yield from filter(None, self._member())
        # what readers do behind the first member differs, so only zeros may follow it
        members = 0
        while self._skip_padding():
            members += 1
            if members > _MAX_PADDING_MEMBERS:
                raise archive_bomb("it has too many gzip members")
            for chunk in self._member():
                if chunk.strip(b"\0"):
                    raise invalid_archive("it has a second gzip member with other files")

    def _skip_padding(self) -> bool:
        """Skip zeros, and return whether a gzip member follows, or raise Invalid."""
        for chunk in self._compressed():
            self._context.deadline.check()
            rest = chunk.lstrip(b"\0")
            if rest:
                self._offset -= len(rest)  # back to the first byte that is not zero
                if not rest.startswith(_GZIP_FIRST_BYTE):
                    raise invalid_archive("bytes follow its gzip data")
                return True
        return False

    def _member(self) -> Iterator[bytes]:
        """Yield the inflated data of the gzip member at the offset, and move behind it."""
        inflater = Inflater(GZIP_WINDOW_BITS)
        try:
            for chunk in inflater.chunks(self._compressed()):
                self._context.deadline.check()
                # while it inflates: no header says how large the data of gzip is
                self._left -= len(chunk)
                if self._left < 0:
                    raise archive_bomb("it inflates to more than the limit for its size")
                yield chunk
        except zlib.error as error:
            raise damaged_archive("it is not gzip data, or is damaged") from error
        if not inflater.stream.eof:
            raise damaged_archive("its gzip data is cut off")
        self._offset -= len(inflater.stream.unused_data)

    def _compressed(self) -> Iterator[bytes]:
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
    _next: int = 0
    """Where the next byte is in the buffer, or behind its end while bytes are skipped."""

    def read(self, size: int) -> bytes:
        """Return the next `size` bytes of the archive, or fewer at its end."""
        while len(self._buffer) - self._next < size and self._refill():
            pass
        data = self._buffer[self._next : self._next + size]
        self._next += len(data)
        self.position += len(data)
        return data

    def skip(self, size: int) -> bool:
        """Skip `size` bytes of the archive, and return False if it ends before them."""
        self.position += size
        self._next += size
        while (beyond := self._next - len(self._buffer)) > 0:
            if not self._refill():
                return False
            self._next = beyond
        return True

    def ends_in_zeros(self) -> bool:
        """Return whether all remaining bytes are zero, reading up to the first that is not."""
        while not self._buffer[self._next :].strip(b"\0"):
            self._next = len(self._buffer)
            if not self._refill():
                return True
        return False

    def _refill(self) -> bool:
        """Put the next chunk behind what is left of the buffer, and return False at the end."""
        chunk = next(self.source, b"")
        self._buffer = self._buffer[self._next :] + chunk
        self._next = 0
        return bool(chunk)


class TarMember(Struct, frozen=True):
    """
    The name, kind, size and link target of one tar member, without its data.

    The caller may read the data from the `TarStream` until it asks for the next member.
    """

    name: str
    kind: MemberKind
    size: int
    """Bytes of data. Zero unless it is a file."""
    target: str
    """The target of a link, as written."""


class _Header(Struct, frozen=True):
    name: bytes
    short_name: bytes
    """The name field without the prefix. Some readers look there for the last slash."""
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
    extensions: dict[str, str] = {}
    types = b""  # those of the extension headers before the next member
    count = 0
    extended = 0
    while (header := _read_header(stream)) is not None:
        context.deadline.check()
        if header.type in _EXTENSIONS:
            extended += header.size + TAR_BLOCK_BYTES
            types += header.type
            _check_extension(types, header, extended, context.limits)
            extensions |= _parse_extension(header, _read_extension_data(stream, header.size))
            continue
        count += 1
        context.limits.check_count(count)
        member = _build_member(header, extensions, has_extension=bool(types))
        extensions = {}
        types = b""
        # the caller may have read any part of the data when the next member is asked for
        padding = -member.size % TAR_BLOCK_BYTES
        stop = stream.position + member.size + padding
        yield member, stream
        if not stream.skip(stop - stream.position):
            raise damaged_archive("a member is cut off", member.name)
    if types:
        raise damaged_archive("it ends within the header of a member")
    if not count:
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
    fields = _HEADER.unpack(block)

    # the first header of the archive: programs tell the format by it
    if stream.position == TAR_BLOCK_BYTES:
        _check_first_name(fields[0], fields[9])
    name, _, _, _, size, _, checksum, kind, target, magic = fields[:10]
    prefix = fields[15].partition(b"\0")[0]
    name = name.partition(b"\0")[0]
    short_name = name

    # before any other field is looked at: a damaged header may say anything
    if not _is_checksum(block, checksum):
        raise damaged_archive("the header of a member is damaged", name)
    _check_unused_fields(fields, name)
    if prefix and kind not in _EXTENSIONS:
        if magic != _USTAR:
            raise invalid_archive("a member's header has fields of no standard", name)
        name = prefix + b"/" + name
    target = target.partition(b"\0")[0]
    return _Header(name, short_name, kind, _parse_size(size, name), target)


def _check_first_name(name: bytes, magic: bytes) -> None:
    is_text = _FIRST_NAME.fullmatch(name) and name == name.decode(errors="replace").encode()
    if not is_text or not magic.startswith(b"ustar"):
        raise invalid_archive("it begins as another format than tar does")


def _check_unused_fields(fields: tuple[bytes, ...], name: bytes) -> None:
    # The values are unused, but some readers stop silently at a malformed number.
    are_numbers = all(_UNUSED_NUMBER.fullmatch(fields[index]) for index in _UNUSED_FIELDS)
    if not are_numbers or not _MODIFICATION_TIME.fullmatch(fields[5]):
        raise invalid_archive("a field of a member's header is not a number", name)


def _is_checksum(block: bytes, field: bytes) -> bool:
    """Return whether the checksum field of a header is that of its bytes."""
    match = _OCTAL.fullmatch(field)
    expected = int(match[1] or b"0", 8) if match else 0
    unsigned_sum = tar_checksum(block)
    if expected == unsigned_sum:
        return True
    # Some old writers summed signed characters.
    signed_sum = unsigned_sum - 256 * sum(byte >= _HIGH_BIT for byte in block)
    return expected == signed_sum


def _parse_size(field: bytes, name: bytes) -> int:
    match = _OCTAL.fullmatch(field)
    if match is None or _BLANK.fullmatch(field):
        raise invalid_archive("the size of a member is not an octal number", name)
    return int(match[1] or b"0", 8)


def _check_extension(types: bytes, header: _Header, extended: int, limits: ArchiveLimits) -> None:
    """Raise Invalid for a sequence that readers take differently, or if limits are exceeded."""
    if not _ALLOWED_EXTENSIONS.fullmatch(types):
        raise invalid_archive("a member has two long names or PAX headers")
    if header.size > limits.tar_extension:
        raise archive_bomb(f"a long name or PAX header is over {limits.tar_extension} bytes")
    if extended > limits.tar_extensions:
        raise archive_bomb(f"long names and PAX headers are over {limits.tar_extensions} bytes")


def _read_extension_data(stream: TarStream, size: int) -> bytes:
    """Return the data of an extension header, or raise Invalid if it is cut off."""
    block = stream.read(size + -size % TAR_BLOCK_BYTES)
    if len(block) < size:
        raise damaged_archive("a long name or PAX header is cut off")
    if block[size:].strip(b"\0"):  # some readers take these bytes as data
        raise invalid_archive("bytes follow a long name or PAX header")
    return block[:size]


def _parse_extension(header: _Header, data: bytes) -> dict[str, str]:
    """Return the fields, by PAX key, that an extension header sets for the next member."""
    if header.type in {_PAX, _PAX_GLOBAL}:
        records = _parse_pax_records(data)
    else:
        field = "path" if header.type == _LONG_NAME else "linkpath"
        records = {field: _decode(data.partition(b"\0")[0])}
    if header.type == _PAX_GLOBAL:
        if set(records) - {"comment"}:
            raise invalid_archive("a global PAX header has more than a comment")
        return {}
    _check_pax(records)
    return records


def _parse_pax_records(data: bytes) -> dict[str, str]:
    """Return the fields of a PAX header, of records `LENGTH KEY=VALUE` and a line feed (POSIX)."""
    records: dict[str, str] = {}
    offset = 0
    while offset < len(data):
        # a stranger writes the length: few digits, as Python takes long to convert many
        blank = data.find(b" ", offset, offset + _PAX_LENGTH_DIGITS)
        digits = data[offset:blank]
        length = int(digits) if blank > 0 and digits.isdigit() else 0
        record = data[blank + 1 : offset + length]
        key, equals, value = record[:-1].partition(b"=")
        if not 0 < length <= len(data) - offset or not equals or not record.endswith(b"\n"):
            raise invalid_archive("a PAX header is malformed")
        # Some readers search for hdrcharset anywhere, also in values.
        if not _PAX_KEY.fullmatch(key) or b" hdrcharset=" in value:
            raise invalid_archive("a PAX header is malformed")
        text = _decode(value, key)
        # of two values some readers take the first, and some the last
        if records.setdefault(_decode(key), text) != text:
            raise invalid_archive("a PAX header gives one field twice", key)
        offset += length
    return records


def _decode(raw: bytes, key: bytes = b"path") -> str:
    """Return the text of a field, or raise Invalid if it has to be UTF-8 and is not."""
    # Only these must be text; other records may have any bytes.
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
    """Return a member of a header and the extensions before it, or raise Invalid."""
    name = extensions.get("path")
    if name is None:
        name = _decode(header.name)
    kind = _KINDS.get(header.type)
    if kind is None:
        raise unsafe_archive("a member is neither a file, a folder nor a link", name)

    # writers of before POSIX mark a folder by the slash alone
    if header.type == b"\0" and name.endswith("/") and header.short_name.endswith(b"/"):
        if has_extension:  # newer versions of Python take it for a file then
            raise invalid_archive(
                "a folder with a long name or PAX header has the type of a file", name
            )
        kind = MemberKind.FOLDER
    has_folder_name = name.endswith(("/", "/.")) or _is_folder_name(header, name)
    if kind is not MemberKind.FOLDER and has_folder_name:
        raise invalid_archive("a file or a link has a name that ends as a folder's does", name)
    if extensions.get("size", str(header.size)) != str(header.size):
        raise invalid_archive("a member has two sizes", name)
    if header.size and kind is not MemberKind.FILE:
        raise invalid_archive("a folder or a link has data", name)
    target = extensions.get("linkpath")
    if target is None:
        target = _decode(header.target)
    return TarMember(name, kind, header.size, target)


def _is_folder_name(header: _Header, name: str) -> bool:
    """Return whether a reader that ignores extensions takes a file or link for a folder."""
    if not header.short_name.endswith(b"/"):
        return False
    # Writers truncate a long name to the size of the field, perhaps behind a slash.
    begins_name = name.encode().startswith(header.short_name)
    # Python's tarfile writes `?` there for what is not ASCII
    begins_ascii = name.encode("ascii", "replace").startswith(header.short_name)
    is_cut = len(header.short_name) >= _TRUNCATED_NAME_BYTES and (begins_name or begins_ascii)
    return header.type == b"\0" or not is_cut
