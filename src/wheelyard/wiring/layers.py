"""
Where an index has a private project from: the search through its layers, and what views hide.

The first layer that has the name hides those below, unless the index merges the name. A layer whose
view hides each file of a project has it all the same. A layer that has got its files after the day
of a view did not have the name yet.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Literal, NamedTuple

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.model.index_name import UPSTREAM_LAYER
from wheelyard.model.project import File, Project
from wheelyard.model.public_packages import FileReason
from wheelyard.storage.base import ABSENT, ObjectVersion
from wheelyard.wiring.index import Index

if TYPE_CHECKING:
    from wheelyard.views.view import View


class Home(Struct, frozen=True):
    """A project in the index that has it, by one version of its document."""

    index: Index
    project: Project
    """With the files that views do not hide."""
    version: ObjectVersion
    """Another one for each other content, also of what views hide. ABSENT without a document."""
    hidden: Mapping[str, tuple[File, FileReason]] = {}
    """The files that views hide, and why, by filename."""
    changes_at: datetime | None = None
    """When a view may show something else by time alone, or None if it never does."""
    came_later: bool = False
    """Whether all of it came after the day that is looked at."""


class Seen(NamedTuple):
    """A version of a document that an answer follows from."""

    kind: Literal["project", "names"]
    """The document of the project, or the list of names that lacks it."""
    place: str
    """The name of the index."""
    version: ObjectVersion


class LayerSearch:
    """
    Looks for a project in the layers of an index, and notes all that the answer follows from.

    The constructor raises Unavailable if the store does not answer, or a document is damaged.
    """

    def __init__(self, index: Index, name: NormalizedName) -> None:
        self._name = name
        self._day, self._at = index.definition.day, index.moment
        self._view_of_day = index.day_view
        self._of_layers = dict[str, tuple[Home, ...]]()
        """What was found in an index, by its name: several layers may have the same one."""
        self.seen = list[Seen]()
        """All that the answer follows from, also what upper layers lack."""
        self.is_certain = True
        """Whether that is complete."""
        self.homes = tuple(self._homes(index))
        """Where the project is from, in the order of the layers: one, unless it is merged."""

    def _homes(self, index: Index) -> tuple[Home, ...]:
        """Return where an index has the project from, with what its views show."""
        homes = self._of_layers.get(index.name)
        if homes is None:
            homes = tuple(self._in_layers(index))
            for view in index.views:
                homes = tuple(_viewed(home, view, self._at) for home in homes)
            self._of_layers[index.name] = homes
        return homes

    def _in_layers(self, index: Index) -> Sequence[Home]:
        definition = index.definition
        homes, later = list[Home](), list[Home]()
        for layer in definition.layers:
            if layer == UPSTREAM_LAYER:
                continue
            is_own = layer == definition.name
            of_layer = self._own(index) if is_own else self._homes(index.named(layer))
            later += [home for home in of_layer if home.came_later]
            for home in of_layer:
                if not home.came_later and all(home is not other for other in homes):
                    homes.append(home)
            if homes and not definition.merge.match(self._name):
                break
        # the name has no other place: it is shown with what hides its files
        return homes or later[:1]

    def _own(self, index: Index) -> tuple[Home, ...]:
        """Return the project among an index's own packages, or nothing if it is not there."""
        # noted before it is read: a name that is listed meanwhile ends the answer
        names = index.projects.names.peek("any")
        snapshot = index.projects.load(self._name)
        if snapshot.value is not None:
            if snapshot.version == ABSENT:  # listed, and without a document yet
                self.is_certain = False
            self.seen.append(Seen("project", index.name, snapshot.version))
            home = Home(index, snapshot.value, snapshot.version)
            if self._view_of_day is None or self._day is None:
                return (home,)
            return (self._on_the_day(home, self._view_of_day, self._day),)
        if names is None:
            self.is_certain = False
        else:
            self.seen.append(Seen("names", index.name, names.version))
        return ()

    def _on_the_day(self, home: Home, view: "View", day: date) -> Home:
        """Return a project as it was at the end of a day, which a view shows."""
        viewed = _viewed(home, view, self._at)
        came_later = not viewed.project.files and _came_later(home.project, day)
        return replace(viewed, came_later=came_later)


def _came_later(project: Project, day: date) -> bool:
    """Return whether all of a project came after a day, as far as its document says when."""
    trash = frozenset(file.filename for file in project.trash)
    if not trash.issuperset(project.deleted_filenames):
        return False  # what was deleted for good may have been there
    files = (*project.files, *project.trash)
    times = [file.promoted_at or file.uploaded_at for file in files]
    if not files and project.commit is not None and project.revision == 1:
        times = [event.at for event in project.commit.events]  # as of a reserved name
    return bool(times) and all(time.date() > day for time in times)


def _viewed(home: Home, view: "View", at: datetime | None) -> Home:
    """Return a project with the files that a view shows, now or at another moment."""
    viewed = view.of_private(home.project, home.version, at)
    judged = viewed.judged
    times = filter(None, (home.changes_at, judged.changes_at))
    files = home.project.by_filename
    hidden = {filename: (files[filename], reason) for filename, reason in judged.hidden.items()}
    return replace(
        home,
        project=replace(home.project, files=judged.shown) if hidden else home.project,
        version=ObjectVersion(f"{home.version} {viewed.digest}") if hidden else home.version,
        hidden={**home.hidden, **hidden},
        changes_at=min(times, default=None),
    )


def merged(projects: Sequence[Project]) -> Project:
    """
    Return one project with the files of several of one name, of which the first counts most.

    Its status is that of the first. A file that one of them has deleted, or has in quarantine,
    is not taken from one behind it.
    """
    first, *others = projects
    if not others:
        return first
    files, withheld = dict[str, File](), set[str]()
    for project in projects:
        if not project.status.serves_files:
            withheld.update(project.by_filename)
        for file in project.files:
            if file.filename not in withheld:
                files.setdefault(file.filename, file)
        withheld.update(project.deleted_filenames)
    listed = tuple(files[filename] for filename in sorted(files))
    return replace(first, files=listed)
