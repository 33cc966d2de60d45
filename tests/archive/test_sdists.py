"""Sdists: what is accepted, and what is refused with which code; ids as in the attack list."""

import bz2
import gzip
import lzma
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.archive.builders import (
    PKG_INFO,
    SDIST_NAME,
    inspect_bytes,
    pax,
    sdist_bytes,
    sdist_tar,
    tar_block,
    tar_file,
)
from tests.archive.sdists import (
    GOOD,
    LONG,
    MIB,
    PKG_INFO_NAME,
    TAR,
    link,
    named,
    sized,
    typed,
    with_name,
)
from wheelyard.errors import Invalid

REFUSED: list[tuple[str, Callable[[], bytes], str]] = [
    ("S01-text", lambda: b"hello" * 200, ""),
    ("S01-empty", lambda: b"", ""),
    ("S01-plain-tar", lambda: TAR, ""),
    ("S02-bzip2", lambda: bz2.compress(TAR), ""),
    ("S02-xz", lambda: lzma.compress(TAR), ""),
    ("S02-zlib", lambda: zlib.compress(TAR), ""),
    ("S03-nothing", lambda: gzip.compress(b""), ""),
    ("S03-text", lambda: gzip.compress(b"hello" * 200), ""),
    ("S03-one-zero-block", lambda: gzip.compress(bytes(512)), ""),
    *((f"S04-cut-{n}", lambda n=n: GOOD[:-n], "") for n in (1, 4, 9, 20)),
    ("S05-crc", lambda: GOOD[:-8] + b"\0\0\0\0" + GOOD[-4:], ""),
    ("S05-size", lambda: GOOD[:-4] + b"\0\0\0\0", ""),
    ("S06-junk", lambda: GOOD + b"junk", ""),
    ("S06-junk-after-zeros", lambda: GOOD + bytes(300_000) + b"junk", ""),
    ("S07-second-member", lambda: GOOD + gzip.compress(tar_file(b"demo-1.0/x")), ""),
    (
        "S07-without-an-end",
        lambda: gzip.compress(sdist_tar()) + gzip.compress(tar_file(b"demo-1.0/x")),
        "",
    ),
    ("S07-second-cut", lambda: GOOD + gzip.compress(bytes(999))[:-1], ""),
    ("S07-many", lambda: GOOD + gzip.compress(b"") * 17, "archive_bomb"),
    ("S08-behind-the-end", lambda: gzip.compress(TAR + tar_file(b"demo-1.0/x")), ""),
    (
        "S08-behind-one-block",
        lambda: gzip.compress(sdist_tar() + bytes(512) + tar_file(b"demo-1.0/x")),
        "",
    ),
    ("S08-far-behind", lambda: gzip.compress(TAR + bytes(3 * MIB) + b"x"), ""),
    ("S09-cut-header", lambda: gzip.compress(sdist_tar() + TAR[:100]), ""),
    ("S09-cut-data", lambda: gzip.compress(sdist_tar(tar_block(b"demo-1.0/x", 600))), ""),
    ("S10-zeros", lambda: sdist_bytes(tar_file(b"demo-1.0/x", bytes(65 * MIB))), "archive_bomb"),
    (
        "S11-headers",
        lambda: sdist_bytes(tar_block(b"demo-1.0/x") * 100_001),
        "archive_bomb",
    ),
    (
        "S12-long-name",
        lambda: sdist_bytes(tar_file(b"L", bytes(64 * 1024 + 1), b"L")),
        "archive_bomb",
    ),
    ("S13-pax-digits", lambda: sdist_bytes(tar_file(b"x", b"0" * 200_000, b"x")), "archive_bomb"),
    ("S13-few-digits", lambda: sdist_bytes(tar_file(b"x", b"0" * 60_000, b"x")), ""),
    ("S13-zero-length", lambda: sdist_bytes(tar_file(b"x", b"0 a=b\n", b"x")), ""),
    ("S13-long-record", lambda: sdist_bytes(tar_file(b"x", b"99 a=b\n", b"x")), ""),
    ("S13-no-equals", lambda: sdist_bytes(tar_file(b"x", b"5 ab\n", b"x")), ""),
    ("S13-not-a-length", lambda: sdist_bytes(tar_file(b"x", b"+6 a=b\n", b"x")), ""),
    ("S13-cut", lambda: gzip.compress(sdist_tar(tar_block(b"x", 600, b"x"))), ""),
    ("S13-nothing-follows", lambda: sdist_bytes(pax({b"path": b"demo-1.0/x"})), ""),
    ("S14-path", lambda: with_name({b"path": b"../../x"}), "unsafe_archive"),
    (
        "S14-linkpath",
        lambda: sdist_bytes(
            pax({b"linkpath": b"/etc/passwd"}),
            tar_block(b"demo-1.0/x", kind=b"2", target=b"PKG-INFO"),
        ),
        "unsafe_archive",
    ),
    ("S14-size", lambda: with_name({b"size": b"0"}), ""),
    (
        "S14-path-twice",
        lambda: sdist_bytes(
            pax({b"path": b"demo-1.0/a"}), pax({b"path": b"demo-1.0/b"}), tar_file(b"demo-1.0/x")
        ),
        "",
    ),
    ("S14-two-long-names", lambda: sdist_bytes(LONG, LONG, tar_file(b"demo-1.0/x")), ""),
    ("S15-charset", lambda: with_name({b"hdrcharset": b"BINARY"}), ""),
    ("S15-not-utf8", lambda: with_name({b"path": b"demo-1.0/\xe9"}), ""),
    ("S15-plain-not-utf8", lambda: named(b"demo-1.0/\xe9"), ""),
    ("S16-global-path", lambda: sdist_bytes(pax({b"path": b"demo-1.0/x"}, b"g")), ""),
    ("S17-sparse", lambda: typed(b"S"), "unsafe_archive"),
    ("S17-pax-sparse", lambda: with_name({b"GNU.sparse.major": b"1"}), "unsafe_archive"),
    ("S18-negative", lambda: sized(b"-0000000001\0"), ""),
    ("S18-base-256", lambda: sized(b"\x80" + bytes(10) + b"\1"), ""),
    ("S18-2-to-63", lambda: sized(b"\x80\0\0\0\x80" + bytes(7)), ""),
    ("S18-negative-256", lambda: sized(b"\xff" * 12), ""),
    ("S18-blank", lambda: sized(b" " * 12), ""),
    ("S18-folder-with-data", lambda: sdist_bytes(tar_file(b"demo-1.0/d/", b"x", b"5")), ""),
    ("S19-checksum", lambda: sdist_bytes(tar_block(b"demo-1.0/x", checksum=b"000000\0 ")), ""),
    ("S19-no-checksum", lambda: sdist_bytes(tar_block(b"demo-1.0/x", checksum=b"xxxxxxxx")), ""),
    ("S19-mode", lambda: sdist_bytes(tar_block(b"demo-1.0/x", mode=b"rw-r--r-")), ""),
    (
        "S19-prefix-of-no-standard",
        lambda: sdist_bytes(tar_block(b"x", magic=b"ustar  \0", prefix=b"demo-1.0")),
        "",
    ),
    ("S22-no-PKG-INFO", lambda: sdist_bytes(pkg_info=None), "missing_metadata"),
    (
        "S22-egg-info",
        lambda: sdist_bytes(tar_file(b"demo-1.0/x.egg-info/PKG-INFO", PKG_INFO), pkg_info=None),
        "missing_metadata",
    ),
    ("S23-two-tops", lambda: named(b"other/x"), ""),
    ("S23-file-at-root", lambda: named(b"demo-1.0-x"), ""),
    ("S23-dot", lambda: sdist_bytes(tar_block(b"./", kind=b"5")), ""),
    ("S23-slash", lambda: sdist_bytes(tar_block(b"/", kind=b"5")), "unsafe_archive"),
    ("S24-other-top", lambda: sdist_bytes(top=b"other-1.0"), "name_mismatch"),
    ("S24-other-version", lambda: sdist_bytes(top=b"demo-1.1"), "name_mismatch"),
    ("S24-no-version", lambda: sdist_bytes(top=b"demo"), "name_mismatch"),
    ("S25-twice", lambda: sdist_bytes(tar_file(PKG_INFO_NAME, PKG_INFO)), ""),
    ("S25-twice-dotted", lambda: sdist_bytes(tar_file(b"demo-1.0/./PKG-INFO", PKG_INFO)), ""),
    (
        "S26-symlink",
        lambda: sdist_bytes(
            tar_file(b"demo-1.0/x", PKG_INFO),
            tar_block(PKG_INFO_NAME, kind=b"2", target=b"x"),
            pkg_info=None,
        ),
        "unsafe_archive",
    ),
    (
        "S26-hard-link",
        lambda: sdist_bytes(
            tar_file(b"demo-1.0/x", PKG_INFO),
            tar_block(PKG_INFO_NAME, kind=b"1", target=b"demo-1.0/x"),
            pkg_info=None,
        ),
        "unsafe_archive",
    ),
    ("S27-parent", lambda: named(b"../x"), "unsafe_archive"),
    ("S27-absolute", lambda: named(b"/etc/x"), "unsafe_archive"),
    ("S27-through", lambda: named(b"demo-1.0/../../y"), "unsafe_archive"),
    ("S27-backslash", lambda: named(b"demo-1.0\\..\\..\\y"), "unsafe_archive"),
    ("S27-drive", lambda: named(b"C:/x"), "unsafe_archive"),
    ("S28-passwd", lambda: link(b"l", b"/etc/passwd"), "unsafe_archive"),
    ("S28-outside", lambda: link(b"l", b"../../x"), "unsafe_archive"),
    ("S28-just-outside", lambda: link(b"l", b".."), "unsafe_archive"),
    ("S28-through-another", lambda: link(b"l", b"other-link/../../x"), "unsafe_archive"),
    ("S28-nowhere", lambda: link(b"l", b""), "unsafe_archive"),
    (
        "S28-below-a-link",
        lambda: sdist_bytes(
            tar_block(b"demo-1.0/l", kind=b"2", target=b"d"), tar_file(b"demo-1.0/l/x")
        ),
        "unsafe_archive",
    ),
    ("S29-outside", lambda: link(b"l", b"/etc/passwd", b"1"), "unsafe_archive"),
    (
        "S29-later",
        lambda: sdist_bytes(
            tar_block(b"demo-1.0/l", kind=b"1", target=b"demo-1.0/x"), tar_file(b"demo-1.0/x")
        ),
        "unsafe_archive",
    ),
    *(
        (f"S30-{kind!r}", lambda kind=kind: typed(kind), "unsafe_archive")
        for kind in (b"3", b"4", b"6", b"7", b"Z")
    ),
    (
        "S32-large",
        lambda: sdist_bytes(pkg_info=PKG_INFO + b"\n" + b"A" * (4 * MIB)),
        "archive_bomb",
    ),
    (
        "S34-name",
        lambda: sdist_bytes(pkg_info=PKG_INFO.replace(b"demo", b"other")),
        "name_mismatch",
    ),
    (
        "S34-version",
        lambda: sdist_bytes(pkg_info=PKG_INFO.replace(b"1.0", b"2")),
        "version_mismatch",
    ),
]


