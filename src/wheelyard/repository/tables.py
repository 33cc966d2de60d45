"""The tables of the projects that an index shows, for searches and lists."""

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
"""The generation of the first table of several indexes, which no table of one ever has."""
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
    The projects of several indexes: of each name what the first of them has.

    Threads may share it.

    Args:
        own: The table of the index itself, the only one whose public projects are shown.
        layers: The tables of all indexes whose own packages it shows, in order.
        generations: Gives each table another number.
    """

    def __init__(
        self, own: ShownProjects, layers: Sequence[ShownProjects], generations: Iterator[int]
    ) -> None:
        self._own = own
        self._layers = layers
        self._numbers = generations
        self._lock = Lock()
        """Held while the table is made, so that threads that need it make it once."""
        self._generations = tuple[int, ...]()
        """Those of the tables that the table was made from."""
        self._merged = ProjectTable()

    def peek(self) -> ProjectTable | None:
        """Return the table if it needs no work now, else None, without reading the store."""
        own = self._own.peek()
        if own is None:
            return None
        layers = list[ProjectTable]()
        for layer in self._layers:
            table = layer.peek()
            if table is None:
                return None
            layers.append(table)
        return self._merge(own, layers)

    def table(self) -> ProjectTable:
        """Return the table, made again if anything in it has changed."""
        own = self._own.table()
        return self._merge(own, [layer.table() for layer in self._layers])

    @property
    def in_memory(self) -> ProjectTable:
        """The table as this process has it, which may be outdated, without reading the store."""
        own = self._own.in_memory
        return self._merge(own, [layer.in_memory for layer in self._layers])

    def _merge(self, own: ProjectTable, layers: Sequence[ProjectTable]) -> ProjectTable:
        """Return the table of all, which is made again only if one of them is another one."""
        generations = (own.generation, *(layer.generation for layer in layers))
        with self._lock:
            if generations != self._generations:
                projects = dict[NormalizedName, ProjectFacts]()
                for table in layers:
                    for facts in table.projects:
                        if not facts.origin:
                            projects.setdefault(facts.name, facts)
                # last: a name that is private in any layer is never that of a public project
                for facts in own.projects:
                    if facts.origin:
                        projects.setdefault(facts.name, facts)
                ordered = tuple(projects[name] for name in sorted(projects))
                self._merged = ProjectTable(ordered, generation=next(self._numbers))
                self._generations = generations
            return self._merged


class ShownFacts(Struct, frozen=True):
    """What a repository shows of one project."""

    in_first_layer: ProjectFacts
    """Those of the first layer that has the project, without rules."""
    shown: ProjectFacts | None
    """None if no file of it is shown."""
    changes_at: datetime | None
    """When time alone may change that."""


class ShownFactsReader(Struct, frozen=True):
    """
    Reads the facts of projects as a repository shows them.

    Args:
        repository: The repository.
        upstream: The upstream indexes, if it shows their packages.
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
        Return what is shown of a project, by its facts in the first layer that has it.

        Rules show nothing of a project that cannot be read. Without rules it is shown as its first
        layer has it. Of a public project the first use of an exception from the cooldown is
        written. Raises Unavailable if the store does not answer. Raises Invalid (code
        `bad_setting`) if no database of advisories can be used.
        """
        if not (self.repository.hides_files or self._is_merged(facts)):
            return ShownFacts(facts, facts, None)
        try:
            if facts.origin:
                return self._public(facts)
            return self._private(facts)
        except Unavailable as fault:
            if fault.code not in UNREADABLE_CODES:
                raise
            # one damaged project must not take the list of all others away
            shown = None if self.repository.hides_files else facts
            return ShownFacts(facts, shown, self.runtime.now() + UNREADABLE_PAUSE)

    def _private(self, facts: ProjectFacts) -> ShownFacts:
        """Return what is shown of a private project."""
        sources = self.repository.find_projects(ProjectLookup(facts.name, self.moment()))
        if not sources:
            return ShownFacts(facts, None, None)
        changes_at = earliest(source.changes_at for source in sources)
        first = sources[0]
        is_of_one_layer = len(sources) == 1 and not self.is_past
        if is_of_one_layer and first.project.files and not first.hidden:
            return ShownFacts(facts, facts, changes_at)
        return ShownFacts(facts, self._facts_of_shown(facts, sources), changes_at)

    def _facts_of_shown(
        self, facts: ProjectFacts, sources: Sequence[FoundProject]
    ) -> ProjectFacts | None:
        """Return the facts of what is shown, if that is not all that the first layer has."""
        project = sources[0].project
        latest = latest_release(releases_of(project))
        is_of_first = sources[0].index == self.repository.own_packages()[0].name
        is_described = latest is not None and latest.version == facts.version
        if len(sources) == 1 and is_of_first and is_described:
            # its text is known: each list of a day would read the core metadata of all projects
            return _facts_of_part(facts, project, latest)
        shown = self.facts_of(sources)
        if shown is None:
            return None
        # the version of the first layer's document, by which the table notices a change
        return replace(shown, document=facts.document)

    def facts_of(self, sources: Sequence[FoundProject]) -> ProjectFacts | None:
        """
        Return the facts of the files that are shown of a private project, or None without any.

        Raises Unavailable if the store does not answer.
        """
        project = merged_project([source.project for source in sources])
        if not project.files:
            return None
        return self.repository.own_packages()[0].search.reader.facts_of(project)

    def _public(self, facts: ProjectFacts) -> ShownFacts:
        """Return what is shown of a project of an upstream index, as its stored page has it."""
        # nothing of it is loaded without an upstream index
        from wheelyard.upstream.merged_listing import merged_listing  # noqa: PLC0415

        # as stored: a table of thousands of projects asks no other server
        stored = self.upstream.read_stored(facts.name) if self.upstream else ()
        listings = self.repository.find_public(ProjectLookup(facts.name, self.moment(), stored))
        if not listings:  # of an approved package, perhaps nobody has asked for its page yet
            return ShownFacts(facts, facts, None)
        listing = merged_listing(listings)
        latest = latest_release(releases_of(listing))
        change = listing.changes_at
        if change is not None:
            change = max(change, self.runtime.now() + PUBLIC_PAUSE)
        return ShownFacts(facts, _facts_of_part(facts, listing, latest), change)


class FilteredTable:
    """
    The projects of which a repository with rules, or with names to merge, shows a file.

    Threads may share it. The document of each project is read once, and again after it has changed:
    on a bucket, the first list of many projects takes seconds. Those of merged names are read for
    each table.

    Args:
        unfiltered: Of each project what the first layer has, without rules.
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
        self._numbers = generations
        self._threads = 1 if is_local else PREFETCH_THREADS
        self._lock = Lock()
        """Held while the table is made, so that threads that need it make it once."""
        self._generation = -1
        """That of the table that this one was made from."""
        self._read = dict[NormalizedName, ShownFacts]()
        self._changes_at: datetime | None = None
        self._shown = ProjectTable()

    def peek(self) -> ProjectTable | None:
        """Return the table if it needs no work now, else None, without reading the store."""
        unfiltered = self._unfiltered.peek()
        if unfiltered is None or not self._is_of(unfiltered):
            return None
        return self._shown

    def table(self) -> ProjectTable:
        """Return the table, made again if anything in it has changed."""
        unfiltered = self._unfiltered.table()
        with self._lock:
            # again under the lock: a thread that has waited finds what another one has made
            if not self._is_of(unfiltered):
                self._make(unfiltered)
            return self._shown

    @property
    def in_memory(self) -> ProjectTable:
        """The table as this process has it, which may be outdated, without reading the store."""
        return self._shown

    def _is_of(self, unfiltered: ProjectTable) -> bool:
        """Return whether the table is still what rules show of that of all projects."""
        if self._generation != unfiltered.generation:
            return False
        return self._changes_at is None or self._reader.runtime.now() < self._changes_at

    def _make(self, unfiltered: ProjectTable) -> None:
        """Make the table anew, of what is remembered and of what has to be looked at again."""
        read = list(prefetch_map(self._read_again, unfiltered.projects, self._threads))
        shown = tuple(facts.shown for facts in read if facts.shown is not None)
        self._read = {facts.in_first_layer.name: facts for facts in read}
        self._changes_at = earliest(facts.changes_at for facts in read)
        self._shown = ProjectTable(shown, generation=next(self._numbers))
        self._generation = unfiltered.generation

    def _read_again(self, facts: ProjectFacts) -> ShownFacts:
        """Return what is shown of a project, from memory if nothing has changed."""
        earlier = self._read.get(facts.name)
        if earlier is None or earlier.in_first_layer != facts:
            return self._reader.read(facts)
        if self._reader.follows_from_layers(facts):
            return self._reader.read(facts)
        changes_at = earlier.changes_at
        if changes_at is not None and changes_at <= self._reader.runtime.now():
            return self._reader.read(facts)
        return earlier


def _facts_of_part(
    facts: ProjectFacts, project: ShownProject[F], latest: ReleaseOf[F] | None
) -> ProjectFacts | None:
    """
    Return the facts of a project of which a part is shown, or None if nothing is.

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
