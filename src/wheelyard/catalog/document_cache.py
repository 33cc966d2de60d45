"""
Documents of one kind: their stored form, and a cache of them.

On a local store (a folder, memory) a cached document is revalidated before use, in a folder by one
`stat` of its file. On a remote store a cached document is used without a read for `freshness`
seconds. While a remote store does not answer, it is used until it is `stale_if_error` seconds old.
"""

import gzip
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from math import inf
from threading import Lock
from typing import Any, Final, Generic, Literal, TypeVar

from msgspec import DecodeError, Struct
from msgspec.json import Decoder, Encoder
from msgspec.structs import replace

from wheelyard.concurrency.caches import LruCache
from wheelyard.concurrency.runtime import Runtime
from wheelyard.concurrency.threads import prefetch_map
from wheelyard.errors import DAMAGED, OVERLOADED, UNREADABLE_CODES, Conflict, Unavailable
from wheelyard.model.decoding import Extensible, ExtensibleCodec, encode_all_fields
from wheelyard.remedies import Advice, Remedy
from wheelyard.storage.base import ABSENT, Entry, Key, NotModified, ObjectVersion, Store, Stored

T = TypeVar("T")

MaxAge = Literal["current", "fresh", "stale", "any"]
"""
The maximum age of a cached document.

- current: the document as it is in the store now
- fresh: at most `freshness` seconds on a remote store. On a local store the same as `current`
- stale: at most `stale_if_error` seconds, for a remote store that does not answer
- any: a document of any age
"""

LOCKS: Final = 256
"""The number of locks that all documents of a cache share."""
MEMORY_PER_STORED_BYTE: Final = 4
"""The estimated bytes of memory for each stored byte of a decoded document."""
SNAPSHOT_BYTES: Final = 512
"""The estimated bytes of memory for a snapshot without its document."""
MAX_WEIGHT_DIVISOR: Final = 4
"""A document counts as at most capacity / 4, so that the largest one is cached, too."""

_GZIP_LEVEL: Final = 3
"""Level 6 takes two to three times as long, and saves 6 to 8 percent."""
_GZIP_WINDOW_BITS: Final = 31
"""With these, zlib expects a gzip member and verifies its checksum and length."""


class Codec(Generic[T]):
    """
    Converts values of one class to their stored bytes, canonical JSON, and back.

    Equal values have equal bytes: fields in the order of the class, without defaults if the class
    omits them, and a newline at the end. The journal's hash chain and the rebuilding of documents
    need that. Fields that only a newer version knows are kept if the class is `Extensible`.
    """

    def __init__(self, kind: type[T]) -> None:
        self._encoder = Encoder()
        self._decoder = Decoder(kind)
        # `kind` may be a type such as `dict[str, int]`, which `issubclass` does not take
        is_extensible = hasattr(kind, "other_fields")
        self._extensible = ExtensibleCodec[Any](kind) if is_extensible else None

    def encode(self, value: T) -> bytes:
        """Return the bytes to store for `value`."""
        if isinstance(value, Extensible):
            return encode_all_fields(value) + b"\n"
        return self._encoder.encode(value) + b"\n"

    def decode(self, key: Key, body: bytes) -> T:
        """
        Return the value of the stored bytes `body`.

        Raises Unavailable if the bytes are invalid (code `damaged_document`), or if only a newer
        version may read them (code `newer_document`). `key` is for the message.
        """
        # nobody has checked these bytes before, and a person may have edited them
        try:
            return self._read(key, body)
        except DecodeError as error:
            raise damaged(f"The document {key} is damaged: {error}.") from error

    def _read(self, key: Key, body: bytes) -> T:
        """Return the value of `body`, or raise DecodeError."""
        del key
        return (self._extensible or self._decoder).decode(body)

    def decode_whole(self, key: Key, body: bytes) -> T:
        """
        Return the value of the stored bytes `body`, all of whose parts this version knows.

        Raises Unavailable if the bytes are invalid, or have parts that this version does not know
        (code `damaged_document`), or if only a newer version may read them (code `newer_document`).
        """
        value = self.decode(key, body)
        self.require_whole(key, value, len(body))
        return value

    def require_whole(self, key: Key, value: T, size: int) -> None:
        """Raise Unavailable if the `size` bytes that `value` was read from have unknown parts."""
        # by the size, as an older version may have written the fields in another order
        if len(self.encode(value)) != size:
            raise damaged(
                f"The document {key} has parts that this version of wheelyard does not know. "
                "Upgrade wheelyard, before anything else is tried."
            )


def digest(body: bytes) -> str:
    """Return the SHA-256 of `body` as 64 hexadecimal digits."""
    return sha256(body).hexdigest()