@pytest.mark.parametrize(
    ("build", "code"),
    [pytest.param(build, code or "invalid_archive", id=name) for name, build, code in REFUSED],
)
def test_refuses(tmp_path: Path, build: Callable[[], bytes], code: str) -> None:
    """A file that is no honest sdist is refused, with the code for what is wrong."""
    with pytest.raises(Invalid) as caught:
        inspect_bytes(tmp_path, SDIST_NAME, build())
    assert caught.value.code == code
    assert caught.value.message.isascii()


@pytest.mark.parametrize(
    "suffix",
    [pytest.param(suffix, id=f"S20{suffix}") for suffix in (".tar.bz2", ".tar.xz", ".tgz", ".tar")],
)
def test_refuses_other_compressions(tmp_path: Path, suffix: str) -> None:
    """S20: an sdist in another compression is refused by its name."""
    with pytest.raises(Invalid) as caught:
        inspect_bytes(tmp_path, "demo-1.0" + suffix, GOOD)
    assert caught.value.code == "invalid_filename"


def signed(name: bytes, owner: bytes) -> bytes:
    """Return a tar header whose checksum is of signed characters, as some old writers have it."""
    block = tar_block(name, checksum=b" " * 8, owner=owner)
    return tar_block(name, checksum=b"%06o\0 " % sum(struct.unpack("512b", block)), owner=owner)


