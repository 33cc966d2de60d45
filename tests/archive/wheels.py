"""Wheels in each of which one thing is odd."""

import zlib

from tests.archive.builders import (
    UNCHANGED,
    Entry,
    Fields,
    record_line,
    wheel_bytes,
    wheel_entries,
    zip_bytes,
)

MIB = 1 << 20
A = Entry(b"demo/a.py", b"a = 1\n")
NUMBERS_64 = b"\1\0\x10\0" + len(A.data).to_bytes(8, "little") * 2
GOOD = wheel_bytes()


def unicode_path(name: bytes) -> bytes:
    """Return the extra field that gives a member another name."""
    body = b"\1" + zlib.crc32(A.name).to_bytes(4, "little") + name
    return b"\x75\x70" + len(body).to_bytes(2, "little") + body


def extra_field(kind: int, body: bytes) -> bytes:
    """Return one extra field of a ZIP header."""
    return kind.to_bytes(2, "little") + len(body).to_bytes(2, "little") + body


EXPERIMENTAL = tuple(
    extra_field(0x6C78, b"\x07\x14\x03\0\0\0\0\0" + mode) for mode in (b"\xff\xa1", b"\xed\x41")
)
"""For libarchive the member is a symbolic link, or a folder."""


def changed(
    local: Fields = UNCHANGED, central: Fields = UNCHANGED, both: Fields = UNCHANGED
) -> bytes:
    """Return a wheel in which one entry's headers have other fields."""
    return wheel_bytes(Entry(A.name, A.data, local=local, central=central, both=both))


def widened(*, end: Fields | None = None, **records: Fields) -> bytes:
    """Return a wheel that ends with 64-bit records."""
    return zip_bytes(wheel_entries(), end=end, wide=records)


def record_lines(*others: bytes) -> bytes:
    """Return a RECORD that is right for a wheel with the member `A`, and further lines."""
    listed = [record_line(entry) for entry in wheel_entries(A) if b"RECORD" not in entry.name]
    return b"".join((*listed, *others))
