"""
Projects by normalised name, and the list of all project names.

The list is one document. A writer stores bytes, then the project's document, then its name. A
reader reads in the other order, so that it never finds a link to something missing. A process that
has the document in its cache does not need the list. In a folder, other processes look for the
document of an unlisted name, too, so that all processes show a new project from the same moment on.
A bucket is not asked twice for a name that it does not have.

The list is also the registry of private names (`private_names.py`). With an upstream index, a name
is listed before its first commit, so a listed name without any commit is a project without files.
A name is only removed from the list if its project has no files (`operations/names.py`).
"""

import logging
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import cached_property

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.commits import CommittedProject, Journal, ProjectCommits, ProjectIntent
from wheelyard.catalog.document_cache import DocumentCache, MaxAge, Snapshot, lost
from wheelyard.catalog.journaled_documents import IndexRecords, project_journal
from wheelyard.concurrency.runtime import ConflictRetries
from wheelyard.concurrency.threads import Batch, GroupCommit
from wheelyard.errors import NotFound, quoted
from wheelyard.model.decoding import Extensible
from wheelyard.model.index_definition import OF_AN_INDEX, taken_name
from wheelyard.model.index_name import MAIN
from wheelyard.model.project import Commit, Project
from wheelyard.storage.base import ABSENT, Key, Store

logger = logging.getLogger("wheelyard")


class NameList(Extensible, frozen=True, dict=True, forbid_unknown_fields=True):
    """The stored document `projects.json`: all project names, sorted."""

    names: tuple[NormalizedName, ...] = ()
    revision: int = 0
    """The number of writes."""
    write_id: str = ""
    """A random id, by which a writer without an answer knows whether its write has succeeded."""

    def with_names(self, names: Iterable[NormalizedName], write_id: str) -> "NameList":
        """Return the list with these names instead, for its next write."""
        # `sorted` is fast on a nearly sorted list
        sorted_names = tuple(sorted(names))
        return replace(self, names=sorted_names, revision=self.revision + 1, write_id=write_id)

    def is_same_write(self, other: "NameList | None") -> bool:
        """Return whether a list that was read later comes from the same write as this one."""
        return other is not None and other.write_id == self.write_id

    @cached_property
    def as_set(self) -> frozenset[NormalizedName]:
        """The project names as a frozenset."""
        return frozenset(self.names)


