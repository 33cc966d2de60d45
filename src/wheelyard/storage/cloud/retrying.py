"""
How often, and how long, one call to the bucket is tried again.

Google's library would try for two minutes, ignore `Retry-After`, and not say whether an earlier try
may have been carried out. Here a call has a bounded time, every pause is jittered, and what is
ambiguous is remembered. A bucket that has not answered somebody for that long is left alone for a
moment, so that not everybody waits for it in turn.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from random import Random
from threading import Lock
from typing import Final, TypeVar

from google.cloud.storage.exceptions import DataCorruption

from wheelyard.storage.cloud.faults import GOOGLE_FAULTS, SILENCE, retry_after, status_of

T = TypeVar("T")

TOO_MANY_REQUESTS: Final = 429
PASSING: Final = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses that may be another one a moment later."""

AWAY: Final = frozenset({500, 502, 503, 504})
"""Statuses that say, when they last, that nobody is at home."""

FIRST_PAUSE: Final = 0.2
LONGEST_PAUSE: Final = 4.0
"""Seconds between two tries, at most; drawn at random up to a limit that doubles each time."""
READ_PATIENCE: Final = 8.0
"""Seconds after which a read is not begun again: an installer waits for 15."""
WRITE_PATIENCE: Final = 20.0
"""Seconds after which a write, or a piece of a large one, is not begun again."""
REST: Final = 2.0
"""Seconds that a bucket which did not answer is left alone."""
PROBE: Final = 15.0
"""Seconds that the one who asks next has to find out."""
PROBE_PATIENCE: Final = 2.0
"""Seconds after which that one does not try again: others may be waiting for the same thing."""


class SilentBucket(ConnectionError):
    """The bucket has not answered others just now, so it was not asked."""


@dataclass(slots=True)
class Breaker:
    """Knows whether the bucket has answered lately."""

    monotonic: Callable[[], float]
    _silent_until: float = 0.0
    _lock: Lock = field(default_factory=Lock)

    @property
    def is_silent(self) -> bool:
        """Whether the bucket has left somebody without an answer, and has answered nobody since."""
        return bool(self._silent_until)

    def check(self, *, is_probe: bool = False) -> bool:
        """
        Return if the bucket may be asked, and whether by one who asks for all after its rest.

        Args:
            is_probe: Whether this caller is the one already, and tries again.

        Raises:
            SilentBucket: It is being left alone.
        """
        if is_probe or not self._silent_until:
            return is_probe
        with self._lock:
            now = self.monotonic()
            if now < self._silent_until:
                raise SilentBucket
            if self._silent_until:
                self._silent_until = now + PROBE
                return True
        return False

    def heard(self) -> None:
        """Say that the bucket has answered."""
        self._silent_until = 0.0

    def silence(self) -> None:
        """Say that it has not, for as long as somebody was ready to wait."""
        with self._lock:
            self._silent_until = self.monotonic() + REST


@dataclass(frozen=True, slots=True)
class Pacing:
    """What every retry of a store shares."""

    monotonic: Callable[[], float]
    pause: Callable[[float], None]
    random: Random
    breaker: Breaker

    def attempts(self, most: int) -> Iterator[int]:
        """Yield 0, 1, 2 and so on, with a growing, jittered pause before each but the first."""
        limit = FIRST_PAUSE
        for attempt in range(most):
            if attempt:
                self.pause(self.random.uniform(0, limit))
                limit = min(2 * limit, LONGEST_PAUSE)
            yield attempt


@dataclass(slots=True, kw_only=True)
class Retrying:
    """
    The tries of one verb.

    It has the shape of the library's own retry objects: called with a function, it returns one that
    tries again.

    Args:
        pacing: Clock, pauses, chance.
        patience: Seconds after which nothing is tried again; a piece of a large body begins anew.
        waits_for_turn: Whether 429 ("too often for this object") is waited out; if not, the pause
            that it asks for is made, and it is raised.
    """

    pacing: Pacing
    patience: float
    waits_for_turn: bool = True
    asks_anyway: bool = False
    """Whether a bucket that is being left alone is asked all the same."""
    may_have_landed: bool = False
    """Whether a try that failed may nevertheless have been carried out."""

    def __call__(self, call: Callable[[], T]) -> Callable[[], T]:
        """Return `call`, tried again where that may help."""
        return partial(self.run, call)

    def run(self, call: Callable[[], T]) -> T:
        """
        Return what `call` returns, at last.

        Raises:
            Exception: What the last try raised.
        """
        begun = self.pacing.monotonic()
        limit, is_probe = FIRST_PAUSE, False
        while True:
            is_probe = self.pacing.breaker.check(is_probe=is_probe or self.asks_anyway)
            end = begun + (PROBE_PATIENCE if is_probe else self.patience)
            try:
                result = call()
            except GOOGLE_FAULTS as error:
                self._wait_or_raise(error, end, limit)
                limit = min(2 * limit, LONGEST_PAUSE)
            else:
                self.pacing.breaker.heard()
                return result

    def _wait_or_raise(self, error: Exception, end: float, limit: float) -> None:
        status, is_silence = status_of(error), isinstance(error, SILENCE)
        is_away = is_silence or status in AWAY
        if not is_away and status:
            self.pacing.breaker.heard()
        is_passing = is_silence or status in PASSING or isinstance(error, DataCorruption)
        if is_passing and status != TOO_MANY_REQUESTS:
            self.may_have_landed = True
        if not is_passing:
            raise error
        wait = self.pacing.random.uniform(0, limit) + retry_after(error)
        if status == TOO_MANY_REQUESTS and not self.waits_for_turn:
            self.pacing.pause(min(retry_after(error), LONGEST_PAUSE))
            raise error
        if self.pacing.monotonic() + wait >= end:
            if is_away:
                self.pacing.breaker.silence()
            raise error
        self.pacing.pause(wait)
