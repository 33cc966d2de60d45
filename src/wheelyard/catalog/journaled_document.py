"""
A document of the store with a journal of its own: an entry for each change.

The commit protocol is that of a project (`commits.py`): the compare-and-swap of the document, which
contains its last commit whole, is the commit point. Its journal entry is written right after, or
else by the next writer or by `wheelyard check`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Generic, Protocol, TypeVar

from msgspec import Struct

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import (
    Codec,
    DocumentCache,
    MaxAge,
    Snapshot,
    damaged,
    digest,
)
from wheelyard.concurrency.runtime import ConflictRetries, Runtime
from wheelyard.errors import Conflict, Unavailable
from wheelyard.model.project import NumberedCommit
from wheelyard.storage.base import ABSENT, Key, ObjectVersion, Store, Stored


class FoldedDocument(Protocol):
    """A document after the commits 1 to `revision`; it also has the last commit."""

    @property
    def revision(self) -> int:
        """The number of its last commit; 0 for a document that does not exist yet."""


D = TypeVar("D", bound=FoldedDocument)
C = TypeVar("C", bound=NumberedCommit)
E = TypeVar("E")


class JournalKind(Struct, Generic[D, C], frozen=True, kw_only=True):
    """What the documents of two kinds differ in: keys, classes, and how events are applied."""

    what: str
    """The content in words, such as `the grants and groups`."""
    consequence: str
    """What a damaged document leads to, as `servers may refuse callers who have a grant`."""
    key: Key
    entries: str
    """The prefix of the keys of the journal's entries."""
    empty: D
    """The document before its first commit."""
    documents: Codec[D]
    commits: Codec[C]
    last_commit: Callable[[D], C | None]
    new_commit: Callable[..., C]
    """Returns a commit of its `number`, `id`, digest of the `previous` commit, and `event`."""
    fold: Callable[[D, C], D]
    """Returns a document after one more commit."""
    unknown_parts: Callable[[D, Iterable[C]], Mapping[str, str]] = lambda _document, _commits: {}
    """
    Returns what of a document and its commits only a newer version of wheelyard knows.

    By its name in words; with the version that knows it, or an empty text.
    """
    require_valid: Callable[[D], object] = lambda document: document
    """Raises Invalid for a document that has what only a person can have written there."""

    def entry_key(self, number: int) -> Key:
        """Return the key of the commit `number` in the journal."""
        return keys.numbered_entry(self.entries, number)

    def digest(self, document: D) -> str:
        """Return the digest of the last commit of a document, as the next one has it."""
        last = self.last_commit(document)
        return digest(self.commits.encode(last)) if last is not None else ""

    def read(self, store: Store) -> tuple[D, ObjectVersion]:
        """Return the document of a store and its version; an empty one and ABSENT without one."""
        found = store.get(self.key)
        if not isinstance(found, Stored):
            return self.empty, ABSENT
        return self.documents.decode_whole(self.key, found.body), found.version

    def read_commit(self, store: Store, document: D, number: int) -> C:
        """Return a commit of a document, which has the newest one; raise if it is missing."""
        last, key = self.last_commit(document), self.entry_key(number)
        if last is not None and last.number == number:
            return last
        found = store.get(key)
        if not isinstance(found, Stored):
            raise damaged(f"The journal has no {key}. Run 'wheelyard check' on this store.")
        return self.commits.decode_whole(key, found.body)

    def is_state_of(self, older: D, store: Store, newer: D) -> bool:
        """Return whether `older` is `newer`, which is in `store`, or an earlier state of it."""
        last = self.last_commit(older)
        if last is None or older.revision > newer.revision:
            return last is None
        return self.read_commit(store, newer, older.revision) == last

    def fold_all(self, document: D, commits: Iterable[C]) -> D:
        """Return a document after commits; raise Unavailable if they do not continue it."""
        for commit in commits:
            if (commit.number, commit.previous) != (document.revision + 1, self.digest(document)):
                raise damaged(
                    f"{self.entry_key(commit.number)} does not continue the journal. Run "
                    "'wheelyard check' on this store."
                )
            document = self.fold(document, commit)
        return document

    def was_superseded(
        self, store: Store, documents: DocumentCache[D], before: ObjectVersion, after: D
    ) -> bool:
        """
        Return whether the journal shows that another writer has committed since a version was read.

        Raises Unavailable if the journal has the next commit although the document has not changed:
        then the document is outdated or lost, and a commit would contradict the journal.
        """
        if store.get(self.entry_key(after.revision)) is None:
            return False
        if documents.get(self.key, "current").version != before:
            return True
        raise self._contradiction(after.revision)

    def was_written(self, store: Store, written: D, found: D | None) -> bool:
        """Return whether `found`, read after an unclear write of `written`, includes its commit."""
        if found is None or found.revision < written.revision:
            return False
        if found.revision == written.revision:
            return self.last_commit(found) == self.last_commit(written)
        # the writer of the next commit has put this one into the journal
        return self._is_journaled(store, written)

    def ensure_journaled(self, store: Store, document: D, *, is_own: bool = False) -> None:
        """Write a document's last commit to its journal, if it is not there; a new one `is_own`."""
        commit = self.last_commit(document)
        # another writer's commit is there unless that writer died; a read costs less than a write
        if commit is None or (not is_own and self._is_journaled(store, document)):
            return
        try:
            store.put(self.entry_key(commit.number), self.commits.encode(commit), ABSENT)
        except Conflict:
            if not self._is_journaled(store, document):
                raise self._contradiction(commit.number) from None

    def _is_journaled(self, store: Store, document: D) -> bool:
        """Return whether the journal has the last commit of a document."""
        commit = self.last_commit(document)
        if commit is None:
            return False
        entry = store.get(self.entry_key(commit.number))
        return isinstance(entry, Stored) and entry.body == self.commits.encode(commit)

    def _contradiction(self, number: int) -> Unavailable:
        return damaged(
            f"{self.key} and its journal disagree about commit {number}, as after a restore from a "
            "backup. Run 'wheelyard check', which says what can be done about it."
        )


