"""Grants and groups: to which principals, for which names, with which rights, and their changes."""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Annotated, ClassVar, Final

from msgspec import Meta, Struct, field
from msgspec.structs import replace

from wheelyard.errors import Invalid, quoted
from wheelyard.model.access import (
    ALL_AUTHENTICATED,
    ANONYMOUS,
    EVERY_PROJECT,
    Action,
    Scope,
    describe_scope,
    parse_actions,
    parse_pattern,
    parse_right_indexes,
    right_index_text,
)
from wheelyard.model.api_token import ID_LENGTH, TOKEN_ID, token_id_in
from wheelyard.model.decoding import redact_tokens
from wheelyard.model.person import OIDC_PRINCIPAL, normalized_person_name
from wheelyard.model.project import EventCommit

ACTIONS: Final = {action.word: action for action in Action}

_EMAIL: Final = r"[!-~]+@[a-z0-9.-]+\.[a-z0-9-]+"
_PRINCIPAL_PATTERNS: Final = {
    "user": re.compile(_EMAIL),
    "serviceAccount": re.compile(rf"{_EMAIL}(?:#[0-9]{{1,30}})?"),
    "domain": re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)+"),
    "htpasswd": re.compile(r"[^\x00-\x1f\x7f:]{1,255}"),
    "oidc": re.compile(OIDC_PRINCIPAL),
    "publisher": re.compile(r"[a-z0-9-]{1,40}"),
    "static": re.compile(r"[^\x00-\x1f\x7f]{1,100}"),
    "token": re.compile(TOKEN_ID),
}
_GROUP_PREFIX: Final = "group:"
"""The beginning of a group in a grant, as in `group:team`."""
GROUP_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_CASE_INSENSITIVE_KINDS: Final = frozenset({"user", "serviceAccount", "domain"})
_COMMA_BETWEEN_PRINCIPALS: Final = re.compile(
    rf",\s*(?=(?:user|serviceAccount|domain|htpasswd|oidc|static|token|publisher|group):"
    rf"|{ANONYMOUS}\b|{ALL_AUTHENTICATED}\b)"
)
"""The comma between principals. The name of a static token may contain a comma."""
_UNIQUE_ID: Final = re.compile(r"#[0-9a-f]+\Z")
_Patterns = tuple[Annotated[str, Meta(title="a pattern of names")], ...]
_Principals = tuple[Annotated[str, Meta(title="a principal")], ...]
_Actions = tuple[Annotated[str, Meta(title="an action")], ...]
Groups = Mapping[str, frozenset[str]]
"""The members of each group, by its name. No group is a member."""
NO_GROUPS: Final[Groups] = MappingProxyType({})
CREDENTIALS: Final = MappingProxyType(
    {
        "anonymous": "none",
        "google": "Google access token",
        "htpasswd": "password",
        "local": "command line",
        "oidc": "OpenID Connect",
        "publisher": "trusted publisher",
        "serviceAccount": "Google service account",
        "static": "static token",
        "token": "API token",
        "user": "Google account",
    }
)
"""The type of credential that each kind of principal has."""


