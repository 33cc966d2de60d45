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

_LOGS_MESSAGES_KEY: Final = f"{__name__}.in_log"
PROGRESS_LINE_KEY: Final = f"{__name__}.progress"
"""Keys of the `meta` of click's context: whether messages are logged, and the progress line."""
_PREFIXES: Final = {logging.INFO: "wheelyard: ", logging.WARNING: "wheelyard: warning: "}


def warn(text: str) -> None:
    """Print a warning for the operator to standard error, or log it."""
    print_message(logging.WARNING, text)


def log_messages() -> None:
    """Log the messages of this command from now on, in place of printing them."""
    click.get_current_context().meta[_LOGS_MESSAGES_KEY] = True


def print_message(level: int, text: str) -> None:
    """
    Print a message of `logging.INFO` or `logging.WARNING` to standard error, or log it.

    With `--quiet`, a message of `logging.INFO` is dropped. Characters that could control a terminal
    are escaped.
    """
    if level == logging.INFO and given_option("quiet"):
        return
    if click.get_current_context().meta.get(_LOGS_MESSAGES_KEY):
        logging.getLogger("wheelyard").log(level, "%s", escaped(text))
    else:
        echo(f"{_PREFIXES[level]}{escaped(text)}", err=True)


def echo(line: str, *, err: bool = False) -> None:
    """Print a line above the progress line, if there is one, to standard output or error."""
    progress_line = click.get_current_context().meta.get(PROGRESS_LINE_KEY)
    stream = sys.stderr if err else sys.stdout
    # the progress line is on the terminal, so that a stream that goes to a file never meets it
    if progress_line is not None and stream is not None and stream.isatty():
        progress_line.print_above(line, err=err)
    else:
        click.echo(line, err=err)


@contextmanager
def resumable(advice: str) -> Iterator[None]:
    """Add `advice` to the message of an Unavailable that ends this `with` block."""
    try:
        yield
    except Unavailable as fault:
        # without `retry_after`, which the message of the fault has in words already
        message = f"{fault.message} {advice}"
        raise Unavailable(message, code=fault.code, advice=fault.advice) from fault


def print_line(line: str) -> None:
    """Print a line of a command's result, unless the command has `--quiet` or `--json`."""
    if not given_option("quiet") and not given_option("json"):
        echo(line)


def printable(name: str) -> str:
    """Return the name of a file as JSON can have it, with bytes escaped that are not UTF-8."""
    return name.encode(errors="backslashreplace").decode()


def print_result(
    result: object, lines: Iterable[str | tuple[str, ...]] = (), columns: Sequence[str] = ()
) -> None:
    """
    Print the result of a command: as JSON with `--json`, else as lines, unless it has `--quiet`.

    JSON is printed with `--quiet`, too. A line is a text, or a tuple of its columns, which are
    printed with tabs between them. On a terminal the names of the columns, `columns`, are above the
    lines: a program gets the lines alone. In lines, unprintable characters of each column are
    escaped, also tabs. JSON has its own escapes.
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
        # escaped one by one, as escaping the line would escape the tabs
        escaped_cells = [escaped(cell) for cell in cells]
        print_line("\t".join(escaped_cells))


def confirm_name(name: str, consequence: str) -> bool:
    """
    Ask a person to type `name` before a change that cannot be undone, and return whether they did.

    The caller asks `is_interactive` before. Raises click's Abort if the person presses Ctrl-C.
    """
    question = f"{consequence} To go on, type the name '{name}'"
    answer: str = click.prompt(question, default="", show_default=False, err=True)
    return answer.strip() == name
