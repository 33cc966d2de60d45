"""
The commit protocol: how a document with a journal moves from one revision to the next.

Such documents are those of projects, the grants and groups, and the tables of the store
(`journaled_documents.py`). A writer does this:

1. It reads the document, of revision n. If the journal lacks commit n, because the writer of that
   commit died, it writes commit n into the journal.
2. It calls each intent, in turn, for the events to add to the document.
3. For a project, it puts a mark, so that the commit gets a serial (`changes.py`).
4. It writes the document of revision n + 1 with compare-and-swap. This is the commit point: the
   document contains commit n + 1 completely. If another writer was faster, it begins again.
5. It writes commit n + 1 into the journal.

So the journal lacks at most the newest commit. Each commit has the digest of the commit before it,
and folding all commits gives the document byte for byte.

`wheelyard copy` adds several commits of a project by one write. Until the journal has these
commits, the mark has all of them but the newest.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from itertools import chain
from typing import Any, Final, Generic, TypeAlias, TypeVar, cast

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.changes import mark_commit
from wheelyard.catalog.document_cache import (
    CachePolicy,
    Codec,
    DocumentCache,
    MaxAge,
    Snapshot,
    UnreadableIgnored,
    damaged,
    digest,
)
from wheelyard.concurrency.caches import LruCache
from wheelyard.concurrency.runtime import ConflictRetries, Runtime
from wheelyard.concurrency.threads import Batch, GroupCommit, prefetch_map
from wheelyard.errors import Conflict, Unavailable, WheelyardError
from wheelyard.model.grants import AccessRules
from wheelyard.model.project import Commit, Event, EventCommit, Project
from wheelyard.model.public_packages import DecisionList
from wheelyard.model.stored_tables import TableList
from wheelyard.storage.base import ABSENT, Key, ObjectVersion, Store, Stored

JOURNALED_LIMIT: Final = 10_000
"""The most documents whose last journalled commit is cached, so that it is not read again."""

D = TypeVar("D", bound=Project | AccessRules | DecisionList | TableList[Any])
C = TypeVar("C", bound=Commit | EventCommit[Any])
E = TypeVar("E")

Intent: TypeAlias = Callable[[D], tuple[E, ...]]
"""
Returns the events that a caller wants to add to a document, or none if there is nothing to do.

