"""
The rights that an index gives: one list of who may do what to which projects, and from where.

`access explain` and the access pages only filter it. What a caller may do is decided by its scopes
(`authorization.py`), and a test compares the two.
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
"""What gives a right: `google` is a bucket's IAM policy."""
PASSWORD_USERS: Final = "every name of the htpasswd file"  # noqa: S105 - words
"""What the rows call users of the htpasswd file, who all have the same scope without a grant."""
_UNIQUE_ID: Final = re.compile(r"#[0-9]+\Z")
_GROUP: Final = ":group:"
"""What stands in the principal of a group of a provider, and in no name of a person."""
_OF_THEIR_OWN: Final = ("token:", "publisher:")
"""The prefixes of principals whose rights are their own, so that no grant gives them any."""
_OF_SCOPE: Final = frozenset({"projects", "actions"})
"""The keys of a publisher that say what its jobs may do, and not which jobs these are."""
_STATES: Final = {
    "ended": "the owner of the token may not use the index any more",
    "unconfirmed": "the owner of the token has to sign in again first",
    "refused by the provider": "the provider of this person has refused to confirm the account",
    "ended by hand": "an administrator has ended the access of this person",
    "of no provider": "no [[sign_in]] of the settings is the provider of this person",
    "without a line": "the htpasswd file has no such name",
    "of no static token": "there is no such static token",
    "of no publisher": "there is no such trusted publisher, or it is not in force",
}
"""Why a subject is refused, by its state, if that is not the state of a token itself."""


