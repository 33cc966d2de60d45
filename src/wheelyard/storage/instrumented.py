"""Metrics of a store: durations of its calls as histograms, and counts of bucket operations."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import accumulate
from operator import itemgetter
from threading import Lock
from typing import Final

from msgspec import Struct, field

from wheelyard.errors import Conflict, NotFound
from wheelyard.storage.base import (
    Entry,
    FileBody,
    Found,
    Key,
    ObjectVersion,
    Store,
    Stored,
    Stores,
    WebType,
)
from wheelyard.storage.forwarding import ForwardingStore

BUCKET_BOUNDS_SECONDS: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
)
"""Upper bounds of the histogram buckets, in seconds: from a cached page to a slow upload."""

HistogramLabels = tuple[str, ...]
"""The label values of a histogram, in the order of its metric."""

CallListener = Callable[[str, str, float], None]
"""Called with the method, outcome and seconds of a store call, in the calling thread."""


class Operation(Struct, frozen=True, order=True):
    """A kind of operation on a bucket, and how Google bills it."""

    kind: str
    """insert, copy, list, get, read, delete, or piece: one chunk of a large insert."""
    price_class: str
    """The operation class in Cloud Storage's price list: A, B or free."""


class OperationCounter(Struct, frozen=True):
    """Counts bucket operations since the start, free ones, too; safe to share between threads."""

    _counts: Counter[Operation] = field(default_factory=Counter)
    _lock: Lock = field(default_factory=Lock)

    def add(self, operation: Operation) -> None:
        """Count one operation."""
        with self._lock:
            self._counts[operation] += 1

    def counts(self) -> dict[Operation, int]:
        """Return how often each operation was counted so far."""
        with self._lock:
            return dict(self._counts)


class Histogram(Struct, frozen=True):
    """The durations with one set of label values, as a Prometheus histogram."""

    labels: HistogramLabels
    counts: tuple[int, ...]
    """Cumulative: how many durations are at most each bound; the last is the total."""
    seconds: float
    """The sum of all durations."""


class _Durations(Struct):
    """The durations with one set of label values: how many are in each bucket, and their sum."""

    counts: list[int]
    seconds: float = 0.0


class Histograms:
    """A histogram of durations for each set of label values, since the start; thread-safe."""

    def __init__(self) -> None:
        self._durations: dict[HistogramLabels, _Durations] = {}
        self._lock = Lock()

    def add(self, labels: HistogramLabels, seconds: float) -> None:
        """Record one duration in the histogram of `labels`."""
        bucket = bisect_left(BUCKET_BOUNDS_SECONDS, seconds)
        with self._lock:
            found = self._durations.get(labels)
            if found is None:
                buckets = [0] * (len(BUCKET_BOUNDS_SECONDS) + 1)
                found = self._durations[labels] = _Durations(buckets)
            found.counts[bucket] += 1
            found.seconds += seconds

    def snapshot(self) -> list[Histogram]:
        """Return the histograms so far, sorted by label values."""
        with self._lock:
            return [
                Histogram(labels, tuple(accumulate(found.counts)), found.seconds)
                for labels, found in sorted(self._durations.items(), key=itemgetter(0))
            ]


class StoreMetrics(Struct):
    """Durations of store calls by method and outcome: ok, absent, unchanged, conflict or error."""

    monotonic: Callable[[], float]
    timings: Histograms = field(default_factory=Histograms)
    listener: CallListener | None = None

    def record(self, verb: str, outcome: str, started_at: float) -> None:
        """Record the duration and outcome of a call that has just ended, and call the listener."""
        seconds = self.monotonic() - started_at
        self.timings.add((verb, outcome), seconds)
        if self.listener is not None:
            self.listener(verb, outcome, seconds)

    def record_failure(self, verb: str, fault: Exception, started_at: float) -> None:
        """Record the duration of a call that has just raised `fault`, with its outcome."""
        outcome = "conflict" if isinstance(fault, Conflict) else "error"
        self.record(verb, "absent" if isinstance(fault, NotFound) else outcome, started_at)


@dataclass(frozen=True, slots=True)
class InstrumentedStore(ForwardingStore):
    """
    A store that passes every call on to `inner`, and records the duration of those that do I/O.

    A read is timed until it returns its iterator, as the rest depends on the consumer. A listing is
    timed to its end, with the time that its consumer takes.
    """

    inner: Store
    metrics: StoreMetrics

    def get(self, key: Key, unless: ObjectVersion | None = None) -> Found:
        """See `Store`."""
        metrics = self.metrics
        started_at = metrics.monotonic()
        try:
            found = self.inner.get(key, unless)
        except Exception as fault:
            metrics.record_failure("get", fault, started_at)
            raise
        outcome = "ok" if isinstance(found, Stored) else "unchanged"
        metrics.record("get", "absent" if found is None else outcome, started_at)
        return found

    def read(self, key: Key, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """See `Store`."""
        with self._timed("read"):
            return self.inner.read(key, start, stop)

    def put(
        self, key: Key, body: bytes, expect: ObjectVersion | None, kind: WebType | None = None
    ) -> ObjectVersion:
        """See `Store`."""
        with self._timed("put"):
            return self.inner.put(key, body, expect, kind)

    def put_file(self, key: Key, body: FileBody, kind: WebType | None = None) -> None:
        """See `Store`."""
        with self._timed("put_file"):
            self.inner.put_file(key, body, kind)

    def delete(self, key: Key) -> None:
        """See `Store`."""
        with self._timed("delete"):
            self.inner.delete(key)

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """See `Store`."""
        with self._timed("list"):
            yield from self.inner.list(prefix, after)

    def sign(self, key: Key, lifetime: timedelta) -> str | None:
        """See `Store`."""
        with self._timed("sign"):
            return self.inner.sign(key, lifetime)

    def _store(self) -> Store:
        return self.inner

    @contextmanager
    def _timed(self, verb: str) -> Iterator[None]:
        started_at = self.metrics.monotonic()
        try:
            yield
        except Exception as fault:
            self.metrics.record_failure(verb, fault, started_at)
            raise
        except GeneratorExit:  # the caller has stopped a listing early
            self.metrics.record(verb, "ok", started_at)
            raise
        self.metrics.record(verb, "ok", started_at)


def instrumented(stores: Stores, metrics: StoreMetrics) -> Stores:
    """Return the stores of an index with their calls recorded in `metrics`."""
    return Stores(
        documents=InstrumentedStore(stores.documents, metrics),
        credentials=InstrumentedStore(stores.credentials, metrics),
        files=InstrumentedStore(stores.files, metrics),
    )
