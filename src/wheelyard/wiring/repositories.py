"""Puts together what each index of a store shows, from its layers and rules."""

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
    What the indexes of a store show, which is put together anew when a definition changes.

    Threads may share it.

    Args:
        find: Returns the index of a name.
        definitions: Those of all indexes, which know the labels of upstream indexes.
        runtime: That of the process.
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
        # held while repositories are put together, which asks the store for nothing
        self._lock = Lock()
        self._definitions: Mapping[str, IndexDefinition] = {}
        """Those that all of these repositories follow from."""
        self._by_name = dict[str, IndexRepository]()
        self._main: tuple[BuiltIndex, IndexRepository] | None = None
        """What main shows, and the index that it was made of."""
        self._journals: KnownJournals | None = None
        """Those that were read for days, once anybody has asked for one."""

    def of_main(self, main: BuiltIndex) -> IndexRepository:
        """Return what main shows, which follows from no definition of another index."""
        with self._lock:
            # main is built anew when its definition changes
            if self._main is None or self._main[0] is not main:
                composer = _Composer(self._surroundings)
                self._main = (main, composer.compose(main))
            return self._main[1]

    def get(self, name: str, definitions: Mapping[str, IndexDefinition]) -> IndexRepository:
        """
        Return what an index beside main shows now.

        `definitions` are those of all indexes but main. Raises NotFound if the index, or a layer of
        it, is not served. Raises Unavailable if the store does not say what they are.
        """
        with self._lock:
            # the same object until one of them changes, whatever index it is
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
        Return what an index, which may be main, has shown at the end of a day.

        Its layers are those of now. Raises NotFound if it, or a layer of it, is not served. Raises
        Unavailable if the store does not say what they are.
        """
        # nothing of it is loaded while nobody asks for a day
        from wheelyard.repository.as_of import KnownJournals

        with self._lock:
            if self._journals is None:
                self._journals = KnownJournals()
            journals = self._journals
        composer = _Composer(self._surroundings, day, journals)
        return composer.compose(self._surroundings.find(name))


class _Surroundings(Struct, frozen=True):
    """What the repositories of all indexes share."""

    find: Callable[[str], BuiltIndex]
    """Returns the index of a name."""
    definitions: IndexDefinitions
    runtime: Runtime
    is_local: bool
    generations: Iterator[int]
    """The numbers of tables: one that is put together anew never has that of an earlier one."""


class _Composer:
    """Puts one index together, with all that it is made from, now or at the end of a day."""

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
        """The indexes that are layers, by name: several may have the same one."""
        self._title = ""
        """What people call the index at the end of the day."""

    def compose(self, index: BuiltIndex) -> IndexRepository:
        """Return what an index shows."""
        self._title = index.definition.title_on(self._day)
        return self._compose(index, shows_upstream=index.upstream is not None)

    def _compose(self, index: BuiltIndex, *, shows_upstream: bool) -> IndexRepository:
        """Return what an index shows, without upstream indexes unless they are asked for."""
        definition = index.definition
        labels = self._surroundings.definitions.labels
        layers = list[Repository]()
        for layer in definition.layers:
            if layer == definition.name:
                layers.append(self._own(index))
            elif layer not in labels:
                layers.append(self._layer(layer))
            elif shows_upstream:
                layers.append(self._upstream(index, UpstreamPackages(labels.of_layer(layer))))
        repository: Repository = LayeredRepository(tuple(layers), definition.merge)

        # most indexes have one, and need no look at what the others lack
        if len(layers) == 1:
            repository = layers[0]
        if index.rules is not None:
            # nothing of it is loaded while no index has rules
            from wheelyard.repository.filtered import FilteredRepository

            # of the whole, so that the rules also hide what a layer shows without rules
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

    def _layer(self, name: str) -> IndexRepository:
        """Return what an index shows as a layer: of main, its own packages alone."""
        if name not in self._layers:
            index = self._surroundings.find(name)
            # who wants public packages below main names `upstream` as a layer of its own
            shows_upstream = name != MAIN and index.upstream is not None
            self._layers[name] = self._compose(index, shows_upstream=shows_upstream)
        return self._layers[name]

    def _own(self, index: BuiltIndex) -> Repository:
        """Return the own packages of an index, at the end of the day if there is one."""
        own = OwnPackages(index.name, index.projects, index.search)
        if self._day is None or self._journals is None:
            return own
        # nothing of it is loaded while nobody asks for a day
        from wheelyard.repository.as_of import PackagesOfDay

        return PackagesOfDay.of(own, self._day, self._rules_of_day(self._day), self._journals)

    def _upstream(self, index: BuiltIndex, upstream: UpstreamPackages) -> Repository:
        """Return upstream indexes, of which a day hides what was uploaded later."""
        if self._day is None:
            return upstream
        # nothing of it is loaded while nobody asks for a day
        from wheelyard.catalog.licence_finder import LicenceFinder
        from wheelyard.repository.filtered import FilteredRepository
        from wheelyard.repository.index_rules import IndexRules
        from wheelyard.repository.rule_facts import FactFinder

        # no journal of theirs is here, so the times of their files have to do
        rules = self._rules_of_day(self._day)
        facts = FactFinder(rules, index.files, LicenceFinder())
        return FilteredRepository(
            upstream, IndexRules(rules, facts, None, self._surroundings.runtime)
        )

    def _rules_of_day(self, day: date) -> "Rules":
        """Return the rules that hide what was uploaded after a day."""
        from wheelyard.model.rule_rows import rules_of_day

        return rules_of_day(end_of_day(day), self._title)
