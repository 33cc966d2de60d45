"""Composes the repository of each index, the packages that it shows, from its layers and rules."""

from collections.abc import Callable, Iterator, Mapping
from datetime import date
from itertools import count
from threading import Lock
from typing import TYPE_CHECKING

from msgspec import Struct

from wheelyard.concurrency.runtime import Runtime
from wheelyard.model.index_definition import IndexDefinition
from wheelyard.model.index_name import MAIN, end_of_day
from wheelyard.operations.index_definitions import IndexDefinitions
from wheelyard.repository.index_repository import IndexRepository
from wheelyard.repository.layers import LayeredRepository, OwnPackages, Repository, UpstreamPackages
from wheelyard.repository.tables import FIRST_GENERATION
from wheelyard.wiring.built_index import BuiltIndex

if TYPE_CHECKING:
    from wheelyard.model.rules import Rules
    from wheelyard.repository.as_of import KnownJournals


class Repositories:
    """
    The repositories of the indexes of a store, which are composed anew when a definition changes.

    Threads may share it.

    Args:
        find: Returns the index of a name.
        definitions: The definitions of all indexes, and the labels of upstream indexes.
        runtime: Clocks and randomness of the process.
        is_local: Whether the store is on this machine.
    """

    def __init__(
        self,
        find: Callable[[str], BuiltIndex],
        definitions: IndexDefinitions,
        runtime: Runtime,
        *,
        is_local: bool,
    ) -> None:
        self._surroundings = _Surroundings(
            find, definitions, runtime, is_local, count(FIRST_GENERATION)
        )
        # held while a repository is composed, for which the store is not asked
        self._lock = Lock()
        self._definitions: Mapping[str, IndexDefinition] = {}
        """The definitions that the repositories of `_by_name` were composed from."""
        self._by_name = dict[str, IndexRepository]()
        """The repositories of indexes beside main."""
        self._main: tuple[BuiltIndex, IndexRepository] | None = None
        """Main, and its repository, once that was composed."""
        self._journals: KnownJournals | None = None
        """The journals that were read for repositories of days, or None before the first day."""

    def of_main(self, main: BuiltIndex) -> IndexRepository:
        """Return the repository of main, which depends on no definition of another index."""
        with self._lock:
            if self._main is not None:
                composed_index, repository = self._main
                # main is another object after its definition has changed
                if composed_index is main:
                    return repository
            composer = _Composer(self._surroundings)
            repository = composer.compose(main)
            self._main = (main, repository)
            return repository

    def get(self, name: str, definitions: Mapping[str, IndexDefinition]) -> IndexRepository:
        """
        Return the repository of an index beside main, as it is now.

        `definitions` are those of all indexes but main. Raises NotFound if the index, or a layer of
        it, is not served. Raises Unavailable if the store does not say which layers it has.
        """
        with self._lock:
            # the mapping is the same object until a definition of any index changes
            if definitions is not self._definitions:
                self._definitions = definitions
                self._by_name = {}
            repository = self._by_name.get(name)
            if repository is None:
                composer = _Composer(self._surroundings)
                repository = composer.compose(self._surroundings.find(name))
                self._by_name[name] = repository
        return repository

    def as_of(self, name: str, day: date) -> IndexRepository:
        """
        Return the repository of an index, which may be main, as it was at the end of a day.

        Its layers are those of now. Raises NotFound if the index, or a layer of it, is not served.
        Raises Unavailable if the store does not say which layers it has.
        """
        # no module of days is loaded while nobody asks for one
        from wheelyard.repository.as_of import KnownJournals

        with self._lock:
            if self._journals is None:
                self._journals = KnownJournals()
            journals = self._journals
        composer = _Composer(self._surroundings, day, journals)
        return composer.compose(self._surroundings.find(name))


class _Surroundings(Struct, frozen=True):
    """The parts that the repositories of all indexes share."""

    find: Callable[[str], BuiltIndex]
    """Returns the index of a name."""
    definitions: IndexDefinitions
    runtime: Runtime
    is_local: bool
    generations: Iterator[int]
    """The numbers of search tables: a table that is composed anew never has an earlier number."""


