"""A cache whose values hold for a time."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class TimedCache(Generic[K, V]):
    """
    Values by key, each for a time; the least recently used are forgotten first.

    It is safe to share between threads.

    Args:
        monotonic: Seconds that never jump.
        capacity: How many values are kept.
    """

    def __init__(self, monotonic: Callable[[], float], capacity: int) -> None:
        self._monotonic = monotonic
        self._capacity = capacity
        self._held: OrderedDict[K, tuple[V, float]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: K) -> V | None:
        """Return the value of a key, if there is one that still holds."""
        with self._lock:
            held = self._held.get(key)
            if held is None:
                return None
            if self._monotonic() >= held[1]:
                del self._held[key]
                return None
            self._held.move_to_end(key)
            return held[0]

    def put(self, key: K, value: V, seconds: float) -> None:
        """Keep a value for so many seconds; for none or fewer it is not kept."""
        if seconds <= 0:
            return
        with self._lock:
            self._held[key] = (value, self._monotonic() + seconds)
            self._held.move_to_end(key)
            if len(self._held) > self._capacity:
                self._held.popitem(last=False)
