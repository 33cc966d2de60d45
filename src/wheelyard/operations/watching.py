"""
A folder or a bucket that is looked at again and again: what appears there is imported.

Whatever goes wrong is told once, and nothing ends a watch but `stop`: a place that cannot be looked
at, or a store that does not answer, is tried again at the next look. A file that was refused is
tried again when somebody has touched it; one that was refused for another reason than itself, a
while later. What is taken away there stays here.

An idle look asks the store nothing, so what was dealt with is remembered: for each file, a mark
that changes when it does.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from threading import Event
from typing import Final

from wheelyard.errors import IndexFault
from wheelyard.model.access import Caller
from wheelyard.model.ambient import Ambient
from wheelyard.model.text import escaped
from wheelyard.operations.importing.report import Fate, Outcome, Report
from wheelyard.operations.importing.run import Importer
from wheelyard.sources.candidate import Candidate, PassedOver
from wheelyard.sources.sights import Mark, Sight, View

QUIET: Final = 1.0
"""Seconds that nobody may have touched a file in a folder: it may be half there."""
REST: Final = 20
"""How much longer than an idle look the pause after it is at least: it takes 5% of one core."""
AGAIN: Final = 60.0
AGAIN_AT_MOST: Final = 3600.0
"""Seconds until a file is tried again that may have been refused for another reason than itself."""

logger = logging.getLogger("wheelyard")


class _Stopped(Exception):
    """Nobody waits for this import any more."""


@dataclass(frozen=True, slots=True)
class _Postponed:
    """A file that is tried again though nobody touches it."""

    mark: Mark
    why: str
    pause: float
    due: float
    """On the monotonic clock."""


@dataclass(slots=True)
class _Memory:
    """What earlier looks have found."""

    dealt_with: dict[str, Mark] = field(default_factory=dict)
    settling: dict[str, Mark] = field(default_factory=dict)
    """Files that may be half there."""
    postponed: dict[str, _Postponed] = field(default_factory=dict)
    trouble: set[str] = field(default_factory=set)
    is_new: bool = True
    """Whether there was no look yet that has seen everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """
    Imports what appears somewhere.

    Args:
        view: Where.
        importer: What imports.
        caller: Who does, as the journal has it.
        ambient: The clocks.
        lenient: Whether files are taken that fail only today's stricter rules.
        every: Seconds from one look to the next; None leaves it to the view.
    """

    view: View
    importer: Importer
    caller: Caller
    ambient: Ambient
    lenient: bool = False
    every: float | None = None
    _memory: _Memory = field(default_factory=_Memory)
    _stopped: Event = field(default_factory=Event)

    def run(self, delay: float = 0.0) -> None:
        """
        Look until it is stopped.

        Args:
            delay: Seconds before the first look.
        """
        every = self.view.every if self.every is None else self.every
        self._stopped.wait(delay)
        while not self._stopped.is_set():
            began = self.ambient.monotonic()
            is_idle = self.look().is_idle
            took = self.ambient.monotonic() - began
            self._stopped.wait(max(every, REST * took if is_idle else 0.0))

    def stop(self) -> None:
        """Begin nothing more; what is under way is given up, and what was accepted stays."""
        self._stopped.set()

    def pass_by(self) -> None:
        """
        Take what is there now for dealt with.

        Raises:
            Unavailable: The place does not answer.
        """
        for sight in self.view.sights(lambda _: None):
            self._memory.dealt_with[sight.place] = sight.mark
        self._memory.is_new = False

    def look(self) -> "Seen":
        """Import what is new since the last look."""
        look = _Look(self.view, self._memory, self.ambient, self._stopped)
        try:
            offers = look.offers()
            first = next(offers, None)
            if first is not None:
                source = _Offered(chain([first], offers))
                self.importer.run(source, self.caller, lenient=self.lenient, progress=look)
        except _Stopped:
            pass
        except IndexFault as fault:
            look.trouble(fault.message)
        except Exception:  # noqa: BLE001 - a mistake, ours or a library's: it must not end the watch
            look.trouble("It cannot be looked at.", is_ours=True)
        return look.end()


@dataclass(frozen=True, slots=True)
class Seen:
    """
    What came of a look.

    Args:
        is_idle: Whether there was nothing to do.
        report: What became of what was new.
    """

    is_idle: bool
    report: Report


