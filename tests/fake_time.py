"""The time of a test: a clock that it moves, whose pauses take no time, and timers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from threading import Lock

from msgspec.structs import replace

from wheelyard.concurrency.runtime import Runtime
from wheelyard.wiring.stores import system_runtime

START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class PlannedTimer:
    """Work that begins after some seconds, unless it is cancelled."""

    seconds: float
    work: Callable[[], None]
    is_cancelled: bool = False

    def cancel(self) -> None:
        """Do not do the work."""
        self.is_cancelled = True


@dataclass
class Clock:
    """A clock that stands still until a test moves it, or somebody pauses."""

    now: datetime = START
    tick: float = 0.0
    """The seconds by which each look at the clock moves it."""
    is_frozen: bool = False
    """
    Whether pauses do not move the clock either, so that no timeout expires.

    Threads that share a clock add up their pauses, which run side by side in a real time: the
    slowest of them would find its patience used up by the others.
    """
    random: Random = field(default_factory=lambda: Random(7))
    """Says how long random pauses are."""
    pauses: list[float] = field(default_factory=list)
    """All pauses so far, in seconds."""
    during_pause: Callable[[], object] | None = None
    """A function that the next pause calls once."""
    _lock: Lock = field(default_factory=Lock, repr=False)

    def seconds(self) -> float:
        """Return the seconds since the epoch."""
        if self.tick:
            self.advance(seconds=self.tick)
        return self.now.timestamp()

    @property
    def elapsed(self) -> float:
        """The seconds since `START`."""
        return (self.now - START).total_seconds()

    def advance(self, **by: float) -> None:
        """Move the clock forward by a `timedelta` of these arguments."""
        self.now += timedelta(**by)

    def pause(self, seconds: float) -> None:
        """Let time pass, at once."""
        with self._lock:
            self.pauses.append(seconds)
            if not self.is_frozen:
                self.advance(seconds=seconds)
            function = self.during_pause
            self.during_pause = None
        if function is not None:
            function()

    def runtime(self) -> Runtime:
        """Return a runtime with this time."""
        return Runtime(
            now=lambda: self.now,
            monotonic=self.seconds,
            thread_time=self.seconds,
            pause=self.pause,
            random=self.random,
        )


@dataclass
class Timers:
    """The timers that a process has started, which run when a test says so."""

    clock: Clock
    planned: list[PlannedTimer] = field(default_factory=list)

    def start(self, seconds: float, work: Callable[[], None]) -> PlannedTimer:
        """Plan work for later."""
        timer = PlannedTimer(seconds, work)
        self.planned.append(timer)
        return timer

    def take(self) -> list[PlannedTimer]:
        """Return what is planned, and forget it."""
        planned = list(self.planned)
        self.planned.clear()
        return planned

    def run(self) -> list[float]:
        """Do all planned work, each at its time; return after how many seconds each was due."""
        due = list[float]()
        while self.planned:
            timer = self.planned.pop(0)
            if not timer.is_cancelled:
                self.clock.advance(seconds=timer.seconds)
                due.append(timer.seconds)
                timer.work()
        return due


class RunningClock(Clock):
    """A clock that runs as time does, from which a test goes forward or back."""

    def seconds(self) -> float:
        """Return the seconds since the epoch, and those by which it was moved."""
        return system_runtime().now().timestamp() + self.elapsed


def fake_runtime(clock: Clock, seed: int) -> Runtime:
    """Return the runtime of a clock, with a seeded random generator, and pauses of no length."""
    return replace(clock.runtime(), pause=lambda _: None, random=Random(seed))
