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

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from typing import Final, Generic, TypeAlias, TypeVar

from msgspec import Struct

from wheelyard.catalog.changes import mark_commit
from wheelyard.catalog.document_cache import DocumentCache, MaxAge, Snapshot
from wheelyard.catalog.journaled_document import C, D, Journal, JournalKind
from wheelyard.concurrency.caches import LruCache
from wheelyard.concurrency.group_commit import GroupCommit, TakeItems
from wheelyard.concurrency.runtime import ConflictRetries
from wheelyard.errors import Conflict, Unavailable, WheelyardError
from wheelyard.model.project import Commit, Event, Project
from wheelyard.storage.base import ABSENT, Key, ObjectVersion, Store

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
        self, key: Key, take: TakeItems[_PendingIntent[D, C, E]]
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
        Write a document over the version `before`; return False if another writer was faster.

        `earlier` are commits that the journal lacks beside the last one.

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
    """Reads and changes the only document of its kind; safe to share between threads."""

    kind: JournalKind[D, C]
    commits: Commits[D, C, E]

    def peek(self, max_age: MaxAge = "fresh") -> Snapshot[D] | None:
        """Return the document if it is cached and recent enough, else None; see DocumentCache."""
        return self.commits.documents.peek(self.kind.key, max_age)

    def get(self, max_age: MaxAge = "fresh") -> Snapshot[D]:
        """Return the document, from the cache or the store; without one its value is None."""
        return self.commits.documents.get(self.kind.key, max_age)

    def exist(self) -> bool:
        """Return whether the store has, or has had, such a document."""
        return next(self.commits.store.list(self.kind.entries), None) is not None

    def change(self, intent: Intent[D, E]) -> Committed[D, E]:
        """Commit the events of `intent`; see `Commits.submit`."""
        return self.commits.submit(self.kind, intent)

    def history(self, after: int = 0) -> Iterator[C]:
        """
        Yield the commits of the journal behind the number `after`, oldest first.

        Raise Unavailable at an entry that is damaged or missing.
        """
        document = self.get("current").value or self.kind.empty
        numbers = range(after + 1, document.revision + 1)
        return self.commits.journal(self.kind, document).read_all(numbers)
