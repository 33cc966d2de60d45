"""
The kinds of documents that have a journal: what they differ in, and what holds for all of them.

The document of revision n contains commit n whole. Folding all commits of the journal gives the
document byte for byte. `commits.py` changes such a document.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar, cast

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import (
    Codec,
    UnreadableIgnored,
    damaged,
    digest,
)
from wheelyard.concurrency.prefetch import prefetch_map
from wheelyard.errors import Conflict, Unavailable
from wheelyard.model.access_rules import AccessRules
from wheelyard.model.decisions import DecisionList
from wheelyard.model.project import Commit, EventCommit, Project
from wheelyard.storage.base import ABSENT, Key, ObjectVersion, Store, Stored

D = TypeVar("D", bound=Project | AccessRules | DecisionList)
C = TypeVar("C", bound=Commit | EventCommit[Any])


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
    new_commit: Callable[..., C]
    """Returns a commit of its `number`, `id`, digest of the `previous` commit, and `events`."""
    apply: Callable[..., D]
    """Returns a document after an event, with its revision and last commit unchanged."""
    with_commit: Callable[[D, C], D]
    """Returns a document, to which the events of a commit were applied, after that commit."""
    project: NormalizedName | None = None
    """The project whose document it is: the feed has its commits."""
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

    def last_commit(self, document: D) -> C | None:
        """Return the last commit of a document; None if it does not exist yet."""
        return cast("C | None", document.commit)

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

    def decode_entry(self, number: int, body: bytes) -> C:
        """Return the commit of a journal entry; raise Unavailable unless it is the one `number`."""
        key = self.entry_key(number)
        commit = self.commits.decode(key, body)
        if commit.number != number:
            raise damaged(f"{key} is of another number. Run 'wheelyard check' on this store.")
        return commit

    def is_state_of(self, older: D, store: Store, newer: D) -> bool:
        """Return whether `older` is `newer`, which is in `store`, or an earlier state of it."""
        last = self.last_commit(older)
        if last is None or older.revision > newer.revision:
            return last is None
        return Journal(self, store, newer).read(older.revision) == last

    def fold(self, document: D, commit: C) -> D:
        """Return a document after one more commit."""
        for event in commit.events:
            document = self.apply(document, event)
        return self.with_commit(document, commit)

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
                raise self.contradiction(commit.number) from None

    def _is_journaled(self, store: Store, document: D) -> bool:
        """Return whether the journal has the last commit of a document."""
        commit = self.last_commit(document)
        if commit is None:
            return False
        entry = store.get(self.entry_key(commit.number))
        return isinstance(entry, Stored) and entry.body == self.commits.encode(commit)

    def contradiction(self, number: int) -> Unavailable:
        """Return the error of a document whose journal has another commit of this number."""
        return damaged(
            f"{self.key} and its journal disagree about commit {number}, as after a restore from a "
            "backup. Run 'wheelyard check', which says what can be done about it."
        )


class Journal(Struct, Generic[D, C], frozen=True):
    """Reads the commits of a document, which has the newest one: the journal may lack that."""

    kind: JournalKind[D, C]
    store: Store
    document: D
    threads: int = 1
    """The number of entries that are read concurrently."""

    def read(self, number: int, *, is_whole: bool = False) -> C:
        """
        Return a commit; raise Unavailable (code `damaged_document`) if the journal has lost it.

        If it has to be `is_whole`, also if this version does not know a part of it.
        """
        last, key = self.kind.last_commit(self.document), self.kind.entry_key(number)
        if last is not None and last.number == number:
            return last
        entry = self.store.get(key)
        if not isinstance(entry, Stored):
            raise damaged(f"The journal has no {key}. Run 'wheelyard check' on this store.")
        commit = self.kind.decode_entry(number, entry.body)
        if is_whole:
            self.kind.commits.require_whole(key, commit, len(entry.body))
        return commit

    def find(self, number: int) -> C | None:
        """Return a commit; None if the journal has lost it: its entry is missing or damaged."""
        with UnreadableIgnored():
            return self.read(number)
        return None

    def find_all(self, numbers: Sequence[int]) -> Iterator[tuple[int, C | None]]:
        """Yield commits with their numbers, in the order of these; None for one that is lost."""
        return zip(numbers, prefetch_map(self.find, numbers, self.threads), strict=True)

    def read_all(self, numbers: Sequence[int]) -> Iterator[C]:
        """Yield commits, in the order of their numbers; raise Unavailable for one that is lost."""
        return prefetch_map(self.read, numbers, self.threads)
