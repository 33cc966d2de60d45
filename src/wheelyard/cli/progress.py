"""How far long work of a command is, on standard error."""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from threading import Lock
from time import monotonic
from typing import Final

import click

from wheelyard.cli.output import PROGRESS_LINE, print_message
from wheelyard.cli.shared_options import given_option
from wheelyard.cli.standard_streams import is_terminal
from wheelyard.model.decoding import escaped

PLAIN_INTERVAL_SECONDS: Final = 10.0
"""The time between two lines about the progress of a command whose output is no terminal."""


@contextmanager
def show_progress(
    what: str,
    *,
    total: int | None = None,
    is_size: bool = False,
    clock: Callable[[], float] = monotonic,
) -> Iterator["Progress"]:
    """
    Show on standard error how far long work is, as long as this `with` block runs.

    It yields the object that has to be told of each step. `total` is the number of parts of the
    work, or None if that is not known yet. A terminal has one line that changes. Elsewhere a line
    is printed from time to time. With `--quiet` there is neither. With `is_size`, the work is
    counted in bytes.
    """
    context = click.get_current_context()
    if given_option("quiet"):
        yield Progress()
    elif not is_terminal():
        yield _PrintedProgress(what, total, clock, is_size=is_size)
    else:
        line = _TerminalProgress(what, total, clock, is_size=is_size)
        # `echo` finds it there, and prints above it
        context.meta[PROGRESS_LINE] = line
        try:
            line.begin()
            yield line
        finally:
            del context.meta[PROGRESS_LINE]
            line.erase()


class Progress:
    """
    Shows how far long work is, in subclasses. This class shows nothing.

    Threads may call all methods at once.
    """

    def update(
        self,
        *,
        advance: int = 0,
        completed: int | None = None,
        total: int | None = None,
        part: str = "",
    ) -> None:
        """
        Say that `advance` more is done, or `completed` of `total`, now in the part `part`.

        Without a total or a part, the one that was said before stays.
        """

    def advance(self, size: int) -> None:
        """Say that so much more is done."""
        self.update(advance=size)

    def advance_in(self, what: str, size: int) -> None:
        """Say that so much more is done, now in the part called `what`."""
        self.update(advance=size, part=what)

    def advance_of(self, total: int, what: str) -> None:
        """Say that one more of `total` parts is done, the one called `what`."""
        self.update(total=total, advance=1, part=what)

    def complete(self, count: int, total: int) -> None:
        """Say that `count` of `total` parts are done."""
        self.update(completed=count, total=total)


class _PrintedProgress(Progress):
    """Prints a line about long work, every `PLAIN_INTERVAL_SECONDS` at most."""

    _interval_seconds = PLAIN_INTERVAL_SECONDS

    def __init__(
        self, what: str, total: int | None, clock: Callable[[], float], *, is_size: bool
    ) -> None:
        self._what = what
        self._part = ""
        self._done = 0
        self._total = total
        self._clock = clock
        self._is_size = is_size
        self._began = clock()
        self._next = self._began + self._interval_seconds
        self._lock = Lock()
        # a context of click belongs to a thread, so the threads of a command borrow this one
        self._context = click.get_current_context()

    def update(
        self,
        *,
        advance: int = 0,
        completed: int | None = None,
        total: int | None = None,
        part: str = "",
    ) -> None:
        """Note how far the work is, and show it if it is time."""
        with self._lock:
            if completed is None:
                self._done += advance
            else:
                self._done = completed
            self._total = total or self._total
            self._part = part or self._part
            now = self._clock()
            if now >= self._next:
                self._next = now + self._interval_seconds
                self._show()

    def _show(self) -> None:
        # without cleanup: the end of this block must not close what the command has opened
        with self._context.scope(cleanup=False):
            print_message(logging.INFO, self._text())

    def _text(self) -> str:
        text = f"{self._what}: {self._amount(self._done)}"
        if self._total:
            text += f" of {self._amount(self._total)}"
        return text

    def _amount(self, number: int) -> str:
        if self._is_size:
            return f"{number / 1e6:,.1f} MB"
        return f"{number:,}"


class _TerminalProgress(_PrintedProgress):
    """Draws one line on the terminal again and again, without codes that a terminal may lack."""

    _interval_seconds = 0.1
    _drawn = ""

    def begin(self) -> None:
        """Draw the line for the first time."""
        with self._lock:
            self._show()

    def print_above(self, line: str, *, err: bool) -> None:
        """Print a line in place of this one, which is drawn again below."""
        # the lock keeps the threads of the work from drawing between the two
        with self._lock:
            drawn = self._drawn
            self._draw("")
            click.echo(line, err=err)
            self._draw(drawn)

    def erase(self) -> None:
        """Leave nothing of the line."""
        with self._lock:
            self._draw("")

    def _show(self) -> None:
        text = self._text()
        seconds = self._clock() - self._began
        if self._is_size and seconds:
            text += f", {self._amount(int(self._done / seconds))}/s"
        # a total may be a guess, such as that of an import whose source grows: then no time is said
        if self._total and 0 < self._done <= self._total:
            left = seconds * (self._total / self._done - 1)
            text += f", {timedelta(seconds=round(left))} left"
        if self._part:
            # each character has to take one column, else the line is longer, and stays
            text += f", {escaped(self._part).encode('ascii', 'backslashreplace').decode()}"
        # the last column stays free: some terminals begin a new line after it
        self._draw(text[: _columns() - 1])

    def _draw(self, text: str) -> None:
        erasure = ""
        if self._drawn:
            spaces = " " * len(self._drawn)
            erasure = f"\r{spaces}\r"
        self._drawn = text
        click.echo(erasure + text, nl=False, err=True)


def _columns() -> int:
    """Return the width of the terminal of standard error, 80 if it says none."""
    # asked each time, as a person may make the window narrower
    with suppress(OSError):
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    return 80
