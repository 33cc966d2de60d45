"""What commands print: results, messages for the operator, questions."""

import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import click

from wheelyard.cli.shared_options import given_option
from wheelyard.errors import Unavailable
from wheelyard.model.decoding import escaped

_IN_LOG: Final = f"{__name__}.in_log"
PROGRESS_LINE: Final = f"{__name__}.progress"
"""Keys of click's context: whether messages go to the log, and the progress line."""
_PREFIXES: Final = {logging.INFO: "wheelyard: ", logging.WARNING: "wheelyard: warning: "}


def warn(what: str) -> None:
    """Print a warning for the operator to standard error, or log it."""
    print_message(logging.WARNING, what)


def log_messages() -> None:
    """Log the messages of this command from now on, in place of printing them."""
    click.get_current_context().meta[_IN_LOG] = True


def print_message(level: int, what: str) -> None:
    """
    Print a message of `logging.INFO` or `logging.WARNING` to standard error, or log it.

    With `--quiet`, one of `logging.INFO` is dropped. What could control a terminal is escaped.
    """
    if level == logging.INFO and given_option("quiet"):
        return
    if click.get_current_context().meta.get(_IN_LOG):
        logging.getLogger("wheelyard").log(level, "%s", escaped(what))
    else:
        echo(f"{_PREFIXES[level]}{escaped(what)}", err=True)


def echo(line: str, *, err: bool = False) -> None:
    """Print a line above the progress line, if there is one, to standard output or error."""
    progress = click.get_current_context().meta.get(PROGRESS_LINE)
    stream = sys.stderr if err else sys.stdout
    # a stream that goes to a file does not meet the progress line, which is on the terminal
    if progress is not None and stream is not None and stream.isatty():
        progress.print_above(line, err=err)
    else:
        click.echo(line, err=err)


@contextmanager
def resumable(advice: str) -> Iterator[None]:
    """Add `advice` to the message of an Unavailable that ends this `with` block."""
    try:
        yield
    except Unavailable as fault:
        # without `retry_after`: the message of the fault says it already
        message = f"{fault.message} {advice}"
        raise Unavailable(message, code=fault.code, advice=fault.advice) from fault


def print_line(line: str) -> None:
    """Print a line of a command's result, unless the command has `--quiet` or `--json`."""
    if not given_option("quiet") and not given_option("json"):
        echo(line)


def printable(name: str) -> str:
    """Return a name of a file for JSON: bytes in it that are not UTF-8 are escaped."""
    return name.encode(errors="backslashreplace").decode()


def print_result(
    result: object, lines: Iterable[str | tuple[str, ...]] = (), columns: Sequence[str] = ()
) -> None:
    """
    Print the result of a command: as JSON with `--json`, else as lines, unless it has `--quiet`.

    A line is a text, or its columns, whose names `columns` are above them on a terminal: a program
    gets the lines alone. What could control a terminal is escaped.
    """
    if given_option("json"):
        # imported here, as most commands print lines
        from msgspec.json import encode

        click.echo(encode(result))
        return
    if columns and sys.stdout.isatty():
        print_line("\t".join(columns))
    for line in lines:
        cells = (line,) if isinstance(line, str) else line
        # each cell by itself, as escaping the line would escape the tabs
        print_line("\t".join(map(escaped, cells)))


def confirm_name(name: str, consequence: str) -> bool:
    """
    Ask a person to type `name` for what cannot be undone, and return whether they did.

    Call it only if `is_interactive`. Raises click's Abort if the person presses Ctrl-C.
    """
    question = f"{consequence} To go on, type the name '{name}'"
    return bool(click.prompt(question, default="", show_default=False, err=True).strip() == name)
