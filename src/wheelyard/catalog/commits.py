"""
The commit protocol: how a document with a journal moves from one revision to the next.

Such documents are those of projects, the grants and groups, the trusted publishers, and the
decisions (`journaled_documents.py`). A writer does this:

1. It reads the document, of revision n. If the journal lacks commit n, because the writer of that
   died, it writes commit n into the journal.
2. It asks each intent, in turn, for the events to add to the document.
3. For a project, it puts a mark, so that the commit gets a serial (`changes.py`).
4. It writes the document of revision n + 1 with compare-and-swap. This is the commit point: the
   document contains commit n + 1 completely. If another writer was faster, it begins again.
5. It writes commit n + 1 into the journal.

So the journal lacks the newest commit at most. Each commit has the digest of the one before, and
folding all commits gives the document byte for byte.

`wheelyard copy` adds several commits of a project by one write. Until the journal has them, the
mark has all but the newest.
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
"""Documents whose last journalled commit is cached, so that it is not looked for again."""

D = TypeVar("D", bound=Project | AccessRules | DecisionList | TableList[Any])
C = TypeVar("C", bound=Commit | EventCommit[Any])
E = TypeVar("E")

Intent: TypeAlias = Callable[[D], tuple[E, ...]]
"""
Returns the events that a caller wants to add to a document, or none if there is nothing to do.

