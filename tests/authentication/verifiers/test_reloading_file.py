"""Files of credentials: reloading, error messages, and file permissions."""

import logging
import os
from pathlib import Path
from typing import Any

import pytest

from tests.authentication.verifiers.test_password_hashes import APR1, BCRYPT, SHA512
from tests.fake_time import Clock
from wheelyard.authentication.verifiers.htpasswd import HtpasswdFile, parse_htpasswd
from wheelyard.authentication.verifiers.reloading_file import (
    ParsedFile,
    ReloadingFile,
    write_access_warnings,
)
from wheelyard.errors import Invalid

READ = "every user of this machine may read it; take that away with 'chmod o-r'"
WRITE = "every user of this machine may write to it; take that away with 'chmod o-w'"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a password file in two nested folders that only its owner may write to."""
    file = tmp_path / "etc" / "wheelyard" / "htpasswd"
    file.parent.mkdir(parents=True)
    _write(file, f"ana:{BCRYPT}\n")
    return file


@pytest.fixture
def watched_file(path: Path, clock: Clock) -> ReloadingFile[HtpasswdFile]:
    """Return the file, watched."""
    return ReloadingFile(path, parse_htpasswd, clock.seconds)


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o640)


def _look(watched: ReloadingFile[Any], clock: Clock, times: int = 3) -> None:
    for _ in range(times):
        clock.advance(seconds=5)
        watched.current()


def test_a_change_is_seen(
    watched_file: ReloadingFile[HtpasswdFile], path: Path, clock: Clock
) -> None:
    """A changed file is read a second later, and is not looked at before."""
    _write(path, f"bo:{SHA512}\n")
    clock.advance(seconds=0.9)
    assert list(watched_file.current().hashes) == ["ana"]

    clock.advance(seconds=0.1)
    assert list(watched_file.current().hashes) == ["bo"]

    _write(path, f"cy:{SHA512}\n")
    assert list(watched_file.current().hashes) == ["bo"]


def test_a_file_is_read_only_if_it_changed(path: Path, clock: Clock) -> None:
    """A file that stays as it is is not read again."""
    read: list[str] = []

    def parse(text: str) -> ParsedFile[HtpasswdFile]:
        read.append(text)
        return parse_htpasswd(text)

    watched = ReloadingFile(path, parse, clock.seconds)
    for _ in range(10):
        clock.advance(seconds=5)
        watched.current()

    assert len(read) == 1


def test_a_change_is_seen_with_equal_time_size_and_inode(
    watched_file: ReloadingFile[HtpasswdFile], path: Path, clock: Clock
) -> None:
    """A change is seen even if time of modification, size and inode are as before."""
    before = path.stat()
    path.write_text(f"bob:{BCRYPT}\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    clock.advance(seconds=5)
    assert list(watched_file.current().hashes) == ["bob"]


@pytest.mark.parametrize("broken", [b"ana:plain\n", b"ana\xff:x\n", None])
def test_a_broken_file_changes_nothing(
    watched_file: ReloadingFile[HtpasswdFile],
    path: Path,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    broken: bytes | None,
) -> None:
    """While the new file is wrong or gone, the old one stays in force, and the log says so once."""
    path.unlink()
    if broken is not None:
        path.write_bytes(broken)
    for _ in range(3):
        clock.advance(seconds=5)
        assert list(watched_file.current().hashes) == ["ana"]
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert str(path) in caplog.text
    assert "plain\n" not in caplog.text

    _write(path, f"bo:{BCRYPT}\n")
    _look(watched_file, clock)
    assert list(watched_file.value.hashes) == ["bo"]
    assert [record.levelno for record in caplog.records[1:]] == [logging.WARNING]
    assert caplog.messages[1] == f"{path} reads again. What it says now is in force."


def test_a_new_warning_is_logged(
    watched_file: ReloadingFile[HtpasswdFile],
    path: Path,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A warning about a file that changes while the server runs is logged once."""
    before = watched_file.warnings
    path.write_text(f"ana:{APR1}\n")
    path.chmod(0o644)
    for _ in range(3):
        clock.advance(seconds=5)
        watched_file.current()

    assert watched_file.warnings == (
        f"{path}: {READ}.",
        f"{path}: {parse_htpasswd(path.read_text()).warnings[0]}.",
    )
    assert [record.getMessage() for record in caplog.records] == list(watched_file.warnings)
    assert before == ()


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (f"ana:{BCRYPT}\n\nb\xe9:x\n".encode("latin-1"), "Line 3 is not UTF-8."),
        (b"#" * (16 * 1024**2 + 1), "It has more than 16777216 bytes."),
        (b"ana:plain", "Line 1 has a hash that is plain text"),
    ],
)
def test_server_does_not_start_with_senseless_file(path: Path, body: bytes, complaint: str) -> None:
    """A server does not start with a file that makes no sense, and says which and why."""
    path.write_bytes(body)

    with pytest.raises(Invalid) as refused:
        ReloadingFile(path, parse_htpasswd, Clock().seconds)

    assert refused.value.message.startswith(f"{path}: {complaint}")
    fault: BaseException | None = refused.value
    while fault is not None:
        assert not isinstance(fault, UnicodeDecodeError)
        fault = fault.__context__


