"""
Puts into force what a file says of the index: one plan, which is shown or done.

Each document gets one commit, or two where rights are both taken away and given. A commit is only
made on what the plan was made from: what somebody has changed meanwhile is never overwritten. The
digest of the file is written last. So who is killed on the way does it again, and ends at the same.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from wheelyard.catalog.removed import FORMER_MAIN_PROBLEM, RENAME_MAIN
from wheelyard.errors import Conflict, Invalid, quoted
from wheelyard.model.access import ANONYMOUS
from wheelyard.model.grants import (
    AccessRules,
    AnyAccessEvent,
    Granted,
    GroupChanged,
    GroupDeleted,
    Revoked,
    groups_in,
)
from wheelyard.model.index_definition import parts_of
from wheelyard.model.index_file import WRONG_FILE, IndexTables
from wheelyard.model.index_name import EVERY_INDEX, MAIN
from wheelyard.model.retention_rules import parse_rules
from wheelyard.model.stored_indexes import (
    AnyIndexEvent,
    AppliedFile,
    FileApplied,
    IndexChanged,
    IndexList,
    IndexMade,
    IndexRemoved,
    RetentionChanged,
)
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
from wheelyard.operations.access_control import NOBODY, AccessControl, Principals
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
from wheelyard.operations.stored_tables import StoredTables
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
    applied: AppliedFile | None = None
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

        Nothing is written unless all of them can be applied. Raises Invalid if an index, a group or
        a grant of a file does not fit into what is there. Raises Conflict if an index that has to
        go has packages, (code `own_access`) as `AccessControl.revoke` does, (code `opens_index`) as
        `IndexAdministration.make` does, (codes `namespace_overlaps` and `hides_public_names`) as
        `Namespaces.add` does, (code `too_many_webhooks`) as `Webhooks.add` does, and (code
        `changed_meanwhile`) if somebody else changes the same things at the same time.
        """
        state = self.read_state()
        steps = list[_Step]()
        for file in files:
            step = self._step(file, by, options, state)
            if not step.is_kept:
                self._require_valid(step.plan, keep_admin, options)
            steps.append(step)
            state = step.plan.after
        for step in () if options.dry_run else steps:
            self._do(step, by, options)
        return tuple(step.report for step in steps)

    def compare(self, files: Sequence[SourcedTables], state: IndexState) -> tuple[ApplyReport, ...]:
        """Return what files would change in these documents, also if they cannot be applied."""
        reports = list[ApplyReport]()
        for file in files:
            step = self._step(file, "", ApplyOptions(again=True), state)
            reports.append(step.report)
            state = step.plan.after
        return tuple(reports)

    def _step(
        self, file: SourcedTables, by: str, options: ApplyOptions, before: IndexState
    ) -> "_Step":
        plan = self._plan(file, by, before, prunes=options.prune)
        applied = before.indexes.applied.get(file.source)
        is_same = (
            applied is not None
            and applied.digest == file.tables.digest
            and applied.prunes >= options.prune
        )
        is_kept = is_same and not options.again
        earlier: AppliedFile | None = None
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

    def _do(self, step: "_Step", by: str, options: ApplyOptions) -> None:
        if step.is_kept:
            return
        self._commit(step.plan, by)
        if not step.is_same:
            self._note_applied(step.file, by, options)

    def _plan(self, file: SourcedTables, by: str, state: IndexState, *, prunes: bool) -> Plan:
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
        for change in plan.events_of(NAMESPACE_KIND.noun):
            is_asked = not (options.dry_run or options.even_if_public)
            if isinstance(change, NamespaceGranted) and is_asked:
                self.namespaces.require_unused(change.keys)
        if not options.even_if_own:
            self.access.require_still_admin(keep_admin, plan.before.access, after.access)

    def _require_named(self, plan: Plan, after: IndexState) -> None:
        """Raise Invalid or Conflict unless all tables of each kind fit together."""
        for publisher in plan.events_of(PUBLISHER_KIND.noun):
            self.publishers.require_fit(publisher, after.named[PUBLISHER_KIND.noun])
        for namespace in plan.events_of(NAMESPACE_KIND.noun):
            self.namespaces.require_no_overlap(namespace, after.named[NAMESPACE_KIND.noun])
        if any(isinstance(event, TableAdded) for event in plan.events_of(WEBHOOK_KIND.noun)):
            self.webhooks.require_few(len(after.named[WEBHOOK_KIND.noun].tables))

    def _require_indexes(self, plan: Plan, after: IndexList, *, even_if_open: bool) -> None:
        definitions = self.indexes.in_force
        for event in plan.indexes:
            if isinstance(event, IndexMade):
                self.indexes.require_free(str(event.keys["name"]))
            elif isinstance(event, IndexRemoved):
                self.indexes.require_no_layer(event.name, after)
                self.indexes.require_unused(event.name)
            elif isinstance(event, RetentionChanged):
                for rule in parse_rules(event.rules):
                    _require_index(rule.index, after, f"the retention {rule.title} names")
        require_lists_fit(definitions, plan.before.indexes, after, even_if_open=even_if_open)

    def _require_rights(self, plan: Plan, after: IndexState) -> None:
        """Raise Invalid if a new right names a group, or an index, that there is not."""
        for event in plan.given_rights:
            if not isinstance(event, Granted):
                continue
            for group in sorted(groups_in(event.grant.who) - after.access.groups.keys()):
                raise _no_such(f"group {quoted(group)}", "a grant of the file names")
            for index in event.grant.index.split(","):
                _require_index(index, after.indexes, "a grant of the file names")
        for granted in plan.events_of(NAMESPACE_KIND.noun):
            if isinstance(granted, NamespaceGranted | NamespaceChanged):
                for group in sorted(groups_of_owners(granted.keys) - after.access.groups.keys()):
                    raise _no_such(f"group {quoted(group)}", "a namespace of the file names")
        for change in plan.events_of(PUBLISHER_KIND.noun):
            if isinstance(change, TableAdded | TableChanged):
                what = f"the publisher {quoted(change.keys['id'])} names"
                for index in str(change.keys.get("index", MAIN)).split(","):
                    _require_index(index, after.indexes, what)

    def _commit(self, plan: Plan, by: str) -> None:
        """Commit the events of a plan, first what takes rights away, and last what gives some."""
        access = self._commit_access(plan.before.access, plan.taken_rights)
        named = self._commit_steps(plan.before.named, plan.early_steps)
        self._commit_indexes(plan.before.indexes, plan.indexes, by)
        self._commit_steps(named, plan.late_steps)
        self._commit_access(access, plan.given_rights)

    def _commit_access(
        self, expected: AccessRules, events: Sequence[AnyAccessEvent]
    ) -> AccessRules:
        """Commit changes of rights, and return the document afterwards."""
        if not events:
            return expected

        def intent(rules: AccessRules) -> tuple[AnyAccessEvent, ...]:
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
        kind = step.of.kind

        def intent(stored: TableList[Any]) -> tuple[TableEvent, ...]:
            if step.of.is_whole and stored.tables != expected.tables:
                raise _changed(f"The list of {kind.title}")
            for event in step.events:
                name = _name_of(event, kind)
                if stored.find(name) != expected.find(name):
                    raise _changed(f"The {kind.noun} {quoted(name)}")
            return step.events

        after: TableList[Any] = self._named[kind.noun].commit(intent).after
        return after

    def _commit_indexes(
        self, expected: IndexList, events: Sequence[AnyIndexEvent], by: str
    ) -> None:
        """Commit changes of indexes, and look once more for names and packages that came."""
        if not events:
            return

        def intent(stored: IndexList) -> tuple[AnyIndexEvent, ...]:
            # all of them: whether an index opens a layer follows from the other ones, too
            is_same = (stored.main, stored.tables) == (expected.main, expected.tables)
            if not (is_same and stored.retention == expected.retention):
                raise _changed("The list of indexes, or of rules of retention,")
            return tuple(events)

        self.indexes.commit(intent)
        for event in events:
            self.indexes.confirm(event, expected, by)

    def _note_applied(self, file: SourcedTables, by: str, options: ApplyOptions) -> None:
        event = FileApplied(
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
            if isinstance(change, NamespaceGranted) and (why := self.namespaces.hides(change.keys)):
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
        was = self._anonymous_reading(before)
        will = self._anonymous_reading(after)
        for name in sorted({*was, *will}, key=lambda name: (name != MAIN, name)):
            earlier = was.get(name, (NOTHING, ()))
            later = will.get(name, (NOTHING, ()))
            if earlier == later or earlier[0] == later[0] == NOTHING:
                continue
            text = later[0]
            if text == earlier[0]:
                text = f"{text}, of other layers or by other rules"
            yield AnonymousChange(index=name, before=earlier[0], after=text)

    def _anonymous_reading(self, state: IndexState) -> dict[str, tuple[str, tuple[Any, ...]]]:
        """Return what anybody may read of each index, and what the index shows, by name."""
        if self.is_private:
            return {}
        served = self.indexes.in_force.read(state.indexes).with_main
        patterns = _anonymous_patterns(state.access)
        reading = dict[str, tuple[str, tuple[Any, ...]]]()
        for name, definition in served.items():
            text = EVERYTHING
            if not definition.is_open:
                named = {*patterns.get(name, ()), *patterns.get(EVERY_INDEX, ())}
                text = ", ".join(sorted(named)) or NOTHING
            shown = (tuple(parts_of(definition, served)), definition.rules, definition.merge.texts)
            reading[name] = text, shown
        return reading


def _anonymous_patterns(rules: AccessRules) -> dict[str, set[str]]:
    """Return the patterns of names that anybody may read, by the index that a grant names."""
    patterns = dict[str, set[str]]()
    for granted in rules.grants:
        if ANONYMOUS in granted.grant.who:
            for index in (granted.grant.index or MAIN).split(","):
                patterns.setdefault(index, set()).update(granted.grant.projects)
    return patterns


def _right_of(rules: AccessRules, event: AnyAccessEvent) -> object:
    """Return what of the document an event changes."""
    match event:
        case Revoked(id=grant_id):
            return next((one for one in rules.grants if one.id == grant_id), None)
        case Granted(grant=fields):
            return [one.id for one in rules.grants if one.grant == fields]
        case GroupChanged(name=name) | GroupDeleted(name=name):
            return rules.groups.get(name)
        case _:
            return None


def _title_of_right(event: AnyAccessEvent) -> str:
    match event:
        case Revoked(id=grant_id):
            return f"The grant {grant_id}"
        case GroupChanged(name=name) | GroupDeleted(name=name):
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


def _index_name(event: AnyIndexEvent) -> str:
    match event:
        case IndexRemoved(name=name):
            return name
        case IndexMade(keys=keys) | IndexChanged(keys=keys):
            return str(keys["name"])
        case _:
            return ""


def _changed(what: str) -> Conflict:
    return Conflict(
        f"{what} was changed meanwhile by somebody else. Look at the plan as it is now, and apply "
        "the file again.",
        code=CHANGED_MEANWHILE,
    )


def _require_index(name: str, after: IndexList, who: str) -> None:
    """Raise Invalid if a name is that of no index of a list."""
    if name not in {MAIN, EVERY_INDEX} and after.find(name) is None:
        raise _no_such(f"index {quoted(name)}", who)


def _no_such(what: str, who: str) -> Invalid:
    return Invalid(f"There is no {what}, which {who}. Add it to the file.", code=WRONG_FILE)