An intent raises a WheelyardError to refuse. It must be a pure function: after a conflict it is
called again, with a newer document, and perhaps by the thread of another caller.
"""
ProjectIntent: TypeAlias = Intent[Project, Event]


class JournalKind(Struct, Generic[D, C], frozen=True, kw_only=True):
    """
    The properties of a kind of document with a journal: its keys, its classes and its events.

    Each method that reads or writes a store raises Unavailable if the store does not answer. Each
    method that reads a document or a commit raises Unavailable (code `damaged_document`) if that is
    damaged.
    """

    what: str
    """The content in words, such as `the grants and groups`."""
    consequence: str
    """The effect of a damaged document, such as `servers may refuse callers who have a grant`."""
    key: Key
    """The key of the document."""
    entries: str
    """The prefix of the keys of the journal's entries."""
    empty: D
    """The document before its first commit."""
    documents: Codec[D]
    commits: Codec[C]
    project: NormalizedName | None = None
    """The project of the document, or None for a document whose commits get no serials."""

    def new_commit(self, number: int, commit_id: str, previous: str, events: Sequence[Any]) -> C:
        """
        Return a commit of these events, which are at least one.

        `previous` is the digest of the commit before it.
        """
        raise NotImplementedError

    def apply(self, document: D, event: Any) -> D:  # noqa: ANN401 - D says of which class
        """Return a document after an event, with its revision and last commit unchanged."""
        raise NotImplementedError

    def with_commit(self, document: D, commit: C) -> D:
        """Return a document with a commit as its last one, after its events were applied."""
        return replace(document, revision=commit.number, commit=commit)

    def makes_name(self, before: D, after: D) -> bool:
        """Return whether a change makes a project, whose name another process may take as well."""
        del before, after
        return False

    def unknown_parts(self, document: D, commits: Iterable[C]) -> Mapping[str, str]:
        """
        Return the parts of a document and its commits that only a newer version knows.

        The keys are names of these parts, for messages. The values are the versions of wheelyard
        that know the parts, or empty texts.
        """
        del document, commits
        return {}

    def require_valid(self, document: D) -> None:
        """Raise Invalid for a document that wheelyard cannot have written."""

    def entry_key(self, number: int) -> Key:
        """Return the key of the commit `number` in the journal."""
        return keys.numbered_entry(self.entries, number)

    def last_commit(self, document: D) -> C | None:
        """Return the last commit of a document, or None if that is the empty document."""
        return cast("C | None", document.commit)

    def digest(self, document: D) -> str:
        """Return the digest of the last commit of a document, which the next commit has."""
        last = self.last_commit(document)
        if last is None:
            return ""
        return digest(self.commits.encode(last))

    def read(self, store: Store) -> tuple[D, ObjectVersion]:
        """
        Return the document in a store, and its version.

        If the store has no document, return the empty document and ABSENT. Raises Unavailable if
        the document is damaged, or has parts that this version does not know.
        """
        stored = store.get(self.key)
        if not isinstance(stored, Stored):
            return self.empty, ABSENT
        key = store.whole_key(self.key)
        return self.documents.decode_whole(key, stored.body), stored.version

    def decode_entry(self, store: Store, number: int, body: bytes) -> C:
        """
        Return the commit in the bytes of the journal entry `number` of `store`.

        Raises Unavailable if the bytes are damaged, or are another commit.
        """
        key = store.whole_key(self.entry_key(number))
        commit = self.commits.decode(key, body)
        if commit.number != number:
            raise damaged(f"{key} is of another number.")
        return commit

    def is_state_of(self, older: D, store: Store, newer: D) -> bool:
        """
        Return whether `older` is an earlier state of `newer`, or equal to it.

        `newer` is the document of `store`. The empty document is an earlier state of any other one.
        Raises Unavailable if the journal of `store` has lost the last commit of `older`.
        """
        last = self.last_commit(older)
        if last is None:
            return True
        if older.revision > newer.revision:
            return False
        # stores that were changed separately have commits with equal numbers and different ids
        return Journal(self, store, newer).read(older.revision) == last

    def fold(self, document: D, commit: C) -> D:
        """Return a document after one more commit."""
        for event in commit.events:
            document = self.apply(document, event)
        return self.with_commit(document, commit)

    def fold_all(self, document: D, commits: Iterable[C]) -> D:
        """
        Return a document after several commits.

        Raises Unavailable if the commits do not continue the document.
        """
        for commit in commits:
            is_next = commit.number == document.revision + 1
            if not is_next or commit.previous != self.digest(document):
                raise damaged(f"{self.entry_key(commit.number)} does not continue the journal.")
            document = self.fold(document, commit)
        return document

    def was_written(self, store: Store, written: D, current: D | None) -> bool:
        """
        Return whether the document `written` was written, although the store gave no answer.

        `current` is the document that was read afterwards, or None if there was no document.
        """
        if current is None or current.revision < written.revision:
            return False
        if current.revision == written.revision:
            # another writer's commit of the same number has another random id
            return self.last_commit(current) == self.last_commit(written)
        # others have committed since: the first of them has put this commit into the journal
        return self._is_journaled(store, written)

    def ensure_journaled(self, store: Store, document: D, *, is_own: bool = False) -> None:
        """
        Write a document's last commit into its journal, if the journal lacks it.

        Set `is_own` for a commit that this process has just made: then its entry is not read
        before. Raises Unavailable (code `damaged_document`) if the journal has another commit of
        this number.
        """
        commit = self.last_commit(document)
        # the journal lacks another writer's commit only if that writer died, so that a read, which
        # costs less than a write, is nearly always enough
        if commit is None or (not is_own and self._is_journaled(store, document)):
            return
        try:
            store.put(self.entry_key(commit.number), self.commits.encode(commit), ABSENT)
        except Conflict:
            # the next writer may have written the same entry, if this one was slow
            if not self._is_journaled(store, document):
                raise self.contradiction(store, commit.number) from None

    def _is_journaled(self, store: Store, document: D) -> bool:
        """Return whether the journal has the last commit of a document."""
        commit = self.last_commit(document)
        if commit is None:
            return False
        entry = store.get(self.entry_key(commit.number))
        return isinstance(entry, Stored) and entry.body == self.commits.encode(commit)

    def contradiction(self, store: Store, number: int) -> Unavailable:
        """Return the error for a document whose journal has another commit of this number."""
        return damaged(
            f"{store.whole_key(self.key)} and its journal disagree about commit {number}, as after "
            "a restore from a backup."
        )


class JournaledCache(DocumentCache[D]):
    """
    Caches the only document of a kind.

    A document that is older than its journal counts as damaged, as after a restore of it alone.
    """

    def __init__(
        self, kind: JournalKind[D, Any], store: Store, runtime: Runtime, policy: CachePolicy
    ) -> None:
        super().__init__(store, kind.documents, runtime, policy, is_permanent=True)
        self._kind = kind

    def is_outdated(self, value: D) -> bool:
        """Return whether the journal has a commit after `value`."""
        return self._store.get(self._kind.entry_key(value.revision + 1)) is not None


