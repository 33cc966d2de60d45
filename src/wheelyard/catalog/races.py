"""Lost races: how often, and after what pause, a compare-and-swap is tried again."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from wheelyard.concurrency.pacing import Ambient, pauses
from wheelyard.errors import Unavailable

OVERLOADED: Final = "overloaded"
"""The code of a fault that says that there were too many writers, and nothing else in the way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """A number of attempts with growing, jittered pauses between them."""

    ambient: Ambient
    limit: int = 200
    patience: float = 45.0
    """
    Seconds after which no further attempt is begun. It is what counts: how many attempts are lost
    meanwhile depends on how slow the machine is, and on how many others write.
    """
    first_pause: float = 0.01
    """Seconds; doubled each time."""
    longest_pause: float = 2.0
    """Seconds."""

    def attempts(self) -> Iterator[int]:
        """Yield 0, 1, 2 and so on, pausing before each but the first."""
        waits = pauses(self.ambient.random, self.first_pause, self.longest_pause)
        end = self.ambient.monotonic() + self.patience
        for attempt in range(self.limit):
            if attempt:
                if self.ambient.monotonic() >= end:
                    return
                self.ambient.pause(next(waits))
            yield attempt

    def exhausted(self, what: str) -> Unavailable:
        """Return the fault that says that every attempt was lost."""
        return Unavailable(
            f"Too many writers are changing {what} at once. Try again in a moment.",
            code=OVERLOADED,
            short="Too many writers at once.",
        )


def far_retries(ambient: Ambient) -> Retries:
    """
    Return how lost races are retried on a bucket.

    It takes about one write a second for one object, so there is no use in coming back sooner.
    """
    return Retries(ambient=ambient, first_pause=0.5, longest_pause=1.5)
