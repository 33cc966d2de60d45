"""
Stores whose objects are in another store: a part of it, a read-only view, or one that is measured.

The metrics belong to no registry until a server puts them into its registry.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, NoReturn, TypeVar

from msgspec import Struct
from msgspec.structs import astuple
from prometheus_client import Counter, Histogram

from wheelyard.concurrency.runtime import Clock
from wheelyard.errors import Conflict, NotFound, Unavailable
from wheelyard.storage import base
from wheelyard.storage.base import Key, Store
from wheelyard.storage.location import BucketLocation

T = TypeVar("T")

READ_ONLY: Final = "read_only"
"""The error code of each write to a store that is only read."""
BUCKET_BOUNDS_SECONDS: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
)
"""Upper bounds of the histogram buckets, in seconds: from a cached page to a slow upload."""


class ForwardingStore(Store):
    """
    A store that passes each call on to another one.

    A subclass whose keys differ from those of the other store overrides `_full` and `list`.
    """

    __slots__ = ()

    inner: Store
    """The store that has the objects."""

    def _for_write(self, key: Key) -> Store:
        """Return the store into which the object at `key` is written."""
        del key
        return self.inner

    def _full(self, key: Key) -> Key:
        """Return the key that an object has in the other store."""
        return key

    def get(self, key: Key, unless: base.ObjectVersion | None = None) -> base.Found:
        """Return the document that the other store has at the key."""
        return self.inner.get(self._full(key), unless)

    def read(self, key: Key, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Return an iterator of the bytes that the other store has at the key."""
        return self.inner.read(self._full(key), start, stop)

    def put(
        self,
        key: Key,
        body: bytes,
        expect: base.ObjectVersion | None,
        kind: base.WebType | None = None,
    ) -> base.ObjectVersion:
        """Write a document into the other store, and return its version."""
        return self._for_write(key).put(self._full(key), body, expect, kind)

    def put_file(self, key: Key, body: base.FileBody, kind: base.WebType | None = None) -> None:
        """Write a file into the other store."""
        self._for_write(key).put_file(self._full(key), body, kind)

    def delete(self, key: Key) -> None:
        """Delete the object from the other store."""
        self.inner.delete(self._full(key))

    def list(self, prefix: str, after: str = "") -> Iterator[base.Entry]:
        """Yield the entries of the other store."""
        return self.inner.list(prefix, after)

    def time(self, key: Key) -> float:
        """Return the time by the clock of the other store, in seconds since the epoch."""
        return self._for_write(key).time(self._full(key))

    def with_reserve(self, action: Callable[[], T]) -> T:
        """Return the result of an action that may use the reserve of the other store."""
        return self.inner.with_reserve(action)

    def sign(self, key: Key, lifetime: timedelta) -> str | None:
        """Return a URL for the download of the object from the other store, or None."""
        return self.inner.sign(self._full(key), lifetime)

    def path_of(self, key: Key) -> Path | None:
        """Return the path that the object has in the other store, or None outside of a folder."""
        return self.inner.path_of(self._full(key))

    def whole_key(self, key: Key) -> Key:
        """Return the key with all folders, as the other store returns it."""
        return self.inner.whole_key(self._full(key))

    def bucket_object(self, key: Key) -> tuple[BucketLocation, str] | None:
        """Return the bucket of the object and its name there, or None if it is in no bucket."""
        return self.inner.bucket_object(self._full(key))


@dataclass(frozen=True, slots=True)
class PrefixedStore(ForwardingStore):
    """
    The objects of `inner` whose keys begin with `prefix`.

    The keys of this store are those of `inner` without the prefix. No other object of `inner` can
    be read, written or deleted through it.
    """

    inner: Store
    prefix: str
    """The beginning of the keys, with a slash at its end."""

    def list(self, prefix: str, after: str = "") -> Iterator[base.Entry]:
        """Yield the entries of this part, with their keys in it."""
        if after:
            after = self.prefix + after
        for entry in self.inner.list(self.prefix + prefix, after):
            yield entry._replace(key=Key(entry.key[len(self.prefix) :]))

    def _full(self, key: Key) -> Key:
        return Key(self.prefix + key)


@dataclass(frozen=True, slots=True)
class ReadOnlyStore(ForwardingStore):
    """The objects of `inner`, which cannot be written: each attempt raises Unavailable."""

    inner: Store
    why: str = "server.read_only forbids it."
    """Why nothing is written, in a sentence for the message."""
    code: str = READ_ONLY
    """The code of the Unavailable."""

    def delete(self, key: Key) -> NoReturn:
        """Raise Unavailable, which says why nothing is deleted."""
        # the base class deletes in `inner`, without asking `_for_write`
        self._for_write(key)

    def with_reserve(self, action: Callable[[], T]) -> T:
        """Return the result of the action: nothing is written, and no reserve is made."""
        return action()

    def _for_write(self, key: Key) -> NoReturn:
        raise Unavailable(f"{key} is not written: {self.why}", code=self.code)


