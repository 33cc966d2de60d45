"""Puts together what each index of a store shows, from its layers and rules."""

from collections.abc import Callable, Iterator, Mapping
from datetime import date
from itertools import count
from threading import Lock
from typing import TYPE_CHECKING

from wheelyard.model.index_definition import IndexDefinition
from wheelyard.model.index_name import MAIN, end_of_day
from wheelyard.repository.index_repository import IndexRepository
from wheelyard.repository.layers import Layers, Own, Repository, Upstream
from wheelyard.repository.tables import FIRST_GENERATION

if TYPE_CHECKING:
    from wheelyard.model.rules import Rules
    from wheelyard.repository.as_of import KnownJournals
    from wheelyard.wiring.index import Index


class Repositories:
    """
    What the indexes of a store show, which is put together anew when a definition changes.

    Threads may share it.

    Args:
        index: Returns the index of a name.
    """

    def __init__(self, index: "Callable[[str], Index]") -> None:
        self._index = index
        self._lock = Lock()
        self._generations = count(FIRST_GENERATION)
        self._definitions: Mapping[str, IndexDefinition] = {}
        """Those that all of these repositories follow from."""
        self._by_name = dict[str, IndexRepository]()
        self._main: tuple[Index, IndexRepository] | None = None
        """What main shows, and the index that it was made of."""
        self._journals: KnownJournals | None = None
        """Those that were read for days, once anybody has asked for one."""

    def of_main(self, main: "Index") -> IndexRepository:
        """Return what main shows, which follows from no definition of another index."""
        with self._lock:
            if self._main is None or self._main[0] is not main:
                composer = _Composer(self._index, self._generations)
                self._main = main, composer.compose(main)
            return self._main[1]

    def get(self, name: str, definitions: Mapping[str, IndexDefinition]) -> IndexRepository:
        """Return what an index beside main shows now. `definitions` are all of these."""
        with self._lock:
            if definitions is not self._definitions:
                self._definitions = definitions
                self._by_name = {}
            repository = self._by_name.get(name)
            if repository is None:
                composer = _Composer(self._index, self._generations)
                repository = composer.compose(self._index(name))
                self._by_name[name] = repository
        return repository

    def as_of(self, name: str, day: date) -> IndexRepository:
        """Return what an index has shown at the end of a day."""
        # nothing of it is loaded while nobody asks for a day
        from wheelyard.repository.as_of import KnownJournals

        with self._lock:
            journals = self._journals = self._journals or KnownJournals()
        composer = _Composer(self._index, self._generations, day, journals)
        return composer.compose(self._index(name))


class _Composer:
    """Puts one index together, with all that it is made from, now or at the end of a day."""

    def __init__(
        self,
        index: "Callable[[str], Index]",
        generations: Iterator[int],
        day: date | None = None,
        journals: "KnownJournals | None" = None,
    ) -> None:
        self._index = index
        self._generations = generations
        self._day = day
        self._journals = journals
        self._layers = dict[str, IndexRepository]()
        """The indexes that are layers, by name: several may have the same one."""
        self._title = ""
        """What people call the index at the end of the day."""

    def compose(self, index: "Index") -> IndexRepository:
        """Return what an index shows."""
        self._title = index.definition.title_on(self._day)
        return self._compose(index, shows_upstream=index.upstream is not None)

    def _compose(self, index: "Index", *, shows_upstream: bool) -> IndexRepository:
        definition = index.definition
        layers = list[Repository]()
        for layer in definition.layers:
            if layer == definition.name:
                layers.append(self._own(index))
            elif layer not in index.server.definitions.labels:
                layers.append(self._layer(layer))
            elif shows_upstream:
                labels = index.server.definitions.labels.of_layer(layer)
                layers.append(self._upstream(index, Upstream(labels)))
        shown: Repository = Layers(tuple(layers), definition.merge)
        if len(layers) == 1:
            shown = layers[0]
        if index.rules is not None:
            # nothing of it is loaded while no index has rules
            from wheelyard.repository.filtered import Filtered

            shown = Filtered(shown, index.rules)
        return IndexRepository(
            name=definition.name,
            shown=shown,
            search=index.search,
            upstream=index.upstream,
            runtime=index.server.runtime,
            is_local=index.server.is_local,
            generations=self._generations,
            day=self._day,
        )

    def _layer(self, name: str) -> IndexRepository:
        """Return what an index shows as a layer: of main, its own packages alone."""
        if name not in self._layers:
            index = self._index(name)
            shows_upstream = name != MAIN and index.upstream is not None
            self._layers[name] = self._compose(index, shows_upstream=shows_upstream)
        return self._layers[name]

    def _own(self, index: "Index") -> Repository:
        own = Own(index.name, index.projects, index.search)
        if self._day is None or self._journals is None:
            return own
        from wheelyard.repository.as_of import AsOf

        return AsOf.of(own, self._day, self._rules_of_day(self._day), self._journals)

    def _upstream(self, index: "Index", upstream: Upstream) -> Repository:
        if self._day is None:
            return upstream
        from wheelyard.catalog.licence_finder import LicenceFinder
        from wheelyard.repository.filtered import Filtered
        from wheelyard.repository.index_rules import IndexRules
        from wheelyard.repository.rule_facts import FactFinder

        rules = self._rules_of_day(self._day)
        facts = FactFinder(rules, index.files, LicenceFinder())
        return Filtered(upstream, IndexRules(rules, facts, None, index.server.runtime))

    def _rules_of_day(self, day: date) -> "Rules":
        from wheelyard.model.rule_rows import rules_of_day

        return rules_of_day(end_of_day(day), self._title)
