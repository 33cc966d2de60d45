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
"""Lost commits of a project that a problem names."""
RESTORED: Final = (
    "the store was restored, or its list of changes begun again: journals may have lost entries "
    "that were shown before"
)

PAGE_COMMITS: Final = 50
"""
The commits of an older page. The newest page has these and the ones behind them, at most twice as
many, so that an older page never changes.
"""
ACCESS_COMMITS: Final = 50
"""The changes of grants that are read for the newest page of who may manage the project."""
DECISION_COMMITS: Final = 200
"""The commits that are read. Decisions in force are known without them."""
CHANGED_PROJECTS: Final = 40
"""How many projects the feed looks at: those with the newest commits."""


class JournalSource(Protocol):
    """Gives the commits of projects. Several threads may call it."""

    def changed(self, since: datetime) -> tuple[Sequence[NormalizedName], list[str]]:
        """
        Return the projects that may have new commits: at first all, then those changed since.

        Projects that have not changed after the time `since` may be left out. With them come
        problems with the list of changes, as sentences. Raises Unavailable if not even the projects
        are known.
        """
        ...

    def commits(self, name: NormalizedName, after: int) -> Iterator[tuple[int, CommitJson | None]]:
        """
        Yield a project's commits with their numbers, newest first, down to the one behind `after`.

        None is a commit that the journal has lost. Raises NotFound for an unknown project, and
        Unavailable if the store does not answer, or the document is damaged.
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
    """Gives the events of a document that is no project's."""

    def events_after(self, number: int) -> Iterator[tuple[int, OtherEvent]]:
        """
        Yield the events of the commits behind `number`, oldest first, with their commit's number.

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
    """The newest serial at the last look."""

    def changed(self, since: datetime) -> tuple[Sequence[NormalizedName], list[str]]:
        """
        Return the projects that may have new commits, and problems with the list of changes.

        They are those changed since the last look, or at the first one, since the time `since`. If
        the list of changes is damaged, the first look is at all projects. If `only` is set, it is
        that project each time. Commits without a serial get one, if the store can be written.
        Raises Unavailable if not even the projects are known.
        """
        if self.only is not None:
            return (self.only,), []  # reading it tells whether it has changed
        problems = list[str]()
        try:
            if self._serial is not None:
                try:
                    changes, self._serial = self.changes.since(self._serial)
                    return _projects_in(changes), problems
                except NotFound:
                    # the list no longer knows the serial, so the newer ones may be of other commits
                    problems.append(RESTORED)
            # an event may be dated earlier than the commit before it
            changes, self._serial = self.changes.made_since(since - CLOCK_TOLERANCE)
            return _projects_in(changes), problems
        except Unavailable as fault:
            # who has begun with the list goes on with it: all projects would be read each time
            if fault.code != DAMAGED or self._serial is not None:
                raise
            documents = self.projects.store.list(keys.PROJECTS)
            names = (keys.project_of(entry.key) for entry in documents)
            self._serial = 0  # a later look waits for the list, and then begins with it
            return list(filter(None, names)), [fault.message]

    def commits(self, name: NormalizedName, after: int) -> Iterator[tuple[int, CommitJson | None]]:
        """
        Yield a project's commits with their numbers, newest first, down to the one behind `after`.

        None is a commit that the journal has lost. Raises NotFound for an unknown project, and
        Unavailable if the store does not answer, or the document is damaged.
        """
        document = self.projects.documents.get(keys.project(name), "current").value
        project = document or self.projects.get(name)  # a released name has a journal, too
        journal = self.projects.journal(project)
        if self.only is None:  # several projects are read at a time anyway
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
    """Entries, in order of time, and problems: sentences about what could not be read."""

    entries: list[JournalEntry]
    problems: list[str]


class DocumentJournal(Struct):
    """The journal of one document that is no project's."""

    what: str
    """Its entries in words, such as `the changes of grants`."""
    source: DocumentSource
    only: NormalizedName | None = None
    """The project whose entries are read, or None for all."""
    newest: int = 0
    """The number of the last commit that was read."""
    at: datetime = BEGINNING
    """When its first event was."""


class _LastCommit(Struct, frozen=True):
    """The last commit of a project that was read."""

    number: int = 0
    id: str = ""
    """Empty if the journal has lost it."""
    at: datetime = BEGINNING


