"""Commands with examples, output, errors, and quantities as people type them."""

import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from io import BufferedWriter, FileIO, TextIOWrapper
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TextIO

import click
from click import Argument, Option

from wheelyard.errors import DOCUMENTATION, Invalid, Unavailable, quoted
from wheelyard.model.decoding import escaped
from wheelyard.remedies import Advice, Remedy

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer
    from click.shell_completion import CompletionItem


class CliCommand(click.Command):
    """
    Command that shows examples, and the page of the documentation about it, below its options.

    Its docstring is the text of its help.
    """

    def __init__(
        self,
        *args: Any,  # noqa: ANN401 - click's
        examples: Sequence[str] = (),
        page: str,
        **attributes: Any,  # noqa: ANN401 - click's
    ) -> None:
        # click keeps the lines of a paragraph that begins with \b
        paragraphs = [f"\b\nDocumentation:\n{DOCUMENTATION}/{page}"]
        if examples:
            lines = "".join(f"\n  {example}" for example in examples)
            paragraphs.insert(0, f"\b\nExamples:{lines}")
        super().__init__(*args, **attributes | {"epilog": "\n\n".join(paragraphs)})


class CliGroup(CliCommand, click.Group):
    """Group of such commands."""

    command_class: type[click.Command] | None = CliCommand

    def subcommand(
        self, name: str, *params: click.Parameter, examples: Sequence[str] = (), page: str
    ) -> Callable[[Callable[..., object]], click.Command]:
        """Return a decorator that adds a command of this name."""
        return self.command(name, params=[*params], examples=examples, page=page)


def cli_command(
    name: str, *params: click.Parameter, examples: Sequence[str] = (), page: str
) -> Callable[[Callable[..., object]], CliCommand]:
    """Return a decorator that makes a command of this name."""
    return click.command(name, cls=CliCommand, params=[*params], examples=examples, page=page)


def given_option(name: str) -> Any:  # noqa: ANN401 - of any type
    """Return the value that `keep_option` has kept, or None for an option that was not given."""
    return click.get_current_context().meta.get(f"{__name__}.{name}")


def has_option(name: str) -> bool:
    """Return whether this command has an option that `keep_option` keeps."""
    return f"{__name__}.{name}" in click.get_current_context().meta


def given_options(names: Iterable[str]) -> dict[str, object]:
    """Return what these options are, as the `meta` of another context of click may have it."""
    meta = click.get_current_context().meta
    keys = (f"{__name__}.{name}" for name in names)
    return {key: meta[key] for key in keys if key in meta}


def keep_option(context: click.Context, option: click.Parameter, value: object) -> None:
    """Keep the value of an option for `given_option`, when click calls this back."""
    context.meta[f"{__name__}.{option.name}"] = value


def keep_name(context: click.Context, option: click.Parameter, value: str | None) -> None:
    """
    Keep the name of an index for `given_option`, when click calls this back.

    Raises BadParameter for an empty one, as of a variable of the shell that is not set.
    """
    keep_option(context, option, required_name(context, option, value))


def required_name(
    _context: click.Context, _option: click.Parameter, value: str | None
) -> str | None:
    """Return the name of an index, or raise BadParameter for an empty one."""
    if value is not None and not value.strip():
        raise click.BadParameter("It is empty. Name an index, such as main.")
    return value


def kept_option(*names: str, **attributes: Any) -> Option:  # noqa: ANN401 - click's
    """Return an option that the function of a command does not receive: `given_option` has it."""
    return Option(names, expose_value=False, callback=keep_option, **attributes)


def complete_path(
    context: click.Context, option: click.Parameter, incomplete: str
) -> "list[CompletionItem]":
    """Let the shell complete a value that may be a path, and may be something else."""
    del context, option
    from click.shell_completion import CompletionItem  # only needed by a shell

    return [CompletionItem(incomplete, type="file")]


