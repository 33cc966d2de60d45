"""`wheelyard password`: a line of the htpasswd file, printed or written into it."""

import os
import pty
import subprocess
import sys
import tempfile
from errno import ENOSPC
from pathlib import Path
from select import select

import pytest

from tests.cli.conftest import WHERE, Done, Typed
from tests.cli.test_standard_streams import TERMINAL
from tests.clients.harness import Sandbox
from tests.http_server import WHEELYARD
from tests.waiting import TIMEOUT_SECONDS
from wheelyard.authentication import passwords
from wheelyard.authentication.verifiers.htpasswd import parse_htpasswd, verify_password

SECRET = "correct horse"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make hashes as weak as bcrypt allows, as they would take most of the time."""
    monkeypatch.setattr(passwords, "ROUNDS", 4)


def piped(wheelyard: Typed, *arguments: str | Path, secret: bytes = b"correct horse\n") -> Done:
    """Run `wheelyard password` with a password on standard input."""
    with tempfile.TemporaryFile("w+") as stdin, pytest.MonkeyPatch.context() as patch:
        stdin.buffer.write(secret)
        stdin.seek(0)
        patch.setattr(sys, "stdin", stdin)
        return wheelyard("password", *arguments)


def test_a_line_is_printed_for_a_pipe(wheelyard: Typed) -> None:
    """Without a file, the line for a password is printed alone."""
    for secret in (b"correct horse\n", b"correct horse\r\n", b"correct horse", b"correct horse\nx"):
        done = piped(wheelyard, "ana", secret=secret)

        assert (done.returncode, done.stderr) == (0, "")
        hashed = parse_htpasswd(done.stdout).value.hashes["ana"]
        assert verify_password(SECRET.encode(), hashed)
        assert SECRET not in done.stdout


def test_a_file_gets_lines_and_keeps_others(wheelyard: Typed, sandbox: Sandbox) -> None:
    """A file is made, keeps its other lines, and replaces a password only with --replace."""
    file = sandbox.folder / "users"
    assert piped(wheelyard, "ana", "--file", file).stderr == f"ana has a password now, in {file}.\n"
    assert file.stat().st_mode & 0o777 == 0o640
    file.chmod(0o600)
    with file.open("a") as more:
        more.write("# by hand\n")
    before = file.read_text()

    assert piped(wheelyard, "bo", "--file", file).returncode == 0
    assert file.read_text().startswith(before)
    refused = piped(wheelyard, "ana", "--file", file, secret=b"battery staple\n")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "'ana' has a password already, on line 1 of" in refused.stderr
    assert "With --replace it gets another one" in refused.stderr
    link = sandbox.folder / "link"
    link.symlink_to("users")
    done = piped(wheelyard, "ana", "--file", link, "--replace", secret=b"battery staple\n")

    assert done.stderr == f"ana has another password, in {link}.\n"
    assert (link.is_symlink(), file.stat().st_mode & 0o777) == (True, 0o600)
    hashes = parse_htpasswd(file.read_text()).value.hashes
    assert verify_password(b"battery staple", hashes["ana"])
    assert verify_password(SECRET.encode(), hashes["bo"])
    assert "# by hand\n" in file.read_text()
    assert sorted(path.name for path in sandbox.folder.glob("*users*")) == ["users"]


@pytest.mark.parametrize(
    ("name", "secret", "words"),
    [
        ("ana", b"short\n", "has fewer than 8 characters"),
        ("ana", b"x" * 73, "more than 72 bytes, and bcrypt ignores all that follow"),
        ("ana", b"\xff" * 12, "none of Unicode"),
        ("ana", b"", "There is no password on standard input"),
        ("a:b", b"", "has a colon"),
        ("__token__", b"", "if they send a token"),
    ],
)
def test_what_nobody_could_use_is_refused(
    wheelyard: Typed, sandbox: Sandbox, name: str, secret: bytes, words: str
) -> None:
    """A name or a password that nobody could sign in with is refused, and nothing is written."""
    file = sandbox.folder / "users"

    done = piped(wheelyard, name, "--file", file, secret=secret)

    assert (done.returncode, done.stdout, file.exists()) == (1, "", False)
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_file_that_cannot_be_used_stays(wheelyard: Typed, sandbox: Sandbox) -> None:
    """A file with a wrong line or in another encoding is refused, and stays as it is."""
    file = sandbox.folder / "users"
    for content, words in ((b"bo:plain\n", "Line 1 has a hash"), (b"\xff", "is not UTF-8")):
        file.write_bytes(content)
        done = piped(wheelyard, "ana", "--file", file)
        assert (done.returncode, file.read_bytes()) == (1, content)
        assert words in done.stderr
    done = piped(wheelyard, "ana", "--file", sandbox.folder / "none" / "users")
    assert (done.returncode, "cannot be used" in done.stderr) == (1, True)


def test_a_full_disk_is_told(
    wheelyard: Typed, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who sets a password on a full disk is told that it was not stored, and the file stays."""
    file = sandbox.folder / "users"
    file.write_text("# by hand\n")
    before = sorted(sandbox.folder.iterdir())

    def fail(_: int) -> None:
        raise OSError(ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    done = piped(wheelyard, "ana", "--file", file)

    assert (done.returncode, "No space left on device" in done.stderr) == (1, True)
    assert "has a password now" not in done.stderr
    assert (file.read_text(), sorted(sandbox.folder.iterdir())) == ("# by hand\n", before)


def test_a_person_is_asked_until_the_password_is_good(
    wheelyard: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person whose password is too short is told why, and asked again."""
    typed = iter(["short", SECRET, SECRET])
    monkeypatch.setattr(sys, "stdin", TERMINAL)
    monkeypatch.setattr("click.termui.hidden_prompt_func", lambda _: next(typed))

    done = wheelyard("password", "ana")

    assert (done.returncode, "fewer than 8 characters" in done.stderr) == (0, True)
    hashed = parse_htpasswd(done.stdout).value.hashes["ana"]
    assert verify_password(SECRET.encode(), hashed)


@pytest.mark.integration
def test_a_person_is_asked_twice_without_an_echo(sandbox: Sandbox) -> None:
    """On a terminal the password is asked for again until it is right, and is never shown."""
    near_end, far_end = pty.openpty()
    command = [*WHEELYARD, "password", "ana"]
    output, typed = b"", iter(["short", SECRET, "something else", SECRET, SECRET])
    with subprocess.Popen(
        command,
        stdin=far_end,
        stderr=far_end,
        stdout=subprocess.PIPE,
        env=sandbox.environment() | WHERE,
        start_new_session=True,
    ) as process:
        os.close(far_end)
        asked = 0
        while select([near_end], [], [], TIMEOUT_SECONDS)[0]:
            try:
                output += os.read(near_end, 1024)
            except OSError:  # the command has ended
                break
            if output.count(b": ") > asked and output.endswith(b": "):
                asked = output.count(b": ")
                os.write(near_end, f"{next(typed)}\n".encode())
        assert process.stdout is not None
        line = process.stdout.read().decode()
    os.close(near_end)

    assert process.returncode == 0, output
    assert verify_password(SECRET.encode(), parse_htpasswd(line).value.hashes["ana"])
    assert b"fewer than 8 characters" in output
    assert b"do not match" in output
    assert not any(secret.encode() in output for secret in ("short", SECRET, "something else"))
