"""
The search index of a process: the table of all projects, kept up to date.

A process begins with the table that another one has stored, or with the names of all projects. A
refresh compares it with a listing of the documents, reads those that have changed, with the core
metadata of their latest release, and stores the table. It runs in the background; who asks
meanwhile gets the table before it. Only a small index is worth waiting for. Commits of this very
process are applied before the next answer.

Beside the private projects it has public ones, which another source lists. A private name wins.

The stored table is derived. It may be missing, damaged or outdated, and two servers may write it.
"""

from collections.abc import Callable, Collection, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from math import inf
from threading import Event, Lock, RLock, Timer
from typing import Final, Protocol

from msgspec import Struct, field
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.errors import Unavailable
from wheelyard.operations.search.facts_reader import FactsReader
from wheelyard.operations.search.project_table import ProjectTable, table_of
from wheelyard.rendering.project_facts import ProjectFacts, name_facts
from wheelyard.storage.base import ObjectVersion, Stored

LOCAL_SECONDS: Final = 1.0
"""The least time from one refresh to the next on a local store."""
LOCAL_SHARE: Final = 20
"""On a local store, refreshes take at most one part in so many of the time."""
REMOTE_SECONDS: Final = 60.0
"""The least time from one refresh to the next on a bucket, where a listing costs money."""
PROJECTS_A_MINUTE: Final = 10_000
"""How many documents of a bucket are listed in a minute on average: ten requests, 0.00005 USD."""
SMALL: Final = 2_000
"""The projects of the largest index for whose refresh a caller waits."""
WAIT_SECONDS: Final = 1.0
"""How long a caller waits for the refresh of a small index."""
DELAY_SECONDS: Final = 1.0
"""How long after that caller the refresh of a large index begins."""
MAX_COMMITS_AT_ONCE: Final = 64
"""How many commits of this process are applied before an answer; after more, all is listed."""
CHUNK: Final = 500
"""Projects that are read before what was found in them can be searched."""
SHARED_FROM: Final = 100
"""From so many changed projects, a refresh first looks at what another process has stored."""
SAVE_SECONDS: Final = 60.0
"""The least time from one write of the table to the next."""
SAVE_PAUSE_SECONDS: Final = 3600.0
"""The pause after a write that failed, as on a store that may only be read."""


class PublicProjects(Protocol):
    """Lists and reads the public projects that an index has something of."""

    def may_show(self, name: NormalizedName) -> bool:
        """Return whether the settings allow that a name is public; no I/O."""

    def versions(self) -> dict[NormalizedName, str]:
        """
        Return a version of the facts of each, for one refresh at a time.

        A bucket is not listed each time. Raises Unavailable if the store does not answer.
        """

    def read(
        self, versions: Collection[tuple[NormalizedName, str]]
    ) -> Mapping[NormalizedName, ProjectFacts | None]:
        """Return the facts of these projects; None if nobody is shown one. May raise as above."""


Read = Callable[
    [Collection[tuple[NormalizedName, str]]],
    Mapping[NormalizedName, ProjectFacts | None],
]


def start_thread(work: Callable[[], None], delay: float) -> None:
    """Run `work` in `delay` seconds, in a thread that does not keep the process alive."""
    timer = Timer(delay, work)
    timer.name, timer.daemon = "search-index", True
    timer.start()


