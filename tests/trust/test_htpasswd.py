"""Htpasswd files: what is taken, what is refused, and what happens when one changes."""

import logging
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.operations.world import Clock
from tests.trust.test_crypts import APR1, BCRYPT, SHA, SHA256, SHA512
from wheelyard.errors import Invalid
from wheelyard.trust.crypts import recognise
from wheelyard.trust.passwords import Htpasswd, parse_htpasswd
from wheelyard.trust.watched import Content, WatchedFile

UNWISE = "is MD5 (apr1), which is quickly guessed; make it again with 'htpasswd -B'"


def test_names_and_hashes() -> None:
    """Comments, blank lines, Windows line ends and what follows a second colon mean nothing."""
    text = f"\ufeff# people\r\n\r\n  ana:{BCRYPT}\r\nml-ci:{SHA512}:the robot\n#bo:{SHA}\nAna:{SHA}"

    found = parse_htpasswd(text).value

    assert found.hashes == {"ana": BCRYPT, "ml-ci": SHA512, "Ana": SHA}


def test_an_empty_file() -> None:
    """A file without entries is taken, and its operator hears that nobody can log in."""
    found = parse_htpasswd("# nobody yet\n")

    assert (found.value.hashes, found.value.decoy) == ({}, None)
    assert "nobody has a password" in found.warnings[0]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (f"ana:{BCRYPT}\n\nhunter2hunter2\n", "Line 3 has no colon. Write NAME:HASH"),
        (f"ana:{BCRYPT}\nana:{SHA}", "Line 2 has a name that is there already. Remove one"),
        (f":{BCRYPT}", "Line 1 has no name"),
        (f"{'a' * 256}:{BCRYPT}", "Line 1 has no name"),
        (f"a\x1bb:{BCRYPT}", "Line 1 has no name"),
        ("ana:", "Line 1 has a hash that is missing"),
        ("ana:hunter2hunter2", "Line 1 has a hash that is plain text"),
        ("ana:rqXexS6ZhobKA", "Make it again with 'htpasswd -B', or remove the line."),
        (f"#\nana:$2x{BCRYPT[3:]}", "Line 2 has a hash that is bcrypt with a mistake"),
    ],
)
def test_a_wrong_line(text: str, complaint: str) -> None:
    """A refusal names the line and what to do, and shows nothing of a password or a hash."""
    with pytest.raises(Invalid) as refused:
        parse_htpasswd(text)

    assert complaint in refused.value.message
    assert refused.value.code == "bad_setting"
    for secret in (BCRYPT, SHA, "hunter2", "rqXexS6ZhobKA", BCRYPT[3:]):
        assert secret not in refused.value.message


def test_warnings_name_the_line() -> None:
    """A weak hash that is taken is named by its line."""
    assert parse_htpasswd(f"ana:{BCRYPT}\nbo:{APR1}\n").warnings == (
        f"the hash on line 2 {UNWISE}",
    )


def test_the_decoy_is_as_most_are() -> None:
    """An unknown name is checked against a hash of the kind that most names have."""
    decoy = parse_htpasswd(f"a:{SHA}\nb:{SHA512}\nc:{BCRYPT}\nd:{SHA512}").value.decoy

    assert decoy is not None
    assert recognise(decoy).scheme == "SHA-512 crypt"


def test_a_file_in_memory_is_not_shown() -> None:
    """No hash is in what a log would show of a file's content."""
    assert repr(parse_htpasswd(f"ana:{SHA256}").value) == "Htpasswd()"