Raises a WheelyardError to refuse. It must be pure: after a conflict it is called again, with a
newer document, and perhaps by the thread of another caller.
"""
ProjectIntent: TypeAlias = Intent[Project, Event]


class JournalKind(Struct, Generic[D, C], frozen=True, kw_only=True):
    """
    What the documents with a journal differ in: their keys and classes, and how events change them.

    Each method that reads or writes a store raises Unavailable if the store does not answer. Each
    that reads a document or a commit raises Unavailable (code `damaged_document`) if it is damaged.
    """

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
    project: NormalizedName | None = None
    """The project whose document it is. None for the others, whose commits get no serials."""

    def new_commit(self, number: int, commit_id: str, previous: str, events: Sequence[Any]) -> C:
        """Return a commit of these events, at least one, after that with the digest `previous`."""
        raise NotImplementedError

    def apply(self, document: D, event: Any) -> D:  # noqa: ANN401 - D says of which class
        """Return a document after an event, with its revision and last commit unchanged."""
        raise NotImplementedError

    def with_commit(self, document: D, commit: C) -> D:
        """Return a document, to which the events of a commit were applied, after that commit."""
        return replace(document, revision=commit.number, commit=commit)

    def makes_name(self, before: D, after: D) -> bool:
        """Return whether a change takes a name that others may take as well."""
        del before, after
        return False

    def unknown_parts(self, document: D, commits: Iterable[C]) -> Mapping[str, str]:
        """
        Return what of a document and its commits only a newer version of wheelyard knows.

        The keys are names in words. The values are the versions that know it, or empty texts.
        """
        del document, commits
        return {}

    def require_valid(self, document: D) -> None:
        """Raise Invalid for a document that has what only a person can have written there."""

    def entry_key(self, number: int) -> Key:
        """Return the key of the commit `number` in the journal."""
        return keys.numbered_entry(self.entries, number)

    def last_commit(self, document: D) -> C | None:
        """Return the last commit of a document, or None if that is the empty document."""
        return cast("C | None", document.commit)

    def digest(self, document: D) -> str:
        """Return the digest of the last commit of a document, as the next one has it."""
        last = self.last_commit(document)
        if last is None:
            return ""
        return digest(self.commits.encode(last))

    def read(self, store: Store) -> tuple[D, ObjectVersion]:
        """
        Return the document in a store, and its version.

        If the store has no document, they are the empty one and ABSENT. Raises Unavailable if the
        document is damaged, or has parts that this version does not know.
        """
        stored = store.get(self.key)
        if not isinstance(stored, Stored):
            return self.empty, ABSENT
        key = store.whole_key(self.key)
        return self.documents.decode_whole(key, stored.body), stored.version

    def decode_entry(self, store: Store, number: int, body: bytes) -> C:
        """
        Return the commit in the bytes of the journal entry `number`, which are from `store`.

        Raises Unavailable if they are damaged, or are another commit.
        """
        key = store.whole_key(self.entry_key(number))
        commit = self.commits.decode(key, body)
        if commit.number != number:
            raise damaged(f"{key} is of another number.")
        return commit

    def is_state_of(self, older: D, store: Store, newer: D) -> bool:
        """
        Return whether `older` is `newer`, which is in `store`, or an earlier state of it.

        The empty document always is. Raises Unavailable if the journal has lost the commit that it
        has to compare.
        """
        last = self.last_commit(older)
        if last is None:
            return True
        if older.revision > newer.revision:
            return False
        # two stores that were changed apart have the same numbers, with other random ids
        return Journal(self, store, newer).read(older.revision) == last

    def fold(self, document: D, commit: C) -> D:
        """Return a document after one more commit."""
        for event in commit.events:
            document = self.apply(document, event)
        return self.with_commit(document, commit)

    def fold_all(self, document: D, commits: Iterable[C]) -> D:
        """
        Return a document after several commits.

        Raises Unavailable if they do not continue it.
        """
        for commit in commits:
            if (commit.number, commit.previous) != (document.revision + 1, self.digest(document)):
                raise damaged(f"{self.entry_key(commit.number)} does not continue the journal.")
            document = self.fold(document, commit)
        return document

    def was_written(self, store: Store, written: D, current: D | None) -> bool:
        """
        Return whether the document `written` was written, although the store gave no answer.

        `current` is the document that was read afterwards, or None if there was none.
        """
        if current is None or current.revision < written.revision:
            return False
        if current.revision == written.revision:
            # another writer's commit of the same number has another random id
            return self.last_commit(current) == self.last_commit(written)
        # others have committed since, and the first of them has put this commit into the journal
        return self._is_journaled(store, written)

    def ensure_journaled(self, store: Store, document: D, *, is_own: bool = False) -> None:
        """
        Write a document's last commit into its journal, if it is not there.

        `is_own` is for a commit that this process has just made: the entry is written without a
        look. Raises Unavailable (code `damaged_document`) if the journal has another commit of this
        number.
        """
        commit = self.last_commit(document)
        # another writer's commit is there unless that writer died; a read costs less than a write
        if commit is None or (not is_own and self._is_journaled(store, document)):
            return
        try:
            store.put(self.entry_key(commit.number), self.commits.encode(commit), ABSENT)
        except Conflict:
            # the next writer may have written the same entry, as this one was slow
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
        """Return the error of a document whose journal has another commit of this number."""
        return damaged(
            f"{store.whole_key(self.key)} and its journal disagree about commit {number}, as after "
            "a restore from a backup."
        )


class JournaledCache(DocumentCache[D]):
    """
    Caches the only document of a kind.

    One that is older than its journal is damaged, as after a restore of the document alone.
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
    Reads the commits of `document`, which has the newest one itself: the journal may lack it.

    Reading a commit raises Unavailable if the store does not answer.
    """

    kind: JournalKind[D, C]
    store: Store
    document: D
    threads: int = 1
    """The number of entries that are read concurrently."""

    def read(self, number: int, *, is_whole: bool = False) -> C:
        """
        Return the commit `number`.

        Raises Unavailable (code `damaged_document`) if its entry is missing or damaged. With
        `is_whole`, raises it also if the commit has parts that this version does not know.
        """
        last = self.kind.last_commit(self.document)
        # the document has it completely: its writer may have died before the journal had it
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
        """Return a commit, or None if the journal has lost it: its entry is missing or damaged."""
        with UnreadableIgnored():
            return self.read(number)
        return None

    def find_all(self, numbers: Sequence[int]) -> Iterator[tuple[int, C | None]]:
        """Yield each number, in order, with its commit, or with None if the commit is lost."""
        return zip(numbers, prefetch_map(self.find, numbers, self.threads), strict=True)

    def read_all(self, numbers: Sequence[int]) -> Iterator[C]:
        """
        Return an iterator of the commits of these numbers, in order.

        It raises Unavailable when it comes to a commit that is lost.
        """
        return prefetch_map(self.read, numbers, self.threads)


class Committed(Struct, Generic[D, E], frozen=True):
    """The result of an intent: the document before its events, and the one after the commit."""

    before: D
    """The document with which the intent was last called: with the events of earlier intents."""
    after: D
    """The document after the commit: with the events of later intents, too."""
    events: tuple[E, ...] = ()


CommittedProject: TypeAlias = Committed[Project, Event]


class _PendingIntent(Struct, Generic[D, C, E], frozen=True):
    """An intent that waits for its commit, and the context in which its events are reported."""

    kind: JournalKind[D, C]
    intent: Intent[D, E]
    context: Context


class _Decision(Struct, Generic[D, E], frozen=True):
    """What one intent has decided for the document `before`: events, or the error it raised."""

    context: Context
    before: D
    events: tuple[E, ...] = ()
    refusal: WheelyardError | None = None


class _Outcome(Struct, Generic[D, E], frozen=True):
    """The decision of an intent, and the document after the commit that it is part of."""

    decision: _Decision[D, E]
    after: D


class Commits(Generic[D, C, E]):
    """
    Changes documents of one class, and writes their journals.

    Besides it, `wheelyard check` repairs journals, and who gives a serial to a copied commit writes
    its entry. Threads may share it.

    Args:
        threads: The number of entries of a journal that are read concurrently.
        require_free: Raises an error if no project may take a name, and reads the store for that.
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
        Called with the document and each event after its commit, in the context of the caller that
        wanted it.
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

        Blocks until the commit. Then the listeners are told of the events. If no intent has events,
        there is no commit, and `before` and `after` are equal.

        Raises what `intent` raised, and what `require_free` raised if the commit takes a name.
        Raises Unavailable if the store does not answer: the commit may have been made. Raises
        Unavailable, without a commit, if too many writers change the document (code `overloaded`),
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
        Add commits of another store, of which a document may have the first ones.

        Those of a project are added at once, so that it never lists a file that was deleted later.
        Without any, only what its journal lacks is written. The listeners are not told.

        Raises Conflict, and adds none, if the document has other commits. Raises what
        `require_free` raised if they take a name. Raises Unavailable if the store does not answer:
        the commits may have been added. Raises Unavailable, too, if too many writers change the
        document, if it is damaged, if it has parts that would be lost, or if the commits do not
        continue it.
        """
        if kind.project is not None:
            self._add(kind, commits)
            return
        for commit in commits:
            self._add(kind, [commit])

    def _add(self, kind: JournalKind[D, C], commits: Sequence[C]) -> None:
        for _ in self.retries.attempts():
            before, document = self._read(kind, "current")
            new = [commit for commit in commits if commit.number > document.revision]
            if not new:
                # an earlier copy, or a lost answer, may have added them all
                if commits and self.journal(kind, document).find(commits[-1].number) != commits[-1]:
                    raise diverged()
                return
            # the hash chain shows whether the document is an earlier state of the source's
            if new[0].previous != kind.digest(document):
                raise diverged()
            after = kind.fold_all(document, new)
            if self._write(kind, before.version, document, after, new[:-1], is_copied=True):
                # a crash from here on leaves a mark that has these commits
                for commit in new[:-1]:
                    with suppress(Conflict):  # whoever gave a serial was faster
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
            # taken anew each time: who has come meanwhile shares this attempt
            intents = batch.take()
            started_at = self.runtime.monotonic()
            # an outdated document of the cache only costs an attempt: it loses the compare-and-swap
            max_age: MaxAge = "fresh" if attempt == 0 else "current"
            before, document = self._read(kind, max_age)
            decisions, decided = _decide(kind, document, intents)
            events = tuple(chain.from_iterable(decision.events for decision in decisions))
            if not events:
                # without a swap, nothing else would show that the cached document is outdated
                is_old = before.validated_at < started_at
                if is_old and self.documents.get(key, "current").version != before.version:
                    continue
                return [_Outcome(decision, document) for decision in decisions]
            number = document.revision + 1
            # random, so that a commit whose answer was lost is told from another writer's
            commit_id = self.runtime.new_id()
            commit = kind.new_commit(number, commit_id, kind.digest(document), events)
            after = kind.with_commit(decided, commit)
            if self._write(kind, before.version, document, after):
                self._report(decisions, after)
                with suppress(Unavailable):  # it is in force; the next writer adds the entry
                    self._ensure_journaled(kind, after, is_own=True)
                return [_Outcome(decision, after) for decision in decisions]
        raise self.retries.exhausted(kind.what)

    def _read(self, kind: JournalKind[D, C], max_age: MaxAge) -> tuple[Snapshot[D], D]:
        """
        Return the document, after writing its last commit into the journal if it is not there.

        Raises Unavailable if it is damaged, or has parts that this version would lose.
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
        before: ObjectVersion,
        document: D,
        after: D,
        earlier: Sequence[C] = (),
        *,
        is_copied: bool = False,
    ) -> bool:
        """
        Write `after` over `document`, and return whether no other writer was faster.

        `before` is the version of `document`. `earlier` are commits that the journal lacks beside
        the last one. All come from another store if they are `is_copied`.

        Raises what `require_free` raises. Raises Unavailable if the journal has the next commit
        although the document has not changed: then the document is outdated or lost, and a commit
        would contradict the journal.
        """
        number = earlier[0].number if earlier else after.revision

        # an entry of this number is another writer's, or the store's document is from a backup
        if self.store.get(kind.entry_key(number)) is not None:
            if self.documents.get(kind.key, "current").version == before:
                raise kind.contradiction(self.store, number)
            return False
        mark: Key | None = None
        if kind.project is not None:
            copied = list(earlier)
            last = kind.last_commit(after)
            # a mark with a commit in it is that of a copy: without earlier ones, it has the last
            if is_copied and not earlier and last is not None:
                copied.append(last)
            # a crash after this leaves a mark without a commit, which the daily sweep deletes
            bodies = [kind.commits.encode(commit) for commit in copied]
            mark = mark_commit(self.store, self.runtime, kind.project, after.revision, bodies)
            if self._require_free is not None and kind.makes_name(document, after):
                self._require_free_after(mark, kind.project, self._require_free)

        # the commit point: a crash after it leaves a journal without the last entry, which the
        # next writer adds
        was_written = partial(kind.was_written, self.store, after)
        is_written = self.documents.swap(kind.key, after, before, was_written)
        if is_copied and not is_written and mark is not None:
            # else the commit of whoever was faster would count as copied
            with suppress(WheelyardError):
                self.store.delete(mark)
        self.has_committed |= is_written
        return is_written

    def _require_free_after(
        self, mark: Key, name: NormalizedName, require_free: Callable[[NormalizedName], object]
    ) -> None:
        """
        Raise an error if no project may take a name, for which there is a mark.

        Another process may make an index of that name at the same time. It first writes the
        definition, and then looks for marks and documents. Here the mark is written first, and
        then the definitions are read. So at least one of the two sees what the other has written.
        """
        try:
            require_free(name)
        except WheelyardError:
            with suppress(WheelyardError):  # the sweep deletes it
                self.store.delete(mark)
            raise

    def _report(self, decisions: Sequence[_Decision[D, E]], after: D) -> None:
        """Tell the listeners of the events of a commit."""
        for decision in decisions:
            for event in decision.events:
                # the thread is the leader's: the log needs the request of whoever wanted the event
                for listener in self.listeners:
                    decision.context.run(listener, after, event)

    def _ensure_journaled(
        self, kind: JournalKind[D, C], document: D, *, is_own: bool = False
    ) -> None:
        """Write the last commit of a document into its journal, unless this process has seen it."""
        if self._journaled.get(kind.key) == document.revision:
            return
        kind.ensure_journaled(self.store, document, is_own=is_own)
        self._journaled.put(kind.key, document.revision, 1)


def diverged() -> Conflict:
    """Return the Conflict for a document that has commits in a copy's target, not in its source."""
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
        # one that refuses changes nothing, and does not keep the others from their commit
        try:
            events = pending.intent(document)
        except WheelyardError as refusal:
            decisions.append(_Decision(pending.context, document, refusal=refusal))
            continue
        decisions.append(_Decision(pending.context, document, events))
        for event in events:
            document = kind.apply(document, event)
    return decisions, document
