"""Sdists: what is accepted, and what is refused with which code; ids as in the attack list."""

import bz2
import gzip
import lzma
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.archive.builders import (
    DEFLATED,
    END_OF_TAR,
    PKG_INFO,
    SDIST_NAME,
    Entry,
    Limit,
    coded,
    inspect_bytes,
    pax,
    refused_beyond,
    sdist_bytes,
    sdist_tar,
    tar_block,
    tar_file,
    zip_bytes,
)
from tests.archive.families import NFD
from wheelyard.archive.archive_rules import MIB
from wheelyard.errors import Invalid

ZIP_NAME = "demo-1.0.zip"
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


def zip_sdist(*more: Entry) -> bytes:
    """Return an sdist in the retired ZIP form."""
    return zip_bytes([Entry(b"demo-1.0/"), Entry(PKG_INFO_NAME, PKG_INFO, DEFLATED), *more])


def signed(name: bytes, owner: bytes) -> bytes:
    """Return a tar header whose checksum is of signed characters, as some old writers have it."""
    block = tar_block(name, checksum=b" " * 8, owner=owner)
    return tar_block(name, checksum=b"%06o\0 " % sum(struct.unpack("512b", block)), owner=owner)


def uncounted(name: bytes) -> bytes:
    """Return a tar header whose signed bytes have the sum 0, and whose checksum is no number."""
    letter = "\xc3".encode()
    worth = -sum(struct.unpack("2b", letter))
    total = sum(struct.unpack("512b", tar_block(name, checksum=b" " * 8)))
    # letters of ASCII make up for what the others take too much
    count = total // worth + 4
    most, rest = divmod(count * worth - total, 7)
    ascii_letters = bytes([most] * (7 - rest) + [most + 1] * rest)
    return tar_block(name + letter * count + ascii_letters, checksum=b"xxxxxxxx")


def gzip_header(flags: int, body: bytes) -> bytes:
    """Return an sdist whose gzip header has optional fields."""
    return GOOD[:3] + bytes([flags]) + GOOD[4:10] + body + GOOD[10:]


