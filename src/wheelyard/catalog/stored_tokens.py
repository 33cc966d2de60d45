"""The stored records of API tokens, and the days on which the tokens were last used."""

import logging
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from threading import Lock, Thread
from typing import Final

from msgspec import Struct
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
from wheelyard.storage.base import ABSENT, Entry, Key, Store

DAY: Final = timedelta(days=1)
COOL_DOWN: Final = timedelta(hours=1)
"""The pause after the store has refused to record a use."""
SINGLE_READ_LIMIT: Final = 10
"""The most tokens whose last uses are read one by one. For more, a listing costs less."""
CACHE_BYTES: Final = 4 * 1024 * 1024
"""The most bytes of memory for cached last uses."""
RECORDED_LIMIT: Final = 200_000
"""The most tokens whose recorded day is cached."""

StartThread = Callable[[Callable[[], None]], None]
"""Runs a function in the background, and returns at once."""

logger = logging.getLogger("wheelyard")


class LastUse(Struct, frozen=True):
    """The stored document with the day of a token's last use."""

    day: date
    """The day in UTC."""


def in_background(work: Callable[[], None]) -> None:
    """Run `work` in a daemon thread, which does not keep the process from exiting."""
    Thread(target=work, daemon=True).start()


class TokenRecords(Struct, frozen=True):
    """
    Reads and writes the records of API tokens.

    Threads may share an object. Every method raises Unavailable if the store that it reads or
    writes does not answer. The methods that return one record raise Unavailable, too, if it is
    damaged.
    """

    store: Store
    documents: DocumentCache[TokenRecord]
    retries: ConflictRetries
    last_uses: "LastUses"
    threads: int = 1
    """The number of records that are read concurrently."""

    def peek(self, token_id: str, max_age: MaxAge = "fresh") -> Snapshot[TokenRecord] | None:
        """Return the record if it is cached and at most `max_age` old, else None."""
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

        Raises Conflict if another token has this id.
        """
        written = self._for_next_write(record)
        self.store.put(keys.token(record.id), self.documents.codec.encode(written), ABSENT)
        return written

    def replace(self, record: TokenRecord, snapshot: Snapshot[TokenRecord]) -> TokenRecord | None:
        """
        Store a changed record, and return it as stored, or None if `snapshot` is outdated.

        After None, the caller has to read the record and decide again. Raises Unavailable (code
        `damaged_document`) if its rotation has parts that would be lost, as this version does not
        know them.
        """
        written = self._for_next_write(record)

        def was_written(current: TokenRecord | None) -> bool:
            return current is not None and current.write_id == written.write_id

        key = keys.token(record.id)
        # unknown fields of the record are kept, but not those of its rotation
        if snapshot.value is not None and snapshot.value.rotation is not None:
            self.documents.codec.require_whole(key, snapshot.value, snapshot.size)
        if not self.documents.swap(key, written, snapshot.version, was_written):
            return None
        return written

    def _for_next_write(self, record: TokenRecord) -> TokenRecord:
        """Return a record with the revision and the id of its next write."""
        write_id = self.retries.runtime.new_id()
        return replace(record, revision=record.revision + 1, write_id=write_id)

    def get_for_update(self, token_id: str) -> Snapshot[TokenRecord]:
        """
        Return the record of a token as it is in the store now.

        Raises NotFound if there is no such token.
        """
        snapshot: Snapshot[TokenRecord] | None = None
        # the id may be any text of a command or a URL, and must not become a part of a key then
        if is_token_id(token_id):
            snapshot = self.documents.get(keys.token(token_id), "current")
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

        After a conflict, `change` is called again, with the newer record. If it returns the record
        as it was, nothing is written.

        Raises NotFound for an unknown token, and the error of `change`. Raises Unavailable if too
        many writers change the record (code `overloaded`), or if its rotation has parts that would
        be lost, as this version does not know them (code `damaged_document`).
        """
        for _ in self.retries.attempts():
            snapshot = self.get_for_update(token_id)
            record = snapshot.value
            assert record is not None  # noqa: S101 - `get_for_update` raises if it is missing
            changed = change(record)
            if changed == record:
                return record, record
            # None after a conflict: the next attempt decides again, with the newer record
            written = self.replace(changed, snapshot)
            if written is not None:
                return record, written
        raise self.retries.exhausted(f"the token {token_id}")

    def all(self) -> Iterator[TokenRecord]:
        """
        Return an iterator of the records, sorted by id.

        A record whose current version is cached is not read. Damaged records are left out, and
        reported by `check`.
        """
        return self.documents.read_listed(self.store.list(keys.TOKENS), self.threads)

    def name_of(self, principal: str) -> str:
        """
        Return the name of the API token that is this principal (`token:ID`).

        The text is empty for other principals, and for a token whose record is gone or damaged.
        """
        record = self._readable_record_of(principal)
        if record is None:
            return ""
        return record.name

    def owner_of(self, principal: str) -> str:
        """
        Return the owner of the API token that is this principal (`token:ID`).

        The text is empty for other principals, and for a token whose record is gone or damaged.
        """
        record = self._readable_record_of(principal)
        if record is None:
            return ""
        return record.owner

    def _readable_record_of(self, principal: str) -> TokenRecord | None:
        """Return the record of the token that is a principal, or None if nothing can be read."""
        kind, _, token_id = principal.partition(":")
        # a journal may have any text as a principal, by earlier versions and other tools
        if kind != "token" or not is_token_id(token_id):
            return None
        with UnreadableIgnored():
            return self.find(token_id)
        return None