class JournalReader(Struct):
    """
    Reads the entries of a source from the time `since` on, before the time `until` if it is given.

    With `by`, only those of a principal, or of the tokens of an owner, are read. With `what`, only
    those of this kind are read.

    If another commit has the number of the last one that was read, or none, the store was restored:
    then what is later than that one is read.
    """

    source: JournalSource
    since: datetime = BEGINNING
    by: str = ""
    what: str = ""
    until: datetime | None = None
    documents: tuple[DocumentJournal, ...] = ()
    """Further journals whose entries are read, too."""
    _last: dict[NormalizedName, _LastCommit] = {}
    """The last commit that was read of each project."""
    _failed: list[NormalizedName] = []
    """Projects that could not be read at the last call."""

    def read(self, progress: Callable[[int, str], None]) -> JournalPart:
        """
        Return all entries that no call has returned before, in order of their times.

        `progress` is called with the number of projects and the name of each project. A project
        that cannot be read is a problem, and the next call tries it again. Raises Unavailable if
        not even the projects are known, and NotFound for an unknown project.
        """
        result = JournalPart([], [])
        for journal in self.documents:
            self._read_other(journal, result, self.since)
        try:
            self._read_projects(result, progress)
        except NotFound:
            if not result.entries:  # a public project, which has decisions alone
                raise
        # a stable sort: in a project, entries of one time stay in the order of its commits
        result.entries.sort(key=attrgetter("at"))
        return result

    def _read_projects(self, result: JournalPart, progress: Callable[[int, str], None]) -> None:
        changed, problems = self.source.changed(self.since)
        result.problems.extend(problems)
        # the source does not name again what could not be read the last time
        names = list(dict.fromkeys([*changed, *self._failed]))
        self._failed = []
        # several threads read projects, and this one alone changes what is remembered of them
        parts = prefetch_map(self._read_new, names)
        for name, (part, newest) in zip(names, parts, strict=True):
            progress(len(names), name)
            result.entries.extend(part.entries)
            result.problems.extend(part.problems)
            if newest is None:
                self._failed.append(name)
            else:
                self._last[name] = newest

    def _read_new(self, name: NormalizedName) -> tuple[JournalPart, _LastCommit | None]:
        return self._read_project(name, self._last.get(name, _LastCommit()), self.since)

    def _read_other(self, journal: DocumentJournal, result: JournalPart, since: datetime) -> None:
        """Add the entries of another journal, from that time on, that no call has returned."""
        last = (journal.newest, journal.at)
        is_continued = not journal.newest
        try:
            # the last one once more, which tells whether the journal is still the same
            for number, event in journal.source.events_after(max(journal.newest - 1, 0)):
                is_continued = is_continued or (number, event.at) == last
                if not is_continued:
                    break
                if number > journal.newest:
                    journal.newest = number
                    journal.at = event.at
                if number > last[0] and event.at >= since:
                    by_name = self._name_of(event.by, result.problems)
                    entry = other_entry_of(number, event, by_name)
                    if journal.only in (None, entry.project):
                        self._add(entry, result)
        except Unavailable as fault:
            result.problems.append(f"{journal.what} cannot be read: {fault.message}")
            return
        if not is_continued:
            # the store was restored: its commits have numbers that were read already
            journal.newest = 0
            self._read_other(journal, result, journal.at + timedelta.resolution)

    def _read_project(
        self, name: NormalizedName, last: _LastCommit, since: datetime
    ) -> tuple[JournalPart, _LastCommit | None]:
        """
        Return what a project has behind `last`, and its last commit, or None if it is unreadable.

        Threads call it, so it changes nothing here.
        """
        limit = since - CLOCK_TOLERANCE

        # newest first, down to the commit that was read last: if its number belongs to another
        # commit now, or to none, the store was restored
        commits = list[CommitJson]()
        lost = list[int]()
        newest = last
        part = JournalPart([], [])
        is_continued = not last.number
        try:
            for number, commit in self.source.commits(name, max(last.number - 1, 0)):
                if number == last.number:
                    is_continued = commit is None or last.id in {"", commit.id}
                    break
                if number > newest.number:
                    newest = _last_commit(number, commit)
                if commit is None:
                    lost.append(number)
                elif all(event.at < limit for event in commit.events):
                    # all commits before are older, as clocks differ by less than the tolerance
                    is_continued = True
                    break
                else:
                    commits.append(commit)
        except Unavailable as fault:
            return JournalPart([], [f"{name} cannot be read: {fault.message}"]), None
        if not is_continued:
            # from the first commit on, but without what is as old as what was read before
            since = max(since, last.at + timedelta.resolution)
            part, last_commit = self._read_project(name, _LastCommit(), since)
            part.problems.insert(0, RESTORED)
            return part, last_commit
        if lost:
            part.problems.append(lost_message(name, lost))
        for commit in reversed(commits):
            for event in commit.events:
                if event.at >= since:
                    by_name = event.by_name or self._name_of(event.by, part.problems)
                    self._add(entry_of(name, commit.number, event, by_name), part)
        return part, newest

    def _add(self, entry: JournalEntry, part: JournalPart) -> None:
        """Add an entry to a part, with its owner, unless the reader leaves it out."""
        # before the comparison, which looks at the owner of a token, too
        entry = replace(entry, owner=self._owner_of(entry.by, part.problems))
        if self.by and not entry.is_by(self.by):
            return
        if self.what and not entry.is_what(self.what):
            return
        if self.until is None or entry.at < self.until:
            part.entries.append(entry)

    def _name_of(self, principal: str, problems: list[str]) -> str:
        try:
            return self.source.name_of(principal)
        except Unavailable as fault:
            problems.append(f"the name of {principal} cannot be read: {fault.message}")
            return ""

    def _owner_of(self, principal: str, problems: list[str]) -> str:
        try:
            return self.source.owner_of(principal)
        except Unavailable as fault:
            problems.append(f"the owner of {principal} cannot be read: {fault.message}")
            return ""