REFUSED: dict[str, dict[str, Callable[[], bytes]]] = {
    "invalid_archive": {
        "text": lambda: b"hello" * 200,
        "no-bytes": lambda: b"",
        "plain-tar": lambda: TAR,
        "bzip2": lambda: bz2.compress(TAR),
        "xz": lambda: lzma.compress(TAR),
        "zlib": lambda: zlib.compress(TAR),
        "nothing-compressed": lambda: gzip.compress(b""),
        "compressed-text": lambda: gzip.compress(b"hello" * 200),
        "one-zero-block": lambda: gzip.compress(bytes(512)),
        "gzip-checksum-wrong": lambda: GOOD[:-8] + b"\0\0\0\0" + GOOD[-4:],
        "gzip-size-wrong": lambda: GOOD[:-4] + b"\0\0\0\0",
        "junk-behind-gzip": lambda: GOOD + b"junk",
        "junk-after-zeros": lambda: GOOD + bytes(300_000) + b"junk",
        "second-gzip-member": lambda: GOOD + gzip.compress(tar_file(b"demo-1.0/x")),
        "second-gzip-member-and-no-end-of-tar": lambda: (
            gzip.compress(sdist_tar()) + gzip.compress(tar_file(b"demo-1.0/x"))
        ),
        "second-gzip-member-cut": lambda: GOOD + gzip.compress(bytes(999))[:-1],
        "file-behind-the-end": lambda: gzip.compress(TAR + tar_file(b"demo-1.0/x")),
        "file-behind-one-zero-block": lambda: gzip.compress(
            sdist_tar() + bytes(512) + tar_file(b"demo-1.0/x")
        ),
        "byte-far-behind-the-end": lambda: gzip.compress(TAR + bytes(3 * MIB) + b"x"),
        "cut-header": lambda: gzip.compress(sdist_tar() + TAR[:100]),
        "cut-data": lambda: gzip.compress(sdist_tar(tar_block(b"demo-1.0/x", 600))),
        "pax-length-of-60000-digits": lambda: sdist_bytes(tar_file(b"x", b"0" * 60_000, b"x")),
        "pax-length-0": lambda: sdist_bytes(tar_file(b"x", b"0 a=b\n", b"x")),
        "pax-length-too-long": lambda: sdist_bytes(tar_file(b"x", b"99 a=b\n", b"x")),
        "pax-record-without-equals": lambda: sdist_bytes(tar_file(b"x", b"5 ab\n", b"x")),
        "pax-length-with-a-sign": lambda: sdist_bytes(tar_file(b"x", b"+6 a=b\n", b"x")),
        "pax-field-twice": lambda: sdist_bytes(
            tar_file(b"p", b"19 path=demo-1.0/y\n19 path=demo-1.0/z\n", b"x"),
            tar_file(b"demo-1.0/x"),
        ),
        "pax-header-cut": lambda: gzip.compress(sdist_tar(tar_block(b"x", 600, b"x"))),
        "nothing-follows-a-pax-header": lambda: sdist_bytes(pax({b"path": b"demo-1.0/x"})),
        "pax-size-differs": lambda: with_name({b"size": b"0"}),
        "two-pax-paths": lambda: sdist_bytes(
            pax({b"path": b"demo-1.0/a"}), pax({b"path": b"demo-1.0/b"}), tar_file(b"demo-1.0/x")
        ),
        "two-long-names": lambda: sdist_bytes(LONG, LONG, tar_file(b"demo-1.0/x")),
        "pax-charset": lambda: with_name({b"hdrcharset": b"BINARY"}),
        "pax-path-not-utf8": lambda: with_name({b"path": b"demo-1.0/\xe9"}),
        "name-not-utf8": lambda: named(b"demo-1.0/\xe9"),
        "global-pax-path": lambda: sdist_bytes(pax({b"path": b"demo-1.0/x"}, b"g")),
        "negative-size": lambda: sized(b"-0000000001\0"),
        "size-in-base-256": lambda: sized(b"\x80" + bytes(10) + b"\1"),
        "size-of-2-to-63": lambda: sized(b"\x80\0\0\0\x80" + bytes(7)),
        "negative-size-in-base-256": lambda: sized(b"\xff" * 12),
        "blank-size": lambda: sized(b" " * 12),
        "folder-with-data": lambda: sdist_bytes(tar_file(b"demo-1.0/d/", b"x", b"5")),
        "wrong-checksum": lambda: sdist_bytes(tar_block(b"demo-1.0/x", checksum=b"000000\0 ")),
        "no-checksum": lambda: sdist_bytes(tar_block(b"demo-1.0/x", checksum=b"xxxxxxxx")),
        "no-checksum-of-a-sum-of-zero": lambda: sdist_bytes(uncounted(b"demo-1.0/x")),
        "mode-no-number": lambda: sdist_bytes(tar_block(b"demo-1.0/x", mode=b"rw-r--r-")),
        "prefix-of-no-standard": lambda: sdist_bytes(
            tar_block(b"x", magic=b"ustar  \0", prefix=b"demo-1.0")
        ),
        "two-top-folders": lambda: named(b"other/x"),
        "file-at-root": lambda: named(b"demo-1.0-x"),
        "dot-as-a-folder": lambda: sdist_bytes(tar_block(b"./", kind=b"5")),
        "PKG-INFO-twice": lambda: sdist_bytes(tar_file(PKG_INFO_NAME, PKG_INFO)),
        "PKG-INFO-twice-once-with-a-dot": lambda: sdist_bytes(
            tar_file(b"demo-1.0/./PKG-INFO", PKG_INFO)
        ),
        **{f"gzip-cut-{n}": partial(bytes, GOOD[:-n]) for n in (1, 4, 9, 20)},
    },
    "archive_bomb": {
        "too-many-gzip-members": lambda: GOOD + gzip.compress(b"") * 17,
        "inflates-to-65-MiB-of-zeros": lambda: sdist_bytes(
            tar_file(b"demo-1.0/x", bytes(65 * MIB))
        ),
        "too-many-headers": lambda: sdist_bytes(tar_block(b"demo-1.0/x") * 100_001),
        "long-name": lambda: sdist_bytes(tar_file(b"L", bytes(64 * 1024 + 1), b"L")),
        "pax-header-of-200-kB": lambda: sdist_bytes(tar_file(b"x", b"0" * 200_000, b"x")),
        "PKG-INFO-of-4-MiB": lambda: sdist_bytes(pkg_info=PKG_INFO + b"\n" + b"A" * (4 * MIB)),
    },
    "unsafe_archive": {
        "pax-path-outside": lambda: with_name({b"path": b"../../x"}),
        "pax-link-outside": lambda: sdist_bytes(
            pax({b"linkpath": b"/etc/passwd"}),
            tar_block(b"demo-1.0/x", kind=b"2", target=b"PKG-INFO"),
        ),
        "sparse": lambda: typed(b"S"),
        "pax-sparse": lambda: with_name({b"GNU.sparse.major": b"1"}),
        "slash-as-a-folder": lambda: sdist_bytes(tar_block(b"/", kind=b"5")),
        "PKG-INFO-is-a-symlink": lambda: sdist_bytes(
            tar_file(b"demo-1.0/x", PKG_INFO),
            tar_block(PKG_INFO_NAME, kind=b"2", target=b"x"),
            pkg_info=None,
        ),
        "PKG-INFO-is-a-hard-link": lambda: sdist_bytes(
            tar_file(b"demo-1.0/x", PKG_INFO),
            tar_block(PKG_INFO_NAME, kind=b"1", target=b"demo-1.0/x"),
            pkg_info=None,
        ),
        "name-of-the-parent": lambda: named(b"../x"),
        "absolute-name": lambda: named(b"/etc/x"),
        "name-that-leads-outside": lambda: named(b"demo-1.0/../../y"),
        "name-with-backslashes": lambda: named(b"demo-1.0\\..\\..\\y"),
        "name-with-a-drive": lambda: named(b"C:/x"),
        "symlink-to-an-absolute-path": lambda: link(b"l", b"/etc/passwd"),
        "symlink-outside": lambda: link(b"l", b"../../x"),
        "symlink-just-outside": lambda: link(b"l", b".."),
        "symlink-through-another": lambda: link(b"l", b"other-link/../../x"),
        "symlink-to-nothing": lambda: link(b"l", b""),
        "symlink-to-a-control-character": lambda: link(b"l", b"a\x1b[2J"),
        "below-a-link": lambda: sdist_bytes(
            tar_block(b"demo-1.0/l", kind=b"2", target=b"d"), tar_file(b"demo-1.0/l/x")
        ),
        "hard-link-outside": lambda: link(b"l", b"/etc/passwd", b"1"),
        "hard-link-to-a-later-file": lambda: sdist_bytes(
            tar_block(b"demo-1.0/l", kind=b"1", target=b"demo-1.0/x"), tar_file(b"demo-1.0/x")
        ),
        **{f"type-{kind!r}": partial(typed, kind) for kind in (b"3", b"4", b"6", b"7", b"Z")},
    },
    "missing_metadata": {
        "no-PKG-INFO": lambda: sdist_bytes(pkg_info=None),
        "PKG-INFO-only-in-egg-info": lambda: sdist_bytes(
            tar_file(b"demo-1.0/x.egg-info/PKG-INFO", PKG_INFO), pkg_info=None
        ),
    },
    "name_mismatch": {
        "top-folder-of-another-name": lambda: sdist_bytes(top=b"other-1.0"),
        "top-folder-of-another-version": lambda: sdist_bytes(top=b"demo-1.1"),
        "top-folder-without-a-version": lambda: sdist_bytes(top=b"demo"),
        "PKG-INFO-of-another-name": lambda: sdist_bytes(
            pkg_info=PKG_INFO.replace(b"demo", b"other")
        ),
    },
    "version_mismatch": {
        "PKG-INFO-of-another-version": lambda: sdist_bytes(pkg_info=PKG_INFO.replace(b"1.0", b"2"))
    },
}
REFUSED_ZIPS: dict[str, dict[str, bytes]] = {
    "invalid_archive": {
        "byte-behind-the-zip": zip_sdist() + b"x",
        "checksum-of-other-bytes": zip_sdist(Entry(b"demo-1.0/x", b"a", both={"crc": 1})),
        "one-name-twice": zip_sdist(Entry(b"demo-1.0/x"), Entry(b"demo-1.0/./x")),
        "two-top-folders": zip_sdist(Entry(b"other/x")),
        "tar-named-zip": GOOD,
        "no-members": zip_bytes([]),
    },
    "unsafe_archive": {
        "name-with-the-parent": zip_sdist(Entry(b"demo-1.0/../x")),
        "name-with-a-backslash": zip_sdist(Entry(b"demo-1.0\\x")),
        "dot-at-end": zip_sdist(Entry(b"demo-1.0/x/.")),
    },
    "missing_metadata": {"no-PKG-INFO": zip_bytes([Entry(b"demo-1.0/x")])},
}
ACCEPTED: dict[str, bytes] = {
    "plain": GOOD,
    "zeros-behind-gzip": GOOD + bytes(300_000),
    "second-member-of-zeros": GOOD + gzip.compress(bytes(999)),
    "zeros-behind-the-end": gzip.compress(TAR + bytes(9999)),
    "no-end-of-tar": gzip.compress(sdist_tar()),
    "one-zero-block-at-the-end": gzip.compress(sdist_tar() + bytes(512)),
    "long-name": sdist_bytes(LONG, tar_file(b"demo-1.0/n", b"x")),
    "pax-path-and-time": with_name({b"path": b"demo-1.0/y", b"mtime": b"1.5"}),
    "pax-size-agrees": with_name({b"size": b"3"}),
    "pax-attribute-not-utf8": with_name({b"SCHILY.xattr.a": b"\xff"}),
    "pax-charset-utf8": with_name({b"hdrcharset": b"ISO-IR 10646 2000 UTF-8"}),
    "global-pax-comment": sdist_bytes(pax({b"comment": b"c0ffee"}, b"g"), tar_file(b"demo-1.0/x")),
    "top-folder-with-an-equal-version": sdist_bytes(top=b"demo-1.0.0"),
    "top-folder-in-upper-case": sdist_bytes(top=b"Demo-1.0"),
    "leading-dot": sdist_bytes(top=b"./demo-1.0"),
    "name-with-colon-and-blank": named(b"demo-1.0/a:b "),
    "symlink-inside": link(b"d/l", b"../PKG-INFO"),
    "symlink-to-no-file": link(b"l", b"./d"),
    "hard-link-to-an-earlier-file": link(b"l", PKG_INFO_NAME, b"1"),
    "setuid": sdist_bytes(tar_block(b"demo-1.0/x", mode=b"0006755\0", uid=b"0000000\0")),
    "owner-with-nul": sdist_bytes(tar_block(b"demo-1.0/x", owner=b"a\0b")),
    "checksum-of-an-owner-that-is-not-ascii": sdist_bytes(
        tar_block(b"demo-1.0/x", owner=b"J\xe9r\xf4me")
    ),
    "checksum-of-signed-characters": sdist_bytes(signed(b"demo-1.0/x", owner=b"J\xe9r\xf4me")),
    "gzip-name-of-1-MiB": gzip_header(8, b"n" * MIB + b"\0"),
    "gzip-extra-field": gzip_header(4, b"\xff\xff" + bytes(0xFFFF)),
    "pyproject-that-is-no-toml": sdist_bytes(tar_file(b"demo-1.0/pyproject.toml", b"= not TOML")),
    "old-folder": sdist_bytes(tar_file(b"demo-1.0/old/", kind=b"\0")),
    "name-in-the-prefix": sdist_bytes(tar_block(b"x", prefix=b"demo-1.0")),
    "other-file-twice": sdist_bytes(tar_file(b"demo-1.0/x") * 2),
}
LIMITS: dict[str, Limit] = {
    "entries": (9, {"entries": 9}, lambda n: sdist_bytes(tar_file(b"demo-1.0/x") * (n - 2))),
    "size-of-an-extension": (
        50,
        {"tar_extension": 50},
        lambda n: sdist_bytes(tar_file(b"L", b"demo-1.0/".ljust(n, b"x"), b"L"), tar_block(b"x")),
    ),
    "size-of-all-extensions": (
        9,
        {"tar_extensions": 9 * 522},
        lambda n: sdist_bytes(*[tar_file(b"L", b"demo-1.0/x", b"L") + tar_block(b"x")] * n),
    ),
    "size-of-PKG-INFO": (
        200,
        {"metadata": 200},
        lambda n: sdist_bytes(pkg_info=(PKG_INFO + b"\n").ljust(n, b"a")),
    ),
    "inflated-bytes": (
        9,
        {"free_inflated": 10, "inflated_ratio": 1, "tar_inflated": 512 * 9},
        lambda n: gzip.compress(bytes(sdist_tar() + bytes(512 * (n - 3))), 0),
    ),
}