class ProjectNames:
    """
    Reads the list of project names, adds names to it, and removes released ones.

    Threads may share an object. Every method raises Unavailable if the store that it reads or
    writes does not answer, if the list is damaged, or if too many writers change it.
    """

    def __init__(self, documents: DocumentCache[NameList], retries: ConflictRetries) -> None:
        self._documents = documents
        self._retries = retries
        self._additions = GroupCommit[str, frozenset[NormalizedName], None](self._add)
        self._last_names = frozenset[NormalizedName]()
        """The names of the list that was read last."""
        self.dropped = set[NormalizedName]()
        """
        Names that an earlier read of the list has found, and that it lacks now.

        They were released, or the list was replaced by an older one.
        """

    def peek(self, max_age: MaxAge = "fresh") -> Snapshot[NameList] | None:
        """Return the list if it is cached and at most `max_age` old, else None."""
        return self._documents.peek(keys.PROJECT_NAMES, max_age)

    def get(self) -> Snapshot[NameList]:
        """Return a snapshot of the list, read from the store unless a fresh one is cached."""
        return self._note_dropped(self._documents.get(keys.PROJECT_NAMES))

    def read_ahead(self) -> Snapshot[NameList]:
        """Return the list as it is in the store now, and cache it as one that is not fresh."""
        return self._note_dropped(self._documents.read_ahead(keys.PROJECT_NAMES))

    def get_current(self) -> NameList:
        """Return the list as it is in the store now, or an empty one if the store has none."""
        return self.read().value or NameList()

    def read(self) -> Snapshot[NameList]:
        """Return a snapshot of the list as it is in the store now."""
        return self._note_dropped(self._documents.get(keys.PROJECT_NAMES, "current"))

    def _note_dropped(self, snapshot: Snapshot[NameList]) -> Snapshot[NameList]:
        """Note the names that a list lacks and an earlier one had, and return the list."""
        names = frozenset[NormalizedName]()
        if snapshot.value is not None:
            names = snapshot.value.as_set
        # by identity: a cached list always has the same set, so nearly no call compares names
        if names is not self._last_names:
            self.dropped |= self._last_names - names
            self.dropped -= names
            self._last_names = names
        return snapshot

    def ensure(self, *names: NormalizedName) -> None:
        """Add those of `names` to the list that the cached list lacks."""
        # an old cached list is enough: only a release removes names, see `Projects.change`
        cached = self.peek("any")
        missing = frozenset(names)
        if cached is not None and cached.value is not None:
            missing -= cached.value.as_set
        if missing:
            self.claim(*missing)

    def claim(self, *names: NormalizedName) -> None:
        """Add those of `names` to the list that it lacks, as it is in the store now."""
        if names:
            self._additions.submit("all", frozenset(names))

    def remove(self, *names: NormalizedName) -> None:
        """Remove `names` from the list, if it has them."""
        if not names:
            return
        for _ in self._retries.attempts():
            snapshot = self.read()
            before = snapshot.value or NameList()
            if before.as_set.isdisjoint(names):
                return
            remaining = [name for name in before.names if name not in names]
            if self._swap(snapshot, remaining):
                return
        raise self._retries.exhausted("the list of projects")

    def _add(self, _: str, batch: Batch[frozenset[NormalizedName], None]) -> list[None]:
        """Add the names of all callers that wait, by one write."""
        # runs in the thread of the first caller, while the others wait
        for _attempt in self._retries.attempts():
            additions = batch.take()
            snapshot = self.read()
            before = snapshot.value or NameList()
            missing = set[NormalizedName]()
            for names in additions:
                missing |= names
            missing -= before.as_set
            if not missing or self._swap(snapshot, before.names + tuple(missing)):
                return [None for _ in additions]
        raise self._retries.exhausted("the list of projects")

    def _swap(self, snapshot: Snapshot[NameList], names: Iterable[NormalizedName]) -> bool:
        """Write these names over the list in `snapshot`. Return False after a conflict."""
        write_id = self._retries.runtime.new_id()
        after = (snapshot.value or NameList()).with_names(names, write_id)
        return self._documents.swap(
            keys.PROJECT_NAMES, after, snapshot.version, after.is_same_write
        )


class FreeNames(Struct, frozen=True):
    """Checks that a new project of main does not take the name of an index."""

    indexes: IndexRecords

    def __call__(self, name: NormalizedName) -> None:
        """Raise Invalid for the name of an index that is in the store now."""
        stored = self.indexes.get("current").value
        if stored is not None and stored.find(name) is not None:
            raise taken_name(name, OF_AN_INDEX)


class RemainingIndex(Struct, frozen=True):
    """Checks, for each new project of an index that a command has made, that the index exists."""

    indexes: IndexRecords
    name: str

    def __call__(self, _name: NormalizedName) -> None:
        """Raise NotFound if the index was removed."""
        stored = self.indexes.get("current").value
        if stored is None or stored.find(self.name) is None:
            raise NotFound(
                f"The index {quoted(self.name)} was removed meanwhile, so nothing was stored. Use "
                "another index."
            )


