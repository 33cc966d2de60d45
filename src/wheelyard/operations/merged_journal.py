"""
The journals of all projects, of grants and of decisions as one, the newest entry first.

Each journal is read from its newest commit back, as far as somebody asks for more. It is opened
once it may have a newer commit than those that are open: the feed says when a project was changed
last, also after a copy, when all serials are new. So the newest page costs a look at the feed, the
document of each project that was changed in the hour before its entries, and a read for each
commit. The feed is read as far as its serials are later than the entries. Memory holds the feed as
far as it was read, and a few commits of each open journal. A page behind a place, and a limit of
time, look for their place in each journal that was changed since: a search over the numbers of its
commits. Who goes from page to page need not search: memory has where each journal was left.
"""

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from heapq import heappop, heappush, merge, nsmallest
from itertools import chain, islice, takewhile
from math import inf
from typing import Any, Final, TypeAlias

from msgspec import Struct, field
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.changes import (
    CLOCK_TOLERANCE,
    BoundedChange,
    ProjectChange,
    latest_first,
)
from wheelyard.catalog.commits import Journal
from wheelyard.catalog.index_journals import IndexJournals
from wheelyard.catalog.journaled_documents import JournaledDocument
from wheelyard.catalog.stored_tokens import TokenRecords
from wheelyard.concurrency.caches import LruCache
from wheelyard.errors import DAMAGED, UNREADABLE_CODES, Unavailable
from wheelyard.model.project import Commit
from wheelyard.model.project_json import EventJson, JournalEntry, entry_of, other_entry_of
from wheelyard.operations.journal_reader import BEGINNING, lost_message, with_owners

DECISIONS: Final = "-decisions"
"""The name of the journal of decisions, which no project has."""
READ_AHEAD: Final = 16
"""Commits that are read at a time from a remote store."""
MOST_CUTS: Final = 50_000
"""The projects of an index of which a process knows where a reader has left their journals."""
_AFTER_ALL_NAMES: Final = "~"
_NEVER: Final = datetime.max.replace(tzinfo=UTC)

_AnyJournal: TypeAlias = Journal[Any, Any]
_AnyCommit: TypeAlias = Any
"""A commit of a project, or of another document."""

_NamedProject: TypeAlias = tuple[IndexJournals, NormalizedName]


class JournalFilter(Struct, frozen=True):
    """Which entries are wanted. Empty texts mean all."""

    index: str = ""
    """The name of an index."""
    project: str = ""
    """The normalised name of a project, which need not exist."""
    by: str = ""
    """Of which principals and owners of tokens, as `JournalEntry.is_by` compares them."""
    what: str = ""
    """What has happened, as `JournalEntry.is_what` compares it."""
    since: datetime = BEGINNING
    until: datetime | None = None
    """The first moment that is not wanted any more."""

    def accepts(self, entry: JournalEntry) -> bool:
        """Return whether an entry is wanted."""
        return (
            (not self.index or entry.in_index == self.index)
            and (not self.project or entry.project == self.project)
            and (not self.what or entry.is_what(self.what))
            and entry.at >= self.since
            and (self.until is None or entry.at < self.until)
            and (not self.by or entry.is_by(self.by))
        )


class JournalPlace(Struct, frozen=True):
    """The place of a commit in the order of all journals: what follows is older."""

    at: datetime
    name: str
    """
    Of its journal: that of a project, behind the name of its index and a slash unless that is main,
    or another name that begins with a hyphen.
    """
    number: int


class JournalStep(Struct, frozen=True):
    """A commit of the merged journal, and those of its entries that are wanted."""

    place: JournalPlace
    entries: tuple[JournalEntry, ...]
    """The newest first."""


class _Cut(Struct, frozen=True):
    """Two commits of a project, one after the other, and when they were made."""

    revision: int
    """That of the project."""
    number: int
    """Of the older one, 0 if there is none."""
    at: datetime
    newer_at: datetime

    def has(self, place: JournalPlace, revision: int) -> bool:
        """Return whether a place of another journal is between both, at this revision."""
        return self.revision == revision and self.at < place.at < self.newer_at