def assert_refused(folder: Path, data: bytes, code: str, name: str = SDIST_NAME) -> None:
    """A file of these bytes is refused with this code."""
    with pytest.raises(Invalid) as caught:
        inspect_bytes(folder, name, data)
    assert caught.value.code == code
    assert caught.value.message.isascii()


@pytest.mark.parametrize(("build", "code"), coded(REFUSED))
def test_a_dishonest_sdist_is_refused(
    tmp_path: Path, build: Callable[[], bytes], code: str
) -> None:
    """A file that is no honest sdist is refused, with the code for what is wrong."""
    assert_refused(tmp_path, build(), code)


def test_an_sdist_that_ends_within_a_pax_header_is_to_be_sent_again(tmp_path: Path) -> None:
    """An sdist that is cut off within a PAX header is said to be damaged, and not malformed."""
    data = gzip.compress(sdist_tar(tar_block(b"x", 600, b"x"), b"600 path=demo-1.0/x"))
    with pytest.raises(Invalid, match=r"header is cut off\. Send it again\."):
        inspect_bytes(tmp_path, SDIST_NAME, data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"hello" * 200, "it is not gzip data, or is damaged"),
        (GOOD + b"junk", "bytes follow its gzip data"),
        (gzip.compress(b""), "it has no members"),
        (named(b"demo-1.0-x"), "it has files outside of its one folder"),
        (
            sdist_bytes(tar_file(b"x", b"99 a=b\n", b"x"), tar_file(b"demo-1.0/x")),
            "a PAX header is malformed",
        ),
        (gzip.compress(sdist_tar(tar_block(b"demo-1.0/x", 600), b"x")), "a member is cut off"),
        (
            sdist_bytes(
                tar_file(b"demo-1.0/" + NFD),
                tar_block(b"demo-1.0/l", kind=b"1", target=b"demo-1.0/" + NFD),
            ),
            "the target of a link is not in Unicode normal form C",
        ),
    ],
    ids=[
        "text",
        "junk behind",
        "nothing",
        "file at root",
        "long PAX record",
        "cut off",
        "hard link",
    ],
)
def test_a_refusal_says_why(tmp_path: Path, data: bytes, reason: str) -> None:
    """The message of a refusal says what is wrong with the sdist, and not what follows of it."""
    with pytest.raises(Invalid) as caught:
        inspect_bytes(tmp_path, SDIST_NAME, data)
    assert reason in caught.value.message