class VanishedProjects(Struct):
    """
    Projects that this process has read, by document or name, and of which the store has nothing.

    No command removes all objects of a project. So the store was replaced by an older copy, which
    is then served as it is. The names of these projects stay private in this process, as nobody has
    released them.
    """

    store: Store
    root: Store
    """The store of main, which has `wheelyard.json`."""
    names: ProjectNames
    now: Callable[[], datetime]
    since: datetime | None = None
    """When the first vanished project was noticed, in UTC, or None if there is none."""
    projects: set[NormalizedName] = set()
    """The names of the vanished projects."""

    def is_unknown(self, key: Key) -> bool:
        """
        Return whether a project, whose document is gone, is unknown to the store, and note that.

        It is unknown if it is neither listed nor has a journal. Raises Unavailable if the store
        does not answer, or the list of names is damaged or lost.
        """
        name = keys.project_of(key)
        if name is None or _is_listed(self.names.read(), name):
            return False
        if any(self.store.list(keys.journal(name))):
            return False
        self._note(name)
        return True

    def is_list_unknown(self) -> bool:
        """
        Return whether the store, whose list of names is gone, has no project of the index.

        A store without `wheelyard.json` is no copy: then return False. Raises Unavailable if the
        store does not answer.
        """
        # an empty disk may be mounted in place of the store
        if self.root.get(keys.FORMAT) is None:
            return False
        for folder in (keys.PROJECTS, keys.JOURNAL):
            if next(self.store.list(folder), None) is not None:
                return False
        return True

    def has(self, name: NormalizedName) -> bool:
        """
        Return whether a name that is neither listed nor has a document has vanished.

        Raises Unavailable if the store does not answer, or the list of names is damaged or lost.
        """
        is_dropped = name in self.names.dropped and name not in self.projects
        if is_dropped and not self.is_unknown(keys.project(name)):
            self.names.dropped.discard(name)  # it was released, as it still has a journal
        return name in self.projects

    def _note(self, name: NormalizedName) -> None:
        """Remember a project that has vanished, and tell the operator."""
        self.since = self.since or self.now()
        self.projects.add(name)
        logger.warning(
            "the project %s was there, and the store knows nothing of it now: an older copy was "
            "put in its place while this process ran. What the copy has is served. Check the "
            "store, and reserve the name if it must not be taken from an upstream index after a "
            "restart",
            name,
        )


