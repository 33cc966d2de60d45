"""
The storage contract: a few verbs over named objects.

An object is a key, bytes, and an opaque version that changes with every write. Reads see the
latest finished write, listings included. `tests/storage/conformance.py` asserts the contract.

`put` and `delete` either happened durably, or raise `Conflict` (another version was there, nothing
changed), or raise `Unavailable` (the outcome is unknown: read, then decide).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, NewType, Protocol

from wheelyard.errors import Conflict

Key = NewType("Key", str)
"""A slash-separated path, 1 to 1024 bytes of UTF-8, made only by `wheelyard.catalog.keys`."""

ObjectVersion = NewType("ObjectVersion", str)
"""An opaque mark of one write of one key; compare with ==, never parse."""

ObjectBody = bytes | Path
"""What is to be stored; a path is a whole file on disk, which stays the caller's."""

ABSENT: Final = ObjectVersion("")
"""The version of a key that holds nothing."""

CHUNK_BYTES: Final = 256 * 1024
"""Bytes that `read` yields at a time, at most."""

STORAGE_DENIED: Final = "storage_denied"
"""The code of an Unavailable that ends when somebody grants a right on a bucket."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A small object, whole, and the version it was read at."""

    body: bytes
    version: ObjectVersion


class NotModified:
    """What `get` returns where the caller knows the object's version."""

    __slots__ = ()


NOT_MODIFIED: Final = NotModified()

Found = Stored | NotModified | None
"""What `get` returns; None where the key holds nothing."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a listing."""

    key: Key
    size: int
    """Bytes."""
    version: ObjectVersion
    modified: float
    """When it was written: seconds since the epoch, by the store's own clock."""


@dataclass(frozen=True, slots=True)
class WebType:
    """What a bucket tells whoever downloads an object from it; a folder says nothing."""

    content_type: str
    cache_control: str


class Store(Protocol):
    """
    A place that keeps objects under keys; safe to share between threads and processes.

    Every verb may raise Unavailable; nothing else escapes but what is listed.
    """

    def get(self, key: Key, unless_version: ObjectVersion | None = None) -> Found:
        """Return a small object whole, NOT_MODIFIED if it has that version, None if absent."""
        ...

    def read(self, key: Key, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Return the bytes from `start` up to `stop`; raise NotFound before the first."""
        ...

    def put(
        self, key: Key, body: ObjectBody, expect: ObjectVersion | None, kind: WebType | None = None
    ) -> ObjectVersion:
        """
        Store `body` whole and return its version; a reader never sees part of it.

        Args:
            key: Where.
            body: What.
            expect: Write only over this version, else raise Conflict. ABSENT: a new key. None: any.
            kind: What a bucket says of it to whoever downloads it; None for the usual.
        """
        ...

    def create_all(self, objects: Sequence[tuple[Key, ObjectBody]]) -> list[Key]:
        """
        Store objects under keys that must be new; return those keys that are taken, and left alone.

        All others are durable once this returns. They appear one by one. No key is there twice.
        After Unavailable, what was stored is unknown.
        """
        taken = list[Key]()
        for key, body in objects:
            try:
                self.put(key, body, ABSENT)
            except Conflict:
                taken.append(key)
        return taken

    def delete(self, key: Key, expect: ObjectVersion | None) -> None:
        """Remove the object; raise Conflict unless it has the version `expect`; None means any."""
        ...

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """Yield the entries whose key starts with `prefix` and is above `after`, in order."""
        ...

    def sign(self, key: Key, lifetime: timedelta) -> str | None:
        """Return a URL that storage itself answers for `lifetime`, or None where it has none."""
        del key, lifetime
        return None

    def path_of(self, key: Key) -> Path | None:
        """Return where the object is a file of this machine, if it is there at all; else None."""
        del key
        return None


def create(store: Store, key: Key, body: bytes) -> ObjectVersion:
    """
    Store an object under a key that must be new, and return its version.

    Conflict means that there is an object, which has been seen.
    """
    try:
        return store.put(key, body, ABSENT)
    except Conflict:
        if store.get(key) is not None:
            raise
        return store.put(key, body, ABSENT)


def conflict_message(key: Key) -> str:
    """Return the message of a Conflict at `key`."""
    return f"{key} was changed by someone else in the meantime. Read it again and retry."
