"""
Changes of the indexes in the store.

An index and a project of main never have one name. Two processes that want one name at the same
time keep to that by this rule: each writes first, and then looks for what the other has written.
An upload of a new project puts its mark, and looks for a definition before its commit. The process
that makes an index commits the definition, looks for marks, names and documents, and takes the
definition back if it finds any. So the index and the project never both stay. If both are refused,
one of them succeeds when it tries again. If the process that makes the index dies between its two
steps, both may stay, and a check of the store reports it.

An index is not removed while it has packages. An upload to it while it is removed may stay in the
store. Nothing of the upload is shown or deleted, and once the index is made again, it has the
package.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any, Final

from msgspec.structs import replace

from wheelyard.catalog import keys, removed
from wheelyard.catalog.commits import Committed
from wheelyard.catalog.file_removal import RESTORE_TIME, FileRemoval
from wheelyard.catalog.projects import Projects
from wheelyard.catalog.stored_tokens import TokenRecords
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Conflict, Invalid, Unavailable, WheelyardError, quoted
from wheelyard.model import stored_indexes
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
from wheelyard.operations.table_changes import StoredTables
from wheelyard.remedies import ALL_VERSIONS, Advice, Caution, Remedy
from wheelyard.storage.base import Key

UNKNOWN_INDEX: Final = "unknown_index"
"""The code of a Conflict for a right in an index that does not exist."""
INDEX_IN_USE: Final = "index_in_use"
"""The code of a Conflict for an index that cannot be removed."""


class IndexAdministration(
    StoredTables[
        stored_indexes.IndexList,
        stored_indexes.IndexCommit,
        stored_indexes.AnyIndexEvent,
        stored_indexes.ListedIndex,
    ]
):
    """
    Lists, makes, changes and removes indexes.

    Each method raises Unavailable if the store does not answer.

    Args:
        in_force: The definitions of all indexes.
        projects: The projects of main.
        files: Reads the documents of all indexes.
        access: The grants.
        publishers: The trusted publishers.
        tokens: The API tokens.
        runtime: The clock of the process.
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
        super().__init__(stored_indexes.INDEX_KIND, in_force.records, runtime)
        self.in_force = in_force
        self.access = access
        self.publishers = publishers
        self.tokens = tokens
        self._projects = projects
        self._files = files

    def read_stored(self) -> stored_indexes.IndexList:
        """Return the list of indexes in the store now. Raises Unavailable if it is lost."""
        return self.in_force.stored()

    def add(
        self, keys: stored_indexes.IndexKeys, by: str, note: str = "", *, even_if_open: bool = False
    ) -> stored_indexes.ListedIndex:
        """
        Add an index to the store, and return it.

        Its warnings also say which rights and rules of retention named it before. Raises Invalid
        (code `invalid_index` or `invalid_field`) if a key or the note is wrong, a layer does not
        exist, or layers lead in a circle. Raises Conflict (code `index_exists`) if something else
        has the name, also if it has got the name meanwhile: then the index is taken back. Raises
        Conflict (code `opens_index`) unless `even_if_open` if anybody could read packages by it
        that they may not read in their own index, and (code `index_in_use`) if a key names main
        while an index of an earlier version is called so. Raises NotFound if another process has
        removed the index meanwhile.
        """
        require_fit = partial(self.require_lists, even_if_open=even_if_open)
        committed, name = self.commit_added(keys, by, note, require_fit)
        # after the commit: an upload finds the definition, or its mark is found here
        for event in committed.events:
            self.confirm(event, committed.before, by)
        listed_index = self.listed_after(committed, name)
        # rights may name an index that had the name before, or one that was still to be made
        rights_text = self._count_rights_in(name)
        if not rights_text:
            return listed_index
        caution = Caution(
            f"these named the index {name} before it was made, and hold in it now: {rights_text}"
        )
        return replace(listed_index, warnings=(*listed_index.warnings, caution))

    def change(
        self,
        name: str,
        keys: Mapping[str, Any],
        by: str,
        note: str = "",
        as_of: datetime | None = None,
        *,
        even_if_open: bool = False,
    ) -> stored_indexes.ListedIndex:
        """
        Give other values to keys of an index, main or another, and return it.

        A value of None takes the key away. Raises NotFound if there is no such index. Raises
        Invalid (code `invalid_index` or `invalid_field`) if a key or the note is wrong, or if the
        name is another one. Raises Conflict (code `index_changed`) if `as_of` is given and is not
        the time of the last change, (code `removed_rule`) if the index keeps a rule that this
        version does not know, (code `index_in_use`) if it is main, or a key names main, while an
        index of an earlier version is called so, and (code `opens_index`) unless `even_if_open` if
        anybody could read packages by it that they may not read in their own index.
        """
        require_fit = partial(self.require_lists, even_if_open=even_if_open)
        committed = self.commit_changed(name, keys, by, note, as_of, require_fit)
        return self.listed_after(committed, name)

    def remove(self, name: str, by: str, note: str = "") -> tuple[Caution, ...]:
        """
        Remove an index from the store, and return warnings about rights that name it.

        Raises NotFound if there is no such index, and Invalid for main (code `invalid_index`) or if
        the note is not one line of text. Raises Conflict (code `index_in_use`) while it has
        packages or deleted files that can be restored, or is a layer of another index. An index
        that gets a package meanwhile is put back.
        """
        require_one_line(note, "A note", NOTE_LIMIT_CHARS)
        self.require_removable(name, self.read_stored())
        self._require_empty(name)
        # before the commit: if the rights cannot be read, nothing is removed
        warnings = tuple(self.warnings(name))

        committed = self.commit(partial(self._events_of_removal, name, by, note))
        # a process that dies before this may leave a package in an index without definition
        for event in committed.events:
            self.confirm(event, committed.before, by)
        return warnings

    def _events_of_removal(
        self, name: str, by: str, note: str, stored: stored_indexes.IndexList
    ) -> tuple[stored_indexes.AnyIndexEvent, ...]:
        """
        Return the event that removes an index, for its commit.

        Raises an error if the index cannot be removed by now, such as when it has become a layer.
        """
        self.require_removable(name, stored)
        self.require_no_layer(name, stored)
        return (stored_indexes.IndexRemoved(at=self.runtime.now(), by=by, note=note, name=name),)

    def confirm(
        self, event: stored_indexes.AnyIndexEvent, before: stored_indexes.IndexList, by: str
    ) -> None:
        """
        Look again after a commit whether it was allowed, and take the change back if not.

        `before` is the list of indexes before the commit. Raises Conflict (code `index_exists`) if
        something else has got the name of a new index, and (code `index_in_use`) if a removed index
        has got a package. The change is also taken back if the store does not answer, and this
        raises Unavailable.
        """
        if isinstance(event, stored_indexes.IndexMade):
            name = str(event.keys["name"])
            try:
                # somebody may have begun to upload a project of this name meanwhile
                self.require_free(name)
            except WheelyardError:
                self._take_back(name, by)
                raise
        elif isinstance(event, stored_indexes.IndexRemoved):
            try:
                # somebody may have begun to upload to the index meanwhile
                self.require_unused(event.name)
            except WheelyardError:
                self._put_back(event.name, before, by)
                raise

    def _take_back(self, name: str, by: str) -> None:
        """Remove an index that was just made, unless another process has removed it."""
        note = "the name was taken at the same time"
        removal = stored_indexes.IndexRemoved(at=self.runtime.now(), by=by, note=note, name=name)

        def intent(stored: stored_indexes.IndexList) -> tuple[stored_indexes.AnyIndexEvent, ...]:
            if stored.find(name) is None:
                return ()
            return (removal,)

        self.commit(intent)

    def _put_back(self, name: str, before: stored_indexes.IndexList, by: str) -> None:
        """Make an index again that was just removed, unless another process has made it."""
        table = self.require_stored(name, before).keys
        addition = stored_indexes.IndexMade(
            at=self.runtime.now(), by=by, note="it got a package", keys=table
        )

        def intent(stored: stored_indexes.IndexList) -> tuple[stored_indexes.AnyIndexEvent, ...]:
            if stored.find(name) is not None:
                return ()
            return (addition,)

        self.commit(intent)

    def require_known(self, name: str) -> None:
        """
        Raise Conflict (code `unknown_index`) unless a right can name an index.

        `name` may also be several names, with commas between. The field of the error is `index`.
        For main, the code is `index_in_use` while an index of an earlier version is called so.
        Raises Invalid for a malformed name.
        """
        for text in name.split(","):
            index = parse_right_index(text.strip())
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
        """
        Raise Conflict (code `index_exists`) if something other than an index has the name.

        Raises Invalid (code `invalid_index`) if no index can have the name.
        """
        parse_index_name(name)
        if name in self.in_force.roots:
            raise _taken(name, "the settings have it in server.roots.")
        if name in self.in_force.labels:
            raise _taken(name, "it is the label of an upstream index of the settings.")
        owner = owner_of_name(self._projects, name)
        if owner:
            raise _taken(name, owner)

    def require_lists(
        self,
        event: stored_indexes.AnyIndexEvent,
        stored: stored_indexes.IndexList,
        *,
        even_if_open: bool,
    ) -> None:
        """
        Raise an error if the indexes do not fit together after an event.

        Raises Invalid (code `invalid_index`) for a layer that does not exist, or a circle of
        layers. Raises Conflict (code `opens_index`), unless `even_if_open`, if an open index would
        show a closed one, and (code `index_in_use`) if a key names main while an index of an
        earlier version is called so.
        """
        if isinstance(event, TableAdded | TableChanged):
            names_main = removed.with_former_main(event.keys) != event.keys
            if names_main:
                # nobody could tell later which of two indexes called main the key means
                _require_no_former_main(stored)
        after = self.kind.apply(stored, event)
        require_lists_fit(self.in_force, stored, after, even_if_open=even_if_open)

    def checked(self, keys: stored_indexes.IndexKeys, name: str | None) -> stored_indexes.IndexKeys:
        """
        Return the keys of an index as they are stored. The keys of main have no name.

        Raises Invalid (code `invalid_field` or `invalid_index`) if a key is wrong.
        """
        stored_keys = stored_indexes.with_main_named(keys)
        if name == MAIN:
            self.in_force.read_main(stored_keys)
        else:
            read_definition(stored_keys)
        return stored_keys

    def has_key(self, key: str, table: stored_indexes.IndexKeys) -> bool:
        """Return whether a table can have a key, also one of an earlier version."""
        del table
        return key in INDEX_KEYS or key in removed.REMOVED_KEYS

    def is_same(self, new: stored_indexes.IndexKeys, before: stored_indexes.IndexKeys) -> bool:
        """Return whether keys describe the same index, by whatever name they call main."""
        return stored_indexes.with_main_named(new) == stored_indexes.with_main_named(before)

    def keys_before(
        self, before: StoredTable, changes: Mapping[str, Any]
    ) -> stored_indexes.IndexKeys:
        """
        Return the keys that a change starts from, without the rules of earlier versions.

        Raises Conflict (code `removed_rule`) unless the change takes these rules away.
        """
        _require_nothing_removed(before.name or MAIN, before.keys, changes)
        return removed.without_removed_rules(before.keys)

    def require_change(self, before: StoredTable, new: stored_indexes.IndexKeys) -> None:
        """Raise Conflict (code `removed_rule`) if no rule takes the place of a removed filter."""
        _require_keys_of_filter(before.name, before.keys, new)

    def changed_event(self, name: str) -> Callable[..., stored_indexes.AnyIndexEvent]:
        """Return the class of the event for a change of an index. Main has a class of its own."""
        if name == MAIN:
            return stored_indexes.MainChanged
        return stored_indexes.IndexChanged

    def require_stored(self, name: str, stored: stored_indexes.IndexList) -> StoredTable:
        """
        Return the table of an index. Main has a table also if nobody has changed it.

        Raises NotFound if there is no such index. Raises Conflict (code `index_in_use`) for main
        while an index of an earlier version is called so.
        """
        if name == MAIN:
            _require_no_former_main(stored)
            return stored.main or stored_indexes.StoredIndex(
                keys={}, created=NEVER_CHANGED, created_by=""
            )
        return super().require_stored(name, stored)

    def taken(self, name: str) -> Conflict:
        """Return the error for a new index with the name of another index."""
        return _taken(name, "there is one in the store.")

    def require_removable(self, name: str, stored: stored_indexes.IndexList) -> None:
        """
        Raise an error unless an index exists and may be removed once it is empty.

        Raises NotFound if there is no such index, and Invalid (code `invalid_index`) for main.
        Raises Conflict (code `index_in_use`) for main while an index of an earlier version is
        called so.
        """
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

        Raises Conflict (code `index_in_use`) if a project has files, or deleted files that can be
        restored.
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
            kept_files = self._files.kept_files(project, self._files.clock.now())
            if kept_files:
                days = (KEPT_FOR + RESTORE_TIME).days
                raise Conflict(
                    f"The index {quoted(name)} has deleted files that can be restored, such as of "
                    f"{project.name}. Try again {days} days after their deletion.",
                    code=INDEX_IN_USE,
                    advice=Advice(
                        Remedy.DELETE_NOW, project.name, name, sha256=kept_files[0].sha256
                    ),
                )
        return names

    def require_unused(self, name: str) -> None:
        """
        Raise Conflict (code `index_in_use`) if an index has files, or gets a project now.

        Deleted files that can be restored count, too. The upload of a project puts its mark, and
        then looks for the index. So the upload sees that the index is removed, or this sees the
        mark.
        """
        folder = keys.index_folder(name)
        # the marks first: if a mark is gone by now, its commit has left a document
        pending_projects = set[str]()
        for entry in self._files.stores.documents.list(f"{folder}{keys.PENDING}"):
            mark = keys.parse_pending_mark(Key(entry.key.removeprefix(folder)))
            if mark is not None:
                pending_projects.add(mark.project)
        projects = self._require_empty(name)
        for project in pending_projects - projects:
            raise Conflict(
                f"Somebody uploads {project} to the index {quoted(name)} now, or such an upload "
                "was interrupted, which counts for a day. Try again later.",
                code=INDEX_IN_USE,
            )

    def warnings(self, name: str) -> Iterator[Caution]:
        """Yield a warning if rights or rules of retention name an index that is to be removed."""
        rights_text = self._count_rights_in(name)
        if rights_text:
            yield Caution(
                f"{rights_text} for the index {name}: they hold again if an index of this name is "
                "made"
            )

    def _count_rights_in(self, name: str) -> str:
        """
        Return how many rights and rules of retention name an index, in words.

        An empty text means that nothing names the index.
        """
        now = self.runtime.now()
        counts = {"grant": 0, "publisher": 0, "token": 0, "retention rule": 0}
        for grant in self.access.show().grants:
            counts["grant"] += name in grant.index.split(",")
        for publisher in self.publishers.show():
            counts["publisher"] += name in str(publisher.keys.get("index")).split(",")
        for token in self.tokens.all():
            # a token that opens nothing any more never holds again
            if token.revoked_at is None and token.expires_at > now:
                counts["token"] += name in token.scope.indexes
        retention = self.in_force.stored().retention
        if retention is not None:
            counts["retention rule"] = retention.count_about(name)
        return " and ".join(counted(count, kind) for kind, count in counts.items() if count)

    def require_no_layer(self, name: str, stored: stored_indexes.IndexList) -> None:
        """Raise Conflict (code `index_in_use`) if an index is a layer of another index."""
        definitions = self.in_force.read(stored).definitions
        # sorted, so that the same index is named each time
        for upper_name in sorted(definitions):
            if upper_name != name and name in definitions[upper_name].layers:
                raise Conflict(
                    f"{quoted(name)} is a layer of the index {quoted(upper_name)}. Take it out "
                    "there first.",
                    code=INDEX_IN_USE,
                )

    def listed_in(self, stored: stored_indexes.IndexList) -> Iterable[stored_indexes.ListedIndex]:
        """Yield a row with its problem and warnings for main, and then for each other index."""
        indexes = self.in_force.read(stored)
        main_row = stored_indexes.ListedIndex(name=MAIN, keys={})
        if stored.main is not None:
            main_row = replace(self.kind.listed_row(stored.main), name=MAIN)
        yield self._with_warnings(main_row, MAIN, indexes)
        for index in stored.tables:
            name = index.name
            if name == MAIN:
                name = FORMER_MAIN
            yield self._with_warnings(self.kind.listed_row(index), name, indexes)

    def _with_warnings(
        self, row: stored_indexes.ListedIndex, name: str, indexes: KnownIndexes
    ) -> stored_indexes.ListedIndex:
        """Return the row of an index with the reason why it is not served, and its warnings."""
        definition = indexes.with_main.get(name)
        warnings: tuple[Caution, ...] = ()
        if definition is not None:
            warnings = tuple(self._warnings_of(definition, indexes))
        return replace(row, problem=indexes.problems.get(name, ""), warnings=warnings)

    def listed_after(
        self,
        committed: Committed[stored_indexes.IndexList, stored_indexes.AnyIndexEvent],
        name: str,
    ) -> stored_indexes.ListedIndex:
        """
        Return an index after a commit, with the warnings that the commit has caused for any index.

        Raises NotFound if another process has removed the index.
        """
        listed_index = super().listed_after(committed, name)
        # by a change of one index, another one may show packages that are not open
        before = self.in_force.read(committed.before).with_main
        warnings_before = set(self.in_force.open_layers(before, before))
        after = self.in_force.read(committed.after).with_main
        # the row of the changed index has its own warnings already
        other_names = [other_name for other_name in after if other_name != name]
        new_warnings = list[Caution]()
        for caution in self.in_force.open_layers(other_names, after):
            if caution not in warnings_before:
                new_warnings.append(caution)
        return replace(listed_index, warnings=(*listed_index.warnings, *new_warnings))

    def _warnings_of(self, definition: IndexDefinition, indexes: KnownIndexes) -> Iterator[Caution]:
        """Yield a warning for each part of a definition that is probably not meant so."""
        name = definition.name
        yield from unknown_sources(definition, indexes.names)
        yield from warnings_of_removed(definition)
        yield from self.in_force.open_layers((name,), indexes.with_main)
        has_files = False
        if not definition.has_packages:
            with suppress(Unavailable):  # a missing warning fails no list and no change
                has_files = any(project.files for project in self._files.projects_of(name))
        if has_files:
            yield Caution(
                f"The index {name} has packages that it does not show, as its own name is none of "
                f"its layers. To show them, add {name} to its layers."
            )


