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
from wheelyard.repository.layers import ProjectLookup, Repository, merged_project

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
    """The table of all projects that an index shows, as `SearchIndex` has it."""

    def peek(self) -> ProjectTable | None:
        """Return the table if it needs no work now, else None, without reading the store."""

    def table(self) -> ProjectTable:
        """Return the table. Raises Unavailable if there is none, and the store does not answer."""

    @property
    def known(self) -> ProjectTable:
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
        self._tables = (own, *layers)
        self._numbers = generations
        self._lock = Lock()
        self._generations = tuple[int, ...]()
        self._merged = ProjectTable()

    def peek(self) -> ProjectTable | None:
        """See `ShownProjects`."""
        tables = list[ProjectTable]()
        for source in self._tables:
            table = source.peek()
            if table is None:
                return None
            tables.append(table)
        return self._merge(tables)

    def table(self) -> ProjectTable:
        """See `ShownProjects`."""
        return self._merge([source.table() for source in self._tables])

    @property
    def known(self) -> ProjectTable:
        """See `ShownProjects`."""
        return self._merge([source.known for source in self._tables])

    def _merge(self, tables: Sequence[ProjectTable]) -> ProjectTable:
        """Return the table of all, which is made again only if one of them is another one."""
        own, *layers = tables
        generations = tuple(table.generation for table in tables)
        with self._lock:
            if generations != self._generations:
                projects = dict[NormalizedName, ProjectFacts]()
                for table in layers:
                    for facts in table.projects:
                        if not facts.origin:
                            projects.setdefault(facts.name, facts)
                for facts in own.projects:
                    if facts.origin:
                        projects.setdefault(facts.name, facts)
                ordered = tuple(projects[name] for name in sorted(projects))
                self._merged = ProjectTable(ordered, generation=next(self._numbers))
                self._generations = generations
            return self._merged


class ShownFacts(Struct, frozen=True):
    """What a repository shows of one project."""

    whole: ProjectFacts
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
        has_layers = len(self.repository.own_packages()) > 1
        return (self.is_past and has_layers) or self._is_merged(facts)

    def _is_merged(self, facts: ProjectFacts) -> bool:
        patterns = self.repository.merge_patterns()
        return not facts.origin and any(names.match(facts.name) for names in patterns)

    def read(self, facts: ProjectFacts) -> ShownFacts:
        """
        Return what is shown of a project, by its facts in the first layer that has it.

        Rules show nothing of a project that cannot be read. Raises Unavailable if the store does
        not answer.
        """
        if not (self.repository.hides_files or self._is_merged(facts)):
            return ShownFacts(facts, facts, None)
        try:
            return self._public(facts) if facts.origin else self._private(facts)
        except Unavailable as fault:
            if fault.code not in UNREADABLE_CODES:
                raise
            shown = None if self.repository.hides_files else facts
            return ShownFacts(facts, shown, self.runtime.now() + UNREADABLE_PAUSE)

    def _private(self, facts: ProjectFacts) -> ShownFacts:
        sources = self.repository.find_projects(ProjectLookup(facts.name, self.moment()))
        if not sources:
            return ShownFacts(facts, None, None)
        times = (source.changes_at for source in sources if source.changes_at is not None)
        changes_at = min(times, default=None)
        first, *others = sources
        is_whole = bool(first.project.files) and not (first.hidden or others or self.is_past)
        if is_whole:
            return ShownFacts(facts, facts, changes_at)
        return ShownFacts(facts, self._facts_of_rest(facts, sources), changes_at)

    def _facts_of_rest(
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
        return None if shown is None else replace(shown, document=facts.document)

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
        whole: Of each project what the first layer has, without rules.
        reader: Reads what is shown of a project.
        is_local: Whether a read of the store needs no other thread.
        generations: Gives each table another number.
    """

    def __init__(
        self,
        whole: ShownProjects,
        reader: ShownFactsReader,
        generations: Iterator[int],
        *,
        is_local: bool,
    ) -> None:
        self._whole = whole
        self._reader = reader
        self._numbers = generations
        self._threads = 1 if is_local else PREFETCH_THREADS
        self._lock = Lock()
        self._generation = -1
        """That of the table that this one was made from."""
        self._read = dict[NormalizedName, ShownFacts]()
        self._changes_at: datetime | None = None
        self._shown = ProjectTable()

    def peek(self) -> ProjectTable | None:
        """See `ShownProjects`."""
        whole = self._whole.peek()
        return self._shown if whole is not None and self._is_of(whole) else None

    def table(self) -> ProjectTable:
        """See `ShownProjects`."""
        whole = self._whole.table()
        with self._lock:
            if not self._is_of(whole):
                self._make(whole)
            return self._shown

    @property
    def known(self) -> ProjectTable:
        """See `ShownProjects`."""
        return self._shown

    def _is_of(self, whole: ProjectTable) -> bool:
        if self._generation != whole.generation:
            return False
        return self._changes_at is None or self._reader.runtime.now() < self._changes_at

    def _make(self, whole: ProjectTable) -> None:
        """Make the table anew, of what is known and of what has to be looked at again."""
        read = list(prefetch_map(self._read_again, whole.projects, self._threads))
        times = [facts.changes_at for facts in read if facts.changes_at is not None]
        shown = tuple(facts.shown for facts in read if facts.shown is not None)
        self._read = {facts.whole.name: facts for facts in read}
        self._changes_at = min(times, default=None)
        self._shown = ProjectTable(shown, generation=next(self._numbers))
        self._generation = whole.generation

    def _read_again(self, facts: ProjectFacts) -> ShownFacts:
        """Return what is shown of a project, from memory if nothing has changed."""
        earlier = self._read.get(facts.name)
        if earlier is None or earlier.whole != facts or self._reader.follows_from_layers(facts):
            return self._reader.read(facts)
        is_due = earlier.changes_at is not None and earlier.changes_at <= self._reader.runtime.now()
        return self._reader.read(facts) if is_due else earlier


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