def _projects_in(changes: Iterable[ProjectChange]) -> list[NormalizedName]:
    """Return the projects of changes, each once, in the order of its first change."""
    return list(dict.fromkeys(change.project for change in changes))


def _last_commit(number: int, commit: CommitJson | None) -> _LastCommit:
    if commit is None:
        return _LastCommit(number)
    return _LastCommit(number, commit.id, max(event.at for event in commit.events))


def lost_message(name: str, lost: list[int]) -> str:
    """Return a sentence about the entries that a journal has lost."""
    numbers = ", ".join(map(str, sorted(lost)[:NAMED_LOSSES]))
    more = ""
    if len(lost) > NAMED_LOSSES:
        more = f" and {len(lost) - NAMED_LOSSES} more"
    return (
        f"the journal of {name} has lost its entries {numbers}{more}. Check the store, and restore "
        "them from a backup"
    )


class HistoryPart(Struct, frozen=True):
    """The entries of some commits, and the numbers of commits that the journal has lost."""

    entries: tuple[JournalEntry, ...]
    """In the order of the journal, oldest first."""
    lost: tuple[int, ...]
    first: int
    """The number of the first commit."""


class HistoryReader(Struct, frozen=True):
    """Reads the journals of projects in pages."""

    projects: Projects
    tokens: TokenRecords

    def read(self, project: Project, number: int | None = None) -> HistoryPart:
        """
        Return the newest page, or an older one by its number, of which 1 is the oldest.

        Raises NoSuchPage if there is none of this number, and Unavailable if the store does not
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
        lost = list[int]()
        for commit_number, commit in self.projects.journal(project).find_all(range(first, end)):
            if commit is None:
                lost.append(commit_number)
            else:
                events += ((commit.number, EventJson.from_event(event)) for event in commit.events)

        # older events have no name, and a name is looked up once however often it stands here
        names = self._names_of(event.by for _, event in events if not event.by_name)
        entries = list[JournalEntry]()
        for commit_number, event in events:
            by_name = event.by_name or names[event.by]
            entries.append(entry_of(project.name, commit_number, event, by_name))
        return HistoryPart(tuple(with_owners(entries, self.tokens)), tuple(lost), first)

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

        `index` is the name of the index: rights that do not hold there are left out. The changes
        are from the last `ACCESS_COMMITS` ones each of the grants and groups, and of the
        publishers, in the store. One that is older than the entries is left out if there are older
        pages. Raises Unavailable if these documents or their journals cannot be read.
        """
        since = BEGINNING
        if newest.entries and newest.first > 1:
            since = newest.entries[0].at
        rules = access.get().value or AccessRules()
        access_commits = access.history(max(0, rules.revision - ACCESS_COMMITS))
        publisher_list = publishers.get().value or PublisherList()
        publisher_commits = publishers.history(max(0, publisher_list.revision - ACCESS_COMMITS))
        concerning = chain(
            _access_events(project.name, index, access_commits),
            _publisher_events(project.name, index, publisher_commits),
        )
        changes = [(number, event) for number, event in concerning if event.at >= since]
        names = self._names_of(event.by for _, event in changes)
        entries = [other_entry_of(number, event, names[event.by]) for number, event in changes]
        with_changes = [*newest.entries, *with_owners(entries, self.tokens)]
        # a stable sort: entries of one time stay in the order of their journals
        return tuple(sorted(with_changes, key=attrgetter("at")))

    def _names_of(self, principals: Iterable[str]) -> dict[str, str]:
        """Return the name of each principal that is a token, and an empty text for others."""
        names = dict.fromkeys(principals, "")
        for principal in names:
            with suppress(Unavailable):  # the history is more than its names
                names[principal] = self.tokens.name_of(principal)
        return names


