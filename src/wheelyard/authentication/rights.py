"""
The rights that an index gives: one list of who may do what to which projects, and from where.

`access explain` and the access pages only filter this list. What a caller may do is decided by its
scopes (`authorization.py`), and a test compares the list with these.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final, Literal

from msgspec import Struct, to_builtins
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.authentication.authenticator import Authenticator
from wheelyard.authentication.known_people import KnownPeople
from wheelyard.authentication.token_owners import TokenOwners
from wheelyard.errors import Invalid, Unauthenticated
from wheelyard.model import access
from wheelyard.model.access import PASSWORD, PROVIDER, AccessEntry, Action, Pattern, Scope
from wheelyard.model.api_token import TokenRecord
from wheelyard.model.grants import Grants, expand, parse_principals, with_implied
from wheelyard.model.person import Person
from wheelyard.model.publisher import Publisher
from wheelyard.model.stored_publishers import PUBLISHER_KIND

RightKind = Literal["grant", "token", "static", "publisher", "setting", "index", "google"]
"""The kind of source of a right: `google` is the IAM policy of a bucket."""
PASSWORD_USERS: Final = "every name of the htpasswd file"  # noqa: S105 - words
"""The words for all users of the htpasswd file, who have one scope without a grant."""
_UNIQUE_ID: Final = re.compile(r"#[0-9]+\Z")
_GROUP_PART: Final = ":group:"
"""The part that only the principal of a provider's group has, and no principal of a person."""
_WITHOUT_GRANTS: Final = ("token:", "publisher:")
"""The prefixes of principals that have rights of their own, and none by grants."""
_SCOPE_KEYS: Final = frozenset({"projects", "actions"})
"""The keys of a publisher that say what its jobs may do. The others say which jobs these are."""
_REFUSALS_BY_STATE: Final = {
    "ended": "the owner of the token may not use the index any more",
    "unconfirmed": "the owner of the token has to sign in again first",
    "refused by the provider": "the provider of this person has refused to confirm the account",
    "ended by hand": "an administrator has ended the access of this person",
    "of no provider": "no [[sign_in]] of the settings is the provider of this person",
    "without a line": "the htpasswd file has no such name",
    "of no static token": "there is no such static token",
    "of no publisher": "there is no such trusted publisher, or it is not in force",
}
"""Why a subject is refused, by its state. Other states are those of a token itself."""


class Right(Struct, frozen=True):
    """A scope that somebody has, and the source of this right."""

    who: str
    """A principal or a group, as in a grant, or words such as `everybody`."""
    principals: frozenset[str]
    """The principals that have the right, such as the members of a group."""
    scope: Scope
    source: str
    """The source of the right in words, which name no project."""
    note: str = ""
    """The note of a grant, or the keys of a publisher that say which jobs it is for."""
    kind: RightKind = "grant"
    id: str = ""
    """The id of the grant, token or publisher, or the name of the setting or the index."""
    owner: str = ""
    """The principal that owns the token, or an empty text."""

    @property
    def source_on_page(self) -> str:
        """The source of the right, with the owner of a token in words."""
        if not self.owner:
            return self.source
        return self.source.replace(self.owner, access.describe_principal(self.owner), 1)


def rights(
    authenticator: Authenticator,
    records: Iterable[TokenRecord] = (),
    *,
    in_every_index: bool = False,
) -> list[Right]:
    """
    Return all rights that the index gives. `records` are those of the API tokens to include.

    With `in_every_index`, the list also has grants and credentials for other indexes alone. Raises
    Unavailable if the grants, the publishers, the list of indexes, or the record of an owner cannot
    be read.
    """
    policy = authenticator.policy
    grants = policy.access.load()
    all_rights = list[Right]()
    for right in _rights_but_tokens(authenticator, grants):
        if in_every_index or right.scope.holds_in(policy.index):
            all_rights.append(right)
    # the rights of tokens are computed for this index, so they all hold in it
    all_rights += _rights_of_tokens(authenticator, records)
    return all_rights


