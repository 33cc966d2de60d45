"""
The indexes of one store: main at its root, and others.

Each other index has documents of its own, below `indexes/<name>/`, with the keys of any index.
It shares the files, the credentials and everything that the settings say of the server.
"""

from collections.abc import Mapping
from contextlib import suppress
from threading import RLock
from typing import TYPE_CHECKING

from wheelyard.catalog.opening import Catalog, open_index
from wheelyard.catalog.projects import Projects
from wheelyard.errors import NotFound, Unavailable
from wheelyard.model.index_definition import (
    IndexDefinition,
    UpstreamLayers,
    indexes_below,
    parts_of,
)
from wheelyard.model.index_name import MAIN
from wheelyard.model.quotas import Quotas
from wheelyard.operations.index_definitions import KnownIndexes, served_definition
from wheelyard.repository.index_repository import IndexRepository
from wheelyard.wiring.index_builder import IndexBuilder
from wheelyard.wiring.repositories import Repositories

if TYPE_CHECKING:
    from wheelyard.wiring.index import Index
    from wheelyard.wiring.server import Server


class Indexes:
    """
    The indexes of a store by name, each of which is built when it is first asked for.

    Threads may share it. Every method raises Unavailable if the definitions in the store cannot be
    read.

    Args:
        server: What they share.
    """

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._builder = IndexBuilder(server, self)
        self._definitions = server.definitions
        self._lock = RLock()  # an index may be built from main
        self._built: dict[str, Index] = {}
        self.repositories = Repositories(self.get)
        self._made_of: dict[str, tuple[IndexDefinition, UpstreamLayers | None, Quotas]] = {}
        """What each follows from: its upstream indexes may be those of a layer, quotas of main."""
        self._known_layers: tuple[object, dict[str, UpstreamLayers]] = None, {}
        """The upstream indexes of indexes by name, and the definitions that they follow from."""

    def get(self, name: str) -> "Index":
        """
        Return the index of a name.

        Raises as `IndexDefinitions.get`.
        """
        return self.by(self._definitions.load(), name)

    def by(self, in_force: KnownIndexes, name: str) -> "Index":
        """
        Return the index of a name by these definitions.

        Raises as `served_definition`.
        """
        definition = served_definition(in_force, name)
        upstream: UpstreamLayers | None = None
        if not definition.is_main:
            upstream = self._upstream_layers(definition, in_force.definitions)
        return self._made(definition, upstream, in_force.main.quotas)

    def _made(
        self, definition: IndexDefinition, upstream: UpstreamLayers | None, defaults: Quotas
    ) -> "Index":
        name = definition.name
        made_of = (definition, upstream, defaults)
        with self._lock:
            index = self._built.get(name)
            # another definition: what is cached of the documents goes, which is rare
            if index is None or self._made_of[name] != made_of:
                index = self._built[name] = self._builder.build(*made_of)
                self._made_of[name] = made_of
        return index

    def _upstream_layers(
        self, definition: IndexDefinition, definitions: Mapping[str, IndexDefinition]
    ) -> UpstreamLayers:
        """Return the upstream indexes of an index, from memory while no index has changed."""
        made_of, by_name = self._known_layers
        if made_of is not definitions:
            by_name = {}
            self._known_layers = definitions, by_name
        layers = by_name.get(definition.name)
        if layers is None:
            layers = self._definitions.labels.layers_of(definition, definitions)
            by_name[definition.name] = layers
        return layers

    def main(self) -> "Index":
        """
        Return the index at the root of the server.

        While its definition cannot be read, it is one that opens and takes nothing.
        """
        try:
            return self.get(MAIN)
        except Unavailable as fault:
            return self._made(self._definitions.closed_main(fault.message), None, Quotas())

    def all(self) -> "list[Index]":
        """Return all served indexes, first main, then in the order of names."""
        return [self.get(name) for name in (MAIN, *sorted(self._definitions.served()))]

    def built(self) -> "list[Index]":
        """Return the indexes that were asked for so far."""
        with self._lock:
            return list(self._built.values())

    def built_as(self, name: str) -> "Index | None":
        """Return the index of this name that was asked for last, or None if none was."""
        return self._built.get(name)

    def repository(self, name: str) -> IndexRepository:
        """Return what an index beside main shows. Raises as `IndexDefinitions.get`."""
        return self._repository_by(self._definitions.load(), name)

    def peek_repository(self, name: str) -> IndexRepository | None:
        """Return what an index beside main shows, or None if that has to be read first."""
        in_force = self._definitions.peek()
        return None if in_force is None else self._repository_by(in_force, name)

    def _repository_by(self, in_force: KnownIndexes, name: str) -> IndexRepository:
        served_definition(in_force, name)
        return self.repositories.get(name, in_force.definitions)

    def below(self, name: str) -> "list[Index]":
        """
        Return all indexes that an index is made from, also those of which it shows no own packages.

        Raises as `IndexDefinitions.get`.
        """
        definition = self._definitions.get(name)
        definitions = self._definitions.served()
        names = {*parts_of(definition, definitions), *indexes_below(definition, definitions)}
        return [self.get(other) for other in sorted(names) if other not in self._definitions.labels]

    def catalog_of(self, name: str) -> Catalog:
        """Return what the store has of an index of this name, also if it is not served any more."""
        server = self._server
        if name == MAIN:
            return server.catalog
        with suppress(NotFound, Unavailable):  # also if the definitions cannot be read
            return self.get(name).catalog
        return open_index(server.catalog, name, server.caching, gives_serials=True)

    def projects_of(self, name: str) -> Projects:
        """Return the projects of an index that the store has, also if it is not served any more."""
        return self.catalog_of(name).projects
