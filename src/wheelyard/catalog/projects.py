"""
Projects, by normalised name.

A reader goes from the name list to the document to the bytes, so it never sees a link to what is
not there, wherever a writer died.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.codec import DAMAGED, Codec
from wheelyard.catalog.commits import Commits, Committed, Intent
from wheelyard.catalog.documents import Age, Documents, Snapshot
from wheelyard.catalog.names import NameList, Names
from wheelyard.errors import NotFound, Unavailable, quoted
from wheelyard.model.project import Commit, Project
from wheelyard.storage.base import ABSENT, Store, Stored


@dataclass(frozen=True, slots=True)
class Projects:
    """The projects of an index."""

    store: Store
    documents: Documents[Project]
    names: Names
    commits: Commits

    def peek(self, name: NormalizedName, max_age: Age = "fresh") -> Snapshot[Project] | None:
        """Return the document if it is at hand and not too old, else None; never waits."""
        snapshot = self.documents.peek(keys.project(name), max_age)
        if snapshot is not None and snapshot.value is not None:
            return snapshot
        names = self.names.peek(max_age)
        return _nothing(names) if names is not None and not _lists(names, name) else None

    def load(self, name: NormalizedName) -> Snapshot[Project]:
        """
        Return the project's document, waiting for the store if need be.

        Raises:
            Unavailable: The store does not answer, or the document is damaged.
        """
        if not self.is_known(name):
            names = self.names.get()
            if not _lists(names, name):
                return _nothing(names)
        snapshot = self.documents.get(keys.project(name))
        if snapshot.value is None:
            # a name is listed after its document is there; it may have come just now
            snapshot = self.documents.get(keys.project(name), "now")
        if snapshot.value is None:
            raise _lost(name)
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
        """
        Return a project.

        Raises:
            NotFound: No file was ever uploaded under `name`.
        """
        snapshot = self.peek(name) or self.load(name)
        if snapshot.value is None:
            raise unknown_project(name)
        return snapshot.value

    def latest(self, name: NormalizedName) -> Project:
        """Return a project for a writer: its document, listed or not, or an empty project."""
        return self.unlisted(name).value or Project(name=name)

    def change(self, name: NormalizedName, intent: Intent) -> Committed:
        """
        Carry out `intent`, durably, see that the name is listed, and return what it has changed.

        Raises:
            IndexFault: The intent refused, or the store did not answer.
        """
        committed = self.commits.submit(name, intent)
        if committed.after.revision:
            self.names.ensure(name)
        return committed

    def journal(self, project: Project, after: int, last: int) -> Iterator[Commit]:
        """
        Yield the commits behind number `after`, up to number `last`, oldest first.

        The last one comes from the document itself: the journal may not have it yet.

        Raises:
            Unavailable: The store does not answer, or a commit is damaged.
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


def _lost(name: NormalizedName) -> Unavailable:
    # not "not found": installers take that for "not here", and go elsewhere
    return Unavailable(
        f"The document of {name} is lost. Run 'wheelyard check --rebuild', or restore it from a "
        "backup.",
        code=DAMAGED,
        short="A document of the index is damaged.",
    )


def _lists(names: Snapshot[NameList], name: NormalizedName) -> bool:
    return names.value is not None and name in names.value.known


def _nothing(names: Snapshot[NameList]) -> Snapshot[Project]:
    return Snapshot(None, ABSENT, names.checked_at, names.asked_at, 0)
