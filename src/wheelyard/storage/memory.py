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
"""The time between two writes of an object, whatever the clock says."""


class MemoryStore(base.Store):
    """Objects in a dictionary, dated by a `clock` in seconds since the epoch."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # writes and listings take it: the dictionary and the sorted keys have to agree
        self._lock = Lock()
        self._objects: dict[base.Key, tuple[base.Stored, float]] = {}
        """Each object, and when it was written."""
        self._keys: list[base.Key] = []
        """The keys of all objects, sorted for listings."""
        self._writes = 0

    def get(self, key: base.Key, unless: base.ObjectVersion | None = None) -> base.Found:
        """Return the object, NOT_MODIFIED if its version is `unless`, or None if it is absent."""
        # without the lock: one look at a dictionary sees an object before or after a write
        dated = self._objects.get(key)
        if dated is None:
            return None
        stored, _ = dated
        if stored.version == unless:
            return base.NOT_MODIFIED
        return stored

    def read(self, key: base.Key, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Return an iterator of the bytes from `start` up to `stop`, or raise NotFound."""
        dated = self._objects.get(key)
        if dated is None:
            raise NotFound(f"The store holds nothing at {key}.")
        stored, _ = dated
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
            dated = self._objects.get(key)
            current = base.ABSENT if dated is None else dated[0].version
            if expect is not None and current != expect:
                raise Conflict(base.conflict_message(key))
            earliest = -inf
            if dated is None:
                insort(self._keys, key)
            else:
                earliest = dated[1] + LEAST_SECONDS
            self._writes += 1
            version = base.ObjectVersion(str(self._writes))
            # a clock that stands still, as in tests, must not date two versions alike
            modified = max(self._clock(), earliest)
            # a copy: the caller may go on to change a bytearray
            self._objects[key] = (base.Stored(bytes(body), version), modified)
            return version

    def put_file(
        self, key: base.Key, body: base.FileBody, kind: base.WebType | None = None
    ) -> None:
        """Write the bytes, or those of the file, whatever is there."""
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
        # outside of the lock: whoever reads the listing may write meanwhile
        return iter(entries)
