"""An import from its beginning to its end."""

from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from packaging.utils import NormalizedName

from wheelyard.errors import WheelyardError
from wheelyard.model.access import Caller
from wheelyard.model.distribution_filename import UniquenessKey, parse_filename
from wheelyard.operations.importing.project_import import (
    Batch,
    BatchResult,
    ImportContext,
    ImportItem,
    import_batch,
    refused,
)
from wheelyard.operations.importing.report import FileStatus, Outcome, Progress, Report
from wheelyard.operations.upload import Uploads
from wheelyard.sources.candidate import Candidate, Skipped, Source

LOCAL_WORKERS: Final = 4
LOCAL_BATCH_FILES: Final = 64
"""Files of one project that are listed together, where everything is at hand."""
REMOTE_WORKERS: Final = 16
REMOTE_BATCH_FILES: Final = 8
"""The same across a network: more at a time, and so fewer together."""
MAX_PENDING_FILES: Final = 1000
"""Files that may wait for others of their project."""
NAMES_PER_WRITE: Final = 500
"""New names that are added to the list of projects at a time."""


@dataclass(frozen=True, slots=True)
class Importer:
    """Takes in what a source has; `near` if the store and the source answer at once."""

    uploads: Uploads
    is_local: bool = True

    def run(
        self,
        source: Source,
        caller: Caller,
        *,
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> Report:
        """
        Publish every distribution that a source has; in a dry run, only read and check them.

        Raises:
            Invalid: It is no source (code `bad_source`).
            Unavailable: The store does not answer, or the source has no more to say. What was
                imported stays.
        """
        watcher = progress or Progress()
        job = ImportContext(
            uploads=self.uploads,
            caller=caller,
            began=self.uploads.runtime.now(),
            read=watcher.read,
            rehearsed={} if dry_run else None,
        )
        workers = LOCAL_WORKERS if self.is_local else REMOTE_WORKERS
        groups = FileBatches(LOCAL_BATCH_FILES if self.is_local else REMOTE_BATCH_FILES)
        with ThreadPoolExecutor(workers, "import") as pool:
            crew = _WorkerPool(job, watcher, groups, pool, workers)
            try:
                for offer in source.candidates():
                    crew.take(offer)
                crew.finish()
            except BaseException:
                job.stopped.set()
                pool.shutdown(cancel_futures=True)
                crew.leave()
                raise
        return crew.report


@dataclass(slots=True)
class FileBatches:
    """
    Files that are held back until others of their project come; `together` of them are enough.

    A commit costs the same for one file and for many.
    """

    together: int
    _items: dict[NormalizedName, list[ImportItem]] = field(default_factory=dict)
    _count: int = 0

    def add(self, item: ImportItem) -> None:
        """Hold one more."""
        self._items.setdefault(item.distribution.project, []).append(item)
        self._count += 1

    def due(self, name: NormalizedName) -> Batch | None:
        """Return the group of `name` if it is full, else the oldest if too many are held."""
        if len(self._items.get(name, ())) >= self.together:
            return self._taken(name)
        return self.rest() if self._count > MAX_PENDING_FILES else None

    def settled(self, name: NormalizedName) -> Batch | None:
        """Return the oldest group, but not that of `name`, which is being added to just now."""
        other = next((each for each in self._items if each != name), None)
        return None if other is None else self._taken(other)

    def rest(self) -> Batch | None:
        """Return the oldest group, None if there is none any more."""
        return self._taken(next(iter(self._items))) if self._items else None

    def _taken(self, name: NormalizedName) -> Batch:
        items = self._items.pop(name)
        self._count -= len(items)
        return items


@dataclass(slots=True)
class _WorkerPool:
    """The threads of an import, and what has been handed to them."""

    job: ImportContext
    watcher: Progress
    groups: FileBatches
    pool: ThreadPoolExecutor
    workers: int
    report: Report = field(default_factory=Report)
    _under_way: dict[Future[BatchResult], Batch] = field(default_factory=dict)
    _flying: dict[tuple[NormalizedName, UniquenessKey], Future[BatchResult]] = field(
        default_factory=dict
    )
    _names: set[NormalizedName] = field(default_factory=set)

    def take(self, offer: Candidate | Skipped) -> None:
        """Have something imported, now or later; wait if there is too much to do."""
        if isinstance(offer, Skipped):
            status = FileStatus.REFUSED if offer.is_error else FileStatus.PASSED_OVER
            code = "bad_source" if offer.is_error else ""
            self._tell(
                Outcome(location=offer.location, status=status, code=code, why=f"{offer.why}.")
            )
            return
        try:
            distribution = parse_filename(offer.filename, allow_obsolete=True)
        except WheelyardError as fault:
            self._tell(refused(offer, fault))
            return
        item, name = ImportItem(offer, distribution), distribution.project
        if (before := self._flying.get(item.key)) is not None:
            self._collect({before})  # the first of two wins, so the second waits for it
        self.groups.add(item)
        while (group := self.groups.due(name)) is not None:
            self._begin(group)
        if len(self._under_way) < self.workers and (group := self.groups.settled(name)) is not None:
            self._begin(group)

    def finish(self) -> None:
        """Have everything imported that was held back, and wait for it."""
        while (group := self.groups.rest()) is not None:
            self._begin(group)
        while self._under_way:
            self._collect(self._finished())
        self._ensure_names()

    def leave(self) -> None:
        """See to it that what was imported is found, if the store still answers."""
        for future in self._under_way:
            if not future.cancelled() and future.exception() is None:
                self._remember(future.result())
        with suppress(WheelyardError):
            self._ensure_names()

    def _begin(self, group: Batch) -> None:
        while len(self._under_way) >= 2 * self.workers:
            self._collect(self._finished())
        future = self.pool.submit(import_batch, self.job, group)
        self._under_way[future] = group
        self._flying.update((item.key, future) for item in group)

    def _finished(self) -> set[Future[BatchResult]]:
        return wait(self._under_way, return_when=FIRST_COMPLETED).done

    def _collect(self, futures: set[Future[BatchResult]]) -> None:
        for future in futures:
            done = future.result()
            for item in self._under_way.pop(future):
                self._flying.pop(item.key, None)
            for outcome in done.outcomes:
                self._tell(outcome)
            self._remember(done)
        if len(self._names) >= NAMES_PER_WRITE:
            self._ensure_names()

    def _remember(self, done: BatchResult) -> None:
        if done.is_project:
            self._names.add(done.name)

    def _ensure_names(self) -> None:
        self.job.ensure(self._names)
        self._names.clear()

    def _tell(self, outcome: Outcome) -> None:
        self.report.add(outcome)
        self.watcher.done(outcome)
