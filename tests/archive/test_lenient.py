"""Old files: the rules that an import waives, those that it never waives, and obsolete formats."""

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.archive.builders import (
    END_OF_TAR,
    METADATA,
    SDIST_NAME,
    WHEEL_NAME,
    Entry,
    coded,
    inspect_bytes,
    sdist_bytes,
    sdist_tar,
    tar_block,
    tar_file,
    wheel_bytes,
    wheel_entries,
    zip_bytes,
)
from wheelyard.archive.rules import MIB, WAIVABLE_CODES, ArchiveLimits
from wheelyard.errors import Invalid

TAR = sdist_tar() + END_OF_TAR
EGG_NAME = "demo-1.0-py2.7.egg"
EGG = [Entry(b"demo/__init__.py", b""), Entry(b"EGG-INFO/PKG-INFO", METADATA)]
EXE_NAME = "demo-1.0.win32-py2.7.exe"
MSI_NAME = "demo-1.0.win-amd64-py3.4.msi"
MSI = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)


BOMB = tar_file(b"demo-1.0/x", bytes(65 * MIB))


def metadata(*lines: str, name: str = "demo", version: str = "1.0") -> bytes:
    """Return metadata with further lines."""
    head = ("Metadata-Version: 1.1", f"Name: {name}", f"Version: {version}")
    return "".join(f"{line}\n" for line in (*head, *lines)).encode()


WAIVED: dict[str, tuple[str, set[str], Callable[[], bytes]]] = {
    "no RECORD": (
        WHEEL_NAME,
        {"record_mismatch"},
        lambda: zip_bytes(wheel_entries(with_record=False)),
    ),
    "another RECORD": (
        WHEEL_NAME,
        {"record_mismatch"},
        lambda: wheel_bytes(record=b"demo/x.py,,\n"),
    ),
    "RECORD is no table": (WHEEL_NAME, {"record_mismatch"}, lambda: wheel_bytes(record=b"\xff")),
    "an old requirement": (
        WHEEL_NAME,
        {"invalid_metadata"},
        lambda: wheel_bytes(metadata=metadata("Requires-Dist: x (>=1.0.*)", "Summary: Old")),
    ),
    "an old Requires-Python": (
        WHEEL_NAME,
        {"invalid_metadata"},
        lambda: wheel_bytes(metadata=metadata("Requires-Python: >=3.6.*")),
    ),
    "a name in Latin-1": (
        SDIST_NAME,
        {"invalid_metadata"},
        lambda: sdist_bytes(pkg_info=metadata() + b"Author: J\xfcrgen\n"),
    ),
    "a name with a blank": (
        "my_demo-1.0.tar.gz",
        {"invalid_metadata", "name_mismatch"},
        lambda: sdist_bytes(pkg_info=metadata(name="My Demo"), top=b"my_demo-1.0"),
    ),
    "a name without its dash": (
        "my_demo-1.0.tar.gz",
        {"name_mismatch"},
        lambda: sdist_bytes(pkg_info=metadata(name="MyDemo"), top=b"my_demo-1.0"),
    ),
    "another folder": (SDIST_NAME, {"name_mismatch"}, lambda: sdist_bytes(top=b"python-demo-1.0")),
    "another version": (
        SDIST_NAME,
        {"version_mismatch"},
        lambda: sdist_bytes(pkg_info=metadata(version="1.0.1")),
    ),
    "a version of no standard": (
        SDIST_NAME,
        {"invalid_metadata", "version_mismatch"},
        lambda: sdist_bytes(pkg_info=metadata(version="1.0-final-2")),
    ),
    "the folder's version": (
        WHEEL_NAME,
        {"version_mismatch"},
        lambda: zip_bytes(wheel_entries(info=b"demo-1.0.1.dist-info")),
    ),
    "no PKG-INFO": (SDIST_NAME, {"missing_metadata"}, lambda: sdist_bytes(pkg_info=None)),
    "an egg without": (EGG_NAME, {"missing_metadata"}, lambda: zip_bytes(EGG[:1])),
    "several at once": (
        WHEEL_NAME,
        {"invalid_metadata", "record_mismatch"},
        lambda: zip_bytes(wheel_entries(metadata=metadata("x: \0"), with_record=False)),
    ),
}


@pytest.mark.parametrize(("filename", "codes", "build"), WAIVED.values(), ids=WAIVED)
def test_waived_rules(
    tmp_path: Path, filename: str, codes: set[str], build: Callable[[], bytes]
) -> None:
    """What fails only today's rules is refused as ever, and taken and marked if that is excused."""
    if filename != EGG_NAME:
        with pytest.raises(Invalid):
            inspect_bytes(tmp_path, filename, build())

    contents = inspect_bytes(tmp_path, filename, build(), is_lenient=True)

    assert set(contents.waived_rules) == codes <= WAIVABLE_CODES
    assert (contents.metadata is None) is ("missing_metadata" in codes)
    assert contents.core.name


