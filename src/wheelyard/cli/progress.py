"""The progress of long work of a command, on standard error."""

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

from wheelyard.cli.output import PROGRESS_LINE_KEY, print_message
from wheelyard.cli.shared_options import given_option
from wheelyard.cli.standard_streams import is_terminal
from wheelyard.model.decoding import escaped

PLAIN_INTERVAL_SECONDS: Final = 10.0
"""The time between two lines about the progress of a command whose output is no terminal."""


@contextmanager
def show_progress(
    work: str,
    *,
    total: int | None = None,
    is_size: bool = False,
    clock: Callable[[], float] = monotonic,
) -> Iterator["Progress"]:
    """
    Show the progress of long work on standard error, as long as this `with` block runs.

    The block gets the object that has to be told of each step. `total` is the number of parts of
    the work, or None if it is not known yet. On a terminal one line is drawn again and again.
    Elsewhere a line is printed from time to time. With `--quiet` there is neither. With `is_size`,
    the work is counted in bytes.
    """
    context = click.get_current_context()
    if given_option("quiet"):
        yield Progress()
    elif not is_terminal():
        yield _PrintedProgress(work, total, clock, is_size=is_size)
    else:
        progress_line = _TerminalProgress(work, total, clock, is_size=is_size)
        # `echo` finds the line there, and prints above it
        context.meta[PROGRESS_LINE_KEY] = progress_line
        try:
            progress_line.begin()
            yield progress_line
        finally:
            del context.meta[PROGRESS_LINE_KEY]
            progress_line.erase()


class Progress:
    """
    The progress of long work, which subclasses show. This class shows nothing.

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

        Without a total or a part, the earlier one stays.
        """

    def advance(self, size: int) -> None:
        """Say that `size` more is done."""
        self.update(advance=size)

    def advance_in(self, part: str, size: int) -> None:
        """Say that `size` more is done, now in the part called `part`."""
        self.update(advance=size, part=part)

    def advance_of(self, total: int, part: str) -> None:
        """Say that one more of `total` parts is done, the one called `part`."""
        self.update(total=total, advance=1, part=part)

    def complete(self, count: int, total: int) -> None:
        """Say that `count` of `total` parts are done."""
        self.update(completed=count, total=total)


class _PrintedProgress(Progress):
    """Prints a line about long work, every `PLAIN_INTERVAL_SECONDS` at most."""

    _interval_seconds = PLAIN_INTERVAL_SECONDS

    def __init__(
        self, work: str, total: int | None, clock: Callable[[], float], *, is_size: bool
    ) -> None:
        self._work = work
        self._part = ""
        self._completed = 0
        self._total = total
        self._clock = clock
        self._is_size = is_size
        self._started_at = clock()
        self._next_show_at = self._started_at + self._interval_seconds
        self._lock = Lock()
        # a context of click belongs to one thread, so the other threads of the command borrow it
        self._context = click.get_current_context()

    def update(
        self,
        *,
        advance: int = 0,
        completed: int | None = None,
        total: int | None = None,
        part: str = "",
    ) -> None:
        """Note the progress of the work, and show it if it is time."""
        with self._lock:
            if completed is None:
                self._completed += advance
            else:
                self._completed = completed
            self._total = total or self._total
            self._part = part or self._part
            now = self._clock()
            if now >= self._next_show_at:
                self._next_show_at = now + self._interval_seconds
                self._show()

    def _show(self) -> None:
        # without cleanup: the end of this block must not close the index of the command
        with self._context.scope(cleanup=False):
            print_message(logging.INFO, self._describe())

    def _describe(self) -> str:
        text = f"{self._work}: {self._format_amount(self._completed)}"
        if self._total:
            text += f" of {self._format_amount(self._total)}"
        return text

    def _format_amount(self, number: int) -> str:
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
        # locked, so that no thread of the work draws before the line is printed
        with self._lock:
            progress_text = self._drawn
            self._draw("")
            click.echo(line, err=err)
            self._draw(progress_text)

    def erase(self) -> None:
        """Leave nothing of the line."""
        with self._lock:
            self._draw("")

    def _show(self) -> None:
        text = self._describe()
        seconds = self._clock() - self._started_at
        if self._is_size and seconds:
            text += f", {self._format_amount(int(self._completed / seconds))}/s"
        # no time is said after the total, which is a guess where the source of an import grows
        if self._total and 0 < self._completed <= self._total:
            seconds_left = seconds * (self._total / self._completed - 1)
            text += f", {timedelta(seconds=round(seconds_left))} left"
        if self._part:
            # in ASCII, of which each character takes one column: else the line is erased in part
            ascii_part = escaped(self._part).encode("ascii", "backslashreplace").decode()
            text += f", {ascii_part}"
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
    """Return the width of the terminal of standard error, or 80 if the terminal has none."""
    # asked each time, as a person may make the window narrower
    with suppress(OSError):
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    return 80
