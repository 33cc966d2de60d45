"""The table of what an index shows if it, or a layer of it, has rules or merges names."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import count
from threading import Lock
from typing import Final, TypeVar

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.concurrency.threads import PREFETCH_THREADS, prefetch_map
from wheelyard.errors import UNREADABLE_CODES, Unavailable
from wheelyard.model.access import NamePatterns
from wheelyard.operations.search.layered_table import ShownProjects
from wheelyard.operations.search.project_table import ProjectTable
from wheelyard.rendering.listing import ShownFile, ShownProject
from wheelyard.rendering.project_facts import (
    ProjectFacts,
    ReleaseOf,
    facts_of,
    latest_release,
    releases_of,
)
from wheelyard.wiring.index import Index
from wheelyard.wiring.indexes import Indexes
from wheelyard.wiring.layers import LayerSearch, merged

F = TypeVar("F", bound=ShownFile)
FIRST: Final = 1 << 40
"""The generation of the first table with views, which none without views ever has."""
PUBLIC_PAUSE: Final = timedelta(minutes=1)
"""The least time from one look at a public project to the next while its page stays the same."""
NOTHING: Final = ProjectTable()


class _Judged(Struct, frozen=True):
    """What a view shows of one project."""

    facts: ProjectFacts
    """Of the project without the view."""
    shown: ProjectFacts | None
    """None if nothing of it is shown."""
    changes_at: datetime | None
    """When time alone may change that."""


class ViewedTable:
    """
    The projects of which an index shows a file.

    Threads may share it. Where no layer has rules or merges names, it is the table of the first
    layers. With rules the document of each project is read once, and again after it has changed:
    on a bucket, the first list of many projects takes seconds. Those of merged names are read for
    each table.

    Args:
        whole: Its attribute.
        indexes: All indexes of the store.
        index: Returns the index that has the layers. May raise Unavailable.
    """

    def __init__(self, whole: ShownProjects, indexes: Indexes, index: Callable[[], Index]) -> None:
        self.whole = whole
        """Of each project what the first layer has, without views."""
        self._indexes = indexes
        self._index = index
        self._lock = Lock()
        self._numbers = count(FIRST)
        self._generation = -1
        """That of the table that this one was made from."""
        self._judged = dict[NormalizedName, _Judged]()
        self._changes_at: datetime | None = None
        self._viewed = NOTHING

    def peek(self) -> ProjectTable | None:
        """See `ShownProjects`."""
        if self._indexes.peek() is None:
            return None
        whole = self.whole.peek()
        if whole is None or _is_plain(self._index()):
            return whole
        return self._viewed if self._is_of(whole) else None

    def table(self) -> ProjectTable:
        """See `ShownProjects`."""
        whole = self.whole.table()
        if _is_plain(self._index()):
            return whole
        with self._lock:
            if not self._is_of(whole):
                self._make(whole)
            return self._viewed

    @property
    def known(self) -> ProjectTable:
        """See `ShownProjects`."""
        if self._indexes.peek() is None:  # whether it is a view would have to be read
            return self._viewed
        return self.whole.known if _is_plain(self._index()) else self._viewed

    def _is_of(self, whole: ProjectTable) -> bool:
        if self._generation != whole.generation:
            return False
        return self._changes_at is None or self._index().runtime.now() < self._changes_at

    def _make(self, whole: ProjectTable) -> None:
        """Make the table anew, of what is known and of what has to be looked at again."""
        index, before = self._index(), self._judged
        now, is_view, merges = index.runtime.now(), index.is_view, index.merges
        is_of_layers = index.day_view is not None and len(index.parts) > 1

        def judge(facts: ProjectFacts) -> _Judged:
            earlier = before.get(facts.name)
            is_merged = _is_merged(facts, merges)
            if not is_view and not is_merged:
                return _Judged(facts, facts, None)
            # they follow from more than the facts of the first layer
            if earlier is None or earlier.facts != facts or is_merged or is_of_layers:
                return _judge(index, facts)
            is_due = earlier.changes_at is not None and earlier.changes_at <= now
            return _judge(index, facts) if is_due else earlier

        threads = 1 if index.is_local else PREFETCH_THREADS
        results = prefetch_map(judge, whole.projects, threads)
        judged = {result.facts.name: result for result in results}
        answers = judged.values()
        times = [answer.changes_at for answer in answers if answer.changes_at is not None]
        shown = tuple(answer.shown for answer in answers if answer.shown is not None)
        self._judged = judged
        self._changes_at = min(times, default=None)
        self._viewed = ProjectTable(shown, generation=next(self._numbers))
        self._generation = whole.generation


def _is_plain(index: Index) -> bool:
    """Return whether an index shows of each project what its first layer with the name has."""
    return not index.is_view and not index.merges


def _is_merged(facts: ProjectFacts, merges: Sequence[NamePatterns]) -> bool:
    return not facts.origin and any(patterns.match(facts.name) for patterns in merges)


def shown_facts(index: Index, facts: ProjectFacts) -> ProjectFacts | None:
    """
    Return the facts of a project as an index shows it, or None if its view shows no file.

    `facts` are those of the first layer that has the project, without views. Raises Unavailable if
    the store does not answer.
    """
    if index.is_view or _is_merged(facts, index.merges):
        return _judge(index, facts).shown
    return facts


def _judge(index: Index, facts: ProjectFacts) -> _Judged:
    """
    Return what an index shows of a project.

    A view does not show a project that cannot be read. Raises Unavailable if the store does not
    answer.
    """
    try:
        return _judge_public(index, facts) if facts.origin else _judge_private(index, facts)
    except Unavailable as fault:
        if fault.code not in UNREADABLE_CODES:
            raise
        return _Judged(facts, None if index.is_view else facts, None)


def _judge_private(index: Index, facts: ProjectFacts) -> _Judged:
    homes = LayerSearch(index, facts.name).homes
    if not homes:
        return _Judged(facts, None, None)
    project = merged([home.project for home in homes])
    times = (home.changes_at for home in homes if home.changes_at is not None)
    latest = latest_release(releases_of(project)) if project.files else None
    return _Judged(facts, _shown(facts, project, latest), min(times, default=None))


def _judge_public(index: Index, facts: ProjectFacts) -> _Judged:
    """Return what an index shows of a project of an upstream index, as its stored page has it."""
    listing = index.upstream.stored(facts.name) if index.upstream else None
    if listing is None:  # of an approved package, perhaps nobody has asked for its page yet
        return _Judged(facts, facts, None)
    listing = index.view_of_public(listing)
    latest, change = latest_release(releases_of(listing)), listing.origin.view.changes_at
    if change is not None:
        change = max(change, index.runtime.now() + PUBLIC_PAUSE)
    return _Judged(facts, _shown(facts, listing, latest), change)


def _shown(
    facts: ProjectFacts, project: ShownProject[F], latest: ReleaseOf[F] | None
) -> ProjectFacts | None:
    """
    Return the facts of a project of which a part is shown, or None if nothing is.

    Summary and keywords stay those of its latest release.
    """
    if not project.files:
        return None
    seen = facts_of(project, latest)
    return replace(
        facts,
        version=seen.version,
        uploaded=seen.uploaded,
        uploaded_by=seen.uploaded_by,
        status=seen.status,
    )
