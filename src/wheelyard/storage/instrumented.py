"""What a store was asked: how often, with what outcome, and how long that took."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import Final

from wheelyard.errors import Conflict, NotFound
from wheelyard.storage.base import (
    Entry,
    Found,
    Key,
    ObjectBody,
    ObjectVersion,
    Store,
    Stored,
    WebType,
)

BUCKET_BOUNDS_SECONDS: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
)
"""Seconds up to which a bucket goes: a page is within the first, a slow upload in the last."""

HistogramLabels = tuple[str, ...]
"""The labels of what took its time, in the order that whoever counts has chosen."""

CallListener = Callable[[str, str, float], None]
"""Is told a verb, its outcome and its seconds, in the thread that waited."""


@dataclass(frozen=True, slots=True, order=True)
class Operation:
    """One kind of operation on a bucket, whose owner pays for each."""

    kind: str
    """insert, copy, list, get, read, delete, or the piece of a large insert."""
    price_class: str
    """Of Cloud Storage's price list: A, B or free."""


@dataclass(frozen=True, slots=True)
class OperationCounter:
    """A count of operations since the start; safe to share between threads."""

    _counts: Counter[Operation] = field(default_factory=Counter)
    _lock: Lock = field(default_factory=Lock)

    def add(self, operation: Operation) -> None:
        """Count one operation."""
        with self._lock:
            self._counts[operation] += 1

    def counts(self) -> dict[Operation, int]:
        """Return how often each operation was asked for so far."""
        with self._lock:
            return dict(self._counts)


@dataclass(frozen=True, slots=True)
class Histogram:
    """How long everything of one kind has taken so far."""

    kind: HistogramLabels
    counts: tuple[int, ...]
    """How many took at most as long as each bound; the last one, how many there were at all."""
    seconds: float
    """All of them together."""


class Histograms:
    """Durations by kind since the start; safe to share between threads."""

    def __init__(self, bounds: Sequence[float] = BUCKET_BOUNDS_SECONDS) -> None:
        self.bounds = tuple(bounds)
        self._counts: dict[HistogramLabels, list[int]] = {}
        self._seconds: dict[HistogramLabels, float] = {}
        self._lock = Lock()

    def add(self, kind: HistogramLabels, seconds: float) -> None:
        """Count one thing that took so long."""
        bucket = bisect_left(self.bounds, seconds)
        with self._lock:
            counts = self._counts.get(kind)
            if counts is None:
                counts = self._counts[kind] = [0] * (len(self.bounds) + 1)
                self._seconds[kind] = 0.0
            counts[bucket] += 1
            self._seconds[kind] += seconds

    def snapshot(self) -> list[Histogram]:
        """Return what was counted, by kind."""
        with self._lock:
            counted = [
                (kind, tuple(counts), self._seconds[kind]) for kind, counts in self._counts.items()
            ]
        return [
            Histogram(kind, tuple(accumulate(counts)), seconds)
            for kind, counts, seconds in sorted(counted)
        ]


@dataclass(slots=True)
class StoreMetrics:
    """What was timed, by verb and outcome: ok, absent, unchanged, conflict (a lost race), error."""

    monotonic: Callable[[], float]
    timings: Histograms = field(default_factory=Histograms)
    listener: CallListener | None = None

    def record(self, verb: str, outcome: str, began: float) -> None:
        """Count a verb that has just ended."""
        seconds = self.monotonic() - began
        self.timings.add((verb, outcome), seconds)
        if self.listener is not None:
            self.listener(verb, outcome, seconds)

    def record_failure(self, verb: str, fault: Exception, began: float) -> None:
        """Count a verb that has just failed."""
        outcome = "conflict" if isinstance(fault, Conflict) else "error"
        self.record(verb, "absent" if isinstance(fault, NotFound) else outcome, began)


@dataclass(frozen=True, slots=True)
class InstrumentedStore:
    """
    A store that is just as the one behind it, and times every verb.

    A stream is timed until its first bytes can be had: how long the rest of it takes says how fast
    its reader is. A listing is timed as a whole.
    """

    inner: Store
    metrics: StoreMetrics

    def get(self, key: Key, unless_version: ObjectVersion | None = None) -> Found:
        """See `Store`."""
        metrics = self.metrics
        began = metrics.monotonic()
        try:
            found = self.inner.get(key, unless_version)
        except Exception as fault:
            metrics.record_failure("get", fault, began)
            raise
        is_there = "ok" if isinstance(found, Stored) else "unchanged"
        metrics.record("get", "absent" if found is None else is_there, began)
        return found

    def read(self, key: Key, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """See `Store`."""
        with self._timed("read"):
            return self.inner.read(key, start, stop)

    def put(
        self, key: Key, body: ObjectBody, expect: ObjectVersion | None, kind: WebType | None = None
    ) -> ObjectVersion:
        """See `Store`."""
        with self._timed("put"):
            return self.inner.put(key, body, expect, kind)

    def create_all(self, objects: Sequence[tuple[Key, ObjectBody]]) -> list[Key]:
        """See `Store`."""
        with self._timed("create_all"):
            return self.inner.create_all(objects)

    def delete(self, key: Key, expect: ObjectVersion | None) -> None:
        """See `Store`."""
        with self._timed("delete"):
            self.inner.delete(key, expect)

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """See `Store`."""
        began = self.metrics.monotonic()
        try:
            yield from self.inner.list(prefix, after)
        except Exception as fault:
            self.metrics.record_failure("list", fault, began)
            raise
        except GeneratorExit:  # whoever asked has seen enough
            self.metrics.record("list", "ok", began)
            raise
        self.metrics.record("list", "ok", began)

    def sign(self, key: Key, lifetime: timedelta) -> str | None:
        """See `Store`."""
        with self._timed("sign"):
            return self.inner.sign(key, lifetime)

    def path_of(self, key: Key) -> Path | None:
        """See `Store`; nothing is asked for that."""
        return self.inner.path_of(key)

    @contextmanager
    def _timed(self, verb: str) -> Iterator[None]:
        began = self.metrics.monotonic()
        try:
            yield
        except Exception as fault:
            self.metrics.record_failure(verb, fault, began)
            raise
        self.metrics.record(verb, "ok", began)
