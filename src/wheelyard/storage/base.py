"""
The storage contract: what every store (folder, memory, bucket) can do with named objects.

An object is a key and bytes. There are two kinds. A document is small, and is replaced by
compare-and-swap. A file is content-addressed: its key contains its digest, so two writers of a key
write the same bytes. Reads and listings see the latest finished write.

A write is durable when it returns. After `Conflict` it has certainly not happened: the object has
another version. After `Unavailable` its outcome is unknown, and the caller reads the object to find
out.

A version is opaque, and equal bytes may share one (the ETag of S3 is a digest). So a document that
must be told from another one with the same content carries a random id.

`tests/storage/conformance.py` asserts the contract.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final, NamedTuple, NewType, Protocol, TypeVar

from msgspec import Struct

from wheelyard.errors import DAMAGED, Unavailable
from wheelyard.remedies import Advice, Remedy
from wheelyard.storage.location import BucketLocation

T = TypeVar("T")

Key = NewType("Key", str)
"""A slash-separated path, 1 to 1024 bytes of UTF-8. Only `catalog.keys` makes keys of stores."""

ObjectVersion = NewType("ObjectVersion", str)
"""An opaque id of the object at a key, to be compared with ==, and never parsed."""

FileBody = bytes | Path
"""The bytes of a file, or the path of a file on disk, which the caller removes."""

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
"""The result of `get`. None if the object does not exist."""


class Entry(NamedTuple):  # a listing has thousands
    """The metadata of one object in a listing."""

    key: Key
    size: int
    """Bytes."""
    modified: float
    """When the object was written, in seconds since the epoch, by the store's clock."""

    def state(self, now: float) -> str:
        """
        Return a text that changes whenever the object is written.

        A service whose times are whole seconds does not show a second write of the same size in the
        same second. So an entry that is not settled at `now` has another text than a later listing
        of the same object.
        """
        state = f"{self.modified!r}.{self.size}"
        if self.is_settled(now):
            return state
        return f"{state}?"

    def is_settled(self, now: float) -> bool:
        """
        Return whether any later write of the object gives another time or size.

        `now` is in seconds since the epoch.
        """
        # a fraction shows that the clock of the store is finer than whole seconds
        has_fine_clock = bool(self.modified % 1)
        return has_fine_clock or now - self.modified > SETTLED_SECONDS


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
        """Return a document, NOT_MODIFIED if its version is `unless`, or None if it is absent."""
        ...

    def put(
        self, key: Key, body: bytes, expect: ObjectVersion | None, kind: WebType | None = None
    ) -> ObjectVersion:
        """
        Write a document atomically, and return its version.

        `expect` is the version to replace: ABSENT if the key must be new, None for any. `kind` has
        the headers of downloads from a bucket, None for the store's default.

        Raises Conflict if the object has another version than `expect`.
        """
        ...

    def put_file(self, key: Key, body: FileBody, kind: WebType | None = None) -> None:
        """
        Write a file, whose key contains its digest.

        If the object exists, it has the same bytes. It is written again nevertheless, so that its
        `modified` is now. A body on disk is sent in pieces.
        """
        ...

    def read(self, key: Key, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """
        Return an iterator of the bytes from offset `start` up to `stop`, which is not included.

        A chunk has at most CHUNK_BYTES. All chunks are of one version of the object. Offsets behind
        its end give no bytes. Raises NotFound, before it returns, if the object does not exist. The
        iterator raises Unavailable if the other chunks of that version cannot be read, such as when
        the object was replaced in a bucket meanwhile.
        """
        ...

    def delete(self, key: Key) -> None:
        """Delete an object, whatever its version, or do nothing if it is absent."""
        ...

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """Yield the entries whose key begins with `prefix` and is greater than `after`, sorted."""
        ...

    def time(self, key: Key) -> float:
        """
        Return the time by the store's clock, in seconds since the epoch, perhaps in whole seconds.

        That is the `modified` of an object that is written for this purpose. The object is at `key`
        if the store has no other way, and its bytes mean nothing. Raises Unavailable if it cannot
        be written.
        """
        self.put(key, b"{}\n", None)
        # a `get` does not tell when an object was written, but a listing does
        entry = next(self.list(key))
        return entry.modified

    def with_reserve(self, action: Callable[[], T]) -> T:
        """
        Return the result of an action that may use the reserve of a disk.

        Only an action that makes room, ends access or stops installations may do so, as it cannot
        wait until there is room. Only a store in a folder has a reserve. On a full disk the action
        is called again.
        """
        return action()

    def sign(self, key: Key, lifetime: timedelta) -> str | None:
        """
        Return a URL for the download of an object, or None if clients have to ask the server.

        The URL is valid for half of `lifetime` at least. The object need not exist.
        """
        del key, lifetime
        return None

    def path_of(self, key: Key) -> Path | None:
        """Return the path of the object's file, existing or not, or None outside of a folder."""
        del key
        return None

    def whole_key(self, key: Key) -> Key:
        """Return the key with the folder of this store, if the store is a part of another one."""
        return key

    def bucket_object(self, key: Key) -> tuple[BucketLocation, str] | None:
        """Return the bucket of the object and its name there, or None if it is in no bucket."""
        del key
        return None


class Stores(Struct, frozen=True):
    """Where the objects of an index are: each store may be a location of its own."""

    documents: Store
    """Documents, journals, and objects that can be made again from them."""
    credentials: Store
    """Tokens, sessions, and the grants and groups."""
    files: Store
    """Distributions and their sidecars."""

    @classmethod
    def of(cls, store: Store) -> "Stores":
        """Return the stores of an index that has everything in one location."""
        return cls(store, store, store)


def no_key(key: Key) -> Unavailable:
    """Return the error for a key that no object can have, as only a damaged document names it."""
    return Unavailable(
        f"{key!r} is no key of an object, so the document that lists it is damaged.",
        code=DAMAGED,
        advice=Advice(Remedy.CHECK_STORE),
    )


def conflict_message(key: Key) -> str:
    """Return the message of the Conflict for an object that does not have the expected version."""
    return f"{key} was changed by someone else in the meantime. Read it again and retry."
