"""
What is stored of credentials: records of API tokens, their last uses, and used statements.

A token's record is created once, and changed only to revoke it. Beside it is the day on which the
token was last used. A signed statement that was used up for a token is an object of its own.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from threading import Lock, Thread
from typing import Final

from msgspec import Struct

from wheelyard.catalog import keys
from wheelyard.catalog.conflict_retry import ConflictRetries
from wheelyard.catalog.document_cache import (
    DAMAGED,
    CachePolicy,
    Codec,
    DocumentCache,
    MaxAge,
    Snapshot,
)
from wheelyard.concurrency.caches import LruCache
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Conflict, NotFound, Unavailable, WheelyardError, quoted
from wheelyard.model.token import TokenRecord, is_token_id
from wheelyard.storage.base import Entry, Key, Store, Stored, create

DAY: Final = timedelta(days=1)
HOUR: Final = timedelta(hours=1)
COOL_DOWN: Final = timedelta(hours=1)
"""How long a store is left alone that did not take the note of a use."""
SINGLE_READ_LIMIT: Final = 10
"""Tokens whose last uses are looked at one by one, because a listing would cost more."""
CACHE_BYTES: Final = 4 * 1024 * 1024
"""Bytes of memory for last uses that were read."""
RECORDED_LIMIT: Final = 200_000
"""Tokens of which a process remembers that it has noted their use today."""

StartThread = Callable[[Callable[[], None]], None]
"""Begins some work, and does not wait for it."""

logger = logging.getLogger("wheelyard")


class LastUse(Struct, frozen=True):
    """What is stored of a token's uses."""

    day: date
    """UTC."""


class UsedIdToken(Struct, frozen=True):
    """What is stored of a statement: not the statement."""

    token: str
    """The id of the token that it was used for."""


def in_background(work: Callable[[], None]) -> None:
    """Do some work in a thread that keeps no process from ending."""
    Thread(target=work, daemon=True).start()


@dataclass(frozen=True, slots=True)
class TokenRecords:
    """The API tokens of an index, as records."""

    store: Store
    documents: DocumentCache[TokenRecord]
    retries: ConflictRetries
    start: StartThread = in_background
    """Begins the writing of last uses."""
    last_uses: "LastUses" = field(init=False)

    def __post_init__(self) -> None:
        """Begin without having noted any use."""
        last_uses = LastUses(self.store, self.retries.runtime, self.start)
        object.__setattr__(self, "last_uses", last_uses)

    def peek(self, token_id: str, max_age: MaxAge = "fresh") -> Snapshot[TokenRecord] | None:
        """Return the record if it is at hand and not too old, else None; never waits."""
        return self.documents.peek(keys.token(token_id), max_age)

    def get(self, token_id: str) -> Snapshot[TokenRecord]:
        """Return the record, waiting for the store only if need be."""
        return self.documents.get(keys.token(token_id))

    def create(self, record: TokenRecord) -> None:
        """Store a new record; raise Conflict if there is a token with that id."""
        create(self.store, keys.token(record.id), self.documents.codec.encode(record))

    def replace(self, record: TokenRecord, snapshot: Snapshot[TokenRecord]) -> bool:
        """Store a changed record; return False if someone else changed it since `snapshot`."""
        try:
            self.documents.put(keys.token(record.id), record, snapshot.version)
        except Conflict:
            return False
        return True

    def latest(self, token_id: str) -> Snapshot[TokenRecord]:
        """Return the record as the store has it now; raise NotFound if there is no such token."""
        known = is_token_id(token_id)
        snapshot = self.documents.get(keys.token(token_id), "now") if known else None
        if snapshot is None or snapshot.value is None:
            raise NotFound(
                f"There is no token with the id {quoted(token_id)}. "
                "See 'wheelyard token list' for those there are.",
                short="No such token.",
            )
        return snapshot

    def all(self) -> Iterator[TokenRecord]:
        """Yield every record, in the order of ids, but damaged ones; read if it is a new one."""
        for entry in self.store.list(keys.TOKENS):
            with suppress(Unavailable):
                snapshot = self.documents.get_listed(entry)
                if snapshot.value is not None:
                    yield snapshot.value


