"""Commands whose output is closed or cannot be written."""

import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import StringIO
from itertools import count

import click
import pytest

from tests.cli.conftest import FULL, Typed, needs_full
from tests.clients.harness import REPOSITORY, Sandbox
from wheelyard.cli.output import echo, print_line, print_message, print_result
from wheelyard.cli.progress import Progress, show_progress
from wheelyard.cli.shared_options import OUTPUT


def typed(sandbox: Sandbox, line: str) -> subprocess.CompletedProcess[str]:
    """Run a line of shell, in which `wheelyard` is ours, and whose status is that of a failure."""
    setting = {
        "PYTHONPATH": str(REPOSITORY / "src"),
        "PYTHON": sys.executable,
        "WHEELYARD_STORE": "wheelyard-data",
    }
    script = f'wheelyard() {{ "$PYTHON" -m wheelyard "$@"; }}; set -o pipefail; {line}'
    return sandbox.attempt("bash", "-c", script, **setting)


@pytest.fixture
def tokens(sandbox: Sandbox, wheelyard: Typed) -> Sandbox:
    """A sandbox with a store that has two tokens."""
    for name in ("a", "b"):
        assert wheelyard("token", "create", name, WHEELYARD_STORE="wheelyard-data").returncode == 0
    return sandbox


@pytest.mark.integration
@needs_full
@pytest.mark.parametrize("line", ["wheelyard token list", "wheelyard --help"])
def test_unwritable_output_is_a_failure(tokens: Sandbox, line: str) -> None:
    """Output that cannot be written is a failure, said in one line."""
    done = typed(tokens, f"{line} >{FULL}")

    assert done.returncode == 1
    assert done.stderr == "wheelyard: The output cannot be used: No space left on device.\n"


@pytest.mark.integration
def test_a_deleted_working_folder_is_named(sandbox: Sandbox) -> None:
    """A working folder that was deleted meanwhile is named, and not the output."""
    done = typed(sandbox, "mkdir gone && cd gone && rmdir ../gone && wheelyard serve")

    assert done.returncode == 1
    assert done.stderr.endswith(
        "wheelyard: The working folder cannot be used: No such file or directory.\n"
    )


@pytest.mark.integration
@pytest.mark.parametrize("line", ["wheelyard token list", "wheelyard --help"])
def test_a_closed_pipe_is_no_failure(tokens: Sandbox, line: str) -> None:
    """A reader that closes the pipe early does not make the command fail."""
    done = typed(tokens, f"{line} | true")

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.integration
@pytest.mark.parametrize(
    "lost",
    [
        pytest.param(f"create ci >{FULL}", marks=needs_full),
        *("create ci | true", "create ci >&-"),
        "create ci >first && wheelyard token rotate ci | true",
    ],
)
def test_a_token_that_was_not_shown_is_named(sandbox: Sandbox, wheelyard: Typed, lost: str) -> None:
    """A token that was made and could not be shown is named, so that it can be revoked."""
    done = typed(sandbox, f"wheelyard token {lost}")

    assert done.returncode == 1
    match = re.search(r"'(\S+) -m wheelyard (token revoke \w{10})' ends it", done.stderr)
    assert match is not None
    assert match[1] == sys.executable
    ended = wheelyard(*match[2].split(), WHEELYARD_STORE="wheelyard-data")
    assert ended.returncode == 0


@pytest.mark.integration
def test_letters_that_a_terminal_lacks_are_escaped(sandbox: Sandbox, wheelyard: Typed) -> None:
    """A name in another script is escaped where the encoding of the output lacks it."""
    name = "\N{GREEK SMALL LETTER ALPHA}"
    assert wheelyard("token", "create", name, WHEELYARD_STORE="wheelyard-data").returncode == 0

    done = typed(sandbox, "PYTHONIOENCODING=latin-1 wheelyard token list")

    assert "\\u03b1" in done.stdout
    assert os.linesep in done.stdout


