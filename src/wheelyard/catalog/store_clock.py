"""
The clock of a store, which decides how long bytes are kept, and not the clock of this machine.

Several machines use a store, and the clock of any of them may be wrong. So operations that delete
bytes, or write until when a deleted file is kept, go by the time that the store gives to an object
that is just written. This time is measured every ten minutes at most, and follows the monotonic
clock in between. It is measured again as soon as the machine's clock and the monotonic clock do not
agree about the time in between: then one of both was set, or has stood still.
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
"""How long a measurement counts. After a failed one, no page measures again for so long."""
TOLERANCE_SECONDS: Final = 60.0
"""The difference up to which two clocks agree, as times in listings may be whole seconds."""
MAX_DIFFERENCE_SECONDS: Final = 3600.0
"""The difference up to which a sweep runs."""
CLOCK_DIFFERS: Final = "clock_differs"
"""The code of an Unavailable while the two clocks differ by more than that."""


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
    """The clock of a store, as one process knows it. Threads may share an object."""

    store: Store
    """The store of the documents."""
    runtime: Runtime
    _last: _Measurement | None = None
    """The last measurement, or None before the first one."""
    _failed_at: float | None = None
    """When a measurement has failed, on the monotonic clock, or None if the last one has not."""
    _lock: Lock = field(default_factory=Lock)
    """Held while the clock is measured."""

    def now(self) -> datetime:
        """
        Return the time by the store's clock, in UTC.

        It is the time of the machine while both clocks agree. Raises Unavailable if an object has
        to be written to measure the time, and cannot be written.
        """
        last = self._valid_measurement()
        if last is None:
            # one thread measures, and the threads that have waited find its measurement
            with self._lock:
                last = self._valid_measurement() or self._measure()
        return self._time_after(last)

    def estimate(self) -> datetime:
        """
        Return the time by the store's clock, or the machine's if the store cannot be written.

        It is for pages, which only show the time. A measurement writes an object, so it counts here
        until a clock has jumped, and pages do not wait for a new one every ten minutes.
        """
        last = self._valid_measurement(inf)
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

        Raises Unavailable if the machine's clock differs by more than an hour (code
        `clock_differs`), or if the store cannot be written.
        """
        with self._lock:
            last = self._measure()
        if abs(last.difference) > MAX_DIFFERENCE_SECONDS:
            raise _differs(timedelta(seconds=last.difference))
        return datetime.fromtimestamp(last.store, UTC)

    def _valid_measurement(self, max_age: float = MEASURED_SECONDS) -> _Measurement | None:
        """
        Return the last measurement, or None if it does not count any more.

        It counts until it is `max_age` seconds old, or one of the machine's clocks has jumped.
        """
        last = self._last
        if last is None:
            return None
        elapsed = self.runtime.monotonic() - last.monotonic
        drift = self.runtime.seconds() - last.machine - elapsed
        if elapsed > max_age or abs(drift) > TOLERANCE_SECONDS:
            return None
        return last

    def _time_after(self, last: _Measurement) -> datetime:
        """Return the time by the store's clock now, some time after a measurement."""
        if abs(last.difference) <= TOLERANCE_SECONDS:
            return self.runtime.now()
        elapsed = self.runtime.monotonic() - last.monotonic
        return datetime.fromtimestamp(last.store + elapsed, UTC)

    def _measure(self) -> _Measurement:
        """Write an object, and return the readings of the clocks. The caller holds the lock."""
        store_time = self.store.time(keys.CLOCK)
        # read after the write, so that no computed time is later than the store's
        measurement = _Measurement(store_time, self.runtime.seconds(), self.runtime.monotonic())
        self._last = measurement
        self._failed_at = None
        return measurement


def _differs(ahead: timedelta) -> Unavailable:
    """Return the error for a machine whose clock is so far ahead of the store's, or behind it."""
    difference = abs(ahead)
    direction = "behind"
    if ahead > timedelta():
        direction = "ahead of"
    amount = counted(round(difference / timedelta(hours=1)), "hour")
    if difference.days > 1:
        amount = counted(round(difference / timedelta(days=1)), "day")
    return Unavailable(
        f"The clock of this machine is about {amount} {direction} the clock of the store, and one "
        "of both is wrong. Nothing was deleted. Set the clock, as chrony does, and try again.",
        code=CLOCK_DIFFERS,
    )
