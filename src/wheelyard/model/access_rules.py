"""
Grants and groups that are kept in the store: the document, the events and the commits.

The document is the fold of its commits, as a project's is. These classes are also the stored form,
so a field is only ever added, with a default.
"""

from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from wheelyard.errors import Invalid
from wheelyard.model.access import ANONYMOUS
from wheelyard.model.grants import (
    Grant,
    GrantFields,
    Grants,
    Groups,
    build_grant,
    describe_grant,
    expand,
    groups_in,
    parse_member,
)
from wheelyard.model.project import EventCommit


class AccessEvent(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="what"):
    """A change of the stored grants and groups by a principal."""

    at: datetime
    """UTC."""
    by: str
    """The principal: `local:NAME`, `user:EMAIL`."""
    note: str = ""
    """Why, in the words of who has made the change; of a grant, its own note is the reason."""


class Granted(AccessEvent, frozen=True, kw_only=True, omit_defaults=True, tag="granted"):
    """A grant was added."""

    id: str
    grant: GrantFields


class Revoked(AccessEvent, frozen=True, kw_only=True, omit_defaults=True, tag="revoked"):
    """A grant was removed."""

    id: str


class GroupChanged(AccessEvent, frozen=True, kw_only=True, omit_defaults=True, tag="group"):
    """A group was made, or has other members now."""

    name: str
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


class GroupDeleted(AccessEvent, frozen=True, kw_only=True, omit_defaults=True, tag="group-deleted"):
    """A group was removed, with its members."""

    name: str


AnyAccessEvent = Granted | Revoked | GroupChanged | GroupDeleted


class AccessCommit(EventCommit[AnyAccessEvent], frozen=True, kw_only=True, omit_defaults=True):
    """One write of the document, with the events that it added."""


class AccessRules(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The grants and groups in the store after the commits 1 to `revision`."""

    revision: int = 0
    grants: tuple[Granted, ...] = ()
    """In the order in which they were made."""
    groups: dict[str, tuple[str, ...]] = {}
    """The sorted members of each group, by its name; sorted."""
    commit: AccessCommit | None = None
    """The last commit, number `revision`."""


def apply(rules: AccessRules, event: AnyAccessEvent) -> AccessRules:
    """Return `rules` after `event`, with its revision and last commit unchanged."""
    match event:
        case Granted():
            return replace(rules, grants=(*rules.grants, event))
        case Revoked(id=grant_id):
            return replace(rules, grants=tuple(e for e in rules.grants if e.id != grant_id))
        case GroupChanged(name=name, added=added, removed=removed):
            members = {*rules.groups.get(name, ()), *added} - {*removed}
            groups = {**rules.groups, name: tuple(sorted(members))}
            return replace(rules, groups=dict(sorted(groups.items())))
        case GroupDeleted(name=name):
            groups = {each: members for each, members in rules.groups.items() if each != name}
            return replace(rules, groups=groups)


def merge(configured: Grants, rules: AccessRules) -> Grants:
    """
    Return the grants of the settings and of the store together; a group has the members of both.

    A grant of the store to a group that exists no more is for nobody. Raise Invalid if the store
    has what only a person can have written there.
    """
    groups = dict(configured.groups)
    for name, members in rules.groups.items():
        groups[name] = groups.get(name, frozenset()) | frozenset(map(parse_member, members))
    own = (
        Grant(each.id, each.who, expand(each.who, groups), each.scope, each.note)
        for each in configured.all
    )
    return Grants((*own, *(parse_granted(each, groups) for each in rules.grants)), groups)


def parse_granted(granted: Granted, groups: Groups) -> Grant:
    """
    Return a stored grant; raise Invalid for one that names `anonymous`, or is malformed.

    What everybody may read without a credential is for the settings to say, whose warnings and
    refusals at the start depend on it. It also decides which pages a proxy may keep.
    """
    if ANONYMOUS in granted.grant.who:
        raise Invalid(
            f"{ANONYMOUS} cannot have a grant in the store. Write a [[grant]] into the settings, "
            "and restart the servers.",
        )
    gone = dict.fromkeys(groups_in(granted.grant.who), frozenset[str]())
    return build_grant(granted.id, granted.grant, {**gone, **groups})


def describe_event(event: AnyAccessEvent) -> str:
    """Return a change in words, without who made it and when."""
    note = f" ({event.note})" if event.note else ""
    match event:
        case Granted(id=grant_id, grant=fields):
            return f"granted {grant_id}: {describe_fields(fields)}"
        case Revoked(id=grant_id):
            return f"revoked {grant_id}{note}"
        case GroupChanged(name=name, added=added, removed=removed):
            changes = {"added": added, "removed": removed}
            parts = [f"{word} {', '.join(names)}" for word, names in changes.items() if names]
            return f"group {name}: {'; '.join(parts) or 'made'}{note}"
        case GroupDeleted(name=name):
            return f"group {name}: deleted{note}"


def describe_fields(fields: GrantFields) -> str:
    """Return a valid grant in words: whom it names, actions, projects and note."""
    groups = dict.fromkeys(groups_in(fields.who), frozenset[str]())
    return describe_grant(build_grant("", fields, groups))
