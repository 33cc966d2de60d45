"""The import of a whole source: batches of files, imported by several worker threads."""

from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Final

from msgspec import Struct, field
from packaging.utils import NormalizedName

from wheelyard.errors import WheelyardError
from wheelyard.model.access import Caller
from wheelyard.model.distribution_filename import UniquenessKey, parse_known_filename
from wheelyard.operations.importing.project_import import (
    Batch,
    ImportContext,
    ImportItem,
    import_batch,
    refused,
)
from wheelyard.operations.importing.report import FileStatus, ImportProgress, Outcome, Report
from wheelyard.operations.upload import Uploads
from wheelyard.sources.candidate import Candidate, Skipped, Source

LOCAL_WORKERS: Final = 4
LOCAL_BATCH_FILES: Final = 64
"""The files of one project in a batch, if store and source are local."""
REMOTE_WORKERS: Final = 16
REMOTE_BATCH_FILES: Final = 8
"""If store or source is remote: more workers, and smaller batches."""
MAX_PENDING_FILES: Final = 1000
"""The files that wait in incomplete batches, at most."""
NAMES_PER_WRITE: Final = 500
"""The new names that are added to the list of projects in one write."""


class Importer(Struct, frozen=True):
    """Imports sources; `is_local` if the store and the source are on this machine."""

    uploads: Uploads
    is_local: bool = True

    def run(
        self,
        source: Source,
        caller: Caller,
        *,
        dry_run: bool = False,
        progress: ImportProgress | None = None,
    ) -> Report:
        """
        Import the distributions of a source, in a dry run only validate them; return the report.

        Raise WheelyardError if the store does not answer or the source is unusable.
        """
        observer = progress or ImportProgress()
        context = ImportContext(
            uploads=self.uploads,
            caller=caller,
            started_at=self.uploads.runtime.now(),
            read=observer.read,
            dry_run_projects={} if dry_run else None,
        )
        # beside an upstream index, which is asked about new names
        is_local = self.is_local and self.uploads.claims is None
        workers = LOCAL_WORKERS if is_local else REMOTE_WORKERS
        batch_size = LOCAL_BATCH_FILES if self.is_local else REMOTE_BATCH_FILES
        with ThreadPoolExecutor(workers, "import") as pool:
            tasks = _WorkerPool(context, observer, pool, workers, batch_size)
            try:
                for offer in source.candidates():
                    tasks.add(offer)
                tasks.finish()
            except BaseException:
                context.stopped.set()
                pool.shutdown(cancel_futures=True)
                with suppress(WheelyardError):
                    context.list_names()
                raise
        return tasks.report


class _WorkerPool(Struct):
    """
    Groups the files of an import by project, into batches, which worker threads import.

    The outcomes are in `report`.
    """

    context: ImportContext
    observer: ImportProgress
    pool: ThreadPoolExecutor
    workers: int
    batch_size: int
    """The most files of a batch."""
    report: Report = field(default_factory=Report)
    _waiting: dict[NormalizedName, Batch] = {}
    """The batches that may grow."""
    _waiting_files: int = 0
    _running: dict[Future[list[Outcome]], Batch] = {}
    _future_by_key: dict[tuple[NormalizedName, UniquenessKey], Future[list[Outcome]]] = field(
        default_factory=dict
    )

    def add(self, offer: Candidate | Skipped) -> None:
        """
        Add an entry of the source to the batch of its project, or report why it cannot be imported.

        Start full batches, and one that is not full if a worker is idle; wait if too many are
        started.
        """
        if isinstance(offer, Skipped):
            status = FileStatus.REFUSED if offer.is_error else FileStatus.PASSED_OVER
            code = "bad_source" if offer.is_error else ""
            self._report(
                Outcome(location=offer.location, status=status, code=code, why=f"{offer.why}.")
            )
            return
        try:
            distribution = parse_known_filename(offer.filename)
        except WheelyardError as fault:
            self._report(refused(offer, fault))
            return
        item, name = ImportItem(offer, distribution), distribution.project
        before = self._future_by_key.get(item.key)
        if before is not None:  # the first of two wins, and the second waits for it
            self._collect({before})
        batch = self._waiting.setdefault(name, [])
        batch.append(item)
        self._waiting_files += 1
        if len(batch) >= self.batch_size:
            self._start(name)
        if self._waiting_files > MAX_PENDING_FILES:
            self._start(next(iter(self._waiting)))
        if len(self._running) < self.workers:
            oldest = next((other for other in self._waiting if other != name), None)
            if oldest is not None:
                self._start(oldest)

    def finish(self) -> None:
        """
        Import the remaining batches, and wait for all that are running.

        Then add the projects of the whole import to the list of names, except those already added.
        """
        while self._waiting:
            self._start(next(iter(self._waiting)))
        while self._running:
            self._collect(self._wait_for_any())
        self.context.list_names()

    def _start(self, name: NormalizedName) -> None:
        """Import the files of a project that wait, as soon as not too many batches run."""
        while len(self._running) >= 2 * self.workers:
            self._collect(self._wait_for_any())
        batch = self._waiting.pop(name)
        self._waiting_files -= len(batch)
        future = self.pool.submit(import_batch, self.context, batch)
        self._running[future] = batch
        self._future_by_key.update((item.key, future) for item in batch)

    def _wait_for_any(self) -> set[Future[list[Outcome]]]:
        return wait(self._running, return_when=FIRST_COMPLETED).done

    def _collect(self, futures: set[Future[list[Outcome]]]) -> None:
        for future in futures:
            outcomes = future.result()
            for item in self._running.pop(future):
                self._future_by_key.pop(item.key, None)
            for outcome in outcomes:
                self._report(outcome)
        if len(self.context.unlisted) >= NAMES_PER_WRITE:
            self.context.list_names()

    def _report(self, outcome: Outcome) -> None:
        self.report.add(outcome)
        self.observer.done(outcome)
