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

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from wheelyard.catalog import keys
from wheelyard.catalog.commits import Committed, Intent
from wheelyard.catalog.files import RESTORE_TIME, FileRemoval
from wheelyard.catalog.projects import Projects
from wheelyard.catalog.removed import (
    FORMER_MAIN_PROBLEM,
    REMOVED_RULE,
    RENAME_MAIN,
    describe_removed_rules,
    removed_filter,
    removed_filter_warning,
    removed_rules,
    with_former_main,
    without_removed_rules,
)
from wheelyard.catalog.stored_credentials import TokenRecords
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Conflict, Invalid, NotFound, Unavailable, WheelyardError, quoted
from wheelyard.model.decoding import counted, require_one_line
from wheelyard.model.index_definition import IndexDefinition, read_definition
from wheelyard.model.index_name import (
    EVERY_INDEX,
    FORMER_MAIN,
    MAIN,
    parse_index_name,
    parse_right_index,
)
from wheelyard.model.stored_indexes import (
    FILTER,
    NEVER_CHANGED,
    AnyIndexEvent,
    IndexChanged,
    IndexKeys,
    IndexList,
    IndexMade,
    IndexRemoved,
    ListedIndex,
    MainChanged,
    StoredIndex,
    apply,
    describe_event,
    with_main,
)
from wheelyard.operations.access_control import NOTE_LIMIT_CHARS, AccessControl
from wheelyard.operations.audit_log import log_index
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
from wheelyard.remedies import ALL_VERSIONS, Advice, Caution, Remedy
from wheelyard.storage.base import Key

INDEX_EXISTS: Final = "index_exists"
"""The code of a Conflict for a name that an index, a project or a path has."""
INDEX_IN_USE: Final = "index_in_use"
"""The code of a Conflict for an index that cannot be removed."""
INDEX_CHANGED: Final = "index_changed"
"""The code of a Conflict for an index that somebody else has changed."""


_Edit = IndexMade | IndexChanged | MainChanged