JSON: Final = kept_option("--json", is_flag=True, help="For programs.")
QUIET: Final = kept_option(
    "-q", "--quiet", is_flag=True, help="No progress and no results: only what went wrong."
)
OUTPUT: Final = (QUIET, JSON)
"""What `print_result`, `print_line` and `shown_progress` obey."""
NAME: Final = Argument(["name"])
PROJECT: Final = Argument(["project"])
NOTE: Final = Option(["--note"], default="", help="Why; the history shows it.")
REASON: Final = Option(["--reason"], default="", help="Why; it is kept in the journal.")
HISTORY: Final = Option(["--history"], is_flag=True, help="The changes: who, when, what and why.")
SEARCH: Final = Option(["--search"], default="", metavar="TEXT", help="A part of the name.")
PROJECT_PATTERNS: Final = Option(
    ["--project", "projects"],
    multiple=True,
    metavar="PATTERN",
    help="acme-core, or acme-*; may be given again.  [default: every project]",
)
LENIENT: Final = Option(
    ["--lenient"], is_flag=True, help="Take old files that fail only today's rules."
)
MAX_INPUT_BYTES: Final = 4096
"""The size of a line that a command reads from standard input, at most."""


def yes_option(*names: str) -> Option:
    """Return the option by which a command asks nobody: `given_option("yes")` says if it is on."""
    text = "Do not ask; needed where there is no terminal."
    return kept_option("--yes", *names, is_flag=True, help=text)


PLAIN_INTERVAL_SECONDS: Final = 10.0
"""The time between two lines about the progress of a command whose output is no terminal."""


class LossyOutput(FileIO):
    """Raw output that drops all after its first error, which is raised unless it is `quiet`."""

    def __init__(self, descriptor: int, quiet: type[OSError]) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._quiet = quiet
        self.lost: OSError | None = None
        """The first error. Nothing is written after it."""

    def write(self, data: "ReadableBuffer", /) -> int:
        """
        Write or drop the data, and return the number of its bytes.

        Raises OSError for the first error, unless it is a quiet one.
        """
        if self.lost is None:
            try:
                return super().write(data)
            except OSError as error:
                self.lost = error
                if not isinstance(error, self._quiet):
                    raise
        return memoryview(data).nbytes


def take_over_output() -> None:
    """
    Replace `sys.stdout` and `sys.stderr` by streams that drop output after an error.

    The error is raised once for `sys.stdout`, unless it is a closed pipe; for `sys.stderr`, never.
    """
    # before any file is opened, which could else get the number of a closed stream
    _reserve_descriptors()
    if sys.stdout is not None:
        sys.stdout = _text(sys.stdout, BrokenPipeError)
    if sys.stderr is not None:
        sys.stderr = _text(sys.stderr, OSError)  # its errors cannot be reported anywhere


def _reserve_descriptors() -> None:
    """Open the null device for closed standard streams, so that no file gets their numbers."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:  # it is closed, and the lowest free number
            os.open(os.devnull, os.O_RDWR)


def show_token(token_id: str) -> AbstractContextManager[None]:
    """Return a `show_once` for a token, whose message says how to revoke the token `token_id`."""
    advice = Advice(Remedy.REVOKE_TOKEN, token_id)
    return show_once(f"Token {token_id}", "Revoke it, and run this command again.", advice)


@contextmanager
def show_once(what: str, remedy: str, advice: Advice) -> Iterator[None]:
    """
    Raise Unavailable after this `with` block, which prints a secret, if standard output failed.

    `what` is the secret in words, and `remedy` a sentence that says what to do then.
    """
    try:
        yield
        error = _lost()
    except OSError as raised:
        error = raised
    if error is not None:
        raise Unavailable(
            f"{what} was made and could not be shown: {error.strerror}. {remedy}", advice=advice
        ) from error


def is_output_lost() -> bool:
    """Return whether standard output takes nothing more: it is closed, or writing has failed."""
    return _lost() is not None


def _lost() -> OSError | None:
    if sys.stdout is None:
        return OSError(0, "there is no standard output")
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return raw.lost if isinstance(raw, LossyOutput) else None


def _text(stream: TextIO, quiet: type[OSError]) -> TextIO:
    stream.flush()
    # a name in another script is escaped where the terminal's encoding has no letters for it
    return TextIOWrapper(
        BufferedWriter(LossyOutput(stream.fileno(), quiet)),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream is sys.stderr or stream.isatty(),
    )


_IN_LOG: Final = f"{__name__}.in_log"
_PROGRESS: Final = f"{__name__}.progress"
"""Keys of click's context: whether messages go to the log, and the progress line."""
_PREFIXES: Final = {logging.INFO: "wheelyard: ", logging.WARNING: "wheelyard: warning: "}


