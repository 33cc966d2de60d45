"""Old files: what an import excuses, what it never does, and formats that nobody builds today."""

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
    inspect_bytes,
    sdist_bytes,
    sdist_tar,
    tar_block,
    tar_file,
    wheel_bytes,
    wheel_entries,
    zip_bytes,
)
from wheelyard.archive.faults import EXCUSABLE
from wheelyard.archive.limits import MIB, ArchiveLimits
from wheelyard.errors import Invalid

TAR = sdist_tar() + END_OF_TAR
EGG_NAME = "demo-1.0-py2.7.egg"
EGG = [Entry(b"demo/__init__.py", b""), Entry(b"EGG-INFO/PKG-INFO", METADATA)]
EXE_NAME = "demo-1.0.win32-py2.7.exe"
MSI_NAME = "demo-1.0.win-amd64-py3.4.msi"
MSI = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)


def metadata(*lines: str, name: str = "demo", version: str = "1.0") -> bytes:
    """Return metadata with further lines."""
    head = ("Metadata-Version: 1.1", f"Name: {name}", f"Version: {version}")
    return "".join(f"{line}\n" for line in (*head, *lines)).encode()


EXCUSED: list[tuple[str, str, Callable[[], bytes], set[str]]] = [
    (
        "no RECORD",
        WHEEL_NAME,
        lambda: zip_bytes(wheel_entries(with_record=False)),
        {"record_mismatch"},
    ),
    (
        "another RECORD",
        WHEEL_NAME,
        lambda: wheel_bytes(record=b"demo/x.py,,\n"),
        {"record_mismatch"},
    ),
    ("RECORD is no table", WHEEL_NAME, lambda: wheel_bytes(record=b"\xff"), {"record_mismatch"}),
    (
        "an old requirement",
        WHEEL_NAME,
        lambda: wheel_bytes(metadata=metadata("Requires-Dist: x (>=1.0.*)", "Summary: Old")),
        {"invalid_metadata"},
    ),
    (
        "an old Requires-Python",
        WHEEL_NAME,
        lambda: wheel_bytes(metadata=metadata("Requires-Python: >=3.6.*")),
        {"invalid_metadata"},
    ),
    (
        "a name in Latin-1",
        SDIST_NAME,
        lambda: sdist_bytes(pkg_info=metadata() + b"Author: J\xfcrgen\n"),
        {"invalid_metadata"},
    ),
    (
        "a name with a blank",
        "my_demo-1.0.tar.gz",
        lambda: sdist_bytes(pkg_info=metadata(name="My Demo"), top=b"my_demo-1.0"),
        {"invalid_metadata", "name_mismatch"},
    ),
    (
        "a name without its dash",
        "my_demo-1.0.tar.gz",
        lambda: sdist_bytes(pkg_info=metadata(name="MyDemo"), top=b"my_demo-1.0"),
        {"name_mismatch"},
    ),
    (
        "another folder",
        SDIST_NAME,
        lambda: sdist_bytes(top=b"python-demo-1.0"),
        {"name_mismatch"},
    ),
    (
        "another version",
        SDIST_NAME,
        lambda: sdist_bytes(pkg_info=metadata(version="1.0.1")),
        {"version_mismatch"},
    ),
    (
        "a version of no standard",
        SDIST_NAME,
        lambda: sdist_bytes(pkg_info=metadata(version="1.0-final-2")),
        {"invalid_metadata", "version_mismatch"},
    ),
    (
        "the folder's version",
        WHEEL_NAME,
        lambda: zip_bytes(wheel_entries(info=b"demo-1.0.1.dist-info")),
        {"version_mismatch"},
    ),
    ("no PKG-INFO", SDIST_NAME, lambda: sdist_bytes(pkg_info=None), {"missing_metadata"}),
    ("an egg without", EGG_NAME, lambda: zip_bytes(EGG[:1]), {"missing_metadata"}),
    (
        "several at once",
        WHEEL_NAME,
        lambda: zip_bytes(wheel_entries(metadata=metadata("x: \0"), with_record=False)),
        {"invalid_metadata", "record_mismatch"},
    ),
]


@pytest.mark.parametrize(
    ("filename", "build", "codes"),
    [pytest.param(*each, id=name) for name, *each in EXCUSED],
)
def test_excused(
    tmp_path: Path, filename: str, build: Callable[[], bytes], codes: set[str]
) -> None:
    """What fails only today's rules is refused as ever, and taken and marked if that is excused."""
    if filename != EGG_NAME:
        with pytest.raises(Invalid):
            inspect_bytes(tmp_path, filename, build())

    contents = inspect_bytes(tmp_path, filename, build(), is_lenient=True)

    assert set(contents.excused) == codes <= EXCUSABLE.keys()
    assert (contents.metadata is None) is ("missing_metadata" in codes)
    assert contents.core.name


def test_nothing_to_excuse(tmp_path: Path) -> None:
    """A file that keeps all rules bears no mark, and says the same as ever."""
    strict = inspect_bytes(tmp_path, WHEEL_NAME, wheel_bytes())

    assert inspect_bytes(tmp_path, WHEEL_NAME, wheel_bytes(), is_lenient=True) == strict
    assert strict.excused == ()


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