def test_nothing_to_waive(tmp_path: Path) -> None:
    """A file that keeps all rules bears no mark, and says the same as ever."""
    strict = inspect_bytes(tmp_path, WHEEL_NAME, wheel_bytes())

    assert inspect_bytes(tmp_path, WHEEL_NAME, wheel_bytes(), is_lenient=True) == strict
    assert strict.waived_rules == ()


def test_what_can_be_read_of_it(tmp_path: Path) -> None:
    """Of metadata that breaks a rule, whatever is sound is shown; its bytes stay as they are."""
    raw = metadata(
        "Summary: A demo",
        "Summary: Another",
        "Requires-Dist: good>=1",
        "Requires-Dist: bad (>=",
        "Requires-Python: >=3.6.*",
        "License: MIT",
        "Classifier: A",
        "Classifier: B",
    )

    contents = inspect_bytes(tmp_path, WHEEL_NAME, wheel_bytes(metadata=raw), is_lenient=True)

    core = contents.core
    assert contents.metadata == raw
    assert (core.name, core.version, core.summary, core.license) == ("demo", "1.0", "A demo", "MIT")
    assert (core.requires_dist, core.requires_python) == (("good>=1",), None)
    assert core.classifiers == ("A", "B")


NEVER: dict[str, dict[str, tuple[str, Callable[[], bytes]]]] = {
    "unsafe_archive": {
        "leads outside": (WHEEL_NAME, lambda: wheel_bytes(Entry(b"../x", b"x"))),
        "a link": (
            SDIST_NAME,
            lambda: sdist_bytes(tar_block(b"demo-1.0/x", kind=b"2", target=b"/etc")),
        ),
        "an egg that leads outside": (EGG_NAME, lambda: zip_bytes([*EGG, Entry(b"../x", b"")])),
        "bz2 that leads outside": (
            "demo-1.0.tbz",
            lambda: bz2.compress(sdist_tar(tar_file(b"demo-1.0/../../x")) + END_OF_TAR),
        ),
    },
    "archive_bomb": {
        "a bomb": (SDIST_NAME, lambda: sdist_bytes(BOMB)),
        "a bz2 bomb": (
            "demo-1.0.tar.bz2",
            lambda: bz2.compress(sdist_tar(tar_file(b"demo-1.0/x", bytes(65 * MIB)))),
        ),
        "an xz bomb": (
            "demo-1.0.tar.xz",
            lambda: lzma.compress(sdist_tar(tar_file(b"demo-1.0/x", bytes(65 * MIB)))),
        ),
    },
    "invalid_archive": {
        "nothing in it": ("demo-1.0.zip", lambda: zip_bytes([])),
        "one name twice": (WHEEL_NAME, lambda: wheel_bytes(Entry(b"a", b""), Entry(b"a", b""))),
        "encrypted": (WHEEL_NAME, lambda: wheel_bytes(Entry(b"a", b"x", both={"flags": 1}))),
        "overlapping": (WHEEL_NAME, lambda: wheel_bytes(Entry(b"a", b"x", central={"offset": 0}))),
        "damaged, and no RECORD": (
            WHEEL_NAME,
            lambda: zip_bytes(wheel_entries(Entry(b"a", b"x", both={"crc": 7}), with_record=False)),
        ),
        "an egg with one path twice": (
            EGG_NAME,
            lambda: zip_bytes([*EGG, Entry(b"./demo/__init__.py", b"")]),
        ),
        "one path twice with other bytes": (
            SDIST_NAME,
            lambda: sdist_bytes(tar_file(b"demo-1.0/x", b"a"), tar_file(b"demo-1.0/x", b"b")),
        ),
        "an egg that is none": (EGG_NAME, lambda: b"PK"),
        "an exe that is none": (EXE_NAME, lambda: b"#!/bin/sh"),
        "an msi that is none": (MSI_NAME, lambda: b"MZ"),
        "bz2 that is gzip": ("demo-1.0.tar.bz2", lambda: gzip.compress(TAR)),
        "xz that is text": ("demo-1.0.tar.xz", lambda: b"hello" * 99),
        "tar that is text": ("demo-1.0.tar", lambda: b"hello" * 999),
        "tar of nothing": ("demo-1.0.tar", lambda: b""),
        "junk behind bz2": ("demo-1.0.tar.bz2", lambda: bz2.compress(TAR) + b"junk"),
    },
    "name_mismatch": {
        "another name": (SDIST_NAME, lambda: sdist_bytes(pkg_info=metadata(name="other"))),
        "another name, and broken": (
            SDIST_NAME,
            lambda: sdist_bytes(pkg_info=metadata("\0", name="other")),
        ),
    },
    "missing_metadata": {
        "no METADATA": (WHEEL_NAME, lambda: wheel_bytes(metadata=None)),
        "no WHEEL": (WHEEL_NAME, lambda: wheel_bytes(wheel=None)),
        "another project's folder": (
            WHEEL_NAME,
            lambda: zip_bytes(wheel_entries(info=b"other-1.0.dist-info")),
        ),
    },
    "invalid_metadata": {
        "a later format": (
            WHEEL_NAME,
            lambda: wheel_bytes(wheel=b"Wheel-Version: 2.0\nTag: py3-none-any\n"),
        ),
        "a command that is code": (
            WHEEL_NAME,
            lambda: wheel_bytes(
                Entry(b"demo-1.0.dist-info/entry_points.txt", b"[console_scripts]\nx = os;evil()\n")
            ),
        ),
    },
}


