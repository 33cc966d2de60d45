"""Old files: the rules that an import waives, those that it never waives, and old spellings."""

import gzip
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
from wheelyard.archive.archive_rules import WAIVABLE_CODES
from wheelyard.errors import Invalid

TAR = sdist_tar() + END_OF_TAR
TGZ_NAME = "demo-1.0.tgz"


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
    "no licence file": (
        SDIST_NAME,
        {"invalid_metadata"},
        lambda: sdist_bytes(pkg_info=METADATA + b"License-File: LICENSE\n"),
    ),
    "no PKG-INFO": (SDIST_NAME, {"missing_metadata"}, lambda: sdist_bytes(pkg_info=None)),
    "several at once": (
        WHEEL_NAME,
        {"invalid_metadata", "record_mismatch"},
        lambda: zip_bytes(wheel_entries(metadata=metadata("x: \0"), with_record=False)),
    ),
}


@pytest.mark.parametrize(("filename", "codes", "build"), WAIVED.values(), ids=WAIVED)
def test_only_rules_of_today_are_waived(
    tmp_path: Path, filename: str, codes: set[str], build: Callable[[], bytes]
) -> None:
    """What fails only today's rules is refused as ever, and taken and marked if that is excused."""
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
        "Description-Content-Type: text/markdown",
        "Description-Content-Type: text/plain",
    )

    contents = inspect_bytes(tmp_path, WHEEL_NAME, wheel_bytes(metadata=raw), is_lenient=True)

    core = contents.core
    assert contents.metadata == raw
    assert (core.name, core.version, core.summary, core.license) == ("demo", "1.0", "A demo", "MIT")
    assert (core.requires_dist, core.requires_python) == (("good>=1",), None)
    assert core.classifiers == ("A", "B")
    assert core.description_content_type == "text/markdown"


NEVER: dict[str, dict[str, tuple[str, Callable[[], bytes]]]] = {
    "unsafe_archive": {
        "leads outside": (WHEEL_NAME, lambda: wheel_bytes(Entry(b"../x", b"x"))),
        "a link": (
            SDIST_NAME,
            lambda: sdist_bytes(tar_block(b"demo-1.0/x", kind=b"2", target=b"/etc")),
        ),
        "a .tgz that leads outside": (
            TGZ_NAME,
            lambda: gzip.compress(sdist_tar(tar_file(b"demo-1.0/../../x")) + END_OF_TAR),
        ),
    },
    "archive_bomb": {
        "a bomb": (SDIST_NAME, lambda: sdist_bytes() + gzip.compress(b"") * 17),
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
        "one path twice with other bytes": (
            SDIST_NAME,
            lambda: sdist_bytes(tar_file(b"demo-1.0/x", b"a"), tar_file(b"demo-1.0/x", b"b")),
        ),
        "a .tgz that is text": (TGZ_NAME, lambda: b"hello" * 99),
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
def test_rules_that_protect_are_never_waived(
    tmp_path: Path, row: tuple[str, Callable[[], bytes]], code: str
) -> None:
    """Rules that protect the index or its users are never waived."""
    filename, build = row
    with pytest.raises(Invalid) as caught:
        inspect_bytes(tmp_path, filename, build(), is_lenient=True)

    assert caught.value.code == code


def test_a_tgz_is_read_as_a_tar_gz(tmp_path: Path) -> None:
    """An sdist whose suffix is .tgz is read as one of .tar.gz; cut off anywhere, it is refused."""
    data = gzip.compress(sdist_tar(tar_file(b"demo-1.0/x", bytes(range(256)) * 9)) + END_OF_TAR)
    assert inspect_bytes(tmp_path, TGZ_NAME, data, is_lenient=True).metadata == METADATA

    for size in range(0, len(data), 7):
        with pytest.raises(Invalid):
            inspect_bytes(tmp_path, TGZ_NAME, data[:size], is_lenient=True)


@pytest.mark.parametrize(
    "filename",
    [
        *("demo-1.0-py2.7.egg", "demo-1.0.win32-py2.7.exe", "demo-1.0.win-amd64-py3.4.msi"),
        *("demo-1.0.tar", "demo-1.0.tar.bz2", "demo-1.0.tbz", "demo-1.0.tar.xz", "demo-1.0.txz"),
    ],
)
def test_formats_of_before(tmp_path: Path, filename: str) -> None:
    """Formats that only older versions have taken are refused by their names, always."""
    with pytest.raises(Invalid) as caught:
        inspect_bytes(tmp_path, filename, gzip.compress(TAR), is_lenient=True)
    assert caught.value.code == "invalid_filename"
