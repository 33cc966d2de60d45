"""A cache that forgets what was not asked for longest, once its values weigh too much."""

from collections import OrderedDict
from collections.abc import Hashable
from contextlib import suppress
from threading import Lock
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class WeighedCache(Generic[K, V]):
    """
    Values by key, the least recently used of them forgotten first.

    Args:
        capacity: The weight of all values together, at most; a heavier single value is not kept.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._held: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._weight = 0
        self._lock = Lock()

    def get(self, key: K) -> V | None:
        """Return what is held under `key`, or None."""
        held = self._held.get(key)
        if held is None:
            return None
        with suppress(KeyError):  # another thread forgot it just now
            self._held.move_to_end(key)
        return held[0]

    def put(self, key: K, value: V, weight: int) -> None:
        """Hold `value`, and forget others until everything fits again."""
        with self._lock:
            _, before = self._held.pop(key, (None, 0))
            self._weight -= before
            if weight > self._capacity:
                return
            self._held[key] = (value, weight)
            self._weight += weight
            while self._weight > self._capacity:
                _, (_, freed) = self._held.popitem(last=False)
                self._weight -= freed

    def forget(self, key: K) -> None:
        """Hold nothing under `key` any more."""
        with self._lock:
            _, weight = self._held.pop(key, (None, 0))
            self._weight -= weight