def damaged(message: str) -> Unavailable:
    """Return the error for a damaged object (code `damaged_document`)."""
    return Unavailable(message, code=DAMAGED, advice=Advice(Remedy.CHECK_STORE))


def lost(message: str) -> Unavailable:
    """Return the error for a lost object that can be made again (code `damaged_document`)."""
    return Unavailable(message, code=DAMAGED, advice=Advice(Remedy.REBUILD_STORE))


class UnreadableIgnored:
    """
    Suppresses, in a `with`, the error of a document that is damaged or of a newer version.

    `wheelyard check` reports such documents.
    """

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: object, _traceback: object) -> bool:
        return isinstance(error, Unavailable) and error.code in UNREADABLE_CODES


def read_usable(store: Store, key: Key, codec: Codec[T], empty: T) -> tuple[T, ObjectVersion]:
    """
    Return a document and its version, or `empty` for a document that is missing or unreadable.

    Raises Unavailable if the store does not answer.
    """
    stored = store.get(key)
    if not isinstance(stored, Stored):
        return empty, ABSENT
    with UnreadableIgnored():
        return codec.decode(key, stored.body), stored.version
    return empty, stored.version


class Snapshot(Struct, Generic[T], frozen=True):
    """A document as it was read or written."""

    value: T | None
    """The document, or None if it did not exist."""
    version: ObjectVersion
    validated_at: float
    """When the read or write began that gave this version, on the monotonic clock."""
    attempted_at: float
    """When the last read began, even if it failed, on the monotonic clock."""
    size: int
    """The number of its stored bytes."""
    listed: str = ""
    """Its `Entry.state` in the listing after which it was read, or empty without a listing."""


class CachePolicy(Struct, frozen=True, kw_only=True):
    """How long documents are cached, and in how much memory."""

    is_local: bool
    """Whether the store is local, so that every document is revalidated."""
    freshness: float
    """Seconds for which a document of a remote store is used without a read."""
    stale_if_error: float = 0.0
    """Seconds for which a document is used while a remote store does not answer (RFC 5861)."""
    capacity: int
    """The most bytes of memory for the documents of one kind."""


