"""What one index shows, now or at the end of a day."""

from collections.abc import Iterator, Mapping
from datetime import date, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.catalog.document_cache import Snapshot
from wheelyard.catalog.projects import NameList
from wheelyard.concurrency.runtime import Runtime
from wheelyard.model.access import Action, Caller, NamePatterns
from wheelyard.model.index_name import end_of_day
from wheelyard.model.project import File, Project
from wheelyard.model.public_packages import FileReason
from wheelyard.operations.search.project_table import ProjectTable
from wheelyard.operations.search.search_index import SearchIndex
from wheelyard.rendering.project_facts import ProjectFacts
from wheelyard.repository.found_project import DocumentVersion, FoundProject
from wheelyard.repository.layers import (
    OwnPackages,
    ProjectLookup,
    Repository,
    earliest,
    merged_project,
)
from wheelyard.repository.tables import (
    FilteredTable,
    LayeredTable,
    ShownFactsReader,
    ShownProjects,
)
from wheelyard.storage.base import ObjectVersion

if TYPE_CHECKING:
    from wheelyard.repository.index_rules import IndexRules
    from wheelyard.upstream.indexes import UpstreamIndex, UpstreamListing
    from wheelyard.upstream.page import UpstreamFile


class ProjectSources(Struct, frozen=True, dict=True):
    """Where an index has a private project from."""

    projects: tuple[FoundProject, ...]
    """
    The project as each layer has it, in the order of the layers.

    One, unless the name is merged, and none if no layer has the name.
    """
    document_versions: tuple[DocumentVersion, ...] | None
    """
    The versions of all documents that this follows from, also of upper layers that lack the name.

    None if they are not all known.
    """

    @cached_property
    def merged(self) -> Project:
        """The project with the files of all layers. At least one layer has to have the project."""
        return merged_project([source.project for source in self.projects])

    @property
    def hidden(self) -> Mapping[str, tuple[File, FileReason]]:
        """The files of all layers that are hidden, and why, by filename."""
        hidden = dict[str, tuple[File, FileReason]]()
        for source in self.projects:
            hidden.update(source.hidden)
        if not hidden:
            return hidden
        # a layer may hide a file that another one shows
        for filename in self.merged.by_filename:
            hidden.pop(filename, None)
        return hidden

    @property
    def changes_at(self) -> datetime | None:
        """When time alone may show other files, or None if it never does."""
        return earliest(source.changes_at for source in self.projects)

    @property
    def is_filtered(self) -> bool:
        """Whether rules or a day decide which files are shown."""
        return any(source.is_filtered for source in self.projects)


class ListedNames(Struct, frozen=True):
    """The names of the private projects that an index shows."""

    lists: tuple[tuple[str, Snapshot[NameList]], ...] = ()
    """The names of the indexes that are layers, each with its list, if no rules decide."""
    table: ProjectTable | None = None
    """The projects of which rules show a file, if rules decide."""

    @property
    def document_versions(self) -> tuple[DocumentVersion, ...]:
        """The versions of all lists, or of the table, that the names follow from."""
        if self.table is not None:
            table_version = ObjectVersion(str(self.table.generation))
            return (DocumentVersion("table", "", table_version),)
        return tuple(DocumentVersion("names", index, names.version) for index, names in self.lists)

    @property
    def version(self) -> str:
        """A text that changes with the names."""
        return " ".join(document.version for document in self.document_versions)

    def readable_by(self, caller: Caller) -> tuple[NormalizedName, ...]:
        """Return the names that a caller may read, sorted."""
        if self.table is not None:
            readable_projects = self.table.readable_by(caller).private
            return tuple(facts.name for facts in readable_projects)
        all_names = self._all_names()
        if caller.may_everywhere(Action.READ):
            return all_names
        return tuple(name for name in all_names if caller.may(Action.READ, name))

    def _all_names(self) -> tuple[NormalizedName, ...]:
        """Return the names of all lists, sorted."""
        name_lists = [names.value.names for _, names in self.lists if names.value is not None]
        # the list of one index, which may be long, is sorted already
        if len(name_lists) == 1:
            return name_lists[0]
        all_names = set[NormalizedName]().union(*name_lists)
        return tuple(sorted(all_names))


