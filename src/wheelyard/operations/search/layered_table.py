"""The table of the projects that an index with several layers shows."""

from collections.abc import Callable, Sequence
from itertools import count
from threading import Lock
from typing import Protocol

from packaging.utils import NormalizedName

from wheelyard.operations.search.project_table import ProjectTable
from wheelyard.rendering.project_facts import ProjectFacts


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
        parts: Returns the tables of all that it shows private projects of, in order. May raise
            Unavailable.
    """

    def __init__(self, own: ShownProjects, parts: Callable[[], Sequence[ShownProjects]]) -> None:
        self._own = own
        self._parts = parts
        self._lock = Lock()
        self._numbers = count(1)
        self._generations = tuple[int, ...]()
        self._merged = ProjectTable()

    def peek(self) -> ProjectTable | None:
        """See `ShownProjects`."""
        tables = [part.peek() for part in self._all()]
        present = [table for table in tables if table is not None]
        return self._merge(present) if len(present) == len(tables) else None

    def table(self) -> ProjectTable:
        """See `ShownProjects`."""
        return self._merge([part.table() for part in self._all()])

    @property
    def known(self) -> ProjectTable:
        """See `ShownProjects`."""
        return self._merge([part.known for part in self._all()])

    def _all(self) -> list[ShownProjects]:
        return [self._own, *self._parts()]

    def _merge(self, tables: Sequence[ProjectTable]) -> ProjectTable:
        """Return the table of all, which is made again only if one of them is another one."""
        own, *parts = tables
        generations = tuple(table.generation for table in tables)
        with self._lock:
            if generations != self._generations:
                projects = dict[NormalizedName, ProjectFacts]()
                for table in parts:
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
