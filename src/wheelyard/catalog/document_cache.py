"""
Documents of one kind: their stored form, and how long they are believed.

`peek` answers without waiting, or says that it cannot; `get` may wait for the store. Both are told
how old an answer may be. On a store that is near (a folder, memory) every answer is checked by one
cheap look at the object's version. On one that is far, a document is believed for `freshness`
seconds, and longer while the store does not answer, if that is wanted.
"""

from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final, Generic, Literal, TypeVar

from msgspec import DecodeError
from msgspec.json import Decoder, Encoder

from wheelyard.concurrency.caches import LruCache
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Unavailable
from wheelyard.storage.base import ABSENT, Entry, Key, NotModified, ObjectVersion, Store, Stored

T = TypeVar("T")

DAMAGED: Final = "damaged_document"
"""The code of an Unavailable that trying again does not end."""

MaxAge = Literal["now", "fresh", "stale", "ever"]
"""
How old a document may be.

- now: as the store has it now, whatever is remembered
- fresh: not older than `freshness` where the store is far; as it is now where it is near
- stale: not older than `stale_if_error`, for a store that is far and does not answer
- ever: as it was last seen, however long ago
"""

MEMORY_PER_STORED_BYTE: Final = 4
"""Bytes of memory that a decoded byte of JSON costs, about."""
MAX_WEIGHT_DIVISOR: Final = 4
"""The part of the memory for documents that one of them counts for at most, however large it is."""
SNAPSHOT_BYTES: Final = 512
"""Bytes of memory that a snapshot costs by itself, about."""


class Codec(Generic[T]):
    """
    The stored form of one kind of document.

    The bytes of a value are always the same: fields in the order of the class, defaults left out,
    one newline at the end. The journal's hash chain and the rebuilding of documents rest on that.
    """

    def __init__(self, kind: type[T]) -> None:
        self._encoder = Encoder()
        self._decoder = Decoder(kind)

    def encode(self, value: T) -> bytes:
        """Return the bytes of `value`."""
        return self._encoder.encode(value) + b"\n"

    def decode(self, key: Key, body: bytes) -> T:
        """Return the value stored at `key`; raise Unavailable if the bytes are no such value."""
        try:
            return self._decoder.decode(body)
        except DecodeError as error:
            raise damaged(
                f"The document {key} is damaged: {error}. Run 'wheelyard check', which says what "
                "can be done about it."
            ) from error


def digest(body: bytes) -> str:
    """Return the SHA-256 of stored bytes, 64 hexadecimal digits."""
    return sha256(body).hexdigest()


def damaged(message: str, what: str = "damaged") -> Unavailable:
    """Return the fault for a document that is not what was stored there."""
    return Unavailable(message, code=DAMAGED, short=f"A document of the index is {what}.")


@dataclass(frozen=True, slots=True)
class Snapshot(Generic[T]):
    """A document as it was read; `value` is None where there was none."""

    value: T | None
    version: ObjectVersion
    validated_at: float
    """When the store said so, on the monotonic clock."""
    attempted_at: float
    """When it was last asked, whether it answered or not."""
    size: int
    """Stored bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePolicy:
    """How long a document is believed, and how much memory documents may take."""

    is_local: bool
    """Whether a look at an object's version costs next to nothing."""
    freshness: float
    """Seconds that a document is believed where the store is far."""
    stale_if_error: float = 0.0
    """Seconds that it is believed where the store is far and does not answer."""
    capacity: int
    """Bytes of memory for the documents of one kind."""