class Operation(Struct, frozen=True, order=True):
    """A kind of operation on a bucket, and how Google bills it."""

    kind: str
    """insert, copy, list, get, read, delete, or piece: one chunk of a large insert."""
    price_class: str
    """The operation class in Cloud Storage's price list: A, B or free."""


class OperationCounter:
    """Counts bucket operations, also those that cost nothing. Threads may share it."""

    def __init__(self) -> None:
        self.metric = Counter(
            "wheelyard_storage_operations",
            "Operations on a bucket, free ones too, by kind and price class.",
            ("operation", "class"),
            registry=None,
        )

    def add(self, operation: Operation) -> None:
        """Count one operation."""
        self.metric.labels(operation.kind, operation.price_class).inc()


class StoreMetrics:
    """Durations of store calls by method and outcome: ok, absent, unchanged, conflict or error."""

    def __init__(self, monotonic: Clock) -> None:
        self.monotonic = monotonic
        self.durations = Histogram(
            "wheelyard_store_duration_seconds",
            "Durations of calls of the store, local or a bucket.",
            ("verb", "outcome"),
            registry=None,
            buckets=BUCKET_BOUNDS_SECONDS,
        )

    def record(self, verb: str, outcome: str, started_at: float) -> None:
        """Record the duration and outcome of a call that has just ended."""
        self.durations.labels(verb, outcome).observe(self.monotonic() - started_at)


@dataclass(frozen=True, slots=True)
class InstrumentedStore(ForwardingStore):
    """
    A store that passes every call on to `inner`, and records the durations of calls that do I/O.

    A read is timed until it returns its iterator, as the time after that depends on the consumer. A
    listing is timed to its end, with the time that its consumer takes.
    """

    inner: Store
    metrics: StoreMetrics

    def get(self, key: Key, unless: base.ObjectVersion | None = None) -> base.Found:
        """Return the document that `inner` has at the key, and record the call."""
        # without `_timed`, which would be a tenth of all function calls for a cached page
        started_at = self.metrics.monotonic()
        outcome = "error"
        try:
            stored = self.inner.get(key, unless)
            if stored is None:
                outcome = "absent"
            elif isinstance(stored, base.Stored):
                outcome = "ok"
            else:
                outcome = "unchanged"
            return stored
        finally:
            self.metrics.record("get", outcome, started_at)

    def read(self, key: Key, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Return an iterator of the bytes, and record how long `inner` took to open it."""
        with self._timed("read"):
            return self.inner.read(key, start, stop)

    def put(
        self,
        key: Key,
        body: bytes,
        expect: base.ObjectVersion | None,
        kind: base.WebType | None = None,
    ) -> base.ObjectVersion:
        """Write a document into `inner`, and record the call."""
        with self._timed("put"):
            return self.inner.put(key, body, expect, kind)

    def put_file(self, key: Key, body: base.FileBody, kind: base.WebType | None = None) -> None:
        """Write a file into `inner`, and record the call."""
        with self._timed("put_file"):
            self.inner.put_file(key, body, kind)

    def delete(self, key: Key) -> None:
        """Delete the object from `inner`, and record the call."""
        with self._timed("delete"):
            self.inner.delete(key)

    def list(self, prefix: str, after: str = "") -> Iterator[base.Entry]:
        """Yield the entries of `inner`, and record the listing when it ends."""
        with self._timed("list"):
            yield from self.inner.list(prefix, after)

    def sign(self, key: Key, lifetime: timedelta) -> str | None:
        """Return a URL for the download of the object, or None, and record the call."""
        with self._timed("sign"):
            return self.inner.sign(key, lifetime)

    @contextmanager
    def _timed(self, verb: str) -> Iterator[None]:
        """Record how long the block takes, and its outcome."""
        started_at = self.metrics.monotonic()
        outcome = "ok"
        try:
            yield
        except NotFound:
            outcome = "absent"
            raise
        except Conflict:
            outcome = "conflict"
            raise
        except Exception:
            outcome = "error"
            raise
        finally:  # also if the caller has stopped a listing early
            self.metrics.record(verb, outcome, started_at)


def instrumented(stores: base.Stores, metrics: StoreMetrics) -> base.Stores:
    """Return the stores of an index with their calls recorded in `metrics`."""
    recorded = [InstrumentedStore(store, metrics) for store in astuple(stores)]
    return base.Stores(*recorded)
