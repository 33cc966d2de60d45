"""The clocks and the randomness that are handed in; pauses between retries (backoff)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from random import Random


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """The clocks and the source of randomness of an index."""

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
