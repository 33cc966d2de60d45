"""Journals as people read them: of one project, of all, of decisions, and what changed last."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import chain
from operator import attrgetter
from typing import Final, Protocol

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.changes import CLOCK_TOLERANCE, Changes, ProjectChange
from wheelyard.catalog.journaled_documents import AccessRecords, DecisionRecords, PublisherRecords
from wheelyard.catalog.projects import Projects
from wheelyard.catalog.stored_tokens import TokenRecords
from wheelyard.concurrency.threads import PREFETCH_THREADS, prefetch_map
from wheelyard.errors import DAMAGED, Invalid, NoSuchPage, NotFound, Unavailable
from wheelyard.model.access import (
    Action,
    Pattern,
    Scope,
    matches_any,
    parse_pattern,
    parse_right_indexes,
)
from wheelyard.model.grants import (
    AccessCommit,
    AccessRules,
    AnyAccessEvent,
    Granted,
    GroupChanged,
    GroupDeleted,
    PersonEvent,
    Revoked,
    RightsNameIndex,
    groups_in,
    scope_of,
)
from wheelyard.model.project import Project
from wheelyard.model.project_json import (
    CommitJson,
    EventJson,
    JournalEntry,
    OtherEvent,
    entry_of,
    other_entry_of,
)
from wheelyard.model.public_packages import Decision, DecisionList
from wheelyard.model.stored_publishers import (
    AnyPublisherEvent,
    PublisherCommit,
    PublisherKeys,
    PublisherList,
    PublisherRemoved,
)
from wheelyard.rendering.feeds import FeedEntry, latest_entries

BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""A time before every event."""
NAMED_LOSSES: Final = 10
"""How many lost commits of a project a problem names."""
RESTORED: Final = (
    "the store was restored, or its list of changes begun again: journals may have lost entries "
    "that were shown before"
)

PAGE_COMMITS: Final = 50
"""
How many commits an older page has. An older page never changes, so the newest page has up to twice
as many.
"""
ACCESS_COMMITS: Final = 50
"""How many of the last changes of grants are read for the newest page of a project's history."""
DECISION_COMMITS: Final = 200
"""How many of the last commits of decisions are read. Decisions in force are in the document."""
CHANGED_PROJECTS: Final = 40
"""How many projects the feed reads: those with the newest commits."""


class JournalSource(Protocol):
    """Gives the commits of projects. Several threads may call it."""

    def changed(self, since: datetime) -> tuple[Sequence[NormalizedName], list[str]]:
        """
        Return the projects that may have new commits, and problems with the list of changes.

        The first call returns all projects, and a later call those that have changed since the call
        before. Projects that have not changed after the time `since` may be left out. Problems are
        sentences. Raises Unavailable if not even the projects are known.
        """
        ...

    def commits(self, name: NormalizedName, after: int) -> Iterator[tuple[int, CommitJson | None]]:
        """
        Yield the commits of a project whose numbers are above `after`, newest first.

        Each has its number before it, and is None if the journal has lost it. Raises NotFound for
        an unknown project, and Unavailable if the store does not answer, or the document is
        damaged.
        """
        ...

    def name_of(self, principal: str) -> str:
        """
        Return the name of the token that is this principal, or an empty text.

        Raises Unavailable if the store does not answer.
        """
        ...

    def owner_of(self, principal: str) -> str:
        """
        Return the owner of the token that is this principal, or an empty text.

        Raises Unavailable if the store does not answer.
        """
        ...


class DocumentSource(Protocol):
    """Gives the events of a document other than that of a project."""

    def events_after(self, number: int) -> Iterator[tuple[int, OtherEvent]]:
        """
        Yield the events of the commits whose numbers are above `number`, oldest first.

        Each event has the number of its commit before it.

        Raises Unavailable if the store does not answer.
        """
        ...


