"""Opens a bucket as the index does, with a time that a test holds in its hand."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from threading import Lock

from wheelyard.concurrency.runtime import Runtime
from wheelyard.storage.base import ABSENT, Key, Store
from wheelyard.storage.bucket_store import Downloads
from wheelyard.storage.buckets import ConnectedBucket, open_bucket
from wheelyard.storage.forwarding import OperationCounter
from wheelyard.storage.gcs.store import GcsStore
from wheelyard.storage.location import parse_location
from wheelyard.wiring.stores import system_runtime

FILES = "files/"
EMULATOR = "STORAGE_EMULATOR_HOST"
A, OTHER = Key("a/1.json"), Key("a/2.json")
FOR_EVER = 1_000_000
"""Requests that a fault meets."""
VERBS: dict[str, Callable[[Store], object]] = {
    "get": lambda store: store.get(A),
    "read": lambda store: b"".join(store.read(A)),
    "put": lambda store: store.put(A, b"new", None),
    "create": lambda store: store.put(OTHER, b"new", ABSENT),
    "delete": lambda store: store.delete(A),
    "list": lambda store: list(store.list("")),
}
"""Every way to ask a bucket for something."""


@dataclass(slots=True)
class StillTime:
    """Stands still, but for the pauses that are made in it, and for what a test adds."""

    now: float = 0.0
    pauses: list[float] = field(default_factory=list)
    """All pauses so far, in seconds."""
    meanwhile: Callable[[], object] | None = None
    """A function that the next pause calls once."""
    chance: Random = field(default_factory=Random)
    """Tells how long a pause is."""
    _lock: Lock = field(default_factory=Lock)

    def monotonic(self) -> float:
        """Return the seconds since the beginning."""
        return self.now

    def pause(self, seconds: float) -> None:
        """Let time pass, at once."""
        with self._lock:
            self.pauses.append(seconds)
            self.now += seconds
            happens, self.meanwhile = self.meanwhile, None
        if happens is not None:
            happens()


class SkippedPauses(StillTime):
    """Runs as time does, and pauses are skipped."""

    __slots__ = ()

    def monotonic(self) -> float:
        """Return seconds since some moment."""
        return time.monotonic() + self.now


class ZeroJitter(Random):
    """A random generator that returns the lower bound."""

    def uniform(self, a: float, b: float) -> float:
        """Return the lower bound."""
        return min(a, b)


class FrozenTime(StillTime):
    """
    A time that never passes, not even in pauses, so that no timeout expires.

    Threads that share a time that stands still add up their pauses, which run side by side in a
    real one: the slowest of them would find its patience used up by the others. And where chance
    has one caller meet several faults in a row, a single pause may be longer than its patience.
    """

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(chance=ZeroJitter())

    def pause(self, seconds: float) -> None:
        """Return at once."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A bucket that is open, and what it was opened with."""

    bucket: ConnectedBucket
    time: StillTime
    operation_counter: OperationCounter

    @property
    def store(self) -> Store:
        """Its store."""
        return self.bucket.documents


@dataclass(frozen=True, slots=True)
class Opener:
    """Opens buckets where the environment leads, and closes their connections in the end."""

    _opened: list[ConnectedBucket] = field(default_factory=list)

    def __call__(
        self,
        location: str = "gs://wheels",
        still: StillTime | None = None,
        *,
        files: str = "",
        downloads: Downloads = "auto",
    ) -> Opened:
        """Open a bucket; its pauses take no time."""
        still, operation_counter = still or StillTime(), OperationCounter()
        runtime = Runtime(
            now=system_runtime().now,
            monotonic=still.monotonic,
            thread_time=still.monotonic,
            pause=still.pause,
            random=still.chance,
        )
        bucket = open_bucket(
            parse_location(location),
            runtime,
            operation_counter,
            files_location=parse_location(files) if files else None,
            downloads=downloads,
        )
        self._opened.append(bucket)
        return Opened(bucket, still, operation_counter)

    def close(self) -> None:
        """Close every connection."""
        for bucket in self._opened:
            if isinstance(bucket.documents, GcsStore):
                bucket.documents.client.close()
