"""The store in memory, for trials and tests: its objects are lost when the process ends."""

from bisect import bisect_left, insort
from collections.abc import Iterator
from math import inf
from pathlib import Path
from threading import Lock
from typing import Final

from wheelyard.concurrency.runtime import Clock
from wheelyard.errors import Conflict, NotFound
from wheelyard.storage import base

LEAST_SECONDS: Final = 1e-6
"""The least difference between the times of two writes of an object."""


class MemoryStore(base.Store):
    """Objects in a dictionary, dated by a `clock` in seconds since the epoch."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # held by writes and listings, so that the dictionary and the sorted keys agree
        self._lock = Lock()
        self._objects: dict[base.Key, tuple[base.Stored, float]] = {}
        """Each object, and when it was written, by its key."""
        self._keys: list[base.Key] = []
        """The keys of all objects, sorted for listings."""
        self._writes = 0
        """The number of writes, which makes versions."""

    def get(self, key: base.Key, unless: base.ObjectVersion | None = None) -> base.Found:
        """Return the object, NOT_MODIFIED if its version is `unless`, or None if it is absent."""
        # without the lock: one access to a dictionary gets an object before or after a write
        stored_and_time = self._objects.get(key)
        if stored_and_time is None:
            return None
        stored, _ = stored_and_time
        if stored.version == unless:
            return base.NOT_MODIFIED
        return stored

    def read(self, key: base.Key, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Return an iterator of the bytes from `start` up to `stop`, or raise NotFound."""
        stored_and_time = self._objects.get(key)
        if stored_and_time is None:
            raise NotFound(f"The store holds nothing at {key}.")
        stored, _ = stored_and_time
        body = stored.body[start:stop]
        offsets = range(0, len(body), base.CHUNK_BYTES)
        return (body[offset : offset + base.CHUNK_BYTES] for offset in offsets)

    def put(
        self,
        key: base.Key,
        body: bytes,
        expect: base.ObjectVersion | None,
        kind: base.WebType | None = None,
    ) -> base.ObjectVersion:
        """
        Write the object, and return its version.

        Raises Conflict if the object has another version than `expect`.
        """
        del kind
        with self._lock:
            current_version = base.ABSENT
            earliest = -inf
            is_new = key not in self._objects
            if not is_new:
                stored, written_at = self._objects[key]
                current_version = stored.version
                earliest = written_at + LEAST_SECONDS
            if expect is not None and current_version != expect:
                raise Conflict(base.conflict_message(key))
            if is_new:
                insort(self._keys, key)
            self._writes += 1
            version = base.ObjectVersion(str(self._writes))
            # a clock that stands still, as in tests, must not date two versions alike
            modified = max(self._clock(), earliest)
            # a copy, as the caller may change a bytearray later
            self._objects[key] = (base.Stored(bytes(body), version), modified)
            return version

    def put_file(
        self, key: base.Key, body: base.FileBody, kind: base.WebType | None = None
    ) -> None:
        """Write the bytes, or the bytes of the file, whatever version the object has."""
        content = body.read_bytes() if isinstance(body, Path) else body
        self.put(key, content, None, kind)

    def delete(self, key: base.Key) -> None:
        """Delete the object, or do nothing if it is absent."""
        with self._lock:
            if self._objects.pop(key, None) is not None:
                del self._keys[bisect_left(self._keys, key)]

    def time(self, key: base.Key) -> float:
        """Return the time by the clock. Nothing is written."""
        del key
        return self._clock()

    def list(self, prefix: str, after: str = "") -> Iterator[base.Entry]:
        """Return an iterator of the entries as they are now, sorted by key."""
        entries = []
        with self._lock:
            for key in self._keys[bisect_left(self._keys, prefix) :]:
                if key.startswith(prefix) and key > after:
                    stored, modified = self._objects[key]
                    entries.append(base.Entry(key, len(stored.body), modified))
        # outside of the lock, as the caller may write while it reads the listing
        return iter(entries)
