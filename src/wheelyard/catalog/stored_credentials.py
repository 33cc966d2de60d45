"""Stored facts about API tokens, used OIDC ID tokens, and sessions of browsers."""

import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from itertools import islice
from threading import Lock, Thread
from typing import Annotated, Final

from msgspec import Meta, Struct
from msgspec.structs import replace

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import (
    CachePolicy,
    Codec,
    DocumentCache,
    MaxAge,
    Snapshot,
    UnreadableIgnored,
)
from wheelyard.concurrency.caches import LruCache
from wheelyard.concurrency.runtime import ConflictRetries, Runtime
from wheelyard.concurrency.threads import prefetch_map
from wheelyard.errors import Conflict, NotFound, WheelyardError, quoted
from wheelyard.model.api_token import TokenRecord, is_token_id
from wheelyard.remedies import Advice, Remedy
from wheelyard.storage.base import ABSENT, Entry, Key, Store, Stored

DAY: Final = timedelta(days=1)
HOUR: Final = timedelta(hours=1)
COOL_DOWN: Final = timedelta(hours=1)
"""The pause after the store has refused to record a use."""
SINGLE_READ_LIMIT: Final = 10
"""Number of tokens whose last uses are read one by one, because a listing would cost more."""
CACHE_BYTES: Final = 4 * 1024 * 1024
"""Bytes of memory for cached last uses."""
RECORDED_LIMIT: Final = 200_000
"""Number of tokens whose recorded day is cached."""

StartThread = Callable[[Callable[[], None]], None]
"""Runs a function in the background, and returns at once."""

logger = logging.getLogger("wheelyard")


class LastUse(Struct, frozen=True):
    """The stored document with the day of a token's last use."""

    day: date
    """UTC."""


class UsedIdToken(Struct, frozen=True):
    """The stored document of a used ID token, which is not in it."""

    token: str
    """The id of the API token that it was exchanged for."""


def in_background(work: Callable[[], None]) -> None:
    """Run `work` in a daemon thread, which does not keep the process from exiting."""
    Thread(target=work, daemon=True).start()


