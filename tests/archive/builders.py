"""
Archives built field by field, so that each field can lie.

The standard library's writers repair what is wrong; these write it.
"""

import base64
import gzip
import hashlib
import struct
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from wheelyard.archive.archive_rules import ArchiveLimits, Deadline
from wheelyard.archive.distribution_reader import DistributionContents, read_distribution
from wheelyard.errors import Invalid
from wheelyard.model.distribution_filename import parse_filename

STORED = 0
DEFLATED = 8
DEFAULT_LIMITS = ArchiveLimits()

Value = int | bytes
Fields = Mapping[str, Value]
UNCHANGED: Fields = MappingProxyType({})

_LOCAL_FIELDS = "signature version flags method time date crc compressed size name_size extra_size"
_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL_FIELDS = (
    "signature maker version flags method time date crc compressed size "
    "name_size extra_size comment_size disk internal attributes offset"
)
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END_FIELDS = "signature disk start entries_here entries size offset comment_size"
_END = struct.Struct("<4s4H2LH")
_END64_FIELDS = "signature rest maker version disk start entries_here entries size offset"
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_FIELDS = "signature disk offset disks"
_LOCATOR = struct.Struct("<4sLQL")


@dataclass(frozen=True)
class Entry:
    """
    One member of a ZIP file.

    `local`, `central` and `both` replace fields of its headers by name, also `name`, `extra` and
    `comment`.
    """

    name: bytes
    data: bytes = b""
    method: int = STORED
    local: Fields = field(default_factory=dict)
    central: Fields = field(default_factory=dict)
    both: Fields = field(default_factory=dict)
    listed: bool = True
    """Whether the central directory has it."""
    present: bool = True
    """Whether its own header and data are there."""
    tail: bytes = b""
    """Bytes between its data and the next member."""
    packed: bytes | None = None
    """The stored bytes; `data` if None."""

    def compressed(self) -> bytes:
        """Return the data as it stands in the file."""
        if self.packed is not None:
            return self.packed
        return deflated(self.data) if self.method == DEFLATED else self.data


