"""The newest serial of each project, as mirrors ask for it, from the feed (`changes.py`)."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from math import inf
from threading import Event, Lock
from typing import Final

from msgspec import Struct, field
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.changes import NO_CHANGES, NO_SERIAL, Changes, ProjectChange
from wheelyard.catalog.document_cache import UnreadableIgnored
from wheelyard.catalog.projects import Projects
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import NotFound, Unavailable
from wheelyard.storage.base import ABSENT, ObjectVersion

FRESH_SECONDS: Final = 1.0
"""The least time between two listings of marks, and until a page tries again what has failed."""
WAIT_SECONDS: Final = 1.0
"""How long a page waits for another thread that reads the feed, which may be long at first."""


class SerialTable(Struct, frozen=True):
    """The newest change of each project, up to one serial: none below it is missing."""

    newest: int = NO_SERIAL
    changes: dict[NormalizedName, ProjectChange] = {}
    generation: int = 0
    """Another one for each table with other serials that a process has had."""
    feed: ObjectVersion = ABSENT
    """The last version of `changes.json` that was read completely into this table."""
    names_revision: int = 0
    """The revision of a list of names that has all these projects, unless they were released."""

    @property
    def serials(self) -> Mapping[NormalizedName, int]:
        """The newest serial of each project."""
        return {name: change.serial for name, change in self.changes.items()}


class ProjectSerials(Struct):
    """
    The newest serials of all projects, which are read when they are first asked for.

    Threads may share it. While the store does not answer, or the feed is damaged, the table stays
    as it is. So a mirror never sees a serial before it can see all that is below.
    """

    changes: Changes
    projects: Projects
    runtime: Runtime
    _table: SerialTable = SerialTable()
    _due_at: float = -inf
    _down_until: float = -inf
    """Until when no page asks for the feed, as it could not be read."""
    _fruitless_until: dict[NormalizedName, float] = {}
    """Until when no page tries to give a serial to a project, as it has got none."""
    _reads: int = 0
    """How many reads for a page have begun."""
    committed: Event = field(default_factory=Event)
    """Set by each commit of this process, for whoever waits for one."""
    _listing: Lock = field(default_factory=Lock)
    """Held while serials are given."""
    _reading: Lock = field(default_factory=Lock)
    """Held while a page waits for the feed."""
    _lock: Lock = field(default_factory=Lock)
    """Held while the table is replaced."""

    def note_commit(self, *_: object) -> None:
        """Have the next caller of `listed` give serials, as this process has just committed."""
        self._due_at = -inf
        self.committed.set()

    def peek(self) -> SerialTable | None:
        """Return the table if `listed` would return it without asking the store, else None."""
        if self.runtime.monotonic() >= self._due_at:
            return None
        return self._table

    def listed(self) -> SerialTable:
        """
        Return the table for a list of projects, after giving a serial to each commit without one.

        Commits of other processes are in it after `FRESH_SECONDS`, and none while another thread
        gives serials, which takes long after many commits. New projects that the list of names
        lacks are added to it. A list that is older than `names_revision` of the table may lack some
        of its projects.
        """
        if self.peek() is None and self._listing.acquire(blocking=False):
            try:
                # before the marks are listed: a commit that is noted meanwhile is due again
                self._due_at = self.runtime.monotonic() + FRESH_SECONDS
                with suppress(Unavailable):
                    self._advance(self._table, self.changes.since)
            finally:
                self._listing.release()
        return self._table

    def given(self) -> SerialTable:
        """
        Return the table with all serials that any process has given, and give none.

        It may lack some if another thread has been reading them for `WAIT_SECONDS`, or if they
        could not be read within the last `FRESH_SECONDS`. New projects that the list of names lacks
        are added to it.
        """
        reads = self._reads
        is_down = self.runtime.monotonic() < self._down_until
        if not is_down and self._reading.acquire(timeout=WAIT_SECONDS):
            try:
                # a read that has begun while this thread waited is as good as one of its own
                if reads == self._reads:
                    self._reads += 1
                    self._read_given()
            except Unavailable:
                # the next pages must not wait for the store as long as this one did
                self._down_until = self.runtime.monotonic() + FRESH_SECONDS
            finally:
                self._reading.release()
        return self._table

    def given_to(self, name: NormalizedName, revision: int) -> SerialTable:
        """
        Return the table with all serials, after giving one to this revision of a project.

        It is given only if the table has none. It still has none if this process may give none, if
        the store does not answer, if another thread gives serials for longer than `WAIT_SECONDS`,
        and if the commit has no mark, which `wheelyard check` puts.
        """
        table = self.given()
        if _has_serial(table, name, revision) or self._is_fruitless(name):
            return table
        if self._listing.acquire(timeout=WAIT_SECONDS):
            try:
                # another thread may have given it meanwhile
                if not _has_serial(self._table, name, revision):
                    with suppress(Unavailable):
                        self._advance(self._table, self.changes.since)
                        self._read_given()  # so that the page can be repeated
            finally:
                self._listing.release()
        if not _has_serial(self._table, name, revision):
            # a page that is asked for again at once must not try in vain again
            self._fruitless_until[name] = self.runtime.monotonic() + FRESH_SECONDS
        return self._table

    def _is_fruitless(self, name: NormalizedName) -> bool:
        """Return whether no page has to try to give a serial to a project now."""
        now = self.runtime.monotonic()
        is_down = now < self._down_until
        return self.changes.is_read_only or is_down or now < self._fruitless_until.get(name, -inf)

    def _read_given(self) -> None:
        """Put all serials that any process has given into the table."""
        # before the feed is read, so that the feed is not older than the table
        table_before = self._table
        snapshot = self.changes.documents.get(keys.CHANGES, "current")
        if snapshot.version != table_before.feed:
            given_since = partial(self.changes.given_since, snapshot.value or NO_CHANGES)
            self._advance(table_before, given_since)
            with self._lock:
                self._table = replace(self._table, feed=snapshot.version)

    def _advance(
        self,
        table_before: SerialTable,
        read_changes: Callable[[int], tuple[list[ProjectChange], int]],
    ) -> None:
        """
        Replace the table by `table_before` with what has changed since it was made.

        `read_changes` returns the changes after a serial, and the newest serial.
        """
        changes_before = table_before.changes
        try:
            changes, newest = read_changes(table_before.newest)
        except NotFound:  # the store was restored, or the feed made again
            changes_before = {}
            changes, newest = read_changes(NO_SERIAL)
        new_changes = {change.project: change for change in changes if change.serial != NO_SERIAL}
        if not new_changes and newest == table_before.newest:
            return

        # before the table has them: a mirror asks for the page of each project that it sees
        revision = self._list_names(new_changes)
        with self._lock:
            current = self._table
            # a thread that gives serials and one that reads them may both come here: the table
            # never goes back, unless the feed itself did, which the first one of them puts
            if current is table_before or current.newest < newest:
                self._table = SerialTable(
                    newest=newest,
                    changes=changes_before | new_changes,
                    generation=current.generation + 1,
                    feed=current.feed,
                    names_revision=revision,
                )

    def _list_names(self, names: Iterable[NormalizedName]) -> int:
        """
        Return the revision of a list of names that has those of these projects that have files.

        Adds what it lacks: a new project is listed after its first commit, and its writer may be
        slow, or dead. Raises Unavailable if this process may not.
        """
        listed = self.projects.names.get_current()
        published = list[NormalizedName]()
        for name in names:
            if name not in listed.as_set:
                with UnreadableIgnored():
                    # a released one has no files
                    project = self.projects.documents.get(keys.project(name), "current").value
                    if project is not None and project.files:
                        published.append(name)
        if published:
            if self.changes.is_read_only:
                raise Unavailable("A new project is not in the list of projects yet.")
            self.projects.names.claim(*published)
            listed = self.projects.names.get_current()
        return listed.revision


def _has_serial(table: SerialTable, name: NormalizedName, revision: int) -> bool:
    """Return whether a revision of a project, or a newer one, has a serial. 0 needs none."""
    change = table.changes.get(name)
    if change is None:
        return revision <= 0
    return revision <= change.revision