class _Composer:
    """Composes the repository of one index with its layers, as of now or of the end of a day."""

    def __init__(
        self,
        surroundings: _Surroundings,
        day: date | None = None,
        journals: "KnownJournals | None" = None,
    ) -> None:
        self._surroundings = surroundings
        self._day = day
        self._journals = journals
        self._layers = dict[str, IndexRepository]()
        """The repositories of layers by name: several indexes may have the same layer."""
        self._title = ""
        """The title of the index on the day, for messages."""

    def compose(self, index: BuiltIndex) -> IndexRepository:
        """Return the repository of an index."""
        self._title = index.definition.title_on(self._day)
        return self._compose(index, shows_upstream=index.upstream is not None)

    def _compose(self, index: BuiltIndex, *, shows_upstream: bool) -> IndexRepository:
        """Return the repository of an index, with its upstream layers if `shows_upstream`."""
        definition = index.definition
        labels = self._surroundings.definitions.labels
        layers = list[Repository]()
        for layer in definition.layers:
            if layer == definition.name:
                layers.append(self._own_packages(index))
            elif layer not in labels:
                layers.append(self._index_layer(layer))
            elif shows_upstream:
                upstream = UpstreamPackages(labels.of_layer(layer))
                layers.append(self._upstream_layer(index, upstream))
        repository: Repository = LayeredRepository(tuple(layers), definition.merge)

        # most indexes have one layer, so no lookup has to note that an upper layer lacks a name
        if len(layers) == 1:
            repository = layers[0]
        if index.rules is not None:
            # no module of rules is loaded while no index has any
            from wheelyard.repository.filtered import FilteredRepository

            # the rules apply to all layers, also to files that a layer itself shows
            repository = FilteredRepository(repository, index.rules)
        return IndexRepository(
            name=definition.name,
            composed=repository,
            search=index.search,
            upstream=index.upstream,
            runtime=self._surroundings.runtime,
            is_local=self._surroundings.is_local,
            generations=self._surroundings.generations,
            day=self._day,
        )

    def _index_layer(self, name: str) -> IndexRepository:
        """Return the repository of an index as a layer: for main, without upstream indexes."""
        if name not in self._layers:
            index = self._surroundings.find(name)
            # an index that shows public packages below main has a layer `upstream` of its own
            shows_upstream = name != MAIN and index.upstream is not None
            self._layers[name] = self._compose(index, shows_upstream=shows_upstream)
        return self._layers[name]

    def _own_packages(self, index: BuiltIndex) -> Repository:
        """Return the own packages of an index, as of the end of the day if there is one."""
        own_packages = OwnPackages(index.name, index.projects, index.search)
        if self._day is None or self._journals is None:
            return own_packages
        # no module of days is loaded while nobody asks for one
        from wheelyard.repository.as_of import PackagesOfDay

        return PackagesOfDay.of(
            own_packages, self._day, self._rules_of_day(self._day), self._journals
        )

    def _upstream_layer(self, index: BuiltIndex, upstream: UpstreamPackages) -> Repository:
        """Return upstream indexes, without files that are newer than the day, if there is one."""
        if self._day is None:
            return upstream
        # no module of days is loaded while nobody asks for one
        from wheelyard.catalog.licence_finder import LicenceFinder
        from wheelyard.repository.filtered import FilteredRepository
        from wheelyard.repository.index_rules import IndexRules
        from wheelyard.repository.rule_facts import FactFinder

        # upstream indexes have no journals here, so the upload times of files decide
        rules = self._rules_of_day(self._day)
        facts = FactFinder(rules, index.files, LicenceFinder())
        return FilteredRepository(
            upstream, IndexRules(rules, facts, None, self._surroundings.runtime)
        )

    def _rules_of_day(self, day: date) -> "Rules":
        """Return the rules that hide files that were uploaded after a day."""
        from wheelyard.model.rule_rows import rules_of_day

        return rules_of_day(end_of_day(day), self._title)