@pytest.mark.parametrize(("data", "code"), coded(REFUSED_ZIPS))
def test_a_dishonest_zip_sdist_is_refused(tmp_path: Path, data: bytes, code: str) -> None:
    """A ZIP sdist is held to the rules of ZIP files and of sdists."""
    assert_refused(tmp_path, data, code, ZIP_NAME)


@pytest.mark.parametrize("suffix", [".tar.bz2", ".tar.xz", ".tgz", ".tar"])
def test_refuses_other_compressions(tmp_path: Path, suffix: str) -> None:
    """An sdist whose suffix is not .tar.gz is refused by its name."""
    assert_refused(tmp_path, GOOD, "invalid_filename", "demo-1.0" + suffix)


@pytest.mark.parametrize("data", ACCEPTED.values(), ids=ACCEPTED)
def test_an_sdist_that_all_unpack_alike_is_accepted(tmp_path: Path, data: bytes) -> None:
    """An sdist that every client unpacks in the same way is accepted."""
    assert inspect_bytes(tmp_path, SDIST_NAME, data).metadata == PKG_INFO


def test_zeros_behind_the_gzip_data_cost_no_memory(tmp_path: Path) -> None:
    """An sdist with millions of zeros behind its gzip data is read without them in memory."""
    data = GOOD + bytes(16 * MIB)

    tracemalloc.start()
    try:
        inspect_bytes(tmp_path, SDIST_NAME, data)
        assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("version", "member"),
    [
        (b"2.4", tar_file(b"demo-1.0/licenses/MIT")),
        (b"2.4", tar_block(b"demo-1.0/licenses/MIT", kind=b"2", target=b"../MIT.txt")),
        (b"2.3", b""),
    ],
)
def test_an_sdist_has_its_licence_files(tmp_path: Path, version: bytes, member: bytes) -> None:
    """An sdist is taken with the licence files it names, and before version 2.4 without them."""
    pkg_info = PKG_INFO.replace(b"2.4", version) + b"License-File: licenses/MIT\n"
    data = sdist_bytes(member, pkg_info=pkg_info)

    assert inspect_bytes(tmp_path, SDIST_NAME, data).metadata == pkg_info


