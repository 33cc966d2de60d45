"""
Imports of files by several worker threads, once or as often as a folder changes.

The folder is scanned periodically. A scan opens no file and asks the store nothing about known
files: the version of each processed file is remembered. After an error of a scan, which is logged
once, the next scan tries again. A refused file is retried after a pause if the reason may pass.
"""

import dataclasses
import logging
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from threading import Event
from typing import Final

from msgspec import Struct, field
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import WheelyardError
from wheelyard.model.access import Caller
from wheelyard.model.decoding import escaped
from wheelyard.model.distribution_filename import UniquenessKey
from wheelyard.model.project import Project
from wheelyard.operations.importing.project_import import (
    Batch,
    FileStatus,
    ImportContext,
    ImportProgress,
    Outcome,
    Report,
    SourceFile,
    find_distribution,
    import_batch,
    refused,
)
from wheelyard.operations.uploads import Uploads
from wheelyard.sources.candidate import Candidate, Skipped, Source, matches
from wheelyard.sources.file_tree import FileTree, distribution_files

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

SETTLE_SECONDS: Final = 1.0
"""The age that a file needs to be imported by the first scan, which cannot see changes."""
IDLE_PAUSE_FACTOR: Final = 20
"""The pause after an idle scan is at least so many times its duration: 5% of one core."""
RETRY_SECONDS: Final = 60.0
MAX_RETRY_SECONDS: Final = 3600.0
"""The pause before a refused file is retried, if the reason may pass: first and longest."""
logger = logging.getLogger("wheelyard")


class Importer(Struct, frozen=True):
    """Imports sources."""

    uploads: Uploads
    is_local: bool = True
    """Whether the store and the source are on this machine."""

    def run(
        self,
        source: Source,
        caller: Caller,
        *,
        projects: tuple[str, ...] = (),
        dry_run: bool = False,
        progress: ImportProgress | None = None,
    ) -> Report:
        """
        Import the distributions of a source, or in a dry run, only validate them.

        Those of other projects than `projects`, patterns of names, are left out if there are some.
        A file that is refused, or of a damaged project, is in the report. Raises Unavailable if the
        store does not answer, and a WheelyardError of the source if that cannot be listed. What
        was committed before stays.
        """
        observer = progress or ImportProgress()
        dry_run_projects: dict[NormalizedName, Project] | None = None
        if dry_run:
            dry_run_projects = {}
        context = ImportContext(
            uploads=self.uploads,
            caller=caller,
            started_at=self.uploads.runtime.now(),
            progress=observer,
            dry_run_projects=dry_run_projects,
        )

        # beside an upstream index, which is asked about new names
        is_local = self.is_local and self.uploads.claims is None
        workers = LOCAL_WORKERS if is_local else REMOTE_WORKERS
        batch_size = LOCAL_BATCH_FILES if self.is_local else REMOTE_BATCH_FILES
        with ThreadPoolExecutor(workers, "import") as pool:
            tasks = _WorkerPool(context, observer, pool, workers, batch_size, projects)
            try:
                for offer in source.candidates():
                    tasks.add(offer)
                tasks.finish()
            except BaseException:
                # also Ctrl-C: what is committed stays, and the next import goes on from there
                context.stopped.set()
                pool.shutdown(cancel_futures=True)
                with suppress(WheelyardError):
                    context.list_names()
                raise
        return tasks.report


