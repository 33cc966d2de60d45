"""
The journals of all projects, of grants and of decisions as one, the newest entry first.

Each journal is read from its newest commit back, as far as somebody asks for more. It is opened
once it may have a newer commit than those that are open. The feed says when a project was changed
last, also after a copy, when all serials are new.

- The newest page costs a look at the feed, the document of each project that was changed in the
  hour before its entries, and a read for each commit.
- The feed is read as far as its serials are later than the entries. Memory holds it as far as it
  was read, and a few commits of each open journal.
- A page of older entries, and a limit of time, look for their place in each journal that was
  changed since. That is a search over the numbers of its commits.
- Who goes from page to page need not search: memory has between which two commits the last page
  ended in each journal.
"""

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from heapq import heappop, heappush, merge, nsmallest
from itertools import islice
from math import inf
from operator import attrgetter
from typing import Any, Final, NamedTuple, TypeAlias

from msgspec import Struct, field
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.changes import CLOCK_TOLERANCE, BoundedChange, latest_first
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
MOST_GAPS: Final = 50_000
"""The projects, of all indexes, of which a process remembers where a page has ended."""
_AFTER_ALL_NAMES: Final = "~"
"""A text that sorts after the name of each journal."""
_END_OF_TIME: Final = datetime.max.replace(tzinfo=UTC)

_AnyJournal: TypeAlias = Journal[Any, Any]
_AnyCommit: TypeAlias = Any
"""A commit of a project, or of another document."""


class JournalFilter(Struct, frozen=True):
    """Chooses entries of the merged journal. An empty text leaves nothing out."""

    index: str = ""
    """The name of an index."""
    project: str = ""
    """The normalised name of a project, which need not exist."""
    by: str = ""
    """A principal, or the owner of tokens, as `JournalEntry.is_by` compares them."""
    what: str = ""
    """What has happened, as `JournalEntry.is_what` compares it."""
    since: datetime = BEGINNING
    until: datetime | None = None
    """The first moment that is left out again."""

    def accepts(self, entry: JournalEntry) -> bool:
        """Return whether an entry is one of those that the filter chooses."""
        return (
            (not self.index or entry.in_index == self.index)
            and (not self.project or entry.project == self.project)
            and (not self.what or entry.is_what(self.what))
            and entry.at >= self.since
            and (self.until is None or entry.at < self.until)
            and (not self.by or entry.is_by(self.by))
        )


class JournalPlace(Struct, frozen=True):
    """The place of a commit in the order of all journals, the newest first."""

    at: datetime
    name: str
    """
    Of its journal. That of a project has the name of the project, with `INDEX/` in front of it
    unless the index is main. Any other one begins with a hyphen.
    """
    number: int


class JournalStep(Struct, frozen=True):
    """A commit of the merged journal, and those of its entries that the filter accepts."""

    place: JournalPlace
    entries: tuple[JournalEntry, ...]
    """The newest first."""


class _Gap(Struct, frozen=True):
    """Two commits of a project with none between them, and when they were made."""

    revision: int
    """The revision that the project had."""
    number: int
    """Of the older commit, 0 if there is none."""
    at: datetime
    """When the older commit was made."""
    newer_at: datetime

    def contains(self, place: JournalPlace, revision: int) -> bool:
        """Return whether a place of another journal is between both commits, at this revision."""
        # a place at the time of a commit is not: which comes first is then decided by the names
        return self.revision == revision and self.at < place.at < self.newer_at


class JournalGaps(LruCache[str, _Gap]):
    """
    Between which two commits of each project a page of the merged journal has ended.

    A process remembers them. Whoever asks for the next page of older entries need not look for the
    place in each journal again.
    """

    def __init__(self) -> None:
        super().__init__(MOST_GAPS)


class _UnopenedJournal(NamedTuple):
    """A project whose journal was not read yet."""

    journals: IndexJournals
    """The journals of its index."""
    project: NormalizedName
    latest: float
    """The time that no commit of it is later than, in seconds since the epoch."""