class Right(Struct, frozen=True):
    """A scope that somebody has, and what gives it to them."""

    who: str
    """A principal or a group, as in a grant, or words such as `everybody`."""
    principals: frozenset[str]
    """The principals that have it: the members of a group."""
    scope: Scope
    source: str
    """What gives the right, in words. It names no project."""
    note: str = ""
    kind: RightKind = "grant"
    id: str = ""
    """Of the grant, the token or the publisher, or the name of the setting or the index."""
    owner: str = ""
    """The principal whose token it is."""

    @property
    def source_on_page(self) -> str:
        """What gives the right, with people in words."""
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
    Return all rights that the index gives, of API tokens those of the active ones of `records`.

    With `in_every_index`, grants and credentials that name another index are there as well.

    Raises Unavailable if the grants, the publishers or the list of indexes, or the record of an
    owner, cannot be read.
    """
    policy = authenticator.policy
    grants = policy.access.load()
    listed = list[Right]()
    for right in _of_all_but_tokens(authenticator, grants):
        if in_every_index or right.scope.holds_in(policy.index):
            listed.append(right)
    # what a token may do is computed for this index, so nothing of another one is among it
    listed += _of_tokens(authenticator, records)
    return listed


def effective_access(
    project: NormalizedName, authenticator: Authenticator, records: Iterable[TokenRecord]
) -> list[AccessEntry]:
    """
    Return who may do what to a project, which need not exist, sorted by rights, most rights first.

    `records` are those of all API tokens. Tokens of CI jobs live for minutes, so only their
    publishers are in it. People who may not use the index any more are left out. Raises Unavailable
    if the grants, the publishers or the list of indexes, or the records of people, cannot be read.
    """
    entries = dict[tuple[str, str], AccessEntry]()
    refused = _refused(authenticator)
    lasting = (record for record in records if not record.publishers)
    for right in rights(authenticator, lasting):
        if right.who == PASSWORD_USERS and authenticator.htpasswd is None:
            continue
        # a project of this index is nothing to approve
        if right.scope.actions == Action.APPROVE or right.who in refused:
            continue
        if not access.matches_any(right.scope.projects, project):
            continue
        # one row for all scopes that the same source gives to the same principal
        key = (right.who, right.source)
        actions = right.scope.actions & ~Action.APPROVE
        details = list[str]()
        earlier = entries.get(key)
        if earlier is not None:
            actions |= earlier.actions
            details += earlier.details.split("; ")
        details += [access.describe_projects(right.scope.projects), right.note]
        members = list[str]()
        if right.who.startswith("group:"):
            members = sorted(right.principals - refused)
        # a dict drops what is said twice, and keeps the order
        without_repeats = dict.fromkeys(filter(None, details))
        entries[key] = AccessEntry(
            right.who,
            actions,
            right.source_on_page,
            tuple(members),
            "; ".join(without_repeats),
        )
    return sorted(entries.values(), key=lambda entry: -entry.actions)


def _refused(authenticator: Authenticator) -> frozenset[str]:
    """Return the principals of people who were ended or are gone, and that nobody else has."""
    refused = set[str]()
    admitted = set[str]()
    for person in KnownPeople(authenticator=authenticator).all():
        names = {person.principal, person.who}
        if person.state in {"ended", "gone"}:
            refused |= names
        else:
            admitted |= names
    # a name may be that of somebody who left, and of somebody who has it now
    return frozenset(refused - admitted)


def _of_all_but_tokens(authenticator: Authenticator, grants: Grants) -> Iterator[Right]:
    """Yield all rights but those of API tokens, also those that hold in another index alone."""
    yield from _of_everybody(authenticator)
    yield from _of_grants(grants)
    yield from _of_credentials(authenticator)


def _of_everybody(authenticator: Authenticator) -> Iterator[Right]:
    """Yield what settings and the index itself give to callers whom no grant names."""
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
        nothing = Scope(Action(0), (access.EVERY_PROJECT,), authenticator.access_tokens.indexes)
        yield Right("whoever Google allows it", frozenset(), nothing, reason, kind="google")


def _of_grants(grants: Grants) -> Iterator[Right]:
    """Yield a right for each principal and each group of a grant."""
    for grant in grants.all:
        for who in sorted(grant.who):
            members = expand((who,), grants.groups)
            # `anonymous` has no right while `access.private` is set
            if not who.startswith(_OF_THEIR_OWN) and members <= grant.principals:
                # a group may name a token or a publisher, to which a grant gives nothing
                people = frozenset(name for name in members if not name.startswith(_OF_THEIR_OWN))
                source = f"grant {grant.id}"
                yield Right(who, people, grant.scope, source, grant.note, id=grant.id)


def _of_credentials(authenticator: Authenticator) -> Iterator[Right]:
    """Yield the rights of static tokens and publishers."""
    # their scopes are their own, so no grant shows them
    static_tokens = authenticator.static_tokens
    expired = static_tokens.expired()
    for token in static_tokens.all().values():
        principal = token.identity.principal
        if principal in expired:
            continue
        for scope in token.identity.scopes:
            yield Right(principal, frozenset({principal}), scope, "static token", kind="static")
    for publisher in _publishers(authenticator):
        keys = to_builtins(publisher.table)  # without those that are not set
        keys_of_job = {key: value for key, value in keys.items() if key not in _OF_SCOPE}
        yield Right(
            publisher.principal,
            frozenset({publisher.principal}),
            publisher.scope,
            "trusted publisher",
            PUBLISHER_KIND.describe_keys(keys_of_job),
            kind="publisher",
            id=publisher.id,
        )


def _publishers(authenticator: Authenticator) -> tuple[Publisher, ...]:
    """Return the trusted publishers in force."""
    service = authenticator.trusted_publishing
    if service is None:
        return ()
    return service.publishers.load().all


def _of_tokens(authenticator: Authenticator, records: Iterable[TokenRecord]) -> Iterator[Right]:
    """Yield the rights of the active ones of some API tokens, as they are in this index now."""
    now = authenticator.tokens.runtime.now()
    public = authenticator.policy.public()
    for record in records:
        if record.state(now) != "active":
            continue
        owner = ""
        if record.owner:
            owner = f" of {record.owner}, inside the rights of its owner"
        source = f"API token{owner}, until {record.expires_at:%Y-%m-%d}"
        principal = f"token:{record.id}"
        # a token has none if its publisher or its owner is gone
        with suppress(Unauthenticated):
            for scope in authenticator.caller_for_token(record).scopes:
                # everybody has those, and they are in the list as theirs
                if scope not in public:
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
    """Whom `access explain` is asked about."""

    principals: frozenset[str]
    """All principals by which rights can name it."""
    state: str = "active"
    """The state of a token: `active`, `expired`, `revoked` ..."""
    records: tuple[TokenRecord, ...] = ()
    """The record of an API token."""


class ExplainedRight(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A right that somebody who is asked about has, or nearly has."""

    kind: RightKind
    id: str = ""
    """Of the grant, the token or the publisher, or the name of the setting or the index."""
    source: str
    """What gives the right, in words."""
    who: str
    """A principal or a group, as in a grant, or words such as `everybody`."""
    may: str
    """What may be done to which projects in which indexes, in words."""
    note: str = ""
    members: tuple[str, ...] = ()
    """Which of the principals that are asked about are in the group."""
    but: str = ""
    """Why the right changes nothing for whom is asked about. Empty if it is why they may."""
    is_for_others: bool = False
    """Whether it is for another principal."""

    @property
    def text(self) -> str:
        """The right as a sentence, with principals as they are written."""
        note = f" ({self.note})" if self.note else ""
        if self.is_for_others:
            return f"{self.source}{note} is for {self.who}: {self.but}"
        limit = f", {self.but}" if self.but else ""
        clauses = [f"{self.source}: {self.who} may {self.may}{note}{limit}"]
        clauses += [f"{member} is in {self.who}" for member in self.members]
        return "; ".join(clauses)


