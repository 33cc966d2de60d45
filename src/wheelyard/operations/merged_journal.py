"""
The journals of all projects, of grants and of decisions as one, the newest entry first.

Each journal is read from its newest commit back, as far as the caller takes entries. A journal is
opened as soon as its newest commit may be newer than those of all open journals. The feed says when
a project was changed last, also after a copy, when all serials are new.

- The newest page costs a look at the feed, the document of each project that was changed in the
  hour before its entries, and a read for each commit.
- The feed is read as far as its serials are later than the entries. Memory holds it as far as it
  was read, and a few commits of each open journal.
- A page of older entries, and a limit of time, look for their place in each journal that was
  changed since. That is a search over the numbers of its commits.
- A reader who goes from page to page need not search: memory has, for each journal, between which
  two commits the last page ended.
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
        """Return whether the filter chooses an entry of its index; others are not read."""
        if self.project and entry.project != self.project:
            return False
        if self.what and not entry.is_what(self.what):
            return False
        is_in_time = entry.at >= self.since and (self.until is None or entry.at < self.until)
        if not is_in_time:
            return False
        return not self.by or entry.is_by(self.by)


class JournalPlace(Struct, frozen=True):
    """The place of a commit in the order of all journals, the newest first."""

    at: datetime
    """When the commit was made."""
    name: str
    """
    The name of the journal.

    The journal of a project has the name of the project, with `INDEX/` in front of it unless the
    index is main. The name of any other journal begins with a hyphen.
    """
    number: int
    """The number of the commit in its journal."""


class JournalStep(Struct, frozen=True):
    """A commit of the merged journal, with those of its entries that the filter accepts."""

    place: JournalPlace
    entries: tuple[JournalEntry, ...]
    """The accepted entries, the newest first."""


class _Gap(Struct, frozen=True):
    """The time between two successive commits of a project."""

    revision: int
    """The revision that the project had when the gap was seen."""
    number: int
    """The number of the older commit, or 0 if there is none."""
    older_at: datetime
    """When the older commit was made."""
    newer_at: datetime
    """When the newer commit was made."""

    def contains(self, place: JournalPlace, revision: int) -> bool:
        """
        Return whether a place of another journal is between the two commits.

        It is not if the project now has another revision than the gap.
        """
        # A place at the time of one of the commits is not between them: then the names of the
        # journals decide which comes first.
        return self.revision == revision and self.older_at < place.at < self.newer_at


class JournalGaps(LruCache[str, _Gap]):
    """
    The gap of each project's journal in which a page of the merged journal has ended, by name.

    A process remembers these gaps. To read the next page of older entries, it need not look for the
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
    """The time that no commit of the project is later than, in seconds since the epoch."""


class _OpenJournal(Struct, eq=False):
    """A journal that is read from one of its commits back to the first one."""

    name: str
    """The name of the journal, as a `JournalPlace` has it."""
    index: str
    """The name of the project's index, or empty if the journal is of no project."""
    journal: _AnyJournal
    newest_unread: int
    """The number of the newest commit that was not read yet, or 0 if all were read."""
    gaps: JournalGaps | None
    """Where to remember gaps, or None if the journal is of no project."""
    newer_at: datetime | None = None
    """When the commit was made that follows the next one to yield, or None if unknown."""
    commit_times: dict[int, datetime] = {}
    """When the commits were made that the search for the first one has read, by number."""
    commits_ahead: deque[tuple[int, _AnyCommit | None]] = field(default_factory=deque)
    """The numbers and commits that were read and not taken yet. A lost commit is None."""

    @property
    def project(self) -> NormalizedName:
        """The name of the project."""
        return NormalizedName(self.name.rpartition("/")[2])

    @property
    def has_to_be_read(self) -> bool:
        """Whether the journal has further commits, and none of them waits in memory."""
        return not self.commits_ahead and self.newest_unread > 0

    def is_older(self, number: int, start: JournalPlace) -> bool:
        """Read a commit, and return whether it is older than a place of another journal."""
        commit: _AnyCommit | None = None
        # a lost commit is taken to be as old as the one that is older by one
        for earlier_number in range(number, 0, -1):
            commit = self.journal.find(earlier_number)
            if commit is not None:
                break
        if commit is None:
            return True
        commit_time = _time_of(commit)
        self.commit_times[number] = commit_time
        if commit_time == start.at:
            # commits of one time are in the order of the names of their journals
            return self.name > start.name
        return commit_time < start.at

    def remember_gap(self, number: int, at: datetime) -> None:
        """
        Remember the gap between a commit and the one that follows it.

        `number` is 0, and `at` is `BEGINNING`, for the gap before the first commit.
        """
        # at each commit, as nobody knows yet at which one the page ends
        if self.gaps is not None and self.newer_at is not None:
            revision = self.journal.document.revision
            self.gaps.put(self.name, _Gap(revision, number, at, self.newer_at), 1)
        self.newer_at = at


