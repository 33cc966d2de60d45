"""
The commit protocol: how a document with a journal moves from one revision to the next.

Such documents are those of projects, the grants and groups, and the decisions (`journals.py`). The
document of revision n contains commit n whole, and its compare-and-swap is the commit point.
Right after, commit n is written to the journal; if the writer dies in between, the next writer of
the document does that first. So the journal lacks at most the newest commit. Each commit has the
digest of the one before, and folding all commits gives the document byte for byte.

Before a commit of a project comes a mark, so that the commit gets its serial (`changes.py`). Of
several commits that a copy adds at once, the mark has all but the newest, until the journal does.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from typing import Any, Final, Generic, TypeAlias, TypeVar, cast

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.changes import mark_commit
from wheelyard.catalog.document_cache import (
    Codec,
    DocumentCache,
    MaxAge,
    Snapshot,
    UnreadableIgnored,
    damaged,
    digest,
)
from wheelyard.concurrency.caches import LruCache
from wheelyard.concurrency.runtime import ConflictRetries
from wheelyard.concurrency.threads import GroupCommit, TakeRequests, prefetch_map
from wheelyard.errors import Conflict, Unavailable, WheelyardError
from wheelyard.model.grants import AccessRules
from wheelyard.model.project import Commit, Event, EventCommit, Project
from wheelyard.model.public_packages import DecisionList
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
        """Return the last commit of a document, or None if it does not exist yet."""
        return cast("C | None", document.commit)

    def digest(self, document: D) -> str:
        """Return the digest of the last commit of a document, as the next one has it."""
        last = self.last_commit(document)
        return digest(self.commits.encode(last)) if last is not None else ""

    def read(self, store: Store) -> tuple[D, ObjectVersion]:
        """
        Return the document of a store and its version.

        If there is none, it is the empty document and ABSENT.
        """
        stored = store.get(self.key)
        if not isinstance(stored, Stored):
            return self.empty, ABSENT
        return self.documents.decode_whole(self.key, stored.body), stored.version

    def decode_entry(self, number: int, body: bytes) -> C:
        """
        Return the commit of a journal entry.

        Raises Unavailable unless it is the one `number`.
        """
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
        """
        Return a document after commits.

        Raises Unavailable if they do not continue it.
        """
        for commit in commits:
            if (commit.number, commit.previous) != (document.revision + 1, self.digest(document)):
                raise damaged(
                    f"{self.entry_key(commit.number)} does not continue the journal. Run "
                    "'wheelyard check' on this store."
                )
            document = self.fold(document, commit)
        return document

    def was_written(self, store: Store, written: D, current: D | None) -> bool:
        """Return whether `found`, read after an unclear write of `written`, includes its commit."""
        if current is None or current.revision < written.revision:
            return False
        if current.revision == written.revision:
            return self.last_commit(current) == self.last_commit(written)
        # the writer of the next commit has put this one into the journal
        return self._is_journaled(store, written)

    def ensure_journaled(self, store: Store, document: D, *, is_own: bool = False) -> None:
        """
        Write a document's last commit to its journal, if it is not there.

        A commit that this process has just made `is_own`.
        """
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
        Return a commit.

        If it has to be `is_whole`, also if this version does not know a part of it. Raises
        Unavailable (code `damaged_document`) if the journal has lost it.
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
        """Return a commit, or None if the journal has lost it: its entry is missing or damaged."""
        with UnreadableIgnored():
            return self.read(number)
        return None

    def find_all(self, numbers: Sequence[int]) -> Iterator[tuple[int, C | None]]:
        """
        Yield commits with their numbers, in the order of these.

        For a commit that is lost it yields None.
        """
        return zip(numbers, prefetch_map(self.find, numbers, self.threads), strict=True)

    def read_all(self, numbers: Sequence[int]) -> Iterator[C]:
        """
        Yield commits, in the order of their numbers.

        Raises Unavailable for one that is lost.
        """
        return prefetch_map(self.read, numbers, self.threads)


JOURNALED_LIMIT: Final = 10_000
"""Documents whose last journalled commit is cached, to save creates that change nothing."""

E = TypeVar("E")

Intent: TypeAlias = Callable[[D], tuple[E, ...]]
"""
Returns the events that a caller wants to add to a document, none if there is nothing to do.