@dataclass(frozen=True, slots=True)
class _Offered:
    """What a look has found to be new, as a source."""

    all: Iterator[Candidate | PassedOver]

    def offers(self) -> Iterator[Candidate | PassedOver]:
        """Yield it."""
        return self.all


class _Look:
    """
    One look at a place, and the import that comes of it, which it watches.

    Args:
        view: The place.
        memory: What earlier looks have found.
        ambient: The clocks.
        stopped: Set when nobody waits for this any more.
    """

    def __init__(self, view: View, memory: _Memory, ambient: Ambient, stopped: Event) -> None:
        self._view = view
        self._memory = memory
        self._ambient = ambient
        self._stopped = stopped
        self._found = _Memory(is_new=False)
        self._under_way = dict[str, Mark]()
        self._is_over = False
        self._has_offered = False
        self._report = Report()

    def offers(self) -> Iterator[Candidate | PassedOver]:
        """Yield what is new, and whole."""
        memory, found = self._memory, self._found
        for sight in self._view.sights(self.trouble):
            self._heed()
            tried = memory.postponed.get(sight.place)
            if tried is not None and tried.mark != sight.mark:
                tried = None
            if memory.dealt_with.get(sight.place) == sight.mark:
                found.dealt_with[sight.place] = sight.mark
            elif tried is not None and self._ambient.monotonic() < tried.due:
                found.postponed[sight.place] = tried
            elif tried is None and not self._is_whole(sight):
                found.settling[sight.place] = sight.mark
            else:
                self._under_way[sight.place] = sight.mark
                self._has_offered = True
                yield sight.offer()
        self._is_over = True

    def read(self, size: int) -> None:
        """Take note that bytes were read."""
        del size
        self._heed()

    def done(self, outcome: Outcome) -> None:
        """Take note of what became of a file, and tell of it unless that was told before."""
        place = outcome.place
        mark, before = self._under_way.pop(place, ()), self._memory.postponed.get(place)
        if outcome.may_pass:
            pause = AGAIN if before is None else min(2 * before.pause, AGAIN_AT_MOST)
            due = self._ambient.monotonic() + pause
            self._found.postponed[place] = _Postponed(mark, outcome.why, pause, due)
        else:
            self._found.dealt_with[place] = mark
        if before is None or (before.mark, before.why) != (mark, outcome.why):
            self._report.add(outcome)
            if outcome.fate is Fate.REFUSED:
                logger.warning("%s was not imported: %s", escaped(place), outcome.why)
        self._heed()

    def trouble(self, what: str, *, is_ours: bool = False) -> None:
        """Tell of what keeps the look from seeing everything, once for as long as it lasts."""
        self._found.trouble.add(what)
        if what not in self._memory.trouble:
            logger.warning("%s: %s", _name(self._view), what, exc_info=is_ours)

    def end(self) -> Seen:
        """Remember what was found, and tell of it."""
        memory, found, report = self._memory, self._found, self._report
        is_first = memory.is_new and self._is_over
        found.settling |= self._under_way  # whose fate is open, because the store was away
        if self._is_over and not found.trouble:
            memory.dealt_with, memory.settling = found.dealt_with, found.settling
            memory.postponed = found.postponed
        else:  # what was not seen may be there all the same
            memory.dealt_with |= found.dealt_with
            memory.settling |= found.settling
            memory.postponed |= found.postponed
        if memory.trouble and not found.trouble and self._is_over:
            logger.info("%s: what was wrong is not wrong any more", _name(self._view))
        memory.trouble, memory.is_new = found.trouble, memory.is_new and not is_first
        is_news = any(report.fates[fate] for fate in (Fate.NEW, Fate.DELETED, Fate.REFUSED))
        if is_news or (is_first and not found.trouble):
            logger.info("%s: %s", _name(self._view), report.summary())
        return Seen(not self._has_offered and not found.trouble, report)

    def _heed(self) -> None:
        if self._stopped.is_set():
            raise _Stopped

    def _is_whole(self, sight: Sight) -> bool:
        """Return whether nobody is still writing a file, as far as one can tell."""
        if sight.touched_at is None:
            return True
        # a clock that is wrong, here or there, keeps no file out for ever
        if abs(self._ambient.now().timestamp() - sight.touched_at) < QUIET:
            return False
        return self._memory.is_new or self._memory.settling.get(sight.place) == sight.mark


def _name(view: View) -> str:
    return escaped(str(view))
