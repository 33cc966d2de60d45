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
from wheelyard.model.access import Action, holding, may_everywhere
from wheelyard.model.decoding import redact_tokens, require_one_line
from wheelyard.model.grants import (
    NO_GROUPS,
    AccessRules,
    AnyAccessEvent,
    Granted,
    GrantFields,
    Grants,
    GroupChanged,
    GroupDeleted,
    PersonAdmitted,
    PersonEnded,
    PersonEvent,
    PersonNameReleased,
    Revoked,
    RightsNameIndex,
    apply,
    canonical_fields,
    describe_event,
    grants_of,
    groups_in,
    parse_granted,
    parse_group_name,
    parse_member,
)
from wheelyard.model.index_name import EVERY_INDEX, MAIN, renamed_in
from wheelyard.operations.audit_log import log_access, log_person
from wheelyard.remedies import Advice, Caution, Remedy
from wheelyard.storage.base import ObjectVersion

GroupChange = Literal["make", "set", "add", "remove", "delete"]
"""A change of a group. `set` gives it other members, or makes it; `make` never changes one."""
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
        self._parsed: tuple[ObjectVersion, Grants] | None = None

    def peek(self, max_age: MaxAge = "fresh") -> Grants | None:
        """
        Return the grants in force, or None if they have to be read first.

        Does not read a remote store.
        """
        snapshot = self.records.peek(max_age)
        if snapshot is None or (snapshot.value is None and not self._has_parsed(snapshot)):
            return None  # perhaps the document is lost
        return self.in_force(snapshot)

    def load(self, max_age: MaxAge = "fresh") -> Grants:
        """
        Return the grants in force, read from the store if they may have changed.

        No right is given, or taken away, without knowing them.
        """
        return self.in_force(self.records.get(max_age))

    def in_force(self, snapshot: Snapshot[AccessRules]) -> Grants:
        """Return the grants in force while the store has what a snapshot has."""
        parsed = self._parsed
        if parsed is None or parsed[0] != snapshot.version:
            parsed = snapshot.version, self._read(snapshot.value)
            self._parsed = parsed
        return parsed[1]

    def uploaders_of(
        self, snapshot: Snapshot[AccessRules], project: NormalizedName, index: str
    ) -> tuple[str, ...]:
        """Return the principals and groups that have a grant to upload to a project, sorted."""
        uploading = (
            grant
            for grant in self.in_force(snapshot).all
            if grant.scope.holds_in(index) and grant.scope.permits(Action.UPLOAD, project)
        )
        return tuple(sorted({who for grant in uploading for who in grant.who}))

    def read_ahead(self, *, may_become_ambiguous: bool) -> None:
        """
        Read what a server would otherwise ask the store for within its first requests.

        Whether main is ambiguous is left to these while an earlier version may change that.
        """
        with suppress(Unavailable):  # each request whose answer depends on it says so
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

    def read_stored(self) -> AccessRules:
        """Return the grants and groups as they are in the store now."""
        rules = self.records.get("current").value
        if rules is None:
            self._require_not_lost()
            return AccessRules()
        return rules

    def show(self) -> AccessList:
        """Return all grants and groups as they are in the store now."""
        rules = self.read_stored()
        return AccessList(
            grants=tuple(map(_listed, rules.grants)),
            groups=tuple(
                ListedGroup(name=name, source=rules.group_sources.get(name, ""), members=members)
                for name, members in rules.groups.items()
            ),
            revision=rules.revision,
        )

    def grant(self, fields: GrantFields, by: str) -> str:
        """
        Add a grant, and return its id, or that of an equal one that is there.

        Raises Invalid (code `invalid_field`) for invalid fields, and Conflict (code
        `unknown_group`) for a group that does not exist.
        """
        require_one_line(fields.note, "A note", NOTE_LIMIT_CHARS)
        grant_id = f"g{self._runtime.new_id()[:8]}"
        draft = Granted(at=self._runtime.now(), by=by, id=grant_id, grant=fields)
        with field_errors():
            canonical = canonical_fields(parse_granted(draft, NO_GROUPS))

        # Each of these intents may be asked several times, with the rules of another commit, as
        # other processes may commit first. So it decides by its argument alone.

        def intent(rules: AccessRules) -> tuple[AnyAccessEvent, ...]:
            unknown = sorted(groups_in(canonical.who) - rules.groups.keys())
            if unknown:
                raise Conflict(
                    f"There is no group {quoted(unknown[0])}.",
                    code="unknown_group",
                    advice=Advice(Remedy.MAKE_GROUP, unknown[0]),
                    field="who",
                )
            if any(granted.grant == canonical for granted in rules.grants):
                return ()
            return (replace(draft, grant=canonical),)

        committed = self.commit(intent)
        # an equal one that was there may be revoked by the same commit, so `after` may lack it
        rules = committed.after if committed.events else committed.before
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
        revoked = Revoked(at=self._runtime.now(), by=by, note=note, id=grant_id)

        def intent(rules: AccessRules) -> tuple[AnyAccessEvent, ...]:
            if all(granted.id != grant_id for granted in rules.grants):
                raise NotFound(
                    f"There is no grant {quoted(grant_id)}.", advice=Advice(Remedy.SHOW_ACCESS)
                )
            self.require_still_admin(keep_admin, rules, apply(rules, revoked))
            return (revoked,)

        self.commit(intent, is_end=True)

    def rename_index(self, before: str, after: str, by: str, note: str) -> None:
        """Have the grants that name an index name another one, under the same ids."""
        at = self._runtime.now()

        def intent(rules: AccessRules) -> tuple[AnyAccessEvent, ...]:
            events = list[AnyAccessEvent]()
            for granted in rules.grants:
                index = renamed_in(granted.grant.index, before, after)
                if index != granted.grant.index:
                    grant = replace(granted.grant, index=index)
                    events.append(Revoked(at=at, by=by, note=note, id=granted.id))
                    events.append(Granted(at=at, by=by, id=granted.id, grant=grant))
            return tuple(events)

        self.commit(intent)

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

        `set` makes a missing group, also without members. Raises Conflict (code `group_exists`) if
        the group to make is there. Raises NotFound if the group to add to, to remove from or to
        delete is missing, or a member to remove is not in it. Raises Invalid (code `invalid_field`)
        if the name, a member or the note is malformed, or `add` or `remove` has no member. Raises
        Conflict (code `group_in_use`) if a grant would be left without its group, and (code
        `own_access`) as `revoke` does.
        """
        require_one_line(note, "A note", NOTE_LIMIT_CHARS)
        with field_errors():
            wanted = frozenset(map(parse_member, members))
            parse_group_name(name)

        def intent(rules: AccessRules) -> tuple[AnyAccessEvent, ...]:
            at = self._runtime.now()
            event: AnyAccessEvent
            if change == "delete":
                self._require_unused(rules, name)
                event = GroupDeleted(at=at, by=by, note=note, name=name)
            else:
                added, removed = self._changed_members(rules, change, name, wanted)
                if name in rules.groups and not added and not removed:
                    return ()
                event = GroupChanged(
                    at=at,
                    by=by,
                    note=note,
                    name=name,
                    added=tuple(sorted(added)),
                    removed=tuple(sorted(removed)),
                )
            self.require_still_admin(keep_admin, rules, apply(rules, event))
            return (event,)

        self.commit(intent)

    def end_person(self, who: str, by: str, note: str = "", ended_by: Principals = NOBODY) -> None:
        """
        End the access of whoever has a principal, which has to be that of one person alone.

        Raises Invalid if the note is not one line of text. Raises Unauthenticated (code
        `person_ended`) if the access of whoever has the principals `ended_by` was ended before: of
        two administrators who end each other at once, on two servers, one stays.
        """
        require_one_line(note, "A note", NOTE_LIMIT_CHARS)

        def intent(rules: AccessRules) -> tuple[AnyAccessEvent, ...]:
            if any(ended.who in ended_by for ended in rules.ended):
                raise Unauthenticated(
                    "Your own access was ended meanwhile, so nothing was changed. Ask the operator "
                    "of this index.",
                    code=PERSON_ENDED,
                )
            if any(ended.who == who for ended in rules.ended):
                return ()
            return (PersonEnded(at=self._runtime.now(), by=by, note=note, who=who),)

        self.commit(intent, is_end=True)

    def admit_person(self, who: str, by: str, note: str = "") -> None:
        """
        Give access again to whom it was ended for.

        Raises Invalid if the note is not one line of text.
        """
        require_one_line(note, "A note", NOTE_LIMIT_CHARS)

        def intent(rules: AccessRules) -> tuple[AnyAccessEvent, ...]:
            if all(ended.who != who for ended in rules.ended):
                return ()
            return (PersonAdmitted(at=self._runtime.now(), by=by, note=note, who=who),)

        self.commit(intent)

    def note_released_name(self, who: str, by: str) -> None:
        """Write into the journal that the name in a principal without an id is free."""
        event = PersonNameReleased(at=self._runtime.now(), by=by, who=who)
        self.commit(lambda _: (event,))

    def mark(self) -> None:
        """Have earlier versions refuse the grants, as they would take them for more."""
        event = RightsNameIndex(at=self._runtime.now(), by=UPGRADE)
        self.commit(lambda rules: () if rules.is_marked else (event,))

    def require_still_admin(
        self, principals: Principals, before: AccessRules, after: AccessRules
    ) -> None:
        """Raise Conflict (code `own_access`) if principals are an administrator's before only."""
        if self._is_admin(principals, before) and not self._is_admin(principals, after):
            raise Conflict(
                "After this change you would be no administrator, and could not take it back, so "
                "nothing was changed.",
                code=OWN_ACCESS,
                advice=Advice(Remedy.CONFIRM_OWN_ACCESS),
            )

    def _is_admin(self, principals: Principals, rules: AccessRules) -> bool:
        """Return whether principals administer the server by these grants."""
        scopes = grants_of(rules).scopes_of(principals)
        return may_everywhere(holding(scopes, EVERY_INDEX), Action.ADMIN)

    def _require_unused(self, rules: AccessRules, name: str) -> None:
        """Raise NotFound or Conflict unless there is the group, and no grant needs it."""
        if name not in rules.groups:
            raise _no_group(name)
        users = [granted.id for granted in rules.grants if name in groups_in(granted.grant.who)]
        if users:
            raise Conflict(
                f"The group {name} has grants: {', '.join(users)}. Revoke them first.",
                code="group_in_use",
                advice=Advice(Remedy.REVOKE_GRANT, users[0]),
            )

    def _changed_members(
        self, rules: AccessRules, change: GroupChange, name: str, wanted: _Members
    ) -> tuple[_Members, _Members]:
        """Return whom a change adds to a group, and whom it removes."""
        members = frozenset(rules.groups.get(name, ()))
        if change == "make" and name in rules.groups:
            raise Conflict(
                f"There is a group {name}. Change its members instead.",
                code="group_exists",
            )
        if change in {"make", "set"}:
            return wanted - members, members - wanted
        if name not in rules.groups:
            raise _no_group(name)
        if not wanted:
            raise Invalid(
                f"Name at least one member to {change}.",
                code="invalid_field",
                advice=Advice(Remedy.SHOW_ACCESS),
            )
        if change == "add":
            return wanted - members, frozenset()
        for member in sorted(wanted - members):
            raise NotFound(
                f"{member} is not in the group {name}.", advice=Advice(Remedy.SHOW_ACCESS)
            )
        return frozenset(), wanted

    def commit(
        self, intent: Intent[AccessRules, AnyAccessEvent], *, is_end: bool = False
    ) -> Committed[AccessRules, AnyAccessEvent]:
        """Commit events, also on a full disk if `is_end` says that they end somebody's access."""

        def guarded(rules: AccessRules) -> tuple[AnyAccessEvent, ...]:
            if not rules.revision:
                self._require_not_lost()
            return intent(rules)

        change = self.records.take_away if is_end else self.records.change
        committed = change(guarded)
        # after the commit: a process that dies here has changed rights without a line in the log
        for event in committed.events:
            if isinstance(event, PersonEvent):
                action = str(event.__struct_config__.tag).replace("-", "_")
                log_person(action, event.by, event.who, {"note": redact_tokens(event.note)})
            else:
                log_access(event.by, describe_event(event))
        return committed

    def _has_parsed(self, snapshot: Snapshot[AccessRules]) -> bool:
        return self._parsed is not None and self._parsed[0] == snapshot.version

    def _require_not_lost(self) -> None:
        self.records.require_not_lost("who may do what")

    def _read(self, rules: AccessRules | None) -> Grants:
        if rules is None:
            self._require_not_lost()
            return Grants()
        try:
            grants = grants_of(rules)
        except Invalid as fault:
            raise damaged(f"The document {keys.ACCESS} is damaged: {fault.message}") from fault
        return grants.without_anonymous() if self.is_private else grants


def _no_group(name: str) -> NotFound:
    return NotFound(f"There is no group {quoted(name)}.", advice=Advice(Remedy.SHOW_ACCESS))


def _listed(granted: Granted) -> ListedGrant:
    fields = canonical_fields(parse_granted(granted, NO_GROUPS))
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
