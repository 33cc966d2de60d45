"""The tables of all projects that an index shows, for searches and lists."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from threading import Lock
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.concurrency.runtime import Runtime
from wheelyard.concurrency.threads import PREFETCH_THREADS, prefetch_map
from wheelyard.errors import UNREADABLE_CODES, Unavailable
from wheelyard.operations.search.project_table import ProjectTable
from wheelyard.rendering.listing import ShownFile, ShownProject
from wheelyard.rendering.project_facts import (
    ProjectFacts,
    ReleaseOf,
    facts_of,
    latest_release,
    releases_of,
)
from wheelyard.repository.found_project import FoundProject
from wheelyard.repository.layers import ProjectLookup, Repository, earliest, merged_project

if TYPE_CHECKING:
    from wheelyard.upstream.indexes import UpstreamIndex

F = TypeVar("F", bound=ShownFile)
FIRST_GENERATION: Final = 1 << 40
"""The generation of the first table of several indexes, which no table of one index ever has."""
PUBLIC_PAUSE: Final = timedelta(minutes=1)
"""The least time from one look at a public project to the next while its page stays the same."""
UNREADABLE_PAUSE: Final = timedelta(seconds=5)
"""How long a project that cannot be read is left out before it is read again."""


class ShownProjects(Protocol):
    """Gives the table of all projects that an index shows, for searches and lists."""

    def peek(self) -> ProjectTable | None:
        """Return the table if it needs no work now, else None, without reading the store."""

    def table(self) -> ProjectTable:
        """Return the table. Raises Unavailable if there is none, and the store does not answer."""

    @property
    def in_memory(self) -> ProjectTable:
        """The table as this process has it, which may be outdated, without reading the store."""


class LayeredTable:
    """
    The projects of several indexes: of each name the project of the first index that has it.

    Threads may share it.

    Args:
        own_projects: The table of the index itself, the only one whose public projects are shown.
        layers: The tables of all indexes whose own packages the index shows, in order.
        generations: Gives each table another number.
    """

    def __init__(
        self,
        own_projects: ShownProjects,
        layers: Sequence[ShownProjects],
        generations: Iterator[int],
    ) -> None:
        self._own_projects = own_projects
        self._layers = layers
        self._new_generations = generations
        self._lock = Lock()
        """Held while the table is made, so that threads that need it make it once."""
        self._merged_generations = tuple[int, ...]()
        """The generations of the tables that `_merged` was made from."""
        self._merged = ProjectTable()

    def peek(self) -> ProjectTable | None:
        """Return the table if it needs no work now, else None, without reading the store."""
        own_table = self._own_projects.peek()
        if own_table is None:
            return None
        layer_tables = list[ProjectTable]()
        for layer in self._layers:
            table = layer.peek()
            if table is None:
                return None
            layer_tables.append(table)
        return self._merge(own_table, layer_tables)

    def table(self) -> ProjectTable:
        """Return the table, made again if anything in it has changed."""
        own_table = self._own_projects.table()
        layer_tables = [layer.table() for layer in self._layers]
        return self._merge(own_table, layer_tables)

    @property
    def in_memory(self) -> ProjectTable:
        """The table as this process has it, which may be outdated, without reading the store."""
        own_table = self._own_projects.in_memory
        layer_tables = [layer.in_memory for layer in self._layers]
        return self._merge(own_table, layer_tables)

    def _merge(self, own_table: ProjectTable, layer_tables: Sequence[ProjectTable]) -> ProjectTable:
        """Return the table of all projects, made again only if one of the tables has changed."""
        layer_generations = [table.generation for table in layer_tables]
        generations = (own_table.generation, *layer_generations)
        with self._lock:
            if generations != self._merged_generations:
                projects = _merged_projects(own_table, layer_tables)
                self._merged = ProjectTable(projects, generation=next(self._new_generations))
                self._merged_generations = generations
            return self._merged


def _merged_projects(
    own_table: ProjectTable, layer_tables: Sequence[ProjectTable]
) -> tuple[ProjectFacts, ...]:
    """Return the private projects of all layers, and the public projects of `own_table`."""
    projects = dict[NormalizedName, ProjectFacts]()
    for table in layer_tables:
        for facts in table.projects:
            if not facts.origin:
                projects.setdefault(facts.name, facts)
    # last: a name that is private in any layer is never that of a public project
    for facts in own_table.projects:
        if facts.origin:
            projects.setdefault(facts.name, facts)
    return tuple(projects[name] for name in sorted(projects))


class ShownFacts(Struct, frozen=True):
    """What a repository shows of one project."""

    in_first_layer: ProjectFacts
    """The facts of the first layer that has the project, without rules."""
    shown: ProjectFacts | None
    """The facts as the repository shows them, or None if it shows no file of the project."""
    changes_at: datetime | None
    """When time alone may change what is shown, or None if it never does."""


class ShownFactsReader(Struct, frozen=True):
    """
    Reads the facts of projects as a repository shows them.

    Args:
        repository: The repository.
        upstream: The upstream indexes, or None if the repository shows no packages of them.
        runtime: Says what time it is.
        moment: Returns the moment (UTC) that is shown, or None for now.
        is_past: Whether a day is shown, on which yanks and status may be others, and the first
            layer may not have had a name yet.
    """

    repository: Repository
    upstream: "UpstreamIndex | None"
    runtime: Runtime
    moment: Callable[[], datetime | None]
    is_past: bool

    def follows_from_layers(self, facts: ProjectFacts) -> bool:
        """Return whether more than the first layer decides what is shown of a project."""
        if facts.origin:
            return False
        # a change in another layer than the first is no change of these facts
        has_layers = len(self.repository.own_packages()) > 1
        return (self.is_past and has_layers) or self._is_merged(facts)

    def _is_merged(self, facts: ProjectFacts) -> bool:
        """Return whether a private project may have files of several layers."""
        if facts.origin:
            return False
        return any(names.match(facts.name) for names in self.repository.merge_patterns())

    def read(self, facts: ProjectFacts) -> ShownFacts:
        """
        Return what is shown of a project, by its facts in the first layer that has the project.

        Rules show nothing of a project that cannot be read. Without rules, such a project is shown
        as its first layer has it. Of a public project the first use of an exception from the
        cooldown is written. Raises Unavailable if the store does not answer. Raises Invalid (code
        `bad_setting`) if no database of advisories can be used.
        """
        if not (self.repository.hides_files or self._is_merged(facts)):
            return ShownFacts(facts, facts, None)
        try:
            if facts.origin:
                return self._read_public(facts)
            return self._read_private(facts)
        except Unavailable as fault:
            if fault.code not in UNREADABLE_CODES:
                raise
            # one damaged project must not take the list of all others away
            shown = None if self.repository.hides_files else facts
            return ShownFacts(facts, shown, self.runtime.now() + UNREADABLE_PAUSE)

    def _read_private(self, facts: ProjectFacts) -> ShownFacts:
        """Return what is shown of a private project."""
        lookup = ProjectLookup(facts.name, self.moment())
        found_projects = self.repository.find_projects(lookup)
        if not found_projects:
            return ShownFacts(facts, None, None)
        changes_at = earliest(found_project.changes_at for found_project in found_projects)
        first = found_projects[0]
        is_of_one_layer = len(found_projects) == 1 and not self.is_past
        if is_of_one_layer and first.project.files and not first.hidden:
            return ShownFacts(facts, facts, changes_at)
        facts_of_shown = self._facts_of_shown(facts, found_projects)
        return ShownFacts(facts, facts_of_shown, changes_at)

    def _facts_of_shown(
        self, facts: ProjectFacts, found_projects: Sequence[FoundProject]
    ) -> ProjectFacts | None:
        """Return the facts of what is shown, if that is not all that the first layer has."""
        first = found_projects[0]
        latest = latest_release(releases_of(first.project))
        is_of_first_layer = first.index == self.repository.own_packages()[0].name
        is_described = latest is not None and latest.version == facts.version
        if len(found_projects) == 1 and is_of_first_layer and is_described:
            # its text is known: each list of a day would read the core metadata of all projects
            return _facts_of_part(facts, first.project, latest)
        facts_of_shown = self.facts_of(found_projects)
        if facts_of_shown is None:
            return None
        # the version of the first layer's document, by which the table notices a change
        return replace(facts_of_shown, document=facts.document)

    def facts_of(self, found_projects: Sequence[FoundProject]) -> ProjectFacts | None:
        """
        Return the facts of the files that are shown of a private project, or None without files.

        Raises Unavailable if the store does not answer.
        """
        project = merged_project([found_project.project for found_project in found_projects])
        if not project.files:
            return None
        first_layer = self.repository.own_packages()[0]
        return first_layer.search.reader.facts_of(project)

    def _read_public(self, facts: ProjectFacts) -> ShownFacts:
        """Return what is shown of a project of an upstream index, as its stored page has it."""
        # without an upstream index, no module of upstream indexes is loaded
        from wheelyard.upstream.merged_listing import merged_listing  # noqa: PLC0415

        # as stored: a table of thousands of projects asks no other server
        stored_listings = self.upstream.read_stored(facts.name) if self.upstream else ()
        lookup = ProjectLookup(facts.name, self.moment(), stored_listings)
        listings = self.repository.find_public(lookup)
        if not listings:  # of an approved package, perhaps nobody has asked for its page yet
            return ShownFacts(facts, facts, None)
        listing = merged_listing(listings)
        latest = latest_release(releases_of(listing))
        changes_at = listing.changes_at
        if changes_at is not None:
            changes_at = max(changes_at, self.runtime.now() + PUBLIC_PAUSE)
        return ShownFacts(facts, _facts_of_part(facts, listing, latest), changes_at)


class FilteredTable:
    """
    The projects of which a repository with rules, or with names to merge, shows a file.

    Threads may share it. The document of each project is read once, and again after it has changed:
    on a bucket, the first list of many projects takes seconds. The documents of merged names are
    read for each table.

    Args:
        unfiltered: The projects as the first layer that has each of them shows it, without rules.
        reader: Reads what is shown of a project.
        is_local: Whether a read of the store needs no other thread.
        generations: Gives each table another number.
    """

    def __init__(
        self,
        unfiltered: ShownProjects,
        reader: ShownFactsReader,
        generations: Iterator[int],
        *,
        is_local: bool,
    ) -> None:
        self._unfiltered = unfiltered
        self._reader = reader
        self._new_generations = generations
        self._threads = 1 if is_local else PREFETCH_THREADS
        self._lock = Lock()
        """Held while the table is made, so that threads that need it make it once."""
        self._unfiltered_generation = -1
        """The generation of the unfiltered table that `_shown` was made from."""
        self._facts_by_name = dict[NormalizedName, ShownFacts]()
        self._changes_at: datetime | None = None
        """When time alone may change the table, or None if it never does."""
        self._shown = ProjectTable()

    def peek(self) -> ProjectTable | None:
        """Return the table if it needs no work now, else None, without reading the store."""
        unfiltered = self._unfiltered.peek()
        if unfiltered is None or not self._is_current(unfiltered):
            return None
        return self._shown

    def table(self) -> ProjectTable:
        """Return the table, made again if anything in it has changed."""
        unfiltered = self._unfiltered.table()
        with self._lock:
            # under the lock: a thread that has waited finds the table that another one has made
            if not self._is_current(unfiltered):
                self._make(unfiltered)
            return self._shown

    @property
    def in_memory(self) -> ProjectTable:
        """The table as this process has it, which may be outdated, without reading the store."""
        return self._shown

    def _is_current(self, unfiltered: ProjectTable) -> bool:
        """Return whether the table is still what rules show of an unfiltered table."""
        if self._unfiltered_generation != unfiltered.generation:
            return False
        return self._changes_at is None or self._reader.runtime.now() < self._changes_at

    def _make(self, unfiltered: ProjectTable) -> None:
        """Make the table of what rules show of an unfiltered table now."""
        all_facts = list(prefetch_map(self._read_if_changed, unfiltered.projects, self._threads))
        shown = tuple(facts.shown for facts in all_facts if facts.shown is not None)
        self._facts_by_name = {facts.in_first_layer.name: facts for facts in all_facts}
        self._changes_at = earliest(facts.changes_at for facts in all_facts)
        self._shown = ProjectTable(shown, generation=next(self._new_generations))
        self._unfiltered_generation = unfiltered.generation

    def _read_if_changed(self, facts: ProjectFacts) -> ShownFacts:
        """Return what is shown of a project, from memory if nothing has changed."""
        remembered = self._facts_by_name.get(facts.name)
        if remembered is None or remembered.in_first_layer != facts:
            return self._reader.read(facts)
        if self._reader.follows_from_layers(facts):
            return self._reader.read(facts)
        changes_at = remembered.changes_at
        if changes_at is not None and changes_at <= self._reader.runtime.now():
            return self._reader.read(facts)
        return remembered


def _facts_of_part(
    facts: ProjectFacts, project: ShownProject[F], latest: ReleaseOf[F] | None
) -> ProjectFacts | None:
    """
    Return the facts of a project of which a part is shown, or None if no file is.

    Summary and keywords stay those of its latest release.
    """
    if not project.files:
        return None
    of_part = facts_of(project, latest)
    return replace(
        facts,
        version=of_part.version,
        uploaded=of_part.uploaded,
        uploaded_by=of_part.uploaded_by,
        status=of_part.status,
    )
