"""The packages of an index, the public ones, and the layers that are looked at in order."""

from collections.abc import Iterable, Sequence
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
        """The versions by which a cached answer is validated, also of what upper layers lack."""
        self.is_complete = True
        """Whether these are all. An answer without all of them is not cached."""
        # a lookup lives as long as one request, in one thread
        self.projects_of = dict[str, tuple[FoundProject, ...]]()
        """What an index shows, by its name: it may be a layer of several others."""


class Repository(Struct, frozen=True):
    """Shows projects. One that overrides nothing shows none."""

    def find_projects(self, lookup: ProjectLookup) -> tuple[FoundProject, ...]:
        """
        Return where a private project is from: one, unless the name is merged.

        There is none if nothing shown has the name. The lookup notes what the answer follows from.
        Raises Unavailable if the store does not answer, or a document is damaged.
        """
        del lookup
        return ()

    def find_public(self, lookup: ProjectLookup) -> "tuple[UpstreamListing, ...]":
        """
        Return what is shown of the public pages of a lookup.

        It is one listing, unless the name is merged, and none if no page is shown. Raises
        Unavailable if the store does not answer.
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
        """
        Return the project of a lookup, or nothing if the index has none of its own.

        The lookup notes the version of the document that says so. Without one it is not complete.
        Raises Unavailable if the store does not answer, or a document is damaged.
        """
        # before the document is read: a name that is listed meanwhile ends the cached answer
        names = self.projects.names.peek("any")
        snapshot = self.projects.load(lookup.name)
        if snapshot.value is not None:
            # listed, and without a document yet: no version would show that one was written
            if snapshot.version == ABSENT:
                lookup.is_complete = False
            lookup.made_from.append(DocumentVersion("project", self.name, snapshot.version))
            return (FoundProject(self.name, self.projects, snapshot.value, snapshot.version),)
        # without a document, the list of names validates the answer: it lacks the name
        if names is None:
            lookup.is_complete = False
        else:
            lookup.made_from.append(DocumentVersion("names", self.name, names.version))
        return ()

    def own_packages(self) -> "tuple[Own, ...]":
        """Return the indexes whose own packages are shown, in the order of the layers."""
        return (self,)


class Upstream(Repository, frozen=True):
    """The packages of one upstream index, or of the first of several that has a name."""

    labels: tuple[str, ...]
    """Of the indexes, in their order."""

    def find_public(self, lookup: ProjectLookup) -> "tuple[UpstreamListing, ...]":
        """Return what is shown of the public pages of a lookup."""
        by_label = {listing.origin.label: listing for listing in lookup.public}
        # one without a label says why no index was asked
        for label in ("", *self.labels):
            if label in by_label:
                return (by_label[label],)
        return ()

    def public_rules(self, label: str) -> "tuple[IndexRules, ...] | None":
        """Return the rules that files of an upstream index pass, or None if none is shown."""
        # its own policy has judged the page already: no rule of an index does it here
        if not label or label in self.labels:
            return ()
        return None


class Layers(Repository, frozen=True):
    """The first of several repositories that has a name, or all for the names to merge."""

    layers: tuple[Repository, ...]
    merge: NamePatterns

    def find_projects(self, lookup: ProjectLookup) -> tuple[FoundProject, ...]:
        """
        Return where a private project is from: one project, unless the name is merged.

        A project that came after the day that is looked at counts only if no layer has another one.
        Raises Unavailable if the store does not answer, or a document is damaged.
        """
        projects = list[FoundProject]()
        later = list[FoundProject]()
        for layer in self.layers:
            for project in layer.find_projects(lookup):
                if project.came_later:
                    later.append(project)
                # two layers may show one index, whose project is the same object in a lookup
                elif not any(project is earlier for earlier in projects):
                    projects.append(project)
            # what is behind the first that has it stays unread, so nobody can add files from there
            if projects and not self.merge.match(lookup.name):
                break
        # nothing else has the name: it is shown with the reasons that hide its files
        return tuple(projects or later[:1])

    def find_public(self, lookup: ProjectLookup) -> "tuple[UpstreamListing, ...]":
        """Return what is shown of the public pages of a lookup."""
        by_label: dict[str, UpstreamListing] = {}
        for layer in self.layers:
            for listing in layer.find_public(lookup):
                by_label.setdefault(listing.origin.label, listing)
            if by_label and not self.merge.match(lookup.name):
                break
        return tuple(by_label.values())

    def own_packages(self) -> tuple[Own, ...]:
        """Return the indexes whose own packages are shown, in the order of the layers."""
        by_index = dict[str, Own]()
        for layer in self.layers:
            for own in layer.own_packages():
                by_index.setdefault(own.name, own)
        return tuple(by_index.values())

    def public_rules(self, label: str) -> "tuple[IndexRules, ...] | None":
        """Return the rules that files of an upstream index pass, or None if none is shown."""
        for layer in self.layers:
            rules = layer.public_rules(label)
            if rules is not None:
                return rules
        return None

    @property
    def hides_files(self) -> bool:
        """Whether rules, or a day, may hide files."""
        return any(layer.hides_files for layer in self.layers)

    def merge_patterns(self) -> tuple[NamePatterns, ...]:
        """Return which names may have files of several layers."""
        patterns = list[NamePatterns]()
        if self.merge.texts:
            patterns.append(self.merge)
        for layer in self.layers:
            patterns += layer.merge_patterns()
        return tuple(patterns)


def merged_project(projects: Sequence[Project]) -> Project:
    """
    Return one project with the files of several of one name, of which the first counts most.

    There has to be one. Its status is that of the first. A file that one of them has deleted, or
    has in quarantine, is not taken from one behind it.
    """
    first = projects[0]
    if len(projects) == 1:
        return first
    files = dict[str, File]()
    withheld = set[str]()
    for project in projects:
        # before its own files: those of a project in quarantine are not served either
        if not project.status.serves_files:
            withheld.update(project.by_filename)
        for file in project.files:
            if file.filename not in withheld:
                files.setdefault(file.filename, file)
        # after its own files: only what is behind it must not bring a deleted name back
        withheld.update(project.deleted_filenames)
    listed = tuple(files[filename] for filename in sorted(files))
    return replace(first, files=listed)


def earliest(times: Iterable[datetime | None]) -> datetime | None:
    """Return the first of some times at which an answer may change, or None if it never does."""
    return min((time for time in times if time is not None), default=None)
