"""A limit on how many lines a minute are logged about one thing."""

from collections.abc import Callable
from threading import Lock
from typing import Final

WINDOW_SECONDS: Final = 60.0


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
                self._ends_at, self._written = now + WINDOW_SECONDS, 0
            elif self._written >= self._lines:
                self._left_out += 1
                return None
            self._written += 1
            left_out, self._left_out = self._left_out, 0
            return left_out