class LastUses:
    """
    On which day each token was last used; safe to share between threads.

    A request pays for that with a look into a cache. What is new is written in the background, once
    for each token, day and process, by one thread at a time. It is a service and no promise: a
    store that cannot be written loses the note, never the request, and is left alone for an hour.
    """

    def __init__(self, store: Store, runtime: Runtime, start: StartThread) -> None:
        self._store = store
        self._start = start
        cache_policy = CachePolicy(is_local=False, freshness=0.0, capacity=CACHE_BYTES)
        self._documents = DocumentCache(store, Codec(LastUse), runtime, cache_policy)
        self._noted: LruCache[str, date] = LruCache(RECORDED_LIMIT)
        self._again = datetime.min.replace(tzinfo=UTC)
        """When the store has rested."""
        self._lock = Lock()
        self._is_writing = False
        self._waiting: deque[tuple[str, datetime]] = deque()

    def note(self, token_id: str, now: datetime) -> None:
        """Note that a token which holds is used; this waits for nothing, and raises nothing."""
        if self._noted.get(token_id) == now.date() or now < self._again:
            return
        with self._lock:
            if self._noted.get(token_id) == now.date():
                return
            self._noted.put(token_id, now.date(), 1)
            self._waiting.append((token_id, now))
            if self._is_writing:
                return
            self._is_writing = True
        try:
            self._start(self._write)
        except RuntimeError:  # no more threads
            with self._lock:
                self._is_writing = False

    def days(self, token_ids: frozenset[str]) -> dict[str, date]:
        """
        Return on which days tokens were last used, as far as that was noted.

        A few are asked for one by one. For more it takes a listing of all that is noted, and a read
        for each of these tokens that was used on another day since this process last asked.
        """
        if len(token_ids) <= SINGLE_READ_LIMIT:
            found = {each: self._noted_at(keys.last_use(each)) for each in token_ids}
        else:
            found = dict(self._listed(token_ids))
        return {each: last.value.day for each, last in found.items() if last and last.value}

    def _listed(self, token_ids: frozenset[str]) -> Iterator[tuple[str, Snapshot[LastUse] | None]]:
        for entry in self._store.list(keys.USES):
            token_id = keys.token_id_of_use(entry.key)
            if token_id is not None and token_id in token_ids:
                yield token_id, self._noted_at(entry.key, entry)

    def _write(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._is_writing = False
                    return
                token_id, now = self._waiting.popleft()
            try:
                self._put(keys.last_use(token_id), now.date())
            except Conflict:
                pass  # another process has noted it just now
            except WheelyardError as fault:
                logger.info("it could not be noted when tokens were last used: %s", fault.message)
                with self._lock:  # what waits is lost
                    self._waiting.clear()
                    self._noted = LruCache(RECORDED_LIMIT)
                    self._again = now + COOL_DOWN

    def _put(self, key: Key, day: date) -> None:
        noted = self._noted_at(key)
        # a day more is what a process notes whose day has begun; more than that is a wrong clock
        if not noted or not noted.value or noted.value.day not in (day, day + DAY):
            self._documents.put(key, LastUse(day), noted.version if noted else None)

    def _noted_at(self, key: Key, entry: Entry | None = None) -> Snapshot[LastUse] | None:
        """Return what is noted at a key, read only if need be; None where it is damaged."""
        try:
            return self._documents.get_listed(entry) if entry else self._documents.get(key, "now")
        except Unavailable as fault:
            if fault.code != DAMAGED:
                raise
            return None


@dataclass(frozen=True, slots=True)
class UsedIdTokens:
    """
    Statements that were used up: each created once, so that only one process ever wins.

    They lie under the hour in which the statement expires, so that what is past lies together and
    comes first in a listing. Each names its token, which is found and removed with it.
    """

    store: Store
    codec: Codec[UsedIdToken] = field(default_factory=lambda: Codec(UsedIdToken))

    def consume(self, issuer: str, mark: str, expires_at: datetime, token_id: str) -> None:
        """
        Use up a statement, for the token with that id; raise Conflict if it was used before.

        Args:
            issuer: Who made it.
            mark: Which of the issuer's it is: its `jti`, any text at all.
            expires_at: When it can be forgotten.
            token_id: What it is used for.
        """
        key = keys.used_id_token(expires_at, digest_of(issuer, mark))
        create(self.store, key, self.codec.encode(UsedIdToken(token_id)))

    def expired_before(self, limit: datetime) -> Iterator[Key]:
        """Yield statements of the hours that ended before `limit`, oldest first."""
        for entry in self.store.list(keys.USED_ID_TOKENS):
            hour = keys.hour_of(entry.key)
            if hour is None:
                continue
            if hour + HOUR > limit:
                return
            yield entry.key

    def token_of(self, key: Key) -> str | None:
        """Return the id of the token that a statement was used for, None if that cannot be read."""
        found = self.store.get(key)
        if not isinstance(found, Stored):
            return None
        try:
            return self.codec.decode(key, found.body).token
        except Unavailable:
            return None

    def delete(self, key: Key) -> None:
        """Forget a statement."""
        self.store.delete(key, None)


def digest_of(issuer: str, mark: str) -> str:
    """Return what names a statement: no issuer has a NUL in it, so no two pairs are alike."""
    # JSON can hold half a surrogate pair, and a claim may be any text
    return sha256(f"{issuer}\0{mark}".encode("utf-8", "surrogatepass")).hexdigest()