class _Head(NamedTuple):
    """
    The newest commit of an open journal that was not yielded yet.

    A heap compares heads field by field. Any two heads have different journals, so no field behind
    the name of the journal is ever compared.
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
    """Has the names and owners of the tokens that made commits."""
    documents: tuple[tuple[str, JournaledDocument[Any, Any, Any]], ...]
    """The names of the journals that are of no project, with their documents."""
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
        Yield the commits older than the place `after`, or all for None, the newest first.

        These are the commits of the project, index and time of the filter. A step has no entries
        if the filter accepts none of its commit. Journals and commits that cannot be read are left
        out. When the iterator has ended or was closed, `problems` has a sentence about each of
        them. Raises Unavailable if the store does not answer.
        """
        merging = _Merge(self, journal_filter, problems, after)
        # a caller that has entries enough closes the generator, and so ends its threads
        try:
            for head in merging.commits():
                entries = with_owners(self._entries(head), self.tokens)
                place = JournalPlace(_time_of(head.commit), head.journal_name, head.number)
                accepted = [entry for entry in entries if journal_filter.accepts(entry)]
                # a step without entries as well: the caller counts how much was read
                yield JournalStep(place, tuple(accepted))
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
        """Return the name of a principal's token, or an empty text if it is unknown."""
        with suppress(Unavailable):  # an entry without a name is better than no journal
            return self.tokens.name_of(principal)
        return ""


