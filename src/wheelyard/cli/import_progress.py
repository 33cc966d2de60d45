"""Importers for commands, and imports with a progress bar and error messages."""

from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING

from wheelyard.cli.output import echo, is_terminal, progress_bar, resumable
from wheelyard.model.access import Caller
from wheelyard.model.text import escaped
from wheelyard.operations.importing.parallel_import import Importer
from wheelyard.operations.importing.report import FileStatus, ImportProgress, Outcome, Report
from wheelyard.sources.distribution_files import FileTreeSource
from wheelyard.wiring.index import Index

if TYPE_CHECKING:  # watching a folder does not need to import the HTTP client
    from wheelyard.sources.source_factory import OpenedSource


def build_importer(index: Index, *, is_local: bool, lenient: bool) -> Importer:
    """
    Return an importer into an index.

    `is_local`: the source is on this machine. `lenient`: rules that old files break are waived.
    """
    uploads = index.uploads.with_waivers if lenient else index.uploads
    return Importer(uploads, is_local=index.is_local and is_local)


def import_source(
    importer: Importer,
    source: "FileTreeSource | OpenedSource",
    caller: Caller,
    *,
    dry_run: bool = False,
) -> Report:
    """Import a source, print why files were not taken, and return the report."""
    amount = "files  {task.fields[amount]}"
    columns = ("importing", "BarColumn", "MofNCompleteColumn", amount, "TimeRemainingColumn")
    total = source.total() if is_terminal() else None
    bar = progress_bar("import", *columns, total=total, amount="")
    with resumable("What was imported stays; import again to go on from there."), bar as update:
        return importer.run(source, caller, dry_run=dry_run, progress=_ProgressPrinter(update))


class _ProgressPrinter(ImportProgress):
    """Updates the progress bar of an import, and prints why files were not taken."""

    def __init__(self, update: Callable[..., None]) -> None:
        self._update = update
        self._lock = Lock()
        self._size = 0

    def read(self, size: int) -> None:
        """Add `size` read bytes to the progress bar; called in several threads."""
        with self._lock:
            self._size += size
        self._update(amount=f"{self._size / 1e6:,.1f} MB")

    def done(self, outcome: Outcome) -> None:
        """Count an entry, unless passed over, on the progress bar; print why it was not taken."""
        if outcome.status in {FileStatus.REFUSED, FileStatus.SKIPPED}:
            what = "skipped" if outcome.status is FileStatus.SKIPPED else "not imported"
            echo(f"wheelyard: {escaped(outcome.location)} was {what}: {outcome.why}", err=True)
        if outcome.status is not FileStatus.PASSED_OVER:
            self._update(advance=1)