class JournaledDocument(Struct, Generic[D, C, E], frozen=True):
    """
    Reads and changes one document with a journal; safe to share by threads.

    An intent returns the event that a caller wants to add, or None if there is nothing to do. It
    raises a WheelyardError to refuse. After a conflict it is called again with a newer document.
    """

    kind: JournalKind[D, C]
    store: Store
    documents: DocumentCache[D]
    retries: ConflictRetries
    runtime: Runtime

    def peek(self, max_age: MaxAge = "fresh") -> Snapshot[D] | None:
        """Return the document if it is cached and recent enough, else None; see DocumentCache."""
        return self.documents.peek(self.kind.key, max_age)

    def get(self, max_age: MaxAge = "fresh") -> Snapshot[D]:
        """Return the document, from the cache or the store; without one its value is None."""
        return self.documents.get(self.kind.key, max_age)

    def exist(self) -> bool:
        """Return whether the store has, or has had, such a document."""
        return next(self.store.list(self.kind.entries), None) is not None

    def change(self, intent: Callable[[D], E | None]) -> D:
        """
        Commit the event of `intent`, and return the document after it.

        Raises what `intent` raises, and Unavailable if the outcome is unknown, if too many writers
        change the document, or if it is damaged, or has parts that this version does not know.
        """
        for _ in self.retries.attempts():
            # past the cache, which leaves out what only a newer version knows
            document, version = self.kind.read(self.store)
            self.kind.ensure_journaled(self.store, document)
            event = intent(document)
            if event is None:
                return document
            after = self.kind.fold(document, self._new_commit(document, event))
            if self.kind.was_superseded(self.store, self.documents, version, after):
                continue
            was_written = partial(self.kind.was_written, self.store, after)
            if self.documents.swap(self.kind.key, after, version, was_written):
                # the change is in force; the next writer adds the entry
                with suppress(Unavailable):
                    self.kind.ensure_journaled(self.store, after, is_own=True)
                return after
        raise self.retries.exhausted(self.kind.what)

    def history(self, after: int = 0) -> Iterator[C]:
        """
        Yield the commits of the journal behind the number `after`, oldest first.

        Raise Unavailable at an entry that is damaged or missing.
        """
        document = self.get("current").value or self.kind.empty
        for number in range(after + 1, document.revision):
            key = self.kind.entry_key(number)
            found = self.store.get(key)
            if not isinstance(found, Stored):
                raise damaged(f"The journal has no {key}. Run 'wheelyard check'.")
            yield self.kind.commits.decode(key, found.body)
        last = self.kind.last_commit(document)
        if last is not None and after < document.revision:
            yield last  # it may not be in the journal yet

    def _new_commit(self, document: D, event: E) -> C:
        return self.kind.new_commit(
            number=document.revision + 1,
            id=self.runtime.new_id(),
            previous=self.kind.digest(document),
            event=event,
        )