class StoreJournals(Struct):
    """The journals of a store: those of all projects, or that of the project `only`."""

    projects: Projects
    changes: Changes
    tokens: TokenRecords
    only: NormalizedName | None = None
    _serial: int | None = None
    """The newest serial at the last call of `changed`, or None before the first one."""

    def changed(self, since: datetime) -> tuple[Sequence[NormalizedName], list[str]]:
        """
        Return the projects that may have new commits, and problems with the list of changes.

        The first call returns the projects that have changed since the time `since`, and a later
        call those that have changed since the call before. If the list of changes is damaged, the
        first call returns all projects. If `only` is set, each call returns that project. Commits
        without a serial get one, if the store can be written. Raises Unavailable if not even the
        projects are known.
        """
        if self.only is not None:
            return (self.only,), []  # its commits tell whether it has changed
        problems = list[str]()
        try:
            if self._serial is not None:
                try:
                    changes, self._serial = self.changes.since(self._serial)
                    return _projects_in(changes), problems
                except NotFound:
                    # the list was restored, so later serials may belong to other commits now
                    problems.append(RESTORED)
            # an event may be dated earlier than the commit before it
            changes, self._serial = self.changes.made_since(since - CLOCK_TOLERANCE)
            return _projects_in(changes), problems
        except Unavailable as fault:
            # not after the first call: a reader that follows changes would read all projects often
            if fault.code != DAMAGED or self._serial is not None:
                raise
            names = list[NormalizedName]()
            for entry in self.projects.store.list(keys.PROJECTS):
                name = keys.project_of(entry.key)
                if name is not None:
                    names.append(name)
            self._serial = 0  # later calls raise until the list is readable, and then begin with it
            return names, [fault.message]

    def commits(self, name: NormalizedName, after: int) -> Iterator[tuple[int, CommitJson | None]]:
        """
        Yield the commits of a project whose numbers are above `after`, newest first.

        Each has its number before it, and is None if the journal has lost it. Raises NotFound for
        an unknown project, and Unavailable if the store does not answer, or the document is
        damaged.
        """
        document = self.projects.documents.get(keys.project(name), "current").value
        project = document or self.projects.get(name)  # a released name has a journal, too
        journal = self.projects.journal(project)
        if self.only is None:  # one thread for each project, as several projects are read at a time
            journal = replace(journal, threads=1)
        for number, commit in journal.find_all(range(project.revision, after, -1)):
            if commit is None:
                yield number, None
            else:
                yield number, CommitJson.from_commit(commit)

    def name_of(self, principal: str) -> str:
        """
        Return the name of the token that is this principal, or an empty text.

        The text is empty, too, if the record is gone or damaged. Raises Unavailable if the store
        does not answer.
        """
        return self.tokens.name_of(principal)

    def owner_of(self, principal: str) -> str:
        """
        Return the owner of the token that is this principal, or an empty text.

        Raises Unavailable if the store does not answer.
        """
        return self.tokens.owner_of(principal)


class JournalPart(Struct, frozen=True):
    """Entries, in the order of their times, and problems."""

    entries: list[JournalEntry]
    problems: list[str]
    """Sentences about what could not be read."""


class DocumentJournal(Struct):
    """The journal of one document other than that of a project."""

    title: str
    """The entries of the journal in words, such as `the changes of grants`."""
    source: DocumentSource
    only: NormalizedName | None = None
    """The project whose entries are read, or None for all."""
    newest: int = 0
    """The number of the last commit that was read."""
    at: datetime = BEGINNING
    """The time of the first event of that commit."""


class _LastCommit(Struct, frozen=True):
    """The last commit of a project that was read."""

    number: int = 0
    id: str = ""
    """The id of the commit, or an empty text if the journal has lost it."""
    at: datetime = BEGINNING
    """The time of the last event of the commit."""


