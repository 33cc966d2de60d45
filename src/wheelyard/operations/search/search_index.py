"""
The search index of a process: the table of all projects, kept up to date.

The docstring of this package has how that is done. The stored table is derived: it may be missing,
damaged or outdated, and several servers may write it.
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
"""How many commits of this process are applied before an answer. After more, a refresh does it."""
CHUNK: Final = 500
"""Projects that are read before what was found in them can be searched."""
SAVE_SECONDS: Final = 60.0
"""The least time from one write of the table to the next."""
SAVE_PAUSE_SECONDS: Final = 3600.0
"""The pause after a write that failed, as on a store that may only be read."""

logger = logging.getLogger("wheelyard")

NO_NAMES: Final = frozenset[NormalizedName]()
Facts = Mapping[NormalizedName, ProjectFacts | None]
FactsRead = tuple[Facts, AbstractSet[NormalizedName]]
"""Facts of some projects, and the names of those that are to be read again."""


class PublicProjects(Protocol):
    """Lists and reads the public projects that an index has something of."""

    def may_show(self, name: NormalizedName) -> bool:
        """Return whether the settings allow that a name is public, without any I/O."""

    def versions(self) -> dict[NormalizedName, str]:
        """
        Return a version of the facts of each, for one refresh at a time.

        A bucket is not listed each time. Raises Unavailable if the store does not answer.
        """

    def read(self, versions: Collection[tuple[NormalizedName, str]]) -> "Facts":
        """
        Return the facts of these projects, and None for one that nobody may see.

        Raises Unavailable if the store does not answer.
        """


class _FactsSource(Protocol):
    """Reads the facts of projects that may have changed."""

    def read(self, names: Sequence[NormalizedName]) -> FactsRead:
        """Return the facts of these projects."""


class _ChangedPrivate(Struct, frozen=True):
    """Reads private projects, of which only listed ones are shown."""

    reader: FactsReader
    listed: AbstractSet[NormalizedName]

    def read(self, names: Sequence[NormalizedName]) -> FactsRead:
        """Return the facts of these projects, without those that are not listed or damaged."""
        facts = self.reader.read(names)
        shown_facts: dict[NormalizedName, ProjectFacts | None] = {}
        unread = set[NormalizedName]()
        for name in names:
            project = facts.get(name)
            # a name is listed after its first commit, and removed before it is released
            is_unlisted = project is not None and name not in self.listed
            if is_unlisted or name not in facts:
                unread.add(name)
                project = None
            shown_facts[name] = project
        return shown_facts, unread


class _ChangedPublic(Struct, frozen=True):
    """Reads public projects at these versions."""

    public: PublicProjects
    versions: Mapping[NormalizedName, str]

    def read(self, names: Sequence[NormalizedName]) -> FactsRead:
        """Return the facts of these projects. None is to be read again."""
        versions = [(name, self.versions[name]) for name in names]
        return self.public.read(versions), NO_NAMES


def start_thread(work: Callable[[], None]) -> None:
    """Run `work` in a thread that does not keep the process alive."""
    Thread(target=work, name="search-index", daemon=True).start()


class SearchIndex(Struct):
    """
    The table of all projects, which is refreshed in the background.

    Threads may share it.
    """

    reader: FactsReader
    changes: Changes
    public: PublicProjects | None = None
    """None without upstream indexes."""
    is_read_only: bool = False
    """Whether this process does not store the table."""
    start: Callable[[Callable[[], None]], object] = start_thread
    """Starts work in the background."""
    _table: ProjectTable | None = None
    _read_all_at: float = -inf
    """When all documents are read again if the feed is damaged."""
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
    _save_at: float = -inf
    """When the table may be stored again, unless much has changed."""
    _lock: RLock = field(default_factory=RLock)
    """Held while the table is replaced. A refresh reads without it."""
    _commit_lock: Lock = field(default_factory=Lock)
    """Held only while names are noted, so that no commit waits for a reader."""

    def note_commit(self, project: Project, _: object) -> None:
        """Remember that this process has just changed a project, for the next caller to read it."""
        # without a table nobody has asked yet, and who does reads everything
        if self._table is not None:
            with self._commit_lock:
                self._committed.add(project.name)

    def note_decision(self) -> None:
        """Have the next caller refresh the table, as public packages are shown otherwise now."""
        self._is_outdated = True

    def read_ahead(self) -> None:
        """Begin to read the stored table in the background, so that no page has to wait for it."""
        with suppress(RuntimeError):  # no thread can be started now: the first page reads it
            self.start(self._read_ahead)

    def _read_ahead(self) -> None:
        with suppress(Unavailable), self._lock:
            self._table = self._table or self._first_table(self.reader.projects.names.read_ahead)

    def peek(self) -> ProjectTable | None:
        """Return the table if it needs no work now, else None, without reading the store."""
        is_fresh = self._running is not None or not self._is_due()
        # what this process has committed is not in the table yet
        if not is_fresh or self._committed or self._applied:
            return None
        return self._table

    @property
    def in_memory(self) -> ProjectTable:
        """The table as this process has it, perhaps outdated or empty. The store is not read."""
        return self._table or ProjectTable()

    def table(self, max_age: float = inf) -> ProjectTable:
        """
        Return the table, with all commits of this process, and begin to refresh it if that is due.

        It is due also if the last refresh has begun more than `max_age` seconds ago. Whoever begins
        one waits for it, a second at most. A refresh also stores the table. Raises Unavailable if
        there is no table yet, and the store does not answer.
        """
        with self._lock:
            names = self.reader.projects.names
            table = self._table = self._table or self._first_table(names.get)
            self._apply_commits(table)
            self._is_outdated |= self._now() >= self._refreshed_at + max_age
            begun = self._begin_refresh()
        # without the lock, so that the others get the table before this refresh at once
        if begun is not None:
            begun.wait(WAIT_SECONDS)
        return self._table

    def _is_due(self) -> bool:
        return self._is_outdated or self._now() >= self._due_at

    def _first_table(self, read_names: Callable[[], Snapshot[NameList]]) -> ProjectTable:
        """Return the stored table, or else an empty one, with the names of all listed projects."""
        table = ProjectTable()
        public = self.public
        with suppress(Unavailable):  # the list of names tells whether the store answers
            table = self._stored_table() or table
        listed: frozenset[NormalizedName] = frozenset()
        names = read_names().value
        if names is not None:
            listed = names.as_set
        if not table.projects:
            return table_of(map(name_facts, listed))
        # the stored table may be older than the list and the settings of this process
        lost = table.private_names - listed
        hidden = set[NormalizedName]()
        for facts in table.projects:
            is_private = facts.name in listed
            if facts.origin and (is_private or public is None or not public.may_show(facts.name)):
                hidden.add(facts.name)
        unread = table.unread | lost  # what has a document is not public
        return replace(table.updated(dict.fromkeys(lost | hidden)), unread=unread)

    def _apply_commits(self, table: ProjectTable) -> None:
        """Put what this process has changed into the table, with the lock held."""
        with self._commit_lock:
            self._applied = self._committed
            self._committed = set()
        names = sorted(self._applied)
        if len(names) > MAX_COMMITS_AT_ONCE:
            self._due_at = -inf
        elif names:
            with suppress(Unavailable):  # the next refresh finds what has changed
                facts = self.reader.read(names, may_be_cached=True)
                # read again with the next serial: the store may be restored meanwhile
                unread = table.unread | self._applied
                self._merge(table, {name: facts.get(name) for name in names}, unread)
        self._applied = set()

    def _begin_refresh(self) -> Event | None:
        """Begin to refresh the table if that is due, and return the event of the refresh's end."""
        if self._running is not None or not self._is_due():
            return None
        self._running = ended = Event()
        self._is_outdated = False
        self._refreshed_at = self._now()
        try:
            self.start(self._refresh)
        except RuntimeError:  # no thread can be started now; a later caller tries again
            self._running = None
            return None
        return ended

    def _refresh(self) -> None:
        """Bring the table up to date, in a thread of its own."""
        # while `_running` is set there is no other refresh
        started_at = self._now()
        try:
            with suppress(Unavailable):  # what was read so far is kept
                self._compare_private()
                if self.public is not None:
                    with suppress(Unavailable):  # perhaps of another bucket
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
        before = self._table or ProjectTable()
        changes, serial = self._changes(before.serial)
        if changes is None:
            before = self._begin_again(serial)
        names = set(before.unread)
        for change in changes or ():
            # a commit of this process is in the table already
            if before.document_of(change.project) != str(change.revision):
                names.add(change.project)
        listed: frozenset[NormalizedName] = frozenset()
        if names:
            listed = self._listed()
        # noted before they are read: a refresh that dies in between leaves them to the next one
        self._merge(before, {}, names)
        self._renew(before, names, _ChangedPrivate(self.reader, listed))
        # the serial comes last, and says that everything up to it is in the table or in `unread`
        with self._lock:
            self._table = replace(self._table or before, serial=serial)

    def _changes(self, serial: int) -> tuple[list[ProjectChange] | None, int]:
        """Return what has changed since a serial, or None for everything, and the newest serial."""
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
        """Have all documents read, and show the old facts of listed projects until then."""
        listed = self._listed()
        store = self.reader.projects.store
        stored = {keys.project_of(entry.key) for entry in store.list(keys.PROJECTS)}
        unread = listed.union(name for name in stored if name is not None)
        with self._lock:
            table = self._table or ProjectTable()
            table = table.updated(dict.fromkeys(table.private_names - listed))
            self._table = table = replace(table, serial=serial, unread=unread)
        return table

    def _listed(self) -> frozenset[NormalizedName]:
        return self.reader.projects.names.get_current().as_set

    def _compare_public(self, public: PublicProjects) -> None:
        """Replace the facts of the public projects that have changed, and drop those that left."""
        before = self._table or ProjectTable()
        private = before.private_names | before.unread
        names = self.reader.projects.names.get().value
        if names is not None:
            private |= names.as_set
        versions = dict[NormalizedName, str]()
        changed = list[NormalizedName]()
        for name, version in public.versions().items():
            # a private name is never that of a public project, whatever an upstream index has
            if name in private:
                continue
            versions[name] = version
            if before.document_of(name) != version:
                changed.append(name)
        public_names = {facts.name for facts in before.projects if facts.origin}
        self._merge(before, dict.fromkeys(public_names - versions.keys()))
        self._renew(before, changed, _ChangedPublic(public, versions))

    def _renew(
        self, before: ProjectTable, names: Iterable[NormalizedName], source: _FactsSource
    ) -> None:
        """Read facts of projects, some at a time, and put them into the table."""
        save_at = self._now() + SAVE_SECONDS
        left = list(names)
        for start in range(0, len(left), CHUNK):
            facts, unread = source.read(left[start : start + CHUNK])
            self._merge(before, facts, unread)
            if self._now() >= save_at:  # so that a process that dies has not worked for nothing
                self._save()
                save_at = self._now() + SAVE_SECONDS

    def _merge(
        self,
        before: ProjectTable,
        changes: Facts,
        unread: AbstractSet[NormalizedName] = NO_NAMES,
    ) -> None:
        """
        Put facts into the table, and have `unread` names read by the next refresh.

        Projects that were changed in the table since `before` keep their facts: a commit of this
        process was applied meanwhile. The next refresh reads them, too.
        """
        with self._lock:
            table = self._table or before
            # the same object as before: nobody has put another one there since
            newer = {name for name in changes if table.find(name) is not before.find(name)}
            current = {name: facts for name, facts in changes.items() if name not in newer}
            after = table.updated(current)
            left = (table.unread - changes.keys()) | newer | unread
            if after is not table or left != table.unread:
                self._table = replace(after, unread=left)
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
        # a command needs no compressor
        from wheelyard.operations.search.project_table import encode_table  # noqa: PLC0415

        # before the write: what is merged meanwhile is stored the next time
        self._is_saved = True
        pause = SAVE_SECONDS
        try:
            body = encode_table(self._table or ProjectTable())
            # each writer's table is right, so any may be the last one
            self.reader.projects.store.put(keys.SEARCH, body, expect=None)
        except Unavailable:
            self._is_saved = False
            pause = SAVE_PAUSE_SECONDS
        self._save_at = self._now() + pause

    def _now(self) -> float:
        return self.reader.projects.documents.now_seconds()


class FixedTable(SearchIndex):
    """A search index that nobody refreshes: it has the table that `show` was given last."""

    def show(self, table: ProjectTable) -> None:
        """Have the projects of this table from now on."""
        # another one than before, as pages are cached under it
        generation = self.peek().generation + 1
        self._table = replace(table, generation=generation)

    def peek(self) -> ProjectTable:
        """Return the table."""
        return self._table or ProjectTable()

    def table(self, max_age: float = inf) -> ProjectTable:  # noqa: ARG002 - none is newer
        """Return the table."""
        return self.peek()
