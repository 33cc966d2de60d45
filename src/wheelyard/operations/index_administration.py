"""
Changes of the indexes in the store.

The name of an index is no project of main, and no project gets the name of an
index later. Two processes decide about that at once by this rule: each writes its own wish first,
and looks for that of the other then. An upload of a new project puts its mark, and looks for a
definition before its commit. Whoever makes an index commits the definition, looks for marks, names
and documents, and takes the definition back if there are any. So never both stay. If both are
refused, one of them succeeds when it tries again.

An index is not removed while it has packages. An upload that comes while it is removed may stay in
the store: nothing of it is shown or deleted, and it is there again once the index is made again.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any, Final

from msgspec.structs import replace

from wheelyard.catalog import keys
from wheelyard.catalog.commits import Committed
from wheelyard.catalog.file_removal import RESTORE_TIME, FileRemoval
from wheelyard.catalog.projects import Projects
from wheelyard.catalog.removed import (
    FORMER_MAIN_PROBLEM,
    REMOVED_KEYS,
    REMOVED_RULE,
    RENAME_MAIN,
    describe_removed_rules,
    removed_filter,
    removed_filter_warning,
    removed_rules,
    with_former_main,
    without_removed_rules,
)
from wheelyard.catalog.stored_tokens import TokenRecords
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Conflict, Invalid, Unavailable, WheelyardError, quoted
from wheelyard.model.decoding import counted, require_one_line
from wheelyard.model.index_definition import IndexDefinition, read_definition
from wheelyard.model.index_name import (
    EVERY_INDEX,
    FORMER_MAIN,
    MAIN,
    parse_index_name,
    parse_right_index,
)
from wheelyard.model.index_texts import INDEX_KEYS
from wheelyard.model.stored_indexes import (
    FILTER,
    INDEX_EXISTS,
    INDEX_KIND,
    NAME,
    AnyIndexEvent,
    IndexChanged,
    IndexCommit,
    IndexKeys,
    IndexList,
    IndexMade,
    IndexRemoved,
    ListedIndex,
    MainChanged,
    StoredIndex,
    with_main,
)
from wheelyard.model.stored_tables import NEVER_CHANGED, StoredTable, TableAdded, TableChanged
from wheelyard.operations.access_control import NOTE_LIMIT_CHARS, AccessControl
from wheelyard.operations.index_definitions import (
    IndexDefinitions,
    KnownIndexes,
    owner_of_name,
    unknown_index,
    unknown_sources,
    warnings_of_removed,
)
from wheelyard.operations.index_fit import require_lists_fit
from wheelyard.operations.lifecycle import KEPT_FOR
from wheelyard.operations.publishers import Publishers
from wheelyard.operations.stored_tables import StoredTables
from wheelyard.remedies import ALL_VERSIONS, Advice, Caution, Remedy
from wheelyard.storage.base import Key

UNKNOWN_INDEX: Final = "unknown_index"
"""The code of a Conflict for a right in an index that does not exist."""
INDEX_IN_USE: Final = "index_in_use"
"""The code of a Conflict for an index that cannot be removed."""


_Edit = IndexMade | IndexChanged | MainChanged


class IndexAdministration(StoredTables[IndexList, IndexCommit, AnyIndexEvent, ListedIndex]):
    """
    Lists, makes, changes and removes indexes.

    Each method raises Unavailable if the store does not answer.

    Args:
        in_force: The definitions of all indexes.
        projects: Those of main.
        files: What knows the documents of all indexes.
        access: Has the grants.
        publishers: Has the trusted publishers.
        tokens: Has the API tokens.
        runtime: Its clock.
    """

    def __init__(  # noqa: PLR0913 - one for each kind of thing that names indexes
        self,
        *,
        in_force: IndexDefinitions,
        projects: Projects,
        files: FileRemoval,
        access: AccessControl,
        publishers: Publishers,
        tokens: TokenRecords,
        runtime: Runtime,
    ) -> None:
        super().__init__(INDEX_KIND, in_force.records, runtime)
        self.in_force = in_force
        self.access = access
        self.publishers = publishers
        self.tokens = tokens
        self._projects = projects
        self._files = files

    def read_stored(self) -> IndexList:
        """See `StoredTables`. Raises Unavailable if the document is lost."""
        return self.in_force.stored()

    def add(
        self, keys: IndexKeys, by: str, note: str = "", *, even_if_open: bool = False
    ) -> ListedIndex:
        """
        Add an index to the store, and return it.

        Raises Invalid (code `invalid_index` or `invalid_field`) if a key is wrong, a layer does not
        exist, or layers lead in a circle. Raises Conflict (code `index_exists`) if something else
        has the name, and (code `opens_index`) unless `even_if_open` if anybody could read packages
        by it that they may not read in their own index.
        """
        require_fit = partial(self.require_lists, even_if_open=even_if_open)
        committed, name = self.commit_added(keys, by, note, require_fit)
        for event in committed.events:
            self.confirm(event, committed.before, by)
        listed = self.listed_after(committed, name)
        # what is of an index that had the name before, or of one that was to come
        naming = self._naming(name)
        if not naming:
            return listed
        caution = Caution(
            f"these named the index {name} before it was made, and hold in it now: {naming}"
        )
        return replace(listed, warnings=(*listed.warnings, caution))

    def change(
        self,
        name: str,
        keys: Mapping[str, Any],
        by: str,
        note: str = "",
        as_of: datetime | None = None,
        *,
        even_if_open: bool = False,
    ) -> ListedIndex:
        """
        Give other values to keys of an index, and return it.

        None leaves a key out. Raises NotFound if there is no such index. Raises
        Invalid as `add` does, also for another name. Raises Conflict (code `index_changed`) if
        `as_of` is not when it was last changed, (code `removed_rule`) if the index keeps a rule
        that this version does not know, and (code `opens_index`) as `add`.
        """
        require_fit = partial(self.require_lists, even_if_open=even_if_open)
        committed = self.commit_changed(name, keys, by, note, as_of, require_fit)
        return self.listed_after(committed, name)

    def remove(self, name: str, by: str, note: str = "") -> tuple[Caution, ...]:
        """
        Remove an index from the store, and return warnings.

        Raises NotFound if there is no such index. Raises Conflict (code `index_in_use`) while it
        has packages, or is a layer of another index.
        """
        require_one_line(note, "A note", NOTE_LIMIT_CHARS)
        self.require_removable(name, self.read_stored())
        self._require_empty(name)
        # before the commit: where they cannot be read, nothing is removed
        warnings = tuple(self.warnings(name))

        def intent(stored: IndexList) -> tuple[AnyIndexEvent, ...]:
            self.require_removable(name, stored)
            self.require_no_layer(name, stored)
            return (IndexRemoved(at=self.runtime.now(), by=by, note=note, name=name),)

        committed = self.commit(intent)
        for event in committed.events:
            self.confirm(event, committed.before, by)
        return warnings

    def confirm(self, event: AnyIndexEvent, before: IndexList, by: str) -> None:
        """
        Take a change that was just committed back if the name, or a package, came meanwhile.

        `before` is the list before the commit. Raises Conflict then.
        """
        if isinstance(event, IndexMade):
            name = str(event.keys["name"])
            try:
                # somebody may have begun to upload a project of this name meanwhile
                self.require_free(name)
            except WheelyardError:
                self._take_back(name, by)
                raise
        elif isinstance(event, IndexRemoved):
            try:
                # somebody may have begun to upload to it meanwhile
                self.require_unused(event.name)
            except WheelyardError:
                self._put_back(event.name, before, by)
                raise

    def _take_back(self, name: str, by: str) -> None:
        note = "the name was taken at the same time"
        gone = IndexRemoved(at=self.runtime.now(), by=by, note=note, name=name)
        self.commit(lambda stored: (gone,) if stored.find(name) is not None else ())

    def _put_back(self, name: str, before: IndexList, by: str) -> None:
        table = self.require_stored(name, before).keys
        again = IndexMade(at=self.runtime.now(), by=by, note="it got a package", keys=table)
        self.commit(lambda stored: () if stored.find(name) is not None else (again,))

    def require_known(self, name: str) -> None:
        """
        Raise Conflict unless a right can name indexes: `name` has commas between those of several.

        The code is `unknown_index`, and the field of the error `index`; or `index_in_use` for main
        while an index of an earlier version has its name. Raises Invalid for a malformed name.
        """
        for part in name.split(","):
            index = parse_right_index(part.strip())
            if index == MAIN:
                _require_no_former_main(self.in_force.stored())
            if index in {MAIN, EVERY_INDEX}:
                continue
            if self.in_force.stored().find(index) is not None:
                continue
            unknown = unknown_index(index)
            raise Conflict(
                unknown.message, code=UNKNOWN_INDEX, advice=unknown.advice, field="index"
            )

    def require_free(self, name: str) -> None:
        """Raise Conflict (code `index_exists`) if what is no index has the name."""
        parse_index_name(name)
        if name in self.in_force.roots:
            raise _taken(name, "the settings have it in server.roots.")
        if name in self.in_force.labels:
            raise _taken(name, "it is the label of an upstream index of the settings.")
        if what := owner_of_name(self._projects, name):
            raise _taken(name, what)

    def require_lists(self, event: AnyIndexEvent, stored: IndexList, *, even_if_open: bool) -> None:
        """Raise Invalid or Conflict, as `require_lists_fit`, if the indexes are wrong after it."""
        if isinstance(event, TableAdded | TableChanged) and with_former_main(event.keys) != (
            event.keys
        ):
            # nobody could tell later which of the two it means
            _require_no_former_main(stored)
        after = self.kind.apply(stored, event)
        require_lists_fit(self.in_force, stored, after, even_if_open=even_if_open)

    def checked(self, keys: IndexKeys, name: str | None) -> IndexKeys:
        """See `StoredTables`. The keys of main have no name."""
        named = with_main(keys)
        if name == MAIN:
            self.in_force.read_main(named)
        else:
            read_definition(named)
        return named

    def has_key(self, key: str, table: IndexKeys) -> bool:
        """See `StoredTables`."""
        del table
        return key in INDEX_KEYS or key in REMOVED_KEYS

    def is_same(self, new: IndexKeys, before: IndexKeys) -> bool:
        """See `StoredTables`."""
        return with_main(new) == with_main(before)

    def keys_before(self, before: StoredTable, changes: Mapping[str, Any]) -> IndexKeys:
        """See `StoredTables`. Raises Conflict unless the rules of earlier versions are left out."""
        _require_nothing_removed(before.name or MAIN, before.keys, changes)
        return without_removed_rules(before.keys)

    def require_change(self, before: StoredTable, new: IndexKeys) -> None:
        """See `StoredTables`."""
        _require_keys_of_filter(before.name, before.keys, new)

    def changed_event(self, name: str) -> Callable[..., AnyIndexEvent]:
        """See `StoredTables`."""
        if name == MAIN:
            return MainChanged
        return IndexChanged

    def require_stored(self, name: str, stored: IndexList) -> StoredTable:
        """See `StoredTables`. Main is there also if nobody has changed it."""
        if name == MAIN:
            _require_no_former_main(stored)
            return stored.main or StoredIndex(keys={}, created=NEVER_CHANGED, created_by="")
        return super().require_stored(name, stored)

    def taken(self, name: str) -> Conflict:
        """See `StoredTables`."""
        return _taken(name, "there is one in the store.")

    def require_removable(self, name: str, stored: IndexList) -> None:
        """Raise NotFound, Invalid or Conflict unless an index can be removed."""
        self.require_stored(name, stored)
        if name == MAIN:
            raise Invalid(
                "The index main is at the root of the server, and always there. Change it, or "
                "delete its packages.",
                code="invalid_index",
            )

    def _require_empty(self, name: str) -> set[str]:
        """
        Return the names of the projects of an index.

        Raises Conflict (code `index_in_use`) if one of them has files, or may restore some.
        """
        names = set[str]()
        for project in self._files.projects_of(name):
            names.add(project.name)
            if project.files:
                raise Conflict(
                    f"The index {quoted(name)} has packages, such as {project.name}.",
                    code=INDEX_IN_USE,
                    advice=Advice(Remedy.DELETE, project.name, versions=ALL_VERSIONS, index=name),
                )
            kept = self._files.kept_files(project, self._files.clock.now())
            if kept:
                days = (KEPT_FOR + RESTORE_TIME).days
                raise Conflict(
                    f"The index {quoted(name)} has deleted files that can be restored, such as of "
                    f"{project.name}. Try again {days} days after their deletion.",
                    code=INDEX_IN_USE,
                    advice=Advice(Remedy.DELETE_NOW, project.name, name, sha256=kept[0].sha256),
                )
        return names

    def require_unused(self, name: str) -> None:
        """
        Raise Conflict (code `index_in_use`) if an index has files, or gets a project now.

        Whoever adds a project looks for the index after its mark is written: one of both sees the
        other.
        """
        folder = keys.index_folder(name)
        marks = self._files.stores.documents.list(f"{folder}{keys.PENDING}")
        # the marks first: a mark that is gone again has left a document
        coming = {
            mark.project
            for entry in marks
            if (mark := keys.parse_pending_mark(Key(entry.key.removeprefix(folder)))) is not None
        }
        for project in coming - self._require_empty(name):
            raise Conflict(
                f"Somebody uploads {project} to the index {quoted(name)} now, or such an upload "
                "was interrupted, which counts for a day. Try again later.",
                code=INDEX_IN_USE,
            )

    def warnings(self, name: str) -> Iterator[Caution]:
        """Yield a warning if rights or rules of retention name an index that is to be removed."""
        naming = self._naming(name)
        if naming:
            yield Caution(
                f"{naming} for the index {name}: they hold again if an index of this name is made"
            )

    def _naming(self, name: str) -> str:
        """Return how many rights and rules of retention name an index, in words, or nothing."""
        now = self.runtime.now()
        grants = sum(name in grant.index.split(",") for grant in self.access.show().grants)
        publishers = sum(
            name in str(row.keys.get("index")).split(",") for row in self.publishers.show()
        )
        tokens = sum(
            name in record.scope.indexes and record.revoked_at is None and record.expires_at > now
            for record in self.tokens.all()
        )
        retention = self.in_force.stored().retention
        rules = retention.count_about(name) if retention is not None else 0
        kinds = {
            "grant": grants,
            "publisher": publishers,
            "token": tokens,
            "retention rule": rules,
        }
        return " and ".join(counted(number, kind) for kind, number in kinds.items() if number)

    def require_no_layer(self, name: str, stored: IndexList) -> None:
        """Raise Conflict (code `index_in_use`) if another index has an index as a layer."""
        above = sorted(
            other
            for other, definition in self.in_force.read(stored).definitions.items()
            if other != name and name in definition.layers
        )
        if above:
            raise Conflict(
                f"{quoted(name)} is a layer of the index {quoted(above[0])}. Take it out there "
                "first.",
                code=INDEX_IN_USE,
            )

    def listed_in(self, stored: IndexList) -> Iterable[ListedIndex]:
        """See `StoredTables`. First comes main."""
        now = self.in_force.read(stored)
        main = ListedIndex(name=MAIN, keys={})
        if stored.main is not None:
            main = replace(self.kind.listed_row(stored.main), name=MAIN)
        yield self._judged(main, MAIN, now)
        for index in stored.tables:
            name = index.name
            if name == MAIN:
                name = FORMER_MAIN
            yield self._judged(self.kind.listed_row(index), name, now)

    def _judged(self, row: ListedIndex, name: str, now: KnownIndexes) -> ListedIndex:
        """Return a row with why it is not served, or what is probably wrong with it."""
        definition = now.with_main.get(name)
        warnings = tuple(self._own_warnings(definition, now)) if definition else ()
        return replace(row, problem=now.problems.get(name, ""), warnings=warnings)

    def listed_after(
        self, committed: Committed[IndexList, AnyIndexEvent], name: str
    ) -> ListedIndex:
        """See `StoredTables`. The warnings also have those that are new for other indexes."""
        listed = super().listed_after(committed, name)
        after = self.in_force.read(committed.after)
        showing = [other for other in after.with_main if other != name]
        before = self.in_force.read(committed.before).with_main
        open_before = {*self.in_force.open_layers(before, before)}
        new = (
            caution
            for caution in self.in_force.open_layers(showing, after.with_main)
            if caution not in open_before
        )
        return replace(listed, warnings=(*listed.warnings, *new))

    def _own_warnings(self, definition: IndexDefinition, now: KnownIndexes) -> Iterator[Caution]:
        """Yield what of the definition of an index may not be meant."""
        name = definition.name
        yield from unknown_sources(definition, now.names)
        yield from warnings_of_removed(definition)
        yield from self.in_force.open_layers((name,), now.with_main)
        has_files = False
        if not definition.has_packages:
            with suppress(Unavailable):  # what is to be listed, or was changed, is so all the same
                has_files = any(project.files for project in self._files.projects_of(name))
        if has_files:
            yield Caution(
                f"The index {name} has packages that it does not show, as its own name is none of "
                f"its layers. To show them, add {name} to its layers."
            )


def _require_no_former_main(stored: IndexList) -> None:
    """Raise Conflict (code `index_in_use`) while an index of an earlier version is called main."""
    if stored.find(MAIN) is not None:
        raise Conflict(FORMER_MAIN_PROBLEM, code=INDEX_IN_USE, advice=RENAME_MAIN)


def _require_nothing_removed(
    name: str, before: Mapping[str, Any], table: Mapping[str, Any]
) -> None:
    """Raise Conflict unless a change takes away the rules and the filter of earlier versions."""
    kept = [rule for rule in removed_rules(before) if rule not in table]
    if kept:
        raise Conflict(
            describe_removed_rules(name, kept),
            code=REMOVED_RULE,
            advice=Advice(Remedy.EMPTY_KEYS, name, keys=tuple(kept)),
        )
    text = removed_filter(before)
    if text and FILTER not in table:
        caution = removed_filter_warning(name, text)
        raise Conflict(caution.message, code=REMOVED_RULE, advice=caution.advice)


def _require_keys_of_filter(name: str, before: IndexKeys, after: IndexKeys) -> None:
    """Raise Conflict (code `removed_rule`) if a filter is taken away, and no rule hides a file."""
    text = removed_filter(before)
    if text and not removed_filter(after) and not read_definition(after).hides_files:
        raise Conflict(
            f"The filter of the index {name} is taken away with keys of rules in its place, as it "
            "would show every file without any. To have no rules, remove the index and make it "
            "again.",
            code=REMOVED_RULE,
        )


def _taken(name: str, why: str) -> Conflict:
    message = f"No index can be named {quoted(name)}: {why} Choose another name."
    return Conflict(message, code=INDEX_EXISTS, field=NAME)
