"""
The clock of a store: it decides how long bytes are kept, whatever the clock of this machine says.

Several machines use a store, and the clock of any of them may be wrong. So what writes until when a
deleted file is kept, and what deletes bytes, goes by the time that the store gives to an object
which is just written. It is measured every ten minutes at most, and follows the monotonic clock in
between. It is measured again as soon as the machine's clock does not run as the monotonic one does:
one of both was set, or has stood still.
"""

from datetime import UTC, datetime, timedelta
from math import inf
from threading import Lock
from typing import Final

from msgspec import Struct, field

from wheelyard.catalog import keys
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Unavailable
from wheelyard.model.decoding import counted
from wheelyard.storage.base import Store

MEASURED_SECONDS: Final = 600.0
"""How long a measurement counts, or that there was none."""
TOLERANCE_SECONDS: Final = 60.0
"""The difference of two clocks that counts as none: times in listings may be whole seconds."""
MAX_DIFFERENCE_SECONDS: Final = 3600.0
"""The difference up to which a sweep runs."""
CLOCK_DIFFERS: Final = "clock_differs"
"""The code of an Unavailable while the machine's clock and the store's differ by more."""


class _Measurement(Struct, frozen=True):
    """The readings of the clocks at one moment, in seconds."""

    store: float
    machine: float
    monotonic: float

    @property
    def difference(self) -> float:
        """How far the machine's clock is ahead of the store's."""
        return self.machine - self.store


class StoreClock(Struct):
    """The clock of a store, as one process knows it. Threads may share it."""

    store: Store
    """That of the documents."""
    runtime: Runtime
    _last: _Measurement | None = None
    _failed_at: float | None = None
    """When the store could not be written last, on the monotonic clock."""
    _lock: Lock = field(default_factory=Lock)

    def now(self) -> datetime:
        """
        Return the time by the store's clock, in UTC.

        It is the machine's while both agree. Raises Unavailable if an object has to be written to
        know it, and cannot be.
        """
        last = self._valid()
        if last is None:
            # one thread measures, and those who have waited for it find what it has measured
            with self._lock:
                last = self._valid() or self._measure()
        return self._time_after(last)

    def estimate(self) -> datetime:
        """
        Return the time by the store's clock, or the machine's if the store cannot be written.

        It is for what only shows something. So a measurement, which writes an object, counts until
        a clock has jumped, and no page waits for the store each ten minutes.
        """
        last = self._valid(inf)
        if last is not None:
            return self._time_after(last)
        failed_at = self._failed_at
        if failed_at is None or self.runtime.monotonic() - failed_at > MEASURED_SECONDS:
            try:
                return self.now()
            except Unavailable:
                self._failed_at = self.runtime.monotonic()
        return self.runtime.now()

    def require_agreement(self) -> datetime:
        """
        Measure the store's time anew, and return it.

        Raises Unavailable if the machine's clock differs from it by more than an hour (code
        `clock_differs`), or if the store cannot be written.
        """
        with self._lock:
            last = self._measure()
        if abs(last.difference) > MAX_DIFFERENCE_SECONDS:
            raise _differs(timedelta(seconds=last.difference))
        return datetime.fromtimestamp(last.store, UTC)

    def _valid(self, longest: float = MEASURED_SECONDS) -> _Measurement | None:
        """Return the last measurement if it is that young, and neither clock has jumped since."""
        last = self._last
        if last is None:
            return None
        elapsed = self.runtime.monotonic() - last.monotonic
        drift = self.runtime.seconds() - last.machine - elapsed
        if elapsed > longest or abs(drift) > TOLERANCE_SECONDS:
            return None
        return last

    def _time_after(self, last: _Measurement) -> datetime:
        """Return the time now, which has passed since a measurement."""
        if abs(last.difference) <= TOLERANCE_SECONDS:
            return self.runtime.now()
        elapsed = self.runtime.monotonic() - last.monotonic
        return datetime.fromtimestamp(last.store + elapsed, UTC)

    def _measure(self) -> _Measurement:
        """Write an object, and return the readings of the clocks. The caller holds the lock."""
        store = self.store.time(keys.CLOCK)
        # read after the write: what is computed from them is never later than the store's time
        last = _Measurement(store, self.runtime.seconds(), self.runtime.monotonic())
        self._last = last
        self._failed_at = None
        return last


def _differs(ahead: timedelta) -> Unavailable:
    """Return the error for a machine whose clock is ahead of the store's, or behind it."""
    difference = abs(ahead)
    what = "behind"
    if ahead > timedelta():
        what = "ahead of"
    amount = counted(round(difference / timedelta(hours=1)), "hour")
    if difference.days > 1:
        amount = counted(round(difference / timedelta(days=1)), "day")
    return Unavailable(
        f"The clock of this machine is about {amount} {what} the clock of the store, and one of "
        "both is wrong. Nothing was deleted. Set the clock, as chrony does, and try again.",
        code=CLOCK_DIFFERS,
    )