class LastUses:
    """
    The day on which each token was last used.

    Threads may share an object. No request waits for a write: a background thread writes each new
    day, at most once for each token, day and process. If the store refuses a write, the pending
    days are lost, and no day is recorded for `COOL_DOWN`.
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
        """The last day of each token that this process has recorded, or is going to record."""
        self._retry_at = datetime.min.replace(tzinfo=UTC)
        """When the cool-down ends."""
        self._lock = Lock()
        """Held while pending uses are added or taken."""
        self._is_writing = False
        """Whether the background thread runs."""
        self._pending: deque[tuple[str, datetime]] = deque()
        """The uses that wait for the background thread, as token ids and times."""

    def record(self, token_id: str, now: datetime) -> None:
        """
        Have a background thread record that a token is used today, unless this process has.

        It never waits for the store, and never raises. During the cool-down nothing is recorded.
        """
        # without the lock, as nearly every request with a token ends here
        if self._recorded.get(token_id) == now.date() or now < self._retry_at:
            return
        with self._lock:
            # again: another request with this token may have been faster
            if self._recorded.get(token_id) == now.date():
                return
            # before the write, so that no request in between records the day again
            self._recorded.put(token_id, now.date(), 1)
            self._pending.append((token_id, now))
            if self._is_writing:
                return
            self._is_writing = True
        try:
            self._start(self._write)
        except RuntimeError:  # no thread can be started now: the next use tries again
            with self._lock:
                self._is_writing = False
                for pending_id, _ in self._pending:
                    self._recorded.discard(pending_id)
                self._pending.clear()

    def days(self, token_ids: frozenset[str]) -> dict[str, date]:
        """
        Return the day of the last recorded use of each token, by its id.

        A token that was never used, or whose last use is damaged, is left out. The uses of a few
        tokens are read one by one. For more tokens, all last uses are listed, and only those are
        read that have changed since this process has read them last. Raises Unavailable if the
        store does not answer.
        """
        if len(token_ids) <= SINGLE_READ_LIMIT:
            uses = {token_id: self._load(keys.last_use(token_id)) for token_id in token_ids}
        else:
            uses = dict(self._load_listed(token_ids))
        days = dict[str, date]()
        for token_id, last_use in uses.items():
            if last_use is not None and last_use.value is not None:
                days[token_id] = last_use.value.day
        return days

    def _load_listed(
        self, token_ids: frozenset[str]
    ) -> Iterator[tuple[str, Snapshot[LastUse] | None]]:
        """Yield each of these tokens that has a last use, by a listing, with its last use."""
        entries = dict[str, Entry]()
        for entry in self._store.list(keys.LAST_USES):
            token_id = keys.token_id_of_use(entry.key)
            if token_id is not None and token_id in token_ids:
                entries[token_id] = entry
        uses = prefetch_map(self._load_entry, entries.values(), self._threads)
        return zip(entries, uses, strict=True)

    def _load_entry(self, entry: Entry) -> Snapshot[LastUse] | None:
        """Return the last use of a listed entry, or None if it is damaged."""
        with UnreadableIgnored():
            return self._documents.get_listed(entry)
        return None

    def _write(self) -> None:
        """Write the pending last uses, in the background thread, until none is left."""
        while True:
            with self._lock:
                if not self._pending:
                    # with the same lock, so that a use that is added after this starts a new thread
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
        """Write the day of a last use, unless the store has it."""
        last_use = self._load(key)
        if last_use is None:
            # over a damaged document, whose version is not known, and which has nothing else
            self._documents.put(key, LastUse(day), None)
        # a process whose clock is ahead may have recorded the next day; a later day is wrong
        elif last_use.value is None or last_use.value.day not in (day, day + DAY):
            self._documents.put(key, LastUse(day), last_use.version)

    def _load(self, key: Key) -> Snapshot[LastUse] | None:
        """Return the last use at a key as it is in the store now, or None if it is damaged."""
        with UnreadableIgnored():
            return self._documents.get(key, "current")
        return None