class IndexAdministration(Struct, frozen=True, kw_only=True):
    """
    Lists, makes, changes and removes indexes.

    Each method raises Unavailable if the store does not answer.
    """

    in_force: IndexDefinitions
    projects: Projects
    """Those of main."""
    files: FileRemoval
    """What knows the documents of all indexes."""
    access: AccessControl
    publishers: Publishers
    tokens: TokenRecords
    runtime: Runtime

    def show(self) -> tuple[ListedIndex, ...]:
        """Return all indexes as they are now, first main."""
        stored = self.in_force.stored()
        now = self.in_force.read(stored)
        others = (self._listed(index, now) for index in stored.indexes)
        return (self._listed_main(stored, now), *others)

    def make(
        self, table: IndexKeys, by: str, note: str = "", *, even_if_open: bool = False
    ) -> ListedIndex:
        """
        Add an index to the store, and return it.

        Raises Invalid (code `invalid_index` or `invalid_field`) if a key is wrong, a layer does not
        exist, or layers lead in a circle. Raises Conflict (code `index_exists`) if something else
        has the name, and (code `opens_index`) unless `even_if_open` if anybody could read packages
        by it that they may not read in their own index.
        """
        require_one_line(note, "A note", NOTE_LIMIT_CHARS)
        # as `change`, where null leaves a key out
        table = {key: value for key, value in table.items() if value is not None}
        definition = read_definition(table)
        name = definition.name
        self.require_free(name)

        def intent(stored: IndexList) -> tuple[AnyIndexEvent, ...]:
            if stored.find(name) is not None:
                raise _taken(name, "there is one in the store.")
            made = IndexMade(at=self.runtime.now(), by=by, note=note, index=with_main(table))
            self._require_fit(made, stored, even_if_open=even_if_open)
            return (made,)

        committed = self.submit(intent)
        for event in committed.events:
            self.confirm(event, committed.before, by)
        listed = self._listed_after(committed, name)
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
        table: Mapping[str, Any],
        by: str,
        note: str = "",
        as_of: datetime | None = None,
        *,
        even_if_open: bool = False,
    ) -> ListedIndex:
        """
        Give other values to keys of an index, and return it.

        None leaves a key out. Raises NotFound if there is no such index. Raises
        Invalid as `make` does, also for another name. Raises Conflict (code `index_changed`) if
        `as_of` is not when it was last changed, (code `removed_rule`) if the index keeps a rule
        that this version does not know, and (code `opens_index`) as `make`.
        """
        require_one_line(note, "A note", NOTE_LIMIT_CHARS)

        def intent(stored: IndexList) -> tuple[AnyIndexEvent, ...]:
            if name == MAIN:
                before = self._stored_main(stored)
            else:
                before = self._require_stored(name, stored)
            _require_unchanged(name, before, as_of)
            _require_nothing_removed(name, before.index, table)
            changed = {**without_removed_rules(before.index), **table}
            given = {key: value for key, value in changed.items() if value is not None}
            new = with_main(given)
            if new == with_main(before.index):
                return ()
            event: IndexChanged | MainChanged
            if name == MAIN:
                event = MainChanged(at=self.runtime.now(), by=by, note=note, index=new)
            else:
                _require_keys_of_filter(name, before.index, new)
                _require_name(name, new)
                event = IndexChanged(at=self.runtime.now(), by=by, note=note, index=new)
            self._require_fit(event, stored, even_if_open=even_if_open)
            return (event,)

        return self._listed_after(self.submit(intent), name)

    def remove(self, name: str, by: str, note: str = "") -> tuple[Caution, ...]:
        """
        Remove an index from the store, and return warnings.

        Raises NotFound if there is no such index. Raises Conflict (code `index_in_use`) while it
        has packages, or is a layer of another index.
        """
        require_one_line(note, "A note", NOTE_LIMIT_CHARS)
        self._require_stored(name, self.in_force.stored())
        self._require_empty(name)
        # before the commit: where they cannot be read, nothing is removed
        warnings = tuple(self.warnings(name))

        def intent(stored: IndexList) -> tuple[AnyIndexEvent, ...]:
            self._require_stored(name, stored)
            self.require_no_layer(name, stored)
            return (IndexRemoved(at=self.runtime.now(), by=by, note=note, name=name),)

        committed = self.submit(intent)
        for event in committed.events:
            self.confirm(event, committed.before, by)
        return warnings

    def confirm(self, event: AnyIndexEvent, before: IndexList, by: str) -> None:
        """
        Take a change that was just committed back if the name, or a package, came meanwhile.

        `before` is the list before the commit. Raises Conflict then.
        """
        if isinstance(event, IndexMade):
            name = str(event.index["name"])
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
        self.submit(lambda stored: (gone,) if stored.find(name) is not None else ())

    def _put_back(self, name: str, before: IndexList, by: str) -> None:
        table = self._require_stored(name, before).index
        again = IndexMade(at=self.runtime.now(), by=by, note="it got a package", index=table)
        self.submit(lambda stored: () if stored.find(name) is not None else (again,))

    def require_known(self, name: str) -> None:
        """
        Raise Invalid unless a right can name indexes: `name` has commas between those of several.

        The field of the error is `index`. Raises Conflict (code `index_in_use`) for main while an
        index of an earlier version has its name.
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
            fault = Invalid(unknown.message, code="invalid_field", advice=unknown.advice)
            fault.field = "index"
            raise fault

    def require_free(self, name: str) -> None:
        """Raise Conflict (code `index_exists`) if what is no index has the name."""
        parse_index_name(name)
        if name in self.in_force.roots:
            raise _taken(name, "the settings have it in server.roots.")
        if name in self.in_force.labels:
            raise _taken(name, "it is the label of an upstream index of the settings.")
        if what := owner_of_name(self.projects, name):
            raise _taken(name, what)

    def _require_fit(self, event: _Edit, stored: IndexList, *, even_if_open: bool) -> None:
        """Raise Invalid or Conflict, as `require_lists_fit`, if the indexes are wrong after it."""
        if with_former_main(event.index) != event.index:
            # nobody could tell later which of the two it means
            _require_no_former_main(stored)
        if isinstance(event, MainChanged):
            self.in_force.read_main(event.index)
        else:
            read_definition(event.index)  # raises for a key that is wrong, or was removed
        after = apply(stored, event)
        require_lists_fit(self.in_force, stored, after, even_if_open=even_if_open)

    def _require_stored(self, name: str, stored: IndexList) -> StoredIndex:
        """Return an index that can be removed. Raises Invalid or Conflict for main."""
        index = stored.find(name)
        if name == MAIN:
            _require_no_former_main(stored)
            raise Invalid(
                "The index main is at the root of the server, and always there. Change it, or "
                "delete its packages.",
                code="invalid_index",
            )
        if index is None:
            raise unknown_index(name)
        return index

    def _stored_main(self, stored: IndexList) -> StoredIndex:
        """Return main, also if nobody has changed it. Raises Conflict if an index has its name."""
        _require_no_former_main(stored)
        return stored.main or StoredIndex(index={}, created=NEVER_CHANGED, created_by="")

    def _require_empty(self, name: str) -> set[str]:
        """
        Return the names of the projects of an index.

        Raises Conflict (code `index_in_use`) if one of them has files, or may restore some.
        """
        names = set[str]()
        for project in self.files.projects_of(name):
            names.add(project.name)
            if project.files:
                raise Conflict(
                    f"The index {quoted(name)} has packages, such as {project.name}.",
                    code=INDEX_IN_USE,
                    advice=Advice(Remedy.DELETE, project.name, versions=ALL_VERSIONS, index=name),
                )
            kept = self.files.kept_files(project, self.files.clock.now())
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
        marks = self.files.stores.documents.list(f"{folder}{keys.PENDING}")
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
            name in str(row.publisher.get("index")).split(",") for row in self.publishers.show()
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

    def _listed(self, index: StoredIndex, now: KnownIndexes) -> ListedIndex:
        name = FORMER_MAIN if index.name == MAIN else index.name
        definition = now.definitions.get(name)
        return ListedIndex(
            name=index.name,
            source=index.source,
            index=index.index,
            problem=now.problems.get(name, ""),
            warnings=tuple(self._own_warnings(definition, now)) if definition else (),
            created=index.created,
            created_by=index.created_by,
            changed=index.changed,
            changed_by=index.changed_by,
            note=index.note,
        )

    def _listed_main(self, stored: IndexList, now: KnownIndexes) -> ListedIndex:
        main = stored.main
        problem = now.problems.get(MAIN, "")
        warnings = () if problem else tuple(self._own_warnings(now.main, now))
        if main is None:
            return ListedIndex(name=MAIN, index={}, problem=problem, warnings=warnings)
        return replace(self._listed(main, now), name=MAIN, problem=problem, warnings=warnings)

    def _own_warnings(self, definition: IndexDefinition, now: KnownIndexes) -> Iterator[Caution]:
        """Yield what of the definition of an index may not be meant."""
        name = definition.name
        yield from unknown_sources(definition, now.names)
        yield from warnings_of_removed(definition)
        yield from self.in_force.open_layers((name,), now.with_main)
        has_files = False
        if not definition.has_packages:
            with suppress(Unavailable):  # what is to be listed, or was changed, is so all the same
                has_files = any(project.files for project in self.files.projects_of(name))
        if has_files:
            yield Caution(
                f"The index {name} has packages that it does not show, as its own name is none of "
                f"its layers. To show them, add {name} to its layers."
            )

    def _listed_after(
        self, committed: Committed[IndexList, AnyIndexEvent], name: str
    ) -> ListedIndex:
        after = self.in_force.read(committed.after)
        index = committed.after.find(name)
        if name == MAIN:
            listed = self._listed_main(committed.after, after)
        elif index is not None:
            listed = self._listed(index, after)
        else:  # another process was faster
            raise NotFound(f"The index {quoted(name)} has been removed meanwhile.")
        showing = [other for other in after.with_main if other != name]
        before = self.in_force.read(committed.before).with_main
        open_before = {*self.in_force.open_layers(before, before)}
        new = (
            caution
            for caution in self.in_force.open_layers(showing, after.with_main)
            if caution not in open_before
        )
        return replace(listed, warnings=(*listed.warnings, *new))

    def submit(
        self, intent: Intent[IndexList, AnyIndexEvent]
    ) -> Committed[IndexList, AnyIndexEvent]:
        """Commit changes of the indexes in the store, and log each."""
        committed = self.in_force.records.change(intent)
        # after the commit: a process that dies here has changed an index without a line in the log
        for event in committed.events:
            log_index(event.by, describe_event(event))
        return committed


def _require_no_former_main(stored: IndexList) -> None:
    """Raise Conflict (code `index_in_use`) while an index of an earlier version is called main."""
    if stored.find(MAIN) is not None:
        raise Conflict(FORMER_MAIN_PROBLEM, code=INDEX_IN_USE, advice=RENAME_MAIN)


def _require_unchanged(name: str, before: StoredIndex, as_of: datetime | None) -> None:
    """Raise Conflict (code `index_changed`) if an index was changed after a moment, if one is."""
    if as_of is not None and as_of != (before.changed or before.created):
        raise Conflict(
            f"The index {quoted(name)} was changed meanwhile, by "
            f"{before.changed_by or before.created_by}. Look at it as it is now, and then change "
            "it.",
            code=INDEX_CHANGED,
        )


def _require_name(name: str, new: Mapping[str, Any]) -> None:
    """Raise Invalid (code `invalid_field`) unless the keys of an index have its name."""
    if new.get("name") != name:
        fault = Invalid(
            "The name of an index stays as it is: installers have it in their URLs. Make another "
            "index.",
            code="invalid_field",
        )
        fault.field = "name"
        raise fault


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
    fault = Conflict(
        f"No index can be named {quoted(name)}: {why} Choose another name.", code=INDEX_EXISTS
    )
    fault.field = "name"
    return fault
