"""
The commit protocol: how a project's document and its journal move from one revision to the next.

The document of revision n contains commit n whole, and its compare-and-swap is the commit point.
Right after, commit n is written to the journal; if the writer dies in between, the next writer of
the project does that first. So the journal lacks at most the newest commit. Each commit has the
digest of the one before, and folding all commits gives the document byte for byte.

A mark comes before all of that, so that the commit gets its serial (`changes.py`).
"""

from collections.abc import Callable, Sequence
from contextvars import Context, copy_context
from functools import partial
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.changes import mark_commit
from wheelyard.catalog.document_cache import DocumentCache, Snapshot, damaged, digest
from wheelyard.catalog.project_codec import CommitCodec
from wheelyard.concurrency.caches import LruCache
from wheelyard.concurrency.group_commit import GroupCommit, TakeItems
from wheelyard.concurrency.runtime import ConflictRetries, Runtime
from wheelyard.errors import Conflict, Unavailable, WheelyardError
from wheelyard.model.project import Commit, Event, Project, apply, with_commit
from wheelyard.storage.base import ABSENT, Key, Store, Stored

JOURNALED_LIMIT: Final = 10_000
"""Projects whose last journalled commit is cached, to save creates that change nothing."""

Intent = Callable[[Project], tuple[Event, ...]]
"""
Returns the events that a caller wants to add to a project, none if there is nothing to do.

Raises a WheelyardError to refuse. It must be pure: after a conflict it is called again with a newer
project.
"""

EventListener = Callable[[NormalizedName, Event], None]
"""Called with each event after its commit, in the context of the caller that wanted it."""


class Committed(Struct, frozen=True):
    """
    The result of an intent: the project it was last called with, and the project after the commit.

    If the commit has the events of several intents, those of the earlier ones are in `before`, and
    all are in `after`.
    """

    before: Project
    after: Project


class _PendingIntent(Struct, frozen=True):
    """An intent that waits for its commit, and the context in which its events are reported."""

    intent: Intent
    context: Context


class _Decision(Struct, frozen=True):
    """The result of one intent for the project `before`: events, or the error that it raised."""

    context: Context
    before: Project
    events: tuple[Event, ...] = ()
    refusal: WheelyardError | None = None

    def outcome(self, after: Project) -> Committed | WheelyardError:
        return self.refusal or Committed(self.before, after)


class Commits:
    """Writes project documents and journals; besides, only `wheelyard check` repairs them."""

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
        self.runtime = runtime
        self._retries = retries
        self._on_event = on_event
        self._codec = CommitCodec()
        self._journaled: LruCache[NormalizedName, int] = LruCache(JOURNALED_LIMIT)
        self._group_commit = GroupCommit[NormalizedName, _PendingIntent, Committed](self._handle)

    def submit(self, name: NormalizedName, intent: Intent) -> Committed:
        """
        Commit the events of `intent` to a project, together with those of concurrent intents.

        Blocks until the commit. If no intent has events, nothing is written, and `before` and
        `after` are equal. Raises the error that `intent` raised, and Unavailable if the outcome is
        unknown or too many writers change the project.
        """
        return self._group_commit.submit(name, _PendingIntent(intent, copy_context()))

    def _handle(
        self, name: NormalizedName, take: TakeItems[_PendingIntent]
    ) -> list[Committed | WheelyardError]:
        key = keys.project(name)
        for attempt in self._retries.attempts():
            intents, started_at = take(), self.runtime.monotonic()
            before = self._documents.get(key, "fresh" if attempt == 0 else "current")
            project = before.value or Project(name=name)
            self._ensure_journaled(project)
            decisions, decided = _decide(project, intents)
            events = tuple(event for each in decisions for event in each.events)
            if not events:
                # without a swap, nothing else would show that the cached document is outdated
                if before.validated_at < started_at and self._has_changed(key, before):
                    continue
                return [each.outcome(project) for each in decisions]
            commit = self._new_commit(project, events)
            after = with_commit(decided, commit)
            if self._was_superseded(before, after):
                continue
            was_written = partial(self._was_written, after)
            mark_commit(self._store, self.runtime, name, commit.number)
            if not self._documents.swap(key, after, before.version, was_written):
                continue
            for each in decisions:
                for event in each.events:
                    each.context.run(self._on_event, name, event)
            self._ensure_journaled(after, is_own=True)
            return [each.outcome(after) for each in decisions]
        raise self._retries.exhausted(f"the project {name}")

    def _new_commit(self, project: Project, events: tuple[Event, ...]) -> Commit:
        previous = digest(self._codec.encode(project.commit)) if project.commit else ""
        number, commit_id = project.revision + 1, self.runtime.new_id()
        return Commit(number=number, id=commit_id, previous=previous, events=events)

    def _was_superseded(self, before: Snapshot[Project], after: Project) -> bool:
        """
        Return whether the journal shows that another writer has committed since `before` was read.

        Raises Unavailable if the journal has the next commit although the document has not changed:
        then the document is outdated or lost, and a commit would contradict the journal.
        """
        if self._store.get(keys.commit(after.name, after.revision)) is None:
            return False
        if self._has_changed(keys.project(after.name), before):
            return True
        raise contradiction(f"The document of {after.name}", after.revision)

    def _has_changed(self, key: Key, before: Snapshot[Project]) -> bool:
        return self._documents.get(key, "current").version != before.version

    def _was_written(self, written: Project, found: Project | None) -> bool:
        """Return whether `found`, read after an unclear write of `written`, includes its commit."""
        own = written.commit
        if own is None or found is None or found.revision < own.number:
            return False
        if found.revision == own.number:
            return found.commit == own
        # the writer of the next commit has put this one into the journal
        entry = self._store.get(keys.commit(written.name, own.number))
        return isinstance(entry, Stored) and entry.body == self._codec.encode(own)

    def _ensure_journaled(self, project: Project, *, is_own: bool = False) -> None:
        """Write a project's last commit to its journal, if it is not there; a new one `is_own`."""
        commit = project.commit
        if commit is None or self._journaled.get(project.name) == commit.number:
            return
        key, body = keys.commit(project.name, commit.number), self._codec.encode(commit)
        # another writer's commit is there unless that writer died; a read costs less than a write
        entry = None if is_own else self._store.get(key)
        if entry is None:
            try:
                entry = Stored(body, self._store.put(key, body, ABSENT))
            except Conflict:
                entry = self._store.get(key)
        if not isinstance(entry, Stored) or entry.body != body:
            raise contradiction(f"The document of {project.name}", commit.number)
        self._journaled.put(project.name, commit.number, 1)


def contradiction(document: str, number: int) -> Unavailable:
    """Return the error for a document that has another commit `number` than its journal."""
    return damaged(
        f"{document} and its journal disagree about commit {number}, as after a restore from a "
        "backup. Run 'wheelyard check', which says what can be done about it."
    )


def _decide(project: Project, intents: Sequence[_PendingIntent]) -> tuple[list[_Decision], Project]:
    """Return the results of intents, one after another, and the project with all their events."""
    decisions = list[_Decision]()
    for each in intents:
        try:
            events = each.intent(project)
        except WheelyardError as refusal:
            decisions.append(_Decision(each.context, project, refusal=refusal))
            continue
        decisions.append(_Decision(each.context, project, events))
        for event in events:
            project = apply(project, event)
    return decisions, project
