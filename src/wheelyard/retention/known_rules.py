"""
Since when a store has its rules of retention, by its own clock.

The first daily run comes an hour after that, so that somebody can look at what the rules delete. A
document beside the leases says since when. A copy of a store has none, and one that was put back
file by file has another version of the list of indexes: there, too, the hour begins anew.
"""

from datetime import datetime, timedelta
from functools import partial
from hashlib import sha256
from typing import Final

from msgspec import Struct
from msgspec.json import encode

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import Codec, Snapshot, read_usable
from wheelyard.catalog.store_clock import StoreClock
from wheelyard.concurrency.runtime import ConflictRetries
from wheelyard.errors import Conflict
from wheelyard.model.stored_indexes import IndexList
from wheelyard.storage.base import ABSENT, Key, ObjectVersion, Store

FIRST_RUN_AFTER: Final = timedelta(hours=1)
"""How long rules are known before a daily run deletes by them."""
KEY: Final[Key] = keys.lease("retention-rules")


class KnownRules(Struct, frozen=True, omit_defaults=True):
    """The stored document."""

    rules: str = ""
    """The SHA-256 of the rules and of when they were changed, in hexadecimal digits."""
    revision: int = 0
    """That of the list of indexes, when it was looked at last."""
    version: ObjectVersion = ABSENT
    """The one by which the store tells that list from others."""
    since: datetime | None = None
    """When the store first knew the rules, by its own clock."""

    def is_same_store(self, current: "KnownRules") -> bool:
        """Return whether the store was not put back to an earlier state since."""
        if self.revision == current.revision:
            return self.version == current.version
        return self.revision < current.revision


_CODEC: Final = Codec(KnownRules)


class RulesClock:
    """
    Says since when a store has its present rules, and writes it down.

    Each method raises Unavailable if the store does not answer.

    Args:
        documents: The store that has them.
        clock: Its clock.
        indexes: The list of indexes as it is now, which has at least one rule.
        retries: What repeats a write if another process writes at the same time.
    """

    def __init__(
        self,
        documents: Store,
        clock: StoreClock,
        indexes: Snapshot[IndexList],
        retries: ConflictRetries,
    ) -> None:
        self._documents = documents
        self._clock = clock
        self._retries = retries
        stored = indexes.value or IndexList()
        self._current = KnownRules(
            rules=sha256(encode(stored.retention)).hexdigest(),
            revision=stored.revision,
            version=indexes.version,
        )

    def read_first_run(self) -> datetime | None:
        """Return from when on a daily run deletes, or None while no process has seen the rules."""
        written, _ = self._read()
        if written.since is None or not self._is_current(written):
            return None
        return written.since + FIRST_RUN_AFTER

    def first_run(self) -> datetime:
        """Return from when on a daily run deletes. New rules are written down as known from now."""
        for _ in self._retries.attempts():
            written, version = self._read()
            since = written.since
            if since is None or not self._is_current(written):
                # new rules, or a store that was put back: the hour begins now
                since = self._clock.now()
            elif written.version == self._current.version:
                return since + FIRST_RUN_AFTER
            document = KnownRules(
                rules=self._current.rules,
                revision=self._current.revision,
                version=self._current.version,
                since=since,
            )
            put = partial(self._documents.put, KEY, _CODEC.encode(document), version)
            try:
                # also on a full disk, which retention is to help against
                self._documents.with_reserve(put)
            except Conflict:  # another process has written it since it was read
                continue
            return since + FIRST_RUN_AFTER
        raise self._retries.exhausted("since when the rules of retention are known")

    def _read(self) -> tuple[KnownRules, ObjectVersion]:
        return read_usable(self._documents, KEY, _CODEC, KnownRules())

    def _is_current(self, written: KnownRules) -> bool:
        """Return whether a document is about the rules that the store has now, and this store."""
        return written.rules == self._current.rules and written.is_same_store(self._current)
