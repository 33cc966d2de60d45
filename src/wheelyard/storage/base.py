"""
The storage contract: what every store (folder, memory, bucket) can do with named objects.

An object is a key and bytes. There are two kinds. A document is small and is replaced by
compare-and-swap. A file is content-addressed: its key contains its digest, so two writers of a key
write the same bytes. Reads and listings see the latest finished write.
`tests/storage/conformance.py` asserts the contract.

A write is durable when it returns. `put` raises `Conflict` if the object has another version: this
write has certainly not happened. Any call may raise `Unavailable`: after it the outcome of a write
is unknown, and the caller reads the object to find out.

A version is opaque, and equal bytes may share one (the ETag of S3 is a digest). So a document that
must be told from another one with the same content carries a random id.
"""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final, NamedTuple, NewType, Protocol

from msgspec import Struct

from wheelyard.storage.location import BucketLocation

Key = NewType("Key", str)
"""A slash-separated path, 1 to 1024 bytes of UTF-8; a store's are built by `catalog.keys` only."""

ObjectVersion = NewType("ObjectVersion", str)
"""An opaque id of what a key holds; compare with ==, never parse."""

FileBody = bytes | Path
"""The bytes of a file, or a file on disk that has them; the caller removes that."""

ABSENT: Final = ObjectVersion("")
"""The version of an object that does not exist."""

CHUNK_BYTES: Final = 256 * 1024
"""Bytes of the largest chunk that `read` yields."""

SETTLED_SECONDS: Final = 10.0
"""Seconds by which the clocks of this machine and of a service may differ."""

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
    modified: float
    """When it was written, by the store's clock; seconds since the epoch."""

    def state(self, now: float) -> str:
        """
        Return a text that is another one after a write, once the entry is settled at `now`.

        A service whose times are whole seconds does not show a second write of the same size in the
        same second, so a later listing of an entry that is not settled has another text.
        """
        return f"{self.modified!r}.{self.size}{'' if self.is_settled(now) else '?'}"

    def is_settled(self, now: float) -> bool:
        """
        Return whether another write gives another time or size.

        `now` is as `modified`.
        """
        return bool(self.modified % 1) or now - self.modified > SETTLED_SECONDS


class WebType(Struct, frozen=True):
    """The headers that a bucket sends with an object that a client downloads from it directly."""

    content_type: str
    cache_control: str


class Store(Protocol):
    """
    The operations on objects under keys.

    Threads may share it. Every method may raise Unavailable, and otherwise only the errors in its
    docstring.
    """

    def get(self, key: Key, unless: ObjectVersion | None = None) -> Found:
        """
        Return a document, or None if it is absent.

        The result is NOT_MODIFIED if the document has the version `unless`.
        """
        ...

    def put(
        self, key: Key, body: bytes, expect: ObjectVersion | None, kind: WebType | None = None
    ) -> ObjectVersion:
        """
        Write a document atomically and return its version.

        Args:
            key: The object's key.
            body: Its bytes.
            expect: The version to replace; ABSENT if the key must be new; None for any. Conflict is
                raised if the object has another version.
            kind: The headers of downloads from a bucket; None for the store's default.
        """
        ...

    def put_file(self, key: Key, body: FileBody, kind: WebType | None = None) -> None:
        """
        Write a file, whose key contains its digest.

        Over one that is there, which has its bytes. The object's `modified` is now. A body on disk
        is sent in pieces.
        """
        ...

    def read(self, key: Key, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """
        Return an iterator of the bytes from offset `start` up to `stop`, which is not included.

        A chunk has at most CHUNK_BYTES. All are of one object, or Unavailable is raised between
        them. Raises NotFound, before it returns, if the object does not exist.
        """
        ...

    def delete(self, key: Key) -> None:
        """
        Delete an object, whatever its version.

        A missing one is no error.
        """
        ...

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """Yield the entries whose key begins with `prefix` and is greater than `after`, sorted."""
        ...

    def sign(self, key: Key, lifetime: timedelta) -> str | None:
        """
        Return a download URL, valid for half of `lifetime` at least.

        The result is None if there are none.
        """
        del key, lifetime
        return None

    def path_of(self, key: Key) -> Path | None:
        """Return the path of the object's file, existing or not, None if it is not a local file."""
        del key
        return None

    def bucket_object(self, key: Key) -> tuple[BucketLocation, str] | None:
        """Return the bucket of the object and its name there, or None if it is in no bucket."""
        del key
        return None


class Stores(Struct, frozen=True):
    """
    Where the objects of an index are.

    Each store may be a location of its own.
    """

    documents: Store
    """What is changed by compare-and-swap, journals, and what can be made again."""
    credentials: Store
    """Tokens, sessions, and the grants and groups."""
    files: Store
    """Distributions and their sidecars."""

    @classmethod
    def of(cls, store: Store) -> "Stores":
        """Return the stores of an index that has everything in one location."""
        return cls(store, store, store)


def conflict_message(key: Key) -> str:
    """Return the message of the Conflict for an object that does not have the expected version."""
    return f"{key} was changed by someone else in the meantime. Read it again and retry."