Raises a WheelyardError to refuse. It must be pure: after a conflict it is called again with a newer
document.
"""


class Committed(Struct, Generic[D, E], frozen=True):
    """
    The result of an intent: the document it was last called with, its events, and the result.

    If the commit has the events of several intents, those of the earlier ones are in `before`, and
    all are in `after`.
    """

    before: D
    after: D
    events: tuple[E, ...] = ()


ProjectIntent: TypeAlias = Intent[Project, Event]
CommittedProject: TypeAlias = Committed[Project, Event]
EventListener: TypeAlias = Callable[[Project, Event], object]


class _PendingIntent(Struct, Generic[D, C, E], frozen=True):
    """An intent that waits for its commit, and the context in which its events are reported."""

    kind: JournalKind[D, C]
    intent: Intent[D, E]
    context: Context


class _Decision(Struct, Generic[D, E], frozen=True):
    """The result of one intent for the document `before`: events, or the error that it raised."""

    context: Context
    before: D
    events: tuple[E, ...] = ()
    refusal: WheelyardError | None = None

    def outcome(self, after: D) -> Committed[D, E] | WheelyardError:
        return self.refusal or Committed(self.before, after, self.events)


class Commits(Generic[D, C, E]):
    """
    Changes documents of one class, and writes their journals.

    Besides, only `wheelyard check` repairs documents.

    Args:
        threads: The number of entries of a journal that are read concurrently.
        on_event: Called with the document and each event after its commit, in the context of the
            caller that wanted it.
    """

    def __init__(
        self,
        store: Store,
        documents: DocumentCache[D],
        retries: ConflictRetries,
        threads: int = 1,
        on_event: Callable[[D, E], object] = lambda _document, _event: None,
    ) -> None:
        self.store = store
        self.documents = documents
        self.runtime = retries.runtime
        self.retries = retries
        self.has_committed = False
        """Whether this process has changed any document."""
        self._threads = threads
        self._on_event = on_event
        self._journaled: LruCache[Key, int] = LruCache(JOURNALED_LIMIT)
        self._group_commit = GroupCommit[Key, _PendingIntent[D, C, E], Committed[D, E]](
            self._handle
        )

    def journal(self, kind: JournalKind[D, C], document: D) -> Journal[D, C]:
        """Return the journal of a document."""
        return Journal(kind, self.store, document, self._threads)

    def submit(self, kind: JournalKind[D, C], intent: Intent[D, E]) -> Committed[D, E]:
        """
        Commit the events of `intent` to a document, together with those of concurrent intents.

        Blocks until the commit. If no intent has events, nothing is written, and `before` and
        `after` are equal. Raises the error that `intent` raised, and Unavailable if the outcome is
        unknown, if too many writers change the document, or if it is damaged, or has parts that
        would be lost, as this version does not know them.
        """
        return self._group_commit.submit(kind.key, _PendingIntent(kind, intent, copy_context()))

    def add(self, kind: JournalKind[D, C], commits: Sequence[C]) -> None:
        """
        Add commits of another store, of which a document may have the first ones.

        Those of a project are added at once, so that it never lists a file that was deleted later.
        Without any, only what its journal lacks is written.

        Raises Conflict, and adds none, if the document has others; and Unavailable as `submit`.
        """
        for part in [commits] if kind.project else [[commit] for commit in commits]:
            self._add(kind, part)

    def _add(self, kind: JournalKind[D, C], commits: Sequence[C]) -> None:
        for _ in self.retries.attempts():
            before, document = self._read(kind, "current")
            new = [commit for commit in commits if commit.number > document.revision]
            if not new:
                if commits and self.journal(kind, document).find(commits[-1].number) != commits[-1]:
                    raise diverged()
                return
            if new[0].previous != kind.digest(document):
                raise diverged()
            after = kind.fold_all(document, new)
            if self._write(kind, before.version, after, new[:-1]):
                for commit in new[:-1]:
                    with suppress(Conflict):  # whoever gave a serial was faster
                        entry = kind.entry_key(commit.number)
                        self.store.put(entry, kind.commits.encode(commit), ABSENT)
                self._ensure_journaled(kind, after, is_own=True)
                return
        raise self.retries.exhausted(kind.what)

    def _handle(
        self, key: Key, take: TakeRequests[_PendingIntent[D, C, E]]
    ) -> list[Committed[D, E] | WheelyardError]:
        intents = take()
        kind = intents[0].kind
        for attempt in self.retries.attempts():
            intents, started_at = take(), self.runtime.monotonic()
            before, document = self._read(kind, "fresh" if attempt == 0 else "current")
            decisions, decided = _decide(kind, document, intents)
            events = tuple(event for decision in decisions for event in decision.events)
            if not events:
                # without a swap, nothing else would show that the cached document is outdated
                is_old = before.validated_at < started_at
                if is_old and self.documents.get(key, "current").version != before.version:
                    continue
                return [decision.outcome(document) for decision in decisions]
            after = kind.with_commit(decided, self._new_commit(kind, document, events))
            if self._write(kind, before.version, after):
                self._report(decisions, after)
                with suppress(Unavailable):  # it is in force; the next writer adds the entry
                    self._ensure_journaled(kind, after, is_own=True)
                return [decision.outcome(after) for decision in decisions]
        raise self.retries.exhausted(kind.what)

    def _read(self, kind: JournalKind[D, C], max_age: MaxAge) -> tuple[Snapshot[D], D]:
        """Return the document, and write its last commit into the journal if it is not there."""
        snapshot = self.documents.get(kind.key, max_age)
        document = kind.empty
        if snapshot.value is not None:
            document = snapshot.value
            kind.documents.require_whole(kind.key, document, snapshot.size)
        self._ensure_journaled(kind, document)
        return snapshot, document

    def _write(
        self,
        kind: JournalKind[D, C],
        before: ObjectVersion,
        after: D,
        earlier: Sequence[C] = (),
    ) -> bool:
        """
        Write a document over the version `before`.

        Returns False if another writer was faster. `earlier` are commits that the journal lacks
        beside the last one.

        Raise Unavailable if the journal has the next commit although the document has not changed:
        then the document is outdated or lost, and a commit would contradict the journal.
        """
        number = earlier[0].number if earlier else after.revision
        if self.store.get(kind.entry_key(number)) is not None:
            if self.documents.get(kind.key, "current").version == before:
                raise kind.contradiction(number)
            return False
        if kind.project is not None:
            bodies = [kind.commits.encode(commit) for commit in earlier]
            mark_commit(self.store, self.runtime, kind.project, after.revision, bodies)
        was_written = partial(kind.was_written, self.store, after)
        is_written = self.documents.swap(kind.key, after, before, was_written)
        self.has_committed |= is_written
        return is_written

    def _report(self, decisions: Sequence[_Decision[D, E]], after: D) -> None:
        for decision in decisions:
            for event in decision.events:
                decision.context.run(self._on_event, after, event)

    def _new_commit(self, kind: JournalKind[D, C], document: D, events: tuple[E, ...]) -> C:
        return kind.new_commit(
            number=document.revision + 1,
            id=self.runtime.new_id(),
            previous=kind.digest(document),
            events=events,
        )

    def _ensure_journaled(
        self, kind: JournalKind[D, C], document: D, *, is_own: bool = False
    ) -> None:
        if self._journaled.get(kind.key) == document.revision:
            return
        kind.ensure_journaled(self.store, document, is_own=is_own)
        self._journaled.put(kind.key, document.revision, 1)


def diverged() -> Conflict:
    """Return the Conflict for what has commits in the target of a copy that the source lacks."""
    return Conflict(
        "TO has changes that FROM lacks, so it was left as it is there. Copy to another place."
    )


ProjectCommits: TypeAlias = Commits[Project, Commit, Event]


def _decide(
    kind: JournalKind[D, C], document: D, intents: Sequence[_PendingIntent[D, C, E]]
) -> tuple[list[_Decision[D, E]], D]:
    """Return the results of intents, one after another, and the document with all their events."""
    decisions = list[_Decision[D, E]]()
    for pending in intents:
        try:
            events = pending.intent(document)
        except WheelyardError as refusal:
            decisions.append(_Decision(pending.context, document, refusal=refusal))
            continue
        decisions.append(_Decision(pending.context, document, events))
        for event in events:
            document = kind.apply(document, event)
    return decisions, document


class JournaledDocument(Struct, Generic[D, C, E], frozen=True):
    """
    Reads and changes the only document of its kind.

    Threads may share it.
    """

    kind: JournalKind[D, C]
    commits: Commits[D, C, E]

    def peek(self, max_age: MaxAge = "fresh") -> Snapshot[D] | None:
        """
        Return the document if it is cached and recent enough, else None.

        See DocumentCache.
        """
        return self.commits.documents.peek(self.kind.key, max_age)

    def get(self, max_age: MaxAge = "fresh") -> Snapshot[D]:
        """
        Return the document, from the cache or the store.

        The value is None if there is no document.
        """
        return self.commits.documents.get(self.kind.key, max_age)

    def exist(self) -> bool:
        """Return whether the store has, or has had, such a document."""
        return next(self.commits.store.list(self.kind.entries), None) is not None

    def change(self, intent: Intent[D, E]) -> Committed[D, E]:
        """Commit the events of `intent` (see `Commits.submit`)."""
        return self.commits.submit(self.kind, intent)

    def history(self, after: int = 0) -> Iterator[C]:
        """
        Yield the commits of the journal behind the number `after`, oldest first.

        Raise Unavailable at an entry that is damaged or missing.
        """
        document = self.get("current").value or self.kind.empty
        numbers = range(after + 1, document.revision + 1)
        return self.commits.journal(self.kind, document).read_all(numbers)