def effective_access(
    project: NormalizedName, authenticator: Authenticator, records: Iterable[TokenRecord]
) -> list[AccessEntry]:
    """
    Return who may do what to a project, which need not exist, sorted by rights, most rights first.

    `records` are the records of all API tokens. Tokens of CI jobs live for minutes, so the result
    has their publishers alone. People who may not use the index any more are left out. Raises
    Unavailable if the grants, the publishers, the list of indexes, or the records of people cannot
    be read.
    """
    entries = dict[tuple[str, str], AccessEntry]()
    refused = _refused_principals(authenticator)
    lasting_records = (record for record in records if not record.publishers)
    for right in rights(authenticator, lasting_records):
        if right.who == PASSWORD_USERS and authenticator.htpasswd is None:
            continue
        # approval is for public packages, and not for projects of this index
        if right.scope.actions == Action.APPROVE or right.who in refused:
            continue
        if not access.matches_any(right.scope.projects, project):
            continue
        # one row for all scopes that one source gives to one principal
        key = (right.who, right.source)
        entries[key] = _access_entry(right, refused, entries.get(key))
    return sorted(entries.values(), key=lambda entry: -entry.actions)


def _access_entry(
    right: Right, refused: frozenset[str], earlier: AccessEntry | None
) -> AccessEntry:
    """
    Return the row of a right, together with the actions and details of an earlier row for it.

    Members of a group are named without `refused` principals.
    """
    actions = right.scope.actions & ~Action.APPROVE
    details = list[str]()
    if earlier is not None:
        actions |= earlier.actions
        details += earlier.details.split("; ")
    details += [access.describe_projects(right.scope.projects), right.note]
    # a dict drops repeated texts, and keeps the order
    distinct_details = dict.fromkeys(text for text in details if text)
    members = list[str]()
    if right.who.startswith("group:"):
        members = sorted(right.principals - refused)
    return AccessEntry(
        right.who,
        actions,
        right.source_on_page,
        tuple(members),
        "; ".join(distinct_details),
    )


def _refused_principals(authenticator: Authenticator) -> frozenset[str]:
    """Return the principals that only people have whose access was ended, or who are gone."""
    refused = set[str]()
    admitted = set[str]()
    for person in KnownPeople(authenticator=authenticator).all():
        names = {person.principal, person.who}
        if person.state in {"ended", "gone"}:
            refused |= names
        else:
            admitted |= names
    # somebody who has left may have had a name that another person has now
    return frozenset(refused - admitted)


def _rights_but_tokens(authenticator: Authenticator, grants: Grants) -> Iterator[Right]:
    """Yield all rights but those of API tokens, also rights that hold in another index alone."""
    yield from _rights_of_everybody(authenticator)
    yield from _rights_of_grants(grants)
    yield from _rights_of_credentials(authenticator)


def _rights_of_everybody(authenticator: Authenticator) -> Iterator[Right]:
    """Yield the rights that settings and the index itself give to callers without a grant."""
    policy = authenticator.policy
    for scope in policy.open:
        everybody = Right(
            "everybody",
            frozenset({access.ANONYMOUS}),
            scope,
            "access.anonymous_uploads is set",
            kind="setting",
            id="access.anonymous_uploads",
        )
        if scope.actions == Action.READ:
            reason = "the index is open for reading"
            everybody = replace(everybody, source=reason, kind="index", id=policy.index)
        yield everybody
    if policy.htpasswd_scope is not None:
        setting = "access.htpasswd_may"
        yield Right(
            PASSWORD_USERS,
            frozenset({PASSWORD_USERS}),
            policy.htpasswd_scope,
            setting,
            kind="setting",
            id=setting,
        )
    if authenticator.access_tokens is not None:
        reason = "google.access_token.resource is set: the IAM policy of its bucket decides"
        # only Google knows who may do what
        unknown_scope = Scope(
            Action(0), (access.EVERY_PROJECT,), authenticator.access_tokens.indexes
        )
        yield Right("whoever Google allows it", frozenset(), unknown_scope, reason, kind="google")