def test_a_warning_of_a_library_is_said_to_be_one(
    wheelyard: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a library warns of is printed to standard error as a warning of the command."""
    library = logging.getLogger("a_library")

    def run() -> int:
        library.warning("certificate is old")
        return 0

    # past the handlers of the tests
    monkeypatch.setattr(library, "propagate", False)
    monkeypatch.setattr(logging.lastResort, "formatter", None)
    monkeypatch.setattr("wheelyard.cli.main._run", run)

    done = wheelyard("list")

    assert done.stderr == "wheelyard: warning: certificate is old\n"


LONG = "check: 3.0 MB of 4.0 MB, 0.1 MB/s, 0:00:20 left, acme\\n\\u6f22"


@pytest.mark.parametrize(
    ("options", "lines", "ending"),
    [
        ([], ["|check: 0.0 MB of 4.0 MB", LONG], f"\r{' ' * len(LONG)}\r"),
        (["--quiet"], ["|"], "|"),
    ],
    ids=["usual", "quiet"],
)
def test_terminal_shows_progress(
    monkeypatch: pytest.MonkeyPatch, options: list[str], lines: list[str], ending: str
) -> None:
    """On a terminal one line says how far long work is and how long it takes, without `--quiet`."""
    terminal, end = os.openpty()
    times = iter((0.0, 0.0, 0.05, 60.0, 60.0))
    os.write(end, b"|")

    @click.command("check", params=[*OUTPUT])
    def command() -> None:
        with show_progress(
            "check", total=4_000_000, is_size=True, clock=lambda: next(times)
        ) as progress:
            progress.advance_in("base", 1_000_000)  # so soon that it is not drawn
            progress.advance_in("acme\n\N{CJK UNIFIED IDEOGRAPH-6F22}", 2_000_000)

    with os.fdopen(end, "w") as errors, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", errors)
        command.main(options, standalone_mode=False)

    drawn = all_drawn(terminal).decode()
    assert [line for line in drawn.split("\r") if line.strip()] == lines
    assert drawn.endswith(ending), "something is left of it"


def all_drawn(terminal: int) -> bytes:
    """Return all that was written to the other side of a terminal, which is closed; close it."""
    drawn = b""
    with suppress(OSError):  # Linux says at the end that the other side is closed
        while part := os.read(terminal, 10_000):
            drawn += part
    os.close(terminal)
    return drawn


def test_lines_do_not_mix_with_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal progress is erased before each line that is printed, and drawn again below."""
    terminal, end = os.openpty()

    @click.command("check", params=[*OUTPUT])
    def command() -> None:
        with show_progress("check", total=2):
            print_line("a [red] line")
            echo("wheelyard: an error", err=True)
            print_message(logging.INFO, "a message")

    with os.fdopen(end, "w", buffering=1) as errors, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", errors)
        patch.setattr(sys, "stderr", errors)
        command.main([], standalone_mode=False)

    drawn = all_drawn(terminal).decode()
    for line in "a [red] line", "wheelyard: an error", "wheelyard: a message":
        assert f"check: 0 of 2\r             \r{line}\r\ncheck: 0 of 2" in drawn


@pytest.mark.parametrize(
    ("is_terminal", "printed"), [(True, "Id\tName\nx\ty\\tz\n"), (False, "x\ty\\tz\n")]
)
def test_a_terminal_shows_the_names_of_columns(
    monkeypatch: pytest.MonkeyPatch, *, is_terminal: bool, printed: str
) -> None:
    """A person sees the names of columns above the rows, and a script that reads rows does not."""
    out = StringIO()
    monkeypatch.setattr(out, "isatty", lambda: is_terminal)
    monkeypatch.setattr(sys, "stdout", out)

    with click.Context(click.Command("list")):
        print_result({}, [("x", "y\tz")], ("Id", "Name"))

    assert out.getvalue() == printed


def test_progress_needs_no_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long command whose standard error is closed does its work."""
    monkeypatch.setattr(sys, "stderr", None)

    with click.Context(click.Command("check")), show_progress("check", total=2) as progress:
        progress.complete(2, 2)


def test_long_work_says_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """Long work, in threads too, says every ten seconds how far it is if there is no terminal."""
    times = iter((0.0, 1.0, 10.0, 11.0, 19.0, 20.5))
    with (
        click.Context(click.Command("check")),
        show_progress(
            "check", total=8_000_000, is_size=True, clock=lambda: next(times)
        ) as progress,
        ThreadPoolExecutor(1) as thread,
    ):
        for _ in range(5):
            thread.submit(progress.advance_in, "acme", 1_000_000).result()

    assert capsys.readouterr().err.splitlines() == [
        "wheelyard: check: 2.0 MB of 8.0 MB",
        "wheelyard: check: 5.0 MB of 8.0 MB",
    ]


@pytest.mark.parametrize(
    "step",
    [
        lambda progress: progress.advance(2),
        lambda progress: progress.advance_in("acme", 2),
        lambda progress: progress.complete(2, 8),
        lambda progress: [progress.advance_of(8, name) for name in ("acme", "base")],
    ],
    ids=["more", "more of a part", "so many", "parts one by one"],
)
def test_each_step_of_long_work_is_counted(
    capsys: pytest.CaptureFixture[str], step: Callable[[Progress], object]
) -> None:
    """Long work says how far it is, however its steps are told."""
    seconds = count(step=10)
    with (
        click.Context(click.Command("check")),
        show_progress("check", total=8, clock=lambda: next(seconds)) as progress,
    ):
        step(progress)

    assert capsys.readouterr().err.splitlines()[-1] == "wheelyard: check: 2 of 8"


def test_short_work_says_nothing_of_its_progress(capsys: pytest.CaptureFixture[str]) -> None:
    """Short work says nothing of its progress."""
    with click.Context(click.Command("check")), show_progress("check") as progress:
        progress.complete(1, 2)

    assert capsys.readouterr().err == ""