class IndexRepository(Repository, frozen=True, dict=True):
    """
    What one index shows, also as a layer of another one. Threads may share it.

    Args:
        name: The name of the index.
        composed: The own packages, layers and rules of the index, put together.
        search: The table of its own packages, and of public packages if the index shows them.
        upstream: The upstream indexes, or None if the index shows no packages of them.
        runtime: Says what time it is.
        is_local: Whether a read of the store needs no other thread.
        generations: Gives each table of projects another number.
        day: The day at whose end (UTC) the index is shown, or None for now.
        table: The table of the projects of a static site, or None for all projects.
    """

    name: str
    composed: Repository
    search: SearchIndex
    upstream: "UpstreamIndex | None"
    runtime: Runtime
    is_local: bool
    generations: Iterator[int]
    day: date | None = None
    table: ShownProjects | None = None

    def find(self, name: NormalizedName) -> ProjectSources:
        """
        Return from which layers a private project is. No connection is opened but to the store.

        The result has no project if nothing that is shown has the name. Raises Unavailable if the
        store does not answer, or a document is damaged.
        """
        lookup = ProjectLookup(name, self.moment)
        projects = self.find_projects(lookup)
        document_versions: tuple[DocumentVersion, ...] | None = None
        if lookup.has_all_versions:
            document_versions = tuple(lookup.document_versions)
        return ProjectSources(projects, document_versions)

    def filter_public(
        self, listings: "tuple[UpstreamListing, ...]"
    ) -> "tuple[UpstreamListing, ...]":
        """
        Return what layers and rules show of the listings that upstream indexes have of a project.

        It is one listing, unless the name is merged, and none if the layers have just changed. The
        first use of an exception from the cooldown is written. Raises Unavailable if the store does
        not answer.
        """
        if not listings:
            return ()
        return self.find_public(ProjectLookup(listings[0].name, self.moment, listings))

    def lacks_licences(self, listing: "UpstreamListing") -> bool:
        """
        Return whether rules need licences of a public project that nobody knows yet.

        Only the newest releases of the project count. The first use of an exception from the
        cooldown is written. Raises Unavailable if the store does not answer.
        """
        index_rules = self._rules_of(listing)
        return any(rules.unknown_licences(listing, self.moment) for rules in index_rules)

    def look_up_licences(self, listing: "UpstreamListing") -> None:
        """
        Look up the licences that rules need of the newest releases of a public project.

        Core metadata may be fetched for that. A licence that cannot be had now stays unknown. The
        first use of an exception from the cooldown is written. Raises Unavailable if the store does
        not answer.
        """
        # in a thread that may wait for other servers, and in no handler
        for rules in self._rules_of(listing):
            rules.look_up_licences(listing, self.moment)

    def judges_before_sending(self, listing: "UpstreamListing", file: "UpstreamFile") -> bool:
        """Return whether a public file has to be judged by `refusal_of_file` before it is sent."""
        index_rules = self._rules_of(listing)
        # a file that the page has lost since, which a client may still ask for by its URL
        if not _is_on_page(file, listing):
            return bool(index_rules)
        return any(rules.judges_before_sending for rules in index_rules)

    def refusal_of_file(
        self, listing: "UpstreamListing", file: "UpstreamFile"
    ) -> FileReason | None:
        """
        Return why rules refuse a public file, or None if it may be sent.

        Its core metadata and provenance may be fetched. A licence that hides the file is noted in
        the store, and so is the first use of an exception from the cooldown. Raises Unavailable if
        metadata or provenance cannot be had now, or the store does not answer.
        """
        is_listed = _is_on_page(file, listing)
        for rules in self._rules_of(listing):
            if rules.judges_before_sending or not is_listed:
                refusal = rules.refusal_of_file(listing, file, self.moment)
                if refusal is not None:
                    return refusal
        return None

    def names(self) -> ListedNames:
        """
        Return the names of the private projects that are shown.

        Raises Unavailable if the store does not answer.
        """
        # a name whose files are all hidden is not listed, and a list of names cannot say that
        if self.hides_files:
            table = self.shown_projects.peek()
            if table is None:
                table = self.shown_projects.table()
            return ListedNames(table=table)
        lists = list[tuple[str, Snapshot[NameList]]]()
        for layer in self.own_packages():
            lists.append((layer.name, layer.projects.names.get()))
        return ListedNames(tuple(lists))

    @cached_property
    def shown_projects(self) -> ShownProjects:
        """Gives the table of all projects that are shown."""
        if self.table is not None:
            return self.table
        unfiltered: ShownProjects = self.search
        if not self.has_own_packages_alone:
            layer_tables = [layer.search for layer in self.own_packages()]
            unfiltered = LayeredTable(self.search, layer_tables, self.generations)
        if not self.hides_files and not self.merge_patterns():
            return unfiltered
        reader = self._facts_reader
        return FilteredTable(unfiltered, reader, self.generations, is_local=self.is_local)

    def shown_facts(self, facts: ProjectFacts) -> ProjectFacts | None:
        """
        Return the facts of a project as they are shown, or None if no file of the project is.

        `facts` are those of the first layer that has the project, without rules. Of a public
        project the first use of an exception from the cooldown is written. Raises Unavailable if
        the store does not answer. Raises Invalid (code `bad_setting`) if no database of advisories
        can be used.
        """
        return self._facts_reader.read(facts).shown

    def summary_of(self, sources: ProjectSources) -> str:
        """
        Return the summary of the latest release that is shown of a private project.

        It is empty if no file is shown. Raises Unavailable if the store does not answer.
        """
        facts = self._facts_reader.facts_of(sources.projects)
        if facts is None:
            return ""
        return facts.summary

    @property
    def has_own_packages_alone(self) -> bool:
        """Whether the own packages of no other index are shown."""
        return all(layer.name == self.name for layer in self.own_packages())

    @property
    def moment(self) -> datetime | None:
        """The moment (UTC) that is shown: the end of a day that is over, or None for now."""
        if self.day is None:
            return None
        end = end_of_day(self.day)
        # today is shown as it is now, until it is over
        if end >= self.runtime.now():
            return None
        return end

    def find_projects(self, lookup: ProjectLookup) -> tuple[FoundProject, ...]:
        """Return the private project of a lookup, from each layer that shows it."""
        # once in a lookup: the index may be a layer of several layers
        projects = lookup.projects_by_index.get(self.name)
        if projects is None:
            projects = self.composed.find_projects(lookup)
            lookup.projects_by_index[self.name] = projects
        return projects

    def find_public(self, lookup: ProjectLookup) -> "tuple[UpstreamListing, ...]":
        """Return what is shown of the public pages of a lookup."""
        return self.composed.find_public(lookup)

    def own_packages(self) -> tuple[OwnPackages, ...]:
        """Return the indexes whose own packages are shown, in the order of the layers."""
        return tuple(self.own_by_name.values())

    @cached_property
    def own_by_name(self) -> Mapping[str, OwnPackages]:
        """The indexes whose own packages are shown, by name, in the order of the layers."""
        return {layer.name: layer for layer in self.composed.own_packages()}

    def public_rules(self, label: str) -> "tuple[IndexRules, ...] | None":
        """Return the rules that the files of an upstream index pass, or None if none are shown."""
        return self.composed.public_rules(label)

    def _rules_of(self, listing: "UpstreamListing") -> "tuple[IndexRules, ...]":
        """Return the rules that the files of a public project pass here, in order."""
        return self.public_rules(listing.origin.label) or ()

    @cached_property
    def hides_files(self) -> bool:
        """Whether rules, or a day, may hide files."""
        return self.composed.hides_files

    def merge_patterns(self) -> tuple[NamePatterns, ...]:
        """Return which names may have files of several layers."""
        return self.composed.merge_patterns()

    @cached_property
    def _facts_reader(self) -> ShownFactsReader:
        return ShownFactsReader(
            self.composed,
            self.upstream,
            self.runtime,
            lambda: self.moment,
            is_past=self.day is not None,
        )


def _is_on_page(file: "UpstreamFile", listing: "UpstreamListing") -> bool:
    """Return whether the page of a listing has a file, as the same object."""
    return listing.origin.page.by_filename.get(file.filename) is file
