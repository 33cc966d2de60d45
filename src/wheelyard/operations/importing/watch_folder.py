"""
A folder or a bucket that is looked at again and again: what appears there is imported.

Whatever goes wrong is told once, and tried again at the next look. A look opens nothing, and asks
the store nothing about files that are known: of each, the version that was dealt with is kept.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import inf
from threading import Event
from typing import Final

from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import WheelyardError
from wheelyard.model.access import Caller
from wheelyard.model.text import escaped
from wheelyard.operations.importing.parallel_import import Importer
from wheelyard.operations.importing.report import FileStatus, Outcome, Progress, Report
from wheelyard.sources.candidate import Candidate, Skipped
from wheelyard.sources.distribution_files import distribution_entries
from wheelyard.sources.file_tree import FileTree, TreeEntry, to_candidate

SETTLE_SECONDS: Final = 1.0
"""Seconds for which nobody may have touched what is there at the start."""
IDLE_PAUSE_FACTOR: Final = 20
"""How much longer than an idle look its pause is: it takes 5% of one core."""
RETRY_SECONDS: Final = 60.0
MAX_RETRY_SECONDS: Final = 3600.0
"""Seconds until a file is tried again that was refused through no fault of its own."""

logger = logging.getLogger("wheelyard")


class _Stopped(Exception):
    """Nobody waits for this import any more."""


@dataclass(frozen=True, slots=True)
class _Known:
    version: str
    due: float = -inf
    """When it is tried, on the monotonic clock."""
    pause: float = 0.0
    """Seconds for which it was last put off, after it was tried."""
    why: str | None = None
    """What was told of it; None before it was tried."""


@dataclass(slots=True, kw_only=True)
class FolderWatch:
    """Imports what appears somewhere."""

    tree: FileTree
    importer: Importer
    caller: Caller
    runtime: Runtime
    every: float
    """Seconds from one look to the next."""
    appears_whole: bool = False
    """Whether no file there can be half written."""
    is_new: bool = field(default=True, init=False)
    """Whether there was no look yet; after the first one, two have to find a file the same."""
    known: dict[str, _Known] = field(default_factory=dict, init=False)
    """What was found, by the name that a report has for it."""
    trouble: set[str] = field(default_factory=set, init=False)
    """What kept the last look from seeing or importing everything."""
    stopped: Event = field(default_factory=Event, init=False)

    def run(self, delay: float = 0.0) -> None:
        """Look until it is stopped; the first time after `delay` seconds."""
        self.stopped.wait(delay)
        while not self.stopped.is_set():
            began = self.runtime.monotonic()
            is_idle = self.look().is_idle
            took = self.runtime.monotonic() - began
            self.stopped.wait(max(self.every, IDLE_PAUSE_FACTOR * took if is_idle else 0.0))

    def stop(self) -> None:
        """Begin nothing more; what is under way is given up, and what was accepted stays."""
        self.stopped.set()

    def skip_existing(self) -> None:
        """
        Take what is there now for dealt with.

        Raises:
            WheelyardError: The place cannot be read, or does not answer.
        """
        root = str(self.tree)
        for found in distribution_entries(self.tree):
            location, version = _identified(root, found)
            self.known[location] = _Known(version, inf)
        self.is_new = False

    def look(self) -> "Scan":
        """Import what is new since the last look, and return what came of it."""
        look = Scan(self)
        try:
            self.importer.run(look, self.caller, progress=look)
        except _Stopped:
            pass
        except WheelyardError as fault:
            look.tell(fault.message)
        except Exception:  # noqa: BLE001 - a mistake, ours or a library's: it must not end the watch
            look.tell("It cannot be looked at.", is_ours=True)
        look.end()
        return look


class Scan(Progress):
    """One look at a watched place: the source of an import, and who watches that."""

    def __init__(self, watch: FolderWatch) -> None:
        self._report = Report()
        self._watch = watch
        self._root = str(watch.tree)
        self._began = watch.runtime.monotonic()
        self._found = dict[str, _Known]()
        self._trouble = set[str]()
        self._has_offered = False

    @property
    def is_idle(self) -> bool:
        """Whether there was nothing to do."""
        return not self._has_offered and not self._trouble

    def candidates(self) -> Iterator[Candidate | Skipped]:
        """Yield what is new, and whole."""
        tree = self._watch.tree
        try:
            for found in distribution_entries(tree):
                self._heed()
                if self._is_due(found):
                    self._has_offered = True
                    yield found if isinstance(found, Skipped) else to_candidate(tree, found)
        except WheelyardError as fault:  # what was seen until then is imported all the same
            self.tell(fault.message)

    def read(self, size: int) -> None:  # noqa: ARG002 - as `Progress` has it
        """Give up where the watch was stopped."""
        self._heed()

    def done(self, outcome: Outcome) -> None:
        """Take note of what became of a file, and tell of it unless that was told before."""
        known = self._found[outcome.location]
        if outcome.why != known.why:
            self._report.add(outcome)
            if outcome.status is FileStatus.REFUSED:
                logger.warning("%s was not imported: %s", escaped(outcome.location), outcome.why)
        pause = (
            min(max(2 * known.pause, RETRY_SECONDS), MAX_RETRY_SECONDS) if outcome.may_pass else inf
        )
        due = self._watch.runtime.monotonic() + pause
        self._found[outcome.location] = replace(known, due=due, pause=pause, why=outcome.why)
        self._heed()

    def tell(self, trouble: str, *, is_ours: bool = False) -> None:
        """Tell of what keeps the look from its end, once for as long as it lasts."""
        self._trouble.add(trouble)
        if trouble not in self._watch.trouble:
            logger.warning("%s: %s", escaped(self._root), trouble, exc_info=is_ours)

    def end(self) -> None:
        """Have what was found remembered, and tell of it."""
        watch, counts, is_whole = self._watch, self._report.counts, not self._trouble
        name = escaped(self._root)
        # what was not seen may be there all the same
        watch.known = self._found if is_whole else watch.known | self._found
        if watch.trouble and is_whole:
            logger.info("%s: what was wrong is not wrong any more", name)
        is_news = any(
            counts[status] for status in (FileStatus.NEW, FileStatus.DELETED, FileStatus.REFUSED)
        )
        if is_news or (watch.is_new and is_whole):
            logger.info("%s: %s", name, self._report.summary())
        watch.is_new, watch.trouble = False, self._trouble

    def _heed(self) -> None:
        if self._watch.stopped.is_set():
            raise _Stopped

    def _is_due(self, found: TreeEntry | Skipped) -> bool:
        watch = self._watch
        if isinstance(found, Skipped) and not found.is_error:
            return False
        location, version = _identified(self._root, found)
        before = watch.known.get(location)
        if before is not None and before.version == version:
            self._found[location] = before
            return before.due <= self._began
        self._found[location] = _Known(version)
        if watch.appears_whole or isinstance(found, Skipped):
            return True
        # a clock that is wrong, here or there, keeps no file out for ever
        is_quiet = abs(watch.runtime.seconds() - found.changed_at) >= SETTLE_SECONDS
        return watch.is_new and is_quiet


def _identified(root: str, found: TreeEntry | Skipped) -> tuple[str, str]:
    if isinstance(found, Skipped):
        return found.location, found.why
    return f"{root}/{found.path}", found.version