def _rights_of_grants(grants: Grants) -> Iterator[Right]:
    """Yield a right for each principal and each group of a grant."""
    for grant in grants.all:
        for who in sorted(grant.who):
            members = expand((who,), grants.groups)
            # the grant does not count for `anonymous` while `access.private` is set
            is_in_force = members <= grant.principals
            if is_in_force and not who.startswith(_WITHOUT_GRANTS):
                # a group may name a token or a publisher, to which a grant gives nothing
                holders = frozenset(
                    name for name in members if not name.startswith(_WITHOUT_GRANTS)
                )
                source = f"grant {grant.id}"
                yield Right(who, holders, grant.scope, source, grant.note, id=grant.id)


def _rights_of_credentials(authenticator: Authenticator) -> Iterator[Right]:
    """Yield the rights of static tokens and publishers, which have scopes of their own."""
    static_tokens = authenticator.static_tokens
    expired = static_tokens.expired()
    for token in static_tokens.all().values():
        principal = token.identity.principal
        if principal in expired:
            continue
        for scope in token.identity.scopes:
            yield Right(principal, frozenset({principal}), scope, "static token", kind="static")
    for publisher in _publishers_in_force(authenticator):
        # `to_builtins` leaves out keys that are not set
        keys = to_builtins(publisher.table)
        keys_of_job = {key: value for key, value in keys.items() if key not in _SCOPE_KEYS}
        yield Right(
            publisher.principal,
            frozenset({publisher.principal}),
            publisher.scope,
            "trusted publisher",
            PUBLISHER_KIND.describe_keys(keys_of_job),
            kind="publisher",
            id=publisher.id,
        )


def _publishers_in_force(authenticator: Authenticator) -> tuple[Publisher, ...]:
    """Return the trusted publishers in force."""
    service = authenticator.trusted_publishing
    if service is None:
        return ()
    return service.publishers.load().all


def _rights_of_tokens(
    authenticator: Authenticator, records: Iterable[TokenRecord]
) -> Iterator[Right]:
    """Yield the rights that active API tokens among these records have in this index now."""
    now = authenticator.tokens.runtime.now()
    public_scopes = authenticator.policy.public()
    for record in records:
        if record.state(now) != "active":
            continue
        owner = ""
        if record.owner:
            owner = f" of {record.owner}, inside the rights of its owner"
        source = f"API token{owner}, until {record.expires_at:%Y-%m-%d}"
        principal = f"token:{record.id}"
        # a token whose publisher or owner is gone has no rights
        with suppress(Unauthenticated):
            for scope in authenticator.caller_for_token(record).scopes:
                # the list has public scopes as rights of everybody
                if scope not in public_scopes:
                    yield Right(
                        f"{principal} ({record.name})",
                        frozenset({principal}),
                        scope,
                        source,
                        kind="token",
                        id=record.id,
                        owner=record.owner,
                    )


class AccessSubject(Struct, frozen=True):
    """The subject of a question of `access explain`: a person, a program or a token."""

    principals: frozenset[str]
    """All principals by which rights can name the subject."""
    state: str = "active"
    """`active`, a key of `_REFUSALS_BY_STATE`, or another state of a token, such as `expired`."""
    records: tuple[TokenRecord, ...] = ()
    """The record of the API token that the question is about, or none."""


