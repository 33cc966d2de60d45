"""
Watching a folder or a bucket (`serve --watch`): new and changed files are imported.

The folder is scanned periodically. A scan opens no file and asks the store nothing about known
files: the version of each processed file is remembered. After an error of a scan, which is logged
once, the next scan tries again. A refused file is retried after a pause if the reason may pass.
"""

import logging
from collections.abc import Iterator
import dataclasses
from dataclasses import dataclass
from math import inf
from threading import Event
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import WheelyardError
from wheelyard.model.access import Caller
from wheelyard.model.decoding import escaped
from wheelyard.operations.importing.parallel_import import Importer
from wheelyard.operations.importing.report import FileStatus, ImportProgress, Outcome, Report
from wheelyard.sources.candidate import Candidate, Skipped
from wheelyard.sources.file_tree import FileTree, distribution_files

SETTLE_SECONDS: Final = 1.0
"""The age that a file needs to be imported by the first scan, which cannot see changes."""
IDLE_PAUSE_FACTOR: Final = 20
"""The pause after an idle scan is at least so many times its duration: 5% of one core."""
RETRY_SECONDS: Final = 60.0
MAX_RETRY_SECONDS: Final = 3600.0
"""The pause before a refused file is retried, if the reason may pass: first and longest."""

logger = logging.getLogger("wheelyard")


class _Stopped(Exception):
    """The watch was stopped during a scan."""


class _FileState(Struct, frozen=True):
    """The version of a known file, when to retry it, and why it was not imported."""

    version: str
    retry_at: float = -inf
    """When it is imported again, on the monotonic clock; inf for never."""
    pause: float = 0.0
    """The last pause before a retry, in seconds."""
    reason: str | None = None
    """Why it was not imported, as logged; None before the first attempt."""


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
    """Whether no scan has ended yet; later, a file must be unchanged in two scans."""
    known: dict[str, _FileState] = dataclasses.field(default_factory=dict, init=False)
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
            self.stopped.wait(max(self.interval, IDLE_PAUSE_FACTOR * duration if is_idle else 0.0))

    def stop(self) -> None:
        """Make the watch end and abort a running scan; return at once. Imported files stay."""
        self.stopped.set()

    def skip_existing(self) -> None:
        """Mark all existing files as processed, so that no scan imports them until they change."""
        for found in distribution_files(self.tree):
            self.known[found.location] = _FileState(_version(found), inf)
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
        self._report = Report()
        self._watch = watch
        self._root = str(watch.tree)
        self._started_at = watch.runtime.monotonic()
        self._found = dict[str, _FileState]()
        self._errors = set[str]()
        self._has_candidates = False

    @property
    def is_idle(self) -> bool:
        """Whether there was nothing to import and no error."""
        return not self._has_candidates and not self._errors

    def candidates(self) -> Iterator[Candidate | Skipped]:
        """Yield complete files that are new, changed or due again; log an error of the listing."""
        tree = self._watch.tree
        try:
            for found in distribution_files(tree):
                self._check_stopped()
                if self._is_due(found):
                    self._has_candidates = True
                    yield found
        except WheelyardError as fault:  # what was found before is still imported
            self.log_error(fault.message)

    def read(self, size: int) -> None:  # noqa: ARG002 - as `Progress` has it
        """Abort the import if the watch was stopped."""
        self._check_stopped()

    def done(self, outcome: Outcome) -> None:
        """Remember the outcome of a file and when to retry it; log a refusal for a new reason."""
        known = self._found[outcome.location]
        if outcome.why != known.reason:
            self._report.add(outcome)
            if outcome.status in {FileStatus.REFUSED, FileStatus.SKIPPED}:
                logger.warning("%s was not imported: %s", escaped(outcome.location), outcome.why)
        pause = inf
        if outcome.is_retryable:
            pause = min(max(2 * known.pause, RETRY_SECONDS), MAX_RETRY_SECONDS)
        due = self._watch.runtime.monotonic() + pause
        state = replace(known, retry_at=due, pause=pause, reason=outcome.why)
        self._found[outcome.location] = state
        self._check_stopped()

    def log_error(self, message: str, *, is_bug: bool = False) -> None:
        """Record an error of this scan; log it unless the last scan had it, too."""
        self._errors.add(message)
        if message not in self._watch.errors:
            logger.warning("%s: %s", escaped(self._root), message, exc_info=is_bug)

    def finish(self) -> None:
        """Store found files and errors in the watch; log a summary after news or the first scan."""
        watch, counts, is_complete = self._watch, self._report.counts, not self._errors
        name = escaped(self._root)
        # an incomplete scan says nothing about files it has not found
        watch.known = self._found if is_complete else watch.known | self._found
        if watch.errors and is_complete:
            logger.info("%s: the errors of the last scan are gone", name)
        has_news = any(
            counts[status] for status in (FileStatus.NEW, FileStatus.DELETED, FileStatus.REFUSED)
        )
        if has_news or (watch.is_first_scan and is_complete):
            logger.info("%s: %s", name, self._report.summary())
        watch.is_first_scan, watch.errors = False, self._errors

    def _check_stopped(self) -> None:
        if self._watch.stopped.is_set():
            raise _Stopped

    def _is_due(self, found: Candidate | Skipped) -> bool:
        watch = self._watch
        if isinstance(found, Skipped) and not found.is_error:
            return False
        location, version = found.location, _version(found)
        before = watch.known.get(location)
        if before is not None and before.version == version:
            self._found[location] = before
            return before.retry_at <= self._started_at
        self._found[location] = _FileState(version)
        if watch.is_atomic or isinstance(found, Skipped):
            return True
        # abs, so that a wrong clock does not exclude a file for ever
        age = watch.runtime.seconds() - (found.changed_at or 0.0)
        is_settled = abs(age) >= SETTLE_SECONDS
        return watch.is_first_scan and is_settled


def _version(found: Candidate | Skipped) -> str:
    return found.why if isinstance(found, Skipped) else found.version