@cache
def deflated(data: bytes) -> bytes:
    """Return a raw deflate stream."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def zip_bytes(
    entries: Iterable[Entry],
    *,
    before: bytes = b"",
    between: bytes = b"",
    comment: bytes = b"",
    end: Fields | None = None,
    wide: Mapping[str, Fields] | None = None,
) -> bytes:
    """
    Return a ZIP file.

    `before` stands in front of everything, `between` after the central directory, and `end` has
    fields of the end record. `wide` writes the 64-bit records, with fields of `end64` and
    `locator`; `no_end64` and `no_locator` leave one of them out.
    """
    out = bytearray(before)
    central = b""
    count = 0
    for entry in entries:
        offset = len(out)
        if entry.present:
            out += _local(entry) + entry.compressed() + entry.tail
        if entry.listed:
            central += _central(entry, offset)
            count += 1
    start = len(out)
    out += central + between
    counts = {"entries_here": count, "entries": count}
    totals: Fields = {**counts, "size": len(central), "offset": start}
    if wide is not None:
        out += _wide(wide, totals, len(out))
    final = {"signature": b"PK\5\6", **totals, "comment_size": len(comment), **(end or {})}
    return bytes(out) + _packed(_END, _END_FIELDS, final) + comment


def _local(entry: Entry) -> bytes:
    return _header(_LOCAL, _LOCAL_FIELDS, {**_shared(entry), "signature": b"PK\3\4", **entry.local})


def _central(entry: Entry, offset: int) -> bytes:
    own: Fields = {"signature": b"PK\1\2", "maker": 3 << 8 | 20, "offset": offset}
    own = {**own, "attributes": 0o100644 << 16}
    return _header(_CENTRAL, _CENTRAL_FIELDS, {**_shared(entry), **own, **entry.central})


def _shared(entry: Entry) -> dict[str, Value]:
    return {
        "version": 20,
        "method": entry.method,
        "date": 33,
        "crc": zlib.crc32(entry.data),
        "compressed": len(entry.compressed()),
        "size": len(entry.data),
        "name": entry.name,
        "extra": b"",
        "comment": b"",
        **entry.both,
    }


def _header(layout: struct.Struct, names: str, fields: dict[str, Value]) -> bytes:
    texts = {key: fields[key] for key in ("name", "extra", "comment")}
    sizes = {f"{key}_size": len(text) for key, text in texts.items() if isinstance(text, bytes)}
    tail = b"".join(text for text in texts.values() if isinstance(text, bytes))
    if layout is _LOCAL:
        tail = tail.removesuffix(texts["comment"] if isinstance(texts["comment"], bytes) else b"")
    return _packed(layout, names, {**sizes, **fields}) + tail


def _wide(wide: Mapping[str, Fields], totals: Fields, at: int) -> bytes:
    own = {"rest": 44, "maker": 45, "version": 45}
    end64: dict[str, Value] = {"signature": b"PK\6\6", **own, **totals}
    locator: dict[str, Value] = {"signature": b"PK\6\7", "offset": at, "disks": 1}
    out = b""
    if "no_end64" not in wide:
        out += _packed(_END64, _END64_FIELDS, {**end64, **wide.get("end64", {})})
    if "no_locator" not in wide:
        out += _packed(_LOCATOR, _LOCATOR_FIELDS, {**locator, **wide.get("locator", {})})
    return out


def _packed(layout: struct.Struct, names: str, fields: Fields) -> bytes:
    return layout.pack(*(fields.get(name, 0) for name in names.split()))


METADATA = b"Metadata-Version: 2.4\nName: demo\nVersion: 1.0\n"
WHEEL = b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
INFO = b"demo-1.0.dist-info"
WHEEL_NAME = "demo-1.0-py3-none-any.whl"


def record_line(entry: Entry, algorithm: str = "sha256") -> bytes:
    """Return the line of RECORD for an entry."""
    digest = base64.urlsafe_b64encode(hashlib.new(algorithm, entry.data).digest()).rstrip(b"=")
    return b"%s,%s=%s,%d\n" % (entry.name, algorithm.encode(), digest, len(entry.data))


def wheel_entries(
    *extra: Entry,
    info: bytes = INFO,
    metadata: bytes | None = METADATA,
    wheel: bytes | None = WHEEL,
    record: bytes | None = None,
    with_record: bool = True,
) -> list[Entry]:
    """
    Return the members of a wheel of demo 1.0, and `extra` ones.

    No METADATA or WHEEL is None; `record` is written in the place of the right one.
    """
    entries = [Entry(b"demo/__init__.py", b"x = 1\n", DEFLATED), *extra]
    for name, data in ((b"METADATA", metadata), (b"WHEEL", wheel)):
        if data is not None:
            entries.append(Entry(info + b"/" + name, data, DEFLATED))
    if with_record:
        listed = (record_line(entry) for entry in entries if not entry.name.endswith(b"/"))
        lines = b"".join(listed) + info + b"/RECORD,,\n"
        entries.append(Entry(info + b"/RECORD", lines if record is None else record, DEFLATED))
    return entries


def wheel_bytes(
    *extra: Entry,
    metadata: bytes | None = METADATA,
    wheel: bytes | None = WHEEL,
    record: bytes | None = None,
    info: bytes = INFO,
) -> bytes:
    """Return a wheel of demo 1.0 with `extra` members."""
    parts = wheel_entries(*extra, metadata=metadata, wheel=wheel, record=record, info=info)
    return zip_bytes(parts)


A = Entry(b"demo/a.py", b"a = 1\n")
NUMBERS_64 = b"\1\0\x10\0" + len(A.data).to_bytes(8, "little") * 2


def extra_field(kind: int, body: bytes) -> bytes:
    """Return one extra field of a ZIP header."""
    return kind.to_bytes(2, "little") + len(body).to_bytes(2, "little") + body


def unicode_path(name: bytes) -> bytes:
    """Return the extra field that gives a member another name."""
    return extra_field(0x7075, b"\1" + zlib.crc32(A.name).to_bytes(4, "little") + name)


EXPERIMENTAL = tuple(
    extra_field(0x6C78, b"\x07\x14\x03\0\0\0\0\0" + mode) for mode in (b"\xff\xa1", b"\xed\x41")
)
"""For libarchive the member is a symbolic link, or a folder."""


SDIST_NAME = "demo-1.0.tar.gz"
PKG_INFO = METADATA
END_OF_TAR = bytes(1024)


def tar_block(name: bytes, size: int = 0, kind: bytes = b"0", **fields: bytes) -> bytes:
    """
    Return one tar header with a right checksum.

    Fields are `size_field`, `target`, `magic`, `prefix`, `mode`, `uid`, `mtime`, `owner` and
    `checksum`.
    """
    values = {
        "mode": b"0000644\0",
        "uid": b"0001750\0",
        "size_field": b"%011o\0" % size,
        "mtime": b"00000000000\0",
        "target": b"",
        "magic": b"ustar\x0000",
        "owner": b"",
        "prefix": b"",
        **fields,
    }
    block = struct.pack(
        "100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x",
        name,
        values["mode"],
        values["uid"],
        b"0001750\0",
        values["size_field"],
        values["mtime"],
        b" " * 8,
        kind,
        values["target"],
        values["magic"],
        values["owner"],
        b"",
        b"",
        b"",
        values["prefix"],
    )
    checksum = values.get("checksum", b"%06o\0 " % sum(block))
    return block[:148] + checksum + block[156:]


def tar_file(name: bytes, data: bytes = b"", kind: bytes = b"0", **fields: bytes) -> bytes:
    """Return a tar header and the data behind it, padded."""
    return tar_block(name, len(data), kind, **fields) + data + bytes(-len(data) % 512)


def pax(records: Mapping[bytes, bytes], kind: bytes = b"x") -> bytes:
    """Return a PAX header for the next member, or a global one."""
    lines = b""
    for key, value in records.items():
        body = b" " + key + b"=" + value + b"\n"
        length = len(body) + 1
        while length != len(body) + len(b"%d" % length):
            length += 1
        lines += b"%d" % length + body
    return tar_file(b"PaxHeader", lines, kind)


def sdist_tar(
    *members: bytes, pkg_info: bytes | None = PKG_INFO, top: bytes = b"demo-1.0"
) -> bytes:
    """Return an uncompressed sdist of demo 1.0 with further members, without its end."""
    own = tar_file(top + b"/", kind=b"5")
    if pkg_info is not None:
        own += tar_file(top + b"/PKG-INFO", pkg_info)
    return own + b"".join(members)


def sdist_bytes(
    *members: bytes, pkg_info: bytes | None = PKG_INFO, top: bytes = b"demo-1.0"
) -> bytes:
    """Return an sdist of demo 1.0 with further members."""
    return gzip.compress(sdist_tar(*members, pkg_info=pkg_info, top=top) + END_OF_TAR)


def inspect_bytes(
    folder: Path,
    filename: str,
    data: bytes,
    limits: ArchiveLimits = DEFAULT_LIMITS,
    *,
    is_lenient: bool = False,
) -> DistributionContents:
    """Return what the index finds in a file of these bytes, under this name."""
    path = folder / "spooled"
    path.write_bytes(data)
    distribution = parse_filename(filename, zip_sdists=True, is_lenient=is_lenient)
    deadline = Deadline(time.thread_time, 60, time.monotonic)
    return read_distribution(
        path, distribution, limits=limits, deadline=deadline, is_lenient=is_lenient
    )


Limit = tuple[int, dict[str, int], Callable[[int], bytes]]
"""A number, the limits that allow just that, and an archive of a number."""


def refused_beyond(folder: Path, filename: str, row: Limit) -> str:
    """Return the code by which an archive of one more is refused; those up to it are not."""
    limit, values, build = row
    limits = ArchiveLimits(**values)
    for number in (limit - 1, limit):
        inspect_bytes(folder, filename, build(number), limits)
    with pytest.raises(Invalid) as caught:
        inspect_bytes(folder, filename, build(limit + 1), limits)
    return caught.value.code


def coded(table: Mapping[str, Mapping[str, object]]) -> list[Any]:
    """Return parameters of a test: each row of a table, with the word that it stands under."""
    return [
        pytest.param(row, word, id=name)
        for word, rows in table.items()
        for name, row in rows.items()
    ]