class DocumentCache(Generic[T]):
    """The documents of one kind in a store; one that `is_kept` is lost if it is gone."""

    def __init__(
        self,
        store: Store,
        codec: Codec[T],
        runtime: Runtime,
        cache_policy: CachePolicy,
        *,
        is_permanent: bool = False,
    ) -> None:
        self.codec = codec
        self._is_permanent = is_permanent
        self._store = store
        self._runtime = runtime
        self._cache_policy = cache_policy
        self._cache: LruCache[Key, Snapshot[T]] = LruCache(cache_policy.capacity)

    def peek(self, key: Key, max_age: MaxAge = "fresh") -> Snapshot[T] | None:
        """Return the document if it is at hand and not too old, else None; never waits."""
        held = self._cache.get(key)
        if held is None or max_age == "ever":
            return held
        if self._cache_policy.is_local:
            current = self._store.get(key, held.version or None)
            unchanged = current is None if held.version == ABSENT else type(current) is NotModified
            return held if unchanged else None
        now = self._runtime.monotonic()
        if max_age == "stale":
            return held if now - held.validated_at < self._cache_policy.stale_if_error else None
        is_fresh = max_age == "fresh" and now - held.attempted_at < self._cache_policy.freshness
        return held if is_fresh else None

    def get(self, key: Key, max_age: MaxAge = "fresh") -> Snapshot[T]:
        """
        Return the document, read again where it is too old, or never read; may wait.

        Where a far store does not answer, a stale one is returned, unless `max_age` is `now`.
        """
        if max_age == "now" or self._cache_policy.is_local:
            return self._refresh(key, max_age)
        held = self.peek(key, max_age)
        if held is not None:
            return held
        try:
            return self._refresh(key, max_age)
        except Unavailable as fault:
            held = self.peek(key, "stale")
            if held is None or fault.code == DAMAGED:
                raise
            # so that the store is asked once a window, and not by everybody
            excused = replace(held, attempted_at=self._runtime.monotonic())
            self._remember(key, excused)
            return excused

    def get_listed(self, entry: Entry) -> Snapshot[T]:
        """Return the document of a line of a listing; read if that version was not seen yet."""
        held = self._cache.get(entry.key)
        is_known = held is not None and held.version == entry.version
        return held if held is not None and is_known else self.get(entry.key, "now")

    def put(self, key: Key, value: T, expect: ObjectVersion | None) -> None:
        """Write a document over a version, and remember it; raise Conflict if that is not there."""
        body, since = self.codec.encode(value), self.now_seconds()
        version = self._store.put(key, body, expect)
        self.store_written(key, Snapshot(value, version, since, since, len(body)), expect)

    def store_written(self, key: Key, written: Snapshot[T], over: ObjectVersion | None) -> None:
        """
        Remember a document that this process has written over a version.

        Its `checked_at` is when the write began: what others have written since is not in it.
        """
        held = self._cache.get(key)
        if held is not None and held.version != over:
            # read while the answer was under way: perhaps what somebody has put on top of ours
            self._cache.discard(key)
            return
        self._remember(key, written)

    def now_seconds(self) -> float:
        """Return the time by the clock that documents are believed by."""
        return self._runtime.monotonic()

    def _refresh(self, key: Key, max_age: MaxAge) -> Snapshot[T]:
        held = self._cache.get(key)
        attempted_at = self._runtime.monotonic()
        found = self._store.get(key, (held.version or None) if held else None)
        snapshot: Snapshot[T]
        if found is None and held is not None and held.value is not None and self._is_permanent:
            # not "not found": installers take that for "not here", and go elsewhere
            raise damaged(
                f"The document {key} was there, and is gone. Run 'wheelyard check', or restore the "
                "store from a backup.",
                "lost",
            )
        if found is None:
            snapshot = Snapshot(None, ABSENT, attempted_at, attempted_at, 0)
        elif isinstance(found, Stored):
            value = self.codec.decode(key, found.body)
            snapshot = Snapshot(value, found.version, attempted_at, attempted_at, len(found.body))
        elif held is not None:
            snapshot = replace(held, validated_at=attempted_at, attempted_at=attempted_at)
        else:  # pragma: no cover - a store never says "not modified" unasked
            raise AssertionError(key)
        other = self._cache.get(key)
        is_other = other is not None and (held is None or other.version != held.version)
        if other is not None and is_other and not self._cache_policy.is_local:
            # perhaps written by this process while the answer was under way
            return snapshot if max_age == "now" else other
        self._remember(key, snapshot)
        return snapshot

    def _remember(self, key: Key, snapshot: Snapshot[T]) -> None:
        weight = SNAPSHOT_BYTES + MEMORY_PER_STORED_BYTE * snapshot.size
        # one that is never kept would be read again by every request
        self._cache.put(
            key, snapshot, min(weight, self._cache_policy.capacity // MAX_WEIGHT_DIVISOR)
        )