NEVER: list[tuple[str, str, Callable[[], bytes], str]] = [
    (
        "leads outside",
        WHEEL_NAME,
        lambda: wheel_bytes(Entry(b"../x", b"x")),
        "unsafe_archive",
    ),
    (
        "a link",
        SDIST_NAME,
        lambda: sdist_bytes(tar_block(b"demo-1.0/x", kind=b"2", target=b"/etc")),
        "unsafe_archive",
    ),
    (
        "a bomb",
        SDIST_NAME,
        lambda: sdist_bytes(tar_file(b"demo-1.0/x", bytes(65 * MIB))),
        "archive_bomb",
    ),
    (
        "one name twice",
        WHEEL_NAME,
        lambda: wheel_bytes(Entry(b"a", b""), Entry(b"a", b"")),
        "invalid_archive",
    ),
    (
        "encrypted",
        WHEEL_NAME,
        lambda: wheel_bytes(Entry(b"a", b"x", both={"flags": 1})),
        "invalid_archive",
    ),
    (
        "overlapping",
        WHEEL_NAME,
        lambda: wheel_bytes(Entry(b"a", b"x", central={"offset": 0})),
        "invalid_archive",
    ),
    (
        "damaged, and no RECORD",
        WHEEL_NAME,
        lambda: zip_bytes(wheel_entries(Entry(b"a", b"x", both={"crc": 7}), with_record=False)),
        "invalid_archive",
    ),
    (
        "another name",
        SDIST_NAME,
        lambda: sdist_bytes(pkg_info=metadata(name="other")),
        "name_mismatch",
    ),
    (
        "another name, and broken",
        SDIST_NAME,
        lambda: sdist_bytes(pkg_info=metadata("\0", name="other")),
        "name_mismatch",
    ),
    ("no METADATA", WHEEL_NAME, lambda: wheel_bytes(metadata=None), "missing_metadata"),
    ("no WHEEL", WHEEL_NAME, lambda: wheel_bytes(wheel=None), "missing_metadata"),
    (
        "a later format",
        WHEEL_NAME,
        lambda: wheel_bytes(wheel=b"Wheel-Version: 2.0\nTag: py3-none-any\n"),
        "invalid_metadata",
    ),
    (
        "another project's folder",
        WHEEL_NAME,
        lambda: zip_bytes(wheel_entries(info=b"other-1.0.dist-info")),
        "missing_metadata",
    ),
    (
        "a command that is code",
        WHEEL_NAME,
        lambda: wheel_bytes(
            Entry(b"demo-1.0.dist-info/entry_points.txt", b"[console_scripts]\nx = os;evil()\n")
        ),
        "invalid_metadata",
    ),
    (
        "an egg that leads outside",
        EGG_NAME,
        lambda: zip_bytes([*EGG, Entry(b"../x", b"")]),
        "unsafe_archive",
    ),
    (
        "an egg with one path twice",
        EGG_NAME,
        lambda: zip_bytes([*EGG, Entry(b"./demo/__init__.py", b"")]),
        "invalid_archive",
    ),
    (
        "one path twice with other bytes",
        SDIST_NAME,
        lambda: sdist_bytes(tar_file(b"demo-1.0/x", b"a"), tar_file(b"demo-1.0/x", b"b")),
        "invalid_archive",
    ),
    ("an egg that is none", EGG_NAME, lambda: b"PK", "invalid_archive"),
    ("an exe that is none", EXE_NAME, lambda: b"#!/bin/sh", "invalid_archive"),
    ("an msi that is none", MSI_NAME, lambda: b"MZ", "invalid_archive"),
    ("bz2 that is gzip", "demo-1.0.tar.bz2", lambda: gzip.compress(TAR), "invalid_archive"),
    ("xz that is text", "demo-1.0.tar.xz", lambda: b"hello" * 99, "invalid_archive"),
    ("tar that is text", "demo-1.0.tar", lambda: b"hello" * 999, "invalid_archive"),
    ("tar of nothing", "demo-1.0.tar", lambda: b"", "invalid_archive"),
    ("junk behind bz2", "demo-1.0.tar.bz2", lambda: bz2.compress(TAR) + b"junk", "invalid_archive"),
    (
        "a bz2 bomb",
        "demo-1.0.tar.bz2",
        lambda: bz2.compress(sdist_tar(tar_file(b"demo-1.0/x", bytes(65 * MIB)))),
        "archive_bomb",
    ),
    (
        "an xz bomb",
        "demo-1.0.tar.xz",
        lambda: lzma.compress(sdist_tar(tar_file(b"demo-1.0/x", bytes(65 * MIB)))),
        "archive_bomb",
    ),
    (
        "bz2 that leads outside",
        "demo-1.0.tbz",
        lambda: bz2.compress(sdist_tar(tar_file(b"demo-1.0/../../x")) + END_OF_TAR),
        "unsafe_archive",
    ),
]


@pytest.mark.parametrize(
    ("filename", "build", "code"),
    [pytest.param(*each, id=name) for name, *each in NEVER],
)
def test_never_excused(
    tmp_path: Path, filename: str, build: Callable[[], bytes], code: str
) -> None:
    """What protects the index, or whoever installs, is refused whoever asks for leniency."""
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


@pytest.mark.parametrize("filename", FORMATS)
def test_formats(tmp_path: Path, filename: str) -> None:
    """Sdists of every format are read, and what is in them is found."""
    contents = inspect_bytes(tmp_path, filename, FORMATS[filename](TAR), is_lenient=True)

    assert contents.metadata == METADATA


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


def test_eggs(tmp_path: Path) -> None:
    """An egg is read as a ZIP file, and its PKG-INFO is found."""
    assert inspect_bytes(tmp_path, EGG_NAME, zip_bytes(EGG), is_lenient=True).metadata == METADATA


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
