"""
The grants and groups of the store.

They change while servers run. Each server reads them again after as long as it keeps a token's
record, so that a change is in force everywhere within 15 seconds.
"""

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.commits import Committed, Intent
from wheelyard.catalog.document_cache import MaxAge, Snapshot, damaged
from wheelyard.catalog.journaled_documents import AccessRecords, IndexRecords
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import (
    PERSON_ENDED,
    Conflict,
    Invalid,
    NotFound,
    Unauthenticated,
    Unavailable,
    field_errors,
    quoted,
)
from wheelyard.model import grants
from wheelyard.model.access import Action, holding, may_everywhere
from wheelyard.model.decoding import redact_tokens, require_one_line
from wheelyard.model.index_name import EVERY_INDEX, MAIN, names_after_rename
from wheelyard.operations.audit_log import log_access, log_person
from wheelyard.remedies import Advice, Caution, Remedy
from wheelyard.storage.base import ObjectVersion

GroupChange = Literal["make", "set", "add", "remove", "delete"]
"""A change of a group. `set` gives it other members, or makes it. `make` never changes one."""
NOTE_LIMIT_CHARS: Final = 200
UPGRADE: Final = "local:upgrade"
"""The principal of what a version changes by itself when it first writes to a store."""
OWN_ACCESS: Final = "own_access"
"""The code of a Conflict for a change after which the caller is no administrator."""

_Members = frozenset[str]
Principals = frozenset[str]
NOBODY: Final[Principals] = frozenset()


