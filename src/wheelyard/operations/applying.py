"""
Puts into force what a file says of the index, by one plan, which is shown or carried out.

Each document gets one commit, or two where rights are both taken away and given. A commit is only
made to the state from which the plan was made: what somebody has changed meanwhile is never
overwritten. The digest of the file is written last. So if the process is killed on the way, the
same file again does what is left.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from wheelyard.catalog.removed import FORMER_MAIN_PROBLEM, RENAME_MAIN
from wheelyard.errors import Conflict, Invalid, quoted
from wheelyard.model import grants, stored_indexes
from wheelyard.model.access import ANONYMOUS
from wheelyard.model.index_definition import parts_of
from wheelyard.model.index_file import WRONG_FILE, IndexTables
from wheelyard.model.index_name import EVERY_INDEX, MAIN
from wheelyard.model.retention_rules import parse_rules
from wheelyard.model.stored_namespaces import (
    NAMESPACE_KIND,
    NamespaceChanged,
    NamespaceGranted,
    groups_of_owners,
)
from wheelyard.model.stored_publishers import PUBLISHER_KIND
from wheelyard.model.stored_tables import (
    TableAdded,
    TableChanged,
    TableEvent,
    TableKeys,
    TableKind,
    TableList,
    TableRemoved,
)
from wheelyard.model.stored_webhooks import KEPT, WEBHOOK_KIND
from wheelyard.operations.access_control import (
    NOBODY,
    AccessControl,
    Principals,
    require_still_admin,
)
from wheelyard.operations.apply_plan import (
    AppliedChange,
    IndexState,
    Plan,
    Planner,
    TableStep,
    tables_of,
)
from wheelyard.operations.index_administration import INDEX_IN_USE, IndexAdministration
from wheelyard.operations.index_fit import require_lists_fit
from wheelyard.operations.namespaces import Namespaces
from wheelyard.operations.publishers import Publishers
from wheelyard.operations.table_changes import StoredTables
from wheelyard.operations.webhooks import Webhooks

CHANGED_MEANWHILE: Final = "changed_meanwhile"
"""The code of a Conflict for what somebody has changed since the plan was made."""
NOTHING: Final = "nothing"
EVERYTHING: Final = "everything"


class AnonymousChange(Struct, frozen=True, kw_only=True):
    """An index that answers otherwise to readers without a credential."""

    index: str
    before: str
    """
    What readers without a credential may read of the index before the change: nothing, everything,
    or patterns of names.
    """
    after: str


class ApplyReport(Struct, frozen=True, kw_only=True):
    """What a file changes, or has changed."""

    source: str
    changes: tuple[AppliedChange, ...]
    anonymous: tuple[AnonymousChange, ...]
    is_done: bool
    """Whether everything that the file says is in force now."""
    problems: tuple[str, ...] = ()
    """Sentences about what asks for a look, such as an index that is not served here."""
    applied: stored_indexes.AppliedFile | None = None
    """The earlier application of this file, if nothing is written now because of it, or None."""


class ApplyOptions(Struct, frozen=True, kw_only=True):
    """How a file is applied."""

    dry_run: bool = False
    """Whether only the plan of the changes is made, and nothing is changed."""
    prune: bool = False
    """
    Whether things are removed that earlier files of the source have made, and that this file lacks.
    """
    again: bool = False
    """Whether to apply a file again that was applied last of its source."""
    even_if_own: bool = False
    """Whether to apply files although the caller is no administrator afterwards."""
    even_if_open: bool = False
    """
    Whether to apply files although anybody can then read, by an open index, packages that need a
    right in their own index.
    """
    even_if_public: bool = False
    """Whether to apply files although public packages that are in use are not served afterwards."""
    note: str = ""
    """Why the files are applied, or where the files come from, for the journal."""


class SourcedTables(Struct, frozen=True):
    """What a file says, and its name."""

    source: str
    tables: IndexTables


class _PlannedFile(Struct, frozen=True, kw_only=True):
    """A file, with the plan and the report that are made for it."""

    file: SourcedTables
    plan: Plan
    report: ApplyReport
    was_applied: bool
    """Whether this is the file that was applied last of its source."""
    is_passed_over: bool
    """Whether nothing of the plan is committed, as the file was applied last of its source."""


class _NamesInRight(Struct, frozen=True, kw_only=True):
    """The names of groups and indexes in a right, which have to exist."""

    naming: str
    """What has the names, for a message: "a grant of the file names"."""
    groups: frozenset[str] = frozenset()
    indexes: tuple[str, ...] = ()


class _AnonymousReading(Struct, frozen=True):
    """What readers without a credential get from an index."""

    text: str = NOTHING
    """What these readers may read: nothing, everything, or patterns of names."""
    content: tuple[Any, ...] = ()
    """What the index shows: its parts, its rules, and the names that it merges."""


class Applying(Struct, frozen=True):
    """
    Applies files to the documents of a store.

    Each method raises Unavailable if the store does not answer, or a document is damaged or lost.
    """

    indexes: IndexAdministration
    access: AccessControl
    publishers: Publishers
    namespaces: Namespaces
    webhooks: Webhooks
    is_private: bool
    """Whether the settings close all indexes, whatever the store says."""

    @property
    def _tables_by_noun(self) -> dict[str, StoredTables[Any, Any, Any, Any]]:
        """What changes the tables of each kind of `NAMED`, by the noun of the kind."""
        all_tables = (self.publishers, self.namespaces, self.webhooks)
        return {tables.kind.noun: tables for tables in all_tables}

    def read_state(self) -> IndexState:
        """Return the documents as they are in the store now."""
        indexes = self.indexes.in_force.stored()
        access = self.access.read_stored()
        table_lists = dict[str, TableList[Any]]()
        for noun, tables in self._tables_by_noun.items():
            table_lists[noun] = tables.read_stored()
        return IndexState(indexes=indexes, access=access, table_lists=table_lists)

    def show(self) -> IndexTables:
        """
        Return the tables of a file that describes the index as it is now.

        A webhook that has a secret gets a key that says so, and never the secret.
        """
        tables = tables_of(self.read_state())
        names_with_secret = {row.name for row in self.webhooks.show() if row.secret_from}
        webhooks = list[TableKeys]()
        for keys in tables.webhook:
            if keys[WEBHOOK_KIND.name_key] in names_with_secret:
                webhooks.append({**keys, "secret": KEPT})
            else:
                webhooks.append(keys)
        return replace(tables, webhook=tuple(webhooks))

    def apply(
        self,
        files: Sequence[SourcedTables],
        by: str,
        options: ApplyOptions,
        keep_admin: Principals = NOBODY,
    ) -> tuple[ApplyReport, ...]:
        """
        Put into force what files say, one after the other, and return what that changes.

        Nothing is written in a dry run, or if one of the files cannot be applied. A file that was
        applied last of its source is passed over, unless `options.again` is set.

        Raises Invalid if an index, a group, a grant, a publisher or a namespace of a file does not
        fit into what is stored. Raises Conflict (code `index_exists`) if something else has the
        name of a new index, (code `index_in_use`) if a removed index has packages or is a layer, or
        while an index of an earlier version is called main, (code `group_in_use`) if a grant or a
        namespace that stays names a removed group, (code `namespace_overlaps`) if a namespace is
        in, or around, one of other owners, and (code `too_many_webhooks`) if there would be too
        many. Unless an option allows it, raises Conflict (code `own_access`) if whoever has the
        principals `keep_admin` would be no administrator any more, (code `opens_index`) if anybody
        could read by an open index what needs a right in its own, and (code `hides_public_names`)
        if a namespace would hide public names in use.

        Raises Conflict (code `changed_meanwhile`) if somebody else changes the same things at the
        same time. After an error that follows the first commit, a part is in force, and the same
        files again do the rest.
        """
        state = self.read_state()
        planned_files = list[_PlannedFile]()
        for file in files:
            planned = self._plan_file(file, by, options, state)
            if not planned.is_passed_over:
                self._require_valid(planned.plan, keep_admin, options)
            planned_files.append(planned)
            # a later file may need what this one brings, such as a group
            state = planned.plan.after
        # only now, as the last file may be the one that cannot be applied
        if not options.dry_run:
            for planned in planned_files:
                self._carry_out(planned, by, options)
        return tuple(planned.report for planned in planned_files)

    def compare(self, files: Sequence[SourcedTables], state: IndexState) -> tuple[ApplyReport, ...]:
        """
        Return what files would change in the documents of `state`, also if they cannot be applied.

        Nothing is pruned: what earlier files have made, and these files lack, is no difference.
        """
        reports = list[ApplyReport]()
        for file in files:
            # also for a file that was applied: people may have changed its things by hand since
            planned = self._plan_file(file, "", ApplyOptions(again=True), state)
            reports.append(planned.report)
            state = planned.plan.after
        return tuple(reports)

    def _plan_file(
        self, file: SourcedTables, by: str, options: ApplyOptions, before: IndexState
    ) -> _PlannedFile:
        """
        Return the plan and the report of a file for the documents `before`.

        Nothing is checked, and nothing is written.
        """
        plan = self._make_plan(file, by, before, prunes=options.prune)
        applied = _find_applied(file, before, prunes=options.prune)
        is_passed_over = applied is not None and not options.again
        is_to_commit = not is_passed_over and not options.dry_run
        report = ApplyReport(
            source=file.source,
            changes=plan.changes,
            anonymous=tuple(self._find_anonymous_changes(before, plan.after)),
            is_done=is_to_commit or not plan.changes,
            problems=tuple(self._find_problems(plan, file.tables)),
            applied=applied if is_passed_over else None,
        )
        return _PlannedFile(
            file=file,
            plan=plan,
            report=report,
            was_applied=applied is not None,
            is_passed_over=is_passed_over,
        )

    def _carry_out(self, planned: _PlannedFile, by: str, options: ApplyOptions) -> None:
        """Commit the plan of a file, and then that the file was applied."""
        if planned.is_passed_over:
            return
        self._commit(planned.plan, by)
        # last: if the process dies before, a part is applied, and the same file does the rest
        if not planned.was_applied:
            self._note_applied(planned.file, by, options)

    def _make_plan(self, file: SourcedTables, by: str, state: IndexState, *, prunes: bool) -> Plan:
        """Return what a file changes in the documents of `state`."""
        runtime = self.indexes.runtime
        planner = Planner(
            file.tables, file.source, by, runtime.now(), runtime.new_id, prunes=prunes
        )
        return planner.plan(state)

    def _require_valid(self, plan: Plan, keep_admin: Principals, options: ApplyOptions) -> None:
        """Raise Invalid or Conflict unless the documents are valid after a plan."""
        if plan.changes and plan.before.indexes.find(MAIN) is not None:
            # nobody could tell later which of two indexes called main the file means
            raise Conflict(FORMER_MAIN_PROBLEM, code=INDEX_IN_USE, advice=RENAME_MAIN)
        after = plan.after
        self._require_indexes_fit(plan, after.indexes, even_if_open=options.even_if_open)
        self._require_known_names(plan, after)
        self._require_tables(plan, after)
        # a dry run names the public packages in `problems`, and raises nothing because of them
        if not options.dry_run and not options.even_if_public:
            for event in plan.events_of(NAMESPACE_KIND.noun):
                if isinstance(event, NamespaceGranted):
                    self.namespaces.require_unused(event.keys)
        if not options.even_if_own:
            require_still_admin(keep_admin, plan.before.access, after.access)

    def _require_tables(self, plan: Plan, after: IndexState) -> None:
        """Raise Invalid or Conflict unless the tables of each kind of `NAMED` fit together."""
        for event in plan.events_of(PUBLISHER_KIND.noun):
            self.publishers.require_fit(event, after.table_lists[PUBLISHER_KIND.noun])
        for event in plan.events_of(NAMESPACE_KIND.noun):
            self.namespaces.require_no_overlap(event, after.table_lists[NAMESPACE_KIND.noun])
        webhook_events = plan.events_of(WEBHOOK_KIND.noun)
        if any(isinstance(event, TableAdded) for event in webhook_events):
            self.webhooks.require_few(len(after.table_lists[WEBHOOK_KIND.noun].tables))

    def _require_indexes_fit(
        self, plan: Plan, after: stored_indexes.IndexList, *, even_if_open: bool
    ) -> None:
        """Raise Invalid or Conflict unless the indexes fit together after a plan."""
        definitions = self.indexes.in_force
        for event in plan.indexes:
            # `IndexAdministration.confirm` looks again after the commit: uploads go on meanwhile
            if isinstance(event, stored_indexes.IndexMade):
                self.indexes.require_free(str(event.keys["name"]))
            elif isinstance(event, stored_indexes.IndexRemoved):
                self.indexes.require_no_layer(event.name, after)
                self.indexes.require_unused(event.name)
            elif isinstance(event, stored_indexes.RetentionChanged):
                for rule in parse_rules(event.rules):
                    _require_known_index(rule.index, after, f"the retention {rule.title} names")
        require_lists_fit(definitions, plan.before.indexes, after, even_if_open=even_if_open)

    def _require_known_names(self, plan: Plan, after: IndexState) -> None:
        """Raise Invalid if a new right names a group, or an index, that does not exist."""
        groups = after.access.groups.keys()
        for named in _names_in_rights(plan):
            _require_known_groups(named.groups - groups, named.naming)
            for index in named.indexes:
                _require_known_index(index, after.indexes, named.naming)

    def _commit(self, plan: Plan, by: str) -> None:
        """
        Commit the events of a plan, each document in its turn.

        A process that dies between two of these commits has taken away more than it has given, so
        nobody can read what they could read neither before nor afterwards. The same file again does
        what is left.
        """
        access = self._commit_access(plan.before.access, plan.taken_rights)
        # before the indexes, as these steps take something away, such as a publisher
        table_lists = self._commit_steps(plan.before.table_lists, plan.early_steps)
        self._commit_indexes(plan.before.indexes, plan.indexes, by)
        self._commit_steps(table_lists, plan.late_steps)
        # last, as grants may name indexes that were made just now
        self._commit_access(access, plan.given_rights)

    def _commit_access(
        self, expected: grants.AccessRules, events: Sequence[grants.AnyAccessEvent]
    ) -> grants.AccessRules:
        """Commit changes of rights, and return the document afterwards."""
        if not events:
            return expected

        # only the rights of these events matter to the plan: others may have changed meanwhile
        def unless_changed(rules: grants.AccessRules) -> tuple[grants.AnyAccessEvent, ...]:
            for event in events:
                if _find_right(rules, event) != _find_right(expected, event):
                    raise _changed_meanwhile(_name_right(event))
            return tuple(events)

        return self.access.commit(unless_changed).after

    def _commit_steps(
        self, expected: Mapping[str, TableList[Any]], steps: Sequence[TableStep]
    ) -> Mapping[str, TableList[Any]]:
        """Commit changes of tables, and return the documents afterwards."""
        after = dict(expected)
        for step in steps:
            noun = step.file_kind.noun
            after[noun] = self._commit_tables(expected[noun], step)
        return after

    def _commit_tables(self, expected: TableList[Any], step: TableStep) -> TableList[Any]:
        """Commit changes of the tables of a kind, and return the document afterwards."""
        if not step.events:
            return expected

        def unless_changed(stored: TableList[Any]) -> tuple[TableEvent, ...]:
            kind = step.file_kind.kind
            # tables that have to fit together were checked with all others of the list
            if step.file_kind.is_whole and stored.tables != expected.tables:
                raise _changed_meanwhile(f"The list of {kind.title}")
            for event in step.events:
                name = _table_name(event, kind)
                if stored.find(name) != expected.find(name):
                    raise _changed_meanwhile(f"The {kind.noun} {quoted(name)}")
            return step.events

        tables = self._tables_by_noun[step.file_kind.noun]
        after: TableList[Any] = tables.commit(unless_changed).after
        return after

    def _commit_indexes(
        self,
        expected: stored_indexes.IndexList,
        events: Sequence[stored_indexes.AnyIndexEvent],
        by: str,
    ) -> None:
        """
        Commit changes of indexes, and then confirm each change.

        Raises Conflict if an upload has taken the name of a new index, or has put a package into a
        removed index, since the plan was checked. That change is then taken back.
        """
        if not events:
            return

        def unless_changed(
            stored: stored_indexes.IndexList,
        ) -> tuple[stored_indexes.AnyIndexEvent, ...]:
            # all indexes: whether one of them opens a layer also follows from the others
            is_unchanged = (
                stored.main == expected.main
                and stored.tables == expected.tables
                and stored.retention == expected.retention
            )
            if not is_unchanged:
                raise _changed_meanwhile("The list of indexes, or of rules of retention,")
            return tuple(events)

        self.indexes.commit(unless_changed)
        # An upload puts its mark, and then looks for an index. Here the index is committed, and
        # then marks are looked for. So one of the two sees the other, whichever is first.
        for event in events:
            self.indexes.confirm(event, expected, by)

    def _note_applied(self, file: SourcedTables, by: str, options: ApplyOptions) -> None:
        """Commit which file of a source was applied last."""
        event = stored_indexes.FileApplied(
            at=self.indexes.runtime.now(),
            by=by,
            source=file.source,
            digest=file.tables.digest,
            prunes=options.prune,
            note=options.note,
        )
        self.indexes.commit(lambda _stored: (event,))

    def _find_problems(self, plan: Plan, tables: IndexTables) -> Iterator[str]:
        """
        Yield the problems that the documents have after a plan, in sentences.

        A problem is an index that is not served, as a layer is unknown, a namespace that hides
        public packages in use, or a webhook of the file to which nothing can be sent, as it has no
        secret.
        """
        not_served = self.indexes.in_force.read(plan.after.indexes).problems
        for event in plan.indexes:
            name = _index_name(event)
            if name in not_served:
                yield not_served[name]
        for event in plan.events_of(NAMESPACE_KIND.noun):
            if isinstance(event, NamespaceGranted):
                problem = self.namespaces.describe_hidden_names(event.keys)
                if problem:
                    yield problem
        if tables.webhook:
            problems = self.webhooks.problems(plan.after.table_lists[WEBHOOK_KIND.noun])
            names_in_file = {str(keys[WEBHOOK_KIND.name_key]) for keys in tables.webhook}
            for name in sorted(names_in_file & problems.keys()):
                yield f"webhook {name}: {problems[name]}"

    def _find_anonymous_changes(
        self, before: IndexState, after: IndexState
    ) -> Iterator[AnonymousChange]:
        """Yield the indexes that answer otherwise to readers without a credential."""
        readings_before = self._anonymous_readings(before)
        readings_after = self._anonymous_readings(after)
        for name in _sorted_main_first(readings_before.keys() | readings_after.keys()):
            reading_before = readings_before.get(name, _AnonymousReading())
            reading_after = readings_after.get(name, _AnonymousReading())
            # the content of an index does not matter if nobody may read it without a credential
            is_closed = reading_before.text == reading_after.text == NOTHING
            if is_closed or reading_before == reading_after:
                continue
            text = reading_after.text
            if text == reading_before.text:
                text = f"{text}, of other layers or by other rules"
            yield AnonymousChange(index=name, before=reading_before.text, after=text)

    def _anonymous_readings(self, state: IndexState) -> dict[str, _AnonymousReading]:
        """Return what anybody may read of each index, by the name of the index."""
        if self.is_private:
            return {}
        served = self.indexes.in_force.read(state.indexes).with_main
        patterns = _anonymous_patterns(state.access)
        readings = dict[str, _AnonymousReading]()
        for name, definition in served.items():
            text = EVERYTHING
            if not definition.is_open:
                readable = patterns.get(name, set()) | patterns.get(EVERY_INDEX, set())
                text = ", ".join(sorted(readable)) or NOTHING
            parts = tuple(parts_of(definition, served))
            content = (parts, definition.rules, definition.merge.texts)
            readings[name] = _AnonymousReading(text, content)
        return readings


def _find_applied(
    file: SourcedTables, before: IndexState, *, prunes: bool
) -> stored_indexes.AppliedFile | None:
    """Return when a file was applied, if it is the one that was applied last of its source."""
    applied = before.indexes.applied.get(file.source)
    if applied is None or applied.digest != file.tables.digest:
        return None
    # applied without pruning, the file may have left what pruning would remove now
    if prunes and not applied.prunes:
        return None
    return applied


def _names_in_rights(plan: Plan) -> Iterator[_NamesInRight]:
    """Yield the names in each grant, namespace and publisher that a plan adds or changes."""
    for right in plan.given_rights:
        if isinstance(right, grants.Granted):
            yield _NamesInRight(
                naming="a grant of the file names",
                groups=frozenset(grants.groups_in(right.grant.who)),
                indexes=tuple(right.grant.index.split(",")),
            )
    for event in plan.events_of(NAMESPACE_KIND.noun):
        if isinstance(event, NamespaceGranted | NamespaceChanged):
            yield _NamesInRight(
                naming="a namespace of the file names",
                groups=frozenset(groups_of_owners(event.keys)),
            )
    for event in plan.events_of(PUBLISHER_KIND.noun):
        if isinstance(event, TableAdded | TableChanged):
            yield _NamesInRight(
                naming=f"the publisher {quoted(event.keys['id'])} names",
                indexes=tuple(str(event.keys.get("index", MAIN)).split(",")),
            )


def _sorted_main_first(names: Collection[str]) -> list[str]:
    """Return names of indexes in alphabetical order, with main before all others."""
    return sorted(names, key=lambda name: (name != MAIN, name))


def _anonymous_patterns(rules: grants.AccessRules) -> dict[str, set[str]]:
    """Return the patterns of names that anybody may read, by the index that a grant names."""
    patterns = dict[str, set[str]]()
    for granted in rules.grants:
        if ANONYMOUS in granted.grant.who:
            # a grant of an earlier version that names no index is about main
            index_names = granted.grant.index or MAIN
            for index in index_names.split(","):
                patterns.setdefault(index, set()).update(granted.grant.projects)
    return patterns


def _find_right(rules: grants.AccessRules, event: grants.AnyAccessEvent) -> object:
    """
    Return the part of the document that an event changes, to compare two states of it.

    That is the grants with the id or the fields of the event, or the members of its group.
    """
    match event:
        case grants.Revoked(id=grant_id):
            return [granted for granted in rules.grants if granted.id == grant_id]
        case grants.Granted(grant=fields):
            return [granted.id for granted in rules.grants if granted.grant == fields]
        case grants.GroupChanged(name=name) | grants.GroupDeleted(name=name):
            return rules.groups.get(name)
        case _:
            return None


def _name_right(event: grants.AnyAccessEvent) -> str:
    """Return the subject of a message about the grant or the group that an event changes."""
    match event:
        case grants.Revoked(id=grant_id):
            return f"The grant {grant_id}"
        case grants.GroupChanged(name=name) | grants.GroupDeleted(name=name):
            return f"The group {name}"
        case _:
            return "A grant of the file"


def _table_name(event: TableEvent, kind: TableKind[Any, Any, Any]) -> str:
    """Return the name of the table that an event is about, or an empty text for none."""
    match event:
        case TableRemoved(name=name):
            return name
        case TableAdded(keys=keys) | TableChanged(keys=keys):
            return str(keys[kind.name_key])
        case _:
            return ""


def _index_name(event: stored_indexes.AnyIndexEvent) -> str:
    """Return the name of the index that an event is about, or an empty text for none."""
    match event:
        case stored_indexes.IndexRemoved(name=name):
            return name
        case stored_indexes.IndexMade(keys=keys) | stored_indexes.IndexChanged(keys=keys):
            return str(keys["name"])
        case _:
            return ""


def _changed_meanwhile(subject: str) -> Conflict:
    """Return the error for something that has changed since the plan was made."""
    return Conflict(
        f"{subject} was changed meanwhile by somebody else. Look at the plan as it is now, and "
        "apply the file again.",
        code=CHANGED_MEANWHILE,
    )


def _require_known_groups(missing_groups: Collection[str], naming: str) -> None:
    """
    Raise Invalid if there is a missing group.

    `naming` says what names the group. It ends the sentence "There is no group, which ...".
    """
    if missing_groups:
        raise _missing(f"group {quoted(min(missing_groups))}", naming)


def _require_known_index(name: str, after: stored_indexes.IndexList, naming: str) -> None:
    """
    Raise Invalid if `name` is neither that of an index of a list, nor main, nor `*`.

    `naming` says what names the index. It ends the sentence "There is no index, which ...".
    """
    if name not in {MAIN, EVERY_INDEX} and after.find(name) is None:
        raise _missing(f"index {quoted(name)}", naming)


def _missing(group_or_index: str, naming: str) -> Invalid:
    """Return the error for a group or an index that a file names, and that does not exist."""
    return Invalid(
        f"There is no {group_or_index}, which {naming}. Add it to the file.", code=WRONG_FILE
    )
