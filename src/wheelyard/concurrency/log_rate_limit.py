"""Rate limit of log messages."""

from collections.abc import Callable
from threading import Lock


class LogRateLimit:
    """Allows `count` log messages a minute, and counts the suppressed ones; thread-safe."""

    def __init__(self, count: int, monotonic: Callable[[], float]) -> None:
        self._count = count
        self._monotonic = monotonic
        self._minute_ends_at = monotonic()
        self._logged = 0
        self._suppressed = 0
        self._lock = Lock()

    def acquire(self) -> int | None:
        """Return the number of suppressed messages before this one; None to suppress this one."""
        now = self._monotonic()
        with self._lock:
            if now >= self._minute_ends_at:
                self._minute_ends_at, self._logged = now + 60.0, 0
            elif self._logged >= self._count:
                self._suppressed += 1
                return None
            self._logged += 1
            suppressed, self._suppressed = self._suppressed, 0
            return suppressed
