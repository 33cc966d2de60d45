"""
The indexes of one store: main at its root, and others.

Each other index has documents of its own, below `indexes/<name>/`, with the keys of any index.
It shares the files, the credentials and everything that the settings say of the server.
"""

from collections.abc import Mapping
from contextlib import suppress
from threading import RLock
from typing import Generic

from msgspec import Struct

from wheelyard.catalog.document_cache import CachePolicy
from wheelyard.catalog.opening import Catalog, open_index
from wheelyard.catalog.projects import Projects
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import NotFound, Unavailable
from wheelyard.model import index_definition
from wheelyard.model.index_definition import IndexDefinition, UpstreamLayers
from wheelyard.model.index_name import MAIN
from wheelyard.model.quotas import Quotas
from wheelyard.operations.index_definitions import (
    IndexDefinitions,
    KnownIndexes,
    served_definition,
)
from wheelyard.repository.index_repository import IndexRepository
from wheelyard.wiring.built_index import BuildIndex, IndexT
from wheelyard.wiring.repositories import Repositories


class _Origin(Struct, frozen=True):
    """What an index follows from."""

    definition: IndexDefinition
    layers: UpstreamLayers | None
    """Its upstream indexes, which may be those of a layer, or None for main."""
    defaults: Quotas
    """The quotas of main."""


class Indexes(Generic[IndexT]):
    """
    The indexes of a store by name, each of which is built when it is first asked for.

    Threads may share it. Every method that needs the definitions in the store raises Unavailable if
    they cannot be read, but for `main` and `catalog_of`.

    Args:
        definitions: Those of all indexes.
        catalog: That of main.
        caching: How documents are cached.
        runtime: That of the process.
        build: Builds an index.
        is_local: Whether the store is on this machine.
    """

    def __init__(
        self,
        definitions: IndexDefinitions,
        catalog: Catalog,
        caching: CachePolicy,
        runtime: Runtime,
        build: BuildIndex[IndexT],
        *,
        is_local: bool,
    ) -> None:
        self._definitions = definitions
        self._catalog = catalog
        self._caching = caching
        self._build = build
        # held while an index is built, by a thread that may need another one for it, such as main
        self._lock = RLock()
        self._built: dict[str, IndexT] = {}
        self.repositories = Repositories(self.get, definitions, runtime, is_local=is_local)
        self._origins: dict[str, _Origin] = {}
        """What each index was built from, by name."""
        self._known_layers: tuple[object, dict[str, UpstreamLayers]] = (None, {})
        """The upstream indexes of indexes by name, and the definitions that they follow from."""

    def get(self, name: str) -> IndexT:
        """
        Return the index of a name.

        Raises NotFound if there is no such index, and Unavailable (code `wrong_index`) if what the
        store says of it does not fit.
        """
        return self.by(self._definitions.load(), name)

    def by(self, in_force: KnownIndexes, name: str) -> IndexT:
        """
        Return the index of a name by these definitions.

        Raises NotFound if there is none, and Unavailable (code `wrong_index`) if it does not fit.
        """
        definition = served_definition(in_force, name)
        layers: UpstreamLayers | None = None
        if not definition.is_main:
            layers = self._upstream_layers(definition, in_force.definitions)
        return self._built_from(_Origin(definition, layers, in_force.main.quotas))

    def _built_from(self, origin: _Origin) -> IndexT:
        """Return the index that follows from a definition, which is built if it is not there."""
        name = origin.definition.name
        with self._lock:
            index = self._built.get(name)
            # another definition: what is cached of the documents goes, which is rare
            if index is None or self._origins[name] != origin:
                index = self._build(origin.definition, origin.layers, origin.defaults)
                self._built[name] = index
                self._origins[name] = origin
        return index

    def _upstream_layers(
        self, definition: IndexDefinition, definitions: Mapping[str, IndexDefinition]
    ) -> UpstreamLayers:
        """Return the upstream indexes of an index, from memory while no index has changed."""
        # Both at once: a thread with older definitions puts a pair of its own in their place, so
        # layers never meet definitions that they do not follow from.
        followed, by_name = self._known_layers
        if followed is not definitions:
            by_name = {}
            self._known_layers = (definitions, by_name)
        layers = by_name.get(definition.name)
        if layers is None:
            layers = self._definitions.labels.layers_of(definition, definitions)
            by_name[definition.name] = layers
        return layers

    def main(self) -> IndexT:
        """
        Return the index at the root of the server.

        While its definition cannot be read, or does not fit, it is one that opens and takes
        nothing. When it is built, raises Invalid (code `bad_setting`) or Unavailable if its
        upstream indexes cannot be used.
        """
        try:
            return self.get(MAIN)
        except Unavailable as fault:
            closed_main = self._definitions.closed_main(fault.message)
            return self._built_from(_Origin(closed_main, None, Quotas()))

    def all(self) -> list[IndexT]:
        """Return all served indexes, first main, then in the order of names."""
        names = [MAIN, *sorted(self._definitions.served())]
        return [self.get(name) for name in names]

    def built(self) -> list[IndexT]:
        """Return the indexes that were asked for so far."""
        with self._lock:
            return list(self._built.values())

    def built_as(self, name: str) -> IndexT | None:
        """Return the index of this name that was asked for last, or None if none was."""
        return self._built.get(name)

    def repository(self, name: str) -> IndexRepository:
        """
        Return what an index beside main shows.

        Raises NotFound if it is not served, and Unavailable (code `wrong_index`) if what the store
        says of it does not fit.
        """
        return self._repository_by(self._definitions.load(), name)

    def peek_repository(self, name: str) -> IndexRepository | None:
        """
        Return what an index beside main shows, or None if that has to be read first.

        Raises NotFound if it is not served, and Unavailable (code `wrong_index`) if what the store
        says of it does not fit.
        """
        in_force = self._definitions.peek()
        if in_force is None:
            return None
        return self._repository_by(in_force, name)

    def _repository_by(self, in_force: KnownIndexes, name: str) -> IndexRepository:
        """Return what an index shows by these definitions. Raises NotFound if there is none."""
        served_definition(in_force, name)
        return self.repositories.get(name, in_force.definitions)

    def below(self, name: str) -> list[IndexT]:
        """
        Return all indexes that an index is made from, also those of which it shows no own packages.

        Raises NotFound if there is no such index, and Unavailable (code `wrong_index`) if what the
        store says of it does not fit.
        """
        definition = self._definitions.get(name)
        definitions = self._definitions.served()
        names = set(index_definition.parts_of(definition, definitions))
        names.update(index_definition.indexes_below(definition, definitions))
        labels = self._definitions.labels  # those of upstream indexes, which are no indexes here
        return [self.get(below) for below in sorted(names) if below not in labels]

    def catalog_of(self, name: str) -> Catalog:
        """Return what the store has of an index of this name, also if it is not served any more."""
        if name == MAIN:
            return self._catalog
        # also if the definitions cannot be read: a check and a deletion look at all documents
        with suppress(NotFound, Unavailable):
            return self.get(name).catalog
        return open_index(self._catalog, name, self._caching, gives_serials=True)

    def projects_of(self, name: str) -> Projects:
        """Return the projects of an index that the store has, also if it is not served any more."""
        return self.catalog_of(name).projects
