"""The parts of what an index shows: own packages, public packages, and the layers in order."""

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
    The lookup of one name, which notes the versions of all documents that its answer follows from.

    Args:
        name: The name.
        moment: The moment (UTC) that is looked at, or None for now.
        public_listings: The pages of upstream indexes, if the name is private in no layer.
    """

    def __init__(
        self,
        name: NormalizedName,
        moment: datetime | None = None,
        public_listings: "tuple[UpstreamListing, ...]" = (),
    ) -> None:
        self.name = name
        self.moment = moment
        self.public_listings = public_listings
        self.document_versions = list[DocumentVersion]()
        """
        The versions by which a cached answer is validated.

        Those of upper layers that lack the name are among them.
        """
        self.has_all_versions = True
        """Whether no version is missing there. An answer without all of them is not cached."""
        # a lookup lives as long as one request, in one thread
        self.projects_by_index = dict[str, tuple[FoundProject, ...]]()
        """The projects that an index shows, by its name: it may be a layer of several others."""


class Repository(Struct, frozen=True):
    """Shows projects. A subclass that overrides nothing shows none."""

    def find_projects(self, lookup: ProjectLookup) -> tuple[FoundProject, ...]:
        """
        Return the private project of a lookup, from each layer that shows it.

        It is one project, unless the name is merged, and none if nothing that is shown has the
        name. The lookup notes what the answer follows from. Raises Unavailable if the store does
        not answer, or a document is damaged.
        """
        del lookup
        return ()

    def find_public(self, lookup: ProjectLookup) -> "tuple[UpstreamListing, ...]":
        """
        Return what is shown of the public pages of a lookup.

        It is one listing, unless the name is merged, and no listing if no page is shown. Raises
        Unavailable if the store does not answer.
        """
        del lookup
        return ()

    def own_packages(self) -> "tuple[OwnPackages, ...]":
        """Return the indexes whose own packages are shown, in the order of the layers."""
        return ()

    def public_rules(self, label: str) -> "tuple[IndexRules, ...] | None":
        """
        Return the rules that the files of an upstream index pass, in order.

        Return None if no file of that upstream index is shown.
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


class OwnPackages(Repository, frozen=True):
    """The packages that were published to an index itself."""

    name: str
    """The name of the index."""
    projects: Projects
    search: SearchIndex
    """The table of these packages."""

    def find_projects(self, lookup: ProjectLookup) -> tuple[FoundProject, ...]:
        """
        Return the project of a lookup, or nothing if the index has none of its own.

        The lookup notes the version of the document that says so, or that no version says it.
        Raises Unavailable if the store does not answer, or a document is damaged.
        """
        # before the document is read: a name that is listed meanwhile ends the cached answer
        names = self.projects.names.peek("any")
        snapshot = self.projects.load(lookup.name)
        if snapshot.value is not None:
            # listed, and without a document yet: no version would show that one was written
            if snapshot.version == ABSENT:
                lookup.has_all_versions = False
            document = DocumentVersion("project", self.name, snapshot.version)
            lookup.document_versions.append(document)
            return (FoundProject(self.name, self.projects, snapshot.value, snapshot.version),)
        # without a document, the list of names validates the answer: it lacks the name
        if names is None:
            lookup.has_all_versions = False
        else:
            name_list = DocumentVersion("names", self.name, names.version)
            lookup.document_versions.append(name_list)
        return ()

    def own_packages(self) -> "tuple[OwnPackages, ...]":
        """Return the indexes whose own packages are shown, in the order of the layers."""
        return (self,)


class UpstreamPackages(Repository, frozen=True):
    """The packages of one upstream index, or of the first of several that has a name."""

    labels: tuple[str, ...]
    """The labels of the upstream indexes, in their order."""

    def find_public(self, lookup: ProjectLookup) -> "tuple[UpstreamListing, ...]":
        """Return what is shown of the public pages of a lookup."""
        by_label = {listing.origin.label: listing for listing in lookup.public_listings}
        # a listing without a label says why no index was asked
        for label in ("", *self.labels):
            if label in by_label:
                return (by_label[label],)
        return ()

    def public_rules(self, label: str) -> "tuple[IndexRules, ...] | None":
        """Return no rules for an upstream index of these labels, and None for another one."""
        # `[upstream]` has a policy of its own, which has judged the page already
        if not label or label in self.labels:
            return ()
        return None


class LayeredRepository(Repository, frozen=True):
    """The first of several repositories that has a name, or all for the names to merge."""

    layers: tuple[Repository, ...]
    merged_names: NamePatterns
    """The names that may have files of several layers."""

    def find_projects(self, lookup: ProjectLookup) -> tuple[FoundProject, ...]:
        """
        Return the private project of a lookup, from the first layer that shows it.

        If the name is merged, it is from each layer that shows it. A project that came after the
        day that is looked at counts only if no layer has another one. Raises Unavailable if the
        store does not answer, or a document is damaged.
        """
        projects = list[FoundProject]()
        projects_after_day = list[FoundProject]()
        for layer in self.layers:
            for project in layer.find_projects(lookup):
                if project.is_after_day:
                    projects_after_day.append(project)
                # two layers may show one index, whose project is the same object in a lookup
                elif not any(project is earlier_project for earlier_project in projects):
                    projects.append(project)
            # the layers behind that with the name stay unread, so nobody can add files from there
            if projects and not self.merged_names.match(lookup.name):
                break
        if projects:
            return tuple(projects)
        # no other project has the name: the first is shown with the reasons that hide its files
        return tuple(projects_after_day[:1])

    def find_public(self, lookup: ProjectLookup) -> "tuple[UpstreamListing, ...]":
        """Return what is shown of the public pages of a lookup."""
        by_label: dict[str, UpstreamListing] = {}
        for layer in self.layers:
            for listing in layer.find_public(lookup):
                by_label.setdefault(listing.origin.label, listing)
            if by_label and not self.merged_names.match(lookup.name):
                break
        return tuple(by_label.values())

    def own_packages(self) -> tuple[OwnPackages, ...]:
        """Return the indexes whose own packages are shown, in the order of the layers."""
        by_index = dict[str, OwnPackages]()
        for layer in self.layers:
            for packages in layer.own_packages():
                by_index.setdefault(packages.name, packages)
        return tuple(by_index.values())

    def public_rules(self, label: str) -> "tuple[IndexRules, ...] | None":
        """Return the rules of the first layer that shows an upstream index, or None without one."""
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
        if self.merged_names.texts:
            patterns.append(self.merged_names)
        for layer in self.layers:
            patterns += layer.merge_patterns()
        return tuple(patterns)


def merged_project(projects: Sequence[Project]) -> Project:
    """
    Return one project with the files of several projects of one name, of which the first counts.

    `projects` has one project at least. The result has the status of the first. A file that a
    project has deleted, or has in quarantine, is not taken from a project behind it.
    """
    first = projects[0]
    if len(projects) == 1:
        return first
    files = dict[str, File]()
    withheld = set[str]()
    for project in projects:
        # before its files are taken: a project in quarantine does not serve them
        if not project.status.serves_files:
            withheld.update(project.by_filename)
        for file in project.files:
            if file.filename not in withheld:
                files.setdefault(file.filename, file)
        # after its files are taken: only projects behind it must not bring a deleted name back
        withheld.update(project.deleted_filenames)
    ordered_files = tuple(files[filename] for filename in sorted(files))
    return replace(first, files=ordered_files)


def earliest(times: Iterable[datetime | None]) -> datetime | None:
    """Return the first of the times at which an answer may change, or None if there is none."""
    return min((time for time in times if time is not None), default=None)
