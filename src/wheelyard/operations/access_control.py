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
from wheelyard.model.index_name import EVERY_INDEX, MAIN, renamed_in
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
    """That of the file by which it was added, or empty if it was added by hand."""
    who: tuple[str, ...]
    projects: tuple[str, ...]
    can: tuple[str, ...]
    note: str = ""
    index: str = ""
    """The indexes that it is about, with commas between, or `*`."""
    names_index: bool = True
    """False if an earlier version has made it, and it named none."""
    created: datetime
    created_by: str


class ListedGroup(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A group in a list for people and programs."""

    name: str
    source: str = ""
    """That of the file by which it was made or changed last, or empty if none was."""
    members: tuple[str, ...] = ()


class AccessList(Struct, frozen=True, kw_only=True):
    """All grants and groups."""

    grants: tuple[ListedGrant, ...]
    groups: tuple[ListedGroup, ...]
    revision: int = 0
    """The number of the last change in the store."""


class AddedGrant(Struct, frozen=True):
    """A grant that was added, for people and programs."""

    id: str
    text: str
    """What it grants, in words."""
    warnings: tuple[Caution, ...] = ()
    """Why it may not do what is expected."""


class AccessControl:
    """
    Returns the grants in force, and changes them.

    Threads may share it. Each method raises Unavailable if the grants and groups cannot be read, or
    are damaged or lost: nobody could say what they have opened, or to whom.

    Args:
        records: The document with the grants and groups.
        runtime: Its clock.
        indexes: The list of indexes in the store, or None if no earlier version can have made one.
        is_private: Whether no grant gives anybody anything by `anonymous`: `access.private`.
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
        # Threads may set it at once. Each value is right for its version, so any may be the last.
        self._parsed: tuple[ObjectVersion, grants.Grants] | None = None

    def peek(self, max_age: MaxAge = "fresh") -> grants.Grants | None:
        """
        Return the grants in force, or None if they have to be read first.

        Does not read a remote store.
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
        Return the grants in force, read from the store if they may have changed.

        No right is given, or taken away, without knowing them.
        """
        return self.in_force(self.records.get(max_age))

    def in_force(self, snapshot: Snapshot[grants.AccessRules]) -> grants.Grants:
        """Return the grants in force while the store has what a snapshot has."""
        # read once: another thread may replace it between two reads
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
        Read what a server would otherwise ask the store for within its first requests.

        Does nothing if the store does not answer. Whether main is ambiguous is left to these
        requests while an earlier version may change that.
        """
        # a server starts while the store does not answer: each request that needs it says so
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

        They give nothing then. No version that knows main makes such an index, so it is asked for
        only until it is known that there is none. Raises Unavailable if the list of indexes cannot
        be read.
        """
        if self._indexes is None:
            return False
        stored = self._indexes.get().value
        if stored is not None and stored.find(MAIN) is not None:
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
            grants=tuple(map(_listed, rules.grants)),
            groups=tuple(groups),
            revision=rules.revision,
        )

    def grant(self, fields: grants.GrantFields, by: str) -> str:
        """
        Add a grant, and return its id, or that of an equal one that is there.

        Raises Invalid (code `invalid_field`) for invalid fields, and Conflict (code
        `unknown_group`) for a group that does not exist.
        """
        require_one_line(fields.note, "A note", NOTE_LIMIT_CHARS)
        grant_id = f"g{self._runtime.new_id()[:8]}"
        draft = grants.Granted(at=self._runtime.now(), by=by, id=grant_id, grant=fields)
        with field_errors():
            canonical = grants.canonical_fields(grants.parse_granted(draft, grants.NO_GROUPS))
        committed = self.commit(_Grant(replace(draft, grant=canonical)))
        # where nothing was added, a change of another thread in the same commit may have revoked
        # the equal one, so that `after` lacks it
        rules = committed.before
        if committed.events:
            rules = committed.after
        return next(granted.id for granted in rules.grants if granted.grant == canonical)

    def revoke(
        self, grant_id: str, by: str, note: str = "", keep_admin: Principals = NOBODY
    ) -> None:
        """
        Remove a grant.

        Raises NotFound if the grant is not there. Raises Invalid if the note is not one line of
        text. Raises Conflict (code `own_access`) if whoever has the principals `keep_admin` is an
        administrator by grants now, and were none afterwards.
        """
        require_one_line(note, "A note", NOTE_LIMIT_CHARS)
        revoked = grants.Revoked(at=self._runtime.now(), by=by, note=note, id=grant_id)
        self.commit(_Revoke(revoked, keep_admin), is_end=True)

    def rename_index(self, before: str, after: str, by: str, note: str) -> None:
        """Have the grants that name an index name another one, under the same ids."""
        self.commit(_RenameIndex(before, after, self._runtime.now(), by, note))

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

        `set` makes a missing group, also without members. `delete` needs no members. A group that
        is so already is left alone. Raises Conflict (code `group_exists`) if the group to make is
        there. Raises NotFound if the group to add to, to remove from or to delete is missing, or a
        member to remove is not in it. Raises Invalid (code `invalid_field`) if the name, a member
        or the note is malformed, or `add` or `remove` has no member. Raises Conflict (code
        `group_in_use`) if a grant would be left without its group. Raises Conflict (code
        `own_access`) if whoever has the principals `keep_admin` is an administrator by grants now,
        and were none afterwards.
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
        End the access of whoever has a principal, which has to be that of one person alone.

        Raises Invalid if the note is not one line of text. Raises Unauthenticated (code
        `person_ended`) if the access of whoever has the principals `ended_by` was ended before: of
        two administrators who end each other at once, on two servers, one stays.
        """
        require_one_line(note, "A note", NOTE_LIMIT_CHARS)
        self.commit(_EndPerson(who, ended_by, self._runtime, by, note), is_end=True)

    def admit_person(self, who: str, by: str, note: str = "") -> None:
        """
        Give access again to whom it was ended for.

        Raises Invalid if the note is not one line of text.
        """
        require_one_line(note, "A note", NOTE_LIMIT_CHARS)
        self.commit(_AdmitPerson(who, self._runtime, by, note))

    def note_released_name(self, who: str, by: str) -> None:
        """Write into the journal that the name in a principal without an id is free."""
        event = grants.PersonNameReleased(at=self._runtime.now(), by=by, who=who)
        self.commit(lambda _: (event,))

    def mark(self) -> None:
        """Have earlier versions refuse the grants, as they would take them for more."""
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

        `is_end` says that they end somebody's access: then they are committed on a full disk, too.
        Raises what `intent` raises.
        """

        def guarded(rules: grants.AccessRules) -> tuple[grants.AnyAccessEvent, ...]:
            if not rules.revision:
                self._require_not_lost()
            return intent(rules)

        change = self.records.change
        if is_end:
            change = self.records.take_away
        committed = change(guarded)
        # The journal has each change, so the log may lack one: a process that dies here has
        # changed rights without a line in it.
        for event in committed.events:
            if isinstance(event, grants.PersonEvent):
                action = str(event.__struct_config__.tag).replace("-", "_")
                log_person(action, event.by, event.who, {"note": redact_tokens(event.note)})
            else:
                log_access(event.by, grants.describe_event(event))
        return committed

    def _has_parsed(self, snapshot: Snapshot[grants.AccessRules]) -> bool:
        """Return whether memory has the grants of this version of the document."""
        return self._parsed is not None and self._parsed[0] == snapshot.version

    def _require_not_lost(self) -> None:
        """Raise Unavailable if there was a document, and it is missing now."""
        self.records.require_not_lost("who may do what")

    def _parse(self, rules: grants.AccessRules | None) -> grants.Grants:
        """Return the grants in force by what the store has, None for no document."""
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
    """Raise Conflict (code `own_access`) if principals are an administrator's before only."""
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


