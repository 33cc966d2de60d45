"""Injected clocks and randomness, retries, and limits on repeated log messages."""

from collections.abc import Callable, Iterator
from datetime import datetime
from random import Random
from threading import Lock

from msgspec import Struct

from wheelyard.errors import OVERLOADED, RETRY_AFTER_SECONDS, Unavailable

Clock = Callable[[], float]
"""A clock in seconds. The name of a parameter or field says whether it is monotonic."""


class Runtime(Struct, frozen=True, kw_only=True):
    """The clocks, pause function and random number generator of an index, which tests replace."""

    now: Callable[[], datetime]
    """Returns the time of day, UTC, to the microsecond."""
    monotonic: Clock
    """Returns a monotonic time in seconds, which only has a meaning as a difference."""
    thread_time: Clock
    """Returns the processor time of the calling thread in seconds, also only for differences."""
    pause: Callable[[float], None]
    """Sleeps for so many seconds."""
    random: Random
    """The random number generator: secure in production, seeded in tests."""

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
    Yield the seconds to wait before each retry, without end: random, up to a growing limit.

    The limit begins at `first` and doubles up to `longest`. A pause is at least `at_least` times
    the limit. Randomness (jitter) keeps callers that have failed together from retrying together.
    """
    limit = first
    while True:
        yield random.uniform(at_least * limit, limit)
        limit = min(2 * limit, longest)


class ConflictRetries(Struct, frozen=True, kw_only=True):
    """Attempts at a compare-and-swap: their limits, and the growing random pauses between them."""

    runtime: Runtime
    max_attempts: int = 200
    timeout: float = 45.0
    """Seconds after which no attempt begins. In practice they are over before `max_attempts`."""
    first_pause: float = 0.01
    """The upper limit of the first pause, in seconds. Each further pause has twice that limit."""
    max_pause: float = 2.0
    """The upper limit of every pause, in seconds."""

    def attempts(self) -> Iterator[int]:
        """
        Yield 0, 1, 2 and so on up to a limit, with a pause before each number but the first.

        After the last number, the caller raises what `exhausted` returns.
        """
        pauses = backoff_pauses(self.runtime.random, self.first_pause, self.max_pause)
        deadline = self.runtime.monotonic() + self.timeout
        for attempt in range(self.max_attempts):
            if attempt:
                if self.runtime.monotonic() >= deadline:
                    return
                self.runtime.pause(next(pauses))
            yield attempt

    def exhausted(self, changed_object: str) -> Unavailable:
        """Return the Unavailable (code `overloaded`) after the last conflict over an object."""
        return Unavailable(
            f"Too many writers are changing {changed_object} at once.",
            code=OVERLOADED,
            retry_after=RETRY_AFTER_SECONDS,
        )


def remote_conflict_retries(runtime: Runtime) -> ConflictRetries:
    """Return the retries for a bucket, which accepts about one write a second for one object."""
    return ConflictRetries(runtime=runtime, first_pause=0.5, max_pause=1.5)


class LogRateLimit:
    """Allows `per_minute` log messages a minute in all threads, and counts the suppressed ones."""

    def __init__(self, per_minute: int, monotonic: Clock) -> None:
        self._per_minute = per_minute
        self._monotonic = monotonic
        self._minute_ends_at = monotonic()
        self._logged = 0
        self._suppressed = 0
        self._lock = Lock()

    def acquire(self) -> int | None:
        """
        Return how many messages were suppressed since the last one that was logged.

        Return None if the caller's message has to be suppressed, too, and count it.
        """
        now = self._monotonic()
        with self._lock:
            if now >= self._minute_ends_at:
                self._minute_ends_at = now + 60.0
                self._logged = 0
            elif self._logged >= self._per_minute:
                self._suppressed += 1
                return None
            self._logged += 1
            suppressed = self._suppressed
            self._suppressed = 0
            return suppressed