class _OpenJournal(Struct, eq=False):
    """A journal that is read from one of its commits back to the first one."""

    name: str
    index: str
    """The name of its index. Empty if it is the journal of no project."""
    journal: _AnyJournal
    left: int
    """The number of the newest commit that was not read yet."""
    gaps: JournalGaps | None
    """Where to remember gaps, if it is the journal of a project."""
    newer_at: datetime | None = None
    """When the commit was made that is newer by one than the next one here, or None if unknown."""
    times: dict[int, datetime] = {}
    """When commits were made that were read to find the first one."""
    ahead: deque[tuple[int, _AnyCommit | None]] = field(default_factory=deque)
    """Commits that were read, and not taken yet, the newest first. None for a lost one."""

    @property
    def project(self) -> NormalizedName:
        """The name of the project."""
        return NormalizedName(self.name.rpartition("/")[2])

    @property
    def has_to_be_read(self) -> bool:
        """Whether it has further commits, of which none waits in memory."""
        return not self.ahead and self.left > 0

    def is_older(self, number: int, start: JournalPlace) -> bool:
        """Return whether a commit is older than a place of another journal, by reading it."""
        commit: _AnyCommit | None = None
        # a lost commit is taken to be as old as the one that is older by one
        for earlier_number in range(number, 0, -1):
            commit = self.journal.find(earlier_number)
            if commit is not None:
                break
        if commit is None:
            return True
        at = _time_of(commit)
        self.times[number] = at
        # commits of one time are in the order of the names of their journals
        return at < start.at or (at == start.at and self.name > start.name)

    def remember_gap(self, number: int, at: datetime) -> None:
        """Remember the gap that is newer than this commit. The number is 0 behind the first one."""
        # at each commit: nobody knows yet at which one the page ends
        if self.gaps is not None and self.newer_at is not None:
            revision = self.journal.document.revision
            self.gaps.put(self.name, _Gap(revision, number, at, self.newer_at), 1)
        self.newer_at = at


class _Head(NamedTuple):
    """
    The newest commit of an open journal that was not yielded yet.

    Heads are compared from the first field on. No two have the same journal, so the names of these
    tell any two apart, and nothing behind the names is compared.
    """

    negative_time: float
    """Seconds since the epoch, times -1: a heap has its smallest value first."""
    journal_name: str
    number: int
    journal: _OpenJournal
    commit: _AnyCommit

    @property
    def time(self) -> float:
        """When the commit was made, in seconds since the epoch."""
        return -self.negative_time


class MergedJournal(Struct, frozen=True):
    """Reads all journals as one."""

    indexes: tuple[IndexJournals, ...]
    tokens: TokenRecords
    documents: tuple[tuple[str, JournaledDocument[Any, Any, Any]], ...]
    """The documents with a journal that are no project's, with the names of their journals."""
    threads: int
    """The number of commits that are read concurrently."""
    gaps: JournalGaps

    def read(
        self,
        journal_filter: JournalFilter,
        problems: list[str],
        after: JournalPlace | None = None,
    ) -> Generator[JournalStep, None, None]:
        """
        Yield the commits behind a place, of the project and time of the filter, the newest first.

        Without a place, these are all. A step has no entries if the filter accepts none of its
        commit. What cannot be read is left out. Sentences about it are in `problems` at the latest
        when the iterator has ended or was closed. Raises Unavailable if the store does not answer.
        """
        merging = _Merge(self, journal_filter, problems, after)
        # whoever has entries enough closes the generator: its threads end then, too
        try:
            for head in merging.commits():
                entries = with_owners(self._entries(head), self.tokens)
                place = JournalPlace(_time_of(head.commit), head.journal_name, head.number)
                # a step without entries as well: the caller counts how much was read
                yield JournalStep(place, tuple(filter(journal_filter.accepts, entries)))
        finally:
            merging.close()

    def _entries(self, head: _Head) -> Iterator[JournalEntry]:
        """Yield the entries of a commit, the newest first."""
        for event in reversed(head.commit.events):
            if isinstance(head.commit, Commit):
                event_json = EventJson.from_event(event)
                by_name = event_json.by_name or self._name_of(event_json.by)
                entry = entry_of(head.journal.project, head.number, event_json, by_name)
                yield replace(entry, in_index=head.journal.index)
            else:
                yield other_entry_of(head.number, event, self._name_of(event.by))

    def _name_of(self, principal: str) -> str:
        with suppress(Unavailable):  # the journal is more than its names
            return self.tokens.name_of(principal)
        return ""