def _require_no_former_main(stored: stored_indexes.IndexList) -> None:
    """Raise Conflict (code `index_in_use`) while an index of an earlier version is called main."""
    if stored.find(MAIN) is not None:
        raise Conflict(removed.FORMER_MAIN_PROBLEM, code=INDEX_IN_USE, advice=removed.RENAME_MAIN)


def _require_nothing_removed(
    name: str, before: Mapping[str, Any], table: Mapping[str, Any]
) -> None:
    """Raise Conflict unless a change takes away the rules and the filter of earlier versions."""
    kept_rules = [rule for rule in removed.removed_rules(before) if rule not in table]
    if kept_rules:
        raise Conflict(
            removed.describe_removed_rules(name, kept_rules),
            code=removed.REMOVED_RULE,
            advice=Advice(Remedy.EMPTY_KEYS, name, keys=tuple(kept_rules)),
        )
    filter_text = removed.removed_filter(before)
    if filter_text and stored_indexes.FILTER not in table:
        caution = removed.removed_filter_warning(name, filter_text)
        raise Conflict(caution.message, code=removed.REMOVED_RULE, advice=caution.advice)


def _require_keys_of_filter(
    name: str, before: stored_indexes.IndexKeys, after: stored_indexes.IndexKeys
) -> None:
    """Raise Conflict (code `removed_rule`) if a filter is taken away, and no rule hides a file."""
    loses_filter = removed.removed_filter(before) and not removed.removed_filter(after)
    if loses_filter and not read_definition(after).hides_files:
        raise Conflict(
            f"The filter of the index {name} is taken away with keys of rules in its place, as it "
            "would show every file without any. To have no rules, remove the index and make it "
            "again.",
            code=removed.REMOVED_RULE,
        )


def _taken(name: str, reason: str) -> Conflict:
    """Return the error for a name that no index can have, for a reason, which is a sentence."""
    message = f"No index can be named {quoted(name)}: {reason} Choose another name."
    return Conflict(message, code=stored_indexes.INDEX_EXISTS, field=stored_indexes.NAME)