class DocumentCache(Generic[T]):
    """
    Reads, writes and caches the documents of one kind.

    Threads may share an object. A document that `is_permanent` is never deleted: if it is cached
    and missing from the store, it is lost, and a read of it raises Unavailable. But if `is_unknown`
    says that no other object of the store belongs to it, the store is an older copy, in which the
    document does not exist.
    """

    def __init__(
        self,
        store: Store,
        codec: Codec[T],
        runtime: Runtime,
        policy: CachePolicy,
        *,
        is_permanent: bool = False,
        is_unknown: Callable[[Key], bool] = lambda _key: False,
    ) -> None:
        self.codec = codec
        self._is_permanent = is_permanent
        self._is_unknown = is_unknown
        self._store = store
        self._folder = store.whole_key(Key(""))
        """The prefix of each key in a message."""
        self._runtime = runtime
        self._policy = policy
        self._cache: LruCache[Key, Snapshot[T]] = LruCache(policy.capacity)
        self._locks = dict[int, Lock]()
        """Held while a document of a remote store is read, so that threads share the read."""

    @property
    def is_local(self) -> bool:
        """Whether the store is local, so that every document is revalidated."""
        return self._policy.is_local

    def peek(self, key: Key, max_age: MaxAge = "fresh") -> Snapshot[T] | None:
        """
        Return the cached document, or None if it is not cached, or older than `max_age`.

        A remote store is not read. A local store is asked whether the cached version is current,
        unless `max_age` is `any`. Raises Unavailable if a local store does not answer. A snapshot
        without a value says that there was no such document.
        """
        cached = self._cache.get(key)
        if cached is None or max_age == "any":
            return cached
        if self._policy.is_local and cached.version == ABSENT:
            is_usable = self._is_absent(key)
        elif self._policy.is_local:
            is_usable = type(self._store.get(key, cached.version)) is NotModified
        elif max_age == "stale":
            age = self._runtime.monotonic() - cached.validated_at
            is_usable = age < self._policy.stale_if_error
        else:
            # by the last attempt, so that a store that does not answer is not asked each time
            age = self._runtime.monotonic() - cached.attempted_at
            is_usable = max_age == "fresh" and age < self._policy.freshness
        if not is_usable:
            return None
        return cached

    def _is_absent(self, key: Key) -> bool:
        """Return whether a local store lacks a document: in a folder by one system call."""
        path = self._store.path_of(key)
        try:
            if path is not None:
                os.lstat(path)
                return False
        except FileNotFoundError:
            return True
        except OSError:
            pass  # the read below raises the error for it
        return self._store.get(key) is None

    def get(self, key: Key, max_age: MaxAge = "fresh") -> Snapshot[T]:
        """
        Return the document, read from the store unless the cached document is recent enough.

        The snapshot has no value if the store has no such document. A local store is always asked.
        If a remote store does not answer, the cached document is returned for `stale_if_error`
        seconds, unless `max_age` is `current`.

        Raises Unavailable if the store does not answer, and no cached document is returned. Raises
        Unavailable if the document is damaged or lost (code `damaged_document`), or if only a newer
        version may read it (code `newer_document`).
        """
        if max_age == "current" or self._policy.is_local:
            return self._revalidate(key, max_age)
        # a thread that has waited here finds the document in the cache
        with self._locks.setdefault(hash(key) % LOCKS, Lock()):
            return self._get_remote(key, max_age)

    def read_ahead(self, key: Key) -> Snapshot[T]:
        """
        Return the document as it is in the store now, and cache it as one that is not fresh.

        A process calls this at its start, and reads the document again when it is first needed, so
        that it does not miss a change in between. Raises Unavailable if the store does not answer,
        or the document is damaged or lost, or of a newer version.
        """
        snapshot = replace(self._revalidate(key, "current"), attempted_at=-inf)
        self._remember(key, snapshot)
        return snapshot

    def _get_remote(self, key: Key, max_age: MaxAge) -> Snapshot[T]:
        """Return the document of a remote store for a thread that holds the document's lock."""
        cached = self.peek(key, max_age)
        if cached is not None:
            return cached
        try:
            return self._revalidate(key, max_age)
        except Unavailable as fault:
            cached = self.peek(key, "stale")
            if cached is None or fault.code in UNREADABLE_CODES:
                raise
            # so that the store is asked again after `freshness` seconds, and not by every request
            stale = replace(cached, attempted_at=self._runtime.monotonic())
            self._remember(key, stale)
            return stale

    def get_listed(self, entry: Entry) -> Snapshot[T]:
        """
        Return the cached document if it has not changed by a listing, else read it.

        The snapshot has no value if the document was deleted since. Raises Unavailable if the store
        does not answer, if the document is damaged or lost (code `damaged_document`), or if only a
        newer version may read it (code `newer_document`).
        """
        cached = self._cache.get(entry.key)
        # an object that was just written may change again without another time of change
        now = self._runtime.seconds()
        state = entry.state(now)
        if cached is not None and cached.listed == state and entry.is_settled(now):
            return cached
        # read after the listing, so the document is at least as new as its entry
        snapshot = replace(self.get(entry.key, "current"), listed=state)
        cached = self._cache.get(entry.key)
        if cached is not None and cached.version == snapshot.version:
            self._remember(entry.key, snapshot)
        return snapshot

    def read_listed(self, entries: Iterable[Entry], threads: int) -> Iterator[T]:
        """
        Yield the documents of a listing, in its order.

        Documents whose current version is cached are not read, and the others by so many threads.
        Documents that are damaged, that only a newer version may read, or that were deleted since
        are left out. Raises Unavailable if the store does not answer.
        """

        def read(entry: Entry) -> T | None:
            with UnreadableIgnored():
                return self.get_listed(entry).value
            return None

        for value in prefetch_map(read, entries, threads):
            if value is not None:
                yield value

    def put(self, key: Key, value: T, expect: ObjectVersion | None) -> None:
        """
        Write `value` over the version `expect`, or over any version for None, and cache it.

        Raises Conflict if the store has another version. Raises Unavailable if it is not known
        whether the document was written.
        """
        body = self.codec.encode(value)
        started_at = self.now_seconds()
        version = self._store.put(key, body, expect)
        self.cache_written(key, Snapshot(value, version, started_at, started_at, len(body)), expect)

    def swap(
        self,
        key: Key,
        value: T,
        expect: ObjectVersion,
        was_written: Callable[[T | None], bool] | None = None,
    ) -> bool:
        """
        Write `value`, as by `put`, and return whether it was written.

        It was not written if another writer was faster, or if the store refuses more writes for
        now. If the answer was lost, `was_written` decides, by the document in the store now.
        Without `was_written`, a lost answer counts as a write that did not happen.

        Raises Unavailable if the write may still happen, or if the document cannot be read after a
        lost answer.
        """
        try:
            self.put(key, value, expect)
        except Conflict:
            return False
        except Unavailable as fault:
            snapshot = self.get(key, "current")
            if was_written is not None and was_written(snapshot.value):
                return True
            # the write may still happen, and the caller may try again: only one of both succeeds
            if snapshot.version == expect and fault.code != OVERLOADED:
                raise
            return False
        return True

    def cache_written(self, key: Key, written: Snapshot[T], over: ObjectVersion | None) -> None:
        """
        Cache a document that this process has just written to the store over the version `over`.

        If another version than `over` is cached, it may be newer than the written one. Then it is
        removed from the cache, and nothing is cached. `validated_at` of `written` is the time
        before the write, as later writes of other processes are not in the document.
        """
        cached = self._cache.get(key)
        if cached is not None and cached.version != over:
            # read during the write, so this may be the version after the written one
            self._cache.discard(key)
            return
        self._remember(key, written)

    def now_seconds(self) -> float:
        """Return the monotonic time in seconds, the clock of `validated_at` and `attempted_at`."""
        return self._runtime.monotonic()

    def _revalidate(self, key: Key, max_age: MaxAge) -> Snapshot[T]:
        """Return the document as it is in the store now, and cache it."""
        cached = self._cache.get(key)

        # before the read, as the answer may lack writes that are made during it
        now = self._runtime.monotonic()
        cached_version: ObjectVersion | None = None
        if cached is not None and cached.version != ABSENT:
            cached_version = cached.version
        stored = self._store.get(key, cached_version)
        snapshot: Snapshot[T]
        if stored is None:
            self._require_not_lost(key, cached)
            snapshot = Snapshot(None, ABSENT, now, now, 0)
        elif isinstance(stored, Stored):
            value, stored = self._decode_latest(key, stored)
            snapshot = Snapshot(value, stored.version, now, now, len(stored.body))
        elif cached is not None:
            snapshot = replace(cached, validated_at=now, attempted_at=now)
        else:  # pragma: no cover - a store says "not modified" only about a version it was given
            raise AssertionError(key)
        latest = self._cache.get(key)
        is_replaced = latest is not None and (cached is None or latest.version != cached.version)
        if latest is not None and is_replaced and not self._policy.is_local:
            # cached during this read, perhaps by a write of this process: it may be newer
            if max_age == "current":
                return snapshot
            return latest
        self._remember(key, snapshot)
        return snapshot

    def _require_not_lost(self, key: Key, cached: Snapshot[T] | None) -> None:
        """Raise Unavailable if a permanent document is cached, which the store has no more."""
        was_there = cached is not None and cached.value is not None
        if was_there and self._is_permanent and not self._is_unknown(key):
            # not NotFound: an installer that gets 404 continues with its next index
            raise lost(
                f"The document {self._folder}{key} was there, and is gone. If the store was "
                "restored from a backup, restart the server."
            )

    def is_outdated(self, value: T) -> bool:
        """Return whether the store has had a later state of a document. A subclass may override."""
        del value
        return False

    def _decode_latest(self, key: Key, stored: Stored) -> tuple[T, Stored]:
        """Decode an object, or the newer object if the document was written again since."""
        # each round needs another write of the document in between, so the loop ends
        while True:
            value = self.codec.decode(Key(self._folder + key), stored.body)
            if not self.is_outdated(value):
                return value, stored
            latest = self._store.get(key, stored.version)
            if not isinstance(latest, Stored):
                # somebody has put back an earlier document, which may give rights that were ended
                raise lost(f"The document {self._folder}{key} is older than its journal.")
            stored = latest

    def _remember(self, key: Key, snapshot: Snapshot[T]) -> None:
        """Cache a snapshot, with the estimated memory that it takes as its weight."""
        weight = SNAPSHOT_BYTES + MEMORY_PER_STORED_BYTE * snapshot.size
        max_weight = self._policy.capacity // MAX_WEIGHT_DIVISOR
        self._cache.put(key, snapshot, min(weight, max_weight))


def gzipped(body: bytes) -> bytes:
    """Return `body` compressed. Equal bytes give equal bytes."""
    return gzip.compress(body, _GZIP_LEVEL, mtime=0)


def gunzipped(body: bytes, limit: int) -> bytes | None:
    """
    Return the bytes that `gzipped` has compressed.

    Return None if `body` is damaged, cut off or followed by other bytes, or if the result would be
    larger than `limit` bytes. At most `limit` + 1 bytes of the result are ever in memory.
    """
    inflater = zlib.decompressobj(_GZIP_WINDOW_BITS)
    try:
        raw = inflater.decompress(body, limit + 1)
    except zlib.error:
        return None
    if not inflater.eof or inflater.unused_data or len(raw) > limit:
        return None
    return raw
