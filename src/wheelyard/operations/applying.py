"""
Puts into force what a file says of the index: one plan, which is shown or done.

Each document gets one commit, or two where rights are both taken away and given. A commit is only
made on what the plan was made from: what somebody has changed meanwhile is never overwritten. The
digest of the file is written last. So who is killed on the way does it again, and ends at the same.
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
    """What they may read of it: nothing, everything, or patterns of names."""
    after: str


class ApplyReport(Struct, frozen=True, kw_only=True):
    """What a file changes, or has changed."""

    source: str
    changes: tuple[AppliedChange, ...]
    anonymous: tuple[AnonymousChange, ...]
    is_done: bool
    """Whether all of it is in force now."""
    problems: tuple[str, ...] = ()
    """What asks for a look, in sentences, such as an index that is not served here."""
    applied: stored_indexes.AppliedFile | None = None
    """When the same file was applied before, if it was: then nothing is written."""


class ApplyOptions(Struct, frozen=True, kw_only=True):
    """How a file is applied."""

    dry_run: bool = False
    """Whether the plan is only made."""
    prune: bool = False
    """Whether what earlier files of the source have made, and this one lacks, is removed."""
    again: bool = False
    """Whether a file is applied that was applied last of its source."""
    even_if_own: bool = False
    """Whether to go on if the caller is no administrator afterwards."""
    even_if_open: bool = False
    """Whether anybody may read by an open index what needs a right in its own index."""
    even_if_public: bool = False
    """Whether public packages that are in use are not served any more."""
    note: str = ""
    """Why, or where from, for the journal."""


class SourcedTables(Struct, frozen=True):
    """What a file says, and its name."""

    source: str
    tables: IndexTables


class _Step(Struct, frozen=True, kw_only=True):
    """A file, and what becomes of it."""

    file: SourcedTables
    plan: Plan
    report: ApplyReport
    is_same: bool
    """Whether it was applied last of its source."""
    is_kept: bool
    """Whether it is left alone for that reason."""


class _AnonymousReading(Struct, frozen=True):
    """What readers without a credential get of an index."""

    text: str = NOTHING
    """What they may read: nothing, everything, or patterns of names."""
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
    def _named(self) -> dict[str, StoredTables[Any, Any, Any, Any]]:
        """What changes the tables of each kind of `NAMED`, by the noun of the kind."""
        all_tables = (self.publishers, self.namespaces, self.webhooks)
        return {tables.kind.noun: tables for tables in all_tables}

    def read_state(self) -> IndexState:
        """Return the documents as they are in the store now."""
        return IndexState(
            self.indexes.in_force.stored(),
            self.access.read_stored(),
            {noun: tables.read_stored() for noun, tables in self._named.items()},
        )

    def show(self) -> IndexTables:
        """Return what describes the index now, with the webhooks that have a secret marked."""
        tables = tables_of(self.read_state())
        with_secret = {row.name for row in self.webhooks.show() if row.secret_from}
        webhooks = list[TableKeys]()
        for keys in tables.webhook:
            if keys[WEBHOOK_KIND.name_key] in with_secret:
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

        Nothing is written in a dry run, or unless all of them can be applied. A file that was
        applied last of its source is left alone, unless `options.again` is set.

        Raises Invalid if an index, a group, a grant, a publisher or a namespace of a file does not
        fit into what is there. Raises Conflict (code `index_exists`) if something else has the name
        of a new index, (code `index_in_use`) if an index that has to go has packages or is a layer,
        or while an index of an earlier version is called main, (code `group_in_use`) if a group
        that has to go is needed by what stays, (code `namespace_overlaps`) if a namespace is in, or
        around, one of other owners, and (code `too_many_webhooks`) if there would be too many.
        Unless an option allows it, raises Conflict (code `own_access`) if whoever has the
        principals `keep_admin` would be no administrator any more, (code `opens_index`) if anybody
        could read by an open index what needs a right in its own, and (code `hides_public_names`)
        if a namespace would hide public names in use.

        Raises Conflict (code `changed_meanwhile`) if somebody else changes the same things at the
        same time. An error after the first commit leaves a part in force, and the same files again
        do the rest.
        """
        state = self.read_state()
        steps = list[_Step]()
        for file in files:
            step = self._step(file, by, options, state)
            if not step.is_kept:
                self._require_valid(step.plan, keep_admin, options)
            steps.append(step)
            # a later file may need what this one brings, such as a group
            state = step.plan.after
        # only now, as the last file may be the one that cannot be applied
        if not options.dry_run:
            for step in steps:
                self._do(step, by, options)
        return tuple(step.report for step in steps)

    def compare(self, files: Sequence[SourcedTables], state: IndexState) -> tuple[ApplyReport, ...]:
        """
        Return what files would change in these documents, also if they cannot be applied.

        Nothing is pruned: what earlier files have made, and these lack, is no difference.
        """
        reports = list[ApplyReport]()
        for file in files:
            # also what was applied already: it may have been changed by hand since
            step = self._step(file, "", ApplyOptions(again=True), state)
            reports.append(step.report)
            state = step.plan.after
        return tuple(reports)

    def _step(
        self, file: SourcedTables, by: str, options: ApplyOptions, before: IndexState
    ) -> _Step:
        """Return what becomes of a file, by the documents `before`. Nothing is checked."""
        plan = self._plan(file, by, before, prunes=options.prune)
        applied = before.indexes.applied.get(file.source)
        is_same = False
        if applied is not None and applied.digest == file.tables.digest:
            # applied without pruning, it may have left what pruning would remove now
            is_same = applied.prunes or not options.prune
        is_kept = is_same and not options.again
        earlier: stored_indexes.AppliedFile | None = None
        if is_kept:
            earlier = applied
        report = ApplyReport(
            source=file.source,
            changes=plan.changes,
            anonymous=tuple(self._anonymous_changes(before, plan.after)),
            is_done=not plan.changes or not (is_kept or options.dry_run),
            problems=tuple(self._problems(plan, file.tables)),
            applied=earlier,
        )
        return _Step(file=file, plan=plan, report=report, is_same=is_same, is_kept=is_kept)

    def _do(self, step: _Step, by: str, options: ApplyOptions) -> None:
        """Commit the plan of a file, and then that it was applied."""
        if step.is_kept:
            return
        self._commit(step.plan, by)
        # last: whoever dies before has applied a part, and the same file again does the rest
        if not step.is_same:
            self._note_applied(step.file, by, options)

    def _plan(self, file: SourcedTables, by: str, state: IndexState, *, prunes: bool) -> Plan:
        """Return what a file changes in the documents of `state`."""
        runtime = self.indexes.runtime
        planner = Planner(
            file.tables, file.source, by, runtime.now(), runtime.new_id, prunes=prunes
        )
        return planner.plan(state)

    def _require_valid(self, plan: Plan, keep_admin: Principals, options: ApplyOptions) -> None:
        """Raise Invalid or Conflict unless the documents are right after a plan."""
        if plan.changes and plan.before.indexes.find(MAIN) is not None:
            # nobody could tell later which of the two the file means
            raise Conflict(FORMER_MAIN_PROBLEM, code=INDEX_IN_USE, advice=RENAME_MAIN)
        after = plan.after
        self._require_indexes(plan, after.indexes, even_if_open=options.even_if_open)
        self._require_rights(plan, after)
        self._require_named(plan, after)
        # a dry run names the public packages in `problems`, and refuses nothing for them
        if not options.dry_run and not options.even_if_public:
            for change in plan.events_of(NAMESPACE_KIND.noun):
                if isinstance(change, NamespaceGranted):
                    self.namespaces.require_unused(change.keys)
        if not options.even_if_own:
            require_still_admin(keep_admin, plan.before.access, after.access)

    def _require_named(self, plan: Plan, after: IndexState) -> None:
        """Raise Invalid or Conflict unless all tables of each kind fit together."""
        for publisher in plan.events_of(PUBLISHER_KIND.noun):
            self.publishers.require_fit(publisher, after.named[PUBLISHER_KIND.noun])
        for namespace in plan.events_of(NAMESPACE_KIND.noun):
            self.namespaces.require_no_overlap(namespace, after.named[NAMESPACE_KIND.noun])
        if any(isinstance(event, TableAdded) for event in plan.events_of(WEBHOOK_KIND.noun)):
            self.webhooks.require_few(len(after.named[WEBHOOK_KIND.noun].tables))

    def _require_indexes(
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
                    _require_index(rule.index, after, f"the retention {rule.title} names")
        require_lists_fit(definitions, plan.before.indexes, after, even_if_open=even_if_open)

    def _require_rights(self, plan: Plan, after: IndexState) -> None:
        """Raise Invalid if a new right names a group, or an index, that there is not."""
        groups = after.access.groups.keys()
        for event in plan.given_rights:
            if not isinstance(event, grants.Granted):
                continue
            who = "a grant of the file names"
            _require_groups(grants.groups_in(event.grant.who) - groups, who)
            for index in event.grant.index.split(","):
                _require_index(index, after.indexes, who)
        for change in plan.events_of(NAMESPACE_KIND.noun):
            if isinstance(change, NamespaceGranted | NamespaceChanged):
                who = "a namespace of the file names"
                _require_groups(groups_of_owners(change.keys) - groups, who)
        for change in plan.events_of(PUBLISHER_KIND.noun):
            if isinstance(change, TableAdded | TableChanged):
                who = f"the publisher {quoted(change.keys['id'])} names"
                for index in str(change.keys.get("index", MAIN)).split(","):
                    _require_index(index, after.indexes, who)

    def _commit(self, plan: Plan, by: str) -> None:
        """
        Commit the events of a plan, each document in its turn.

        Whoever dies between two of these commits has taken away more than it has given: nobody can
        read meanwhile what they could read neither before nor afterwards. The same file again does
        what is left.
        """
        access = self._commit_access(plan.before.access, plan.taken_rights)
        # before the indexes, as it takes something away, such as a publisher
        named = self._commit_steps(plan.before.named, plan.early_steps)
        self._commit_indexes(plan.before.indexes, plan.indexes, by)
        self._commit_steps(named, plan.late_steps)
        # last, as grants may name indexes that were made just now
        self._commit_access(access, plan.given_rights)

    def _commit_access(
        self, expected: grants.AccessRules, events: Sequence[grants.AnyAccessEvent]
    ) -> grants.AccessRules:
        """Commit changes of rights, and return the document afterwards."""
        if not events:
            return expected

        # What the events do not touch may have changed meanwhile: it does not matter to the plan.
        def intent(rules: grants.AccessRules) -> tuple[grants.AnyAccessEvent, ...]:
            for event in events:
                if _right_of(rules, event) != _right_of(expected, event):
                    raise _changed(_title_of_right(event))
            return tuple(events)

        return self.access.commit(intent).after

    def _commit_steps(
        self, expected: Mapping[str, TableList[Any]], steps: Sequence[TableStep]
    ) -> Mapping[str, TableList[Any]]:
        """Commit changes of tables, and return the documents afterwards."""
        after = dict(expected)
        for step in steps:
            after[step.of.noun] = self._commit_tables(expected[step.of.noun], step)
        return after

    def _commit_tables(self, expected: TableList[Any], step: TableStep) -> TableList[Any]:
        """Commit changes of the tables of a kind, and return the document afterwards."""
        if not step.events:
            return expected

        def intent(stored: TableList[Any]) -> tuple[TableEvent, ...]:
            kind = step.of.kind
            # tables that have to fit together were checked with all others of the list
            if step.of.is_whole and stored.tables != expected.tables:
                raise _changed(f"The list of {kind.title}")
            for event in step.events:
                name = _name_of(event, kind)
                if stored.find(name) != expected.find(name):
                    raise _changed(f"The {kind.noun} {quoted(name)}")
            return step.events

        after: TableList[Any] = self._named[step.of.noun].commit(intent).after
        return after

    def _commit_indexes(
        self,
        expected: stored_indexes.IndexList,
        events: Sequence[stored_indexes.AnyIndexEvent],
        by: str,
    ) -> None:
        """Commit changes of indexes, and look once more for names and packages that came."""
        if not events:
            return

        def intent(stored: stored_indexes.IndexList) -> tuple[stored_indexes.AnyIndexEvent, ...]:
            # all of them: whether an index opens a layer follows from the other ones, too
            is_same = (
                stored.main == expected.main
                and stored.tables == expected.tables
                and stored.retention == expected.retention
            )
            if not is_same:
                raise _changed("The list of indexes, or of rules of retention,")
            return tuple(events)

        self.indexes.commit(intent)
        # An upload looks for an index after it has put its mark, and this looks for marks after the
        # commit. So one of both sees the other, whichever is first.
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

    def _problems(self, plan: Plan, tables: IndexTables) -> Iterator[str]:
        """
        Yield what asks for a look in a plan, in sentences.

        That is an index that is not served, as a layer is unknown, a namespace that hides public
        packages in use, and a webhook of the file that nothing can be sent to, as it has no secret.
        """
        not_served = self.indexes.in_force.read(plan.after.indexes).problems
        for event in plan.indexes:
            name = _index_name(event)
            if name in not_served:
                yield not_served[name]
        for change in plan.events_of(NAMESPACE_KIND.noun):
            if isinstance(change, NamespaceGranted):
                why = self.namespaces.describe_hidden_names(change.keys)
                if why:
                    yield why
        if tables.webhook:
            problems = self.webhooks.problems(plan.after.named[WEBHOOK_KIND.noun])
            names = {str(keys[WEBHOOK_KIND.name_key]) for keys in tables.webhook}
            for name in sorted(names & problems.keys()):
                yield f"webhook {name}: {problems[name]}"

    def _anonymous_changes(
        self, before: IndexState, after: IndexState
    ) -> Iterator[AnonymousChange]:
        """Yield the indexes that answer otherwise to readers without a credential."""
        reading_before = self._anonymous_reading(before)
        reading_after = self._anonymous_reading(after)
        names = reading_before.keys() | reading_after.keys()
        for name in sorted(names, key=lambda name: (name != MAIN, name)):
            earlier = reading_before.get(name, _AnonymousReading())
            later = reading_after.get(name, _AnonymousReading())
            # what an index shows that nobody may read without a credential is no matter here
            if earlier == later or earlier.text == later.text == NOTHING:
                continue
            text = later.text
            if text == earlier.text:
                text = f"{text}, of other layers or by other rules"
            yield AnonymousChange(index=name, before=earlier.text, after=text)

    def _anonymous_reading(self, state: IndexState) -> dict[str, _AnonymousReading]:
        """Return what anybody may read of each index, by the name of the index."""
        if self.is_private:
            return {}
        served = self.indexes.in_force.read(state.indexes).with_main
        patterns = _anonymous_patterns(state.access)
        reading = dict[str, _AnonymousReading]()
        for name, definition in served.items():
            text = EVERYTHING
            if not definition.is_open:
                readable = patterns.get(name, set()) | patterns.get(EVERY_INDEX, set())
                text = ", ".join(sorted(readable)) or NOTHING
            parts = tuple(parts_of(definition, served))
            content = (parts, definition.rules, definition.merge.texts)
            reading[name] = _AnonymousReading(text, content)
        return reading


def _anonymous_patterns(rules: grants.AccessRules) -> dict[str, set[str]]:
    """Return the patterns of names that anybody may read, by the index that a grant names."""
    patterns = dict[str, set[str]]()
    for granted in rules.grants:
        if ANONYMOUS in granted.grant.who:
            for index in (granted.grant.index or MAIN).split(","):
                patterns.setdefault(index, set()).update(granted.grant.projects)
    return patterns


def _right_of(rules: grants.AccessRules, event: grants.AnyAccessEvent) -> object:
    """Return what of the document an event changes."""
    match event:
        case grants.Revoked(id=grant_id):
            return next((granted for granted in rules.grants if granted.id == grant_id), None)
        case grants.Granted(grant=fields):
            return [granted.id for granted in rules.grants if granted.grant == fields]
        case grants.GroupChanged(name=name) | grants.GroupDeleted(name=name):
            return rules.groups.get(name)
        case _:
            return None


def _title_of_right(event: grants.AnyAccessEvent) -> str:
    """Return what an event changes, in words for a message."""
    match event:
        case grants.Revoked(id=grant_id):
            return f"The grant {grant_id}"
        case grants.GroupChanged(name=name) | grants.GroupDeleted(name=name):
            return f"The group {name}"
        case _:
            return "A grant of the file"


def _name_of(event: TableEvent, kind: TableKind[Any, Any, Any]) -> str:
    """Return the name of the table that an event is about."""
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


def _changed(what: str) -> Conflict:
    """Return the error for what is not any more as the plan was made from."""
    return Conflict(
        f"{what} was changed meanwhile by somebody else. Look at the plan as it is now, and apply "
        "the file again.",
        code=CHANGED_MEANWHILE,
    )


def _require_groups(missing: Collection[str], who: str) -> None:
    """Raise Invalid if there is a missing group. `who` says what names it."""
    if missing:
        raise _no_such(f"group {quoted(min(missing))}", who)


def _require_index(name: str, after: stored_indexes.IndexList, who: str) -> None:
    """Raise Invalid if a name is that of no index of a list."""
    if name not in {MAIN, EVERY_INDEX} and after.find(name) is None:
        raise _no_such(f"index {quoted(name)}", who)


def _no_such(what: str, who: str) -> Invalid:
    """Return the error for a group or an index that a file names, and nothing makes."""
    return Invalid(f"There is no {what}, which {who}. Add it to the file.", code=WRONG_FILE)
