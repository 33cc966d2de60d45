"""
The definitions of indexes in force: those of the settings and those of the store.

Those of the store change while servers run, which read them as any document. One of the store that
does not fit any more, as its layer was taken out of the settings, is not served, and all others
are. One of the settings that does not fit stops the start of a server.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import MaxAge, Snapshot
from wheelyard.catalog.journaled_documents import IndexRecords
from wheelyard.catalog.projects import Projects
from wheelyard.catalog.removed import (
    FORMER_MAIN_PROBLEM,
    removed_filter,
    removed_filter_warning,
    removed_rules,
    removed_rules_warning,
    with_former_main,
    without_removed_rules,
)
from wheelyard.errors import UNREADABLE_CODES, Invalid, NotFound, Unavailable, quoted
from wheelyard.model.access import describe_indexes
from wheelyard.model.index_definition import (
    IndexDefinition,
    UpstreamLabels,
    closed_layers,
    label_taken,
    misfits,
    parse_index_tables,
    read_definition,
    require_fit,
)
from wheelyard.model.index_name import FORMER_MAIN, MAIN, UPSTREAM_LAYER
from wheelyard.model.stored_indexes import IndexKeys, IndexList
from wheelyard.remedies import Advice, Caution, Remedy
from wheelyard.storage.base import ObjectVersion

WRONG_INDEX: Final = "wrong_index"
"""The code of an Unavailable for an index whose definition does not fit."""


class KnownIndexes(Struct, frozen=True):
    """The definitions of the settings and of the store together."""

    definitions: Mapping[str, IndexDefinition]
    """Those that are served, by name."""
    problems: Mapping[str, str]
    """Why others are not, in sentences, by name."""
    twice: tuple[str, ...]
    """Names that are in the settings and in the store: those of the settings count."""
    names: frozenset[str]
    """All names."""

    def removed_rules(self) -> Iterator[Caution]:
        """Yield a warning for each index that has rules, or a filter, of earlier versions."""
        for definition in self.definitions.values():
            yield from warnings_of_removed(definition)


class IndexDefinitions:
    """
    Returns the definitions of all indexes.

    Threads may share it. Each method raises Unavailable if those of the store cannot be read. The
    constructor raises Invalid (code `invalid_index`) if the layers of the settings lead in a circle
    or need upstream indexes that there are not.

    Args:
        tables: The `[[index]]` tables of the settings.
        records: Those of the store.
        roots: `[server] roots`.
        main: The definition of main.
        labels: Those of the upstream indexes.
    """

    def __init__(
        self,
        tables: Iterable[IndexKeys],
        records: IndexRecords,
        roots: Collection[str],
        main: IndexDefinition,
        labels: UpstreamLabels,
        *,
        is_private: bool = False,
    ) -> None:
        self.tables: Mapping[str, IndexKeys] = {table["name"]: table for table in tables}
        """The tables of the settings, by name."""
        configured = _parsed(self.tables.values())
        self.configured: Mapping[str, IndexDefinition] = configured
        """The definitions of the settings, by name."""
        self.records = records
        self.roots = roots
        self.main = main
        self.is_private = is_private
        """Whether the settings close all indexes, whatever their `read` says."""
        self.labels = labels
        """Those of the upstream indexes, which can be layers."""
        # Threads may set it at once. Each value is right for its version, so any may be the last.
        self._merged: tuple[ObjectVersion, KnownIndexes] | None = None
        self._is_unused = False
        """Whether this process knows that no command has made an index so far."""
        others = {layer for index in configured.values() for layer in index.layers}
        # what the settings lack may be in the store
        assumed = {
            name: IndexDefinition(name=name, layers=(name,))
            for name in others - {MAIN, UPSTREAM_LAYER, *labels.in_order, *configured}
        }
        require_fit({**assumed, **configured}, labels)

    def peek(self) -> KnownIndexes | None:
        """Return all definitions, or None if those of a remote store have to be read first."""
        snapshot = self.records.peek()
        if snapshot is None or (snapshot.value is None and not self._is_unused):
            return None
        return self._merge(snapshot)

    def load(self) -> KnownIndexes:
        """Return all definitions, read from the store if they may have changed."""
        return self._merge(self._read("fresh"))

    def served(self) -> Mapping[str, IndexDefinition]:
        """Return the definition of each index but main that is served, by name."""
        return self.load().definitions

    def names(self) -> Collection[str]:
        """Return the names of all indexes but main, also of those that are not served."""
        return self.load().names

    def stored(self) -> IndexList:
        """Return what the store has now."""
        return self._read("current").value or IndexList()

    def _read(self, max_age: MaxAge) -> Snapshot[IndexList]:
        """Return the document. Raises Unavailable if it is lost."""
        snapshot = self.records.get(max_age)
        if snapshot.value is None and not self._is_unused:
            # an installer that gets 404 for an index continues with its next one
            self.records.require_not_lost("which indexes there are")
            self._is_unused = True
        return snapshot

    def _merge(self, snapshot: Snapshot[IndexList]) -> KnownIndexes:
        merged = self._merged
        if merged is None or merged[0] != snapshot.version:
            merged = snapshot.version, self.merge(snapshot.value or IndexList())
            self._merged = merged
        return merged[1]

    def merge(self, stored: IndexList) -> KnownIndexes:
        """Return the definitions of the settings and these of the store together."""
        definitions, problems, twice = dict[str, IndexDefinition](), dict[str, str](), list[str]()
        configured, has_former_main = self.configured, stored.find(MAIN) is not None
        if has_former_main:
            problems[FORMER_MAIN] = FORMER_MAIN_PROBLEM
            configured = _parsed(map(with_former_main, self.tables.values()))
        for index in stored.indexes:
            if index.name == MAIN:
                continue
            if index.name in self.configured:
                twice.append(index.name)
                continue
            try:
                table = with_former_main(index.index) if has_former_main else index.index
                definition = read_definition(without_removed_rules(table))
            except Invalid as fault:
                problems[index.name] = fault.message
                continue
            definitions[index.name] = _with_removed(definition, index.index)
        definitions |= configured
        for name in definitions.keys() & {*self.labels.in_order}:
            problems[name] = _label_of_index(name)
            del definitions[name]
        problems |= misfits(definitions, self.labels, unreadable=problems)
        served = {name: value for name, value in definitions.items() if name not in problems}
        names = frozenset({*definitions, *problems})
        return KnownIndexes(served, problems, tuple(twice), names)

    def closed_layers(
        self, name: str, definitions: Mapping[str, IndexDefinition]
    ) -> tuple[str, ...]:
        """Return the indexes that are not open, and whose packages an open one of these shows."""
        with_main = {MAIN: self.main, **definitions}
        return closed_layers(with_main[name], with_main)

    def open_layers(
        self, names: Iterable[str], definitions: Mapping[str, IndexDefinition]
    ) -> Iterator[Caution]:
        """Yield a warning for each of these indexes that shows anybody what is not open."""
        for name in () if self.is_private else names:
            closed = self.closed_layers(name, definitions)
            if closed:
                yield Caution(
                    f"Anybody may read the index {name}, which shows packages of "
                    f"{describe_indexes(closed)}, where a right is needed. If that is not meant, "
                    f"give {name} read=granted.",
                    self._change_of(name, definitions),
                )

    def _change_of(self, name: str, definitions: Mapping[str, IndexDefinition]) -> Advice | None:
        """Return how an index is changed, or None for one of the settings."""
        if definitions[name].is_configured:
            return None
        return Advice(Remedy.CHANGE_INDEX, name)

    def get(self, name: str) -> IndexDefinition:
        """
        Return the definition of an index.

        Raises NotFound if there is none, and Unavailable (code `wrong_index`) if it does not fit.
        """
        return self.main if name == MAIN else served_definition(self.load(), name)

    def require_start(self, projects: Projects) -> None:
        """
        Raise Invalid (code `bad_setting`) if no server can start with these settings.

        That is: if an index of the settings has a layer that does not exist, or its name is that of
        an index in the store or of one of `projects`, which are those of main; if the label of an
        upstream index is the name of an index;
        and if one of `server.roots` is the name of an index in the store. If the definitions in the
        store are damaged, main works all the same, and warnings say it.
        """
        try:
            both = self.load()
        except Unavailable as fault:
            if fault.code in UNREADABLE_CODES:
                return
            raise
        for label in sorted(both.names.intersection(self.labels.in_order)):
            raise Invalid(f"upstream.index.label: {_label_of_index(label)}", code="bad_setting")
        for name, why in both.problems.items():
            if name in self.configured and FORMER_MAIN not in both.problems:
                raise Invalid(f"[[index]]: {why}", code="bad_setting")
        for name in self.configured.keys() & both.definitions.keys():
            if shown := self.closed_layers(name, both.definitions):
                raise Invalid(
                    f"[[index]]: anybody may read the index {name}, and not "
                    f"{describe_indexes(shown)}, whose packages it shows. Give it read = "
                    '"granted", or make it by a command, with --even-if-open.',
                    code="bad_setting",
                )
        for name in both.twice:
            raise Invalid(
                f"[[index]]: the index {quoted(name)} is in the settings, and a command has made "
                "one of this name. Take it out of the settings, or out of the store, which leaves "
                "its packages to the index of the settings.",
                code="bad_setting",
                advice=Advice(Remedy.REMOVE_INDEX, name),
            )
        for name in sorted(both.names.intersection(self.roots)):
            raise Invalid(
                f"server.roots: {quoted(name)} is the name of an index in the store as well. Take "
                "it out of the settings, or out of the store.",
                code="bad_setting",
                advice=Advice(Remedy.REMOVE_INDEX, name),
            )
        for name in self.configured:
            if what := owner_of_name(projects, name):
                raise Invalid(
                    f"[[index]]: no index can be named {quoted(name)}: {what} Choose another name.",
                    code="bad_setting",
                )


def served_definition(in_force: KnownIndexes, name: str) -> IndexDefinition:
    """
    Return the definition of an index beside main.

    Raises NotFound if there is none, and Unavailable (code `wrong_index`) if it does not fit.
    """
    if name in in_force.problems:
        advice = Advice(Remedy.CHANGE_INDEX, name)
        raise Unavailable(in_force.problems[name], code=WRONG_INDEX, advice=advice)
    if name not in in_force.definitions:
        raise unknown_index(name)
    return in_force.definitions[name]


def _label_of_index(label: str) -> str:
    return f"{label_taken(label, 'the name of an index')}."


def _parsed(tables: Iterable[IndexKeys]) -> dict[str, IndexDefinition]:
    """Return the definitions in tables of the settings, by name."""
    by_name = {table["name"]: table for table in tables}
    parsed = parse_index_tables(map(without_removed_rules, by_name.values()))
    return {one.name: _with_removed(one, by_name[one.name]) for one in parsed}


def _with_removed(definition: IndexDefinition, table: IndexKeys) -> IndexDefinition:
    """Return a definition with what only earlier versions know of the keys of its index."""
    return replace(
        definition, removed_rules=removed_rules(table), removed_filter=removed_filter(table)
    )


def warnings_of_removed(definition: IndexDefinition) -> Iterator[Caution]:
    """Yield what the rules, or the filter, of earlier versions lead to in an index."""
    name = definition.name
    is_configured = definition.is_configured
    if definition.removed_rules:
        yield removed_rules_warning(name, definition.removed_rules, is_configured=is_configured)
    if definition.removed_filter:
        yield removed_filter_warning(name, definition.removed_filter, is_configured=is_configured)


def owner_of_name(projects: Projects, name: str) -> str:
    """
    Return what of main has the name of an index, in a sentence, if anything.

    Whoever makes an index looks here after the definition is written, as an upload of a new project
    looks for a definition after its mark is written: one of both sees the other. Raises Unavailable
    if the store does not answer, or if a document is damaged.
    """
    project = NormalizedName(name)
    # The marks first: a mark that is gone again has left a document.
    marks = projects.store.list(keys.pending_marks(project))
    is_coming = any(keys.parse_pending_mark(entry.key) is not None for entry in marks)
    document = projects.documents.get(keys.project(project), "current").value
    if document is not None and document.exists:
        return "it is the name of a project of main."
    if project in projects.names.get_current().as_set:
        return "it is a private name of main. If nobody needs it, release it first."
    if is_coming:
        return (
            "somebody uploads a project of this name now, or an upload of one was interrupted, "
            "which counts for a day."
        )
    return ""


def unknown_sources(definition: IndexDefinition, names: Collection[str]) -> Iterator[Caution]:
    """Yield a warning for each index in `promote_from` that is none of these names."""
    for source in definition.promotion.promote_from:
        if source != MAIN and source not in names:
            yield names_no_index(f"promote_from of the index {definition.name}", source)


def names_no_index(what: str, name: str) -> Caution:
    """Return the warning that something names an index that does not exist."""
    return Caution(
        f"{what} names the index {name}, which does not exist: correct the name, or add the index"
    )


def unknown_index(name: str) -> NotFound:
    """Return the NotFound for the name of an index that does not exist, or is not in the store."""
    if name == MAIN:
        return NotFound(
            "The index main is not one of the store. Change it in [main] of the settings, and "
            "restart the servers."
        )
    return NotFound(f"There is no index {quoted(name)}.", advice=Advice(Remedy.LIST_INDEXES))