@pytest.mark.parametrize(
    "member", [tar_file(b"demo-1.0/MIT"), tar_block(b"demo-1.0/licenses/MIT/", kind=b"5")]
)
def test_an_sdist_without_its_licence_files_is_refused(tmp_path: Path, member: bytes) -> None:
    """From metadata version 2.4 on, an sdist needs the licence files that its metadata names."""
    data = sdist_bytes(member, pkg_info=PKG_INFO + b"License-File: licenses/MIT\n")

    assert_refused(tmp_path, data, "invalid_metadata")


def test_names_that_windows_cannot_have_are_warned_of(tmp_path: Path) -> None:
    """An sdist with a name that Windows cannot have is accepted with a warning."""
    data = named(b"demo-1.0/what?.txt")
    (warning,) = inspect_bytes(tmp_path, SDIST_NAME, data).warnings
    assert warning == "Windows cannot have a file of this name: 'demo-1.0/what?.txt'."


def test_an_sdist_may_be_a_zip(tmp_path: Path) -> None:
    """An sdist may be a ZIP file where the index allows that."""
    folder = Entry(b"demo-1.0/d/", method=DEFLATED, packed=b"")  # as setuptools wrote it in 2013
    data = zip_sdist(Entry(b"demo-1.0/a:b", b"x"), folder)
    assert inspect_bytes(tmp_path, ZIP_NAME, data).metadata == PKG_INFO


@pytest.mark.parametrize("limit", LIMITS.values(), ids=LIMITS)
def test_an_sdist_beyond_a_limit_is_refused(tmp_path: Path, limit: Limit) -> None:
    """An sdist at a limit is accepted; one byte or file more is refused."""
    assert refused_beyond(tmp_path, SDIST_NAME, limit) == "archive_bomb"