class Journal(Struct, Generic[D, C], frozen=True):
    """
    Reads the commits of `document`.

    The document has the newest commit itself, as the journal may lack it. Each method that reads a
    commit raises Unavailable if the store does not answer.
    """

    kind: JournalKind[D, C]
    store: Store
    document: D
    threads: int = 1
    """The number of entries that are read concurrently."""

    def read(self, number: int, *, is_whole: bool = False) -> C:
        """
        Return the commit `number`.

        Raises Unavailable (code `damaged_document`) if its entry is missing or damaged, or if the
        commit has parts that this version does not know, and `is_whole` is set.
        """
        last = self.kind.last_commit(self.document)
        # not from the journal, which lacks this commit if its writer died
        if last is not None and last.number == number:
            return last
        key = self.kind.entry_key(number)
        entry = self.store.get(key)
        if not isinstance(entry, Stored):
            raise damaged(f"The journal has no {self.store.whole_key(key)}.")
        commit = self.kind.decode_entry(self.store, number, entry.body)
        if is_whole:
            self.kind.commits.require_whole(key, commit, len(entry.body))
        return commit

    def find(self, number: int) -> C | None:
        """Return a commit, or None if its entry in the journal is missing or damaged."""
        with UnreadableIgnored():
            return self.read(number)
        return None

    def find_all(self, numbers: Sequence[int]) -> Iterator[tuple[int, C | None]]:
        """Yield each number, in order, with its commit, or with None if the commit is lost."""
        return zip(numbers, prefetch_map(self.find, numbers, self.threads), strict=True)

    def read_all(self, numbers: Sequence[int]) -> Iterator[C]:
        """
        Return an iterator of the commits of these numbers, in order.

        The iterator raises Unavailable when it comes to a commit that is lost.
        """
        return prefetch_map(self.read, numbers, self.threads)


class Committed(Struct, Generic[D, E], frozen=True):
    """The result of an intent: the document before its events and after its commit."""

    before: D
    """
    The document with which the intent was called last.

    It has the events of other intents that share the commit and were called before.
    """
    after: D
    """The document after the commit, which has the events of all intents that share it."""
    events: tuple[E, ...] = ()
    """The events of the intent."""


CommittedProject: TypeAlias = Committed[Project, Event]


class _PendingIntent(Struct, Generic[D, C, E], frozen=True):
    """An intent that waits for its commit."""

    kind: JournalKind[D, C]
    intent: Intent[D, E]
    context: Context
    """The context of its caller, in which the listeners are called."""


class _Decision(Struct, Generic[D, E], frozen=True):
    """The events of one intent for the document `before`, or the error that it raised."""

    context: Context
    """The context of its caller, in which the listeners are called."""
    before: D
    events: tuple[E, ...] = ()
    refusal: WheelyardError | None = None
    """The error, or None if the intent has not refused."""


class _Outcome(Struct, Generic[D, E], frozen=True):
    """The decision of an intent, and the document after its commit."""

    decision: _Decision[D, E]
    after: D


