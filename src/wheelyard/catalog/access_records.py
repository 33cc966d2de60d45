"""
Grants and groups in the store: one document, and a journal with an entry for each change.

They lie beside the tokens, so that a process which may write packages only cannot change rights.
The commit protocol is that of a project (`commits.py`): the compare-and-swap of the document, which
contains its last commit whole, is the commit point. Its journal entry is written right after, or
else by the next writer or by `wheelyard check`.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

from wheelyard.catalog import keys
from wheelyard.catalog.commits import contradiction
from wheelyard.catalog.conflict_retry import ConflictRetries
from wheelyard.catalog.document_cache import (
    Codec,
    DocumentCache,
    MaxAge,
    Snapshot,
    damaged,
    digest,
)
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Conflict, Unavailable
from wheelyard.model.access_rules import AccessCommit, AccessRules, AnyAccessEvent, fold
from wheelyard.storage.base import ABSENT, Store, Stored

COMMITS: Final = Codec(AccessCommit)
RULES: Final = Codec(AccessRules)

AccessIntent = Callable[[AccessRules], AnyAccessEvent | None]
"""
Returns the event that a caller wants to add, or None if there is nothing to do.

Raises a WheelyardError to refuse. After a conflict it is called again with newer rules.
"""


@dataclass(frozen=True, slots=True)
class AccessRecords:
    """Reads and changes the grants and groups in the store."""

    store: Store
    documents: DocumentCache[AccessRules]
    retries: ConflictRetries
    runtime: Runtime

    def peek(self, max_age: MaxAge = "fresh") -> Snapshot[AccessRules] | None:
        """Return the document if it is cached and recent enough, else None; see DocumentCache."""
        return self.documents.peek(keys.ACCESS, max_age)

    def get(self, max_age: MaxAge = "fresh") -> Snapshot[AccessRules]:
        """Return the document, from the cache or the store; without one its value is None."""
        return self.documents.get(keys.ACCESS, max_age)

    def exist(self) -> bool:
        """Return whether the store has, or has had, grants or groups."""
        return next(self.store.list(keys.ACCESS_JOURNAL), None) is not None

    def change(self, intent: AccessIntent) -> AccessRules:
        """
        Commit the event of `intent`, and return the rules after it.

        Raises what `intent` raises, and Unavailable if the outcome is unknown, if too many writers
        change the document, or if it is damaged.
        """
        for _ in self.retries.attempts():
            before = self.get("current")
            rules = before.value or AccessRules()
            self._ensure_journaled(rules)
            event = intent(rules)
            if event is None:
                return rules
            after = fold(rules, self._new_commit(rules, event))
            was_written = partial(self._was_written, after)
            if self._is_current(before, after) and self.documents.swap(
                keys.ACCESS, after, before.version, was_written
            ):
                with suppress(
                    Unavailable
                ):  # the change is in force; the next writer adds the entry
                    self._ensure_journaled(after)
                return after
        raise self.retries.exhausted("the grants and groups")

    def history(self, after: int = 0) -> Iterator[AccessCommit]:
        """
        Yield the commits of the journal behind the number `after`, oldest first.

        Raise Unavailable at an entry that is damaged or missing.
        """
        rules = self.get("current").value or AccessRules()
        for number in range(after + 1, rules.revision):
            key = keys.access_commit(number)
            found = self.store.get(key)
            if not isinstance(found, Stored):
                raise damaged(f"The journal has no {key}. Run 'wheelyard check'.", "lost")
            yield COMMITS.decode(key, found.body)
        if rules.commit is not None and after < rules.revision:
            yield rules.commit  # it may not be in the journal yet

    def _new_commit(self, rules: AccessRules, event: AnyAccessEvent) -> AccessCommit:
        previous = digest(COMMITS.encode(rules.commit)) if rules.commit else ""
        number, commit_id = rules.revision + 1, self.runtime.new_id()
        return AccessCommit(number=number, id=commit_id, previous=previous, event=event)

    def _is_current(self, before: Snapshot[AccessRules], after: AccessRules) -> bool:
        """
        Return whether no other writer has committed since `before` was read.

        Raise Unavailable if the journal has the next commit although the document has not changed.
        """
        if self.store.get(keys.access_commit(after.revision)) is None:
            return True
        if self.get("current").version != before.version:
            return False
        raise contradiction(keys.ACCESS, after.revision)

    def _was_written(self, after: AccessRules, found: AccessRules | None) -> bool:
        """Return whether `found`, read after an unclear write of `after`, includes its commit."""
        if found is None or found.revision <= after.revision:
            return found is not None and found.commit == after.commit
        entry = self.store.get(keys.access_commit(after.revision))
        own = COMMITS.encode(after.commit) if after.commit else b""
        return isinstance(entry, Stored) and entry.body == own

    def _ensure_journaled(self, rules: AccessRules) -> None:
        commit = rules.commit
        if commit is None:
            return
        key, body = keys.access_commit(commit.number), COMMITS.encode(commit)
        entry = self.store.get(key)
        if entry is None:
            with suppress(Conflict):
                entry = Stored(body, self.store.put(key, body, ABSENT))
        entry = entry or self.store.get(key)
        if not isinstance(entry, Stored) or entry.body != body:
            raise contradiction(keys.ACCESS, commit.number)
