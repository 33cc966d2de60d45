"""Temporary files: those that a killed process has left, and those that somebody needs."""

import os
from errno import ENOLCK
from pathlib import Path

import pytest

from tests.upstream.scripted_source import open_below
from wheelyard.errors import Unavailable
from wheelyard.model.distribution_filename import parse_filename
from wheelyard.operations.spooled_upload import SpoolWriter
from wheelyard.storage.spool import Spool, try_lock

DAY = 86_400


def test_what_a_killed_process_has_left_is_removed(tmp_path: Path) -> None:
    """A start removes the temporary files that no process has open, and leaves all others."""
    spool, readings = Spool(tmp_path), (parse_filename("demo-1.0.tar.gz", zip_sdists=False),)
    (tmp_path / "upload-abandoned").write_bytes(b"of a killed process")
    (tmp_path / "upload-link").symlink_to("upload-abandoned")
    (tmp_path / "notes.txt").write_bytes(b"of the operator")
    fetched, descriptor = spool.open_new()
    writer = SpoolWriter(spool, readings, 100, "the upload", {})
    waiting = SpoolWriter(spool, readings, 100, "the upload", {})
    waiting.close()
    os.utime(waiting.path, (spool.time() - DAY / 2,) * 2)

    spool.remove_abandoned()

    needed = {Path(fetched).name, writer.path.name, waiting.path.name, "notes.txt", "upload-link"}
    assert {each.name for each in tmp_path.iterdir()} == needed
    os.close(descriptor)
    writer.remove()
    os.utime(waiting.path, (spool.time() - DAY - 1,) * 2)
    spool.remove_abandoned()
    assert {each.name for each in tmp_path.iterdir()} == {"notes.txt", "upload-link"}


def test_a_file_that_another_process_removes_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A temporary file that a process which starts takes for abandoned is made again."""
    removed = list[Path]()

    def lock(descriptor: int) -> bool:
        if not removed:
            (path,) = tmp_path.iterdir()
            path.unlink()
            removed.append(path)
        return try_lock(descriptor)

    monkeypatch.setattr("wheelyard.storage.spool.try_lock", lock)

    path, descriptor = Spool(tmp_path).open_new()

    assert [*tmp_path.iterdir()] == [Path(path)] != removed
    assert open_below(tmp_path) == 1
    os.close(descriptor)


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file system takes no locks, the reason is said, and no file stays open."""

    def fail(*_: object) -> None:
        raise OSError(ENOLCK, os.strerror(ENOLCK))

    monkeypatch.setattr("wheelyard.storage.spool.flock", fail)
    with pytest.raises(Unavailable, match="No locks available"):
        Spool(tmp_path).time()
    assert open_below(tmp_path) == 0