class JournalReader(Struct):
    """
    Reads the entries of a source from the time `since` on, before the time `until` if it is given.

    With `by`, only entries of a principal, or of the tokens of an owner, are read. With `what`,
    only entries of this kind are read.

    If the number of the last commit that was read belongs to another commit now, or to no commit,
    the store was restored. Then all entries that are later than that commit are read.
    """

    source: JournalSource
    since: datetime = BEGINNING
    by: str = ""
    what: str = ""
    until: datetime | None = None
    documents: tuple[DocumentJournal, ...] = ()
    """The journals of other documents, which are read before those of projects."""
    _last_commits: dict[NormalizedName, _LastCommit] = {}
    """The last commit that was read of each project."""
    _failed_projects: list[NormalizedName] = []
    """The projects that could not be read at the last call."""

    def read(self, progress: Callable[[int, str], None]) -> JournalPart:
        """
        Return all entries that no call has returned before, in order of their times.

        `progress` is called with the number of projects and the name of each project. A project
        that cannot be read is a problem, and the next call tries it again. Raises Unavailable if
        not even the projects are known, and NotFound for an unknown project.
        """
        result = JournalPart([], [])
        for journal in self.documents:
            self._read_document(journal, result, self.since)
        try:
            self._read_projects(result, progress)
        except NotFound:
            # a public project has decisions, and no journal of its own
            if not result.entries:
                raise
        # a stable sort: in a project, entries of one time stay in the order of its commits
        result.entries.sort(key=attrgetter("at"))
        return result

    def _read_projects(self, result: JournalPart, progress: Callable[[int, str], None]) -> None:
        """Add the entries of the changed projects that no call has returned to `result`."""
        changed, problems = self.source.changed(self.since)
        result.problems.extend(problems)
        # the source does not name a project again that could not be read the last time
        names = list(dict.fromkeys([*changed, *self._failed_projects]))
        self._failed_projects = []
        # several threads read projects, and only this thread changes the attributes
        parts = prefetch_map(self._read_new_entries, names)
        for name, (part, last_commit) in zip(names, parts, strict=True):
            progress(len(names), name)
            result.entries.extend(part.entries)
            result.problems.extend(part.problems)
            if last_commit is None:
                self._failed_projects.append(name)
            else:
                self._last_commits[name] = last_commit

    def _read_new_entries(self, name: NormalizedName) -> tuple[JournalPart, _LastCommit | None]:
        """Return the entries of a project that no call has returned, and its last commit."""
        last_commit = self._last_commits.get(name, _LastCommit())
        return self._read_project(name, last_commit, self.since)

    def _read_document(
        self, journal: DocumentJournal, result: JournalPart, since: datetime
    ) -> None:
        """Add the entries of another document, from a time on, that no call has returned."""
        last_number = journal.newest
        last_at = journal.at
        is_continued = not last_number
        try:
            # from the last commit that was read: it tells whether the journal is still the same
            for number, event in journal.source.events_after(max(last_number - 1, 0)):
                if number == last_number and event.at == last_at:
                    is_continued = True
                if not is_continued:
                    break
                if number > journal.newest:
                    journal.newest = number
                    journal.at = event.at
                if number > last_number and event.at >= since:
                    by_name = self._name_of(event.by, result.problems)
                    entry = other_entry_of(number, event, by_name)
                    if journal.only in (None, entry.project):
                        self._add(entry, result)
        except Unavailable as fault:
            result.problems.append(f"{journal.title} cannot be read: {fault.message}")
            return
        if not is_continued:
            # the store was restored, so numbers that were read belong to other commits now
            journal.newest = 0
            self._read_document(journal, result, journal.at + timedelta.resolution)

    def _read_project(
        self, name: NormalizedName, last_read: _LastCommit, since: datetime
    ) -> tuple[JournalPart, _LastCommit | None]:
        """
        Return the entries of a project behind the commit `last_read`, and its last commit now.

        The commit is None if the project cannot be read. Several threads call this, so it changes
        no attribute.
        """
        oldest = since - CLOCK_TOLERANCE

        # newest first, down to the commit that was read last: if its number belongs to another
        # commit now, or to no commit, the store was restored
        commits = list[CommitJson]()
        lost_numbers = list[int]()
        last_commit = last_read
        part = JournalPart([], [])
        is_continued = not last_read.number
        try:
            for number, commit in self.source.commits(name, max(last_read.number - 1, 0)):
                if number == last_read.number:
                    is_continued = commit is None or last_read.id in {"", commit.id}
                    break
                if number > last_commit.number:
                    last_commit = _last_commit(number, commit)
                if commit is None:
                    lost_numbers.append(number)
                elif all(event.at < oldest for event in commit.events):
                    # all commits before are older, as clocks differ by less than the tolerance
                    is_continued = True
                    break
                else:
                    commits.append(commit)
        except Unavailable as fault:
            return JournalPart([], [f"{name} cannot be read: {fault.message}"]), None
        if not is_continued:
            # from the first commit on, but only entries that are later than those read before
            since = max(since, last_read.at + timedelta.resolution)
            whole_part, last_commit_now = self._read_project(name, _LastCommit(), since)
            whole_part.problems.insert(0, RESTORED)
            return whole_part, last_commit_now
        if lost_numbers:
            part.problems.append(lost_message(name, lost_numbers))
        for commit in reversed(commits):
            for event in commit.events:
                if event.at >= since:
                    by_name = event.by_name or self._name_of(event.by, part.problems)
                    self._add(entry_of(name, commit.number, event, by_name), part)
        return part, last_commit

    def _add(self, entry: JournalEntry, part: JournalPart) -> None:
        """Add an entry to a part, with its owner, if the filters of the reader let it through."""
        # before `is_by`, which also compares the owner of a token
        entry = replace(entry, owner=self._owner_of(entry.by, part.problems))
        if self.by and not entry.is_by(self.by):
            return
        if self.what and not entry.is_what(self.what):
            return
        if self.until is None or entry.at < self.until:
            part.entries.append(entry)

    def _name_of(self, principal: str, problems: list[str]) -> str:
        """Return the name of a token. If it cannot be read, add a problem, and return nothing."""
        try:
            return self.source.name_of(principal)
        except Unavailable as fault:
            problems.append(f"the name of {principal} cannot be read: {fault.message}")
            return ""

    def _owner_of(self, principal: str, problems: list[str]) -> str:
        """Return the owner of a token. If it cannot be read, add a problem, and return nothing."""
        try:
            return self.source.owner_of(principal)
        except Unavailable as fault:
            problems.append(f"the owner of {principal} cannot be read: {fault.message}")
            return ""