class JournalCuts(LruCache[str, _Cut]):
    """
    Where readers of the merged journal have left the journals of projects, in this process.

    Who goes on behind the entries of a page need not look for the place in each journal again.
    """

    def __init__(self) -> None:
        super().__init__(MOST_CUTS)


class _OpenJournal(Struct, eq=False):
    """A journal from a commit back."""

    name: str
    index: str
    """The name of its index."""
    journal: _AnyJournal
    left: int
    """The number of the newest commit that was not read yet."""
    cuts: JournalCuts | None
    """Where to note that it was left, if it is the journal of a project."""
    newer_at: datetime | None = None
    """When the commit was made that comes before the next one here, or None if that is unknown."""
    times: dict[int, datetime] = {}
    """When commits were made that were read to find the first one."""
    ahead: deque[tuple[int, _AnyCommit | None]] = field(default_factory=deque)
    """Commits that were read, and not taken yet, the newest first; None for a lost one."""

    @property
    def project(self) -> NormalizedName:
        """The name of the project."""
        return NormalizedName(self.name.rpartition("/")[2])

    def note(self, number: int, at: datetime) -> None:
        """Note that this commit comes next, or none if the number is 0."""
        if self.cuts is not None and self.newer_at is not None:
            revision = self.journal.document.revision
            self.cuts.put(self.name, _Cut(revision, number, at, self.newer_at), 1)
        self.newer_at = at


class MergedJournal(Struct, frozen=True):
    """Reads all journals as one. `others` has those of documents that are no project's, by name."""

    indexes: tuple[IndexJournals, ...]
    tokens: TokenRecords
    others: tuple[tuple[str, JournaledDocument[Any, Any, Any]], ...]
    threads: int
    """The number of commits that are read concurrently."""
    cuts: JournalCuts

    def read(
        self, wanted: JournalFilter, problems: list[str], after: JournalPlace | None = None
    ) -> Generator[JournalStep, None, None]:
        """
        Yield the commits of the wanted project and time behind a place, the newest first.

        What cannot be read is left out. Sentences about it are in `problems` at the latest when
        the iterator has ended or was closed. Raises Unavailable if the store does not answer.
        """
        merging = _Merge(self, wanted, problems, after)
        try:
            for source, number, commit in merging.commits():
                entries = with_owners(self._entries(source, number, commit), self.tokens)
                place = JournalPlace(_time_of(commit), source.name, number)
                yield JournalStep(place, tuple(filter(wanted.accepts, entries)))
        finally:
            merging.close()

    def _entries(
        self, source: _OpenJournal, number: int, commit: _AnyCommit
    ) -> Iterator[JournalEntry]:
        """Yield the entries of a commit, the newest first."""
        for event in reversed(commit.events):
            if isinstance(commit, Commit):
                shown = EventJson.from_event(event)
                by_name = shown.by_name or self._name_of(shown.by)
                entry = entry_of(source.project, number, shown, by_name)
                yield replace(entry, in_index=source.index)
            else:
                yield other_entry_of(number, event, self._name_of(event.by))

    def _name_of(self, principal: str) -> str:
        with suppress(Unavailable):  # the journal is more than its names
            return self.tokens.name_of(principal)
        return ""