class Commits(Generic[D, C, E]):
    """
    Changes documents of one class, and writes their journals.

    Journals are also written by `wheelyard check`, which repairs them, and by `Changes`, which
    writes the entries of copied commits. Threads may share an object.

    Args:
        store: Has the documents and their journals.
        documents: Caches the documents.
        retries: How often, and with which pauses, a write that lost a race is tried again.
        threads: The number of entries of a journal that are read concurrently.
        require_free: Reads the store, and raises an error if no project may take a name.
    """

    def __init__(
        self,
        store: Store,
        documents: DocumentCache[D],
        retries: ConflictRetries,
        threads: int = 1,
        require_free: Callable[[NormalizedName], object] | None = None,
    ) -> None:
        self.store = store
        self.documents = documents
        self.runtime = retries.runtime
        self.retries = retries
        self.has_committed = False
        """Whether this process has changed any document."""
        self.listeners: tuple[Callable[[D, E], object], ...] = ()
        """
        The functions that are called after a commit, with the document and each event.

        They run in the context of the caller of the event's intent.
        """
        self._threads = threads
        self._require_free = require_free
        self._journaled: LruCache[Key, int] = LruCache(JOURNALED_LIMIT)
        """The revision up to which the journal of a document is known to be complete."""
        self._group_commit = GroupCommit[Key, _PendingIntent[D, C, E], _Outcome[D, E]](
            self._commit_batch
        )

    def journal(self, kind: JournalKind[D, C], document: D) -> Journal[D, C]:
        """Return the journal of a document."""
        return Journal(kind, self.store, document, self._threads)

    def submit(self, kind: JournalKind[D, C], intent: Intent[D, E]) -> Committed[D, E]:
        """
        Commit the events of `intent` to a document, together with those of concurrent intents.

        Blocks until the commit. Then the listeners are called with the events. If no intent has
        events, there is no commit, and `before` and `after` are equal.

        Raises the error of `intent`, or of `require_free` if the commit makes a project. Raises
        Unavailable if the store does not answer: the commit may have been made. Raises Unavailable,
        without a commit, if too many writers change the document (code `overloaded`),
        if it is damaged (code `damaged_document`), or if it has parts that would be lost, as this
        version does not know them.
        """
        pending = _PendingIntent(kind, intent, copy_context())
        outcome = self._group_commit.submit(kind.key, pending)
        decision = outcome.decision
        if decision.refusal is not None:
            raise decision.refusal
        return Committed(decision.before, outcome.after, decision.events)

    def add(self, kind: JournalKind[D, C], commits: Sequence[C]) -> None:
        """
        Add commits of another store to a document, which may have the first of them already.

        All commits of a project are added by one write, so that the project never lists a file that
        a later commit deletes. Without new commits, only a missing entry of the journal is written.
        The listeners are not called.

        Raises Conflict, and adds no commit, if the document has other commits than the other store.
        Raises the error of `require_free` if the commits make a project. Raises Unavailable if the
        store does not answer: the commits may have been added. Raises Unavailable, too, if too many
        writers change the document, if it is damaged, if it has parts that would be lost, or if the
        commits do not continue it.
        """
        if kind.project is not None:
            self._add_at_once(kind, commits)
            return
        for commit in commits:
            self._add_at_once(kind, [commit])

    def _add_at_once(self, kind: JournalKind[D, C], commits: Sequence[C]) -> None:
        """Add commits of another store by one write of the document."""
        for _ in self.retries.attempts():
            snapshot, document = self._read(kind, "current")
            new_commits = [commit for commit in commits if commit.number > document.revision]
            if not new_commits:
                # an earlier copy may have added all of them, or this one, and its answer was lost
                journal = self.journal(kind, document)
                if commits and journal.find(commits[-1].number) != commits[-1]:
                    raise diverged()
                return
            # the hash chain shows whether the document is an earlier state of the other store's
            if new_commits[0].previous != kind.digest(document):
                raise diverged()
            after = kind.fold_all(document, new_commits)
            earlier = new_commits[:-1]
            if self._write(kind, snapshot.version, document, after, earlier, is_copied=True):
                # a crash from here on leaves a mark that has these commits
                for commit in earlier:
                    with suppress(Conflict):  # the process that gave the serial was faster
                        entry = kind.entry_key(commit.number)
                        self.store.put(entry, kind.commits.encode(commit), ABSENT)
                self._ensure_journaled(kind, after, is_own=True)
                return
        raise self.retries.exhausted(kind.what)

    def _commit_batch(
        self, key: Key, batch: Batch[_PendingIntent[D, C, E], _Outcome[D, E]]
    ) -> list[_Outcome[D, E]]:
        """Commit the events of all intents that wait for one document, by one write."""
        # runs in the thread of the first caller, while the others wait
        kind = batch.take()[0].kind
        for attempt in self.retries.attempts():
            # taken anew each time: callers that have come meanwhile share this attempt
            intents = batch.take()
            started_at = self.runtime.monotonic()
            # an outdated document of the cache only costs an attempt: it loses the compare-and-swap
            max_age: MaxAge = "fresh" if attempt == 0 else "current"
            snapshot, document = self._read(kind, max_age)
            decisions, document_with_events = _decide(kind, document, intents)
            events = tuple(chain.from_iterable(decision.events for decision in decisions))
            if not events:
                # there is no swap that would show that the cached document is outdated
                is_old = snapshot.validated_at < started_at
                if is_old and self.documents.get(key, "current").version != snapshot.version:
                    continue
                return [_Outcome(decision, document) for decision in decisions]
            number = document.revision + 1
            # random: after a lost answer, this writer knows its own commit by the id
            commit_id = self.runtime.new_id()
            commit = kind.new_commit(number, commit_id, kind.digest(document), events)
            after = kind.with_commit(document_with_events, commit)
            if self._write(kind, snapshot.version, document, after):
                self._report(decisions, after)
                with suppress(Unavailable):  # the commit is made; the next writer adds the entry
                    self._ensure_journaled(kind, after, is_own=True)
                return [_Outcome(decision, after) for decision in decisions]
        raise self.retries.exhausted(kind.what)

    def _read(self, kind: JournalKind[D, C], max_age: MaxAge) -> tuple[Snapshot[D], D]:
        """
        Return the snapshot of a document, and the document, or the empty one if there is none.

        If the journal lacks the last commit, it is written first. Raises Unavailable if the
        document is damaged, or has parts that this version would lose.
        """
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
        version: ObjectVersion,
        document: D,
        after: D,
        earlier: Sequence[C] = (),
        *,
        is_copied: bool = False,
    ) -> bool:
        """
        Write `after` over `document`, and return whether no other writer was faster.

        `version` is the version of `document`. `earlier` are the new commits before the last one.
        `is_copied` says that all new commits come from another store.

        Raises the error of `require_free`. Raises Unavailable if the journal has the next commit
        although the document has not changed: then the document is outdated or lost, and a commit
        would contradict the journal.
        """
        first_number = earlier[0].number if earlier else after.revision

        # an entry of this number is another writer's, or the store's document is from a backup
        if self.store.get(kind.entry_key(first_number)) is not None:
            if self.documents.get(kind.key, "current").version == version:
                raise kind.contradiction(self.store, first_number)
            return False
        mark: Key | None = None
        if kind.project is not None:
            commits_in_mark = list(earlier)
            last = kind.last_commit(after)
            # the mark of a copied commit is never empty: without earlier commits, it has the last
            if is_copied and not earlier and last is not None:
                commits_in_mark.append(last)
            # a crash after this leaves a mark without a commit, which the daily sweep deletes
            bodies = [kind.commits.encode(commit) for commit in commits_in_mark]
            mark = mark_commit(self.store, self.runtime, kind.project, after.revision, bodies)
            if self._require_free is not None and kind.makes_name(document, after):
                self._require_free_after(mark, kind.project, self._require_free)

        # the commit point: a crash after it leaves a journal without the last entry, which the
        # next writer adds
        was_written = partial(kind.was_written, self.store, after)
        is_written = self.documents.swap(kind.key, after, version, was_written)
        if is_copied and not is_written and mark is not None:
            # with this mark, the commit of the writer who was faster would count as copied
            with suppress(WheelyardError):
                self.store.delete(mark)
        self.has_committed |= is_written
        return is_written

    def _require_free_after(
        self, mark: Key, name: NormalizedName, require_free: Callable[[NormalizedName], object]
    ) -> None:
        """
        Raise an error, and delete the mark of a commit, if no project may take a name.

        Another process may make an index of that name at the same time. It first writes the
        definition, and then looks for marks and documents. Here the mark is written first, and
        then the definitions are read. So at least one of the two sees what the other has written.
        """
        try:
            require_free(name)
        except WheelyardError:
            with suppress(WheelyardError):  # then the sweep deletes the mark
                self.store.delete(mark)
            raise

    def _report(self, decisions: Sequence[_Decision[D, E]], after: D) -> None:
        """Call the listeners with the events of a commit."""
        for decision in decisions:
            for event in decision.events:
                # this thread may be of another caller: the log needs the request of this event
                for listener in self.listeners:
                    decision.context.run(listener, after, event)

    def _ensure_journaled(
        self, kind: JournalKind[D, C], document: D, *, is_own: bool = False
    ) -> None:
        """Write the last commit into the journal, unless this process knows that it is there."""
        if self._journaled.get(kind.key) == document.revision:
            return
        kind.ensure_journaled(self.store, document, is_own=is_own)
        self._journaled.put(kind.key, document.revision, 1)


def diverged() -> Conflict:
    """Return the error for a document of a copy's target with commits that its source lacks."""
    return Conflict(
        "TO has changes that FROM lacks, so it was left as it is there. Copy to another place."
    )


ProjectCommits: TypeAlias = Commits[Project, Commit, Event]


def _decide(
    kind: JournalKind[D, C], document: D, intents: Sequence[_PendingIntent[D, C, E]]
) -> tuple[list[_Decision[D, E]], D]:
    """
    Call intents, one after another, and return their decisions.

    Return also the document after all their events.
    """
    decisions = list[_Decision[D, E]]()
    for pending in intents:
        # an intent that refuses changes nothing, and the other intents are committed
        try:
            events = pending.intent(document)
        except WheelyardError as refusal:
            decisions.append(_Decision(pending.context, document, refusal=refusal))
            continue
        decisions.append(_Decision(pending.context, document, events))
        for event in events:
            document = kind.apply(document, event)
    return decisions, document