class ListedGrant(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A grant in a list for people and programs."""

    id: str
    source: str = ""
    """The name of the file that added the grant, or an empty text if no file did."""
    who: tuple[str, ...]
    projects: tuple[str, ...]
    can: tuple[str, ...]
    note: str = ""
    index: str = ""
    """The indexes that the grant is about, with commas between them, or `*` for all."""
    names_index: bool = True
    """Whether the grant names its indexes. A grant that an earlier version made may name none."""
    created: datetime
    created_by: str


class ListedGroup(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A group in a list for people and programs."""

    name: str
    source: str = ""
    """The name of the file that made or changed the group last, or an empty text if no file did."""
    members: tuple[str, ...] = ()


class AccessList(Struct, frozen=True, kw_only=True):
    """All grants and groups."""

    grants: tuple[ListedGrant, ...]
    groups: tuple[ListedGroup, ...]
    revision: int = 0
    """The number of the last commit of grants and groups in the store, or 0 if there is none."""


class AddedGrant(Struct, frozen=True):
    """A grant that was added, for people and programs."""

    id: str
    text: str
    """The grant in words."""
    warnings: tuple[Caution, ...] = ()
    """Warnings about why the grant may not do what is expected."""


class AccessControl:
    """
    Returns the grants in force, and changes them.

    Threads may share it. Each method raises Unavailable if the grants and groups cannot be read, or
    are damaged or lost: nobody could say what they have opened, or to whom.

    Args:
        records: The document with the grants and groups.
        runtime: The clock of the process, which also makes the ids of grants.
        indexes: The list of indexes in the store, or None if no earlier version can have made one.
        is_private: Whether `access.private` is set, so that a grant to `anonymous` gives nothing.
    """

    def __init__(
        self,
        records: AccessRecords,
        runtime: Runtime,
        indexes: IndexRecords | None = None,
        *,
        is_private: bool = False,
    ) -> None:
        self.records = records
        self.is_private = is_private
        self._runtime = runtime
        self._indexes = indexes
        # Threads may set this at once. Any value may be the last, as each names its version.
        self._parsed: tuple[ObjectVersion, grants.Grants] | None = None
        """The grants that were parsed last, after the version of the document that has them."""

    def peek(self, max_age: MaxAge = "fresh") -> grants.Grants | None:
        """
        Return the grants in force, or None if they have to be read first.

        `max_age` is how old the document in memory may be. Does not read a remote store.
        """
        snapshot = self.records.peek(max_age)
        if snapshot is None:
            return None
        if snapshot.value is None and not self._has_parsed(snapshot):
            # perhaps the document is lost, and only a request to the store can tell
            return None
        return self.in_force(snapshot)

    def load(self, max_age: MaxAge = "fresh") -> grants.Grants:
        """
        Return the grants in force, read from the store unless those in memory are new enough.

        `max_age` is how old the document in memory may be. Nobody gets or loses a right before the
        store has answered.
        """
        return self.in_force(self.records.get(max_age))

    def in_force(self, snapshot: Snapshot[grants.AccessRules]) -> grants.Grants:
        """Return the grants that are in force while the store has the document of a snapshot."""
        # read once: another thread may replace the attribute between two reads
        parsed = self._parsed
        if parsed is None or parsed[0] != snapshot.version:
            parsed = (snapshot.version, self._parse(snapshot.value))
            self._parsed = parsed
        return parsed[1]

    def uploaders_of(
        self, snapshot: Snapshot[grants.AccessRules], project: NormalizedName, index: str
    ) -> tuple[str, ...]:
        """Return the principals and groups that have a grant to upload to a project, sorted."""
        uploaders = set[str]()
        for grant in self.in_force(snapshot).all:
            if grant.scope.holds_in(index) and grant.scope.permits(Action.UPLOAD, project):
                uploaders.update(grant.who)
        return tuple(sorted(uploaders))

    def read_ahead(self, *, may_become_ambiguous: bool) -> None:
        """
        Read the grants, and whether main is ambiguous, before the first requests need them.

        Does nothing if the store does not answer. `may_become_ambiguous` says that an earlier
        version may still write to the store: then each request asks whether main is ambiguous.
        """
        # a server starts also if the store does not answer: requests then get the error
        with suppress(Unavailable):
            self.in_force(self.records.read_ahead())
            if not may_become_ambiguous:
                self.is_main_ambiguous()

    def is_of_earlier_version(self) -> bool:
        """Return whether the store is one of a version in which a right may have named no index."""
        rules = self.records.get().value
        return rules is not None and rules.is_marked

    def is_main_ambiguous(self) -> bool:
        """
        Return whether rights that name main may mean an index that an earlier version named so.

        Such rights give nothing then. Once a list of indexes without that index was read, the store
        is not asked again: no version that knows main makes an index of this name. Raises
        Unavailable if the list of indexes cannot be read.
        """
        if self._indexes is None:
            return False
        index_list = self._indexes.get().value
        if index_list is not None and index_list.find(MAIN) is not None:
            return True
        self._indexes = None
        return False

    def read_stored(self) -> grants.AccessRules:
        """Return the grants and groups as they are in the store now."""
        rules = self.records.get("current").value
        if rules is None:
            self._require_not_lost()
            return grants.AccessRules()
        return rules

    def show(self) -> AccessList:
        """Return all grants and groups as they are in the store now."""
        rules = self.read_stored()
        groups = list[ListedGroup]()
        for name, members in rules.groups.items():
            source = rules.group_sources.get(name, "")
            groups.append(ListedGroup(name=name, source=source, members=members))
        return AccessList(
            grants=tuple(map(_listed_grant, rules.grants)),
            groups=tuple(groups),
            revision=rules.revision,
        )

    def grant(self, fields: grants.GrantFields, by: str) -> str:
        """
        Add a grant, and return its id. If the store has an equal grant, return the id of that one.

        Raises Invalid (code `invalid_field`) for invalid fields, and Conflict (code
        `unknown_group`) for a group that does not exist.
        """
        require_one_line(fields.note, "A note", NOTE_LIMIT_CHARS)
        grant_id = f"g{self._runtime.new_id()[:8]}"
        draft = grants.Granted(at=self._runtime.now(), by=by, id=grant_id, grant=fields)
        with field_errors():
            parsed = grants.parse_granted(draft, grants.NO_GROUPS)
            canonical = grants.canonical_fields(parsed)
        committed = self.commit(_Grant(replace(draft, grant=canonical)))
        # If nothing was added, the equal grant is looked for in `before`: a change of another
        # thread, which is in the same commit, may have revoked it.
        rules = committed.before
        if committed.events:
            rules = committed.after
        return next(granted.id for granted in rules.grants if granted.grant == canonical)

    def revoke(
        self, grant_id: str, by: str, note: str = "", keep_admin: Principals = NOBODY
    ) -> None:
        """
        Remove a grant.

        Raises NotFound if there is no such grant. Raises Invalid if the note is not one line of
        text. Raises Conflict (code `own_access`) if whoever has the principals `keep_admin` is an
        administrator by grants now, and would not be one afterwards.
        """
        require_one_line(note, "A note", NOTE_LIMIT_CHARS)
        revoked = grants.Revoked(at=self._runtime.now(), by=by, note=note, id=grant_id)
        self.commit(_Revoke(revoked, keep_admin), is_end=True)

    def rename_index(self, old_name: str, new_name: str, by: str, note: str) -> None:
        """Write the new name of an index into all grants that name it. Grants keep their ids."""
        self.commit(_RenameIndex(old_name, new_name, self._runtime.now(), by, note))

    def edit_group(
        self,
        change: GroupChange,
        name: str,
        members: Iterable[str],
        by: str,
        note: str = "",
        keep_admin: Principals = NOBODY,
    ) -> None:
        """
        Make or change a group, or delete it.

        `set` makes a missing group, also without members. `delete` needs no members. Nothing is
        written if the group already has the members that it would get.

        Raises Conflict (code `group_exists`) if the group to make exists. Raises NotFound if the
        group to add to, to remove from or to delete is missing, or a member to remove is not in it.
        Raises Invalid (code `invalid_field`) if the name, a member or the note is malformed, or
        `add` or `remove` has no member. Raises Conflict (code `group_in_use`) if a grant would be
        left without its group. Raises Conflict (code `own_access`) if whoever has the principals
        `keep_admin` is an administrator by grants now, and would not be one afterwards.
        """
        require_one_line(note, "A note", NOTE_LIMIT_CHARS)
        with field_errors():
            parsed_members = frozenset(map(grants.parse_member, members))
            grants.parse_group_name(name)
        intent = _EditGroup(
            change=change,
            name=name,
            members=parsed_members,
            runtime=self._runtime,
            by=by,
            note=note,
            keep_admin=keep_admin,
        )
        self.commit(intent)

    def end_person(self, who: str, by: str, note: str = "", ended_by: Principals = NOBODY) -> None:
        """
        End the access of a person, by a principal that nobody else has.

        Raises Invalid if the note is not one line of text. Raises Unauthenticated (code
        `person_ended`) if the access of whoever has the principals `ended_by` was ended before: of
        two administrators who end each other at once, on two servers, one stays.
        """
        require_one_line(note, "A note", NOTE_LIMIT_CHARS)
        self.commit(_EndPerson(who, ended_by, self._runtime, by, note), is_end=True)

    def admit_person(self, who: str, by: str, note: str = "") -> None:
        """
        Give access again to a person whose access was ended.

        Raises Invalid if the note is not one line of text.
        """
        require_one_line(note, "A note", NOTE_LIMIT_CHARS)
        self.commit(_AdmitPerson(who, self._runtime, by, note))

    def note_released_name(self, who: str, by: str) -> None:
        """Write into the journal that the name in a principal without an id is free."""
        event = grants.PersonNameReleased(at=self._runtime.now(), by=by, who=who)
        self.commit(lambda _: (event,))

    def mark(self) -> None:
        """
        Mark the document of the grants, so that earlier versions refuse to read it.

        They would give a right that names no index in more indexes than this version does.
        """
        event = grants.RightsNameIndex(at=self._runtime.now(), by=UPGRADE)

        def intent(rules: grants.AccessRules) -> tuple[grants.AnyAccessEvent, ...]:
            if rules.is_marked:
                return ()
            return (event,)

        self.commit(intent)

    def commit(
        self, intent: Intent[grants.AccessRules, grants.AnyAccessEvent], *, is_end: bool = False
    ) -> Committed[grants.AccessRules, grants.AnyAccessEvent]:
        """
        Commit events, and log each.

        `is_end` says that the events end somebody's access: then they are committed also on a full
        disk. Raises what `intent` raises.
        """

        def intent_unless_lost(rules: grants.AccessRules) -> tuple[grants.AnyAccessEvent, ...]:
            if not rules.revision:
                self._require_not_lost()
            return intent(rules)

        commit_events = self.records.change
        if is_end:
            commit_events = self.records.take_away
        committed = commit_events(intent_unless_lost)
        # A process that dies here has changed rights without a line in the log. The journal has
        # every change.
        for event in committed.events:
            if isinstance(event, grants.PersonEvent):
                action = str(event.__struct_config__.tag).replace("-", "_")
                log_person(action, event.by, event.who, {"note": redact_tokens(event.note)})
            else:
                log_access(event.by, grants.describe_event(event))
        return committed

    def _has_parsed(self, snapshot: Snapshot[grants.AccessRules]) -> bool:
        """Return whether the grants of this version of the document were parsed last."""
        return self._parsed is not None and self._parsed[0] == snapshot.version

    def _require_not_lost(self) -> None:
        """Raise Unavailable if there was a document, and it is missing now."""
        self.records.require_not_lost("who may do what")

    def _parse(self, rules: grants.AccessRules | None) -> grants.Grants:
        """Return the grants in force by a document. `rules` is None if the store has none."""
        if rules is None:
            # nobody may lose rights, or get them, because a document has vanished
            self._require_not_lost()
            return grants.Grants()
        try:
            in_force = grants.grants_of(rules)
        except Invalid as fault:
            raise damaged(f"The document {keys.ACCESS} is damaged: {fault.message}") from fault
        if self.is_private:
            return in_force.without_anonymous()
        return in_force


def require_still_admin(
    principals: Principals, before: grants.AccessRules, after: grants.AccessRules
) -> None:
    """
    Raise Conflict (code `own_access`) if a change takes away the right to administer.

    `before` and `after` are the rules before and after it. Principals that do not administer the
    server before the change raise nothing.
    """
    if _is_admin(principals, before) and not _is_admin(principals, after):
        raise Conflict(
            "After this change you would be no administrator, and could not take it back, so "
            "nothing was changed.",
            code=OWN_ACCESS,
            advice=Advice(Remedy.CONFIRM_OWN_ACCESS),
        )


def _is_admin(principals: Principals, rules: grants.AccessRules) -> bool:
    """Return whether principals administer the server by these grants."""
    scopes = grants.grants_of(rules).scopes_of(principals)
    return may_everywhere(holding(scopes, EVERY_INDEX), Action.ADMIN)


# A commit may call an intent several times, each time with later rules, as another process may
# commit first. So each intent below decides by its argument alone.


class _Grant(Struct, frozen=True):
    """The intent to add a grant, unless the store has an equal one."""

    granted: grants.Granted

    def __call__(self, rules: grants.AccessRules) -> tuple[grants.AnyAccessEvent, ...]:
        """
        Return the event, or nothing if an equal grant exists.

        Raises Conflict for a group that does not exist.
        """
        named_groups = grants.groups_in(self.granted.grant.who)
        unknown_groups = sorted(named_groups - rules.groups.keys())
        if unknown_groups:
            raise Conflict(
                f"There is no group {quoted(unknown_groups[0])}.",
                code="unknown_group",
                advice=Advice(Remedy.MAKE_GROUP, unknown_groups[0]),
                field="who",
            )
        if any(granted.grant == self.granted.grant for granted in rules.grants):
            return ()
        return (self.granted,)


class _Revoke(Struct, frozen=True):
    """The intent to remove a grant."""

    revoked: grants.Revoked
    keep_admin: Principals
    """The principals of a caller who has to stay an administrator."""

    def __call__(self, rules: grants.AccessRules) -> tuple[grants.AnyAccessEvent, ...]:
        """Return the event. Raises NotFound or Conflict if the grant cannot be removed."""
        grant_id = self.revoked.id
        if all(granted.id != grant_id for granted in rules.grants):
            raise NotFound(
                f"There is no grant {quoted(grant_id)}.", advice=Advice(Remedy.SHOW_ACCESS)
            )
        require_still_admin(self.keep_admin, rules, grants.apply(rules, self.revoked))
        return (self.revoked,)


class _RenameIndex(Struct, frozen=True):
    """The intent to write the new name of an index into the grants that name it."""

    old_name: str
    new_name: str
    at: datetime
    by: str
    note: str

    def __call__(self, rules: grants.AccessRules) -> tuple[grants.AnyAccessEvent, ...]:
        """Return two events for each grant that names the index: no event changes a grant."""
        events: list[grants.AnyAccessEvent] = []
        for granted in rules.grants:
            index = names_after_rename(granted.grant.index, self.old_name, self.new_name)
            if index == granted.grant.index:
                continue
            fields = replace(granted.grant, index=index)
            grant_id = granted.id
            # both in one commit, so that nobody loses the right between them
            events.append(grants.Revoked(at=self.at, by=self.by, note=self.note, id=grant_id))
            events.append(grants.Granted(at=self.at, by=self.by, id=grant_id, grant=fields))
        return tuple(events)


class _EditGroup(Struct, frozen=True, kw_only=True):
    """The intent to make, change or delete a group."""

    change: GroupChange
    name: str
    members: _Members
    """The members that the change names. `delete` ignores them."""
    runtime: Runtime
    by: str
    note: str
    keep_admin: Principals
    """The principals of a caller who has to stay an administrator."""

    def __call__(self, rules: grants.AccessRules) -> tuple[grants.AnyAccessEvent, ...]:
        """
        Return the event, or nothing if the group already has the members that it would get.

        Raises NotFound, Invalid or Conflict if the group cannot be changed so.
        """
        event: grants.AnyAccessEvent
        at = self.runtime.now()
        if self.change == "delete":
            self._require_unused(rules)
            event = grants.GroupDeleted(at=at, by=self.by, note=self.note, name=self.name)
        else:
            added, removed = self._changed_members(rules)
            if self.name in rules.groups and not added and not removed:
                return ()
            event = grants.GroupChanged(
                at=at,
                by=self.by,
                note=self.note,
                name=self.name,
                added=tuple(sorted(added)),
                removed=tuple(sorted(removed)),
            )

        # a group may be what makes its members administrators
        require_still_admin(self.keep_admin, rules, grants.apply(rules, event))
        return (event,)

    def _require_unused(self, rules: grants.AccessRules) -> None:
        """Raise NotFound if there is no such group, and Conflict if a grant names the group."""
        name = self.name
        if name not in rules.groups:
            raise _no_group(name)
        grant_ids = list[str]()
        for granted in rules.grants:
            if name in grants.groups_in(granted.grant.who):
                grant_ids.append(granted.id)
        if grant_ids:
            raise Conflict(
                f"The group {name} has grants: {', '.join(grant_ids)}. Revoke them first.",
                code="group_in_use",
                advice=Advice(Remedy.REVOKE_GRANT, grant_ids[0]),
            )

    def _changed_members(self, rules: grants.AccessRules) -> tuple[_Members, _Members]:
        """
        Return the members that the change adds to the group, and those that it removes.

        Raises Conflict if the group to make exists. Raises NotFound if the group to change, or a
        member to remove, is missing. Raises Invalid if the change names no member to add or remove.
        """
        name = self.name
        stored_members = frozenset(rules.groups.get(name, ()))
        if self.change == "make" and name in rules.groups:
            raise Conflict(
                f"There is a group {name}. Change its members instead.",
                code="group_exists",
            )
        if self.change in {"make", "set"}:
            return self.members - stored_members, stored_members - self.members
        if name not in rules.groups:
            raise _no_group(name)
        if not self.members:
            raise Invalid(
                f"Name at least one member to {self.change}.",
                code="invalid_field",
                advice=Advice(Remedy.SHOW_ACCESS),
            )
        if self.change == "add":
            return self.members - stored_members, frozenset()
        missing_members = self.members - stored_members
        if missing_members:
            raise NotFound(
                f"{min(missing_members)} is not in the group {name}.",
                advice=Advice(Remedy.SHOW_ACCESS),
            )
        return frozenset(), self.members


class _EndPerson(Struct, frozen=True):
    """The intent to end the access of whoever has a principal."""

    who: str
    ended_by: Principals
    """The principals of the administrator who ends the access."""
    runtime: Runtime
    by: str
    note: str

    def __call__(self, rules: grants.AccessRules) -> tuple[grants.AnyAccessEvent, ...]:
        """
        Return the event, or nothing if the access was ended before.

        Raises Unauthenticated if the administrator's own access was ended before.
        """
        # of two administrators who end each other, the one whose commit came first stays
        if any(ended.who in self.ended_by for ended in rules.ended):
            raise Unauthenticated(
                "Your own access was ended meanwhile, so nothing was changed. Ask the operator "
                "of this index.",
                code=PERSON_ENDED,
            )
        if any(ended.who == self.who for ended in rules.ended):
            return ()
        at = self.runtime.now()
        return (grants.PersonEnded(at=at, by=self.by, note=self.note, who=self.who),)


class _AdmitPerson(Struct, frozen=True):
    """The intent to give access again to whoever has a principal."""

    who: str
    runtime: Runtime
    by: str
    note: str

    def __call__(self, rules: grants.AccessRules) -> tuple[grants.AnyAccessEvent, ...]:
        """Return the event, or nothing if the access was not ended."""
        if all(ended.who != self.who for ended in rules.ended):
            return ()
        at = self.runtime.now()
        return (grants.PersonAdmitted(at=at, by=self.by, note=self.note, who=self.who),)


def _no_group(name: str) -> NotFound:
    return NotFound(f"There is no group {quoted(name)}.", advice=Advice(Remedy.SHOW_ACCESS))


def _listed_grant(granted: grants.Granted) -> ListedGrant:
    """Return a stored grant as a list for people and programs has it."""
    fields = grants.canonical_fields(grants.parse_granted(granted, grants.NO_GROUPS))
    return ListedGrant(
        id=granted.id,
        source=granted.source,
        who=fields.who,
        projects=fields.projects,
        can=fields.actions,
        note=fields.note,
        index=fields.index,
        names_index=bool(granted.grant.index),
        created=granted.at,
        created_by=granted.by,
    )