@pytest.mark.parametrize(("row", "code"), coded(NEVER))
def test_never_waived(tmp_path: Path, row: tuple[str, Callable[[], bytes]], code: str) -> None:
    """Rules that protect the index or its users are never waived."""
    filename, build = row
    with pytest.raises(Invalid) as caught:
        inspect_bytes(tmp_path, filename, build(), is_lenient=True)

    assert caught.value.code == code


FORMATS: dict[str, Callable[[bytes], bytes]] = {
    "demo-1.0.tgz": gzip.compress,
    "demo-1.0.tar": bytes,
    "demo-1.0.tar.bz2": bz2.compress,
    "demo-1.0.tbz": bz2.compress,
    "demo-1.0.tar.xz": lzma.compress,
    "demo-1.0.txz": lzma.compress,
}


@pytest.mark.parametrize("filename", [*FORMATS, EGG_NAME])
def test_formats(tmp_path: Path, filename: str) -> None:
    """Sdists of every format and eggs are read, and what is in them is found."""
    data = zip_bytes(EGG) if filename == EGG_NAME else FORMATS[filename](TAR)

    assert inspect_bytes(tmp_path, filename, data, is_lenient=True).metadata == METADATA


@pytest.mark.parametrize("filename", sorted(FORMATS.keys() - {"demo-1.0.tar"}))
def test_every_cut(tmp_path: Path, filename: str) -> None:
    """A compressed sdist that was cut off anywhere is refused."""
    data = FORMATS[filename](sdist_tar(tar_file(b"demo-1.0/x", bytes(range(256)) * 9)) + END_OF_TAR)

    for size in range(0, len(data), 7):
        with pytest.raises(Invalid):
            inspect_bytes(tmp_path, filename, data[:size], is_lenient=True)


def test_parallel_compressors(tmp_path: Path) -> None:
    """Several bzip2 or xz streams in a row are one archive, as parallel compressors write them."""
    parts = TAR[:700], TAR[700:]

    for filename, compress in (
        ("demo-1.0.tar.bz2", bz2.compress),
        ("demo-1.0.tar.xz", lzma.compress),
    ):
        data = b"".join(compress(part) for part in parts)
        assert inspect_bytes(tmp_path, filename, data, is_lenient=True).metadata == METADATA


@pytest.mark.parametrize(("filename", "data"), [(EXE_NAME, b"MZ" + bytes(99)), (MSI_NAME, MSI)])
def test_installers(tmp_path: Path, filename: str, data: bytes) -> None:
    """An installer for Windows is taken as bytes, up to a size."""
    assert inspect_bytes(tmp_path, filename, data, is_lenient=True).metadata is None
    with pytest.raises(Invalid) as caught:
        inspect_bytes(tmp_path, filename, data, ArchiveLimits(opaque=50), is_lenient=True)
    assert caught.value.code == "archive_bomb"


def test_a_bare_archive_without_its_end(tmp_path: Path) -> None:
    """A bare tar archive that was cut off anywhere before the end of its end marker is refused."""
    data = sdist_tar(tar_file(b"demo-1.0/x", bytes(range(256)) * 9)) + END_OF_TAR

    for size in (*range(0, len(data), 256), len(data) - 1):
        with pytest.raises(Invalid):
            inspect_bytes(tmp_path, "demo-1.0.tar", data[:size], is_lenient=True)

    for padding in (0, 7 * 512):
        padded = data + bytes(padding)
        assert inspect_bytes(tmp_path, "demo-1.0.tar", padded, is_lenient=True).metadata == METADATA
