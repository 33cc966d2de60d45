"""
What a file that describes the index changes in the documents of a store.

A plan is made from the documents and the file alone, so that the plan that is shown is the plan
that is carried out. What closes something comes before what opens something: rights are taken away
first, then indexes change, then rights are given. So nobody can read, between two commits, what
they could read neither before nor afterwards.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final, Literal, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from wheelyard.errors import Conflict, Invalid
from wheelyard.model import grants, index_file, stored_indexes
from wheelyard.model.decoding import InvalidField
from wheelyard.model.index_name import MAIN
from wheelyard.model.retention_rules import canonical_rules
from wheelyard.model.stored_namespaces import NAMESPACE_KIND, groups_of_owners
from wheelyard.model.stored_tables import TableEvent, TableKeys, TableList

MEETS_OTHER: Final = "group_in_use"
"""The code of a Conflict for a group that a grant of another source needs."""
Kind = Literal["index", "group", "grant", "publisher", "namespace", "webhook", "retention"]
Outcome = Literal["added", "changed", "removed"]
D = TypeVar("D")
E = TypeVar("E")


class IndexState(Struct, frozen=True):
    """The documents of a store that describe the index."""

    indexes: stored_indexes.IndexList
    access: grants.AccessRules
    table_lists: Mapping[str, Any]
    """The document of each kind of `NAMED`, by the noun of the kind."""

    @property
    def kinds_with_lists(self) -> tuple[tuple[index_file.NamedTables, TableList[Any]], ...]:
        """The kinds of `NAMED`, each with its document."""
        return tuple((kind, self.table_lists[kind.noun]) for kind in index_file.NAMED)


class AppliedChange(Struct, frozen=True, kw_only=True):
    """What a file changes of one thing, for people and programs."""

    kind: Kind
    name: str
    """The name of the thing, the id of a grant or a publisher, or `rules` of retention."""
    outcome: Outcome
    text: str
    """The thing after the change, in words, or a removed thing as it was."""


class TableStep(Struct, frozen=True):
    """Changes of the tables of a kind of `NAMED`, which are one commit."""

    file_kind: index_file.NamedTables
    events: tuple[TableEvent, ...]


class Plan(Struct, frozen=True, kw_only=True):
    """The events by which the documents come to say what a file says, in the order of commits."""

    before: IndexState
    changes: tuple[AppliedChange, ...]
    taken_rights: tuple[grants.AnyAccessEvent, ...]
    early_steps: tuple[TableStep, ...]
    """The steps before the changes of indexes, as they take something away."""
    indexes: tuple[stored_indexes.AnyIndexEvent, ...]
    late_steps: tuple[TableStep, ...]
    """The steps after the changes of indexes."""
    given_rights: tuple[grants.AnyAccessEvent, ...]

    def events_of(self, noun: str) -> tuple[Any, ...]:
        """Return the changes of the tables of a kind of `NAMED`."""
        events: list[TableEvent] = []
        for step in self.early_steps + self.late_steps:
            if step.file_kind.noun == noun:
                events += step.events
        return tuple(events)

    @property
    def after(self) -> IndexState:
        """The documents once the whole plan is committed."""
        table_lists = dict[str, Any]()
        for file_kind, stored in self.before.kinds_with_lists:
            events = self.events_of(file_kind.noun)
            table_lists[file_kind.noun] = _fold(file_kind.kind.apply, stored, events)
        rights = self.taken_rights + self.given_rights
        return IndexState(
            indexes=_fold(stored_indexes.INDEX_KIND.apply, self.before.indexes, self.indexes),
            access=_fold(grants.apply, self.before.access, rights),
            table_lists=table_lists,
        )


def _fold(apply: Callable[[D, E], D], document: D, events: Iterable[E]) -> D:
    """Return the document that a commit of events makes of `document`."""
    for event in events:
        document = apply(document, event)
    return document


class Planner:
    """
    Plans what a file changes.

    Args:
        tables: What the file says.
        source: The name of the file. It is stored with each thing that the file makes or changes.
        by: The principal of who applies the file.
        at: The time (UTC).
        new_id: Returns a random text, for the id of a grant.
        prunes: Whether things of this source that the file lacks are removed.
    """

    def __init__(
        self,
        tables: index_file.IndexTables,
        source: str,
        by: str,
        at: datetime,
        new_id: Callable[[], str],
        *,
        prunes: bool,
    ) -> None:
        self._tables = tables
        self._source = source
        self._by = by
        self._at = at
        self._new_id = new_id
        self._prunes = prunes
        self._changes = list[AppliedChange]()
        self._grants_to_keep = dict[str, grants.GrantFields]()
        """The grant of the file for each stored grant that stays, by the id of the stored grant."""

    def plan(self, state: IndexState) -> Plan:
        """
        Return what the file changes in the documents of `state`.

        Raises Conflict (code `group_in_use`) if a group is removed that a grant or a namespace
        still names.
        """
        self._changes = []
        self._grants_to_keep = self._match_grants(state.access)

        # Each step adds its changes to `self._changes`, in the order in which people read them:
        # what goes, what changes, what comes.
        taken_rights = list(self._plan_revocations(state.access))
        taken_rights += self._plan_group_losses(state)
        early_steps = tuple(self._plan_early_steps(state))
        indexes = list[stored_indexes.AnyIndexEvent]()
        indexes += self._plan_removals(index_file.INDEXES, state.indexes)
        indexes += self._plan_main(state.indexes.main)
        indexes += self._plan_indexes(state.indexes)
        indexes += self._plan_retention(state.indexes.retention)
        late_steps = tuple(self._plan_late_steps(state))
        given_rights = list(self._plan_group_gains(state.access))
        given_rights += self._plan_grants(state.access)
        return Plan(
            before=state,
            changes=tuple(self._changes),
            taken_rights=tuple(taken_rights),
            early_steps=early_steps,
            indexes=tuple(indexes),
            late_steps=late_steps,
            given_rights=tuple(given_rights),
        )

    def _note(self, kind: Kind, name: str, outcome: Outcome, text: str) -> None:
        """Add a change to those that the plan shows."""
        self._changes.append(AppliedChange(kind=kind, name=name, outcome=outcome, text=text))

    def _is_pruned(self, source: str) -> bool:
        """Return whether a thing of a source is removed if the file lacks it."""
        return self._prunes and source == self._source

    def _plan_early_steps(self, state: IndexState) -> Iterator[TableStep]:
        """Yield the removals of each kind, with all changes of the kinds that have to fit."""
        for file_kind in index_file.NAMED:
            stored = state.table_lists[file_kind.noun]
            events = list(self._plan_removals(file_kind, stored))
            if file_kind.is_whole:
                # a new table may only fit once another one is removed, so both are one commit
                events += self._plan_tables(file_kind, stored)
            yield TableStep(file_kind, tuple(events))

    def _plan_late_steps(self, state: IndexState) -> Iterator[TableStep]:
        """Yield the new and changed tables of the kinds of which the early steps only remove."""
        for file_kind in index_file.NAMED:
            if not file_kind.is_whole:
                events = self._plan_tables(file_kind, state.table_lists[file_kind.noun])
                yield TableStep(file_kind, tuple(events))

    def _plan_removals(
        self, file_kind: index_file.NamedTables, stored: TableList[Any]
    ) -> Iterator[Any]:
        """Yield the removal of each stored table that the file lacks, and that is pruned."""
        kind = file_kind.kind
        names_in_file = {keys[kind.name_key] for keys in self._tables.of(file_kind.noun)}
        for table in stored.tables:
            if table.name not in names_in_file and self._is_pruned(table.source):
                self._note(file_kind.noun, table.name, "removed", kind.describe_keys(table.keys))
                yield kind.removed(at=self._at, by=self._by, name=table.name)

    def _plan_tables(
        self, file_kind: index_file.NamedTables, stored: TableList[Any]
    ) -> Iterator[Any]:
        """Yield the additions and the changes of tables, in the order of the file."""
        kind = file_kind.kind
        for keys in self._tables.of(file_kind.noun):
            name = str(keys[kind.name_key])
            text = kind.describe_keys(keys)
            table = stored.find(name)
            if table is None:
                self._note(file_kind.noun, name, "added", text)
                yield kind.added(at=self._at, by=self._by, keys=keys, source=self._source)
            # a command or an earlier version may have written the same keys in another way
            elif _canonical_keys(file_kind.canonical, table.keys) != keys:
                self._note(file_kind.noun, name, "changed", text)
                yield kind.changed(at=self._at, by=self._by, keys=keys, source=self._source)

    def _plan_main(
        self, stored: stored_indexes.StoredIndex | None
    ) -> Iterator[stored_indexes.AnyIndexEvent]:
        """
        Yield the change of main, if it changes.

        If the file has no `[main]`, the keys of main stay, or all go if they are pruned.
        """
        stored_keys: stored_indexes.IndexKeys = {}
        source = ""
        if stored is not None:
            stored_keys = _canonical_keys(index_file.canonical_main, stored.keys)
            source = stored.source
        keys = self._tables.main
        if keys is None and self._is_pruned(source):
            keys = {}
        if keys is not None and keys != stored_keys:
            self._note("index", MAIN, "changed", stored_indexes.INDEX_KIND.describe_keys(keys))
            yield stored_indexes.MainChanged(
                at=self._at, by=self._by, keys=keys, source=self._source
            )

    def _plan_indexes(
        self, stored: stored_indexes.IndexList
    ) -> Iterator[stored_indexes.AnyIndexEvent]:
        """Yield the changes of stored indexes, and then the new indexes."""
        # people read the plan in this order: changes first, then what is new
        new_indexes = list[stored_indexes.IndexKeys]()
        for keys in self._tables.index:
            name = str(keys["name"])
            index = stored.find(name)
            if index is None:
                new_indexes.append(keys)
            elif _canonical_keys(index_file.canonical_index, index.keys) != keys:
                self._note("index", name, "changed", stored_indexes.INDEX_KIND.describe_keys(keys))
                yield stored_indexes.IndexChanged(
                    at=self._at, by=self._by, keys=keys, source=self._source
                )
        for keys in new_indexes:
            text = stored_indexes.INDEX_KIND.describe_keys(keys)
            self._note("index", str(keys["name"]), "added", text)
            yield stored_indexes.IndexMade(at=self._at, by=self._by, keys=keys, source=self._source)

    def _plan_retention(
        self, stored: stored_indexes.StoredRetention | None
    ) -> Iterator[stored_indexes.AnyIndexEvent]:
        """Yield the event that replaces the rules of retention, if they change."""
        stored_rules: tuple[stored_indexes.RetentionKeys, ...] = ()
        source = ""
        if stored is not None:
            stored_rules = _canonical_keys(canonical_rules, stored.rules)
            source = stored.source
        rules = self._tables.retention
        if rules is None and self._is_pruned(source):
            rules = ()
        if rules is None or rules == stored_rules:
            return
        outcome: Outcome = "changed"
        described_rules = rules
        if not stored_rules:
            outcome = "added"
        elif not rules:
            outcome = "removed"
            described_rules = stored_rules
        self._note("retention", "rules", outcome, stored_indexes.describe_rules(described_rules))
        yield stored_indexes.RetentionChanged(
            at=self._at, by=self._by, rules=rules, source=self._source
        )

    def _match_grants(self, rules: grants.AccessRules) -> dict[str, grants.GrantFields]:
        """
        Return the grant of the file for each stored grant that stays, by the id of the stored one.

        A stored grant stays if the file has an equal grant, or one that differs in its note alone.
        """
        grants_in_file = set(self._tables.grant)
        matches = dict[str, grants.GrantFields]()
        # A grant with another note is the same grant, and keeps its id: a script that revokes it by
        # the id still finds it.
        ids_by_right = dict[grants.GrantFields, list[str]]()
        for granted in rules.grants:
            stored_fields = _canonical_grant(granted.grant)
            if stored_fields in grants_in_file:
                matches[granted.id] = stored_fields
            else:
                ids = ids_by_right.setdefault(_without_note(stored_fields), [])
                ids.append(granted.id)
        equal_grants = set(matches.values())
        for fields in self._tables.grant:
            ids_with_other_note = ids_by_right.get(_without_note(fields))
            if ids_with_other_note and fields not in equal_grants:
                matches[ids_with_other_note.pop()] = fields
        return matches

    def _plan_revocations(self, rules: grants.AccessRules) -> Iterator[grants.AnyAccessEvent]:
        """Yield the revocation of each stored grant that the file lacks, and that is pruned."""
        for granted in rules.grants:
            if granted.id not in self._grants_to_keep and self._is_pruned(granted.source):
                self._note("grant", granted.id, "removed", grants.describe_fields(granted.grant))
                yield grants.Revoked(at=self._at, by=self._by, id=granted.id)

    def _plan_grants(self, rules: grants.AccessRules) -> Iterator[grants.AnyAccessEvent]:
        """Yield the changes of grants whose note changes, and then the new grants."""
        for granted in rules.grants:
            fields = self._grants_to_keep.get(granted.id)
            if fields is not None and fields != _canonical_grant(granted.grant):
                # two events in one commit, as no event changes a grant
                self._note("grant", granted.id, "changed", grants.describe_fields(fields))
                yield grants.Revoked(at=self._at, by=self._by, id=granted.id)
                yield self._new_grant(granted.id, fields)
        stored_grants = set(self._grants_to_keep.values())
        for fields in self._tables.grant:
            if fields not in stored_grants:
                grant_id = f"g{self._new_id()[:8]}"
                self._note("grant", grant_id, "added", grants.describe_fields(fields))
                yield self._new_grant(grant_id, fields)

    def _new_grant(self, grant_id: str, fields: grants.GrantFields) -> grants.Granted:
        return grants.Granted(
            at=self._at, by=self._by, id=grant_id, grant=fields, source=self._source
        )

    def _plan_group_losses(self, state: IndexState) -> Iterator[grants.AnyAccessEvent]:
        """
        Yield the removals of members from groups, and then the removals of groups.

        Raises Conflict (code `group_in_use`) if a grant or a namespace that stays names a removed
        group.
        """
        rules = state.access
        # who leaves a group loses its rights now; who joins it gets them with the last commit
        for name, members in self._tables.groups.items():
            stored_members = set(rules.groups.get(name, ()))
            removed_members = tuple(sorted(stored_members - set(members)))
            if removed_members:
                yield self._group_changed(name, removed=removed_members)
        for name, members in rules.groups.items():
            source = rules.group_sources.get(name, "")
            if name not in self._tables.groups and self._is_pruned(source):
                self._require_no_grant(name, rules)
                self._require_no_namespace(name, state.table_lists[NAMESPACE_KIND.noun])
                self._note("group", name, "removed", ", ".join(members))
                yield grants.GroupDeleted(at=self._at, by=self._by, name=name)

    def _require_no_grant(self, group: str, rules: grants.AccessRules) -> None:
        """Raise Conflict if a grant that stays names a group that is removed."""
        for granted in rules.grants:
            is_kept = granted.id in self._grants_to_keep or not self._is_pruned(granted.source)
            if is_kept and group in grants.groups_in(granted.grant.who):
                raise Conflict(
                    f"The group {group} is not in the file, and grant {granted.id} needs it. Put "
                    "it back into the file, or revoke the grant first.",
                    code=MEETS_OTHER,
                )

    def _require_no_namespace(self, group: str, namespaces: TableList[Any]) -> None:
        """Raise Conflict if a namespace that stays is owned by a group that is removed."""
        keys_in_file = {keys["name"]: keys for keys in self._tables.namespace}
        for table in namespaces.tables:
            is_kept = table.name in keys_in_file or not self._is_pruned(table.source)
            # the keys that the namespace has once the file is applied
            keys = keys_in_file.get(table.name, table.keys)
            if is_kept and group in groups_of_owners(keys):
                raise Conflict(
                    f"The group {group} is not in the file, and owns the namespace {table.name}. "
                    "Put it back into the file, or revoke the namespace first.",
                    code=MEETS_OTHER,
                )

    def _plan_group_gains(self, rules: grants.AccessRules) -> Iterator[grants.AnyAccessEvent]:
        """Yield the new groups, and the members that groups get, in the order of the file."""
        for name, members in self._tables.groups.items():
            stored_members = rules.groups.get(name)
            added_members = tuple(sorted(set(members) - set(stored_members or ())))
            text = ", ".join(members) or "no members"
            if stored_members is None:
                self._note("group", name, "added", text)
            elif tuple(sorted(stored_members)) != members:
                self._note("group", name, "changed", text)
            if added_members or stored_members is None:
                yield self._group_changed(name, added=added_members)

    def _group_changed(
        self, name: str, added: tuple[str, ...] = (), removed: tuple[str, ...] = ()
    ) -> grants.GroupChanged:
        return grants.GroupChanged(
            at=self._at,
            by=self._by,
            name=name,
            added=added,
            removed=removed,
            source=self._source,
        )


def tables_of(state: IndexState) -> index_file.IndexTables:
    """
    Return the tables of a file that says what the documents say.

    `main` and `retention` of the tables are None if nobody has changed them. All keys are in their
    canonical form, but those that this version does not understand, which stay as they are.
    """
    main: stored_indexes.IndexKeys | None = None
    if state.indexes.main is not None and state.indexes.main.keys:
        main = _canonical_keys(index_file.canonical_main, state.indexes.main.keys)
    retention: tuple[stored_indexes.RetentionKeys, ...] | None = None
    if state.indexes.retention is not None:
        retention = _canonical_keys(canonical_rules, state.indexes.retention.rules)
    tables_by_noun = {index_file.INDEXES.noun: _canonical_tables(index_file.INDEXES, state.indexes)}
    for file_kind, stored in state.kinds_with_lists:
        tables_by_noun[file_kind.noun] = _canonical_tables(file_kind, stored)
    # a dict has equal grants once, in the order of the first of them
    grants_in_order = dict[grants.GrantFields, None]()
    for granted in state.access.grants:
        grants_in_order[_canonical_grant(granted.grant)] = None
    return index_file.IndexTables(
        main=main,
        groups=dict(state.access.groups),
        grant=tuple(grants_in_order),
        retention=retention,
        **tables_by_noun,
    )


def _canonical_tables(
    file_kind: index_file.NamedTables, stored: TableList[Any]
) -> tuple[TableKeys, ...]:
    """Return the keys of the stored tables of a kind, as a file has them."""
    return tuple(_canonical_keys(file_kind.canonical, table.keys) for table in stored.tables)


def _canonical_keys(canonical: Callable[[D], D], keys: D) -> D:
    """Return stored keys in their canonical form, or unchanged if this version refuses them."""
    try:
        return canonical(keys)
    except (Invalid, InvalidField):
        # a newer version has written them, so no file of this version has equal ones
        return keys


def _canonical_grant(fields: grants.GrantFields) -> grants.GrantFields:
    """Return a stored grant in its canonical form, or unchanged if this version refuses it."""
    try:
        return index_file.canonical_grant(fields)
    except Invalid:
        return fields


def _without_note(fields: grants.GrantFields) -> grants.GrantFields:
    """Return the fields of a grant that say who may do what. The note is not one of them."""
    return replace(fields, note="")