class _Merge:
    """The state of one reading: the journals that are open, by their newest commits."""

    def __init__(
        self,
        merged: MergedJournal,
        wanted: JournalFilter,
        problems: list[str],
        after: JournalPlace | None,
    ) -> None:
        self._merged = merged
        self._wanted = wanted
        self._problems = problems
        self._limit = after
        if wanted.until is not None and (after is None or wanted.until <= after.at):
            self._limit = JournalPlace(wanted.until, _AFTER_ALL_NAMES, 0)
        self._heads: list[tuple[float, str, int, _OpenJournal, _AnyCommit]] = []
        """A heap. The age and the name tell any two of them apart."""
        self._lost = dict[str, list[int]]()
        self._pool = ThreadPoolExecutor(merged.threads, "journal") if merged.threads > 1 else None

    def close(self) -> None:
        """Tell which commits were lost, and end the threads."""
        self._problems += (lost_message(what, numbers) for what, numbers in self._lost.items())
        self._lost.clear()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def commits(self) -> Iterator[tuple[_OpenJournal, int, _AnyCommit]]:
        """Yield the commits with their journals and numbers, the newest first."""
        # what is older is not wanted; clocks differ
        end = (self._wanted.since - CLOCK_TOLERANCE).timestamp()
        parts = (self._projects(part) for part in self._merged.indexes if self._is_wanted(part))
        projects = merge(*parts, key=lambda project: -project[1])
        unopened = takewhile(lambda project: project[1] >= end, projects)
        following = next(unopened, None)
        self._open_others()
        while True:
            while following is not None and self._may_be_next(following[1]):
                batch = [following[0], *(name for name, _ in islice(unopened, self._spare))]
                following = next(unopened, None)
                self._open_all(batch)
            if not self._heads or -self._heads[0][0] < end:
                return
            _, _, number, source, commit = heappop(self._heads)
            yield source, number, commit
            self._advance(source)

    @property
    def _spare(self) -> int:
        """How many more projects are opened at a time, so that their documents are read at once."""
        return 0 if self._pool is None else READ_AHEAD - 1

    def _may_be_next(self, newest: float) -> bool:
        """Return whether a journal with no later commit may have one before all open ones."""
        return not self._heads or newest >= -self._heads[0][0]

    def _is_wanted(self, part: IndexJournals) -> bool:
        return self._wanted.index in {"", part.index}

    def _projects(self, part: IndexJournals) -> Iterator[tuple[_NamedProject, float]]:
        """Yield each project, with a time that no commit of it is later than, descending."""
        if self._wanted.project:
            yield (part, NormalizedName(self._wanted.project)), inf
            return
        yielded = set[NormalizedName]()
        try:
            for change, latest in self._changes(part):
                yielded.add(change.project)
                yield (part, change.project), latest
        except Unavailable as fault:
            if fault.code != DAMAGED:
                raise
            self._problems.append(fault.message)
            for entry in part.projects.store.list(keys.PROJECTS):
                name = keys.project_of(entry.key)
                if name is not None and name not in yielded:
                    yield (part, name), inf

    def _changes(self, part: IndexJournals) -> Iterator[tuple[ProjectChange, float]]:
        """
        Return what `newest_first` yields, with the time of the newest commit behind the limit.

        It is that only of projects whose commits around the limit are known. Those that have none
        behind it are left out.
        """
        return latest_first(self._bounded_changes(part))

    def _bounded_changes(self, part: IndexJournals) -> Iterator[BoundedChange]:
        for change, latest in part.changes.newest_first():
            cut = self._merged.cuts.get(part.journal_name(change.project))
            if cut is None or self._limit is None or not cut.has(self._limit, change.revision):
                yield BoundedChange(latest, change, latest)
            elif cut.number:
                yield BoundedChange(latest, change, cut.at.timestamp())

    def _open_others(self) -> None:
        for name, records in () if self._wanted.index else self._merged.others:
            # of the others, only decisions are about projects
            if not self._wanted.project or name == DECISIONS:
                try:
                    document = records.get("current").value
                except Unavailable as fault:
                    self._note(records.kind.what, fault)
                    continue
                if document is not None:
                    self._begin(name, records.commits.journal(records.kind, document))

    def _open_all(self, named: Sequence[_NamedProject]) -> None:
        for (part, name), journal in zip(named, self._map(self._journal_of, named), strict=True):
            of_index = part.journal_name(name)
            if isinstance(journal, Unavailable):
                self._note(of_index, journal)
            elif journal is not None:
                self._begin(of_index, journal, part)

    @staticmethod
    def _journal_of(named: _NamedProject) -> _AnyJournal | Unavailable | None:
        """Return the journal of a project, None if it has no document, or why it is unreadable."""
        projects = named[0].projects
        name = named[1]
        try:
            # also that of a released name
            project = projects.documents.get(keys.project(name), "current").value
        except Unavailable as fault:
            return fault
        return projects.journal(project) if project else None

    def _begin(self, name: str, journal: _AnyJournal, part: IndexJournals | None = None) -> None:
        source = _OpenJournal(
            name=name,
            index=part.index if part else "",
            journal=replace(journal, threads=1),
            left=journal.document.revision,
            cuts=self._merged.cuts if part else None,
        )
        source.left = self._find_start(source)
        if source.left == journal.document.revision:
            source.newer_at = _NEVER
        self._advance(source)

    def _find_start(self, source: _OpenJournal) -> int:
        """Return the number of the newest commit that comes behind the limit, or 0."""
        limit = self._limit
        high = source.left
        if limit is None:
            return high
        if limit.name == source.name:
            source.newer_at = limit.at
            return min(limit.number - 1, high)
        cut = source.cuts.get(source.name) if source.cuts is not None else None
        if cut is not None and cut.has(limit, high):
            source.newer_at = cut.newer_at
            return cut.number
        start = self._search(source, limit)
        source.newer_at = source.times.get(start + 1)
        return start

    @staticmethod
    def _search(source: _OpenJournal, limit: JournalPlace) -> int:
        """Return what `_find_start` does, by reading commits of the journal."""
        high = source.left
        # most journals have few commits before the limit, so the first steps are small ones
        low = high
        step = 1
        while low > 0 and not _is_behind(source, low, limit):
            high = low - 1
            low = low - step
            step = 2 * step
        low = max(low, 0)
        while low < high:
            middle = (low + high + 1) // 2
            if _is_behind(source, middle, limit):
                low = middle
            else:
                high = middle - 1
        return low

    def _advance(self, source: _OpenJournal) -> None:
        """Put the next commit of a journal among the heads, if it has one."""
        while source.ahead or source.left > 0:
            if not source.ahead:
                self._read_ahead(source)
            number, commit = source.ahead.popleft()
            if commit is not None:
                at = _time_of(commit)
                heappush(self._heads, (-at.timestamp(), source.name, number, source, commit))
                source.note(number, at)
                return
            self._lost.setdefault(source.journal.kind.what, []).append(number)
        source.note(0, BEGINNING)

    def _read_ahead(self, source: _OpenJournal) -> None:
        """Read commits of a journal, and of those that are needed next."""
        sources = [source]
        count = 1
        if self._pool is not None:
            near = (head[3] for head in nsmallest(READ_AHEAD - 1, self._heads, key=_order))
            sources += (other for other in near if not other.ahead and other.left > 0)
            count = max(1, READ_AHEAD // len(sources))
        wanted = [
            (journal, number)
            for journal in sources
            for number in range(journal.left, max(journal.left - count, 0), -1)
        ]
        for (journal, number), commit in zip(wanted, self._map(_find, wanted), strict=True):
            journal.ahead.append((number, commit))
            journal.left = number - 1

    def _map(self, work: Any, arguments: Sequence[Any]) -> Iterator[Any]:  # noqa: ANN401 - as `map`
        return (map if self._pool is None else self._pool.map)(work, arguments)

    def _note(self, what: str, fault: Unavailable) -> None:
        if fault.code not in UNREADABLE_CODES:
            raise fault
        self._problems.append(f"{what} cannot be read: {fault.message}")


def _find(place: tuple[_OpenJournal, int]) -> _AnyCommit | None:
    source, number = place
    return source.journal.find(number)


def _order(head: tuple[float, str, int, _OpenJournal, _AnyCommit]) -> tuple[float, str]:
    return head[:2]


def _time_of(commit: _AnyCommit) -> datetime:
    moment: datetime = max(event.at for event in commit.events)
    return moment


def _is_behind(source: _OpenJournal, number: int, limit: JournalPlace) -> bool:
    """Return whether a commit comes behind a place of another journal."""
    older = chain(
        (source.journal.find(number),), map(source.journal.find, range(number - 1, 0, -1))
    )
    commit = next(filter(None, older), None)  # in the place of a lost one, the one before it
    if commit is None:
        return True
    at = _time_of(commit)
    source.times[number] = at
    return at < limit.at or (at == limit.at and source.name > limit.name)
