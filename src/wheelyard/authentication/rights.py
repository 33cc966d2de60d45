"""
The rights that an index gives: one list of who may do what to which projects, and from where.

`access explain` and the access pages only filter it. What a caller may do is decided by its scopes
(`authorization.py`), and a test compares the two.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain
from typing import Final, Literal

from msgspec import Struct, to_builtins
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.authentication.authenticator import Authenticator
from wheelyard.authentication.known_people import KnownPeople
from wheelyard.authentication.token_owners import TokenOwners
from wheelyard.errors import Unauthenticated
from wheelyard.model.access import (
    ANONYMOUS,
    EVERY_PROJECT,
    PASSWORD,
    PROVIDER,
    AccessEntry,
    Action,
    Pattern,
    Scope,
    describe_indexes,
    describe_principal,
    describe_projects,
    describe_scope,
    matches_any,
)
from wheelyard.model.api_token import TokenRecord
from wheelyard.model.grants import (
    Grants,
    expand,
    parse_principals,
    with_implied,
)
from wheelyard.model.person import Person
from wheelyard.model.stored_publishers import PUBLISHER_KIND

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


RightKind = Literal["grant", "token", "static", "publisher", "setting", "index", "google"]
"""What gives a right: `google` is a bucket's IAM policy."""


class Right(Struct, frozen=True):
    """A scope that somebody has, and what gives it to them."""

    who: str
    """A principal or a group, as in a grant; or words, such as `everybody`."""
    principals: frozenset[str]
    """The principals that have it: the members of a group."""
    scope: Scope
    source: str
    """What gives the right, in words; it names no project."""
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
        return self.source.replace(self.owner, describe_principal(self.owner), 1)


def rights(
    authenticator: Authenticator,
    records: Iterable[TokenRecord] = (),
    *,
    in_every_index: bool = False,
) -> list[Right]:
    """
    Return all rights that the index gives, of API tokens those of the active ones of `records`.

    With `in_every_index`, grants and credentials that name another index are there as well.

    Raises Unavailable if the grants of the store cannot be read.
    """
    policy = authenticator.policy
    grants = policy.access.load()
    given = _of_all_but_tokens(authenticator, grants)
    return [
        *(right for right in given if in_every_index or right.scope.holds_in(policy.index)),
        *_of_tokens(authenticator, records),
    ]


def effective_access(
    project: NormalizedName, authenticator: Authenticator, records: Iterable[TokenRecord]
) -> list[AccessEntry]:
    """
    Return who may do what to a project, which need not exist, sorted by rights, most rights first.

    `records` are those of all API tokens. Tokens of CI jobs live for minutes, so only their
    publishers are in it. People who may not use the index any more are left out. Raises Unavailable
    if the grants of the store, or the records of people, cannot be read.
    """
    entries, refused = dict[tuple[str, str], AccessEntry](), _refused(authenticator)
    for right in rights(authenticator, (record for record in records if not record.publishers)):
        is_used = right.who != PASSWORD_USERS or authenticator.htpasswd is not None
        # a project of this index is nothing to approve
        is_used &= right.scope.actions != Action.APPROVE
        is_used &= right.who not in refused
        if not is_used or not matches_any(right.scope.projects, project):
            continue
        # one row for all scopes that the same source gives to the same principal
        key, details = (right.who, right.source), describe_projects(right.scope.projects)
        before = entries.get(key)
        details_before = before.details.split("; ") if before else ()
        entries[key] = AccessEntry(
            right.who,
            right.scope.actions & ~Action.APPROVE | (before.actions if before else Action(0)),
            right.source_on_page,
            tuple(sorted(right.principals - refused)) if right.who.startswith("group:") else (),
            "; ".join(dict.fromkeys(filter(None, (*details_before, details, right.note)))),
        )
    return sorted(entries.values(), key=lambda entry: -entry.actions)


def _refused(authenticator: Authenticator) -> frozenset[str]:
    """Return the principals of people who were ended or are gone, and that nobody else has."""
    people = KnownPeople(authenticator=authenticator).all()
    refused, others = set[str](), set[str]()
    for person in people:
        names = refused if person.state in {"ended", "gone"} else others
        names |= {person.principal, person.who}
    return frozenset(refused - others)


