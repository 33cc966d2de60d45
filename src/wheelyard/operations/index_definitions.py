"""
The definitions of indexes in force, which the store keeps.

They change while servers run, and each server reads them as any other document. An index whose
definition does not fit any more, such as when its layer was taken out of the settings, is not
served. All other indexes are.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.catalog import keys, removed
from wheelyard.catalog.document_cache import MaxAge, Snapshot
from wheelyard.catalog.journaled_documents import IndexRecords
from wheelyard.catalog.projects import Projects
from wheelyard.errors import UNREADABLE_CODES, Invalid, NotFound, Unavailable, quoted
from wheelyard.model.access import describe_indexes
from wheelyard.model.index_definition import (
    WRONG_INDEX,
    IndexDefinition,
    UpstreamLabels,
    closed_layers,
    closed_main,
    label_taken,
    misfits,
    read_definition,
    read_main,
)
from wheelyard.model.index_name import FORMER_MAIN, MAIN
from wheelyard.model.stored_indexes import IndexList
from wheelyard.remedies import Advice, Caution, Remedy
from wheelyard.storage.base import ObjectVersion


class KnownIndexes(Struct, frozen=True):
    """The definitions of all indexes."""

    main: IndexDefinition
    """The definition of main. If main cannot be served, a definition that opens nothing."""
    definitions: Mapping[str, IndexDefinition]
    """The definitions of all indexes but main that are served, by name."""
    problems: Mapping[str, str]
    """Why an index is not served, in a sentence, by the name of the index."""
    names: frozenset[str]
    """The names of all indexes but main."""

    @property
    def with_main(self) -> dict[str, IndexDefinition]:
        """The definitions of all indexes that are served, also of main, by name."""
        served = dict[str, IndexDefinition]()
        if MAIN not in self.problems:
            served[MAIN] = self.main
        return served | dict(self.definitions)

    def removed_rules(self) -> Iterator[Caution]:
        """Yield a warning for each index that has rules, or a filter, of earlier versions."""
        for definition in self.definitions.values():
            yield from warnings_of_removed(definition)


class IndexDefinitions:
    """
    Returns the definitions of all indexes.

    Threads may share it. Each method raises Unavailable if the definitions cannot be read.

    Args:
        records: The definitions in the store.
        roots: The names of `[server] roots`, which no index can have.
        labels: The labels of the upstream indexes, which can be layers.
        is_private: Whether the settings close all indexes, whatever their `read` says.
    """

    def __init__(
        self,
        records: IndexRecords,
        roots: Collection[str],
        labels: UpstreamLabels,
        *,
        is_private: bool = False,
    ) -> None:
        self.records = records
        self.roots = roots
        self.is_private = is_private
        """Whether the settings close all indexes, whatever their `read` says."""
        self.labels = labels
        """The labels of the upstream indexes, which can be layers."""
        # Threads may set this at once. Any value may be the last, as each names its version.
        self._read_last: tuple[ObjectVersion, KnownIndexes] | None = None
        """The definitions that were read last, after the version of their document."""
        self._is_unused = False
        """Whether this process has found that nobody has made or changed an index so far."""

    def peek(self) -> KnownIndexes | None:
        """Return all definitions, or None if they have to be read from a remote store first."""
        snapshot = self.records.peek()
        if snapshot is None:
            return None
        if snapshot.value is None and not self._is_unused:
            # perhaps the document is lost, and only a request to the store can tell
            return None
        return self._definitions_in(snapshot)

    def load(self) -> KnownIndexes:
        """Return all definitions, read from the store if they may have changed."""
        return self._definitions_in(self.snapshot("fresh"))

    def served(self) -> Mapping[str, IndexDefinition]:
        """Return the definition of each index but main that is served, by name."""
        return self.load().definitions

    def names(self) -> Collection[str]:
        """Return the names of all indexes but main, also of those that are not served."""
        return self.load().names

    def stored(self) -> IndexList:
        """Return the list that the store has now. It is empty if nobody has changed an index."""
        return self.snapshot("current").value or IndexList()

    def snapshot(self, max_age: MaxAge) -> Snapshot[IndexList]:
        """
        Return the document of the indexes with its version.

        Its value is None if nobody has changed an index. Raises Unavailable if the document is
        lost.
        """
        snapshot = self.records.get(max_age)
        if snapshot.value is None and not self._is_unused:
            # raises, as an installer that gets 404 for an index continues with its next index
            self.records.require_not_lost("which indexes there are")
            self._is_unused = True
        return snapshot

    def _definitions_in(self, snapshot: Snapshot[IndexList]) -> KnownIndexes:
        """Return the definitions in a document, which are parsed once for each version of it."""
        read_last = self._read_last
        if read_last is not None and read_last[0] == snapshot.version:
            return read_last[1]
        definitions = self.read(snapshot.value or IndexList())
        self._read_last = (snapshot.version, definitions)
        return definitions

    def read(self, stored: IndexList) -> KnownIndexes:
        """
        Return the definitions in a list of indexes.

        If a definition is wrong, or does not fit its layers, `problems` says so, and nothing is
        raised. Such an index is not served, and such a main opens nothing.
        """
        definitions = dict[str, IndexDefinition]()
        problems = dict[str, str]()
        main_keys: Mapping[str, Any] = {}
        if stored.main is not None:
            main_keys = stored.main.keys
        try:
            main = self.read_main(main_keys)
        except Invalid as fault:
            main = self.closed_main(fault.message)
            problems[MAIN] = fault.message
        has_former_main = stored.find(MAIN) is not None
        if has_former_main:
            problems[FORMER_MAIN] = removed.FORMER_MAIN_PROBLEM
        for index in stored.tables:
            if index.name == MAIN:
                continue
            table = index.keys
            if has_former_main:
                # where a key says main, it means the index that an earlier version has called so
                table = removed.with_former_main(table)
            try:
                definition = read_definition(removed.without_removed_rules(table))
            except Invalid as fault:
                problems[index.name] = fault.message
                continue
            # an index with a filter of an earlier version shows no file, and an index with rules
            # of an earlier version gets no file by promotion
            definitions[index.name] = replace(
                definition,
                removed_rules=removed.removed_rules(index.keys),
                removed_filter=removed.removed_filter(index.keys),
            )
        for name in definitions.keys() & set(self.labels.in_order):
            problems[name] = _label_of_index(name)
            del definitions[name]

        # last, as an index is not served if one of its layers is not
        problems |= misfits(definitions, self.labels, unreadable=problems)
        served = dict[str, IndexDefinition]()
        for name, definition in definitions.items():
            if name not in problems:
                served[name] = definition
        names = definitions.keys() | problems.keys()
        return KnownIndexes(main, served, problems, frozenset(names - {MAIN}))

    def read_main(self, keys: Mapping[str, Any]) -> IndexDefinition:
        """Return the definition of main with these keys. Raises Invalid if a key is wrong."""
        return read_main(keys, has_upstream=bool(self.labels.in_order))

    def closed_main(self, problem: str) -> IndexDefinition:
        """Return a definition of main that opens nothing, for while its own cannot be read."""
        return closed_main(problem, has_upstream=bool(self.labels.in_order))

    def closed_layers(
        self, name: str, definitions: Mapping[str, IndexDefinition]
    ) -> tuple[str, ...]:
        """
        Return the names of the closed indexes that an open index shows.

        Returns nothing if the index is not open. `definitions` are those of all indexes, also of
        main.
        """
        return closed_layers(definitions[name], definitions)

    def open_layers(
        self, names: Iterable[str], definitions: Mapping[str, IndexDefinition]
    ) -> Iterator[Caution]:
        """
        Yield a warning for each of these indexes that is open and shows a closed index.

        Yields nothing if the settings close all indexes.
        """
        if self.is_private:
            return
        for name in names:
            closed_names = self.closed_layers(name, definitions)
            if closed_names:
                closed_text = describe_indexes(closed_names)
                yield Caution(
                    f"Anybody may read the index {name}, which shows packages of {closed_text}, "
                    f"where a right is needed. If that is not meant, give {name} read=granted.",
                    Advice(Remedy.CHANGE_INDEX, name),
                )

    def get(self, name: str) -> IndexDefinition:
        """
        Return the definition of an index.

        Raises NotFound if there is none, and Unavailable (code `wrong_index`) if it does not fit.
        """
        return served_definition(self.load(), name)

    def require_start(self) -> None:
        """
        Raise Invalid (code `bad_setting`) if the settings use the name of an index.

        Neither the label of an upstream index nor a name in `server.roots` may be the name of an
        index. A server starts also with damaged definitions: then no index is open, and warnings
        say so.
        """
        try:
            names = self.load().names
        except Unavailable as fault:
            if fault.code in UNREADABLE_CODES:
                return
            raise
        for label in sorted(names.intersection(self.labels.in_order)):
            raise Invalid(f"upstream.index.label: {_label_of_index(label)}", code="bad_setting")
        for name in sorted(names.intersection(self.roots)):
            raise Invalid(
                f"server.roots: {quoted(name)} is the name of an index in the store as well. Take "
                "it out of the settings, or out of the store.",
                code="bad_setting",
                advice=Advice(Remedy.REMOVE_INDEX, name),
            )


def served_definition(in_force: KnownIndexes, name: str) -> IndexDefinition:
    """
    Return the definition of an index.

    Raises NotFound if there is none, and Unavailable (code `wrong_index`) if it does not fit.
    """
    if name in in_force.problems:
        advice = Advice(Remedy.CHANGE_INDEX, name)
        raise Unavailable(in_force.problems[name], code=WRONG_INDEX, advice=advice)
    if name == MAIN:
        return in_force.main
    if name not in in_force.definitions:
        raise unknown_index(name)
    return in_force.definitions[name]


def _label_of_index(label: str) -> str:
    """Return in a sentence that a label is the name of an index."""
    return f"{label_taken(label, 'the name of an index')}."


def warnings_of_removed(definition: IndexDefinition) -> Iterator[Caution]:
    """Yield a warning for the rules, and for the filter, of earlier versions in a definition."""
    if definition.removed_rules:
        yield removed.removed_rules_warning(definition.name, definition.removed_rules)
    if definition.removed_filter:
        yield removed.removed_filter_warning(definition.name, definition.removed_filter)


def owner_of_name(projects: Projects, name: str) -> str:
    """
    Return a sentence about the project of main that has a name, for a new index.

    An empty text means that main has no such project. The process that makes an index calls this
    after it has committed the definition. An upload of a new project puts its mark, and then looks
    for a definition. So whichever is first, the process or the upload sees the other. Raises
    Unavailable if the store does not answer, or if a document is damaged.
    """
    project = NormalizedName(name)
    # the marks first: if a mark is gone by now, its commit has left a document
    marks = projects.store.list(keys.pending_marks(project))
    is_being_uploaded = any(keys.parse_pending_mark(entry.key) is not None for entry in marks)
    document = projects.documents.get(keys.project(project), "current").value
    if document is not None and document.exists:
        return "it is the name of a project of main."
    if project in projects.names.get_current().as_set:
        return "it is a private name of main. If nobody needs it, release it first."
    if is_being_uploaded:
        return (
            "somebody uploads a project of this name now, or an upload of one was interrupted, "
            "which counts for a day."
        )
    return ""


def unknown_sources(definition: IndexDefinition, names: Collection[str]) -> Iterator[Caution]:
    """Yield a warning for each index in `promote_from` that is neither main nor in `names`."""
    for source in definition.promotion.promote_from:
        if source != MAIN and source not in names:
            yield names_no_index(f"promote_from of the index {definition.name}", source)


def names_no_index(subject: str, name: str) -> Caution:
    """Return the warning that something, the `subject`, names an index that does not exist."""
    return Caution(
        f"{subject} names the index {name}, which does not exist: correct the name, or add the "
        "index"
    )


def unknown_index(name: str) -> NotFound:
    """Return the NotFound for the name of an index that does not exist."""
    return NotFound(f"There is no index {quoted(name)}.", advice=Advice(Remedy.LIST_INDEXES))