def _projects_in(changes: Iterable[ProjectChange]) -> list[NormalizedName]:
    """Return the projects of changes, each once, in the order of its first change."""
    return list(dict.fromkeys(change.project for change in changes))


def _last_commit(number: int, commit: CommitJson | None) -> _LastCommit:
    """Return what is remembered of a commit. None is a commit that the journal has lost."""
    if commit is None:
        return _LastCommit(number)
    return _LastCommit(number, commit.id, max(event.at for event in commit.events))


def lost_message(name: str, lost_numbers: list[int]) -> str:
    """Return a sentence about the entries that a journal has lost."""
    named_numbers = sorted(lost_numbers)[:NAMED_LOSSES]
    numbers_text = ", ".join(map(str, named_numbers))
    if len(lost_numbers) > NAMED_LOSSES:
        numbers_text = f"{numbers_text} and {len(lost_numbers) - NAMED_LOSSES} more"
    return (
        f"the journal of {name} has lost its entries {numbers_text}. Check the store, and restore "
        "them from a backup"
    )


class HistoryPart(Struct, frozen=True):
    """One page of a project's history."""

    entries: tuple[JournalEntry, ...]
    """The entries of the page in the order of the journal, oldest first."""
    lost: tuple[int, ...]
    """The numbers of the commits of the page that the journal has lost."""
    first: int
    """The number of the first commit of the page."""


