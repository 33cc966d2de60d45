"""Whether a host is asked at all: a circuit breaker, and the pause that a host has asked for."""

from collections import deque
from collections.abc import Callable
from math import ceil
from threading import Lock
from typing import Final

from msgspec import Struct, field

from wheelyard.http_client.address_policy import FetchError

FAILURES: Final = 5
"""Requests without an answer, within `FAILURE_SECONDS`, after which no more are sent."""
FAILURE_SECONDS: Final = 30.0
OPEN_SECONDS: Final = 30.0
"""Seconds without a request; then one request tests whether the host answers again."""
MAX_PAUSE_SECONDS: Final = 300.0
"""Longest pause, in seconds, that a host can ask for by Retry-After."""


class Circuit(Struct):
    """What is known of one host's answers; safe to share between threads."""

    monotonic: Callable[[], float]
    on_change: Callable[..., None]
    """Called with `is_open`: True when no more requests are sent, False when the host answers."""
    _failures: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=FAILURES))
    """When a request failed, and the URL that alone may be to blame, or an empty text."""
    _tested_at: float = 0.0
    """When the next request may be sent while the circuit is open."""
    _paused_until: float = 0.0
    """Until when the host wants no request; the answers to earlier ones do not change that."""
    _is_open: bool = False
    _why: str = ""
    """Why the last request failed."""
    _lock: Lock = field(default_factory=Lock)

    def check(self) -> None:
        """Raise FetchError if no request may be sent now."""
        with self._lock:
            now = self.monotonic()
            pause = self._paused_until - now
            if pause > 0:
                why = f"it wants no request for {ceil(pause)} seconds"
                raise FetchError(why, is_transient=True, wait=pause, is_asked=False)
            if self._is_open and self._tested_at > now:
                seconds = ceil(self._tested_at - now)
                why = f"{self._why}, so that it is asked again in {seconds} seconds"
                raise FetchError(why, is_transient=True, is_asked=False)
            if self._is_open:  # the others wait for what becomes of this request
                self._tested_at = now + OPEN_SECONDS

    def record_answer(self) -> None:
        """Note that the host has answered: it is asked without limits again."""
        with self._lock:
            self._failures.clear()
            was_open, self._is_open = self._is_open, False
        if was_open:
            self.on_change(is_open=False)

    def record_failure(self, why: str, url: str = "") -> None:
        """
        Note that the host has not answered, or with an error of its own for `url`, and why.

        Errors for the same URL count once: one broken file does not close the whole host.
        """
        with self._lock:
            now, failures, self._why = self.monotonic(), self._failures, why
            if not (url and any(each[1] == url for each in failures)):
                failures.append((now, url))
            has_many = len(failures) == FAILURES
            is_new = has_many and now - failures[0][0] <= FAILURE_SECONDS and not self._is_open
            self._is_open |= is_new
            if self._is_open:
                self._tested_at = now + OPEN_SECONDS
        if is_new:
            self.on_change(is_open=True)

    def pause(self, seconds: float) -> None:
        """Send no request for so many seconds, as the host has asked."""
        with self._lock:
            until = self.monotonic() + min(seconds, MAX_PAUSE_SECONDS)
            self._paused_until = max(self._paused_until, until)
