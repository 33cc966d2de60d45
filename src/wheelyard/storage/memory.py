"""The store in memory, for trials and tests: its objects are lost when the process ends."""

from bisect import bisect_left, insort
from collections.abc import Iterator
from math import inf
from pathlib import Path
from threading import Lock
from typing import Final

from wheelyard.concurrency.runtime import Clock
from wheelyard.errors import Conflict, NotFound
from wheelyard.storage.base import (
    ABSENT,
    CHUNK_BYTES,
    NOT_MODIFIED,
    Entry,
    FileBody,
    Found,
    Key,
    ObjectVersion,
    Store,
    Stored,
    WebType,
    conflict_message,
)

LEAST_SECONDS: Final = 1e-6
"""The time between two writes of an object, whatever the clock says."""


class MemoryStore(Store):
    """Objects in a dictionary, dated by a `clock` in seconds since the epoch."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = Lock()
        self._objects: dict[Key, tuple[Stored, float]] = {}
        self._keys: list[Key] = []
        self._writes = 0

    def get(self, key: Key, unless: ObjectVersion | None = None) -> Found:
        """See `Store`."""
        stored = self._objects.get(key)
        if stored is None:
            return None
        return NOT_MODIFIED if stored[0].version == unless else stored[0]

    def read(self, key: Key, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """See `Store`."""
        stored = self._objects.get(key)
        if stored is None:
            raise NotFound(f"The store holds nothing at {key}.")
        body = stored[0].body[start:stop]
        return (body[at : at + CHUNK_BYTES] for at in range(0, len(body), CHUNK_BYTES))

    def put(
        self, key: Key, body: bytes, expect: ObjectVersion | None, kind: WebType | None = None
    ) -> ObjectVersion:
        """See `Store`."""
        del kind
        with self._lock:
            stored = self._objects.get(key)
            if expect is not None and (stored[0].version if stored else ABSENT) != expect:
                raise Conflict(conflict_message(key))
            if key not in self._objects:
                insort(self._keys, key)
            self._writes += 1
            version = ObjectVersion(str(self._writes))
            before = self._objects.get(key, (None, -inf))[1]
            modified = max(self._clock(), before + LEAST_SECONDS)
            self._objects[key] = (Stored(bytes(body), version), modified)
            return version

    def put_file(self, key: Key, body: FileBody, kind: WebType | None = None) -> None:
        """See `Store`."""
        self.put(key, body.read_bytes() if isinstance(body, Path) else body, None, kind)

    def delete(self, key: Key) -> None:
        """See `Store`."""
        with self._lock:
            if self._objects.pop(key, None) is not None:
                del self._keys[bisect_left(self._keys, key)]

    def time(self, key: Key) -> float:
        """See `Store`. Nothing is written."""
        del key
        return self._clock()

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """See `Store`."""
        with self._lock:
            entries = [
                Entry(key, len(stored.body), modified)
                for key in self._keys[bisect_left(self._keys, prefix) :]
                if key.startswith(prefix) and key > after
                for stored, modified in [self._objects[key]]
            ]
        return iter(entries)
