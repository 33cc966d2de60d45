"""Sdists in the retired ZIP form; ids as in the attack list."""

from pathlib import Path

import pytest

from tests.archive.builders import DEFLATED, PKG_INFO, Entry, fields, inspect_bytes, zip_bytes
from tests.archive.sdists import GOOD, PKG_INFO_NAME
from wheelyard.errors import Invalid

ZIP_NAME = "demo-1.0.zip"


def zip_sdist(*more: Entry) -> bytes:
    """Return an sdist in the retired ZIP form."""
    return zip_bytes([Entry(b"demo-1.0/"), Entry(PKG_INFO_NAME, PKG_INFO, DEFLATED), *more])


def test_accepts_zip(tmp_path: Path) -> None:
    """S21: an sdist may be a ZIP file where the index allows that."""
    data = zip_sdist(Entry(b"demo-1.0/a:b", b"x"))
    assert inspect_bytes(tmp_path, ZIP_NAME, data).metadata == PKG_INFO


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(zip_sdist() + b"x", "invalid_archive", id="S21-W04"),
        pytest.param(
            zip_sdist(Entry(b"demo-1.0/x", b"a", both=fields(crc=1))),
            "invalid_archive",
            id="S21-W21",
        ),
        pytest.param(zip_sdist(Entry(b"demo-1.0/../x")), "unsafe_archive", id="S21-W32"),
        pytest.param(zip_sdist(Entry(b"demo-1.0\\x")), "unsafe_archive", id="S21-backslash"),
        pytest.param(zip_sdist(Entry(b"demo-1.0/x/.")), "unsafe_archive", id="S21-dot-at-end"),
        pytest.param(
            zip_sdist(Entry(b"demo-1.0/x"), Entry(b"demo-1.0/./x")), "invalid_archive", id="S21-W15"
        ),
        pytest.param(zip_sdist(Entry(b"other/x")), "invalid_archive", id="S21-S23"),
        pytest.param(zip_bytes([Entry(b"demo-1.0/x")]), "missing_metadata", id="S21-S22"),
        pytest.param(GOOD, "invalid_archive", id="S21-tar"),
    ],
)
def test_refuses_zip(tmp_path: Path, data: bytes, code: str) -> None:
    """S21: a ZIP sdist is held to the rules of ZIP files and of sdists."""
    with pytest.raises(Invalid) as caught:
        inspect_bytes(tmp_path, ZIP_NAME, data)
    assert caught.value.code == code