class _WorkerPool(Struct):
    """
    Groups the files of an import by project, into batches, which worker threads import.

    The outcomes are in `report`. One thread, which reads the source, calls all methods: so nothing
    here has a lock, and a slow store slows down how fast the source is read.
    """

    context: ImportContext
    observer: ImportProgress
    pool: ThreadPoolExecutor
    workers: int
    batch_size: int
    """The most files of a batch."""
    projects: tuple[str, ...] = ()
    """Patterns of the names of projects that are imported, or none for all."""
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

        Start full batches, and one that is not full if a worker is idle. Wait if too many are
        started.
        """
        if isinstance(offer, Skipped):
            self._report(_skipped(offer))
            return

        # the name of a file is a stranger's, and may be one that no index takes
        try:
            distribution = find_distribution(offer, self.context)
        except WheelyardError as fault:
            self._report(refused(offer, fault))
            return
        source_file = SourceFile(offer, distribution)
        name = distribution.project
        if not matches(name, self.projects):
            return
        before = self._future_by_key.get(source_file.key)
        if before is not None:  # the first of two wins, and the second waits for it
            self._collect({before})
        batch = self._waiting.setdefault(name, [])
        batch.append(source_file)
        self._waiting_files += 1
        if len(batch) >= self.batch_size:
            self._start(name)

        # the oldest batch: sources have the files of a project mostly together
        if self._waiting_files > MAX_PENDING_FILES:
            self._start(next(iter(self._waiting)))

        # not the one that may still grow
        if len(self._running) < self.workers:
            oldest = next((waiting for waiting in self._waiting if waiting != name), None)
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
        # as many wait for a thread as there are threads, so that none is idle
        while len(self._running) >= 2 * self.workers:
            self._collect(self._wait_for_any())
        batch = self._waiting.pop(name)
        self._waiting_files -= len(batch)
        future = self.pool.submit(import_batch, self.context, batch)
        self._running[future] = batch
        self._future_by_key.update((source_file.key, future) for source_file in batch)

    def _wait_for_any(self) -> set[Future[list[Outcome]]]:
        return wait(self._running, return_when=FIRST_COMPLETED).done

    def _collect(self, futures: set[Future[list[Outcome]]]) -> None:
        """Report the outcomes of batches, once they have ended."""
        for future in futures:
            outcomes = future.result()  # raises what has stopped the batch, and so the import
            for source_file in self._running.pop(future):
                self._future_by_key.pop(source_file.key, None)
            for outcome in outcomes:
                self._report(outcome)
        if len(self.context.unlisted) >= NAMES_PER_WRITE:
            self.context.list_names()

    def _report(self, outcome: Outcome) -> None:
        self.report.add(outcome)
        self.observer.done(outcome)


def _skipped(offer: Skipped) -> Outcome:
    """Return the outcome of an entry of a source that is no file to import."""
    status = FileStatus.PASSED_OVER
    code = ""
    if offer.is_error:
        status = FileStatus.REFUSED
        code = "bad_source"
    return Outcome(location=offer.location, status=status, code=code, why=f"{offer.why}.")


class _Stopped(Exception):
    """The watch was stopped during a scan."""


class _FileState(Struct, frozen=True):
    """The version of a known file, when to retry it, and why it was not imported."""

    version: str
    retry_at: float = -inf
    """When it is imported again, on the monotonic clock, or inf for never."""
    pause: float = 0.0
    """The last pause before a retry, in seconds."""
    reason: str | None = None
    """Why it was not imported, as logged. None before the first attempt."""


@dataclass(slots=True, kw_only=True)
class FolderWatch:
    """Scans one folder or bucket again and again, and imports new and changed files."""

    tree: FileTree
    importer: Importer
    caller: Caller
    runtime: Runtime
    interval: float
    """Seconds between scans."""
    is_atomic: bool = False
    """Whether files appear complete, as in a bucket."""
    is_first_scan: bool = dataclasses.field(default=True, init=False)
    """Whether no scan has ended yet. Later, a file must be unchanged in two scans."""
    states: dict[str, _FileState] = dataclasses.field(default_factory=dict, init=False)
    """The files that were found, by their location."""
    errors: set[str] = dataclasses.field(default_factory=set, init=False)
    """The errors of the last scan."""
    stopped: Event = dataclasses.field(default_factory=Event, init=False)

    def run(self) -> None:
        """Scan until stopped."""
        while not self.stopped.is_set():
            started_at = self.runtime.monotonic()
            is_idle = self.scan().is_idle
            duration = self.runtime.monotonic() - started_at
            pause = self.interval
            # a large folder in which nothing happens may take long to list
            if is_idle:
                pause = max(pause, IDLE_PAUSE_FACTOR * duration)
            self.stopped.wait(pause)

    def stop(self) -> None:
        """Make the watch end and abort a running scan, without waiting. Imported files stay."""
        self.stopped.set()

    def skip_existing(self) -> None:
        """
        Mark all existing files as processed, so that no scan imports them until they change.

        Raises WheelyardError if they cannot be listed.
        """
        for file in distribution_files(self.tree):
            self.states[file.location] = _FileState(_version(file), inf)
        self.is_first_scan = False

    def scan(self) -> "Scan":
        """Scan once, import new and changed files, log errors, and return the finished scan."""
        scan = Scan(self)
        try:
            self.importer.run(scan, self.caller, progress=scan)
        except _Stopped:
            pass
        except WheelyardError as fault:
            scan.log_error(fault.message)
        except Exception:  # noqa: BLE001 - a bug, here or in a library, must not end the watch
            scan.log_error("The scan failed.", is_bug=True)
        scan.finish()
        return scan


class Scan(ImportProgress):
    """One scan of a watched folder: both the source of an import and its observer."""

    def __init__(self, watch: FolderWatch) -> None:
        # worker threads only call `read`: what is here belongs to the thread of the import
        self._report = Report()
        self._watch = watch
        self._root = str(watch.tree)
        self._started_at = watch.runtime.monotonic()
        self._states = dict[str, _FileState]()
        self._errors = set[str]()
        self._has_candidates = False

    @property
    def is_idle(self) -> bool:
        """Whether there was nothing to import and no error."""
        return not self._has_candidates and not self._errors

    def candidates(self) -> Iterator[Candidate | Skipped]:
        """
        Yield complete files that are new, changed or due again.

        An error of the listing is logged, and ends it.
        """
        tree = self._watch.tree
        try:
            for file in distribution_files(tree):
                self._check_stopped()
                if self._is_due(file):
                    self._has_candidates = True
                    yield file
        except WheelyardError as fault:  # what was found before is still imported
            self.log_error(fault.message)

    def read(self, size: int) -> None:  # noqa: ARG002 - as `Progress` has it
        """Abort the import if the watch was stopped."""
        self._check_stopped()

    def done(self, outcome: Outcome) -> None:
        """
        Remember the outcome of a file and when to retry it, and log a refusal once.

        Aborts the import if the watch was stopped.
        """
        before = self._states[outcome.location]
        if outcome.why != before.reason:
            self._report.add(outcome)
            if outcome.status in {FileStatus.REFUSED, FileStatus.SKIPPED}:
                logger.warning("%s was not imported: %s", escaped(outcome.location), outcome.why)
        pause = inf
        if outcome.is_retryable:
            pause = min(max(2 * before.pause, RETRY_SECONDS), MAX_RETRY_SECONDS)
        due = self._watch.runtime.monotonic() + pause
        state = replace(before, retry_at=due, pause=pause, reason=outcome.why)
        self._states[outcome.location] = state
        self._check_stopped()

    def log_error(self, message: str, *, is_bug: bool = False) -> None:
        """Record an error of this scan, and log it unless the last scan had it, too."""
        self._errors.add(message)
        if message not in self._watch.errors:
            logger.warning("%s: %s", escaped(self._root), message, exc_info=is_bug)

    def finish(self) -> None:
        """Give the watch what this scan has seen, and log a summary if there is news."""
        watch = self._watch
        counts = self._report.counts
        is_complete = not self._errors
        name = escaped(self._root)
        if is_complete:
            watch.states = self._states
        else:
            # an incomplete scan says nothing about files it has not found
            watch.states |= self._states
        if watch.errors and is_complete:
            logger.info("%s: the errors of the last scan are gone", name)
        has_news = (
            counts[FileStatus.NEW] or counts[FileStatus.DELETED] or counts[FileStatus.REFUSED]
        )
        if has_news or (watch.is_first_scan and is_complete):
            logger.info("%s: %s", name, self._report.summary())
        watch.is_first_scan = False
        watch.errors = self._errors

    def _check_stopped(self) -> None:
        if self._watch.stopped.is_set():
            raise _Stopped

    def _is_due(self, file: Candidate | Skipped) -> bool:
        """Return whether a file is imported by this scan, and note its version for the next one."""
        watch = self._watch
        if isinstance(file, Skipped) and not file.is_error:
            return False
        location = file.location
        version = _version(file)
        before = watch.states.get(location)
        if before is not None and before.version == version:
            self._states[location] = before
            return before.retry_at <= self._started_at
        self._states[location] = _FileState(version)
        if watch.is_atomic or isinstance(file, Skipped):
            return True
        # abs, so that a wrong clock does not exclude a file for ever
        age = watch.runtime.seconds() - (file.changed_at or 0.0)
        is_settled = abs(age) >= SETTLE_SECONDS
        # a later scan waits for the next one, which finds the file unchanged
        return watch.is_first_scan and is_settled


def _version(file: Candidate | Skipped) -> str:
    """Return what changes with a file, or for one that cannot be imported, the reason."""
    if isinstance(file, Skipped):
        return file.why
    return file.version
