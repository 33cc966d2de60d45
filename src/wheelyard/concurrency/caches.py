"""Caches that threads share; each forgets what was least recently used."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import suppress
from threading import Lock
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ExpiringCache(Generic[K, V]):
    """Values by key, each for a time, at most `capacity` of them; `monotonic` tells seconds."""

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


class LruCache(Generic[K, V]):
    """Values by key, with a weight; a single value that weighs more than `capacity` is not kept."""

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