# Each of these intents may be asked several times, with the rules of another commit, as other
# processes may commit first. So it decides by its argument alone.


class _Grant(Struct, frozen=True):
    """The intent to add a grant, unless an equal one is there."""

    granted: grants.Granted

    def __call__(self, rules: grants.AccessRules) -> tuple[grants.AnyAccessEvent, ...]:
        """Return the event. Raises Conflict for a group that does not exist."""
        unknown = sorted(grants.groups_in(self.granted.grant.who) - rules.groups.keys())
        if unknown:
            raise Conflict(
                f"There is no group {quoted(unknown[0])}.",
                code="unknown_group",
                advice=Advice(Remedy.MAKE_GROUP, unknown[0]),
                field="who",
            )
        if any(granted.grant == self.granted.grant for granted in rules.grants):
            return ()
        return (self.granted,)


class _Revoke(Struct, frozen=True):
    """The intent to remove a grant."""

    revoked: grants.Revoked
    keep_admin: Principals
    """Whoever has these stays an administrator."""

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
    """The intent that grants which name an index name another one."""

    before: str
    after: str
    at: datetime
    by: str
    note: str

    def __call__(self, rules: grants.AccessRules) -> tuple[grants.AnyAccessEvent, ...]:
        """Return two events for each of these grants, as no event changes one."""
        events: list[grants.AnyAccessEvent] = []
        for granted in rules.grants:
            index = renamed_in(granted.grant.index, self.before, self.after)
            if index == granted.grant.index:
                continue
            grant = replace(granted.grant, index=index)
            grant_id = granted.id
            # both in one commit, so that nobody loses the right between them
            events.append(grants.Revoked(at=self.at, by=self.by, note=self.note, id=grant_id))
            events.append(grants.Granted(at=self.at, by=self.by, id=grant_id, grant=grant))
        return tuple(events)


