"""Clocks and chance; how long to wait before another try, and how often the log may say a thing."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from random import Random
from threading import Lock
from typing import Final

MINUTE: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """The clocks and the dice that everything below the index uses."""

    now: Callable[[], datetime]
    """The time of day, UTC, to the microsecond."""
    monotonic: Callable[[], float]
    """Seconds that never jump; only differences mean something."""
    pause: Callable[[float], None]
    """Waits for so many seconds."""
    random: Random
    """Unpredictable in the product, seeded in tests."""

    def seconds(self) -> float:
        """Return the time of day in seconds since the epoch."""
        return self.now().timestamp()

    def new_id(self) -> str:
        """Return 16 random hexadecimal digits."""
        return f"{self.random.getrandbits(64):016x}"


def backoff_pauses(
    random: Random, first: float, longest: float, at_least: float = 0.0
) -> Iterator[float]:
    """
    Yield seconds to wait, without end: at random, from a part of a limit that doubles up to it.

    Callers that failed together draw different pauses, so they do not all come back together.
    """
    limit = first
    while True:
        yield random.uniform(at_least * limit, limit)
        limit = min(2 * limit, longest)


class LogRateLimit:
    """So many log lines a minute, and a count of those left out; safe to share between threads."""

    def __init__(self, lines: int, monotonic: Callable[[], float]) -> None:
        self._lines = lines
        self._monotonic = monotonic
        self._ends_at = monotonic()
        self._written = 0
        self._left_out = 0
        self._lock = Lock()

    def take(self) -> int | None:
        """Return how many lines were left out before this one, None if it is left out too."""
        now = self._monotonic()
        with self._lock:
            if now >= self._ends_at:
                self._ends_at, self._written = now + MINUTE, 0
            elif self._written >= self._lines:
                self._left_out += 1
                return None
            self._written += 1
            left_out, self._left_out = self._left_out, 0
            return left_out
