"""
The storage contract: what every store (folder, memory, bucket) can do with named objects.

An object is a key, bytes, and an opaque version that changes with every write. Reads and listings
see the latest finished write. `tests/storage/conformance.py` asserts the contract.

`put` and `delete` either happen durably, or raise `Conflict` (the object had another version, and
is unchanged), or raise `Unavailable` (the outcome is unknown: read the object to find out).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Final, NamedTuple, NewType, Protocol

from msgspec import Struct

from wheelyard.errors import Conflict

Key = NewType("Key", str)
"""A slash-separated path, 1 to 1024 bytes of UTF-8; a store's are built by `catalog.keys` only."""

ObjectVersion = NewType("ObjectVersion", str)
"""An opaque id of one write of one key; compare with ==, never parse."""

ObjectBody = bytes | Path
"""The bytes to store, or a file on disk that has them; the caller removes the file."""

ABSENT: Final = ObjectVersion("")
"""The version of an object that does not exist."""

CHUNK_BYTES: Final = 256 * 1024
"""Bytes of the largest chunk that `read` yields."""

STORAGE_DENIED: Final = "storage_denied"
"""The error code for an IAM permission that is missing on a bucket."""


class Stored(Struct, frozen=True):
    """The result of `get` for an object that exists: its bytes and its version."""

    body: bytes
    version: ObjectVersion


class NotModified:
    """The result of `get` if the object still has the version that the caller knows."""

    __slots__ = ()


NOT_MODIFIED: Final = NotModified()

Found = Stored | NotModified | None
"""The result of `get`; None if the object does not exist."""


class Entry(NamedTuple):  # a listing has thousands
    """The metadata of one object in a listing."""

    key: Key
    size: int
    """Bytes."""
    version: ObjectVersion
    modified: float
    """When it was written, by the store's clock; seconds since the epoch."""


class WebType(Struct, frozen=True):
    """The headers that a bucket sends with an object that a client downloads from it directly."""

    content_type: str
    cache_control: str


class Store(Protocol):
    """
    The operations on objects under keys; safe to share between threads.

    Every method may raise Unavailable, and otherwise only the errors in its docstring.
    """

    def get(self, key: Key, unless_version: ObjectVersion | None = None) -> Found:
        """Return a small object; NOT_MODIFIED if it has `unless_version`; None if it is absent."""
        ...

    def read(self, key: Key, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """
        Return an iterator of the bytes from offset `start` up to `stop`, which is not included.

        A chunk has at most CHUNK_BYTES. Raises NotFound, before it returns, if the object does not
        exist.
        """
        ...

    def put(
        self, key: Key, body: ObjectBody, expect: ObjectVersion | None, kind: WebType | None = None
    ) -> ObjectVersion:
        """
        Write an object atomically and return its version.

        Args:
            key: The object's key.
            body: Its bytes.
            expect: The version to replace; ABSENT if the key must be new; None for any. Conflict is
                raised if the object has another version.
            kind: The headers of downloads from a bucket; None for the store's default.
        """
        ...

    def put_unsynced(self, key: Key, body: bytes) -> None:
        """
        Write an object that may be missing or damaged after a crash of the machine.

        The reader must notice that, and make the object again.
        """
        self.put(key, body, None)

    def create_all(
        self, objects: Sequence[tuple[Key, ObjectBody]], *, sync_names: bool = True
    ) -> list[Key]:
        """
        Write objects with different keys durably; return the keys that existed already.

        The objects at those keys are unchanged. New objects appear one by one. After Unavailable,
        any of them may have been written. Unless `sync_names`, the bytes are durable, and the
        caller makes the keys durable by `staged`.
        """
        del sync_names
        taken = list[Key]()
        for key, body in objects:
            try:
                self.put(key, body, ABSENT)
            except Conflict:
                taken.append(key)
        return taken

    def staged(
        self, bodies: Sequence[bytes], named: Sequence[Key] = ()
    ) -> AbstractContextManager[Sequence[ObjectBody]]:
        """
        Prepare the bodies of objects that are put one after another within a `with` block.

        A store that syncs does it here for all bodies at once, so that `put` only gives them their
        keys. It also makes the keys `named` durable, of objects that exist.
        """
        del named
        return nullcontext(bodies)

    def delete(self, key: Key, expect: ObjectVersion | None) -> None:
        """
        Delete an object if it has the version `expect`, else raise Conflict.

        With None any version is deleted, and a missing object is no error.
        """
        ...

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """Yield the entries whose key begins with `prefix` and is greater than `after`, sorted."""
        ...

    def sign(self, key: Key, lifetime: timedelta) -> str | None:
        """Return a download URL, valid for half of `lifetime` at least; None if there are none."""
        del key, lifetime
        return None

    def watch(self, key: Key, version: ObjectVersion) -> Callable[[], bool]:
        """
        Return a function that tells whether the object has `version` now; ABSENT: there is none.

        It is for one version that is asked about often, and raises nothing but Unavailable.
        """
        if version == ABSENT:
            return lambda: self.get(key) is None
        return lambda: isinstance(self.get(key, version), NotModified)

    def path_of(self, key: Key) -> Path | None:
        """Return the path of the object's file, existing or not; None if it is not a local file."""
        del key
        return None


def create(store: Store, key: Key, body: bytes) -> ObjectVersion:
    """
    Write an object under a new key, and return its version; raise Conflict if the key exists.

    If a conflict is reported but no object can be read there, the write is tried once more.
    """
    try:
        return store.put(key, body, ABSENT)
    except Conflict:
        if store.get(key) is not None:
            raise
        return store.put(key, body, ABSENT)


def conflict_message(key: Key) -> str:
    """Return the message of the Conflict for an object that does not have the expected version."""
    return f"{key} was changed by someone else in the meantime. Read it again and retry."