@given(st.text())
def test_any_text(text: str) -> None:
    """Any text is a file, or is refused by a line."""
    refused = ""
    try:
        parse_htpasswd(text)
    except Invalid as fault:
        refused = fault.message

    assert refused == "" or refused.startswith("Line ")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a file with one name in it."""
    file = tmp_path / "htpasswd"
    _write(file, f"ana:{BCRYPT}\n")
    return file


@pytest.fixture
def clock() -> Clock:
    """Return the clock of a test."""
    return Clock()


@pytest.fixture
def watched(path: Path, clock: Clock) -> WatchedFile[Htpasswd]:
    """Return the file, watched."""
    return WatchedFile(path, parse_htpasswd, clock.seconds)


def test_a_change_is_seen(watched: WatchedFile[Htpasswd], path: Path, clock: Clock) -> None:
    """A changed file is read four seconds later, and is not looked at before."""
    _write(path, f"bo:{SHA512}\n")
    clock.advance(seconds=3.9)
    assert (watched.is_due, list(watched.current().hashes)) == (False, ["ana"])

    clock.advance(seconds=0.1)
    assert watched.is_due
    assert list(watched.current().hashes) == ["bo"]
    assert not watched.is_due


def test_a_file_is_read_only_if_it_changed(path: Path, clock: Clock) -> None:
    """A file that stays as it is is read once more, to be sure, and then never again."""
    read: list[str] = []

    def parse(text: str) -> Content[Htpasswd]:
        read.append(text)
        return parse_htpasswd(text)

    watched = WatchedFile(path, parse, clock.seconds)
    for _ in range(10):
        clock.advance(seconds=5)
        watched.current()

    assert len(read) == 2


def test_a_change_within_one_tick(watched: WatchedFile[Htpasswd], path: Path, clock: Clock) -> None:
    """A second change is seen even if time, size and inode are those of the first."""
    before = path.stat()
    path.write_text(f"bob:{BCRYPT}\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    clock.advance(seconds=5)
    assert list(watched.current().hashes) == ["bob"]


def test_a_replaced_file_is_seen(watched: WatchedFile[Htpasswd], path: Path, clock: Clock) -> None:
    """A file that another one takes the place of, as a mounted secret does, is read again."""
    clock.advance(seconds=5)
    watched.current()
    times = path.stat()
    other = path.with_name("other")
    _write(other, f"bob:{BCRYPT}\n")
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    other.rename(path)

    clock.advance(seconds=5)
    assert list(watched.current().hashes) == ["bob"]


@pytest.mark.parametrize("broken", [b"ana:plain\n", b"ana\xff:x\n", None])
def test_a_broken_file_changes_nothing(
    watched: WatchedFile[Htpasswd],
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
        assert list(watched.current().hashes) == ["ana"]
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert str(path) in caplog.text
    assert "plain\n" not in caplog.text

    _write(path, f"bo:{BCRYPT}\n")
    clock.advance(seconds=5)
    assert list(watched.current().hashes) == ["bo"]


def test_a_new_warning_is_logged(
    watched: WatchedFile[Htpasswd],
    path: Path,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What becomes unwise while the server runs is logged, once."""
    before = watched.warnings
    path.write_text(f"ana:{APR1}\n")
    path.chmod(0o644)
    for _ in range(3):
        clock.advance(seconds=5)
        watched.current()

    assert watched.warnings == (
        f"{path}: every user of this machine may read it; take that away with 'chmod o-r'.",
        f"{path}: the hash on line 1 {UNWISE}.",
    )
    assert [record.getMessage() for record in caplog.records] == list(watched.warnings)
    assert before == ()


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (f"ana:{BCRYPT}\n\nb\xe9:x\n".encode("latin-1"), "Line 3 is not UTF-8."),
        (b"#" * (16 * 1024**2 + 1), "It has more than 16777216 bytes."),
        (b"ana:plain", "Line 1 has a hash that is plain text"),
    ],
)
def test_a_file_that_cannot_be_taken(path: Path, body: bytes, complaint: str) -> None:
    """A server does not start with a file that makes no sense, and says which and why."""
    path.write_bytes(body)

    with pytest.raises(Invalid) as refused:
        WatchedFile(path, parse_htpasswd, Clock().seconds)

    assert refused.value.message.startswith(f"{path}: {complaint}")
    fault: BaseException | None = refused.value
    while fault is not None:
        assert not isinstance(fault, UnicodeDecodeError)
        fault = fault.__context__


@pytest.mark.parametrize("kind", ["missing", "folder"])
def test_no_file(path: Path, kind: str) -> None:
    """A path where no file is is refused with its name."""
    path.unlink()
    if kind == "folder":
        path.mkdir()

    with pytest.raises(Invalid, match="cannot be read"):
        WatchedFile(path, parse_htpasswd, Clock().seconds)
    shutil.rmtree(path, ignore_errors=True)


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o600)