class TokenRecords(Struct, frozen=True):
    """
    Reads and writes the records of API tokens.

    Threads may share it. Every method raises Unavailable if the store that it reads or writes does
    not answer. Those that return one record raise it also if that is damaged.
    """

    store: Store
    documents: DocumentCache[TokenRecord]
    retries: ConflictRetries
    last_uses: "LastUses"
    threads: int = 1
    """The number of records that are read concurrently."""

    def peek(self, token_id: str, max_age: MaxAge = "fresh") -> Snapshot[TokenRecord] | None:
        """Return the record if it is cached and recent enough, else None (see DocumentCache)."""
        return self.documents.peek(keys.token(token_id), max_age)

    def get(self, token_id: str) -> Snapshot[TokenRecord]:
        """Return a snapshot of a record, read from the store unless a fresh one is cached."""
        return self.documents.get(keys.token(token_id))

    def find(self, token_id: str) -> TokenRecord | None:
        """Return a record, from the cache or the store, or None if there is none."""
        return self.get(token_id).value

    def create(self, record: TokenRecord) -> TokenRecord:
        """
        Store a new record, and return it as stored.

        Raises Conflict if a token has this id.
        """
        written = self._next(record)
        self.store.put(keys.token(record.id), self.documents.codec.encode(written), ABSENT)
        return written

    def replace(self, record: TokenRecord, snapshot: Snapshot[TokenRecord]) -> TokenRecord | None:
        """
        Store a changed record, and return it as stored, or None if `snapshot` is outdated.

        After None, the caller reads the record again, and decides again. Raises Unavailable if its
        rotation has parts that would be lost, as this version does not know them.
        """
        written = self._next(record)

        def was_written(current: TokenRecord | None) -> bool:
            return current is not None and current.write_id == written.write_id

        key = keys.token(record.id)
        # of a rotation not all is kept, as of the record itself
        if snapshot.value is not None and snapshot.value.rotation is not None:
            self.documents.codec.require_whole(key, snapshot.value, snapshot.size)
        return written if self.documents.swap(key, written, snapshot.version, was_written) else None

    def _next(self, record: TokenRecord) -> TokenRecord:
        """Return a record for its next write."""
        write_id = self.retries.runtime.new_id()
        return replace(record, revision=record.revision + 1, write_id=write_id)

    def get_for_update(self, token_id: str) -> Snapshot[TokenRecord]:
        """
        Return the record as it is in the store now.

        Raises NotFound if there is none.
        """
        is_valid = is_token_id(token_id)
        snapshot = self.documents.get(keys.token(token_id), "current") if is_valid else None
        if snapshot is None or snapshot.value is None:
            raise NotFound(
                f"There is no token with the id {quoted(token_id)}.",
                advice=Advice(Remedy.LIST_TOKENS),
            )
        return snapshot

    def update(
        self, token_id: str, change: Callable[[TokenRecord], TokenRecord]
    ) -> tuple[TokenRecord, TokenRecord]:
        """
        Store `change(record)` as the record of a token, and return the record before and after.

        After a conflict, `change` is called again, with the record of that time. It may return the
        record itself, so that nothing is written.

        Raises NotFound for an unknown token, Unavailable if too many writers change it, and what
        `change` raises.
        """
        for _ in self.retries.attempts():
            snapshot = self.get_for_update(token_id)
            record = snapshot.value
            assert record is not None  # noqa: S101 - `get_for_update` raises if it is missing
            changed = change(record)
            if changed == record:
                return record, record
            # None after a conflict: the next attempt decides again, by the record of that time
            written = self.replace(changed, snapshot)
            if written is not None:
                return record, written
        raise self.retries.exhausted(f"the token {token_id}")

    def all(self) -> Iterator[TokenRecord]:
        """
        Return an iterator of the records, sorted by id.

        A record cached in its current version is not read. A damaged record is left out: `check`
        reports it.
        """
        return self.documents.read_listed(self.store.list(keys.TOKENS), self.threads)

    def name_of(self, principal: str) -> str:
        """
        Return the name of the API token that is this principal (`token:ID`).

        It is empty for other principals, and for a token whose record is gone or damaged.
        """
        record = self._readable_record_of(principal)
        return record.name if record else ""

    def owner_of(self, principal: str) -> str:
        """Return the owner of the API token that is this principal, or empty as `name_of`."""
        record = self._readable_record_of(principal)
        return record.owner if record else ""

    def _readable_record_of(self, principal: str) -> TokenRecord | None:
        kind, _, token_id = principal.partition(":")
        with UnreadableIgnored():
            return self.find(token_id) if kind == "token" and is_token_id(token_id) else None
        return None


