"""
Retries of calls to a bucket: how long, after which errors, and with what pauses.

Google's library would retry for two minutes, ignore `Retry-After`, and not tell whether an earlier
try may have succeeded. Here the time is bounded, and every pause is jittered.

While a bucket does not answer, calls fail at once (a circuit breaker). A call opens the circuit if
its retries end without an answer, or with a server error.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, TypeVar

from google.cloud.storage.exceptions import DataCorruption
from msgspec import Struct

from wheelyard.concurrency.runtime import Runtime, backoff_pauses
from wheelyard.storage.circuit_breaker import CircuitBreaker
from wheelyard.storage.gcs.error_mapping import (
    CONNECTION_ERRORS,
    GOOGLE_ERRORS,
    TOO_MANY_REQUESTS,
    retry_after,
    status_of,
)

T = TypeVar("T")

TRANSIENT_STATUSES: Final = frozenset({408, 429, 500, 502, 503, 504})
"""HTTP statuses after which a call is retried."""
OUTAGE_STATUSES: Final = frozenset({500, 502, 503, 504})
"""HTTP statuses that open the circuit if they last until the retries end."""
FIRST_PAUSE_SECONDS: Final = 0.2
"""Upper limit of the first random pause between two tries; the limit doubles each time."""
MAX_PAUSE_SECONDS: Final = 4.0
READ_RETRY_SECONDS: Final = 8.0
"""Seconds after which a read is not retried: an installer waits for 15."""
WRITE_RETRY_SECONDS: Final = 20.0
"""Seconds after which a write, or a chunk of a large upload, is not retried."""
PROBE_RETRY_SECONDS: Final = 2.0
"""Seconds after which the probe of an open circuit is not retried, as other calls may wait."""


class RetryEnvironment:
    """The clock, random source and circuit breaker that all retries of one bucket share."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.breaker = CircuitBreaker(runtime.monotonic)

    def backoff_pauses(self) -> Iterator[float]:
        """Yield the seconds to wait before each further try: random, up to a growing limit."""
        return backoff_pauses(self.runtime.random, FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS)

    def attempts(self, limit: int) -> Iterator[int]:
        """Yield the numbers from 0 to `limit - 1`; pause before each but the first."""
        pauses = self.backoff_pauses()
        for attempt in range(limit):
            if attempt:
                self.runtime.pause(next(pauses))
            yield attempt


class RetryPolicy(Struct, kw_only=True):
    """The retries of one call of a store; what Google's library takes as `retry=`, too."""

    env: RetryEnvironment
    retry_seconds: float
    """Seconds after which no further try begins."""
    retries_rate_limit: bool = True
    """Whether a call is retried after status 429."""
    ignores_circuit: bool = False
    """Whether the call is made even if the circuit is open."""
    may_have_succeeded: bool = False
    """Whether the bucket may have executed a try that failed here."""

    def __call__(self, call: Callable[[], T]) -> Callable[[], T]:
        """Return a function without parameters that runs `call` with these retries."""
        return partial(self.run, call)

    def run(self, call: Callable[[], T]) -> T:
        """
        Return the result of `call`, retried after transient errors; raise its last error.

        Raises CircuitOpen, without the call, while the circuit is open.
        """
        started_at, breaker = self.env.runtime.monotonic(), self.env.breaker
        pauses, is_probe = self.env.backoff_pauses(), False
        while True:
            is_probe = breaker.acquire(is_probe=is_probe or self.ignores_circuit)
            end = started_at + (PROBE_RETRY_SECONDS if is_probe else self.retry_seconds)
            try:
                result = call()
            except GOOGLE_ERRORS as error:
                self._pause_or_raise(error, end, pauses)
            else:
                breaker.record_success()
                return result

    def _pause_or_raise(self, error: Exception, end: float, pauses: Iterator[float]) -> None:
        status, has_no_answer = status_of(error), isinstance(error, CONNECTION_ERRORS)
        is_outage = has_no_answer or status in OUTAGE_STATUSES
        if not is_outage and status:
            self.env.breaker.record_success()
        if not (has_no_answer or status in TRANSIENT_STATUSES or isinstance(error, DataCorruption)):
            raise error
        if status != TOO_MANY_REQUESTS:
            self.may_have_succeeded = True
        elif not self.retries_rate_limit:
            self.env.runtime.pause(min(retry_after(error), MAX_PAUSE_SECONDS))
            raise error
        pause = next(pauses) + retry_after(error)
        if self.env.runtime.monotonic() + pause >= end:
            if is_outage:
                self.env.breaker.record_failure()
            raise error
        self.env.runtime.pause(pause)