def warn(what: str) -> None:
    """Print or log a warning for the operator, as `print_message` does."""
    print_message(logging.WARNING, what)


def log_messages() -> None:
    """Have the messages of this command, which are printed else, logged from now on."""
    click.get_current_context().meta[_IN_LOG] = True


def print_message(level: int, what: str) -> None:
    """
    Print a message of `logging.INFO` or `logging.WARNING` to standard error, or log it.

    With `--quiet`, one of `logging.INFO` is dropped.
    """
    if level == logging.INFO and given_option("quiet"):
        return
    if click.get_current_context().meta.get(_IN_LOG):
        logging.getLogger("wheelyard").log(level, "%s", escaped(what))
    else:
        echo(f"{_PREFIXES[level]}{escaped(what)}", err=True)


def echo(line: str, *, err: bool = False) -> None:
    """Print a line above the command's progress line."""
    progress = click.get_current_context().meta.get(_PROGRESS)
    stream = sys.stderr if err else sys.stdout
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
        raise Unavailable(f"{fault.message} {advice}", code=fault.code) from fault


def is_terminal() -> bool:
    """Return whether standard error is a terminal."""
    return sys.stderr is not None and sys.stderr.isatty()


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
        from msgspec.json import encode  # not for `wheelyard --help`

        click.echo(encode(result))
        return
    if columns and sys.stdout.isatty():
        print_line("\t".join(columns))
    for line in lines:
        print_line("\t".join(map(escaped, (line,) if isinstance(line, str) else line)))


def is_interactive() -> bool:
    """Return whether a person can be asked: standard input and error are a terminal."""
    return sys.stdin is not None and sys.stdin.isatty() and is_terminal()


def confirm_name(name: str, consequence: str) -> bool:
    """
    Ask a person to type `name` for what cannot be undone, and return whether they did.

    Call it only if `is_interactive`. Raises click's Abort if the person presses Ctrl-C.
    """
    question = f"{consequence} To go on, type the name '{name}'"
    return bool(click.prompt(question, default="", show_default=False, err=True).strip() == name)


