"""The newest serial of each project, for mirrors, by the feed (`changes.py`)."""

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
"""The least time between two listings of marks, and the time after a failure without a try."""
WAIT_SECONDS: Final = 1.0
"""How long a page waits for another thread that reads the feed. The first read may take long."""


class SerialTable(Struct, frozen=True):
    """The newest change of each project, without a gap up to the serial `newest`."""

    newest: int = NO_SERIAL
    changes: dict[NormalizedName, ProjectChange] = {}
    generation: int = 0
    """A number that rises with each table of the process that has other serials."""
    feed: ObjectVersion = ABSENT
    """The last version of `changes.json` that was read completely into this table."""
    names_revision: int = 0
    """The revision of a list of names that has all of these projects but released ones."""

    @property
    def serials(self) -> Mapping[NormalizedName, int]:
        """The newest serial of each project."""
        return {name: change.serial for name, change in self.changes.items()}


class ProjectSerials(Struct):
    """
    The newest serials of all projects, which are read when they are needed first.

    Threads may share an object. While the store does not answer, or the feed is damaged, the table
    stays as it is. So a mirror never sees a serial before it can see all changes below it.
    """

    changes: Changes
    projects: Projects
    runtime: Runtime
    _table: SerialTable = SerialTable()
    _due_at: float = -inf
    """When marks are listed again, on the monotonic clock."""
    _down_until: float = -inf
    """The time until which no page reads the feed, as it could not be read."""
    _fruitless_until: dict[NormalizedName, float] = {}
    """The times until which no page tries to give a serial to a project, as it has got none."""
    _reads: int = 0
    """How many reads for a page have begun."""
    committed: Event = field(default_factory=Event)
    """Set by each commit of this process, for threads that wait for one."""
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

        The table has commits of other processes after `FRESH_SECONDS`. While another thread gives
        serials, which takes long after many commits, it is returned as it was before. New projects
        that the list of names lacks are added to the list. A list that is older than
        `names_revision` of the table may lack some of its projects.
        """
        if self.peek() is None and self._listing.acquire(blocking=False):
            try:
                # before the marks are listed, as a commit that is noted meanwhile is due again
                self._due_at = self.runtime.monotonic() + FRESH_SECONDS
                with suppress(Unavailable):
                    self._advance(self._table, self.changes.since)
            finally:
                self._listing.release()
        return self._table

    def given(self) -> SerialTable:
        """
        Return the table with all serials that any process has given. No serial is given.

        The table may lack serials if another thread has been reading them for `WAIT_SECONDS`, or if
        a read has failed within the last `FRESH_SECONDS`. New projects that the list of names lacks
        are added to the list.
        """
        reads = self._reads
        is_down = self.runtime.monotonic() < self._down_until
        if not is_down and self._reading.acquire(timeout=WAIT_SECONDS):
            try:
                # a read that has begun while this thread waited is new enough
                if reads == self._reads:
                    self._reads += 1
                    self._read_given()
            except Unavailable:
                # so that the next pages do not wait for the store as long as this one did
                self._down_until = self.runtime.monotonic() + FRESH_SECONDS
            finally:
                self._reading.release()
        return self._table

    def given_to(self, name: NormalizedName, revision: int) -> SerialTable:
        """
        Return the table with all serials, after giving one to this revision of a project.

        A serial is given only if the revision has none. It still has none if this process may give
        none, if the store does not answer, if another thread gives serials for longer than
        `WAIT_SECONDS`, or if the commit has no mark, which `wheelyard check` puts.
        """
        table = self.given()
        if _has_serial(table, name, revision) or self._is_fruitless(name):
            return table
        if self._listing.acquire(timeout=WAIT_SECONDS):
            try:
                # another thread may have given the serial meanwhile
                if not _has_serial(self._table, name, revision):
                    with suppress(Unavailable):
                        self._advance(self._table, self.changes.since)
                        # for the version of the feed, by which the fast path repeats a page
                        self._read_given()
            finally:
                self._listing.release()
        if not _has_serial(self._table, name, revision):
            # so that a page that is asked for again at once does not try again
            self._fruitless_until[name] = self.runtime.monotonic() + FRESH_SECONDS
        return self._table

    def _is_fruitless(self, name: NormalizedName) -> bool:
        """Return whether a try to give a serial to a project would most probably fail now."""
        now = self.runtime.monotonic()
        is_down = now < self._down_until
        has_just_failed = now < self._fruitless_until.get(name, -inf)
        return self.changes.is_read_only or is_down or has_just_failed

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
        Replace the table by `table_before` with the changes since it was made.

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

        # before the table has them, as a mirror asks for the page of each project that it sees
        revision = self._list_names(new_changes)
        with self._lock:
            current = self._table
            # A thread that gives serials and one that reads them may both come here. The newest
            # serial of the table never falls, unless that of the feed did: then the first of both
            # threads replaces the table.
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
        Have all of these projects that have files listed, and return the revision of the list.

        A new project is listed after its first commit, but its writer may be slow, or dead. Raises
        Unavailable if a project has to be listed, and this process may not write.
        """
        listed = self.projects.names.get_current()
        published = list[NormalizedName]()
        for name in names:
            if name not in listed.as_set:
                with UnreadableIgnored():
                    # a released project has no files, and must not be listed
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
    """Return whether a revision of a project, or a newer one, has a serial, or is 0."""
    change = table.changes.get(name)
    if change is None:
        return revision <= 0
    return revision <= change.revision
