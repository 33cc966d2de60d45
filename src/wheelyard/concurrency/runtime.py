"""Injected clocks and randomness, and the pauses between retries (exponential backoff)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from random import Random


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """The clocks, pause function and random number generator of an index; tests replace them."""

    now: Callable[[], datetime]
    """Returns the time of day, UTC, to the microsecond."""
    monotonic: Callable[[], float]
    """Returns a monotonic time in seconds, which only has a meaning as a difference."""
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

    The limit begins at `first` and doubles up to `longest`; a pause is at least `at_least` times
    the limit. Randomness (jitter) keeps callers that have failed together from retrying together.
    """
    limit = first
    while True:
        yield random.uniform(at_least * limit, limit)
        limit = min(2 * limit, longest)
