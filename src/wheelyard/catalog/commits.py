"""
The commit protocol: how a project's document and its journal move from one revision to the next.

The document of revision n carries commit n whole, and its compare-and-swap is the commit point.
The journal gets commit n right after; if the writer died in between, whoever commits n+1 sees to
it first. So the journal is dense, ordered, hash-chained, and folds to the document byte for byte.
"""

from collections.abc import Callable, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass
from typing import Final

from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.conflict_retry import ConflictRetries
from wheelyard.catalog.document_cache import Codec, DocumentCache, Snapshot, damaged, digest
from wheelyard.concurrency.caches import LruCache
from wheelyard.concurrency.group_commit import GroupCommit, TakeItems
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import OVERLOADED, Conflict, Unavailable, WheelyardError
from wheelyard.model.project import AnyEvent, Commit, Project, apply, fold
from wheelyard.storage.base import ABSENT, Key, NotModified, ObjectVersion, Store, Stored

JOURNALED_LIMIT: Final = 10_000
"""Projects whose last journalled commit is remembered: that saves a create that changes nothing."""

Intent = Callable[[Project], tuple[AnyEvent, ...]]
"""
What somebody wants of a project: the events that bring it about, none where it is so already.

Raises an WheelyardError to refuse. Pure, because a lost race asks again about a newer project.
"""

EventListener = Callable[[NormalizedName, AnyEvent], None]
"""Is told of an event of a project once it has been committed, where it was wanted."""


@dataclass(frozen=True, slots=True)
class Committed:
    """A project before an intent was carried out, as it was asked last, and after its commit."""

    before: Project
    after: Project


@dataclass(frozen=True, slots=True)
class _PendingIntent:
    """An intent, and where it is from: a commit is made by one caller, on behalf of several."""

    intent: Intent
    context: Context


@dataclass(frozen=True, slots=True)
class _Decision:
    """What an intent has led to, from a project as it was `before`: a refusal, or events."""

    context: Context
    before: Project
    events: tuple[AnyEvent, ...] = ()
    refusal: WheelyardError | None = None

    def outcome(self, after: Project) -> Committed | WheelyardError:
        return self.refusal or Committed(self.before, after)


class Commits:
    """The one writer of project documents and journals."""

    def __init__(
        self,
        store: Store,
        documents: DocumentCache[Project],
        runtime: Runtime,
        retries: ConflictRetries,
        on_event: EventListener,
    ) -> None:
        self._store = store
        self._documents = documents
        self._runtime = runtime
        self._retries = retries
        self._on_event = on_event
        self._codec = Codec(Commit)
        self._journaled: LruCache[NormalizedName, int] = LruCache(JOURNALED_LIMIT)
        self._batches = GroupCommit[NormalizedName, _PendingIntent, Committed](self._handle)

    def submit(self, name: NormalizedName, intent: Intent) -> Committed:
        """
        Carry out `intent`, in one commit with whatever else is wanted of the project right now.

        Where nothing is left to do, `before` and `after` are the same. Raises what the intent
        raises, and Unavailable if the outcome could not be found out.
        """
        return self._batches.submit(name, _PendingIntent(intent, copy_context()))

    def _handle(
        self, name: NormalizedName, take: TakeItems[_PendingIntent]
    ) -> list[Committed | WheelyardError]:
        key = keys.project(name)
        for attempt in self._retries.attempts():
            wanted, began = take(), self._runtime.monotonic()
            before = self._documents.get(key, "fresh" if attempt == 0 else "now")
            project = before.value or Project(name=name)
            self._ensure_journaled(project, is_ours=False)
            decided = _decide(project, wanted)
            events = tuple(event for each in decided for event in each.events)
            if not events:
                # a swap would find out that the document is an old one; nothing else would
                if before.validated_at < began and self._has_changed(key, before):
                    continue
                return [each.outcome(project) for each in decided]
            after = fold(project, self._next(project, events))
            if self._was_superseded(before, after) or not self._swap(before.version, after):
                continue
            for each in decided:
                for event in each.events:
                    each.context.run(self._on_event, name, event)
            self._ensure_journaled(after, is_ours=True)
            return [each.outcome(after) for each in decided]
        raise self._retries.exhausted(f"the project {name}")

    def _next(self, project: Project, events: tuple[AnyEvent, ...]) -> Commit:
        previous = digest(self._codec.encode(project.commit)) if project.commit else ""
        number = project.revision + 1
        return Commit(number=number, id=self._runtime.new_id(), previous=previous, events=events)

    def _was_superseded(self, before: Snapshot[Project], after: Project) -> bool:
        """
        Return whether somebody else has committed meanwhile.

        Where the journal has the next commit, and the document has not, the document is older than
        its journal, or lost. A commit on top of it would contradict the journal: that is a fault.
        """
        if self._store.get(keys.commit(after.name, after.revision)) is None:
            return False
        if self._has_changed(keys.project(after.name), before):
            return True
        raise _contradiction(after.name, after.revision)

    def _has_changed(self, key: Key, before: Snapshot[Project]) -> bool:
        return self._documents.get(key, "now").version != before.version

    def _swap(self, expect: ObjectVersion, after: Project) -> bool:
        """Write the document; return whether this very commit is now part of the project."""
        key = keys.project(after.name)
        try:
            self._documents.put(key, after, expect)
        except Conflict:
            return False
        except Unavailable as fault:
            found = self._documents.get(key, "now")
            if self._was_written(after, found.value):
                return True
            # it may still happen: to try again is safe, because only one of both can
            if found.version == expect and fault.code != OVERLOADED:
                raise
            return False
        return True

    def _was_written(self, wanted: Project, found: Project | None) -> bool:
        """Return whether a write whose reply was lost has happened: its commit's id tells."""
        mine = wanted.commit
        if mine is None or found is None or found.revision < mine.number:
            return False
        if found.revision == mine.number:
            return found.commit == mine
        # whoever came after has journalled the commit of that number first
        entry = self._store.get(keys.commit(wanted.name, mine.number))
        return isinstance(entry, Stored) and entry.body == self._codec.encode(mine)

    def _ensure_journaled(self, project: Project, *, is_ours: bool) -> None:
        commit = project.commit
        if commit is None or self._journaled.get(project.name) == commit.number:
            return
        key, body = keys.commit(project.name, commit.number), self._codec.encode(commit)
        # the commit of others is there unless they have died; a read costs less than a write
        entry = None if is_ours else self._store.get(key)
        if entry is None:
            entry = self._created(key, body)
        if not isinstance(entry, Stored) or entry.body != body:
            raise _contradiction(project.name, commit.number)
        self._journaled.put(project.name, commit.number, 1)

    def _created(self, key: Key, body: bytes) -> Stored | NotModified | None:
        try:
            return Stored(body, self._store.put(key, body, ABSENT))
        except Conflict:
            return self._store.get(key)


def _contradiction(name: NormalizedName, number: int) -> Unavailable:
    return damaged(
        f"The document of {name} and its journal disagree about commit {number}, as after a "
        "restore from a backup. Run 'wheelyard check', which says what can be done about it."
    )


def _decide(project: Project, wanted: Sequence[_PendingIntent]) -> list[_Decision]:
    decided = list[_Decision]()
    for each in wanted:
        try:
            events = each.intent(project)
        except WheelyardError as refusal:
            decided.append(_Decision(each.context, project, refusal=refusal))
            continue
        decided.append(_Decision(each.context, project, events))
        for event in events:
            project = apply(project, event)
    return decided