@pytest.mark.parametrize("kind", ["missing", "folder"])
def test_a_path_without_a_file_is_refused(path: Path, kind: str) -> None:
    """A missing file, or a folder in its place, is refused at the start."""
    path.unlink()
    if kind == "folder":
        path.mkdir()

    with pytest.raises(Invalid, match="cannot be read"):
        ReloadingFile(path, parse_htpasswd, Clock().seconds)


def test_a_file_that_was_away_is_logged_when_it_is_back(
    watched_file: ReloadingFile[HtpasswdFile],
    path: Path,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A file that was away, and is back unchanged, is logged again."""
    folder, away = path.parent, path.parent.with_name("away")
    _look(watched_file, clock)
    folder.rename(away)
    _look(watched_file, clock)
    away.rename(folder)
    _look(watched_file, clock)
    assert list(watched_file.value.hashes) == ["ana"]

    wrong, mended = (record.getMessage() for record in caplog.records)
    assert "cannot be read" in wrong
    assert "reads again" in mended


def _folder(folder: Path) -> str:
    return (
        "every user of this machine may replace it, because they may write to the folder "
        f"{folder}; take that away with 'chmod o-w'"
    )


@pytest.mark.parametrize(
    ("mode", "ways"),
    [
        *((mode, []) for mode in (0o400, 0o600, 0o640, 0o644, 0o660, 0o664, 0o770, 0o444)),
        *((mode, [WRITE]) for mode in (0o602, 0o606, 0o646, 0o666, 0o777)),
    ],
)
def test_a_file_that_others_may_write_is_reported(path: Path, mode: int, ways: list[str]) -> None:
    """A file that others may write to is told of, and one that its group may write to is not."""
    path.chmod(mode)

    assert list(write_access_warnings(path)) == ways


@pytest.mark.parametrize("above", [0, 1])
@pytest.mark.parametrize(
    ("mode", "is_told"),
    [
        *((mode, False) for mode in (0o700, 0o755, 0o775, 0o2775, 0o1777, 0o3777)),
        *((mode, True) for mode in (0o703, 0o777)),
    ],
)
def test_open_folder_is_reported(path: Path, above: int, mode: int, *, is_told: bool) -> None:
    """A file below a folder that others may write to is reported, unless the sticky bit is set."""
    folder = path.parents[above]
    folder.chmod(mode)

    assert list(write_access_warnings(path)) == ([_folder(folder)] if is_told else [])


def test_the_folder_of_a_link_and_of_its_target_count(path: Path, tmp_path: Path) -> None:
    """The folder with a link to the file counts, and so does the folder that the link leads to."""
    links = tmp_path / "links"
    links.mkdir()
    (links / "users").symlink_to(path)

    assert list(write_access_warnings(links / "users")) == []
    for folder in (links, path.parent):
        folder.chmod(0o777)
        assert list(write_access_warnings(links / "users")) == [_folder(folder)]
        folder.chmod(0o755)


def test_a_missing_file_is_no_failure_but_its_folders_count(path: Path, tmp_path: Path) -> None:
    """A file that is not there, or links in a circle, are no failure; the folders count."""
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "lost").symlink_to("nowhere")
    for name in ("a", "lost", "none", "a/none", "lost/none", "etc/wheelyard/htpasswd/x"):
        assert list(write_access_warnings(tmp_path / name)) == []
    path.parent.chmod(0o777)
    assert list(write_access_warnings(path.parent / "none")) == [_folder(path.parent)]


def test_relative_path_is_checked_up_to_root(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that begins in the working folder is looked at up to the root."""
    monkeypatch.chdir(path.parent)
    path.parents[1].chmod(0o777)

    assert list(write_access_warnings(Path(path.name))) == [_folder(path.parents[1])]