def gzip_header(flags: int, body: bytes) -> bytes:
    """Return an sdist whose gzip header has optional fields."""
    return GOOD[:3] + bytes([flags]) + GOOD[4:10] + body + GOOD[10:]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(GOOD, id="plain"),
        pytest.param(GOOD + bytes(300_000), id="S06-zeros"),
        pytest.param(GOOD + gzip.compress(bytes(999)), id="S07-second-member-of-zeros"),
        pytest.param(gzip.compress(TAR + bytes(9999)), id="S08-zeros-behind-the-end"),
        pytest.param(gzip.compress(sdist_tar()), id="S09-no-end"),
        pytest.param(gzip.compress(sdist_tar() + bytes(512)), id="S09-half-an-end"),
        pytest.param(sdist_bytes(LONG, tar_file(b"demo-1.0/n", b"x")), id="S12-long-name"),
        pytest.param(with_name({b"path": b"demo-1.0/y", b"mtime": b"1.5"}), id="S14-pax"),
        pytest.param(with_name({b"size": b"3"}), id="S14-size-agrees"),
        pytest.param(with_name({b"SCHILY.xattr.a": b"\xff"}), id="S15-other-bytes"),
        pytest.param(
            with_name({b"hdrcharset": b"ISO-IR 10646 2000 UTF-8"}), id="S15-named-charset"
        ),
        pytest.param(
            sdist_bytes(pax({b"comment": b"c0ffee"}, b"g"), tar_file(b"demo-1.0/x")),
            id="S16-comment",
        ),
        pytest.param(sdist_bytes(top=b"demo-1.0.0"), id="S24-version"),
        pytest.param(sdist_bytes(top=b"Demo-1.0"), id="S24-case"),
        pytest.param(sdist_bytes(top=b"./demo-1.0"), id="S27-leading-dot"),
        pytest.param(named(b"demo-1.0/a:b "), id="S27-odd-but-harmless"),
        pytest.param(link(b"d/l", b"../PKG-INFO"), id="S28-inside"),
        pytest.param(link(b"l", b"./d"), id="S28-dangling"),
        pytest.param(link(b"l", PKG_INFO_NAME, b"1"), id="S29-earlier"),
        pytest.param(
            sdist_bytes(tar_block(b"demo-1.0/x", mode=b"0006755\0", uid=b"0000000\0")),
            id="S31-setuid",
        ),
        pytest.param(sdist_bytes(tar_block(b"demo-1.0/x", owner=b"a\0b")), id="S31-owner"),
        pytest.param(sdist_bytes(signed(b"demo-1.0/x", owner=b"J\xe9r\xf4me")), id="S19-signed"),
        pytest.param(gzip_header(8, b"n" * MIB + b"\0"), id="S33-name-of-1-MiB"),
        pytest.param(gzip_header(4, b"\xff\xff" + bytes(0xFFFF)), id="S33-extra-field"),
        pytest.param(
            sdist_bytes(tar_file(b"demo-1.0/pyproject.toml", b"= not TOML")), id="S35-toml"
        ),
        pytest.param(sdist_bytes(tar_file(b"demo-1.0/old/", kind=b"\0")), id="old-folder"),
        pytest.param(sdist_bytes(tar_block(b"x", prefix=b"demo-1.0")), id="prefix"),
        pytest.param(sdist_bytes(tar_file(b"demo-1.0/x") * 2), id="other-file-twice"),
    ],
)
def test_accepts(tmp_path: Path, data: bytes) -> None:
    """An sdist that every client unpacks in the same way is accepted."""
    contents = inspect_bytes(tmp_path, SDIST_NAME, data)
    assert contents.metadata == PKG_INFO
