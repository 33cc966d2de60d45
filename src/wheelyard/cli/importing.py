"""An import while somebody waits: a bar where they may watch, every refusal, and a report."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING

import click

from wheelyard.cli.common import is_terminal
from wheelyard.errors import Unavailable
from wheelyard.index import Index
from wheelyard.model.access import Caller
from wheelyard.model.text import escaped
from wheelyard.operations.importing.report import Fate, Outcome, Progress, Report
from wheelyard.operations.importing.run import Importer
from wheelyard.sources.files import FilesSource

if TYPE_CHECKING:  # whoever watches a folder has no use for what asks other servers
    from wheelyard.sources.opening import OpenSource


def importer_of(index: Index, *, is_near: bool, lenient: bool) -> Importer:
    """Return what imports into an index; `is_near`: from a source on this machine."""
    uploads = index.uploads.leniently if lenient else index.uploads
    return Importer(uploads, near=index.is_near and is_near)


def import_source(
    importer: Importer,
    source: "FilesSource | OpenSource",
    caller: Caller,
    *,
    dry_run: bool = False,
) -> Report:
    """
    Import what a source has, and tell of each refusal.

    Raises:
        Invalid: It is no source (code `bad_source`).
        Unavailable: The store does not answer, or the source.
    """
    total = source.total() if is_terminal() else None
    with _watching(total) as watcher:
        try:
            return importer.run(source, caller, dry_run=dry_run, progress=watcher)
        except Unavailable as fault:
            raise Unavailable(
                f"{fault.message} What was imported stays; import again to go on from there.",
                code=fault.code,
            ) from fault


@contextmanager
def _watching(total: int | None) -> Iterator[Progress]:
    """Yield whoever watches an import: a bar where a person may see it."""
    if not is_terminal():
        yield _Watcher(lambda line: click.echo(line, err=True))
        return
    from rich import filesize, progress
    from rich.console import Console

    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    columns = (
        "importing",
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        "files  {task.fields[amount]}  {task.fields[rate]}",
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("import", total=total, amount="", rate="")

        def show(files: int, size: int) -> None:
            speed = bar.tasks[0].speed
            rate = f"{speed:,.0f} files/s" if speed else ""
            bar.update(task, completed=files, amount=filesize.decimal(size), rate=rate)

        yield _Watcher(console.print, show)


class _Watcher:
    """
    Counts, and says why files are refused.

    Args:
        say: Prints a line.
        show: Draws how many files have their fate, and how many bytes were read.
    """

    def __init__(
        self, say: Callable[[str], None], show: Callable[[int, int], None] = lambda _, __: None
    ) -> None:
        self._say = say
        self._show = show
        self._lock = Lock()
        self._files = self._size = 0

    def read(self, size: int) -> None:
        """Count bytes."""
        with self._lock:
            self._size += size
        self._show(self._files, self._size)

    def done(self, outcome: Outcome) -> None:
        """Count a file, and say why it is refused, if it is."""
        if outcome.fate is Fate.REFUSED:
            self._say(f"wheelyard: {escaped(outcome.place)} was not imported: {outcome.why}")
        if outcome.fate is not Fate.PASSED_OVER:
            self._files += 1
            self._show(self._files, self._size)
