"""The stand-in's own time: the real one, until a test moves it."""

import time
from threading import Lock


class Clock:
    """Seconds since the epoch, which a test may move."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def now(self) -> float:
        """Return the time in seconds."""
        return time.time() + self._ahead  # noqa: TID251 - the other processes' time, to begin with

    def advance(self, seconds: float) -> None:
        """Let time pass, or go back if negative."""
        self._ahead += seconds


class Generations:
    """Numbers that rise and never repeat: microseconds, as the service's look."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = Lock()
        self._last = 0

    def take(self) -> int:
        """Return the next number."""
        with self._lock:
            self._last = max(self._last + 1, int(self._clock.now() * 1_000_000))
            return self._last