class ExplainedRight(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A right that the subject of a question has, or nearly has."""

    kind: RightKind
    id: str = ""
    """The id of the grant, token or publisher, or the name of the setting or the index."""
    source: str
    """The source of the right in words."""
    who: str
    """A principal or a group, as in a grant, or words such as `everybody`."""
    may: str
    """The actions, projects and indexes of the right, in words."""
    note: str = ""
    members: tuple[str, ...] = ()
    """The principals of the subject that are in the group."""
    but: str = ""
    """Why the right does not help the subject, or an empty text if the right helps."""
    is_for_others: bool = False
    """Whether the right is one of another principal."""

    @property
    def text(self) -> str:
        """The right as a sentence, with principals as a grant has them."""
        note = f" ({self.note})" if self.note else ""
        if self.is_for_others:
            return f"{self.source}{note} is for {self.who}: {self.but}"
        limit = f", {self.but}" if self.but else ""
        clauses = [f"{self.source}: {self.who} may {self.may}{note}{limit}"]
        clauses += [f"{member} is in {self.who}" for member in self.members]
        return "; ".join(clauses)


def _explained_right(right: Right, members: tuple[str, ...] = (), but: str = "") -> ExplainedRight:
    """Return a right for an explanation, with the members and the `but` that it has there."""
    return ExplainedRight(
        kind=right.kind,
        id=right.id,
        source=right.source,
        who=right.who,
        may=access.describe_scope(right.scope),
        note=right.note,
        members=members,
        but=but,
    )


class AccessExplanation(Struct, frozen=True):
    """The answer of `access explain`: whether access is allowed, and why."""

    allowed: bool
    reasons: tuple[str, ...]
    """If allowed, each sufficient reason. Otherwise the response that the caller gets, and why."""
    hints: tuple[str, ...] = ()
    """If allowed, the limits of that. Otherwise rights that the subject lacks, or nearly has."""
    rights: tuple[ExplainedRight, ...] = ()
    """The rights of the reasons if allowed, otherwise those of the hints, in the same order."""
    grant_helps: bool = False
    """Whether a grant would allow the access that is not allowed."""


def parse_subject(text: str, authenticator: Authenticator) -> AccessSubject:
    """
    Return the AccessSubject for principals, separated by commas, or for one `token:ID`.

    Raises Invalid (code `bad_setting`) for a text that is no principal, or that names a token
    beside other principals, and NotFound for an unknown token. Raises Unavailable if the record of
    the token, the records of people, or the grants cannot be read.
    """
    principals = parse_principals(text)
    kind, _, token_id = principals[0].partition(":")
    if kind == "token":
        if len(principals) > 1:
            message = "A token has its own rights alone. Ask about it without other principals."
            raise Invalid(message, code="bad_setting")
        return _token_subject(token_id, authenticator)
    people, state = _find_people(principals, authenticator.owners)

    # as for a caller: rights of `anonymous` and of all who are authenticated count, too
    names = with_implied(principals)
    for person in people:
        names |= person.principals
    if any(principal.startswith(PASSWORD) for principal in principals):
        names |= {PASSWORD_USERS}
    if authenticator.policy.access.load().ending_of(names) is not None:
        state = "ended by hand"
    elif any(_lacks_htpasswd_line(principal, authenticator) for principal in principals):
        state = "without a line"
    credential_state = _state_of_credentials(principals, authenticator)
    return AccessSubject(names, credential_state or state)


def _token_subject(token_id: str, authenticator: Authenticator) -> AccessSubject:
    """
    Return the AccessSubject for an API token, by its id.

    Raises NotFound for an unknown token. Raises Unavailable if a record or the grants cannot be
    read.
    """
    record = authenticator.tokens.records.get_for_update(token_id).value
    assert record is not None  # noqa: S101 - `get_for_update` raises for none
    state = authenticator.owners.state(record)
    try:
        authenticator.caller_for_token(record)
    except Unauthenticated:
        if record.publishers:
            state = "of a publisher that is gone"
    principals = frozenset({f"token:{record.id}", access.ANONYMOUS})
    return AccessSubject(principals, state, (record,))


def _state_of_credentials(principals: list[str], authenticator: Authenticator) -> str:
    """Return the state for which a static token or a publisher is refused, or an empty text."""
    static_tokens = authenticator.static_tokens.all().values()
    static_principals = {token.identity.principal for token in static_tokens}
    expired_principals = authenticator.static_tokens.expired()
    publishers = _publishers_in_force(authenticator)
    publisher_principals = {publisher.principal for publisher in publishers}
    for principal in principals:
        if principal.startswith("publisher:") and principal not in publisher_principals:
            return "of no publisher"
    if not expired_principals.isdisjoint(principals):
        return "expired"
    for principal in principals:
        if principal.startswith("static:") and principal not in static_principals:
            return "of no static token"
    return ""


def _lacks_htpasswd_line(principal: str, authenticator: Authenticator) -> bool:
    """Return whether the htpasswd file is there, and has no line for this principal."""
    htpasswd = authenticator.htpasswd
    if htpasswd is None or not principal.startswith(PASSWORD):
        return False
    return not htpasswd.line_of(principal.removeprefix(PASSWORD))


def _find_people(principals: list[str], owners: TokenOwners) -> tuple[list[Person], str]:
    """Return the people of providers whom the principals name, and the state of these people."""
    names = {name for name in principals if name.startswith(PROVIDER) and _GROUP_PART not in name}
    if not names:
        return [], "active"
    # a principal of a provider is oidc, the provider's name in the settings, and a person's name
    providers = {name.split(":")[1] for name in names}
    if providers.isdisjoint(owners.providers):
        return [], "of no provider"
    people = list[Person]()
    for person in owners.people.all():
        names_of_person = {person.principal, f"{person.principal}#{person.id}"}
        if not names.isdisjoint(names_of_person):
            people.append(person)
    admitted = [person for person in people if person.ended_at is None]
    active = [person for person in admitted if person.refused_at is None]
    # of people without a record, nothing is known but that grants may name them
    if active or not people:
        return active, "active"
    if admitted:
        return admitted, "refused by the provider"
    return [], "ended by hand"


def explain(
    subject: AccessSubject,
    action: Action,
    project: NormalizedName,
    authenticator: Authenticator,
    private_patterns: tuple[Pattern, ...],
    *,
    may_be_public: bool = False,
) -> AccessExplanation:
    """
    Return the explanation whether `subject` may do `action` to `project`, existing or not.

    `private_patterns` are the patterns of `access.private_names`. `may_be_public` says whether
    there is an upstream index, and the name is not private. Raises Unavailable if the grants, the
    publishers, the list of indexes, or the record of an owner cannot be read.
    """
    all_rights = rights(authenticator, subject.records)

    # the order of these answers is that of the checks of a request (`ReadPolicy`)
    if subject.state != "active":
        why = _REFUSALS_BY_STATE.get(subject.state) or f"the token is {subject.state}"
        return AccessExplanation(allowed=False, reasons=(f"401, because {why}",))
    own_rights = [right for right in all_rights if _names_subject(right, subject)]
    permitting = [right for right in all_rights if right.scope.permits(action, project)]
    own_permitting = [right for right in permitting if right in own_rights]
    reasons = tuple(_explain_reasons(subject.principals, own_permitting))
    if reasons:
        return _explain_permission(subject, action, reasons)
    is_private_name = access.matches_any(private_patterns, project)
    is_public_name = may_be_public and not is_private_name
    if action is Action.READ and is_public_name and _reads_anything(subject, own_rights):
        who = "whoever may read or approve anything"
        reason = f"the name is not private, and {who} may read public packages"
        return AccessExplanation(allowed=True, reasons=(reason,))
    hints = list(_explain_hints(subject.principals, permitting))
    hints += _rights_elsewhere(subject, action, project, authenticator)
    is_anonymous = subject.principals == {access.ANONYMOUS}
    has_own_rights = any(name.startswith(_WITHOUT_GRANTS) for name in subject.principals)
    response = _describe_response(
        action, is_anonymous=is_anonymous, is_private_name=is_private_name
    )
    return AccessExplanation(
        allowed=False,
        reasons=(response,),
        hints=tuple(right.text for right in hints),
        rights=tuple(hints),
        # no grant gives anything to a token or a publisher, and `anonymous` can only read
        grant_helps=not has_own_rights and (action is Action.READ or not is_anonymous),
    )


def _names_subject(right: Right, subject: AccessSubject) -> bool:
    """Return whether a right is one of the subject."""
    return not right.principals.isdisjoint(subject.principals)


def _explain_permission(
    subject: AccessSubject, action: Action, reasons: tuple[ExplainedRight, ...]
) -> AccessExplanation:
    """Return the explanation that a subject may do an action, by these rights."""
    hints = list[str]()
    if action is Action.ADMIN and any(record.owner for record in subject.records):
        hints.append("a token of somebody makes no token, and changes no grant and no person")
    texts = tuple(right.text for right in reasons)
    return AccessExplanation(allowed=True, reasons=texts, hints=tuple(hints), rights=reasons)


def _reads_anything(subject: AccessSubject, own_rights: Iterable[Right]) -> bool:
    """Return whether a subject may read or approve anything, and so read all public packages."""
    if subject.principals == {access.ANONYMOUS}:
        return False
    return any(right.scope.actions & (Action.READ | Action.APPROVE) for right in own_rights)


def _describe_response(action: Action, *, is_anonymous: bool, is_private_name: bool) -> str:
    """Return the response to a caller who may not do an action, in words."""
    if is_anonymous:
        return "401, as everybody is asked who they are"
    if action is not Action.READ:
        return "403, whether or not the project exists"
    if is_private_name:
        return "403, because the name matches access.private_names"
    return "404, as for a project that does not exist"


def _rights_elsewhere(
    subject: AccessSubject, action: Action, project: NormalizedName, authenticator: Authenticator
) -> Iterator[ExplainedRight]:
    """Yield each right of the subject that permits the action, but in another index alone."""
    policy = authenticator.policy
    all_rights = list[Right]()
    for record in subject.records:
        # the rights of a CI job's token are those of its publisher, which follow below
        if not record.publishers:
            token = Right(
                f"token:{record.id} ({record.name})",
                subject.principals,
                record.scope,
                "API token",
                kind="token",
                id=record.id,
            )
            all_rights.append(token)
    all_rights += _rights_but_tokens(authenticator, policy.access.load())
    but = f"and not in {access.describe_indexes((policy.index,))}"
    for right in all_rights:
        is_own = _names_subject(right, subject)
        holds_here = right.scope.holds_in(policy.index)
        if is_own and not holds_here and right.scope.permits(action, project):
            yield _explained_right(right, but=but)


def _explain_reasons(
    principals: frozenset[str], own_rights: Iterable[Right]
) -> Iterator[ExplainedRight]:
    """Yield rights of the subject, with the principals of the subject that are in their groups."""
    for right in own_rights:
        members = list[str]()
        if right.who.startswith("group:"):
            members = sorted(right.principals & principals)
        yield _explained_right(right, tuple(members))


def _explain_hints(
    principals: frozenset[str], permitting: Iterable[Right]
) -> Iterator[ExplainedRight]:
    """Yield the rights of other principals that are much like one of the subject's."""
    for right in permitting:
        for granted in sorted(right.principals):
            for own in sorted(principals):
                hint = _hint_for(own, granted)
                if hint:
                    yield replace(
                        _explained_right(right, but=hint), who=granted, is_for_others=True
                    )


def _hint_for(own: str, granted: str) -> str:
    """
    Return why a right of the principal `granted` is none of the principal `own`.

    Empty if the two principals are not alike.
    """
    kind, _, address = own.partition(":")
    if granted.startswith(f"{own}#") and kind in {"serviceAccount", "oidc"}:
        return "ask for it so, if that is the account's unique id"
    if kind == "oidc" and "#" not in own:
        return _hint_for_person(own, granted)
    domain = address.rpartition("@")[2]
    if kind == "user" and granted == f"domain:{domain}":
        return f"ask for {own},{granted}, if that is the Workspace domain of the account"
    if kind == "user" and _UNIQUE_ID.sub("", granted) == f"serviceAccount:{address}":
        return "a service account is no user"
    return ""


def _hint_for_person(own: str, granted: str) -> str:
    """
    Return why a right of `granted` is none of `own`, a person or a group of a provider.

    Empty if the two principals are not alike.
    """
    _, provider, name = own.split(":", 2)
    if granted == f"user:{name}":
        return f"that is for Google's own ID tokens, and not for who signs in with {provider}"
    if granted.startswith(PROVIDER) and granted.split(":", 2)[2] == name:
        return "that is another provider"
    if not granted.startswith(f"{PROVIDER}{provider}{_GROUP_PART}"):
        return ""
    if _GROUP_PART not in own:
        return f"ask for {own},{granted}, if the provider says so since the last sign-in"
    if granted.casefold() == own.casefold():
        return "upper and lower case count in the names of groups"
    return ""