class SearchIndex(Struct):
    """
    The table of all projects; thread-safe.

    `public` is None without upstream indexes. `is_read_only`: this process does not store the
    table. `start` starts work in the background, in so many seconds.
    """

    reader: FactsReader
    public: PublicProjects | None = None
    is_read_only: bool = False
    start: Callable[[Callable[[], None], float], object] = start_thread
    _table: ProjectTable | None = None
    _committed: dict[NormalizedName, int] = {}
    """Projects that this process has changed since they were read, each with a number."""
    _commits: int = 0
    _list_version: ObjectVersion | None = None
    """On a local store, returns whether the list of names is the one that was read last."""
    _due_at: float = -inf
    """When the next refresh is due."""
    _is_outdated: bool = False
    """Whether a refresh was asked for since the last one has begun."""
    _running: Event | None = None
    """Set at the end of the refresh that runs, if any."""
    _stored: ObjectVersion | None = None
    """The version of the stored table that was last read or written."""
    _is_saved: bool = True
    _save_at: float = -inf
    """When the table may be stored again, unless much has changed."""
    _lock: RLock = field(default_factory=RLock)
    """Held while the table is replaced; a refresh reads without it."""
    _commit_lock: Lock = field(default_factory=Lock)
    """Held only while names are noted, so that no commit waits for a reader."""

    def note_commit(self, name: NormalizedName) -> None:
        """Remember that this process has just changed a project; it is read by the next caller."""
        if self._table is not None:
            with self._commit_lock:
                self._commits += 1
                self._committed[name] = self._commits

    def note_decision(self) -> None:
        """Have the next caller refresh the table, as public packages are shown otherwise now."""
        self._is_outdated = True

    def peek(self) -> ProjectTable | None:
        """Return the table if it needs no work now, else None; does not read the store."""
        return self._table if self._is_current() else None

    def table(self) -> ProjectTable:
        """
        Return the table, with all commits of this process; begin to refresh it if that is due.

        Raises Unavailable if there is no table yet, and the store does not answer.
        """
        with self._lock:
            table = self._table = self._table or self._first_table()
            self._note_new_names(table)
            self._apply_commits(table)
            is_small = len(table.projects) <= SMALL
            # that of a large index would slow down the very answer that it is begun for
            begun = self._begin_refresh(0.0 if is_small else DELAY_SECONDS)
        if begun is not None and is_small:
            begun.wait(WAIT_SECONDS)
        return self._table

    def _is_current(self) -> bool:
        is_fresh = self._running is not None or not self._is_due()
        return is_fresh and not self._committed and self._knows_list()

    def _is_due(self) -> bool:
        return self._is_outdated or self._now() >= self._due_at

    def _knows_list(self) -> bool:
        """Return whether the list of names is the one that was read last; True on a bucket."""
        if not self.reader.is_local:
            return True
        try:
            names = self.reader.projects.names.peek()
        except Unavailable:
            return True  # the last table is served
        return names is not None and names.version == self._list_version

    def _first_table(self) -> ProjectTable:
        """Return the stored table, or else an empty one, with the names of all listed projects."""
        with suppress(Unavailable):  # the list of names tells whether the store answers
            self._table = self._new_stored_table()
        names = self.reader.projects.names.get().value
        listed = names.as_set if names else frozenset()
        table = self._table or ProjectTable()
        if not table.projects:
            return table_of(map(name_facts, listed))
        private, public = table.private_names, self.public
        hidden = {
            facts.name
            for facts in table.projects
            if facts.origin and (public is None or not public.may_show(facts.name))
        }
        added = {name: name_facts(name) for name in listed - private}
        return table.updated(dict.fromkeys(private - listed | hidden) | added)

    def _note_new_names(self, table: ProjectTable) -> None:
        """Note the projects that other processes have made, which a local store tells for free."""
        if self._knows_list():
            return
        with suppress(Unavailable):
            names = self.reader.projects.names
            found = names.get()
            self._list_version = found.version
            listed = found.value.as_set if found.value else frozenset()
            for name in listed - table.private_names:
                self.note_commit(name)

    def _apply_commits(self, table: ProjectTable) -> None:
        with self._commit_lock:
            committed = dict(self._committed)
        if len(committed) > MAX_COMMITS_AT_ONCE:
            self._due_at = -inf
        elif committed:
            with suppress(Unavailable):  # the next refresh finds what has changed
                self._merge(table, self.reader.read([(name, "") for name in committed]))
                self._is_saved = False
        with self._commit_lock:
            for name, number in committed.items():
                if self._committed[name] == number:  # else it was changed once more
                    del self._committed[name]

    def _begin_refresh(self, delay: float) -> Event | None:
        """Begin to refresh the table if that is due; return the event of the refresh's end."""
        if self._running is not None or not self._is_due():
            return None
        self._running = ended = Event()
        self._is_outdated = False
        try:
            self.start(self._refresh, delay)
        except RuntimeError:  # no thread can be started now; a later caller tries again
            self._running = None
            return None
        return ended

    def _refresh(self) -> None:
        started_at, table = self._now(), self._table or ProjectTable()
        try:
            with suppress(Unavailable):  # what was read so far is kept
                if self._compare(table) >= SHARED_FROM or started_at >= self._save_at:
                    self._save()
        finally:
            count, now = len(table.projects), self._now()
            if self.reader.is_local:
                pause = max(LOCAL_SECONDS, LOCAL_SHARE * (now - started_at))
            else:
                pause = max(REMOTE_SECONDS, 60.0 * count / PROJECTS_A_MINUTE)
            self._due_at = now + pause
            running, self._running = self._running, None
            if running is not None:
                running.set()

    def _compare(self, before: ProjectTable) -> int:
        """
        Replace the facts of the projects whose document is not the one in the table.

        Return how many projects were read.
        """
        projects = self.reader.projects
        names = projects.names.get().value
        listed = names.as_set if names else frozenset()
        documents = dict[NormalizedName, str]()
        now = projects.commits.runtime.seconds()
        for entry in projects.store.list(keys.PROJECTS):
            name = keys.project_of(entry.key)
            if name is not None:
                documents[name] = entry.state(now)
        unlisted = documents.keys() - listed
        private = {name: version for name, version in documents.items() if name in listed}
        self._merge(before, dict.fromkeys(before.private_names - private.keys()))
        count = self._renew(before, private, self.reader.read)
        if self.public is not None:
            with suppress(Unavailable):  # perhaps of another bucket
                count += self._compare_public(self.public, listed, unlisted)
        return count

    def _compare_public(
        self,
        public: PublicProjects,
        listed: AbstractSet[NormalizedName],
        unlisted: AbstractSet[NormalizedName],
    ) -> int:
        """Do the same with public projects; `unlisted` are names that have a document."""
        before = self._table or ProjectTable()
        versions = public.versions()
        taken = unlisted & versions.keys()
        private = listed | before.private_names | (taken - self.reader.released(taken))
        versions = {name: version for name, version in versions.items() if name not in private}
        shown = {facts.name for facts in before.projects if facts.origin}
        self._merge(before, dict.fromkeys(shown - versions.keys()))
        return self._renew(before, versions, public.read)

    def _renew(
        self, before: ProjectTable, versions: Mapping[NormalizedName, str], read: Read
    ) -> int:
        """Replace the facts that are of other versions; return how many projects were read."""
        known = {each.name: each.document for each in before.projects}
        changed = [name for name, version in versions.items() if known.get(name) != version]
        if len(changed) >= SHARED_FROM:
            found = self._new_stored_table() or ProjectTable()
            shared = {
                each.name: each
                for each in found.projects
                if each.document and versions.get(each.name) == each.document
            }
            self._merge(before, {name: shared[name] for name in changed if name in shared})
            changed = [name for name in changed if name not in shared]
        save_at = self._now() + SAVE_SECONDS
        for start in range(0, len(changed), CHUNK):
            part = changed[start : start + CHUNK]
            self._merge(before, read([(name, versions[name]) for name in part]))
            self._is_saved = False
            if self._now() >= save_at:  # so that a process that dies has not worked for nothing
                self._save()
                save_at = self._now() + SAVE_SECONDS
        return len(changed)

    def _merge(
        self, before: ProjectTable, changes: Mapping[NormalizedName, ProjectFacts | None]
    ) -> None:
        """Put facts into the table, except for projects that were changed there since `before`."""
        with self._lock:
            table = self._table or before
            current = {
                name: facts
                for name, facts in changes.items()
                if table.find(name) is before.find(name)
            }
            self._table = table.updated(current)

    def _new_stored_table(self) -> ProjectTable | None:
        """Return the stored table; None if it is missing, damaged, or known already."""
        found = self.reader.projects.store.get(keys.SEARCH, self._stored)
        if not isinstance(found, Stored):
            return None
        from wheelyard.operations.search.stored_table import decode_table  # noqa: PLC0415

        self._stored = found.version
        return decode_table(found.body)

    def _save(self) -> None:
        if self._is_saved or self.is_read_only:
            return
        # a command needs no compressor
        from wheelyard.operations.search.stored_table import encode_table  # noqa: PLC0415

        self._is_saved, pause = True, SAVE_SECONDS
        try:
            body = encode_table(self._table or ProjectTable())
            # each writer's table is right, so any may be the last one
            self._stored = self.reader.projects.store.put(keys.SEARCH, body, expect=None)
        except Unavailable:
            self._is_saved, pause = False, SAVE_PAUSE_SECONDS
        self._save_at = self._now() + pause

    def _now(self) -> float:
        return self.reader.projects.documents.now_seconds()


class FixedTable(SearchIndex):
    """A search index that nobody refreshes: it has the table that `show` was given last."""

    def show(self, table: ProjectTable) -> None:
        """Have the projects of this table from now on."""
        generation = self._table.generation + 1 if self._table else 1
        self._table = replace(table, generation=generation)

    def peek(self) -> ProjectTable:
        """Return the table."""
        return self._table or ProjectTable()

    table = peek
