"""The packages of an index, the public ones, and the layers that are looked at in order."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.catalog.projects import Projects
from wheelyard.model.access import NamePatterns
from wheelyard.model.project import File, Project
from wheelyard.operations.search.search_index import SearchIndex
from wheelyard.repository.found_project import DocumentVersion, FoundProject
from wheelyard.storage.base import ABSENT

if TYPE_CHECKING:
    from wheelyard.repository.index_rules import IndexRules
    from wheelyard.upstream.indexes import UpstreamListing


class ProjectLookup:
    """
    A look for one name, which notes all that the answer follows from.

    Args:
        name: The name.
        moment: The moment (UTC) that is looked at, or None for now.
        public: The pages of upstream indexes, if the name is private in no layer.
    """

    def __init__(
        self,
        name: NormalizedName,
        moment: datetime | None = None,
        public: "tuple[UpstreamListing, ...]" = (),
    ) -> None:
        self.name = name
        self.moment = moment
        self.public = public
        self.made_from = list[DocumentVersion]()
        """All that the answer follows from, also what upper layers lack."""
        self.is_complete = True
        """Whether that is all of it."""
        self.projects_of = dict[str, tuple[FoundProject, ...]]()
        """What an index shows, by its name: it may be a layer of several others."""


class Repository(Struct, frozen=True):
    """Shows projects. One that overrides nothing shows none."""

    def find_projects(self, lookup: ProjectLookup) -> tuple[FoundProject, ...]:
        """
        Return where a private project is from: one, unless the name is merged.

        Raises Unavailable if the store does not answer, or a document is damaged.
        """
        del lookup
        return ()

    def find_public(self, lookup: ProjectLookup) -> "tuple[UpstreamListing, ...]":
        """
        Return what is shown of the public pages of a lookup.

        Raises Unavailable if the store does not answer.
        """
        del lookup
        return ()

    def own_packages(self) -> "tuple[Own, ...]":
        """Return the indexes whose own packages are shown, in the order of the layers."""
        return ()

    def public_rules(self, label: str) -> "tuple[IndexRules, ...] | None":
        """
        Return the rules that files of an upstream index pass, in order.

        It is None if none of them is shown.
        """
        del label
        return None

    @property
    def hides_files(self) -> bool:
        """Whether rules, or a day, may hide files."""
        return False

    def merge_patterns(self) -> tuple[NamePatterns, ...]:
        """Return which names may have files of several layers."""
        return ()


class Own(Repository, frozen=True):
    """The packages of an index itself."""

    name: str
    """The name of the index."""
    projects: Projects
    search: SearchIndex
    """The table of these packages."""

    def find_projects(self, lookup: ProjectLookup) -> tuple[FoundProject, ...]:
        """See `Repository`."""
        # noted before it is read: a name that is listed meanwhile ends the answer
        names = self.projects.names.peek("any")
        snapshot = self.projects.load(lookup.name)
        if snapshot.value is not None:
            if snapshot.version == ABSENT:  # listed, and without a document yet
                lookup.is_complete = False
            lookup.made_from.append(DocumentVersion("project", self.name, snapshot.version))
            return (FoundProject(self.name, self.projects, snapshot.value, snapshot.version),)
        if names is None:
            lookup.is_complete = False
        else:
            lookup.made_from.append(DocumentVersion("names", self.name, names.version))
        return ()

    def own_packages(self) -> "tuple[Own, ...]":
        """See `Repository`."""
        return (self,)


class Upstream(Repository, frozen=True):
    """The packages of one upstream index, or of the first of several that has a name."""

    labels: tuple[str, ...]
    """Of the indexes, in their order."""

    def find_public(self, lookup: ProjectLookup) -> "tuple[UpstreamListing, ...]":
        """See `Repository`."""
        by_label = {listing.origin.label: listing for listing in lookup.public}
        # one without a label says why no index was asked
        listings = [by_label[label] for label in ("", *self.labels) if label in by_label]
        return tuple(listings[:1])

    def public_rules(self, label: str) -> "tuple[IndexRules, ...] | None":
        """See `Repository`."""
        return () if label in {"", *self.labels} else None


class Layers(Repository, frozen=True):
    """The first of several repositories that has a name, or all for the names to merge."""

    layers: tuple[Repository, ...]
    merge: NamePatterns

    def find_projects(self, lookup: ProjectLookup) -> tuple[FoundProject, ...]:
        """See `Repository`."""
        projects = list[FoundProject]()
        later = list[FoundProject]()
        for layer in self.layers:
            for project in layer.find_projects(lookup):
                if project.came_later:
                    later.append(project)
                elif all(project is not other for other in projects):
                    projects.append(project)
            if projects and not self.merge.match(lookup.name):
                break
        # nothing else has the name: it is shown with the reasons that hide its files
        return tuple(projects or later[:1])

    def find_public(self, lookup: ProjectLookup) -> "tuple[UpstreamListing, ...]":
        """See `Repository`."""
        by_label: dict[str, UpstreamListing] = {}
        for layer in self.layers:
            for listing in layer.find_public(lookup):
                by_label.setdefault(listing.origin.label, listing)
            if by_label and not self.merge.match(lookup.name):
                break
        return tuple(by_label.values())

    def own_packages(self) -> tuple[Own, ...]:
        """See `Repository`."""
        by_index = dict[str, Own]()
        for layer in self.layers:
            for own in layer.own_packages():
                by_index.setdefault(own.name, own)
        return tuple(by_index.values())

    def public_rules(self, label: str) -> "tuple[IndexRules, ...] | None":
        """See `Repository`."""
        for layer in self.layers:
            rules = layer.public_rules(label)
            if rules is not None:
                return rules
        return None

    @property
    def hides_files(self) -> bool:
        """See `Repository`."""
        return any(layer.hides_files for layer in self.layers)

    def merge_patterns(self) -> tuple[NamePatterns, ...]:
        """See `Repository`."""
        below = [patterns for layer in self.layers for patterns in layer.merge_patterns()]
        return (self.merge, *below) if self.merge.texts else tuple(below)


def merged_project(projects: Sequence[Project]) -> Project:
    """
    Return one project with the files of several of one name, of which the first counts most.

    Its status is that of the first. A file that one of them has deleted, or has in quarantine,
    is not taken from one behind it.
    """
    first, *others = projects
    if not others:
        return first
    files = dict[str, File]()
    withheld = set[str]()
    for project in projects:
        if not project.status.serves_files:
            withheld.update(project.by_filename)
        for file in project.files:
            if file.filename not in withheld:
                files.setdefault(file.filename, file)
        withheld.update(project.deleted_filenames)
    listed = tuple(files[filename] for filename in sorted(files))
    return replace(first, files=listed)
