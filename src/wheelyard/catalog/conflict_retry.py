"""Retries of a compare-and-swap after a conflict: how often, and after what pauses."""

from collections.abc import Iterator
from dataclasses import dataclass

from wheelyard.concurrency.runtime import Runtime, backoff_pauses
from wheelyard.errors import OVERLOADED, Unavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class ConflictRetries:
    """Attempts at a compare-and-swap: their limits, and the growing random pauses between them."""

    runtime: Runtime
    max_attempts: int = 200
    timeout: float = 45.0
    """Seconds after which no attempt begins; in practice this limit is reached first."""
    first_pause: float = 0.01
    """Seconds; doubled each time."""
    max_pause: float = 2.0
    """Seconds."""

    def attempts(self) -> Iterator[int]:
        """Yield 0, 1, 2 and so on up to a limit; pause before each number but the first."""
        waits = backoff_pauses(self.runtime.random, self.first_pause, self.max_pause)
        end = self.runtime.monotonic() + self.timeout
        for attempt in range(self.max_attempts):
            if attempt:
                if self.runtime.monotonic() >= end:
                    return
                self.runtime.pause(next(waits))
            yield attempt

    def exhausted(self, what: str) -> Unavailable:
        """Return the Unavailable (code `overloaded`) after the last conflict over `what`."""
        return Unavailable(
            f"Too many writers are changing {what} at once. Try again in a moment.",
            code=OVERLOADED,
            short="Too many writers at once.",
        )


def remote_conflict_retries(runtime: Runtime) -> ConflictRetries:
    """Return the retries for a bucket, which accepts about one write a second for one object."""
    return ConflictRetries(runtime=runtime, first_pause=0.5, max_pause=1.5)
