"""
Since when a store has its rules of retention, by its own clock.

The first daily run comes an hour after the store first knew the rules, so that somebody can look at
what they delete. A document beside the leases says since when the rules are known. The copy of a
store has no such document, and a store that was put back file by file has another version of the
list of indexes: in both, the hour begins anew.
"""

from datetime import datetime, timedelta
from functools import partial
from hashlib import sha256
from typing import Final

from msgspec import Struct, field
from msgspec.json import encode
from msgspec.structs import replace

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
    """The stored document that says since when the rules are known."""

    digest: str = field(default="", name="rules")
    """The SHA-256 of the rules and of when they were changed, in hexadecimal digits."""
    list_revision: int = field(default=0, name="revision")
    """The revision of the list of indexes when a process looked at the list last."""
    list_version: ObjectVersion = field(default=ABSENT, name="version")
    """The version of the object with that list of indexes."""
    since: datetime | None = None
    """When the store first knew the rules, by its own clock."""

    def is_followed_by(self, present_rules: "KnownRules") -> bool:
        """
        Return whether the list of indexes of `present_rules` is that of this document or a later.

        It is neither if the store was put back to an earlier state since this was written.
        """
        if self.list_revision == present_rules.list_revision:
            return self.list_version == present_rules.list_version
        return self.list_revision < present_rules.list_revision


_CODEC: Final = Codec(KnownRules)


class RulesRecord:
    """
    Says since when a store has its present rules, and writes that time into the store.

    Each method raises Unavailable if the store does not answer.

    Args:
        documents: The store that has the rules.
        clock: The clock of that store.
        indexes: The list of indexes as the store has it now, with at least one rule.
        retries: Repeats a write if another process writes at the same time.
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
        index_list = indexes.value or IndexList()
        self._present_rules = KnownRules(
            digest=sha256(encode(index_list.retention)).hexdigest(),
            list_revision=index_list.revision,
            list_version=indexes.version,
        )

    def read_first_run(self) -> datetime | None:
        """
        Return from when on a daily run deletes.

        None means that no process has seen the present rules yet. Writes nothing.
        """
        known_rules, _ = self._read()
        since = self._since(known_rules)
        if since is None:
            return None
        return since + FIRST_RUN_AFTER

    def ensure_first_run(self) -> datetime:
        """
        Return from when on a daily run deletes.

        Rules that no process has seen yet are written down as known from now.
        """
        for _ in self._retries.attempts():
            known_rules, version = self._read()
            since = self._since(known_rules)
            if since is None:
                # new rules, or a store that was put back: the hour begins now
                since = self._clock.now()
            elif known_rules.list_version == self._present_rules.list_version:
                # all of this is written down already
                return since + FIRST_RUN_AFTER
            # else the same rules are in a later list of indexes, which is written down with `since`
            body = _CODEC.encode(replace(self._present_rules, since=since))
            put = partial(self._documents.put, KEY, body, version)
            try:
                # also on a full disk, which retention is to help against
                self._documents.with_reserve(put)
            except Conflict:  # another process has written the document since it was read
                continue
            return since + FIRST_RUN_AFTER
        raise self._retries.exhausted("since when the rules of retention are known")

    def _read(self) -> tuple[KnownRules, ObjectVersion]:
        """Return the stored document, or an empty one if none can be used, and its version."""
        return read_usable(self._documents, KEY, _CODEC, KnownRules())

    def _since(self, known_rules: KnownRules) -> datetime | None:
        """
        Return since when a document says that the present rules are known.

        None means that the document is about other rules, or the store was put back since.
        """
        has_same_rules = known_rules.digest == self._present_rules.digest
        if has_same_rules and known_rules.is_followed_by(self._present_rules):
            return known_rules.since
        return None