class HistoryReader(Struct, frozen=True):
    """Reads the journals of projects in pages."""

    projects: Projects
    tokens: TokenRecords

    def read(self, project: Project, number: int | None = None) -> HistoryPart:
        """
        Return a page of the history of a project.

        Without a number, that is the newest page. Older pages have numbers, and 1 is the oldest.
        Raises NoSuchPage if no older page has this number, and Unavailable if the store does not
        answer.
        """
        count = older_pages(project.revision)
        if number is not None and not 1 <= number <= count:
            raise NoSuchPage(number, count)
        if number is None:
            first = count * PAGE_COMMITS + 1
            end = project.revision + 1
        else:
            first = (number - 1) * PAGE_COMMITS + 1
            end = first + PAGE_COMMITS
        events = list[tuple[int, EventJson]]()
        lost_numbers = list[int]()
        journal = self.projects.journal(project)
        for commit_number, commit in journal.find_all(range(first, end)):
            if commit is None:
                lost_numbers.append(commit_number)
                continue
            for event in commit.events:
                events.append((commit.number, EventJson.from_event(event)))

        # events of earlier versions have no name, so each of these principals is looked up once
        names = self._names_of(event.by for _, event in events if not event.by_name)
        entries = list[JournalEntry]()
        for commit_number, event_json in events:
            by_name = event_json.by_name or names[event_json.by]
            entries.append(entry_of(project.name, commit_number, event_json, by_name))
        owned_entries = tuple(with_owners(entries, self.tokens))
        return HistoryPart(owned_entries, tuple(lost_numbers), first)

    def with_rights(
        self,
        newest: HistoryPart,
        project: Project,
        index: str,
        access: AccessRecords,
        publishers: PublisherRecords,
    ) -> tuple[JournalEntry, ...]:
        """
        Return the entries of the newest page with the changes of rights that concern the project.

        `index` is the name of the index: rights that do not hold there are left out. Of the grants
        and groups, and of the publishers, the last `ACCESS_COMMITS` commits each are read. If there
        are older pages, changes that are older than the entries are left out. Raises Unavailable if
        these documents or their journals cannot be read.
        """
        since = BEGINNING
        if newest.entries and newest.first > 1:
            since = newest.entries[0].at
        rules = access.get().value or AccessRules()
        access_commits = access.history(max(0, rules.revision - ACCESS_COMMITS))
        publisher_list = publishers.get().value or PublisherList()
        publisher_commits = publishers.history(max(0, publisher_list.revision - ACCESS_COMMITS))
        all_changes = chain(
            _access_events(project.name, index, access_commits),
            _publisher_events(project.name, index, publisher_commits),
        )
        changes = [(number, event) for number, event in all_changes if event.at >= since]
        names = self._names_of(event.by for _, event in changes)
        entries_of_rights = list[JournalEntry]()
        for number, event in changes:
            entries_of_rights.append(other_entry_of(number, event, names[event.by]))
        all_entries = [*newest.entries, *with_owners(entries_of_rights, self.tokens)]
        # a stable sort: entries of one time stay in the order of their journals
        return tuple(sorted(all_entries, key=attrgetter("at")))

    def _names_of(self, principals: Iterable[str]) -> dict[str, str]:
        """Return the name of each principal that is a token, and an empty text for others."""
        names = dict.fromkeys(principals, "")
        for principal in names:
            with suppress(Unavailable):  # the history is shown also without a name
                names[principal] = self.tokens.name_of(principal)
        return names


def with_owners(entries: Iterable[JournalEntry], tokens: TokenRecords) -> Iterator[JournalEntry]:
    """Yield entries with the owners of the tokens that made them, as far as they can be read."""
    for entry in entries:
        owner = ""
        with suppress(Unavailable):  # the journal is shown also without an owner
            owner = tokens.owner_of(entry.by)
        yield replace(entry, owner=owner)