class _EditGroup(Struct, frozen=True, kw_only=True):
    """The intent to make, change or delete a group."""

    change: GroupChange
    name: str
    members: _Members
    """Those that the change names. They do not count if the group is deleted."""
    runtime: Runtime
    by: str
    note: str
    keep_admin: Principals
    """Whoever has these stays an administrator."""

    def __call__(self, rules: grants.AccessRules) -> tuple[grants.AnyAccessEvent, ...]:
        """Return the event, or none if the group is so already."""
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
        """Raise NotFound or Conflict unless there is the group, and no grant needs it."""
        name = self.name
        if name not in rules.groups:
            raise _no_group(name)
        users = list[str]()
        for granted in rules.grants:
            if name in grants.groups_in(granted.grant.who):
                users.append(granted.id)
        if users:
            raise Conflict(
                f"The group {name} has grants: {', '.join(users)}. Revoke them first.",
                code="group_in_use",
                advice=Advice(Remedy.REVOKE_GRANT, users[0]),
            )

    def _changed_members(self, rules: grants.AccessRules) -> tuple[_Members, _Members]:
        """Return whom the change adds to the group, and whom it removes."""
        name = self.name
        before = frozenset(rules.groups.get(name, ()))
        if self.change == "make" and name in rules.groups:
            raise Conflict(
                f"There is a group {name}. Change its members instead.",
                code="group_exists",
            )
        if self.change in {"make", "set"}:
            return self.members - before, before - self.members
        if name not in rules.groups:
            raise _no_group(name)
        if not self.members:
            raise Invalid(
                f"Name at least one member to {self.change}.",
                code="invalid_field",
                advice=Advice(Remedy.SHOW_ACCESS),
            )
        if self.change == "add":
            return self.members - before, frozenset()
        for member in sorted(self.members - before):
            raise NotFound(
                f"{member} is not in the group {name}.", advice=Advice(Remedy.SHOW_ACCESS)
            )
        return frozenset(), self.members


class _EndPerson(Struct, frozen=True):
    """The intent to end the access of whoever has a principal."""

    who: str
    ended_by: Principals
    """Those of the administrator who asks for it."""
    runtime: Runtime
    by: str
    note: str

    def __call__(self, rules: grants.AccessRules) -> tuple[grants.AnyAccessEvent, ...]:
        """Return the event, or none if the access was ended before."""
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
        """Return the event, or none if the access is not ended."""
        if all(ended.who != self.who for ended in rules.ended):
            return ()
        at = self.runtime.now()
        return (grants.PersonAdmitted(at=at, by=self.by, note=self.note, who=self.who),)


def _no_group(name: str) -> NotFound:
    return NotFound(f"There is no group {quoted(name)}.", advice=Advice(Remedy.SHOW_ACCESS))


def _listed(granted: grants.Granted) -> ListedGrant:
    """Return a stored grant as a list has it."""
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
