"""Lost races: how often, and after what pause, a compare-and-swap is tried again."""

from collections.abc import Iterator
from dataclasses import dataclass

from wheelyard.concurrency.runtime import Runtime, backoff_pauses
from wheelyard.errors import OVERLOADED, Unavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class ConflictRetries:
    """A number of attempts with growing, jittered pauses between them."""

    runtime: Runtime
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
        waits = backoff_pauses(self.runtime.random, self.first_pause, self.longest_pause)
        end = self.runtime.monotonic() + self.patience
        for attempt in range(self.limit):
            if attempt:
                if self.runtime.monotonic() >= end:
                    return
                self.runtime.pause(next(waits))
            yield attempt

    def exhausted(self, what: str) -> Unavailable:
        """Return the fault that says that every attempt was lost."""
        return Unavailable(
            f"Too many writers are changing {what} at once. Try again in a moment.",
            code=OVERLOADED,
            short="Too many writers at once.",
        )


def remote_conflict_retries(runtime: Runtime) -> ConflictRetries:
    """
    Return how lost races are retried on a bucket.

    It takes about one write a second for one object, so there is no use in coming back sooner.
    """
    return ConflictRetries(runtime=runtime, first_pause=0.5, longest_pause=1.5)
