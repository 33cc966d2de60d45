"""Files of people that a command replaces as a whole."""

import os
from pathlib import Path

import pytest

from wheelyard.cli.replaced_files import replace_file


def test_the_new_content_is_on_disk_before_it_has_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power cut, a netrc file that was being replaced has its old or its new content."""
    netrc = tmp_path / ".netrc"
    netrc.write_bytes(b"old")
    synced = list[tuple[int, bytes, bytes]]()

    def note(file: int) -> None:
        synced.append((os.fstat(file).st_ino, os.pread(file, 9, 0), netrc.read_bytes()))

    monkeypatch.setattr(os, "fsync", note)

    replace_file(netrc, b"new", 0o600, keeps_mode=False)

    assert synced == [(netrc.stat().st_ino, b"new", b"old")]
    assert netrc.read_bytes() == b"new"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A file in a folder that does not exist is not written, and the error names the folder."""
    folder = tmp_path / "nowhere"

    with pytest.raises(FileNotFoundError, match="There is no such folder") as caught:
        replace_file(folder / ".netrc", b"new", 0o600, keeps_mode=False)

    assert caught.value.filename == str(folder)


@pytest.mark.parametrize(("added", "given"), [((0, 0), []), ((1, 0), [(1, 0)]), ((0, 1), [(0, 1)])])
def test_a_file_keeps_its_owner(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    added: tuple[int, int],
    given: list[tuple[int, int]],
) -> None:
    """A file of another user or group that root replaces belongs to them afterwards, too."""
    netrc = tmp_path / ".netrc"
    netrc.write_bytes(b"old")
    stat, ours = Path.stat, netrc.stat()
    others = os.stat_result(
        (*ours[:4], ours.st_uid + added[0], ours.st_gid + added[1], *ours[6:10])
    )
    owners = list[tuple[int, int]]()

    def give(path: Path, user: int, group: int) -> None:
        assert path.read_bytes() == b"new"
        owners.append((user - ours.st_uid, group - ours.st_gid))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", lambda path: others if path == netrc else stat(path))
        patch.setattr(os, "chown", give)
        replace_file(netrc, b"new", 0o600, keeps_mode=False)

    assert (owners, netrc.read_bytes()) == (given, b"new")
