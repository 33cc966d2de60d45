"""
Imports of files by several worker threads: once, or again and again from a watched folder.

A watched folder is scanned periodically. The version of each processed file is remembered, so a
scan opens no known file, and asks the store nothing about it. An error of a scan is logged once,
and the next scan tries again. A refused file is retried after a pause if the reason may pass.
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
"""The most files of one project in a batch, if store and source are local."""
REMOTE_WORKERS: Final = 16
REMOTE_BATCH_FILES: Final = 8
"""The most files of a batch if store or source is remote, which have more workers."""
MAX_PENDING_FILES: Final = 1000
"""The most files that wait in incomplete batches."""
NAMES_PER_WRITE: Final = 500
"""The new names that are added to the list of projects in one write."""

SETTLE_SECONDS: Final = 1.0
"""The age from which the first scan imports a file, as it cannot compare it with earlier scans."""
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

        `projects` are patterns of names. If there are some, the files of other projects are left
        out. A file that is refused, or whose project is damaged, is in the report. Raises
        Unavailable if the store does not answer, and a WheelyardError of the source if that cannot
        be listed. Files that were committed before the error stay.
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

        # an upstream index, which is asked about new names, is remote, too
        waits_for_nobody = self.is_local and self.uploads.claims is None
        workers = LOCAL_WORKERS if waits_for_nobody else REMOTE_WORKERS
        batch_size = LOCAL_BATCH_FILES if self.is_local else REMOTE_BATCH_FILES
        with ThreadPoolExecutor(workers, "import") as pool:
            tasks = _WorkerPool(context, observer, pool, workers, batch_size, projects)
            try:
                for offer in source.candidates():
                    tasks.add(offer)
                tasks.finish()
            except BaseException:
                # also Ctrl-C: committed files stay, and the next import continues with the others
                context.stopped.set()
                pool.shutdown(cancel_futures=True)
                with suppress(WheelyardError):
                    context.list_names()
                raise
        return tasks.report


class _WorkerPool(Struct):
    """
    Groups the files of an import by project, into batches, which worker threads import.

    The outcomes are in `report`. One thread, which reads the source, calls all methods. So no lock
    is needed, and the source is read no faster than the store takes files.
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
    """The batches that were not started yet, by project, the oldest first."""
    _waiting_files: int = 0
    """The number of files in these batches."""
    _running: dict[Future[list[Outcome]], Batch] = {}
    """The batches that were started, by the future of their outcomes."""
    _future_by_key: dict[tuple[NormalizedName, UniquenessKey], Future[list[Outcome]]] = field(
        default_factory=dict
    )
    """The future of each file that was started, by its project and uniqueness key."""

    def add(self, offer: Candidate | Skipped) -> None:
        """
        Add an entry of the source to the batch of its project, or report why it cannot be imported.

        Starts a batch that is full, and one that is not full if a worker is idle. Waits while too
        many batches are started.
        """
        if isinstance(offer, Skipped):
            self._report(_skipped(offer))
            return

        # a stranger has chosen the filename, which may be of no format that an index takes
        try:
            distribution = find_distribution(offer, self.context)
        except WheelyardError as fault:
            self._report(refused(offer, fault))
            return
        source_file = SourceFile(offer, distribution)
        name = distribution.project
        if not matches(name, self.projects):
            return
        future_of_same_key = self._future_by_key.get(source_file.key)
        if future_of_same_key is not None:  # the first of two files wins, and the second waits
            self._collect({future_of_same_key})
        batch = self._waiting.setdefault(name, [])
        batch.append(source_file)
        self._waiting_files += 1
        if len(batch) >= self.batch_size:
            self._start(name)

        # sources have the files of a project mostly together, so the oldest batch grows no more
        if self._waiting_files > MAX_PENDING_FILES:
            self._start(self._oldest_waiting())
        if len(self._running) < self.workers:
            self._start_oldest_except(name)

    def _oldest_waiting(self) -> NormalizedName:
        """Return the project of the batch that waits longest."""
        return next(iter(self._waiting))

    def _start_oldest_except(self, growing: NormalizedName) -> None:
        """Start the oldest batch that waits, but not that of the project `growing`."""
        for name in self._waiting:
            if name != growing:
                self._start(name)
                return

    def finish(self) -> None:
        """
        Import the remaining batches, and wait for all started ones.

        Then add the imported projects to the list of names that are not in it yet.
        """
        while self._waiting:
            self._start(self._oldest_waiting())
        while self._running:
            self._collect(self._wait_for_any())
        self.context.list_names()

    def _start(self, name: NormalizedName) -> None:
        """Start the waiting batch of a project, as soon as not too many batches are started."""
        # one batch for each thread, and one more that it runs next
        while len(self._running) >= 2 * self.workers:
            self._collect(self._wait_for_any())
        batch = self._waiting.pop(name)
        self._waiting_files -= len(batch)
        future = self.pool.submit(import_batch, self.context, batch)
        self._running[future] = batch
        for source_file in batch:
            self._future_by_key[source_file.key] = future

    def _wait_for_any(self) -> set[Future[list[Outcome]]]:
        """Wait until a started batch has ended, and return the futures of all ended ones."""
        return wait(self._running, return_when=FIRST_COMPLETED).done

    def _collect(self, futures: set[Future[list[Outcome]]]) -> None:
        """Wait for batches, and report their outcomes."""
        for future in futures:
            outcomes = future.result()  # raises an error that stops the import
            for source_file in self._running.pop(future):
                self._future_by_key.pop(source_file.key, None)
            for outcome in outcomes:
                self._report(outcome)
        if len(self.context.unlisted) >= NAMES_PER_WRITE:
            self.context.list_names()

    def _report(self, outcome: Outcome) -> None:
        """Add an outcome to the report, and tell the observer."""
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
    """When the file is imported again, on the monotonic clock, or inf for never."""
    pause: float = 0.0
    """The last pause before a retry, in seconds."""
    reason: str | None = None
    """Why the file was not imported, as it was logged, or None before the first attempt."""


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
    """Whether new files are complete at once, as in a bucket."""
    is_first_scan: bool = dataclasses.field(default=True, init=False)
    """Whether no scan has ended yet. Later scans import files that two scans find unchanged."""
    states: dict[str, _FileState] = dataclasses.field(default_factory=dict, init=False)
    """The states of the files that were found, by their location."""
    errors: set[str] = dataclasses.field(default_factory=set, init=False)
    """The errors of the last scan."""
    stopped: Event = dataclasses.field(default_factory=Event, init=False)

    def run(self) -> None:
        """Scan the folder again and again, until the watch is stopped."""
        while not self.stopped.is_set():
            started_at = self.runtime.monotonic()
            is_idle = self.scan().is_idle
            duration = self.runtime.monotonic() - started_at
            pause = self.interval
            # it may take long to list a large folder in which nothing changes
            if is_idle:
                pause = max(pause, IDLE_PAUSE_FACTOR * duration)
            self.stopped.wait(pause)

    def stop(self) -> None:
        """Make the watch end and abort a running scan, without waiting. Imported files stay."""
        self.stopped.set()

    def skip_existing(self) -> None:
        """
        Mark all existing files as processed, so that no scan imports them until they change.

        Raises WheelyardError if the files cannot be listed.
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
        # only the thread of the import uses these fields: worker threads call `read` alone
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

        An error of the listing is logged, and ends the listing.
        """
        tree = self._watch.tree
        try:
            for file in distribution_files(tree):
                self._check_stopped()
                if self._is_due(file):
                    self._has_candidates = True
                    yield file
        except WheelyardError as fault:  # files that were found before are still imported
            self.log_error(fault.message)

    def read(self, size: int) -> None:  # noqa: ARG002 - as `Progress` has it
        """Abort the import if the watch was stopped."""
        self._check_stopped()

    def done(self, outcome: Outcome) -> None:
        """
        Remember the outcome of a file and when to retry it, and log a refusal once.

        Aborts the import if the watch was stopped.
        """
        state_before = self._states[outcome.location]
        if outcome.why != state_before.reason:
            self._report.add(outcome)
            if outcome.status in {FileStatus.REFUSED, FileStatus.SKIPPED}:
                logger.warning("%s was not imported: %s", escaped(outcome.location), outcome.why)
        pause = inf
        if outcome.is_retryable:
            doubled_pause = max(2 * state_before.pause, RETRY_SECONDS)
            pause = min(doubled_pause, MAX_RETRY_SECONDS)
        retry_at = self._watch.runtime.monotonic() + pause
        state = replace(state_before, retry_at=retry_at, pause=pause, reason=outcome.why)
        self._states[outcome.location] = state
        self._check_stopped()

    def log_error(self, message: str, *, is_bug: bool = False) -> None:
        """
        Record an error of this scan, and log it unless the last scan had it, too.

        With `is_bug`, the traceback of the present exception is logged as well.
        """
        self._errors.add(message)
        if message not in self._watch.errors:
            logger.warning("%s: %s", escaped(self._root), message, exc_info=is_bug)

    def finish(self) -> None:
        """Give the watch the states and errors of this scan, and log a summary if there is news."""
        watch = self._watch
        counts = self._report.counts
        is_complete = not self._errors
        folder = escaped(self._root)
        if is_complete:
            watch.states = self._states
        else:
            # files that an incomplete scan has not found may still be there
            watch.states |= self._states
        if watch.errors and is_complete:
            logger.info("%s: the errors of the last scan are gone", folder)
        has_news = (
            counts[FileStatus.NEW] or counts[FileStatus.DELETED] or counts[FileStatus.REFUSED]
        )
        if has_news or (watch.is_first_scan and is_complete):
            logger.info("%s: %s", folder, self._report.summary())
        watch.is_first_scan = False
        watch.errors = self._errors

    def _check_stopped(self) -> None:
        """Raise _Stopped if the watch was stopped."""
        if self._watch.stopped.is_set():
            raise _Stopped

    def _is_due(self, file: Candidate | Skipped) -> bool:
        """Return whether a file is imported by this scan, and note its version for the next one."""
        watch = self._watch
        if isinstance(file, Skipped) and not file.is_error:
            return False
        location = file.location
        version = _version(file)
        state_before = watch.states.get(location)
        if state_before is not None and state_before.version == version:
            self._states[location] = state_before
            return state_before.retry_at <= self._started_at
        self._states[location] = _FileState(version)
        if watch.is_atomic or isinstance(file, Skipped):
            return True
        # abs, as the time of a file may be in the future by a wrong clock
        age = watch.runtime.seconds() - (file.changed_at or 0.0)
        is_settled = abs(age) >= SETTLE_SECONDS
        # a later scan leaves a new file to the next scan, which finds the file unchanged
        return watch.is_first_scan and is_settled


def _version(file: Candidate | Skipped) -> str:
    """Return the version of a file, or the reason if the file cannot be imported."""
    if isinstance(file, Skipped):
        return file.why
    return file.version