class GrantFields(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """The keys of a `[[grant]]` of a file, and the stored form of a grant, before validation."""

    who: Annotated[_Principals, Meta(min_length=1, title='a list such as ["user:ana@acme.dev"]')]
    projects: Annotated[_Patterns, Meta(min_length=1, title='a list such as ["acme-*", "tools"]')]
    actions: Annotated[_Actions, Meta(min_length=1, title='a list such as ["read", "upload"]')]
    note: Annotated[str, Meta(title="a line of text")] = ""
    index: Annotated[str, Meta(title='indexes such as "dev,prod"')] = ""
    """
    The indexes that the grant is about, with commas between them, or `*` for all. An empty text
    means main, or for a right to administer, all indexes.
    """


class Grant(Struct, frozen=True):
    """A valid grant: a scope, and the principals that have it."""

    id: str
    """`g` and eight digits or letters a-f."""
    who: frozenset[str]
    """The principals that the grant names, and the groups, as `group:NAME`."""
    principals: frozenset[str]
    """All principals that have the scope, with the members of the groups."""
    scope: Scope
    note: str = ""
    names_index: bool = True
    """Whether the grant says which indexes it is about."""

    def __str__(self) -> str:
        if self.note:
            return f"grant {self.id} ({self.note})"
        return f"grant {self.id}"


class Grants(Struct, frozen=True):
    """Grants that are in force together, and the groups that they name."""

    all: tuple[Grant, ...] = ()
    groups: Groups = NO_GROUPS
    ended: "Mapping[str, PersonEnded]" = MappingProxyType({})
    """The events that ended the access of people, by the principal that only this person has."""

    def ending_of(self, principals: Iterable[str]) -> "PersonEnded | None":
        """Return the event that ended the access of the person with these principals, or None."""
        for principal in principals:
            if principal in self.ended:
                return self.ended[principal]
        return None

    def of(self, principals: Iterable[str]) -> tuple[Grant, ...]:
        """Return each grant that names at least one of these principals."""
        return tuple(grant for grant in self.all if grant.principals.intersection(principals))

    def without_anonymous(self) -> "Grants":
        """Return the same grants, of which none gives a right to `anonymous`."""
        grants = list[Grant]()
        for grant in self.all:
            grants.append(replace(grant, principals=grant.principals - {ANONYMOUS}))
        return replace(self, all=tuple(grants))

    def scopes_of(self, principals: Iterable[str]) -> tuple[Scope, ...]:
        """Return the scope of each grant that names at least one of these principals."""
        return tuple(grant.scope for grant in self.of(principals))


def build_grant(grant_id: str, fields: GrantFields, groups: Groups) -> Grant:
    """
    Return the grant with these fields.

    Raises Invalid, with several codes, for invalid values, for a group that is not one of `groups`,
    and for a right that nobody can have: a right to administer only some projects, or a right of
    `anonymous` to do more than read.
    """
    who = frozenset(parse_grantee(grantee, groups) for grantee in fields.who)
    scope = scope_of(fields)
    _check_grantable(who, scope)
    principals = expand(who, groups)
    return Grant(grant_id, who, principals, scope, fields.note, bool(fields.index))


def canonical_fields(grant: Grant) -> GrantFields:
    """Return the fields of a grant, with sorted values, so that equal grants have equal fields."""
    different_projects = frozenset(grant.scope.projects)
    actions = [word for word, action in ACTIONS.items() if action & grant.scope.actions]
    return GrantFields(
        who=tuple(sorted(grant.who)),
        projects=tuple(sorted(different_projects)),
        actions=tuple(actions),
        note=grant.note,
        index=right_index_text(grant.scope.indexes),
    )


def scope_of(fields: GrantFields) -> Scope:
    """
    Return the scope of a grant with these fields.

    Raises Invalid, with several codes, for invalid actions, projects or names of indexes.
    """
    actions = parse_actions(fields.actions, admin=True)
    projects = tuple(map(parse_pattern, fields.projects))
    return Scope(actions, projects, parse_right_indexes(fields.index, actions))


def parse_group_name(text: str) -> str:
    """
    Return `text`, if it can be the name of a group.

    Raises Invalid (code `bad_setting`) if it cannot.
    """
    if not GROUP_NAME.fullmatch(text):
        raise Invalid(
            f"{quoted(text)} cannot be the name of a group. Use up to 63 letters, digits, dots, "
            "hyphens and underscores, the first of them a letter or a digit.",
            code="bad_setting",
        )
    return text


def parse_member(text: str) -> str:
    """
    Return a principal that can be in a group.

    Raises Invalid (code `bad_setting`) for `anonymous`, for groups, and for other text.
    """
    if text.startswith(_GROUP_PREFIX) and "@" not in text:
        why = f"{quoted(text)} is a group, and groups are not nested. List its members."
    elif text == ANONYMOUS:
        why = f"{ANONYMOUS} is in no group. Name it in the grant itself."
    else:
        return parse_principal(text)
    raise Invalid(why, code="bad_setting")


def parse_grantee(text: str, groups: Groups) -> str:
    """
    Return a principal, or one of `groups` as `group:NAME`.

    Raises Invalid (code `bad_setting`) for other text.
    """
    name = text.removeprefix(_GROUP_PREFIX)
    # a name with @ is that of a Google group, which `parse_principal` refuses with a hint
    if name == text or "@" in name:
        return parse_principal(text)
    # a misspelt group would give nobody the right, and nobody would notice
    if name not in groups:
        hint = "There is none"
        if groups:
            hint = f"There are {', '.join(sorted(groups))}"
        raise Invalid(
            f"{quoted(text)} names no group. {hint}; list its members in [groups].",
            code="bad_setting",
        )
    return text


def groups_in(who: Iterable[str]) -> frozenset[str]:
    """Return the names of the groups in `who`, where a group is written as `group:NAME`."""
    groups = [grantee for grantee in who if grantee.startswith(_GROUP_PREFIX)]
    return frozenset(group.removeprefix(_GROUP_PREFIX) for group in groups)


def groups_of(principals: Iterable[str], groups: Groups) -> tuple[str, ...]:
    """Return the names of the groups that have one of these principals, sorted."""
    searched = frozenset(principals)
    names = [name for name, members in groups.items() if not members.isdisjoint(searched)]
    return tuple(sorted(names))


def expand(who: Iterable[str], groups: Groups) -> frozenset[str]:
    """
    Return the principals in `who`, with the members of each `group:NAME` in its place.

    A group that is not one of `groups` has no members.
    """
    principals = set[str]()
    for grantee in who:
        if grantee.startswith(_GROUP_PREFIX):
            principals.update(groups.get(grantee.removeprefix(_GROUP_PREFIX), ()))
        else:
            principals.add(grantee)
    return frozenset(principals)


def parse_principal(text: str) -> str:
    """
    Return a principal as identities write it, with domains and e-mail addresses in lower case.

    Raises Invalid (code `bad_setting`) if the text is not a principal.
    """
    if text in (ANONYMOUS, ALL_AUTHENTICATED):
        return text
    kind, _, name = text.partition(":")

    # outside of ASCII there are letters that become ASCII letters in lower case
    if kind in _CASE_INSENSITIVE_KINDS and name.isascii():
        name = name.lower()
    if kind == "oidc":
        provider, _, person_or_group = name.partition(":")
        if not person_or_group.startswith(_GROUP_PREFIX):
            name = f"{provider}:{normalized_person_name(person_or_group)}"
    if kind in _PRINCIPAL_PATTERNS and _PRINCIPAL_PATTERNS[kind].fullmatch(name):
        return f"{kind}:{name}"

    # a person who confuses a token with its id has typed a secret, which no message repeats
    principal = quoted(redact_tokens(text))
    raise Invalid(f"{principal}{_why_no_principal(kind, name)}", code="bad_setting")


def _why_no_principal(kind: str, name: str) -> str:
    """Return why `KIND:NAME` is no principal, as the end of a sentence that begins with it."""
    if kind == "group" and "@" not in name:
        return " is a group of grants, and no caller. Name one of its members."
    if kind == "group":
        return (
            ": no credential tells of Google groups. Let an IAM policy name the group, and set "
            "google.access_token.resource."
        )
    if kind == "token":
        return (
            f" is no token: behind 'token:' comes its id, the {ID_LENGTH} letters and digits that "
            "a list of tokens shows first."
        )
    return (
        f" is nobody that a grant can name. Write {ANONYMOUS}, {ALL_AUTHENTICATED}, or one of "
        "user:EMAIL, serviceAccount:EMAIL, serviceAccount:EMAIL#NUMBER, domain:DOMAIN, "
        "htpasswd:NAME, oidc:PROVIDER:NAME, oidc:PROVIDER:group:GROUP, static:NAME, token:ID, "
        "publisher:ID; in a grant, a group is group:NAME."
    )


def parse_principals(text: str) -> list[str]:
    """
    Return the principals in a text, which are separated by commas.

    Raises Invalid (code `bad_setting`) if a part of the text is not a principal.
    """
    return [
        parse_principal(principal.strip()) for principal in _COMMA_BETWEEN_PRINCIPALS.split(text)
    ]


def without_unique_id(principal: str) -> str:
    """Return a principal without its unique id, if it has one: `serviceAccount:EMAIL`."""
    has_id = principal.startswith(("serviceAccount:", "oidc:"))
    if has_id:
        return _UNIQUE_ID.sub("", principal)
    return principal


def with_implied(principals: Iterable[str]) -> frozenset[str]:
    """Return the principals of one caller, and all principals that follow from them."""
    all_principals = {ANONYMOUS}
    for principal in principals:
        all_principals |= {principal, without_unique_id(principal)}
        # a token of a job may do what its publisher may, and not what every credential may
        if not principal.startswith("publisher:") and principal != ANONYMOUS:
            all_principals.add(ALL_AUTHENTICATED)
    return frozenset(all_principals)


def describe_grant(grant: Grant, name_of: Callable[[str], str] = str) -> str:
    """
    Return a grant in words, without its id: whom it names, actions, projects and note.

    `name_of` says how a principal is written.
    """
    # a principal in words may have commas in it, so that semicolons are between two
    separator = ", " if name_of is str else "; "
    who = separator.join(map(name_of, sorted(grant.who)))
    described = f"{who} may {describe_scope(grant.scope)}"
    if grant.note:
        return f"{described} ({grant.note})"
    return described


def _check_grantable(who: frozenset[str], scope: Scope) -> None:
    """Raise Invalid for a right that nobody can have as it is written."""
    if scope.actions & Action.ADMIN and scope.projects != (EVERY_PROJECT,):
        raise Invalid('admin is for everything; write projects = ["*"].')
    if ANONYMOUS in who and scope.actions != Action.READ:
        raise Invalid('anonymous may read, and nothing else; write actions = ["read"].')


def credential_of(principal: str) -> str:
    """Return the type of a principal's credential in words, or an empty text if unknown."""
    kind, colon, _ = principal.partition(":")
    if not colon and "@" in principal:  # a command that ran with Google credentials
        return f"{CREDENTIALS['local']}, Google account"
    return CREDENTIALS.get(kind, "")


def with_name(principal: str, name: str) -> str:
    """Return a principal with the name of its token, `token:ID (NAME)`, if the name is known."""
    if name:
        return f"{principal} ({name})"
    return principal


def is_match(text: str, principal: str, name: str) -> bool:
    """
    Return whether a text means this principal, which has the name `name`.

    The text may be the principal, its part behind the colon (a token's id, an e-mail address), the
    name, or a whole API token. The case of letters counts except in an e-mail address.
    """
    _, _, ids = principal.partition(":")
    # a principal of a publisher's token has several ids, with commas between them
    spellings = {principal, name, ids, *ids.split(",")} - {""}
    is_token = token_id_in(text) == ids
    if text in spellings or is_token:
        return True
    return "@" in text and text.lower() in {spelling.lower() for spelling in spellings}


class AccessEvent(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="what"):
    """A change of the stored grants and groups by a principal."""

    at: datetime
    """When the change was made, in UTC."""
    by: str
    """The principal that made the change, such as `local:NAME` or `user:EMAIL`."""
    note: str = ""
    """
    Why the change was made, in the words of who made it, or an empty text. A grant has its own note
    instead.
    """


class Granted(AccessEvent, frozen=True, kw_only=True, omit_defaults=True, tag="granted"):
    """A grant was added."""

    id: str
    grant: GrantFields
    source: str = ""
    """The name of the file that added the grant, or an empty text if no file did."""


class RightsNameIndex(
    AccessEvent, frozen=True, kw_only=True, omit_defaults=True, tag="wheelyard-0.2.0-or-newer"
):
    """
    From this event on, a right names its index.

    The event stays among the grants, and an earlier version takes it for a grant with a wrong
    value. So such a version refuses the document, also in a server that runs, and says which
    version the document needs: an earlier version would give a right without an index in more
    indexes than this version does.
    """


class Revoked(AccessEvent, frozen=True, kw_only=True, omit_defaults=True, tag="revoked"):
    """A grant was removed."""

    id: str


class GroupChanged(AccessEvent, frozen=True, kw_only=True, omit_defaults=True, tag="group"):
    """A group was made, or has other members now."""

    name: str
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    source: str = ""
    """
    The name of the file that changed the group. An empty text leaves the group the source that it
    had.
    """


class GroupDeleted(AccessEvent, frozen=True, kw_only=True, omit_defaults=True, tag="group-deleted"):
    """A group was removed, with its members."""

    name: str


class PersonEvent(AccessEvent, frozen=True, kw_only=True, omit_defaults=True):
    """What an administrator has done about a person."""

    words: ClassVar[str]  # that go before the principal
    who: str
    """The principal of one person alone. For a person of a provider, the principal has the id."""


class PersonEnded(PersonEvent, frozen=True, kw_only=True, omit_defaults=True, tag="person-ended"):
    """The access of a person was ended."""

    words = "ended the access of"


class PersonAdmitted(
    PersonEvent, frozen=True, kw_only=True, omit_defaults=True, tag="person-admitted"
):
    """A person was admitted again."""

    words = "admitted again"


class PersonNameReleased(
    PersonEvent, frozen=True, kw_only=True, omit_defaults=True, tag="person-name-released"
):
    """
    A name was released: the next person who comes with the name has it.

    The principal in `who` is without an id. The event changes no rights by itself.
    """

    words = "released the name of"


AnyAccessEvent = (
    Granted
    | RightsNameIndex
    | Revoked
    | GroupChanged
    | GroupDeleted
    | PersonEnded
    | PersonAdmitted
    | PersonNameReleased
)


class AccessCommit(EventCommit[AnyAccessEvent], frozen=True, kw_only=True, omit_defaults=True):
    """One write of the document of grants and groups, with the events that the write added."""


class AccessRules(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The grants and groups in the store after the commits 1 to `revision`."""

    revision: int = 0
    entries: tuple[Granted | RightsNameIndex, ...] = field(name="grants", default=())
    """The grants in the order in which they were made, and perhaps before them the mark."""
    groups: dict[str, tuple[str, ...]] = {}
    """The sorted members of each group, by its name, in the order of names."""
    group_sources: dict[str, str] = {}
    """The source of the file that made or changed a group last, by its name."""
    ended: tuple[PersonEnded, ...] = ()
    """Whose access was ended, in the order of these events."""
    commit: AccessCommit | None = None
    """The last commit, number `revision`."""

    @property
    def grants(self) -> tuple[Granted, ...]:
        """The grants in the order in which they were made."""
        return tuple(entry for entry in self.entries if isinstance(entry, Granted))

    @property
    def is_marked(self) -> bool:
        """Whether earlier versions refuse the document."""
        return any(isinstance(entry, RightsNameIndex) for entry in self.entries)


def apply(rules: AccessRules, event: AnyAccessEvent) -> AccessRules:
    """Return `rules` after `event`, with its revision and last commit unchanged."""
    match event:
        case Granted():
            return replace(rules, entries=(*rules.entries, event))
        case RightsNameIndex():
            return replace(rules, entries=(event, *rules.entries))
        case Revoked(id=grant_id):
            entries = [entry for entry in rules.entries if not _is_grant_with_id(entry, grant_id)]
            return replace(rules, entries=tuple(entries))
        case GroupChanged(name=name, added=added, removed=removed, source=source):
            members = {*rules.groups.get(name, ()), *added} - set(removed)
            groups = {**rules.groups, name: tuple(sorted(members))}
            sorted_groups = dict(sorted(groups.items()))
            sources = dict(rules.group_sources)
            if source:
                sources[name] = source
            return replace(rules, groups=sorted_groups, group_sources=sources)
        case GroupDeleted(name=name):
            groups = {group: members for group, members in rules.groups.items() if group != name}
            sources = dict(rules.group_sources)
            sources.pop(name, None)
            return replace(rules, groups=groups, group_sources=sources)
        case PersonEvent(who=who):
            ended = [ending for ending in rules.ended if ending.who != who]
            if isinstance(event, PersonEnded):
                ended.append(event)
            return replace(rules, ended=tuple(ended))


def grants_of(rules: AccessRules) -> Grants:
    """
    Return the grants and groups of the store, parsed.

    A grant to a group that exists no more is for nobody. Raises Invalid, with several codes, if a
    person has edited the document in the store and made a mistake.
    """
    groups = dict[str, frozenset[str]]()
    for name, members in rules.groups.items():
        groups[name] = frozenset(parse_member(member) for member in members)
    grants = tuple(parse_granted(granted, groups) for granted in rules.grants)
    return Grants(grants, groups, ended={event.who: event for event in rules.ended})


def parse_granted(granted: Granted, groups: Groups) -> Grant:
    """
    Return the grant of a stored one.

    A group that is not one of `groups` has no members. Raises Invalid, with several codes, if the
    grant is malformed.
    """
    # a group of the grant may have been deleted: the grant stays valid for the other principals
    empty_groups = dict.fromkeys(groups_in(granted.grant.who), frozenset[str]())
    return build_grant(granted.id, granted.grant, {**empty_groups, **groups})


def describe_event(event: AnyAccessEvent, name_of: Callable[[str], str] = str) -> str:
    """
    Return a change in words, without who made it and when.

    `name_of` says how a principal is written: a page has it in words, too. Raises Invalid, with
    several codes, if the change is about a grant that is malformed.
    """
    note = f" ({event.note})" if event.note else ""
    match event:
        case Granted(id=grant_id, grant=fields):
            return f"granted {grant_id}: {describe_fields(fields, name_of)}"
        case RightsNameIndex():
            return "each right names its index: one that names none is about main"
        case Revoked(id=grant_id):
            return f"revoked {grant_id}{note}"
        case GroupChanged(name=name, added=added, removed=removed):
            changes = list[str]()
            if added:
                changes.append(f"added {', '.join(map(name_of, added))}")
            if removed:
                changes.append(f"removed {', '.join(map(name_of, removed))}")
            return f"group {name}: {'; '.join(changes) or 'made'}{note}"
        case GroupDeleted(name=name):
            return f"group {name}: deleted{note}"
        case PersonEvent(who=who):
            return f"{event.words} {name_of(who)}{note}"


def _is_grant_with_id(entry: Granted | RightsNameIndex, grant_id: str) -> bool:
    """Return whether an entry of the stored rules is the grant with an id."""
    return isinstance(entry, Granted) and entry.id == grant_id


def describe_fields(fields: GrantFields, name_of: Callable[[str], str] = str) -> str:
    """
    Return a valid grant in words, without its id: whom it names, actions, projects and note.

    `name_of` says how a principal is written.
    """
    return describe_grant(with_any_groups(fields), name_of)


def with_any_groups(fields: GrantFields) -> Grant:
    """
    Return a grant with these fields and without an id, whose groups have no members.

    The groups need not exist. Raises Invalid, with several codes, for invalid values.
    """
    groups = dict.fromkeys(groups_in(fields.who), frozenset[str]())
    return build_grant("", fields, groups)