class Projects(Struct, frozen=True):
    """
    Reads and changes the projects of an index.

    Every method that reads the store raises Unavailable if the store does not answer, if the
    document or the list of names is damaged, or if only a newer version may read the document.
    """

    store: Store
    documents: DocumentCache[Project]
    names: ProjectNames
    commits: ProjectCommits
    vanished: VanishedProjects
    index: str = MAIN
    """The name of the index."""

    def peek(self, name: NormalizedName, max_age: MaxAge = "fresh") -> Snapshot[Project] | None:
        """
        Return a project's cached document, or None if the cache has no answer within `max_age`.

        If the cached list of names lacks the project, the snapshot has no value. Does not read a
        remote store.
        """
        snapshot = self.documents.peek(keys.project(name), max_age)
        if snapshot is not None and snapshot.value is not None and not snapshot.value.is_released:
            return snapshot
        if snapshot is None and self.documents.is_local:
            return None
        # if the list has the name, the document has to be read
        names = self.names.peek(max_age)
        if names is None or _is_listed(names, name):
            return None
        return _missing_project(names)

    def load(self, name: NormalizedName) -> Snapshot[Project]:
        """
        Return a snapshot of a project's document, from the cache or the store.

        The snapshot has no value if the project's name is not listed. A listed name without any
        commit is a project without files. Raises Unavailable if the journal has commits, and the
        document is missing.
        """
        # the list first: for a name that is not listed, one read of a bucket is enough
        if not self.is_remembered(name):
            names = self.names.get()
            if not _is_listed(names, name) and not self._is_being_made(name):
                return _missing_project(names)
        snapshot = self.documents.get(keys.project(name))
        if snapshot.value is None:
            # the document of a listed name exists, and may be newer than the cache
            snapshot = self.documents.get(keys.project(name), "current")
        if snapshot.value is None or snapshot.value.is_released:
            return self._load_without_files(name, snapshot)
        return snapshot

    def _is_being_made(self, name: NormalizedName) -> bool:
        """Return whether a folder has the document of a project, whose name is not listed yet."""
        if not self.documents.is_local:
            return False
        # not by the cache, which would fill with the names of missing projects
        path = self.store.path_of(keys.project(name))
        if path is None:  # in memory
            return self.store.get(keys.project(name)) is not None
        return path.exists()  # only one system call, as each layer that lacks a name makes it

    def _load_without_files(
        self, name: NormalizedName, snapshot: Snapshot[Project]
    ) -> Snapshot[Project]:
        """Return the snapshot of a project that has no document, or that was released."""
        names = self.names.get()
        if not _is_listed(names, name):
            return _missing_project(names)
        if snapshot.value is not None:
            return snapshot
        if not self.has_journal(name):
            return replace(snapshot, value=Project(name=name))
        # read again: the first commit, which writes the document first, may just have been made
        snapshot = self.documents.get(keys.project(name), "current")
        if snapshot.value is None:
            # not NotFound: an installer that gets 404 continues with its next index
            key = self.store.whole_key(keys.project(name))
            raise lost(f"The document {key} is lost.")
        return snapshot

    def has_journal(self, name: NormalizedName) -> bool:
        """Return whether the store has a commit of a project, which may have no document."""
        return next(self.store.list(keys.journal(name)), None) is not None

    def is_remembered(self, name: NormalizedName) -> bool:
        """Return whether the cached document or list, of any age, has the project."""
        cached = self.documents.peek(keys.project(name), "any")
        if cached is not None and cached.value is not None:
            return True
        names = self.names.peek("any")
        return names is not None and _is_listed(names, name)

    def get(self, name: NormalizedName) -> Project:
        """
        Return a project, from the cache or the store.

        A listed project without a document has no files. Raises NotFound if its name is not listed.
        """
        snapshot = self.peek(name) or self.load(name)
        if snapshot.value is None:
            raise unknown_project(name)
        return snapshot.value

    def get_current(self, name: NormalizedName) -> Project:
        """
        Return a project as it is in the store now.

        Raises NotFound if the project has no document now, and the cached list lacks its name.
        """
        project = self.documents.get(keys.project(name), "current").value
        if project is None or not project.exists:
            return self.get(name)
        return project

    def get_for_update(self, name: NormalizedName) -> Project:
        """
        Return a project for a writer, listed or not, from the cache or the store.

        A project that does not exist is returned as one without files.
        """
        project = self.documents.get(keys.project(name)).value
        return project or Project(name=name)

    def read_for_update(self, name: NormalizedName) -> Project:
        """
        Return a project for a writer, listed or not, as it is in the store now.

        A project that does not exist is returned as one without files.
        """
        project = self.documents.get(keys.project(name), "current").value
        return project or Project(name=name)

    def change(self, name: NormalizedName, intent: ProjectIntent) -> CommittedProject:
        """
        Commit the events of `intent`, list the project's name, and return the result of the commit.

        A project that does not exist after the commit is not listed. Raises the error of `intent`.
        For a new project, raises Invalid (code `invalid_name`) if an index has the name, and
        NotFound if its own index was removed. Raises Unavailable if the store does not answer, or
        if the name cannot be listed: the commit may have been made.
        """
        # a crash after the commit leaves a project that is not listed; the next commit lists it
        committed = self.commits.submit(project_journal(name), intent)
        if not committed.after.exists:
            return committed
        # a cached list may still have a name that was released
        if committed.before.is_released:
            self.names.claim(name)
        else:
            self.names.ensure(name)
        return committed

    def journal(self, project: Project) -> Journal[Project, Commit]:
        """Return the journal of a project."""
        return self.commits.journal(project_journal(project.name), project)


def unknown_project(name: str) -> NotFound:
    """Return the error for the name of a project that does not exist."""
    return NotFound(
        f"There is no project named {quoted(name)} in this index. Check the spelling and the "
        "index, or upload it first."
    )


def _is_listed(names: Snapshot[NameList], name: NormalizedName) -> bool:
    """Return whether a list of names has a name."""
    return names.value is not None and name in names.value.as_set


def _missing_project(names: Snapshot[NameList]) -> Snapshot[Project]:
    """Return the snapshot of a project that does not exist, as old as a list of names."""
    return Snapshot(None, ABSENT, names.validated_at, names.attempted_at, 0)