def _explained(right: Right, members: tuple[str, ...] = (), but: str = "") -> ExplainedRight:
    """Return a right as the answer has it, with what is said of it there."""
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
    """What limits a yes, or other principals of the caller that would change a no."""
    rights: tuple[ExplainedRight, ...] = ()
    """Those that the reasons of a yes, or the hints of a no, are about, in the same order."""
    grant_helps: bool = False
    """Whether a grant would change a no."""


def parse_subject(text: str, authenticator: Authenticator) -> AccessSubject:
    """
    Return the AccessSubject for principals, separated by commas, or for one `token:ID`.

    Raises Invalid (code `bad_setting`) for text that is not a principal, or a token with others
    beside it, and NotFound for an unknown token. Raises Unavailable if the record of the token, the
    records of people, or the grants cannot be read.
    """
    principals = parse_principals(text)
    kind, _, name = principals[0].partition(":")
    if kind == "token":
        if len(principals) > 1:
            message = "A token has its own rights alone. Ask about it without other principals."
            raise Invalid(message, code="bad_setting")
        record = authenticator.tokens.records.get_for_update(name).value
        assert record is not None  # noqa: S101 - `get_for_update` raises for none
        state = authenticator.owners.state(record)
        try:
            authenticator.caller_for_token(record)
        except Unauthenticated:
            if record.publishers:
                state = "of a publisher that is gone"
        return AccessSubject(frozenset({f"token:{record.id}", access.ANONYMOUS}), state, (record,))
    people, state = _people(principals, authenticator.owners)

    # as for a caller: rights of `anonymous` and of all who are authenticated count, too
    names = with_implied(principals)
    for person in people:
        names |= person.principals
    if any(principal.startswith(PASSWORD) for principal in principals):
        names |= {PASSWORD_USERS}
    if authenticator.policy.access.load().ending_of(names) is not None:
        state = "ended by hand"
    elif any(_has_no_line(principal, authenticator) for principal in principals):
        state = "without a line"
    return AccessSubject(names, _state_of_credentials(principals, authenticator) or state)


def _state_of_credentials(principals: list[str], authenticator: Authenticator) -> str:
    """Return why a static token or a publisher is refused, or an empty text if none is."""
    static_tokens = authenticator.static_tokens.all().values()
    tokens = {token.identity.principal for token in static_tokens}
    expired = authenticator.static_tokens.expired()
    publishers = {publisher.principal for publisher in _publishers(authenticator)}
    for name in principals:
        if name.startswith("publisher:") and name not in publishers:
            return "of no publisher"
    if not expired.isdisjoint(principals):
        return "expired"
    for name in principals:
        if name.startswith("static:") and name not in tokens:
            return "of no static token"
    return ""


def _has_no_line(principal: str, authenticator: Authenticator) -> bool:
    """Return whether the htpasswd file is there, and has no line for this principal."""
    htpasswd = authenticator.htpasswd
    if htpasswd is None or not principal.startswith(PASSWORD):
        return False
    return not htpasswd.line_of(principal.removeprefix(PASSWORD))