def with_owners(entries: Iterable[JournalEntry], tokens: TokenRecords) -> Iterator[JournalEntry]:
    """Yield entries with the owners of the tokens that made them, as far as they can be read."""
    for entry in entries:
        owner = ""
        with suppress(Unavailable):  # the journal is more than its owners
            owner = tokens.owner_of(entry.by)
        yield replace(entry, owner=owner)


def older_pages(revision: int) -> int:
    """Return the number of older pages of a project with so many commits."""
    return max(0, (revision - 1) // PAGE_COMMITS - 1)


class _AccessFilter(Struct):
    """Tells which changes of rights concern a project, of all changes in their order."""

    name: NormalizedName
    index: str
    grants: set[str] = set()
    """The ids of the grants for the project in the index so far."""
    groups: set[str] = set()
    """The names of the groups in these grants."""

    def concerns(self, event: AnyAccessEvent) -> bool:
        """Return whether a change is one of the grants for the project, or of their groups."""
        match event:
            case Granted(id=grant_id, grant=fields):
                scope = scope_of(fields)
                if not (scope.holds_in(self.index) and matches_any(scope.projects, self.name)):
                    return False
                self.grants.add(grant_id)
                self.groups |= groups_in(fields.who)
                return True
            case Revoked(id=grant_id):
                # a revocation has only the id: whose rights end is known from the grant
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
    """Return whether a publisher, which may be malformed, gives rights for a project there."""
    with suppress(Invalid):
        indexes = parse_right_indexes(str(publisher.get("index", "")), Action.UPLOAD)
        scope = Scope(Action.UPLOAD, tuple(_patterns_of(publisher)), indexes)
        return scope.holds_in(index) and matches_any(scope.projects, name)
    return False


def _patterns_of(publisher: PublisherKeys) -> Iterator[Pattern]:
    for text in publisher.get("projects", ()):
        with suppress(Invalid):
            yield parse_pattern(str(text))


def decision_history(records: DecisionRecords, name: NormalizedName) -> tuple[list[Decision], bool]:
    """
    Return the decisions about a project, newest first, and whether these are all.

    They are those in force, and of those that others have replaced the ones that were made lately.
    The journal is that of all projects, and its last `DECISION_COMMITS` commits are read.

    Raises Unavailable if the store does not answer, or an entry is damaged or missing.
    """
    document = records.get().value or DecisionList()
    after = max(0, document.revision - DECISION_COMMITS)
    recent = list[Decision]()
    for commit in records.history(after):
        recent += (decision for decision in commit.events if decision.project == name)
    recent.reverse()
    in_force = (decision for decision in document.decisions if decision.project == name)
    # made before the commits that were read, and not replaced since
    older = [decision for decision in in_force if decision not in recent]
    older.sort(key=attrgetter("at"), reverse=True)
    return recent + older, after == 0


def read_latest(
    read: Callable[[NormalizedName], Project], names: Iterable[NormalizedName], *, is_local: bool
) -> Iterator[FeedEntry]:
    """
    Yield the newest releases and changes of these projects, without unreadable ones.

    `read` returns a private project, or raises NotFound or Unavailable. Threads may call it.
    """

    def read_if_there(name: NormalizedName) -> Project | None:
        with suppress(NotFound, Unavailable):
            return read(name)
        return None

    # handing work to threads takes longer than reading a file
    threads = 1 if is_local else PREFETCH_THREADS
    for project in prefetch_map(read_if_there, names, threads):
        if project is not None:
            yield from latest_entries(project)
