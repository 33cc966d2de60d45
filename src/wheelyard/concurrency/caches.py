"""In-memory caches for several threads, with least-recently-used (LRU) eviction."""

from collections import OrderedDict
from collections.abc import Hashable
from datetime import datetime
from threading import Lock
from typing import Generic, NamedTuple, TypeVar

from wheelyard.concurrency.runtime import Clock

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class LruCache(Generic[K, V]):
    """
    A cache of weighted values, whose weights are together at most `capacity`.

    Threads may share the cache.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._weight = 0
        self._lock = Lock()

    def get(self, key: K) -> V | None:
        """Return the cached value of `key`, or None. The value then counts as used last."""
        # without the lock, which each request would take several times: single operations of a
        # dictionary are atomic, and only the order may be off
        entry = self._entries.get(key)
        if entry is None:
            return None
        value, _ = entry
        try:  # noqa: SIM105 - `suppress` would take half of this method's time
            self._entries.move_to_end(key)
        except KeyError:
            pass  # another thread has just evicted it
        return value

    def put(self, key: K, value: V, weight: int) -> None:
        """
        Cache `value` unless `weight` exceeds the capacity, and evict the least recently used.

        An earlier value of `key` is removed in any case.
        """
        with self._lock:
            self._remove(key)
            if weight > self._capacity:
                return
            self._entries[key] = (value, weight)
            self._weight += weight
            # ends, as the new value fits by itself
            while self._weight > self._capacity:
                _, (_, evicted_weight) = self._entries.popitem(last=False)
                self._weight -= evicted_weight

    def discard(self, key: K) -> None:
        """Remove the value of `key` from the cache, if there is one."""
        with self._lock:
            self._remove(key)

    def _remove(self, key: K) -> None:
        # the caller holds the lock: two threads that change the weight at once would lose a change
        entry = self._entries.pop(key, None)
        if entry is not None:
            _, weight = entry
            self._weight -= weight


class _Validity(NamedTuple):
    """What an answer follows from, when it was made, and until when it counts."""

    made_of: tuple[object, ...]
    made_at: datetime
    ends_at: datetime | None
    """None if the answer counts for ever."""


class AnswerCache(Generic[K, V]):
    """
    A cache of answers, each of which follows from certain things, and counts until a moment.

    The weights of all answers are together at most `capacity`. Threads may share the cache.
    """

    def __init__(self, capacity: int) -> None:
        self._answers: LruCache[K, tuple[V, _Validity]] = LruCache(capacity)

    def get(self, key: K, made_of: tuple[object, ...], now: datetime) -> V | None:
        """Return the answer of `key`, or None unless it follows from `made_of`, and counts now."""
        entry = self._answers.get(key)
        if entry is None:
            return None
        answer, validity = entry
        # after a clock was set back, an answer may be of a later time: it counts for nothing
        if now < validity.made_at:
            return None
        if validity.ends_at is not None and now >= validity.ends_at:
            return None
        if validity.made_of != made_of:
            return None
        return answer

    def put(
        self,
        key: K,
        made_of: tuple[object, ...],
        now: datetime,
        answer: V,
        ends_at: datetime | None,
        weight: int,
    ) -> None:
        """Cache an answer that was made at `now`, and counts until `ends_at` (None: for ever)."""
        validity = _Validity(made_of, now, ends_at)
        self._answers.put(key, (answer, validity), weight)


class ExpiringCache(Generic[K, V]):
    """A cache of at most `capacity` values, each of which expires, by the clock `monotonic`."""

    def __init__(self, monotonic: Clock, capacity: int) -> None:
        self._monotonic = monotonic
        self._entries: LruCache[K, tuple[V, float]] = LruCache(capacity)

    def get(self, key: K) -> V | None:
        """Return the cached value of `key`, or None. A value that has expired is removed."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        value, expires_at = entry
        if self._monotonic() < expires_at:
            return value
        # this also removes a newer value that another thread has just put: it is made again
        self._entries.discard(key)
        return None

    def put(self, key: K, value: V, seconds: float) -> None:
        """Cache `value` for `seconds`, or do nothing if `seconds` is not positive."""
        if seconds > 0:
            self._entries.put(key, (value, self._monotonic() + seconds), 1)

    def discard(self, key: K) -> None:
        """Remove the value of `key` from the cache, if there is one."""
        self._entries.discard(key)
