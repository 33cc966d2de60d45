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
from wheelyard.catalog.document_cache import DocumentCache, Snapshot
from wheelyard.catalog.journaled_document import JournalKind
from wheelyard.catalog.journals import project_journal
from wheelyard.concurrency.caches import LruCache
from wheelyard.concurrency.group_commit import GroupCommit, TakeItems
from wheelyard.concurrency.runtime import ConflictRetries, Runtime
from wheelyard.errors import WheelyardError
from wheelyard.model.project import Commit, Event, Project, apply, with_commit
from wheelyard.storage.base import Key, Store

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
        key, kind = keys.project(name), project_journal(name)
        for attempt in self._retries.attempts():
            intents, started_at = take(), self.runtime.monotonic()
            before = self._documents.get(key, "fresh" if attempt == 0 else "current")
            project = before.value or Project(name=name)
            self._ensure_journaled(kind, project)
            decisions, decided = _decide(project, intents)
            events = tuple(event for each in decisions for event in each.events)
            if not events:
                # without a swap, nothing else would show that the cached document is outdated
                if before.validated_at < started_at and self._has_changed(key, before):
                    continue
                return [each.outcome(project) for each in decisions]
            commit = self._new_commit(kind, project, events)
            after = with_commit(decided, commit)
            if kind.was_superseded(self._store, self._documents, before.version, after):
                continue
            was_written = partial(kind.was_written, self._store, after)
            mark_commit(self._store, self.runtime, name, commit.number)
            if not self._documents.swap(key, after, before.version, was_written):
                continue
            for each in decisions:
                for event in each.events:
                    each.context.run(self._on_event, name, event)
            self._ensure_journaled(kind, after, is_own=True)
            return [each.outcome(after) for each in decisions]
        raise self._retries.exhausted(f"the project {name}")

    def _new_commit(
        self, kind: JournalKind[Project, Commit], project: Project, events: tuple[Event, ...]
    ) -> Commit:
        number, commit_id = project.revision + 1, self.runtime.new_id()
        return Commit(number=number, id=commit_id, previous=kind.digest(project), events=events)

    def _has_changed(self, key: Key, before: Snapshot[Project]) -> bool:
        return self._documents.get(key, "current").version != before.version

    def _ensure_journaled(
        self, kind: JournalKind[Project, Commit], project: Project, *, is_own: bool = False
    ) -> None:
        if self._journaled.get(project.name) == project.revision:
            return
        kind.ensure_journaled(self._store, project, is_own=is_own)
        self._journaled.put(project.name, project.revision, 1)


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
