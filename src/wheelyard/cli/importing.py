"""An import while somebody waits: a bar where they may watch, every refusal, and a report."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Final

import click

from wheelyard.cli.common import is_terminal, local_caller
from wheelyard.errors import Unavailable
from wheelyard.index import Index
from wheelyard.model.text import escaped
from wheelyard.operations.importing import Importer
from wheelyard.operations.importing.report import Fate, Outcome, Progress, Report
from wheelyard.sources.candidate import Source
from wheelyard.sources.files import FilesSource

KILO: Final = 1000
"""Bytes, as the bar counts them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """
    How something is imported.

    Args:
        dry_run: Whether nothing is written.
        lenient: Whether files are taken that fail only today's stricter rules.
        is_near: Whether the source is on this machine.
        total: How many files it offers, where that is known.
    """

    dry_run: bool = False
    lenient: bool = False
    is_near: bool = True
    total: int | None = None


def import_source(index: Index, source: Source, options: ImportOptions) -> Report:
    """
    Import what a source has, and tell of each refusal.

    Raises:
        Invalid: It is no source (code `bad_source`).
        Unavailable: The store does not answer, or the source.
    """
    importer = importer_of(index, is_near=options.is_near, lenient=options.lenient)
    caller = local_caller(index)
    with _watching(options.total) as watcher:
        try:
            return importer.run(
                source,
                caller,
                dry_run=options.dry_run,
                progress=watcher,
            )
        except Unavailable as fault:
            raise Unavailable(
                f"{fault.message} What was imported stays; import again to go on from there.",
                code=fault.code,
            ) from fault


def importer_of(index: Index, *, is_near: bool, lenient: bool) -> Importer:
    """
    Return what imports into an index.

    Args:
        index: The index.
        is_near: Whether the source is on this machine.
        lenient: Whether files are taken that fail only today's stricter rules.
    """
    uploads = index.uploads.leniently if lenient else index.uploads
    return Importer(uploads, index.projects, near=index.is_near and is_near)


def import_folder(index: Index, source: FilesSource, *, lenient: bool = False) -> None:
    """
    Import the packages that lie in a folder, and print what became of them.

    Args:
        index: What they are imported into.
        source: The folder.
        lenient: Whether files are taken that fail only today's stricter rules.

    Raises:
        Unavailable: The store does not answer.
    """
    options = ImportOptions(lenient=lenient, total=source.total() if is_terminal() else None)
    report = import_source(index, source, options)
    click.echo(f"{escaped(str(source.place))}: {report.summary()}")


@contextmanager
def _watching(total: int | None) -> Iterator[Progress]:
    """Yield whoever watches an import: a bar where a person may see it."""
    if not is_terminal():
        yield _Watcher(lambda line: click.echo(line, err=True))
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    columns = (
        TextColumn("importing"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("files  {task.fields[amount]}  {task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("import", total=total, amount="", rate="")

        def show(watcher: _Watcher) -> None:
            speed = bar.tasks[0].speed
            rate = f"{speed:,.0f} files/s" if speed else ""
            amount = _readable(watcher.size)
            bar.update(task, completed=watcher.files, amount=amount, rate=rate)

        yield _Watcher(console.print, show)


class _Watcher:
    """
    Counts, and says why files are refused.

    Args:
        say: Prints a line.
        show: Draws what was counted so far.
    """

    def __init__(
        self, say: Callable[[str], None], show: "Callable[[_Watcher], None]" = lambda _: None
    ) -> None:
        self._say = say
        self._show = show
        self._lock = Lock()
        self.files = 0
        """Files whose fate is known."""
        self.size = 0
        """Bytes that were read."""

    def read(self, size: int) -> None:
        """Count bytes."""
        with self._lock:
            self.size += size
        self._show(self)

    def done(self, outcome: Outcome) -> None:
        """Count a file, and say why it is refused, if it is."""
        if outcome.fate is Fate.REFUSED:
            self._say(f"wheelyard: {escaped(outcome.place)} was not imported: {outcome.why}")
        if outcome.fate is not Fate.PASSED_OVER:
            self.files += 1
            self._show(self)


def _readable(size: int) -> str:
    amount = float(size)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < KILO:
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= KILO
    return f"{amount:.1f} TB"
