"""
The indexes of one store by name, each of which is built when it is first asked for.

An index beside main has documents of its own, below `indexes/<name>/`, with the same keys as main.
It shares the files, the credentials and the settings of the server.
"""

from collections.abc import Mapping
from contextlib import suppress
from threading import RLock
from typing import Generic

from msgspec import Struct

from wheelyard.catalog.document_cache import CachePolicy
from wheelyard.catalog.opening import Catalog, open_index_catalog
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
    """The facts that an index is built from."""

    definition: IndexDefinition
    layers: UpstreamLayers | None
    """Its upstream indexes, which may be those of a layer, or None for main."""
    default_quotas: Quotas
    """The quotas of main, which hold in an index without own quotas."""


class Indexes(Generic[IndexT]):
    """
    The indexes of a store by name.

    Threads may share it. Every method that needs the definitions in the store raises Unavailable if
    they cannot be read, but for `main` and `catalog_of`.

    Args:
        definitions: The definitions of all indexes.
        catalog: The catalog of main.
        caching: How documents are cached.
        runtime: Clocks and randomness of the process.
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
        # held while an index is built; the same thread may then build another one, such as main
        self._build_lock = RLock()
        self._built_indexes: dict[str, IndexT] = {}
        self.repositories = Repositories(self.get, definitions, runtime, is_local=is_local)
        self._origins: dict[str, _Origin] = {}
        """By name: the facts that each index was built from."""
        self._cached_layers: tuple[object, dict[str, UpstreamLayers]] = (None, {})
        """The definitions that cached upstream layers were made from, and the layers by index."""

    def get(self, name: str) -> IndexT:
        """
        Return the index of a name.

        Raises NotFound if there is no such index, and Unavailable (code `wrong_index`) if the
        definition of the index does not fit.
        """
        return self.by(self._definitions.load(), name)

    def by(self, in_force: KnownIndexes, name: str) -> IndexT:
        """
        Return the index of a name by the given definitions.

        Raises NotFound if there is no such index, and Unavailable (code `wrong_index`) if the
        definition of the index does not fit.
        """
        definition = served_definition(in_force, name)
        layers: UpstreamLayers | None = None
        if not definition.is_main:
            layers = self._upstream_layers(definition, in_force.definitions)
        return self._find_or_build(_Origin(definition, layers, in_force.main.quotas))

    def _find_or_build(self, origin: _Origin) -> IndexT:
        """Return the index that was built from an origin, or build it now."""
        name = origin.definition.name
        with self._build_lock:
            index = self._built_indexes.get(name)
            # after a change, which is rare, the index is built anew and has empty caches
            if index is None or self._origins[name] != origin:
                index = self._build(origin.definition, origin.layers, origin.default_quotas)
                self._built_indexes[name] = index
                self._origins[name] = origin
        return index

    def _upstream_layers(
        self, definition: IndexDefinition, definitions: Mapping[str, IndexDefinition]
    ) -> UpstreamLayers:
        """Return the upstream indexes of an index, from memory while no definition has changed."""
        # Read and replaced as a pair: a thread with older definitions stores a pair of its own, so
        # layers never meet definitions that they were not made from.
        cached_definitions, layers_by_index = self._cached_layers
        if cached_definitions is not definitions:
            layers_by_index = {}
            self._cached_layers = (definitions, layers_by_index)
        layers = layers_by_index.get(definition.name)
        if layers is None:
            layers = self._definitions.labels.layers_of(definition, definitions)
            layers_by_index[definition.name] = layers
        return layers

    def main(self) -> IndexT:
        """
        Return the index at the root of the server.

        While its definition cannot be read, or does not fit, this is an index that nobody may read
        without a grant, and that takes no uploads. When main is built, raises Invalid (code
        `bad_setting`) or Unavailable if its upstream indexes cannot be used.
        """
        try:
            return self.get(MAIN)
        except Unavailable as fault:
            closed_main = self._definitions.closed_main(fault.message)
            return self._find_or_build(_Origin(closed_main, None, Quotas()))

    def all(self) -> list[IndexT]:
        """Return all served indexes: main first, then the others in the order of their names."""
        names = [MAIN, *sorted(self._definitions.served())]
        return [self.get(name) for name in names]

    def built(self) -> list[IndexT]:
        """Return the indexes that were built so far."""
        with self._build_lock:
            return list(self._built_indexes.values())

    def built_as(self, name: str) -> IndexT | None:
        """Return the index of a name as it was built last, or None if it was not built yet."""
        return self._built_indexes.get(name)

    def repository(self, name: str) -> IndexRepository:
        """
        Return the packages that an index beside main shows.

        Raises NotFound if the index is not served, and Unavailable (code `wrong_index`) if its
        definition does not fit.
        """
        return self._repository_by(self._definitions.load(), name)

    def peek_repository(self, name: str) -> IndexRepository | None:
        """
        Return the packages that an index beside main shows, by definitions in memory.

        None means that the definitions have to be read first. Raises NotFound if the index is not
        served, and Unavailable (code `wrong_index`) if its definition does not fit.
        """
        in_force = self._definitions.peek()
        if in_force is None:
            return None
        return self._repository_by(in_force, name)

    def _repository_by(self, in_force: KnownIndexes, name: str) -> IndexRepository:
        """
        Return the packages that an index shows by the given definitions.

        Raises NotFound or Unavailable as `repository` does.
        """
        served_definition(in_force, name)  # raises an error if the index is not served
        return self.repositories.get(name, in_force.definitions)

    def below(self, name: str) -> list[IndexT]:
        """
        Return all indexes that an index is made from, also those of which it shows no own packages.

        Raises NotFound if there is no such index, and Unavailable (code `wrong_index`) if its
        definition does not fit.
        """
        definition = self._definitions.get(name)
        definitions = self._definitions.served()
        part_names = set(index_definition.parts_of(definition, definitions))
        part_names.update(index_definition.indexes_below(definition, definitions))
        upstream_labels = self._definitions.labels
        return [self.get(part) for part in sorted(part_names) if part not in upstream_labels]

    def catalog_of(self, name: str) -> Catalog:
        """Return the catalog of an index of this name, also if it is not served any more."""
        if name == MAIN:
            return self._catalog
        # also if the definitions cannot be read: a check and a deletion look at all documents
        with suppress(NotFound, Unavailable):
            return self.get(name).catalog
        return open_index_catalog(self._catalog, name, self._caching, gives_serials=True)

    def projects_of(self, name: str) -> Projects:
        """Return the stored projects of an index, also if it is not served any more."""
        return self.catalog_of(name).projects