class _Merge:
    """
    One reading of the merged journal.

    It has the open journals in a heap, by the newest commit of each. The thread of the caller
    changes what is here. Threads of a pool only read objects of the store.
    """

    def __init__(
        self,
        merged: MergedJournal,
        journal_filter: JournalFilter,
        problems: list[str],
        after: JournalPlace | None,
    ) -> None:
        self._merged = merged
        self._filter = journal_filter
        self._problems = problems
        self._start = after
        """The place that all commits are older than, or None for all commits."""
        until = journal_filter.until
        if until is not None and (after is None or until <= after.at):
            # a commit of exactly that time is newer than this place, so it is left out
            self._start = JournalPlace(until, _AFTER_ALL_NAMES, 0)
        self._heads = list[_Head]()
        self._lost = dict[str, list[int]]()
        """The numbers of lost commits, by their journals in words."""
        self._pool: ThreadPoolExecutor | None = None
        if merged.threads > 1:
            self._pool = ThreadPoolExecutor(merged.threads, "journal")

    def close(self) -> None:
        """Tell which commits were lost, and end the threads."""
        # one sentence for each journal, however many of its commits are lost
        self._problems += (lost_message(what, numbers) for what, numbers in self._lost.items())
        self._lost.clear()
        if self._pool is not None:
            # reads that were begun ahead are not waited for: nobody needs them any more
            self._pool.shutdown(wait=False, cancel_futures=True)

    def commits(self) -> Iterator[_Head]:
        """Yield the commits with their journals and numbers, the newest first."""
        # the clocks of servers differ, so a later commit of a journal may have an earlier time
        oldest = (self._filter.since - CLOCK_TOLERANCE).timestamp()
        unopened = self._unopened_journals(oldest)
        following = next(unopened, None)
        self._open_documents()
        while True:
            # a journal is opened before a commit is yielded that one of its own may be newer than
            while following is not None and self._may_be_next(following):
                batch = [following]
                batch += islice(unopened, self._opened_ahead)
                following = next(unopened, None)
                self._open_projects(batch)
            if not self._heads or self._heads[0].time < oldest:
                return
            head = heappop(self._heads)
            yield head
            self._advance(head.journal)

    @property
    def _opened_ahead(self) -> int:
        """How many more projects are opened at a time, so that their documents are read at once."""
        if self._pool is None:
            return 0
        return READ_AHEAD - 1

    def _may_be_next(self, unopened: _UnopenedJournal) -> bool:
        """Return whether a journal may have a newer commit than all open ones."""
        return not self._heads or unopened.latest >= self._heads[0].time

    def _unopened_journals(self, oldest: float) -> Iterator[_UnopenedJournal]:
        """Yield the projects of all indexes that may have a commit from this time on."""
        journals = list[Iterator[_UnopenedJournal]]()
        for index in self._merged.indexes:
            if self._filter.index in {"", index.index}:
                journals.append(self._journals_of(index))
        # each feed is read only as far as its projects are the next ones of all indexes
        for unopened in merge(*journals, key=attrgetter("latest"), reverse=True):
            if unopened.latest < oldest:
                return
            yield unopened

    def _journals_of(self, index: IndexJournals) -> Iterator[_UnopenedJournal]:
        """Yield the projects of an index, the one that may have the latest commit first."""
        if self._filter.project:
            yield _UnopenedJournal(index, NormalizedName(self._filter.project), inf)
            return
        yielded = set[NormalizedName]()
        try:
            for change, latest in latest_first(self._bounded_changes(index)):
                yielded.add(change.project)
                yield _UnopenedJournal(index, change.project, latest)
        except Unavailable as fault:
            if fault.code != DAMAGED:
                raise
            # without the feed nobody knows what is newest, so all journals are opened at once
            self._problems.append(fault.message)
            for entry in index.projects.store.list(keys.PROJECTS):
                name = keys.project_of(entry.key)
                if name is not None and name not in yielded:
                    yield _UnopenedJournal(index, name, inf)

    def _bounded_changes(self, index: IndexJournals) -> Iterator[BoundedChange]:
        """
        Yield the newest change of each project that may have commits older than the start.

        Where a reader has left the journal around the start, `latest` is the time of the first
        commit behind it. Else it is the time that the feed has.
        """
        for change, latest in index.changes.newest_first():
            gap = self._merged.gaps.get(index.journal_name(change.project))
            if gap is None or self._start is None or not gap.contains(self._start, change.revision):
                yield BoundedChange(latest, change, latest)
            elif gap.number:
                # the bound stays that of the feed, as changes after this one may be later
                yield BoundedChange(latest, change, gap.at.timestamp())

    def _open_documents(self) -> None:
        """Open the journals that are no project's: they are few, and in no feed."""
        if self._filter.index:
            return
        for name, records in self._merged.documents:
            # of these documents, only the decisions are about projects
            if self._filter.project and name != DECISIONS:
                continue
            try:
                document = records.get("current").value
            except Unavailable as fault:
                self._note_unreadable(records.kind.what, fault)
                continue
            if document is not None:
                self._open(name, records.commits.journal(records.kind, document))

    def _open_projects(self, batch: Sequence[_UnopenedJournal]) -> None:
        journals = self._map(_read_journal, batch)
        for unopened, journal in zip(batch, journals, strict=True):
            name = unopened.journals.journal_name(unopened.project)
            if isinstance(journal, Unavailable):
                self._note_unreadable(name, journal)
            elif journal is not None:
                self._open(name, journal, unopened.journals.index)

    def _open(self, name: str, journal: _AnyJournal, index: str = "") -> None:
        """
        Put the newest commit of a journal older than the start among the heads, if it has one.

        `index` is the index of a project, and empty for a document that is no project's.
        """
        opened = _OpenJournal(
            name=name,
            index=index,
            # the pool of this reading reads several journals at a time, which is enough
            journal=replace(journal, threads=1),
            left=journal.document.revision,
            gaps=None,
        )
        if index:
            opened.gaps = self._merged.gaps
        if self._start is not None:
            self._skip_to(opened, self._start)
        if opened.left == journal.document.revision:
            opened.newer_at = _END_OF_TIME
        self._advance(opened)

    def _skip_to(self, opened: _OpenJournal, start: JournalPlace) -> None:
        """Leave out the commits of a journal that are not older than a place."""
        if start.name == opened.name:
            opened.newer_at = start.at
            opened.left = min(start.number - 1, opened.left)
            return
        gap: _Gap | None = None
        if opened.gaps is not None:
            gap = opened.gaps.get(opened.name)
        if gap is not None and gap.contains(start, opened.left):
            opened.newer_at = gap.newer_at
            opened.left = gap.number
            return
        opened.left = self._search(opened, start)
        opened.newer_at = opened.times.get(opened.left + 1)

    @staticmethod
    def _search(opened: _OpenJournal, start: JournalPlace) -> int:
        """Return the number of the newest commit older than a place, or 0, by reading commits."""
        high = opened.left
        # most journals have few commits that are newer, so the first steps are small ones
        low = high
        step = 1
        while low > 0 and not opened.is_older(low, start):
            high = low - 1
            low = low - step
            step = 2 * step
        # the result is in low..high: halve that until both are equal
        low = max(low, 0)
        while low < high:
            middle = (low + high + 1) // 2
            if opened.is_older(middle, start):
                low = middle
            else:
                high = middle - 1
        return low

    def _advance(self, opened: _OpenJournal) -> None:
        """Put the next commit of a journal among the heads, if it has one."""
        while opened.ahead or opened.left > 0:
            if not opened.ahead:
                self._read_ahead(opened)
            number, commit = opened.ahead.popleft()
            if commit is not None:
                at = _time_of(commit)
                heappush(self._heads, _Head(-at.timestamp(), opened.name, number, opened, commit))
                opened.remember_gap(number, at)
                return
            self._lost.setdefault(opened.journal.kind.what, []).append(number)
        opened.remember_gap(0, BEGINNING)

    def _read_ahead(self, opened: _OpenJournal) -> None:
        """Read commits of a journal, and of those that are needed next."""
        journals = [opened]
        count = 1
        # while a bucket is waited for, other threads read what comes next
        if self._pool is not None:
            heads = nsmallest(READ_AHEAD - 1, self._heads)
            journals += (head.journal for head in heads if head.journal.has_to_be_read)
            count = max(1, READ_AHEAD // len(journals))
        reads = list[tuple[_OpenJournal, int]]()
        for journal in journals:
            last = max(journal.left - count, 0)
            reads += ((journal, number) for number in range(journal.left, last, -1))
        for (journal, number), commit in zip(reads, self._map(_find, reads), strict=True):
            journal.ahead.append((number, commit))
            # one at a time: if a read raises, those before it count as read
            journal.left = number - 1

    def _map(self, work: Any, arguments: Sequence[Any]) -> Iterator[Any]:  # noqa: ANN401 - as `map`
        if self._pool is None:
            return map(work, arguments)
        return self._pool.map(work, arguments)

    def _note_unreadable(self, what: str, fault: Unavailable) -> None:
        """Add the problem of one document, or raise the fault if the store does not answer."""
        if fault.code not in UNREADABLE_CODES:
            raise fault
        self._problems.append(f"{what} cannot be read: {fault.message}")


def _read_journal(unopened: _UnopenedJournal) -> _AnyJournal | Unavailable | None:
    """Return the journal of a project, None if it has no document, or why it is unreadable."""
    projects = unopened.journals.projects
    # the document, as `Projects.get` refuses a released name, whose journal stays
    key = keys.project(unopened.project)
    try:
        project = projects.documents.get(key, "current").value
    except Unavailable as fault:
        # returned, as what a thread raises would hide the journals behind it
        return fault
    if project is None:
        return None
    return projects.journal(project)


def _find(place: tuple[_OpenJournal, int]) -> _AnyCommit | None:
    """Return the commit of a number, or None if the journal has lost it, in a thread of a pool."""
    opened, number = place
    return opened.journal.find(number)


def _time_of(commit: _AnyCommit) -> datetime:
    """Return when a commit was made: the time of its newest event."""
    moment: datetime = max(event.at for event in commit.events)
    return moment
