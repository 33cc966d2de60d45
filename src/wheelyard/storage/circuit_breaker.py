"""
A circuit breaker: while a service does not answer, calls fail at once, without a request.

Otherwise each of them would wait for it, and all threads of a server with them.
"""

from collections.abc import Callable
from threading import Lock
from typing import Final

from msgspec import Struct, field

COOL_DOWN_SECONDS: Final = 2.0
"""Seconds for which no request is sent to a bucket after a call had no answer."""
PROBE_SECONDS: Final = 15.0
"""Seconds that the first call after the cool-down has for an answer; other calls fail meanwhile."""


class CircuitOpen(ConnectionError):
    """The circuit is open: an earlier call had no answer, so no request was sent."""


class CircuitBreaker(Struct):
    """The state of one bucket's circuit, shared by all threads that call the bucket."""

    monotonic: Callable[[], float]
    _open_until: float = 0.0
    _lock: Lock = field(default_factory=Lock)

    @property
    def is_open(self) -> bool:
        """Whether a call has failed, and no call has been answered since."""
        return bool(self._open_until)

    def acquire(self, *, is_probe: bool = False) -> bool:
        """
        Return whether this call is the probe: the first call after the cool-down.

        A call that `is_probe` already stays the probe. Any other call raises CircuitOpen while the
        circuit is open.
        """
        if is_probe or not self._open_until:
            return is_probe
        with self._lock:
            now = self.monotonic()
            if now < self._open_until:
                raise CircuitOpen
            if self._open_until:
                self._open_until = now + PROBE_SECONDS
                return True
        return False

    def record_success(self) -> None:
        """Close the circuit: the bucket has answered a call."""
        self._open_until = 0.0

    def record_failure(self) -> None:
        """Open the circuit for the cool-down: a call has given up on the bucket."""
        with self._lock:
            self._open_until = self.monotonic() + COOL_DOWN_SECONDS