class LastUses:
    """
    The day on which each token was last used.

    Threads may share it. A request waits for no write: a background thread writes each new day, at
    most once for each token, day and process. If the store refuses a write, the pending days are
    lost, and no day is recorded for `COOL_DOWN`.
    """

    def __init__(
        self,
        store: Store,
        runtime: Runtime,
        start: StartThread = in_background,
        threads: int = 1,
    ) -> None:
        self._store = store
        self._start = start
        self._threads = threads
        policy = CachePolicy(is_local=False, freshness=0.0, capacity=CACHE_BYTES)
        self._documents = DocumentCache(store, Codec(LastUse), runtime, policy)
        self._recorded: LruCache[str, date] = LruCache(RECORDED_LIMIT)
        self._retry_at = datetime.min.replace(tzinfo=UTC)
        self._lock = Lock()
        self._is_writing = False
        self._pending: deque[tuple[str, datetime]] = deque()

    def record(self, token_id: str, now: datetime) -> None:
        """
        Have a background thread record that a token is used today, unless this process has.

        Never waits for the store, and never raises. During the cool-down it does nothing.
        """
        if self._recorded.get(token_id) == now.date() or now < self._retry_at:
            return
        with self._lock:
            # again: another request with this token may have been faster
            if self._recorded.get(token_id) == now.date():
                return
            # before it is written, so that no request in between records it once more
            self._recorded.put(token_id, now.date(), 1)
            self._pending.append((token_id, now))
            if self._is_writing:
                return
            self._is_writing = True
        try:
            self._start(self._write)
        except RuntimeError:  # no more threads
            with self._lock:
                self._is_writing = False
                for unwritten, _ in self._pending:
                    self._recorded.discard(unwritten)  # the next use tries again
                self._pending.clear()

    def days(self, token_ids: frozenset[str]) -> dict[str, date]:
        """
        Return the day of the last recorded use by token id.

        A token that was never used, or whose record of that is damaged, is left out. A few tokens
        are read one by one. For more, all last uses are listed, and only those are read that have
        changed since this process last read them. Raises Unavailable if the store does not answer.
        """
        if len(token_ids) <= SINGLE_READ_LIMIT:
            uses = {token_id: self._load(keys.last_use(token_id)) for token_id in token_ids}
        else:
            uses = dict(self._listed(token_ids))
        return {token_id: last.value.day for token_id, last in uses.items() if last and last.value}

    def _listed(self, token_ids: frozenset[str]) -> Iterator[tuple[str, Snapshot[LastUse] | None]]:
        wanted = [
            (token_id, entry)
            for entry in self._store.list(keys.LAST_USES)
            if (token_id := keys.token_id_of_use(entry.key)) in token_ids and token_id is not None
        ]
        uses = prefetch_map(lambda use: self._load(use[1].key, use[1]), wanted, self._threads)
        return zip((token_id for token_id, _ in wanted), uses, strict=True)

    def _write(self) -> None:
        # runs in the one background thread, which ends when nothing is pending
        while True:
            with self._lock:
                if not self._pending:
                    # in the same lock as the look: what is recorded after this starts a new thread
                    self._is_writing = False
                    return
                token_id, now = self._pending.popleft()
            try:
                self._put(keys.last_use(token_id), now.date())
            except Conflict:
                pass  # another process has recorded it at the same time
            except WheelyardError as fault:
                logger.info("it could not be noted when tokens were last used: %s", fault.message)
                with self._lock:
                    self._pending.clear()
                    self._recorded = LruCache(RECORDED_LIMIT)
                    self._retry_at = now + COOL_DOWN

    def _put(self, key: Key, day: date) -> None:
        last = self._load(key)
        # a process whose clock is ahead may have recorded the next day; a later one is an error
        if not last or not last.value or last.value.day not in (day, day + DAY):
            self._documents.put(key, LastUse(day), last.version if last else None)

    def _load(self, key: Key, entry: Entry | None = None) -> Snapshot[LastUse] | None:
        """
        Return the last use at `key` as it is in the store now, or None if it is damaged.

        With its listed `entry`, it is read only if that version is not cached.
        """
        with UnreadableIgnored():
            if entry is not None:
                return self._documents.get_listed(entry)
            return self._documents.get(key, "current")
        return None


_USED_ID_TOKENS: Final = Codec(UsedIdToken)


class UsedIdTokens(Struct, frozen=True):
    """
    OIDC ID tokens that were used: each is recorded once, so that only one process can use it.

    The keys of the records begin with the hour in which the ID token expires, so that a listing has
    the expired ones first. A record has the id of the API token that the ID token was exchanged
    for, so that a cleanup can remove both. Every method raises Unavailable if the store does not
    answer.
    """

    store: Store

    def consume(self, issuer: str, jti: str, expires_at: datetime, token_id: str) -> None:
        """
        Record that an ID token is used.

        `issuer` and `jti` are its claims. The record is not needed after `expires_at`. `token_id`
        is the API token that the ID token is exchanged for.

        Raises Conflict if the ID token was used before.
        """
        key = self._key(issuer, jti, expires_at)
        # create-only: of two processes that get the same ID token, one gets the Conflict
        self.store.put(key, _USED_ID_TOKENS.encode(UsedIdToken(token_id)), ABSENT)

    def is_used(self, issuer: str, jti: str, expires_at: datetime) -> bool:
        """Return whether a use was recorded by `consume`, whose arguments these are."""
        return isinstance(self.store.get(self._key(issuer, jti, expires_at)), Stored)

    @staticmethod
    def _key(issuer: str, jti: str, expires_at: datetime) -> Key:
        return keys.used_id_token(expires_at, digest_of(issuer, jti))

    def expired_before(self, limit: datetime) -> Iterator[Key]:
        """Yield the keys of the records whose expiry hour has ended by `limit`, oldest first."""
        return expired_keys(self.store, keys.USED_ID_TOKENS, limit)

    def token_of(self, key: Key) -> str | None:
        """Return the API token's id in the record at `key`, or None if missing or damaged."""
        stored = self.store.get(key)
        with UnreadableIgnored():
            if isinstance(stored, Stored):
                return _USED_ID_TOKENS.decode(key, stored.body).token
        return None


