"""
Projects, by normalised name; and the list of all names there ever were.

The list is one document, only ever added to. A reader goes from it to a project's document to the
bytes, so it never sees a link to what is not there, wherever a writer died. A server that has not
read the list yet may begin at the document: it then shows a project whose first upload died before
the name was listed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.commits import Commits, Committed, Intent
from wheelyard.catalog.conflict_retry import ConflictRetries
from wheelyard.catalog.document_cache import Codec, DocumentCache, MaxAge, Snapshot, damaged
from wheelyard.concurrency.group_commit import GroupCommit, TakeItems
from wheelyard.errors import OVERLOADED, Conflict, NotFound, Unavailable, quoted
from wheelyard.model.project import Commit, Project
from wheelyard.storage.base import ABSENT, Store, Stored


class NameList(Struct, frozen=True, dict=True):
    """Every project name, sorted."""

    names: tuple[NormalizedName, ...] = ()

    @cached_property
    def known(self) -> frozenset[NormalizedName]:
        """The same names, to look one up."""
        return frozenset(self.names)


class ProjectNames:
    """The name list of a store."""

    def __init__(self, documents: DocumentCache[NameList], retries: ConflictRetries) -> None:
        self._documents = documents
        self._retries = retries
        self._additions = GroupCommit[str, frozenset[NormalizedName], bool](self._add)

    def peek(self, max_age: MaxAge = "fresh") -> Snapshot[NameList] | None:
        """Return the list if it is at hand and not too old, else None; never waits."""
        return self._documents.peek(keys.NAMES, max_age)

    def get(self) -> Snapshot[NameList]:
        """Return the list, waiting for the store only if need be."""
        return self._documents.get(keys.NAMES)

    def latest(self) -> NameList:
        """Return the list as the store has it now."""
        return self._documents.get(keys.NAMES, "now").value or NameList()

    def ensure(self, *names: NormalizedName) -> None:
        """See to it that `names` are in the list."""
        held = self.peek("ever")
        known = held.value.known if held is not None and held.value is not None else frozenset()
        missing = frozenset(names) - known
        if missing:
            self._additions.submit("all", missing)

    def _add(self, _: str, take: TakeItems[frozenset[NormalizedName]]) -> list[bool]:
        for attempt in self._retries.attempts():
            wanted = take()
            snapshot = self._documents.get(keys.NAMES, "fresh" if attempt == 0 else "now")
            before = snapshot.value or NameList()
            missing = frozenset[NormalizedName]().union(*wanted) - before.known
            if not missing:
                return [True for _ in wanted]
            # nearly sorted as it is, which `sorted` makes use of
            after = NameList(tuple(sorted([*before.names, *missing])))
            try:
                self._documents.put(keys.NAMES, after, snapshot.version)
            except Conflict:
                continue
            except Unavailable as fault:
                found = self._documents.get(keys.NAMES, "now")
                # it may still happen
                if found.version == snapshot.version and fault.code != OVERLOADED:
                    raise
                continue  # landed or lost: the next attempt sees which
            return [True for _ in wanted]
        raise self._retries.exhausted("the list of projects")


@dataclass(frozen=True, slots=True)
class Projects:
    """The projects of an index."""

    store: Store
    documents: DocumentCache[Project]
    names: ProjectNames
    commits: Commits

    def peek(self, name: NormalizedName, max_age: MaxAge = "fresh") -> Snapshot[Project] | None:
        """Return the document if it is at hand and not too old, else None; never waits."""
        snapshot = self.documents.peek(keys.project(name), max_age)
        if snapshot is not None and snapshot.value is not None:
            return snapshot
        names = self.names.peek(max_age)
        return _nothing(names) if names is not None and not _lists(names, name) else None

    def load(self, name: NormalizedName) -> Snapshot[Project]:
        """Return the project's document, waiting for the store if need be."""
        if not self.is_known(name):
            names = self.names.get()
            if not _lists(names, name):
                return _nothing(names)
        snapshot = self.documents.get(keys.project(name))
        if snapshot.value is None:
            # a name is listed after its document is there; it may have come just now
            snapshot = self.documents.get(keys.project(name), "now")
        if snapshot.value is None:
            # not "not found": installers take that for "not here", and go elsewhere
            raise damaged(
                f"The document of {name} is lost. Run 'wheelyard check --rebuild', or restore it "
                "from a backup."
            )
        return snapshot

    def unlisted(self, name: NormalizedName) -> Snapshot[Project]:
        """Return the project's document, whether its name is listed or not."""
        return self.documents.get(keys.project(name))

    def is_known(self, name: NormalizedName) -> bool:
        """Return whether the project has been seen before: a name that is listed stays listed."""
        held = self.documents.peek(keys.project(name), "ever")
        if held is not None and held.value is not None:
            return True
        names = self.names.peek("ever")
        return names is not None and _lists(names, name)

    def get(self, name: NormalizedName) -> Project:
        """Return a project; raise NotFound if no file was ever uploaded under `name`."""
        snapshot = self.peek(name) or self.load(name)
        if snapshot.value is None:
            raise unknown_project(name)
        return snapshot.value

    def latest(self, name: NormalizedName) -> Project:
        """Return a project for a writer: its document, listed or not, or an empty project."""
        return self.unlisted(name).value or Project(name=name)

    def change(self, name: NormalizedName, intent: Intent) -> Committed:
        """Carry out `intent`, durably, and see that the name is listed; return what changed."""
        committed = self.commits.submit(name, intent)
        if committed.after.revision:
            self.names.ensure(name)
        return committed

    def journal(self, project: Project, after: int, last: int) -> Iterator[Commit]:
        """
        Yield the commits behind number `after`, up to number `last`, oldest first.

        The last one comes from the document itself: the journal may not have it yet.
        """
        codec = Codec(Commit)
        for number in range(after + 1, min(last, project.revision - 1) + 1):
            key = keys.commit(project.name, number)
            entry = self.store.get(key)
            if isinstance(entry, Stored):
                yield codec.decode(key, entry.body)
        if project.commit is not None and after < project.revision <= last:
            yield project.commit


def unknown_project(name: str) -> NotFound:
    """Return the fault for a project that is not there."""
    return NotFound(
        f"There is no project named {quoted(name)} here. Check the spelling, or upload it first.",
        short="No such project.",
    )


def _lists(names: Snapshot[NameList], name: NormalizedName) -> bool:
    return names.value is not None and name in names.value.known


def _nothing(names: Snapshot[NameList]) -> Snapshot[Project]:
    return Snapshot(None, ABSENT, names.validated_at, names.attempted_at, 0)
