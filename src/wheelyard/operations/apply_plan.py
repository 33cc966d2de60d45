"""
What a file that describes the index changes in the documents of a store.

A plan is made from the documents and the file alone, so that showing it and doing it are one. What
closes something comes before what opens something: rights are taken away first, then indexes
change, then rights are given. So nobody can read at any time what they could read neither before
nor afterwards.
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
    named: Mapping[str, Any]
    """Those of the kinds of `NAMED`, by the noun of each."""

    @property
    def of_kinds(self) -> tuple[tuple[index_file.NamedTables, TableList[Any]], ...]:
        """The kinds of `NAMED`, each with its document."""
        return tuple((kind, self.named[kind.noun]) for kind in index_file.NAMED)


class AppliedChange(Struct, frozen=True, kw_only=True):
    """What a file changes of one thing, for people and programs."""

    kind: Kind
    name: str
    """The name of the thing, the id of a grant or a publisher, or `rules` of retention."""
    outcome: Outcome
    text: str
    """What it is afterwards, in words, or what it was if it is removed."""


class TableStep(Struct, frozen=True):
    """Changes of the tables of a kind of `NAMED`, which are one commit."""

    of: index_file.NamedTables
    events: tuple[TableEvent, ...]


class Plan(Struct, frozen=True, kw_only=True):
    """The events by which the documents come to say what a file says, in the order of commits."""

    before: IndexState
    changes: tuple[AppliedChange, ...]
    taken_rights: tuple[grants.AnyAccessEvent, ...]
    early_steps: tuple[TableStep, ...]
    """What comes before the changes of indexes, as it takes something away."""
    indexes: tuple[stored_indexes.AnyIndexEvent, ...]
    late_steps: tuple[TableStep, ...]
    given_rights: tuple[grants.AnyAccessEvent, ...]

    def events_of(self, noun: str) -> tuple[Any, ...]:
        """Return the changes of the tables of a kind of `NAMED`."""
        events: list[TableEvent] = []
        for step in self.early_steps + self.late_steps:
            if step.of.noun == noun:
                events += step.events
        return tuple(events)

    @property
    def after(self) -> IndexState:
        """The documents once all of it is done."""
        documents = dict[str, Any]()
        for named, stored in self.before.of_kinds:
            events = self.events_of(named.noun)
            documents[named.noun] = _fold(named.kind.apply, stored, events)
        return IndexState(
            _fold(stored_indexes.INDEX_KIND.apply, self.before.indexes, self.indexes),
            _fold(grants.apply, self.before.access, self.taken_rights + self.given_rights),
            documents,
        )


def _fold(apply: Callable[[D, E], D], document: D, events: Iterable[E]) -> D:
    """Return a document after events, as the commit makes it."""
    for event in events:
        document = apply(document, event)
    return document


class Planner:
    """
    Plans what a file changes.

    Args:
        tables: What the file says.
        source: Its name, which the things that it makes or changes keep.
        by: The principal of who applies it.
        at: The time (UTC).
        new_id: Returns a random text, for the id of a grant.
        prunes: Whether what earlier files of this source have made, and this one lacks, is removed.
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
        self._becoming = dict[str, grants.GrantFields]()
        """The grant of the file that each stored one is, or becomes, by its id."""

    def plan(self, state: IndexState) -> Plan:
        """
        Return what the file changes in the documents of `state`.

        Raises Conflict (code `group_in_use`) if a group that has to go is needed by others.
        """
        self._changes = []
        self._becoming = self._grants_of_file(state.access)

        # Each of these notes its changes for the plan, in the order in which people read them: what
        # goes, what changes, what comes.
        taken_rights = list(self._revoked(state.access))
        taken_rights += self._taken_groups(state)
        early_steps = tuple(self._early_steps(state))
        indexes = list[stored_indexes.AnyIndexEvent]()
        indexes += self._removed(index_file.INDEXES, state.indexes)
        indexes += self._main(state.indexes.main)
        indexes += self._given_indexes(state.indexes)
        indexes += self._retention(state.indexes.retention)
        late_steps = tuple(self._late_steps(state))
        given_rights = list(self._given_groups(state.access))
        given_rights += self._granted(state.access)
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
        """Return whether what has a source goes if the file lacks it."""
        return self._prunes and source == self._source

    def _early_steps(self, state: IndexState) -> Iterator[TableStep]:
        """Yield what is removed of each kind, and with it what comes if all has to fit."""
        for named in index_file.NAMED:
            stored = state.named[named.noun]
            events = list(self._removed(named, stored))
            if named.is_whole:
                # what comes may only fit once what goes is gone, so both are one commit
                events += self._given(named, stored)
            yield TableStep(named, tuple(events))

    def _late_steps(self, state: IndexState) -> Iterator[TableStep]:
        """Yield what comes and changes of each kind that is left."""
        for named in index_file.NAMED:
            if not named.is_whole:
                yield TableStep(named, tuple(self._given(named, state.named[named.noun])))

    def _removed(self, named: index_file.NamedTables, stored: TableList[Any]) -> Iterator[Any]:
        """Yield the removal of each table that is pruned, as the file lacks it."""
        kind = named.kind
        names_in_file = {keys[kind.name_key] for keys in self._tables.of(named.noun)}
        for table in stored.tables:
            if table.name not in names_in_file and self._is_pruned(table.source):
                self._note(named.noun, table.name, "removed", kind.describe_keys(table.keys))
                yield kind.removed(at=self._at, by=self._by, name=table.name)

    def _given(self, named: index_file.NamedTables, stored: TableList[Any]) -> Iterator[Any]:
        """Yield the new tables, and the changes of others, in the order of the file."""
        kind = named.kind
        for keys in self._tables.of(named.noun):
            name = str(keys[kind.name_key])
            text = kind.describe_keys(keys)
            before = stored.find(name)
            if before is None:
                self._note(named.noun, name, "added", text)
                yield kind.added(at=self._at, by=self._by, keys=keys, source=self._source)
            # a command or an earlier version may have written the same keys in another way
            elif _as_written(named.canonical, before.keys) != keys:
                self._note(named.noun, name, "changed", text)
                yield kind.changed(at=self._at, by=self._by, keys=keys, source=self._source)

    def _main(
        self, stored: stored_indexes.StoredIndex | None
    ) -> Iterator[stored_indexes.AnyIndexEvent]:
        """Yield the change of main, which is as no file has changed it if this one lacks it."""
        before: stored_indexes.IndexKeys = {}
        source = ""
        if stored is not None:
            before = _as_written(index_file.canonical_main, stored.keys)
            source = stored.source
        keys = self._tables.main
        if keys is None and self._is_pruned(source):
            keys = {}
        if keys is not None and keys != before:
            self._note("index", MAIN, "changed", stored_indexes.INDEX_KIND.describe_keys(keys))
            yield stored_indexes.MainChanged(
                at=self._at, by=self._by, keys=keys, source=self._source
            )

    def _given_indexes(
        self, stored: stored_indexes.IndexList
    ) -> Iterator[stored_indexes.AnyIndexEvent]:
        """Yield the changes of indexes that are there, and then the new ones."""
        # noted after the changes, as people read the plan in this order
        made = list[stored_indexes.IndexMade]()
        for keys in self._tables.index:
            name = str(keys["name"])
            before = stored.find(name)
            if before is None:
                made.append(
                    stored_indexes.IndexMade(
                        at=self._at, by=self._by, keys=keys, source=self._source
                    )
                )
            elif _as_written(index_file.canonical_index, before.keys) != keys:
                self._note("index", name, "changed", stored_indexes.INDEX_KIND.describe_keys(keys))
                yield stored_indexes.IndexChanged(
                    at=self._at, by=self._by, keys=keys, source=self._source
                )
        for event in made:
            text = stored_indexes.INDEX_KIND.describe_keys(event.keys)
            self._note("index", str(event.keys["name"]), "added", text)
            yield event

    def _retention(
        self, stored: stored_indexes.StoredRetention | None
    ) -> Iterator[stored_indexes.AnyIndexEvent]:
        """Yield the replacement of the rules of retention by those of the file."""
        before: tuple[stored_indexes.RetentionKeys, ...] = ()
        source = ""
        if stored is not None:
            before = _as_written(canonical_rules, stored.rules)
            source = stored.source
        rules = self._tables.retention
        if rules is None and self._is_pruned(source):
            rules = ()
        if rules is None or rules == before:
            return
        outcome: Outcome = "changed"
        described = rules
        if not before:
            outcome = "added"
        elif not rules:
            outcome = "removed"
            described = before
        self._note("retention", "rules", outcome, stored_indexes.describe_rules(described))
        yield stored_indexes.RetentionChanged(
            at=self._at, by=self._by, rules=rules, source=self._source
        )

    def _grants_of_file(self, rules: grants.AccessRules) -> dict[str, grants.GrantFields]:
        """Return the grant of the file that each stored one is, or becomes, by its id."""
        stored = {granted.id: _canonical(granted.grant) for granted in rules.grants}
        in_file = set(self._tables.grant)
        becoming = {grant_id: fields for grant_id, fields in stored.items() if fields in in_file}
        # One with another note is the same grant, so it keeps its id: whoever has written that
        # down, as in a script that revokes it, still finds it.
        ids_by_right = dict[grants.GrantFields, list[str]]()
        for grant_id, fields in stored.items():
            if grant_id not in becoming:
                ids_by_right.setdefault(_without_note(fields), []).append(grant_id)
        equal_grants = set(becoming.values())
        for fields in self._tables.grant:
            ids = ids_by_right.get(_without_note(fields))
            if ids and fields not in equal_grants:
                becoming[ids.pop()] = fields
        return becoming

    def _revoked(self, rules: grants.AccessRules) -> Iterator[grants.AnyAccessEvent]:
        """Yield the revocation of each grant that is pruned, as the file lacks it."""
        for granted in rules.grants:
            if granted.id not in self._becoming and self._is_pruned(granted.source):
                self._note("grant", granted.id, "removed", grants.describe_fields(granted.grant))
                yield grants.Revoked(at=self._at, by=self._by, id=granted.id)

    def _granted(self, rules: grants.AccessRules) -> Iterator[grants.AnyAccessEvent]:
        """Yield the changes of grants that have another note, and then the new grants."""
        for granted in rules.grants:
            fields = self._becoming.get(granted.id)
            if fields is not None and fields != _canonical(granted.grant):
                # no event changes a grant, so there are two, in one commit
                self._note("grant", granted.id, "changed", grants.describe_fields(fields))
                yield grants.Revoked(at=self._at, by=self._by, id=granted.id)
                yield self._new_grant(granted.id, fields)
        stored = set(self._becoming.values())
        for fields in self._tables.grant:
            if fields not in stored:
                grant_id = f"g{self._new_id()[:8]}"
                self._note("grant", grant_id, "added", grants.describe_fields(fields))
                yield self._new_grant(grant_id, fields)

    def _new_grant(self, grant_id: str, fields: grants.GrantFields) -> grants.Granted:
        return grants.Granted(
            at=self._at, by=self._by, id=grant_id, grant=fields, source=self._source
        )

    def _taken_groups(self, state: IndexState) -> Iterator[grants.AnyAccessEvent]:
        """Yield the members that groups lose, and the groups that go."""
        rules = state.access
        # who leaves a group loses its rights now; who joins it gets them with the last commit
        for name, members in self._tables.groups.items():
            removed = tuple(sorted(set(rules.groups.get(name, ())) - set(members)))
            if removed:
                yield self._group_changed(name, removed=removed)
        for name, members in rules.groups.items():
            source = rules.group_sources.get(name, "")
            if name not in self._tables.groups and self._is_pruned(source):
                self._require_no_grant(name, rules)
                self._require_no_namespace(name, state.named[NAMESPACE_KIND.noun])
                self._note("group", name, "removed", ", ".join(members))
                yield grants.GroupDeleted(at=self._at, by=self._by, name=name)

    def _require_no_grant(self, group: str, rules: grants.AccessRules) -> None:
        """Raise Conflict if a group that goes has a grant that stays."""
        for granted in rules.grants:
            is_kept = granted.id in self._becoming or not self._is_pruned(granted.source)
            if is_kept and group in grants.groups_in(granted.grant.who):
                raise Conflict(
                    f"The group {group} is not in the file, and grant {granted.id} needs it. Put "
                    "it back into the file, or revoke the grant first.",
                    code=MEETS_OTHER,
                )

    def _require_no_namespace(self, group: str, namespaces: TableList[Any]) -> None:
        """Raise Conflict if a group that goes owns a namespace that stays."""
        in_file = {keys["name"]: keys for keys in self._tables.namespace}
        for table in namespaces.tables:
            is_kept = table.name in in_file or not self._is_pruned(table.source)
            # the owners that it has once the file is applied
            keys = in_file.get(table.name, table.keys)
            if is_kept and group in groups_of_owners(keys):
                raise Conflict(
                    f"The group {group} is not in the file, and owns the namespace {table.name}. "
                    "Put it back into the file, or revoke the namespace first.",
                    code=MEETS_OTHER,
                )

    def _given_groups(self, rules: grants.AccessRules) -> Iterator[grants.AnyAccessEvent]:
        """Yield the new groups, and the members that groups get."""
        for name, members in self._tables.groups.items():
            before = rules.groups.get(name)
            added = tuple(sorted(set(members) - set(before or ())))
            text = ", ".join(members) or "no members"
            if before is None:
                self._note("group", name, "added", text)
            elif tuple(sorted(before)) != members:
                self._note("group", name, "changed", text)
            if added or before is None:
                yield self._group_changed(name, added=added)

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
    Return what the documents say, as a file that says it.

    Its `main` and `retention` are None if nobody has changed them. Keys are as equal ones are
    written, and those that this version does not understand stay as they are.
    """
    rules = state.access
    main: stored_indexes.IndexKeys | None = None
    if state.indexes.main is not None and state.indexes.main.keys:
        main = _as_written(index_file.canonical_main, state.indexes.main.keys)
    retention: tuple[stored_indexes.RetentionKeys, ...] | None = None
    if state.indexes.retention is not None:
        retention = _as_written(canonical_rules, state.indexes.retention.rules)
    named = {index_file.INDEXES.noun: _canonical_tables(index_file.INDEXES, state.indexes)}
    for kind, stored in state.of_kinds:
        named[kind.noun] = _canonical_tables(kind, stored)
    return index_file.IndexTables(
        main=main,
        groups=dict(rules.groups),
        grant=tuple(dict.fromkeys(_canonical(granted.grant) for granted in rules.grants)),
        retention=retention,
        **named,
    )


def _canonical_tables(
    named: index_file.NamedTables, stored: TableList[Any]
) -> tuple[TableKeys, ...]:
    """Return the keys of the stored tables of a kind, as a file has them."""
    return tuple(_as_written(named.canonical, table.keys) for table in stored.tables)


def _as_written(canonical: Callable[[D], D], keys: D) -> D:
    """Return stored keys as equal ones are written, or unchanged if this version refuses them."""
    try:
        return canonical(keys)
    except (Invalid, InvalidField):
        # as a newer version writes them: they differ from those of each file of this one
        return keys


def _canonical(fields: grants.GrantFields) -> grants.GrantFields:
    """Return a stored grant as equal ones are written, or unchanged if this version refuses it."""
    try:
        return index_file.canonical_grant(fields)
    except Invalid:
        return fields


def _without_note(fields: grants.GrantFields) -> grants.GrantFields:
    """Return what makes a grant the same one."""
    return replace(fields, note="")
