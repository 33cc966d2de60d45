"""An import while somebody waits: a bar where they may watch, every refusal, and a report."""

from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Final

import click

from wheelyard.cli.output import is_terminal, progress_bar
from wheelyard.errors import Unavailable
from wheelyard.model.access import Caller
from wheelyard.model.text import escaped
from wheelyard.operations.importing.parallel_import import Importer
from wheelyard.operations.importing.report import FileStatus, Outcome, Progress, Report
from wheelyard.sources.distribution_files import FileTreeSource
from wheelyard.wiring.index import Index

if TYPE_CHECKING:  # watching a folder does not need to import the HTTP client
    from wheelyard.sources.source_factory import OpenedSource

MEGABYTE: Final = 1_000_000
"""Bytes, as the bar counts them."""


def build_importer(index: Index, *, is_local: bool, lenient: bool) -> Importer:
    """Return what imports into an index; `is_near`: from a source on this machine."""
    uploads = index.uploads.with_waivers if lenient else index.uploads
    return Importer(uploads, is_local=index.is_local and is_local)


def import_source(
    importer: Importer,
    source: "FileTreeSource | OpenedSource",
    caller: Caller,
    *,
    dry_run: bool = False,
) -> Report:
    """Import what a source has and print each refusal; raise WheelyardError if it is no source."""
    columns = (
        "importing",
        "BarColumn",
        "MofNCompleteColumn",
        "files  {task.fields[amount]}",
        "TimeRemainingColumn",
    )
    total = source.total() if is_terminal() else None
    with progress_bar("import", *columns, total=total, amount="") as update:
        try:
            return importer.run(source, caller, dry_run=dry_run, progress=_ProgressPrinter(update))
        except Unavailable as fault:
            raise Unavailable(
                f"{fault.message} What was imported stays; import again to go on from there.",
                code=fault.code,
            ) from fault


class _ProgressPrinter(Progress):
    """Counts what a bar shows, and says why files are refused."""

    def __init__(self, update: Callable[..., None]) -> None:
        self._update = update
        self._lock = Lock()
        self._size = 0

    def read(self, size: int) -> None:
        """Count bytes."""
        with self._lock:
            self._size += size
        self._update(amount=f"{self._size / MEGABYTE:,.1f} MB")

    def done(self, outcome: Outcome) -> None:
        """Count a file, and say why it is refused, if it is."""
        if outcome.status is FileStatus.REFUSED:
            why = f"was not imported: {outcome.why}"
            click.echo(f"wheelyard: {escaped(outcome.location)} {why}", err=True)
        if outcome.status is not FileStatus.PASSED_OVER:
            self._update(advance=1)