@contextmanager
def shown_progress(
    what: str,
    *,
    total: int | None = None,
    is_size: bool = False,
    clock: Callable[[], float] = monotonic,
) -> Iterator["Progress"]:
    """
    Yield what shows on standard error how far long work is, of `total` parts; None: not known yet.

    A terminal has one line that changes. Elsewhere a line is printed from time to time. With
    `--quiet` there is neither. With `is_size`, the work is counted in bytes.
    """
    context = click.get_current_context()
    if given_option("quiet"):
        yield Progress()
    elif not is_terminal():
        yield _PrintedProgress(what, total, clock, is_size=is_size)
    else:
        line = _TerminalProgress(what, total, clock, is_size=is_size)
        context.meta[_PROGRESS] = line
        try:
            line.begin()
            yield line
        finally:
            del context.meta[_PROGRESS]
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
        """Say that `advance` more is done, or `completed` of `total`, now in the part `part`."""

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
            self._done = self._done + advance if completed is None else completed
            self._total = total or self._total
            self._part = part or self._part
            now = self._clock()
            if now >= self._next:
                self._next = now + self._interval_seconds
                self._show()

    def _show(self) -> None:
        with self._context.scope(cleanup=False):
            print_message(logging.INFO, self._text())

    def _text(self) -> str:
        of = f" of {self._amount(self._total)}" if self._total else ""
        return f"{self._what}: {self._amount(self._done)}{of}"

    def _amount(self, number: int) -> str:
        return f"{number / 1e6:,.1f} MB" if self._is_size else f"{number:,}"


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
        text, seconds = self._text(), self._clock() - self._began
        if self._is_size and seconds:
            text += f", {self._amount(int(self._done / seconds))}/s"
        if self._total and 0 < self._done <= self._total:
            left = seconds * (self._total / self._done - 1)
            text += f", {timedelta(seconds=round(left))} left"
        if self._part:
            # each character has to take one column, else the line is longer, and stays
            text += f", {escaped(self._part).encode('ascii', 'backslashreplace').decode()}"
        # the last column stays free: some terminals begin a new line after it
        self._draw(text[: _columns() - 1])

    def _draw(self, text: str) -> None:
        erased = f"\r{' ' * len(self._drawn)}\r" if self._drawn else ""
        self._drawn = text
        click.echo(erased + text, nl=False, err=True)


def _columns() -> int:
    """Return the width of the terminal of standard error, 80 if it says none."""
    with suppress(OSError):
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    return 80


TIME_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
SIZE_UNITS: Final = {
    **{unit: 1024**power for power, unit in enumerate(("B", "KiB", "MiB", "GiB", "TiB"))},
    **{unit: 1000**power for power, unit in enumerate(("kB", "MB", "GB", "TB"), 1)},
}
_DURATION: Final = re.compile(r"([0-9]{1,5})([mhdw])", re.ASCII)
_SIZE: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?) ?([kKMGT]i?B|B)", re.ASCII)


def parse_duration(text: str) -> timedelta:
    """
    Return the length of time in a text such as `30m`, `12h`, `90d` or `8w`.

    Raises Invalid (code `invalid_field`) for any other text.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        message = f"{quoted(text)} is no length of time. Write 30m, 12h, 90d or 8w."
        raise Invalid(message, code="invalid_field")
    return timedelta(**{TIME_UNITS[match[2]]: int(match[1])})


def parse_since(text: str, now: datetime) -> datetime:
    """
    Return the time in a text, or the time that is so long ago as the text says.

    A time without an offset is UTC. Raises Invalid (code `invalid_field`) for any other text.
    """
    if _DURATION.fullmatch(text):
        return now - parse_duration(text)
    try:
        since = datetime.fromisoformat(text)
        return (since if since.tzinfo else since.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Invalid(
            f"{quoted(text)} is no time. Write a date (2026-01-31), a time "
            "(2026-01-31T12:00:00Z), or how long ago it was (30m, 12h, 7d, 8w).",
            code="invalid_field",
        ) from None


def parse_size(text: str) -> int:
    """
    Return the bytes in a text such as `500MiB` or `200GiB`.

    Raises Invalid (code `invalid_field`) for any other text.
    """
    match = _SIZE.fullmatch(text)
    if match is None or match[2] not in SIZE_UNITS:
        message = f"{quoted(text)} is no size. Write 500MiB, 200GiB or 1.5TiB."
        raise Invalid(message, code="invalid_field")
    return int(float(match[1]) * SIZE_UNITS[match[2]])


def describe_size(size: int) -> str:
    """Return an amount of bytes for people: `3.4 GiB`."""
    unit = next((unit for unit in ("TiB", "GiB", "MiB", "KiB") if size >= SIZE_UNITS[unit]), "B")
    return f"{size} B" if unit == "B" else f"{size / SIZE_UNITS[unit]:.1f} {unit}"
