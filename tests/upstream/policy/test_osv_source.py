"""The OSV database of an operator: a file, a zip or a folder that changes."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import pytest

from tests.operations.in_memory_index import Clock
from tests.upstream.policy.pages import DEMO
from wheelyard.errors import Invalid
from wheelyard.upstream.policy.osv_source import OsvSource


def malware(version: str) -> bytes:
    """Return an entry about a malicious version of `demo`."""
    package = {"ecosystem": "PyPI", "name": "demo"}
    entry = {"id": f"MAL-{version}", "affected": [{"package": package, "versions": [version]}]}
    return json.dumps(entry).encode()


def hits(source: OsvSource) -> list[str]:
    """Return which versions of `demo` are malicious."""
    return sorted(source.current().hits(DEMO, ["1", "2", "3"]))


def in_file(at: Path) -> None:
    """Write one JSON file with a list."""
    at.write_bytes(b"[" + b",".join(map(malware, "12")) + b"]")


def in_zip(at: Path) -> None:
    """Write a zip, as OSV exports it."""
    with ZipFile(f"{at}.zip", "w", ZIP_DEFLATED) as archive:
        for version in "12":
            archive.writestr(f"MAL-{version}.json", malware(version))
        archive.writestr("README", "{")


def in_folder(at: Path) -> None:
    """Write a folder with a zip, notes, a hidden folder, and folders in folders."""
    deep = at / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "1.json").write_bytes(malware("1"))
    (at / ".git").mkdir()
    (at / ".git" / "3.json").write_bytes(malware("3"))
    (at / "README.md").write_bytes(b"{")
    with ZipFile(at / "more.zip", "w") as archive:
        archive.writestr("2.json", malware("2"))


@pytest.mark.parametrize(("write", "suffix"), [(in_file, ""), (in_zip, ".zip"), (in_folder, "")])
def test_forms(tmp_path: Path, write: Callable[[Path], None], suffix: str) -> None:
    """A file, a zip and a folder are read alike."""
    write(tmp_path / "osv")
    clock = Clock()
    assert hits(OsvSource(Path(f"{tmp_path / 'osv'}{suffix}"), 0.0, clock.seconds)) == ["1", "2"]


def test_a_folder_that_changes(tmp_path: Path) -> None:
    """Files that come, change, go or break are noticed; links to files are followed."""
    folder, clock = tmp_path / "osv", Clock()
    in_folder(folder)
    source = OsvSource(folder, 0.0, clock.seconds)

    def after(change: Callable[[], object]) -> list[str]:
        change()
        clock.advance(seconds=5)
        return hits(source)

    assert hits(source) == ["1", "2"]
    (tmp_path / "3.json").write_bytes(malware("3"))
    assert after(lambda: (folder / "3.json").symlink_to(tmp_path / "3.json")) == ["1", "2", "3"]
    assert after((folder / "more.zip").unlink) == ["1", "3"]
    broken = folder / "more.zip"
    assert after(lambda: broken.write_bytes(b"PK\x03\x04")) == ["1", "3"]
    assert str(broken) in source.error
    assert after(lambda: os.truncate(tmp_path / "3.json", 3)) == ["1", "3"]
    broken.unlink()
    (tmp_path / "3.json").write_bytes(malware("2"))
    assert after(lambda: None) == ["1", "2"]
    assert source.error == ""


def test_nothing_is_read_twice(tmp_path: Path) -> None:
    """The database is looked at every few seconds, and is not read again without a change."""
    clock, path = Clock(), tmp_path / "osv.json"
    in_file(path)
    source = OsvSource(path, 0.0, clock.seconds)
    table = source.current()
    path.write_bytes(malware("3"))
    assert source.current() is table
    clock.advance(seconds=5)
    assert source.peek() is None
    later = source.current()
    assert later.generation != table.generation
    clock.advance(seconds=5)
    assert source.current() is later is source.peek()


@pytest.mark.parametrize("name", ["missing", "empty", "notes.json"])
def test_no_database(tmp_path: Path, name: str) -> None:
    """What is no database is an error, so that nobody believes to be protected."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.json").write_text('{"note": "soon"}')
    with pytest.raises(Invalid, match=r"\[upstream\] osv: "):
        OsvSource(tmp_path / name, 0.0, Clock().seconds).load()
