"""
The search index of a process: the table of all projects, kept up to date.

The docstring of this package has how the table is kept up to date. The stored table is derived: it
may be missing, damaged or outdated, and several servers may write it.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from math import inf
from threading import Event, Lock, RLock, Thread
from typing import Final, Protocol

from msgspec import Struct, field
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.changes import Changes, ProjectChange
from wheelyard.catalog.document_cache import Snapshot
from wheelyard.catalog.projects import NameList
from wheelyard.errors import DAMAGED, NotFound, Unavailable
from wheelyard.model.project import Project
from wheelyard.operations.search.project_table import FactsReader, ProjectTable, table_of
from wheelyard.rendering.project_facts import ProjectFacts, name_facts
from wheelyard.storage.base import Stored

LOCAL_SECONDS: Final = 1.0
"""The least time from one refresh to the next on a local store."""
REMOTE_SECONDS: Final = 60.0
"""The least time from one refresh to the next on a bucket, where a listing costs money."""
READ_ALL_SECONDS: Final = 600.0
"""How often all documents are read while the feed is damaged."""
WAIT_SECONDS: Final = 1.0
"""How long the caller who begins a refresh waits for it."""
MAX_COMMITS_AT_ONCE: Final = 64
"""The most commits of this process that are applied before an answer. A refresh applies more."""
CHUNK: Final = 500
"""The projects that are read before their facts are put into the table."""
SAVE_SECONDS: Final = 60.0
"""The least time from one write of the table to the next."""
SAVE_PAUSE_SECONDS: Final = 3600.0
"""The pause after a failed write, such as to a store that may only be read."""

logger = logging.getLogger("wheelyard")

NO_NAMES: Final = frozenset[NormalizedName]()
Facts = Mapping[NormalizedName, ProjectFacts | None]
"""Facts of projects by name, or None for a project that the table must not have."""
FactsRead = tuple[Facts, AbstractSet[NormalizedName]]
"""Facts of some projects, and the names of the projects that the next refresh reads again."""


class PublicProjects(Protocol):
    """Lists and reads the public projects whose pages are in the store."""

    def may_show(self, name: NormalizedName) -> bool:
        """Return whether the settings allow a public project of this name, without any I/O."""

    def versions(self) -> dict[NormalizedName, str]:
        """
        Return a version of the facts of each public project.

        A bucket is not listed at each call. Only one thread at a time may call this. Raises
        Unavailable if the store does not answer.
        """

    def read(self, versions: Collection[tuple[NormalizedName, str]]) -> "Facts":
        """
        Return the facts of these projects, and None for a project that nobody may see.

        Raises Unavailable if the store does not answer.
        """


class _FactsSource(Protocol):
    """Reads the facts of projects that may have changed."""

    def read(self, names: Sequence[NormalizedName]) -> FactsRead:
        """Return the facts of these projects. Raises Unavailable if the store does not answer."""


class _ChangedPrivate(Struct, frozen=True):
    """Reads private projects, of which the table has only those in the list of names."""

    reader: FactsReader
    listed_names: AbstractSet[NormalizedName]

    def read(self, names: Sequence[NormalizedName]) -> FactsRead:
        """Return the facts of these projects. Unlisted and damaged ones are read again later."""
        facts_by_name = self.reader.read(names)
        shown_facts = dict[NormalizedName, ProjectFacts | None]()
        unread = set[NormalizedName]()
        for name in names:
            facts = facts_by_name.get(name)
            is_damaged = name not in facts_by_name
            # a name is added to the list after its first commit, and removed before its release
            is_unlisted = facts is not None and name not in self.listed_names
            if is_unlisted or is_damaged:
                unread.add(name)
                facts = None
            shown_facts[name] = facts
        return shown_facts, unread


class _ChangedPublic(Struct, frozen=True):
    """Reads public projects at these versions."""

    public: PublicProjects
    versions: Mapping[NormalizedName, str]

    def read(self, names: Sequence[NormalizedName]) -> FactsRead:
        """Return the facts of these projects. The next refresh reads none of them again."""
        versions = [(name, self.versions[name]) for name in names]
        return self.public.read(versions), NO_NAMES


def start_thread(work: Callable[[], None]) -> None:
    """Run `work` in a thread that does not keep the process alive."""
    Thread(target=work, name="search-index", daemon=True).start()


class SearchIndex(Struct):
    """
    The table of all projects, which is refreshed in the background.

    Threads may share an object.
    """

    reader: FactsReader
    changes: Changes
    public: PublicProjects | None = None
    """The public projects, or None without upstream indexes."""
    is_read_only: bool = False
    """Whether this process does not store the table."""
    start: Callable[[Callable[[], None]], object] = start_thread
    """Starts work in the background."""
    _table: ProjectTable | None = None
    """The table, or None until somebody asks for it."""
    _read_all_at: float = -inf
    """When all documents are read again while the feed is damaged."""
    _committed: set[NormalizedName] = set()
    """Projects that this process has changed since they were read."""
    _applied: set[NormalizedName] = set()
    """Projects that this process has changed, and that are being read."""
    _due_at: float = -inf
    """When the next refresh is due."""
    _refreshed_at: float = -inf
    """When the last refresh has begun."""
    _is_outdated: bool = False
    """Whether a refresh was asked for since the last one has begun."""
    _running: Event | None = None
    """Set at the end of the refresh that runs, if any."""
    _is_saved: bool = True
    """Whether the store has the table as it is now, as far as this process knows."""
    _save_at: float = -inf
    """When the next refresh may store the table."""
    _lock: RLock = field(default_factory=RLock)
    """Held while the table is replaced. A refresh reads without it."""
    _commit_lock: Lock = field(default_factory=Lock)
    """Held only while names are noted, so that no commit waits for a reader."""

    def note_commit(self, project: Project, _: object) -> None:
        """Remember that this process has just changed a project, for the next caller to read it."""
        # without a table, the first caller reads all projects
        if self._table is not None:
            with self._commit_lock:
                self._committed.add(project.name)

    def note_decision(self) -> None:
        """Have the next caller refresh the table, after a decision about public packages."""
        self._is_outdated = True

    def read_ahead(self) -> None:
        """Begin to read the stored table in the background, so that no page has to wait for it."""
        with suppress(RuntimeError):  # no thread can be started now: the first page reads it
            self.start(self._read_ahead)

    def _read_ahead(self) -> None:
        """Read the stored table, unless there is a table already."""
        with suppress(Unavailable), self._lock:
            self._table = self._table or self._first_table(self.reader.projects.names.read_ahead)

    def peek(self) -> ProjectTable | None:
        """Return the table if nothing has to be read before, else None. The store is not read."""
        is_fresh = self._running is not None or not self._is_due()
        lacks_commits = bool(self._committed or self._applied)
        if not is_fresh or lacks_commits:
            return None
        return self._table

    @property
    def in_memory(self) -> ProjectTable:
        """The table in memory, which may be outdated or empty. The store is not read."""
        return self._table or ProjectTable()

    def table(self, max_age: float = inf) -> ProjectTable:
        """
        Return the table, with all commits of this process, and begin to refresh it if that is due.

        A refresh is also due if the last one has begun `max_age` seconds ago or earlier. The caller
        who begins a refresh waits for it, `WAIT_SECONDS` at most. Raises Unavailable if there is no
        table yet, and the store does not answer.
        """
        with self._lock:
            names = self.reader.projects.names
            table = self._table = self._table or self._first_table(names.get)
            self._apply_commits(table)
            self._is_outdated |= self._now() >= self._refreshed_at + max_age
            refresh_ended = self._begin_refresh()
        # without the lock, so that other callers get the table as it is at once
        if refresh_ended is not None:
            refresh_ended.wait(WAIT_SECONDS)
        return self._table

    def _is_due(self) -> bool:
        """Return whether a refresh is due now."""
        return self._is_outdated or self._now() >= self._due_at

    def _first_table(self, read_names: Callable[[], Snapshot[NameList]]) -> ProjectTable:
        """
        Return the table that a process begins with.

        This is the stored table, or else one of the names of all listed projects. Raises
        Unavailable if the list of names cannot be read.
        """
        table = ProjectTable()
        with suppress(Unavailable):  # raised below, if the store does not answer
            table = self._stored_table() or table
        listed_names: frozenset[NormalizedName] = frozenset()
        name_list = read_names().value
        if name_list is not None:
            listed_names = name_list.as_set
        if not table.projects:
            return table_of(name_facts(name) for name in listed_names)
        # the stored table may be older than the list of names and the settings of this process
        unlisted = table.private_names - listed_names
        hidden = set[NormalizedName]()
        for facts in table.projects:
            if facts.origin and not self._may_be_public(facts.name, listed_names):
                hidden.add(facts.name)
        # unlisted names stay private until their documents are read
        unread = table.unread | unlisted
        return replace(table.updated(dict.fromkeys(unlisted | hidden)), unread=unread)

    def _may_be_public(
        self, name: NormalizedName, listed_names: AbstractSet[NormalizedName]
    ) -> bool:
        """Return whether a name is not private, and the settings allow a public project of it."""
        if name in listed_names or self.public is None:
            return False
        return self.public.may_show(name)

    def _apply_commits(self, table: ProjectTable) -> None:
        """Put the projects that this process has committed into the table, with the lock held."""
        with self._commit_lock:
            self._applied = self._committed
            self._committed = set()
        names = sorted(self._applied)
        if len(names) > MAX_COMMITS_AT_ONCE:
            self._due_at = -inf
        elif names:
            with suppress(Unavailable):  # the next refresh finds these changes in the feed
                facts_by_name = self.reader.read(names, may_be_cached=True)
                changes = {name: facts_by_name.get(name) for name in names}
                # read again by the next refresh, as the store may be restored meanwhile
                unread = table.unread | self._applied
                self._merge(table, changes, unread)
        self._applied = set()

    def _begin_refresh(self) -> Event | None:
        """
        Begin to refresh the table, and return the event that is set when the refresh has ended.

        Return None if no refresh is due, or one runs already, or no thread can be started.
        """
        if self._running is not None or not self._is_due():
            return None
        self._running = ended = Event()
        self._is_outdated = False
        self._refreshed_at = self._now()
        try:
            self.start(self._refresh)
        except RuntimeError:  # no thread can be started now: a later caller tries again
            self._running = None
            return None
        return ended

    def _refresh(self) -> None:
        """Bring the table up to date, in a thread of its own."""
        # there is no other refresh, as `_running` is set until this one ends
        started_at = self._now()
        try:
            with suppress(Unavailable):  # the table keeps the facts that were read so far
                self._compare_private()
                if self.public is not None:
                    # public packages may be in another bucket, which alone does not answer
                    with suppress(Unavailable):
                        self._compare_public(self.public)
                if started_at >= self._save_at:
                    self._save()
        finally:
            pause = LOCAL_SECONDS if self.reader.is_local else REMOTE_SECONDS
            self._due_at = self._now() + pause
            # last, as another thread may begin the next refresh from then on
            running = self._running
            self._running = None
            if running is not None:
                running.set()

    def _compare_private(self) -> None:
        """Replace the facts of the private projects that have changed."""
        table_before = self._table or ProjectTable()
        changes, serial = self._read_changes(table_before.serial)
        if changes is None:
            table_before = self._begin_again(serial)
        names = set(table_before.unread)
        for change in changes or ():
            # a commit of this process is in the table already
            if table_before.document_of(change.project) != str(change.revision):
                names.add(change.project)
        listed_names: frozenset[NormalizedName] = frozenset()
        if names:
            listed_names = self._read_listed_names()
        # unread until they are read: if a read fails, the next refresh reads the other names
        self._merge(table_before, {}, names)
        self._renew(table_before, names, _ChangedPrivate(self.reader, listed_names))
        # the serial is last: it says that all changes up to it are in the table or in `unread`
        with self._lock:
            self._table = replace(self._table or table_before, serial=serial)

    def _read_changes(self, serial: int) -> tuple[list[ProjectChange] | None, int]:
        """
        Return the changes since a serial, and the newest serial.

        The changes are None if all projects have to be read. While the feed is damaged, that is
        every `READ_ALL_SECONDS`, and there are no changes in between.
        """
        try:
            if serial:
                with suppress(NotFound):
                    return self.changes.since(serial)
            return None, self.changes.newest()
        except Unavailable as fault:
            if fault.code != DAMAGED:
                raise
            if self._now() < self._read_all_at:
                return [], serial
            logger.warning("the search reads all projects: %s", fault.message)
            self._read_all_at = self._now() + READ_ALL_SECONDS
            return None, 0

    def _begin_again(self, serial: int) -> ProjectTable:
        """
        Mark all projects as unread, and return the table.

        The table keeps the old facts of listed projects until they are read.
        """
        listed_names = self._read_listed_names()
        unread = set(listed_names)
        for entry in self.reader.projects.store.list(keys.PROJECTS):
            name = keys.project_of(entry.key)
            if name is not None:
                unread.add(name)
        with self._lock:
            table = self._table or ProjectTable()
            table = table.updated(dict.fromkeys(table.private_names - listed_names))
            self._table = table = replace(table, serial=serial, unread=frozenset(unread))
        return table

    def _read_listed_names(self) -> frozenset[NormalizedName]:
        """Return the list of names as it is in the store now."""
        return self.reader.projects.names.get_current().as_set

    def _compare_public(self, public: PublicProjects) -> None:
        """Replace the facts of changed public projects, and remove those of projects that left."""
        table_before = self._table or ProjectTable()
        private_names = table_before.private_names | table_before.unread
        name_list = self.reader.projects.names.get().value
        if name_list is not None:
            private_names |= name_list.as_set
        versions = dict[NormalizedName, str]()
        changed_names = list[NormalizedName]()
        for name, version in public.versions().items():
            # a private name is never that of a public project, whatever an upstream index has
            if name in private_names:
                continue
            versions[name] = version
            if table_before.document_of(name) != version:
                changed_names.append(name)
        names_before = {facts.name for facts in table_before.projects if facts.origin}
        self._merge(table_before, dict.fromkeys(names_before - versions.keys()))
        self._renew(table_before, changed_names, _ChangedPublic(public, versions))

    def _renew(
        self, table_before: ProjectTable, names: Iterable[NormalizedName], source: _FactsSource
    ) -> None:
        """Read the facts of projects, `CHUNK` projects at a time, and put them into the table."""
        save_at = self._now() + SAVE_SECONDS
        all_names = list(names)
        for start in range(0, len(all_names), CHUNK):
            facts, unread = source.read(all_names[start : start + CHUNK])
            self._merge(table_before, facts, unread)
            if self._now() >= save_at:  # so that a process that dies has not worked for nothing
                self._save()
                save_at = self._now() + SAVE_SECONDS

    def _merge(
        self,
        table_before: ProjectTable,
        changes: Facts,
        unread: AbstractSet[NormalizedName] = NO_NAMES,
    ) -> None:
        """
        Put facts into the table, and have `unread` names read by the next refresh.

        A project whose facts in the table are not those of `table_before` keeps them, as a commit
        of this process was applied meanwhile. The next refresh reads these projects, too.
        """
        with self._lock:
            table = self._table or table_before
            newer_in_table = set[NormalizedName]()
            current_changes = dict[NormalizedName, ProjectFacts | None]()
            for name, facts in changes.items():
                # by identity: nobody has put other facts there since
                if table.find(name) is table_before.find(name):
                    current_changes[name] = facts
                else:
                    newer_in_table.add(name)
            new_table = table.updated(current_changes)
            new_unread = (table.unread - changes.keys()) | newer_in_table | unread
            if new_table is not table or new_unread != table.unread:
                self._table = replace(new_table, unread=new_unread)
                self._is_saved = False

    def _stored_table(self) -> ProjectTable | None:
        """Return the stored table, or None if it is missing or damaged."""
        from wheelyard.operations.search.project_table import decode_table  # noqa: PLC0415

        stored = self.reader.projects.store.get(keys.SEARCH)
        if not isinstance(stored, Stored):
            return None
        return decode_table(stored.body)

    def _save(self) -> None:
        """Store the table if it has changed, for the next process that starts."""
        if self._is_saved or self.is_read_only:
            return
        # imported here, as commands need no compressor
        from wheelyard.operations.search.project_table import encode_table  # noqa: PLC0415

        # before the write, as facts that are merged meanwhile are stored the next time
        self._is_saved = True
        pause = SAVE_SECONDS
        try:
            body = encode_table(self._table or ProjectTable())
            # unconditionally: the table of each process is right, so any may be the last
            self.reader.projects.store.put(keys.SEARCH, body, expect=None)
        except Unavailable:
            self._is_saved = False
            pause = SAVE_PAUSE_SECONDS
        self._save_at = self._now() + pause

    def _now(self) -> float:
        """Return the time of the monotonic clock that the cache of documents has, in seconds."""
        return self.reader.projects.documents.now_seconds()


class FixedTable(SearchIndex):
    """A search index that nobody refreshes. It has the table of the last call of `show`."""

    def show(self, table: ProjectTable) -> None:
        """Have the projects of this table from now on."""
        # a new generation, as pages are cached under it
        generation = self.peek().generation + 1
        self._table = replace(table, generation=generation)

    def peek(self) -> ProjectTable:
        """Return the table."""
        return self._table or ProjectTable()

    def table(self, max_age: float = inf) -> ProjectTable:  # noqa: ARG002 - never refreshed
        """Return the table, whatever `max_age` is."""
        return self.peek()