def expired_keys(store: Store, prefix: str, limit: datetime) -> Iterator[Key]:
    """
    Yield the keys below a prefix whose expiry hour has ended by `limit`, oldest first.

    Raises Unavailable if the store does not answer.
    """
    for entry in store.list(prefix):
        hour = keys.expiry_hour(entry.key)
        if hour is None:
            continue
        # keys are sorted by hour, so all that follow are later
        if hour + HOUR > limit:
            return
        yield entry.key


def digest_of(issuer: str, jti: str) -> str:
    """Return the hexadecimal SHA-256 of issuer and `jti`, which no two ID tokens share."""
    # the NUL keeps them apart, as no issuer has one
    # a JSON string can hold a lone surrogate
    return sha256(f"{issuer}\0{jti}".encode("utf-8", "surrogatepass")).hexdigest()


KEY_BYTES: Final = 32
CLOCK_SKEW: Final = timedelta(minutes=2)
"""The largest difference between the clocks of two servers."""


class SessionKey(Struct, frozen=True):
    """The stored document with the key of all sessions."""

    key: Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
    created_at: datetime

    def __repr__(self) -> str:  # without the secret
        return f"SessionKey(created_at={self.created_at})"


class EndedSession(Struct, frozen=True):
    """The stored document about a session that was signed out."""

    ended_at: datetime


class SessionRecords(Struct, frozen=True):
    """
    Reads and writes the key of sessions, and the records of ended ones.

    Threads may share it. Every method raises Unavailable if the store that it reads or writes does
    not answer.
    """

    store: Store
    key_documents: DocumentCache[SessionKey]
    ended_documents: DocumentCache[EndedSession]
    runtime: Runtime

    def peek_key(self) -> bytes | None:
        """
        Return the key if it is cached and recent enough, else None.

        Does not read a remote store.
        """
        return _key_in(self.key_documents.peek(keys.SESSION_KEY))

    def key(self, max_age: MaxAge = "fresh") -> bytes | None:
        """Return the key, read unless it is cached, or None if there is none, or it is damaged."""
        with UnreadableIgnored():
            return _key_in(self.key_documents.get(keys.SESSION_KEY, max_age))
        return None

    def require_key(self) -> bytes:
        """
        Return the key, which is created if there is none.

        Raises Unavailable if it is damaged.
        """
        key = _key_in(self.key_documents.get(keys.SESSION_KEY))
        while key is None:
            made = SessionKey(self.runtime.random.randbytes(KEY_BYTES).hex(), self.runtime.now())
            try:
                self.store.put(keys.SESSION_KEY, self.key_documents.codec.encode(made), ABSENT)
            except Conflict:
                pass  # another process was faster
            else:
                logger.info("the key of browser sessions was created: %s", keys.SESSION_KEY)
            # read, also after the own write: two servers that begin at once must use the same key
            key = _key_in(self.key_documents.get(keys.SESSION_KEY, "current"))
        return key

    def end(self, session_id: str, expires_at: datetime) -> None:
        """Record that a session has ended, unless that is recorded already."""
        key, ended = keys.ended_session(expires_at, session_id), EndedSession(self.runtime.now())
        with suppress(Conflict):  # it was ended in another tab
            self.store.put(key, self.ended_documents.codec.encode(ended), ABSENT)
        # this server has cached that there is no such record: read it, so that the end counts here
        self.ended_documents.get(key, "current")

    def has_ended(self, session_id: str, expires_at: datetime) -> bool:
        """Return whether the store has a record, damaged or not, that a session was signed out."""
        with UnreadableIgnored():
            key = keys.ended_session(expires_at, session_id)
            return self.ended_documents.get(key).value is not None
        return True

    def remove_expired(self, at_most: int | None = None) -> int:
        """
        Delete the records of ended sessions that have expired, and return how many.

        At most `at_most` are deleted, or all for None.
        """
        limit = self.runtime.now() - CLOCK_SKEW
        expired = list(islice(expired_keys(self.store, keys.ENDED_SESSIONS, limit), at_most))
        for key in expired:
            self.store.delete(key)
        return len(expired)


def _key_in(snapshot: Snapshot[SessionKey] | None) -> bytes | None:
    return bytes.fromhex(snapshot.value.key) if snapshot and snapshot.value else None
