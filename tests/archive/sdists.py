"""Sdists in each of which one thing is odd."""

import gzip

from tests.archive.builders import END_OF_TAR, pax, sdist_bytes, sdist_tar, tar_block, tar_file

MIB = 1 << 20
TAR = sdist_tar() + END_OF_TAR
GOOD = gzip.compress(TAR)
PKG_INFO_NAME = b"demo-1.0/PKG-INFO"


def link(name: bytes, target: bytes, kind: bytes = b"2") -> bytes:
    """Return an sdist with a link; `kind` is 1 for a hard one."""
    return sdist_bytes(tar_block(b"demo-1.0/" + name, kind=kind, target=target))


def typed(kind: bytes) -> bytes:
    """Return an sdist with a member of another type."""
    return sdist_bytes(tar_block(b"demo-1.0/x", kind=kind))


def sized(size: bytes) -> bytes:
    """Return an sdist with a member of this size field."""
    return sdist_bytes(tar_block(b"demo-1.0/x", size_field=size))


def named(name: bytes) -> bytes:
    """Return an sdist with a further member of this name."""
    return sdist_bytes(tar_file(name, b"x"))


def with_name(records: dict[bytes, bytes]) -> bytes:
    """Return an sdist with a member under a PAX header."""
    return sdist_bytes(pax(records), tar_file(b"demo-1.0/x", b"abc"))


LONG = tar_file(b"././@LongLink", b"demo-1.0/" + b"n" * 200 + b"\0", b"L")
