"""Whether a person can be asked, by the standard streams of a command."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Final, TextIO

import click
import pytest

from tests.cli.conftest import FULL, needs_full
from wheelyard.cli.main import main
from wheelyard.cli.standard_streams import (
    is_interactive,
    is_output_lost,
    show_token,
    take_over_output,
)
from wheelyard.errors import Unavailable
from wheelyard.remedies import Advice, Remedy

OpenOutput = Callable[[], AbstractContextManager[TextIO | None]]


class Stream:
    """A standard stream, which is a terminal or not."""

    def __init__(self, *, is_terminal: bool) -> None:
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return self._is_terminal


TERMINAL: Final = Stream(is_terminal=True)
PIPE: Final = Stream(is_terminal=False)


@pytest.mark.parametrize(
    ("stdin", "stderr", "can_ask"),
    [
        (TERMINAL, TERMINAL, True),
        (PIPE, TERMINAL, False),
        (TERMINAL, PIPE, False),
        (None, TERMINAL, False),
        (TERMINAL, None, False),
    ],
)
def test_a_person_is_asked_at_a_terminal(
    monkeypatch: pytest.MonkeyPatch, stdin: Stream | None, stderr: Stream | None, *, can_ask: bool
) -> None:
    """A command asks a person if its input and its messages are a terminal, and not closed."""
    monkeypatch.setattr("sys.stdin", stdin)
    monkeypatch.setattr("sys.stderr", stderr)

    assert is_interactive() == can_ask


@pytest.mark.parametrize("closed", [(), (1,), (0, 1, 2)], ids=["none", "output", "all"])
def test_a_closed_stream_gives_its_number_to_no_file(
    monkeypatch: pytest.MonkeyPatch, closed: tuple[int, ...]
) -> None:
    """What is opened later, such as a file of the store, gets no number of a standard stream."""
    opened = list[str]()

    def look(descriptor: int) -> None:
        if descriptor in closed:
            raise OSError

    with monkeypatch.context() as patch:
        for name in ("stdout", "stderr"):
            patch.setattr(sys, name, None)
        patch.setattr(os, "fstat", look)
        patch.setattr(os, "open", lambda path, _: opened.append(path))
        take_over_output()

    assert opened == [os.devnull] * len(closed)


@contextmanager
def pipe_without_reader() -> Iterator[TextIO]:
    """Open a pipe that nobody reads any more."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        yield stream


@pytest.mark.parametrize(
    ("open_output", "is_told"),
    [
        (nullcontext, False),
        pytest.param(partial(FULL.open, "w"), True, marks=needs_full),
        (pipe_without_reader, False),
    ],
    ids=["closed", "full", "pipe"],
)
def test_lost_output_is_told_once(
    monkeypatch: pytest.MonkeyPatch, open_output: OpenOutput, *, is_told: bool
) -> None:
    """A full device is told once; a secret that no output took is told with how to revoke it."""
    monkeypatch.setattr("sys.stderr", None)
    with open_output() as stream:
        monkeypatch.setattr("sys.stdout", stream)
        take_over_output()
        errors = [error for error in (printed(), printed()) if error]

        assert (len(errors), is_output_lost()) == (is_told, True)
        with (
            pytest.raises(Unavailable, match="Token x7Kq2mPz4A was made and could not be sh") as to,
            show_token("x7Kq2mPz4A"),
        ):
            click.echo("wyd_secret")

    assert to.value.advice == Advice(Remedy.REVOKE_TOKEN, "x7Kq2mPz4A")


@pytest.mark.parametrize(
    ("open_output", "status", "message"),
    [
        (nullcontext, 0, ""),
        pytest.param(
            partial(FULL.open, "w"),
            1,
            "wheelyard: The output cannot be used: No space left on device.\n",
            marks=needs_full,
        ),
        (pipe_without_reader, 0, ""),
    ],
    ids=["closed", "full", "pipe"],
)
def test_only_a_full_device_fails_a_command(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    open_output: OpenOutput,
    status: int,
    message: str,
) -> None:
    """A command fails if a full device does not take its output, and not if nobody reads it."""
    monkeypatch.setattr("sys.argv", ["wheelyard", "--version"])
    with (tmp_path / "errors").open("w") as errors, open_output() as stream:
        monkeypatch.setattr("sys.stderr", errors)
        monkeypatch.setattr("sys.stdout", stream)
        with pytest.raises(SystemExit) as ended:
            main()

    assert ended.value.code == status
    assert (tmp_path / "errors").read_text() == message


def printed() -> OSError | None:
    """Print a line; return the error that this has."""
    try:
        click.echo("a line")
    except OSError as error:
        return error
    return None