def _people(principals: list[str], owners: TokenOwners) -> tuple[list[Person], str]:
    """Return who of a provider has these principals as names, and the state of that subject."""
    names = {name for name in principals if name.startswith(PROVIDER) and _GROUP not in name}
    if not names:
        return [], "active"
    # a principal of a provider is oidc, its name in the settings, and the name of the person
    if not any(name.split(":")[1] in owners.providers for name in names):
        return [], "of no provider"
    people = list[Person]()
    for person in owners.people.all():
        if not names.isdisjoint({person.principal, f"{person.principal}#{person.id}"}):
            people.append(person)
    admitted = [person for person in people if person.ended_at is None]
    active = [person for person in admitted if person.refused_at is None]
    # of whom there is no record, nobody can say more than that grants may name them
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

    `private_patterns` are those of `access.private_names`. `may_be_public` says whether there is an
    upstream index, and the name is not private. Raises Unavailable if the grants, the publishers or
    the list of indexes, or the record of an owner, cannot be read.
    """
    all_rights = rights(authenticator, subject.records)

    # the order of these answers is that of the checks of a request (`ReadPolicy`)
    if subject.state != "active":
        why = _STATES.get(subject.state) or f"the token is {subject.state}"
        return AccessExplanation(allowed=False, reasons=(f"401, because {why}",))
    own = [right for right in all_rights if not right.principals.isdisjoint(subject.principals)]
    permitting = [right for right in all_rights if right.scope.permits(action, project)]
    reasons = tuple(_reasons(subject.principals, [right for right in permitting if right in own]))
    if reasons:
        return _allowed(subject, action, reasons)
    is_private_name = access.matches_any(private_patterns, project)
    is_public_name = may_be_public and not is_private_name
    if action is Action.READ and is_public_name and _reads_anything(subject, own):
        who = "whoever may read or approve anything"
        reason = f"the name is not private, and {who} may read public packages"
        return AccessExplanation(allowed=True, reasons=(reason,))
    hints = list(_hints(subject.principals, permitting))
    hints += _elsewhere(subject, action, project, authenticator)
    is_anonymous = subject.principals == {access.ANONYMOUS}
    has_own_rights = any(name.startswith(_OF_THEIR_OWN) for name in subject.principals)
    return AccessExplanation(
        allowed=False,
        reasons=(_response(action, is_anonymous=is_anonymous, is_private_name=is_private_name),),
        hints=tuple(right.text for right in hints),
        rights=tuple(hints),
        # no grant gives anything to a token or a publisher, and `anonymous` can only read
        grant_helps=not has_own_rights and (action is Action.READ or not is_anonymous),
    )


def _allowed(
    subject: AccessSubject, action: Action, reasons: tuple[ExplainedRight, ...]
) -> AccessExplanation:
    """Return the explanation that a subject may do an action, by these rights."""
    hints = list[str]()
    if action is Action.ADMIN and any(record.owner for record in subject.records):
        hints.append("a token of somebody makes no token, and changes no grant and no person")
    texts = tuple(right.text for right in reasons)
    return AccessExplanation(allowed=True, reasons=texts, hints=tuple(hints), rights=reasons)


def _reads_anything(subject: AccessSubject, own: Iterable[Right]) -> bool:
    """Return whether a subject may read all public packages, as no grant names them."""
    if subject.principals == {access.ANONYMOUS}:
        return False
    return any(right.scope.actions & (Action.READ | Action.APPROVE) for right in own)


def _response(action: Action, *, is_anonymous: bool, is_private_name: bool) -> str:
    """Return what a caller gets who may not do an action, in words."""
    if is_anonymous:
        return "401, as everybody is asked who they are"
    if action is not Action.READ:
        return "403, whether or not the project exists"
    if is_private_name:
        return "403, because the name matches access.private_names"
    return "404, as for a project that does not exist"


def _elsewhere(
    subject: AccessSubject, action: Action, project: NormalizedName, authenticator: Authenticator
) -> Iterator[ExplainedRight]:
    """Yield each grant and credential that would permit the action, and does not hold here."""
    policy = authenticator.policy
    elsewhere = list[Right]()
    for record in subject.records:
        # what a job's token may do is that of its publisher, which is in the list below
        if not record.publishers:
            token = Right(
                f"token:{record.id} ({record.name})",
                subject.principals,
                record.scope,
                "API token",
                kind="token",
                id=record.id,
            )
            elsewhere.append(token)
    elsewhere += _of_all_but_tokens(authenticator, policy.access.load())
    but = f"and not in {access.describe_indexes((policy.index,))}"
    for right in elsewhere:
        is_own = not right.principals.isdisjoint(subject.principals)
        holds_here = right.scope.holds_in(policy.index)
        if is_own and not holds_here and right.scope.permits(action, project):
            yield _explained(right, but=but)


def _reasons(principals: frozenset[str], own: Iterable[Right]) -> Iterator[ExplainedRight]:
    """Yield the rights that allow the action, with the members of their groups."""
    for right in own:
        members = list[str]()
        if right.who.startswith("group:"):
            members = sorted(right.principals & principals)
        yield _explained(right, tuple(members))


def _hints(principals: frozenset[str], permitting: Iterable[Right]) -> Iterator[ExplainedRight]:
    """Yield the rights that others have, by principals much like those that are asked about."""
    for right in permitting:
        for granted in sorted(right.principals):
            for own in sorted(principals):
                hint = _hint(own, granted)
                if hint:
                    yield replace(_explained(right, but=hint), who=granted, is_for_others=True)


def _hint(own: str, granted: str) -> str:
    """Return advice why a grant to `granted` is not one to `own`, or "" if they are unrelated."""
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
    """Return advice why a grant is not one to this person or group of a provider, or ""."""
    _, provider, name = own.split(":", 2)
    if granted == f"user:{name}":
        return f"that is for Google's own ID tokens, and not for who signs in with {provider}"
    if granted.startswith(PROVIDER) and granted.split(":", 2)[2] == name:
        return "that is another provider"
    if not granted.startswith(f"{PROVIDER}{provider}{_GROUP}"):
        return ""
    if _GROUP not in own:
        return f"ask for {own},{granted}, if the provider says so since the last sign-in"
    if granted.casefold() == own.casefold():
        return "upper and lower case count in the names of groups"
    return ""