class _Merge:
    """
    One reading of the merged journal.

    The open journals are in a heap, by the newest commit of each. Only the thread of the caller
    changes a field. The threads of the pool only read objects of the store.
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
        """The place that all yielded commits are older than, or None to yield all commits."""
        until = journal_filter.until
        if until is not None and (after is None or until <= after.at):
            # a commit of exactly that time is newer than this place, so it is left out
            self._start = JournalPlace(until, _AFTER_ALL_NAMES, 0)
        self._heads = list[_Head]()
        self._lost_numbers = dict[str, list[int]]()
        """The numbers of the lost commits, by what their journals are called in messages."""
        self._pool: ThreadPoolExecutor | None = None
        if merged.threads > 1:
            self._pool = ThreadPoolExecutor(merged.threads, "journal")

    def close(self) -> None:
        """Add a sentence about each journal with lost commits to the problems, and end threads."""
        for journal_title, numbers in self._lost_numbers.items():
            self._problems.append(lost_message(journal_title, numbers))
        self._lost_numbers.clear()
        if self._pool is not None:
            # reads that were begun ahead are not waited for: nobody needs them any more
            self._pool.shutdown(wait=False, cancel_futures=True)

    def commits(self) -> Iterator[_Head]:
        """
        Yield the commits with their journals and numbers, the newest first by their times.

        Commits from `CLOCK_TOLERANCE` before `since` of the filter on are yielded, so the caller
        leaves out what is too early. None is yielded that is not older than the start. Journals and
        commits that cannot be read are left out, and become problems. Raises Unavailable if the
        store does not answer.
        """
        # the clocks of servers differ, so a later commit of a journal may have an earlier time
        oldest = (self._filter.since - CLOCK_TOLERANCE).timestamp()
        unopened_journals = self._unopened_journals(oldest)
        next_unopened = next(unopened_journals, None)
        self._open_documents()
        while True:
            # all journals that may have a newer commit than the next one to yield are opened first
            while next_unopened is not None and self._may_be_next(next_unopened):
                batch = [next_unopened]
                batch += islice(unopened_journals, self._opened_ahead)
                next_unopened = next(unopened_journals, None)
                self._open_projects(batch)
            if not self._heads or self._heads[0].time < oldest:
                return
            head = heappop(self._heads)
            yield head
            self._advance(head.journal)

    @property
    def _opened_ahead(self) -> int:
        """
        How many projects are opened together with the next one.

        Their documents are read at the same time.
        """
        if self._pool is None:
            return 0
        return READ_AHEAD - 1

    def _may_be_next(self, unopened: _UnopenedJournal) -> bool:
        """Return whether a journal may have a newer commit than all open ones."""
        return not self._heads or unopened.latest >= self._heads[0].time

    def _unopened_journals(self, oldest: float) -> Iterator[_UnopenedJournal]:
        """
        Yield the projects of all indexes that may have a commit as late as `oldest`.

        The project that may have the latest commit is the first.
        """
        journals_by_index = list[Iterator[_UnopenedJournal]]()
        for index in self._merged.indexes:
            if self._filter.index in {"", index.index}:
                journals_by_index.append(self._journals_of(index))
        # each feed is read only as far as its projects are the next ones of all indexes
        for unopened in merge(*journals_by_index, key=attrgetter("latest"), reverse=True):
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

        If the start is in a remembered gap of the project, `latest` is the time of the older commit
        of the gap. Otherwise `latest` is the time that the feed has.
        """
        for change, latest in index.changes.newest_first():
            gap = self._gap_around_start(index.journal_name(change.project), change.revision)
            if gap is None:
                yield BoundedChange(latest, change, latest)
            elif gap.number:
                # the bound stays that of the feed, as changes after this one may be later
                yield BoundedChange(latest, change, gap.older_at.timestamp())
            # else the project has no commit that is older than the start

    def _gap_around_start(self, journal_name: str, revision: int) -> _Gap | None:
        """Return the gap of a project at a revision that the start is in, or None if unknown."""
        gap = self._merged.gaps.get(journal_name)
        if gap is None or self._start is None or not gap.contains(self._start, revision):
            return None
        return gap

    def _open_documents(self) -> None:
        """Open the journals that are of no project: these are few, and in no feed."""
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
        """Open the journals of projects, whose documents are read at the same time."""
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

        `index` is the name of the project's index, or empty if the journal is of no project.
        """
        opened = _OpenJournal(
            name=name,
            index=index,
            # the pool of this reading reads several journals at a time, which is enough
            journal=replace(journal, threads=1),
            newest_unread=journal.document.revision,
            gaps=None,
        )
        if index:
            opened.gaps = self._merged.gaps
        if self._start is not None:
            self._skip_to(opened, self._start)
        has_skipped_nothing = opened.newest_unread == journal.document.revision
        if has_skipped_nothing:
            opened.newer_at = _END_OF_TIME
        self._advance(opened)

    def _skip_to(self, opened: _OpenJournal, start: JournalPlace) -> None:
        """Leave out the commits of a journal that are not older than a place."""
        if start.name == opened.name:
            opened.newer_at = start.at
            opened.newest_unread = min(start.number - 1, opened.newest_unread)
            return
        gap: _Gap | None = None
        if opened.gaps is not None:
            gap = self._gap_around_start(opened.name, opened.newest_unread)
        if gap is not None:
            opened.newer_at = gap.newer_at
            opened.newest_unread = gap.number
            return
        opened.newest_unread = self._search(opened, start)
        opened.newer_at = opened.commit_times.get(opened.newest_unread + 1)

    @staticmethod
    def _search(opened: _OpenJournal, start: JournalPlace) -> int:
        """Return the number of the newest commit older than a place, or 0, by reading commits."""
        high = opened.newest_unread
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
        while opened.commits_ahead or opened.newest_unread > 0:
            if opened.has_to_be_read:
                self._read_ahead(opened)
            number, commit = opened.commits_ahead.popleft()
            if commit is not None:
                commit_time = _time_of(commit)
                head = _Head(-commit_time.timestamp(), opened.name, number, opened, commit)
                heappush(self._heads, head)
                opened.remember_gap(number, commit_time)
                return
            self._lost_numbers.setdefault(opened.journal.kind.what, []).append(number)
        opened.remember_gap(0, BEGINNING)

    def _read_ahead(self, opened: _OpenJournal) -> None:
        """Read the next commits of a journal, and of other open journals that are needed next."""
        journals = [opened]
        commits_per_journal = 1
        # while a bucket is waited for, other threads read what comes next
        if self._pool is not None:
            heads = nsmallest(READ_AHEAD - 1, self._heads)
            journals += [head.journal for head in heads if head.journal.has_to_be_read]
            commits_per_journal = max(1, READ_AHEAD // len(journals))
        reads = list[tuple[_OpenJournal, int]]()
        for journal in journals:
            last_left_out = max(journal.newest_unread - commits_per_journal, 0)
            numbers = range(journal.newest_unread, last_left_out, -1)
            reads += [(journal, number) for number in numbers]
        commits = self._map(_find_commit, reads)
        for (journal, number), commit in zip(reads, commits, strict=True):
            journal.commits_ahead.append((number, commit))
            # one at a time: if a read raises, the commits before it count as read
            journal.newest_unread = number - 1

    def _map(self, function: Any, arguments: Sequence[Any]) -> Iterator[Any]:  # noqa: ANN401
        """Return the results of a function as `map` does, by the threads of the pool if any."""
        if self._pool is None:
            return map(function, arguments)
        return self._pool.map(function, arguments)

    def _note_unreadable(self, document_title: str, fault: Unavailable) -> None:
        """
        Add a sentence to the problems about a document that cannot be read.

        Raises the fault itself if it is not about the document: the store does not answer.
        """
        if fault.code not in UNREADABLE_CODES:
            raise fault
        self._problems.append(f"{document_title} cannot be read: {fault.message}")


def _read_journal(unopened: _UnopenedJournal) -> _AnyJournal | Unavailable | None:
    """
    Return the journal of a project, or None if the project has no document.

    An error about a document that cannot be read is returned, not raised.
    """
    projects = unopened.journals.projects
    # not by `Projects.get`, which refuses a released name: its journal is shown as well
    key = keys.project(unopened.project)
    try:
        project = projects.documents.get(key, "current").value
    except Unavailable as fault:
        # the results of a pool end with the first error that is raised
        return fault
    if project is None:
        return None
    return projects.journal(project)


def _find_commit(journal_and_number: tuple[_OpenJournal, int]) -> _AnyCommit | None:
    """Return the commit of a number in a journal, or None if the journal has lost it."""
    opened, number = journal_and_number
    return opened.journal.find(number)


def _time_of(commit: _AnyCommit) -> datetime:
    """Return when a commit was made: the time of its newest event."""
    commit_time: datetime = max(event.at for event in commit.events)
    return commit_time
