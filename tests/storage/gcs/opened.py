"""Opens a bucket as the index does, with a time that a test holds in its hand."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from msgspec.structs import replace

from tests.fake_time import Clock
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


class ZeroJitter(Random):
    """A random generator that returns the lower bound."""

    def uniform(self, a: float, b: float) -> float:
        """Return the lower bound."""
        return min(a, b)


def frozen_clock() -> Clock:
    """
    Return a clock that never moves, with the shortest pauses that chance allows.

    Where chance has one caller meet several faults in a row, a single pause may be longer than its
    patience.
    """
    return Clock(is_frozen=True, random=ZeroJitter())


@dataclass(frozen=True, slots=True)
class Opened:
    """A bucket that is open, and what it was opened with."""

    bucket: ConnectedBucket
    time: Clock
    operation_counter: OperationCounter

    @property
    def store(self) -> Store:
        """The store of the bucket."""
        return self.bucket.documents


@dataclass(frozen=True, slots=True)
class Opener:
    """Opens buckets where the environment leads, and closes their connections in the end."""

    _opened: list[ConnectedBucket] = field(default_factory=list)

    def __call__(
        self,
        location: str = "gs://wheels",
        clock: Clock | None = None,
        *,
        files: str = "",
        downloads: Downloads = "auto",
    ) -> Opened:
        """Open a bucket; its pauses take no time."""
        clock = clock or Clock(random=Random())
        operation_counter = OperationCounter()
        # the service judges signatures by the time of day, which is the real one
        runtime = replace(clock.runtime(), now=system_runtime().now)
        bucket = open_bucket(
            parse_location(location),
            runtime,
            operation_counter,
            files_location=parse_location(files) if files else None,
            downloads=downloads,
        )
        self._opened.append(bucket)
        return Opened(bucket, clock, operation_counter)

    def close(self) -> None:
        """Close every connection."""
        for bucket in self._opened:
            if isinstance(bucket.documents, GcsStore):
                bucket.documents.client.close()