def older_pages(revision: int) -> int:
    """Return how many older pages the history of a project with `revision` commits has."""
    return max(0, (revision - 1) // PAGE_COMMITS - 1)


class _AccessFilter(Struct):
    """Finds the changes of rights that concern a project, among all changes in their order."""

    name: NormalizedName
    index: str
    grants: set[str] = set()
    """The ids of the grants for the project in the index, of the changes so far."""
    groups: set[str] = set()
    """The names of the groups in these grants."""

    def concerns(self, event: AnyAccessEvent) -> bool:
        """Return whether a change is about a grant for the project, or a group of such a grant."""
        match event:
            case Granted(id=grant_id, grant=fields):
                scope = scope_of(fields)
                if not (scope.holds_in(self.index) and matches_any(scope.projects, self.name)):
                    return False
                self.grants.add(grant_id)
                self.groups |= groups_in(fields.who)
                return True
            case Revoked(id=grant_id):
                # a revocation has only the id, so its grant says for which projects it was
                return grant_id in self.grants
            case GroupChanged(name=group) | GroupDeleted(name=group):
                return group in self.groups
            case PersonEvent():
                return False
            case RightsNameIndex():
                return True


def _access_events(
    name: NormalizedName, index: str, commits: Iterable[AccessCommit]
) -> Iterator[tuple[int, AnyAccessEvent]]:
    """Yield the changes of grants for a project in an index, and of the groups in these grants."""
    access_filter = _AccessFilter(name, index)
    for commit in commits:
        for event in commit.events:
            if access_filter.concerns(event):
                yield commit.number, event


def _publisher_events(
    name: NormalizedName, index: str, commits: Iterable[PublisherCommit]
) -> Iterator[tuple[int, AnyPublisherEvent]]:
    """Yield the changes of publishers that have a project in an index, or had it before."""
    ids = set[str]()
    for commit in commits:
        for event in commit.events:
            if isinstance(event, PublisherRemoved):
                publisher_id = event.name
            else:
                publisher_id = str(event.keys.get("id"))
                if _gives_rights(event.keys, name, index):
                    ids.add(publisher_id)
            # a change that takes the project from a publisher is shown as well
            if publisher_id in ids:
                yield commit.number, event


def _gives_rights(publisher: PublisherKeys, name: NormalizedName, index: str) -> bool:
    """Return whether a publisher, which may be malformed, may upload a project to an index."""
    with suppress(Invalid):
        indexes = parse_right_indexes(str(publisher.get("index", "")), Action.UPLOAD)
        scope = Scope(Action.UPLOAD, tuple(_patterns_of(publisher)), indexes)
        return scope.holds_in(index) and matches_any(scope.projects, name)
    return False


def _patterns_of(publisher: PublisherKeys) -> Iterator[Pattern]:
    """Yield the patterns of the projects of a publisher, without malformed ones."""
    for text in publisher.get("projects", ()):
        with suppress(Invalid):
            yield parse_pattern(str(text))


def decision_history(records: DecisionRecords, name: NormalizedName) -> tuple[list[Decision], bool]:
    """
    Return the decisions about a project, newest first, and whether these are all.

    All decisions in force are returned. A decision that was replaced is returned if it is in one of
    the last `DECISION_COMMITS` commits of the journal, which is one for all projects. Raises
    Unavailable if the store does not answer, or an entry is damaged or missing.
    """
    document = records.get().value or DecisionList()
    after = max(0, document.revision - DECISION_COMMITS)
    recent_decisions = list[Decision]()
    for commit in records.history(after):
        recent_decisions += (decision for decision in commit.events if decision.project == name)
    recent_decisions.reverse()
    # those in force that were made before the commits that were read
    older_decisions = list[Decision]()
    for decision in document.decisions:
        if decision.project == name and decision not in recent_decisions:
            older_decisions.append(decision)
    older_decisions.sort(key=attrgetter("at"), reverse=True)
    return recent_decisions + older_decisions, after == 0


def read_latest(
    read: Callable[[NormalizedName], Project], names: Iterable[NormalizedName], *, is_local: bool
) -> Iterator[FeedEntry]:
    """
    Yield the newest releases and changes of these projects. Unreadable projects are left out.

    `read` returns a private project, or raises NotFound or Unavailable. It is called in several
    threads unless `is_local` says that the store is on this machine.
    """

    def read_or_none(name: NormalizedName) -> Project | None:
        with suppress(NotFound, Unavailable):
            return read(name)
        return None

    # handing work to threads takes longer than reading a file
    threads = 1 if is_local else PREFETCH_THREADS
    for project in prefetch_map(read_or_none, names, threads):
        if project is not None:
            yield from latest_entries(project)