def _of_all_but_tokens(authenticator: Authenticator, grants: Grants) -> Iterator[Right]:
    """Yield all rights but those of API tokens, also those that hold in another index alone."""
    yield from _of_everybody(authenticator)
    yield from _of_grants(grants)
    yield from _of_credentials(authenticator)


def _of_everybody(authenticator: Authenticator) -> Iterator[Right]:
    policy = authenticator.policy
    for scope in policy.open:
        everybody = Right(
            "everybody",
            frozenset({ANONYMOUS}),
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
        nothing = Scope(Action(0), (EVERY_PROJECT,), authenticator.access_tokens.indexes)
        yield Right("whoever Google allows it", frozenset(), nothing, reason, kind="google")


def _of_grants(grants: Grants) -> Iterator[Right]:
    for grant in grants.all:
        for who in sorted(grant.who):
            members = expand((who,), grants.groups)
            # `anonymous` has no right while `access.private` is set
            if not who.startswith(_OF_THEIR_OWN) and members <= grant.principals:
                others = frozenset(name for name in members if not name.startswith(_OF_THEIR_OWN))
                source = f"grant {grant.id}"
                yield Right(who, others, grant.scope, source, grant.note, id=grant.id)


def _of_credentials(authenticator: Authenticator) -> Iterator[Right]:
    """Yield the rights of static tokens and publishers."""
    # their scopes are their own, so no grant shows them
    tokens, service = authenticator.static_tokens, authenticator.trusted_publishing
    expired = tokens.expired()
    for identity in (token.identity for token in tokens.all().values()):
        if identity.principal not in expired:
            who = frozenset({identity.principal})
            for scope in identity.scopes:
                yield Right(identity.principal, who, scope, "static token", kind="static")
    for publisher in service.publishers.load().all if service else ():
        who = frozenset({publisher.principal})
        keys = to_builtins(publisher.table)  # without those that are not set
        job = PUBLISHER_KIND.describe_keys({key: keys[key] for key in keys if key not in _OF_SCOPE})
        yield Right(
            publisher.principal,
            who,
            publisher.scope,
            "trusted publisher",
            job,
            kind="publisher",
            id=publisher.id,
        )


def _of_tokens(authenticator: Authenticator, records: Iterable[TokenRecord]) -> Iterator[Right]:
    now, public = authenticator.tokens.runtime.now(), authenticator.policy.public()
    for record in records:
        if record.state(now) != "active":
            continue
        owner = f" of {record.owner}, inside the rights of its owner" if record.owner else ""
        source = f"API token{owner}, until {record.expires_at:%Y-%m-%d}"
        principal = f"token:{record.id}"
        with suppress(Unauthenticated):  # its publisher is gone
            for scope in authenticator.caller_for_token(record).scopes:
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
    """A principal or a group, as in a grant; or words, such as `everybody`."""
    may: str
    """What may be done to which projects in which indexes, in words."""
    note: str = ""
    members: tuple[str, ...] = ()
    """Which of the principals that are asked about are in the group."""
    but: str = ""
    """Why the right changes nothing for whom is asked about; empty if it is why they may."""
    is_for_others: bool = False
    """Whether it is for another principal."""

    @property
    def text(self) -> str:
        """The right as a sentence, with principals as they are written."""
        note = f" ({self.note})" if self.note else ""
        if self.is_for_others:
            return f"{self.source}{note} is for {self.who}: {self.but}"
        right = f"{self.source}: {self.who} may {self.may}{note}"
        limit = f", {self.but}" if self.but else ""
        return "; ".join(
            (f"{right}{limit}", *(f"{member} is in {self.who}" for member in self.members))
        )


def _explained(right: Right, members: tuple[str, ...] = (), but: str = "") -> ExplainedRight:
    return ExplainedRight(
        kind=right.kind,
        id=right.id,
        source=right.source,
        who=right.who,
        may=describe_scope(right.scope),
        note=right.note,
        members=members,
        but=but,
    )


class AccessExplanation(Struct, frozen=True):
    """The answer of `access explain`: whether access is allowed, and why."""

    allowed: bool
    reasons: tuple[str, ...]
    """If allowed, each sufficient reason; otherwise the response that the caller gets, and why."""
    hints: tuple[str, ...] = ()
    """What limits a yes, or other principals of the caller that would change a no."""
    rights: tuple[ExplainedRight, ...] = ()
    """Those that the reasons of a yes, or the hints of a no, are about, in the same order."""
    grant_helps: bool = False
    """Whether a grant would change a no."""


def parse_subject(text: str, authenticator: Authenticator) -> AccessSubject:
    """
    Return the AccessSubject for principals, separated by commas, or for one `token:ID`.

    Raises Invalid for text that is not a principal, and NotFound for an unknown token. Raises
    Unavailable if the record of the token, or the grants of its owner, cannot be read.
    """
    principals = parse_principals(text)
    kind, _, name = principals[0].partition(":")
    if kind == "token":
        record = authenticator.tokens.records.get_for_update(name).value
        assert record is not None  # noqa: S101 - `get_for_update` raises for none
        state = authenticator.owners.state(record)
        try:
            authenticator.caller_for_token(record)
        except Unauthenticated:
            if record.publishers:
                state = "of a publisher that is gone"
        return AccessSubject(frozenset({f"token:{record.id}", ANONYMOUS}), state, (record,))
    people, state = _people(principals, authenticator.owners)
    # as for a caller: rights of `anonymous` and of all who are authenticated count, too
    names = with_implied(principals).union(*(person.principals for person in people))
    if any(principal.startswith(PASSWORD) for principal in principals):
        names |= {PASSWORD_USERS}
    if authenticator.policy.access.load().ending_of(names) is not None:
        state = "ended by hand"
    elif any(_has_no_line(principal, authenticator) for principal in principals):
        state = "without a line"
    static = {token.identity.principal for token in authenticator.static_tokens.all().values()}
    if any(name.startswith("static:") and name not in static for name in principals):
        state = "of no static token"
    if not authenticator.static_tokens.expired().isdisjoint(principals):
        state = "expired"
    service = authenticator.trusted_publishing
    publishers = service.publishers.load().all if service else ()
    in_force = {publisher.principal for publisher in publishers}
    if any(name.startswith("publisher:") and name not in in_force for name in principals):
        state = "of no publisher"
    return AccessSubject(names, state)


def _has_no_line(principal: str, authenticator: Authenticator) -> bool:
    """Return whether the htpasswd file is there, and has no line for this principal."""
    htpasswd = authenticator.htpasswd
    if htpasswd is None or not principal.startswith(PASSWORD):
        return False
    return not htpasswd.line_of(principal.removeprefix(PASSWORD))


def _people(principals: list[str], owners: TokenOwners) -> tuple[list[Person], str]:
    """Return who of a provider has these principals as names, and the state of that subject."""
    wanted = {name for name in principals if name.startswith(PROVIDER) and _GROUP not in name}
    if not wanted:
        return [], "active"
    if not any(name.split(":")[1] in owners.providers for name in wanted):
        return [], "of no provider"
    people = [
        person
        for person in owners.people.all()
        if not wanted.isdisjoint({person.principal, f"{person.principal}#{person.id}"})
    ]
    left = [person for person in people if person.ended_at is None]
    active = [person for person in left if person.refused_at is None]
    if active or not people:
        return active, "active"
    return left, "refused by the provider" if left else "ended by hand"


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

    `may_be_public` says whether there is an upstream index, and the name is not private. Raises
    Unavailable if the grants of the store cannot be read.
    """
    # the order of these answers is that of the checks of a request (`ReadPolicy`)
    all_rights = rights(authenticator, subject.records)
    own = [right for right in all_rights if not right.principals.isdisjoint(subject.principals)]
    fit = [right for right in all_rights if right.scope.permits(action, project)]
    is_private_name = matches_any(private_patterns, project)
    is_anonymous = subject.principals == {ANONYMOUS}
    reads = Action.READ | Action.APPROVE
    reads_anything = not is_anonymous and any(right.scope.actions & reads for right in own)
    if subject.state != "active":
        why = _STATES.get(subject.state) or f"the token is {subject.state}"
        return AccessExplanation(allowed=False, reasons=(f"401, because {why}",))
    if given := tuple(_reasons(subject.principals, [right for right in fit if right in own])):
        is_owned = action is Action.ADMIN and any(record.owner for record in subject.records)
        limit = "a token of somebody makes no token, and changes no grant and no person"
        reasons = tuple(right.text for right in given)
        hints = (limit,) if is_owned else ()
        return AccessExplanation(allowed=True, reasons=reasons, hints=hints, rights=given)
    if action is Action.READ and reads_anything and may_be_public and not is_private_name:
        who = "whoever may read or approve anything"
        reason = f"the name is not private, and {who} may read public packages"
        return AccessExplanation(allowed=True, reasons=(reason,))
    if is_anonymous:
        response = "401, as everybody is asked who they are"
    elif action is not Action.READ:
        response = "403, whether or not the project exists"
    elif is_private_name:
        response = "403, because the name matches access.private_names"
    else:
        response = "404, as for a project that does not exist"
    near = tuple(
        chain(_hints(subject.principals, fit), _elsewhere(subject, action, project, authenticator))
    )
    has_own_rights = any(name.startswith(_OF_THEIR_OWN) for name in subject.principals)
    return AccessExplanation(
        allowed=False,
        reasons=(response,),
        hints=tuple(right.text for right in near),
        rights=near,
        grant_helps=not has_own_rights and (action is Action.READ or not is_anonymous),
    )


def _elsewhere(
    subject: AccessSubject, action: Action, project: NormalizedName, authenticator: Authenticator
) -> Iterator[ExplainedRight]:
    """Yield each grant and credential that would do, and does not hold here."""
    policy = authenticator.policy
    tokens = (
        Right(
            f"token:{record.id} ({record.name})",
            subject.principals,
            record.scope,
            "API token",
            kind="token",
            id=record.id,
        )
        for record in subject.records
        if not record.publishers
    )
    but = f"and not in {describe_indexes((policy.index,))}"
    for right in (*tokens, *_of_all_but_tokens(authenticator, policy.access.load())):
        is_own = not right.principals.isdisjoint(subject.principals)
        is_elsewhere = not right.scope.holds_in(policy.index)
        if is_own and is_elsewhere and right.scope.permits(action, project):
            yield _explained(right, but=but)


def _reasons(principals: frozenset[str], own: Iterable[Right]) -> Iterator[ExplainedRight]:
    for right in own:
        members = sorted(right.principals & principals) if right.who.startswith("group:") else ()
        yield _explained(right, tuple(members))


def _hints(principals: frozenset[str], fit: Iterable[Right]) -> Iterator[ExplainedRight]:
    for right in fit:
        for wanted in sorted(right.principals):
            for own in sorted(principals):
                if hint := _hint(own, wanted):
                    yield replace(_explained(right, but=hint), who=wanted, is_for_others=True)


def _hint(own: str, wanted: str) -> str:
    """Return advice why a grant to `wanted` is not one to `own`, or "" if they are not related."""
    kind, _, address = own.partition(":")
    if wanted.startswith(f"{own}#") and kind in {"serviceAccount", "oidc"}:
        return "ask for it so, if that is the account's unique id"
    if kind == "oidc" and "#" not in own:
        return _hint_for_person(own, wanted)
    if kind == "user" and wanted == f"domain:{address.rpartition('@')[2]}":
        return f"ask for {own},{wanted}, if that is the Workspace domain of the account"
    if kind == "user" and _UNIQUE_ID.sub("", wanted) == f"serviceAccount:{address}":
        return "a service account is no user"
    return ""


def _hint_for_person(own: str, wanted: str) -> str:
    """Return advice as `_hint` for a person or a group of a provider."""
    _, provider, name = own.split(":", 2)
    is_group = _GROUP in own
    if wanted == f"user:{name}":
        return f"that is for Google's own ID tokens, and not for who signs in with {provider}"
    if wanted.startswith(PROVIDER) and wanted.split(":", 2)[2] == name:
        return "that is another provider"
    if wanted.startswith(f"{PROVIDER}{provider}{_GROUP}"):
        if is_group:
            is_like = wanted.casefold() == own.casefold()
            return "upper and lower case count in the names of groups" if is_like else ""
        return f"ask for {own},{wanted}, if the provider says so since the last sign-in"
    return ""
