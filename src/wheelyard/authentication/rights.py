"""
The rights that an index gives: one list of who may do what to which projects, and from where.

`explain` and the access pages only filter it. What a caller may do is decided by its scopes
(`authorization.py`), and a test compares the two.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.authentication.authenticator import Authenticator
from wheelyard.errors import Unauthenticated
from wheelyard.model.access import (
    ANONYMOUS,
    ANYONE_READS,
    EVERY_PROJECT,
    AccessEntry,
    Action,
    Scope,
    matches_any,
)
from wheelyard.model.grants import Grants, describe_actions, describe_projects, expand
from wheelyard.model.token import TokenRecord

PASSWORD_USERS: Final = "every name of the htpasswd file"  # noqa: S105 - words
"""What the rows call users of the htpasswd file, who all have the same scope without a grant."""


class Right(Struct, frozen=True):
    """A scope that somebody has, and what gives it to them."""

    who: str
    """A principal or a group, as in a grant; or words, such as `everybody`."""
    principals: frozenset[str]
    """The principals that have it: the members of a group."""
    scope: Scope
    source: str
    """What gives the right, in words; it names no project."""
    place: str = ""
    """Where a grant is: `of the settings`, or `in the store`."""
    note: str = ""

    def __str__(self) -> str:
        note = f" ({self.note})" if self.note else ""
        projects = describe_projects(self.scope.projects)
        return f"{self.who} may {describe_actions(self.scope.actions)} {projects}{note}"


def rights(authenticator: Authenticator, records: Iterable[TokenRecord] = ()) -> list[Right]:
    """
    Return all rights; of API tokens those of `records` that are active.

    Raise Unavailable if the grants of the store cannot be read.
    """
    grants = authenticator.policy.access.load()
    return [
        *_of_everybody(authenticator, grants),
        *_of_grants(grants),
        *_of_credentials(authenticator),
        *_of_tokens(authenticator, grants, records),
    ]


def effective_access(
    project: NormalizedName, authenticator: Authenticator, records: Iterable[TokenRecord]
) -> list[AccessEntry]:
    """
    Return who may do what to a project, which need not exist; most rights first.

    `records` are those of all API tokens. Tokens of CI jobs live for minutes, so only their
    publishers are in it. Raises as `rights`.
    """
    entries = dict[tuple[str, str], AccessEntry]()
    for right in rights(authenticator, (each for each in records if not each.publishers)):
        is_used = right.who != PASSWORD_USERS or authenticator.htpasswd is not None
        if not is_used or not matches_any(right.scope.projects, project):
            continue
        key, details = (right.who, right.source), describe_projects(right.scope.projects)
        before = entries.get(key)
        entries[key] = AccessEntry(
            right.who,
            right.scope.actions | (before.actions if before else Action(0)),
            f"{right.source} {right.place}".rstrip(),
            tuple(sorted(right.principals)) if right.who.startswith("group:") else (),
            "; ".join(filter(None, (before.details if before else "", details, right.note))),
        )
    return sorted(entries.values(), key=lambda entry: -entry.actions)


def _of_everybody(authenticator: Authenticator, grants: Grants) -> Iterator[Right]:
    policy = authenticator.policy
    from_grants = grants.scopes_of((ANONYMOUS,))
    for scope in policy.public:
        if scope not in from_grants:
            reason = "access.anonymous_uploads is set"
            if scope == ANYONE_READS:
                reason = "there is no [[grant]], and access.private is not set"
            yield Right("everybody", frozenset({ANONYMOUS}), scope, reason)
    if policy.htpasswd_scope is not None:
        users = frozenset({PASSWORD_USERS})
        yield Right(PASSWORD_USERS, users, policy.htpasswd_scope, "there is no [[grant]]")
    if authenticator.access_tokens is not None:
        reason = "google.access_token.resource is set: the IAM policy of its bucket decides"
        nothing = Scope(Action(0), (EVERY_PROJECT,))
        yield Right("whoever Google allows it", frozenset(), nothing, reason)


def _of_grants(grants: Grants) -> Iterator[Right]:
    for grant in grants.all:
        source, place = f"grant {grant.id}", "in the store"
        if not grant.id.startswith("g"):
            place = "of the settings"
        for who in sorted(grant.who):
            principals = expand((who,), grants.groups)
            yield Right(who, principals, grant.scope, source, place, grant.note)


def _of_credentials(authenticator: Authenticator) -> Iterator[Right]:
    """Yield the rights of static tokens and publishers."""
    tokens, service = authenticator.static_tokens, authenticator.trusted_publishing
    expired = tokens.expired()
    for identity in (token.identity for token in tokens.all().values()):
        if identity.principal not in expired:
            who = frozenset({identity.principal})
            for scope in identity.scopes:
                yield Right(identity.principal, who, scope, "static token")
    for publisher in service.publishers if service else ():
        who = frozenset({publisher.principal})
        yield Right(publisher.principal, who, publisher.scope, "trusted publisher")


def _of_tokens(
    authenticator: Authenticator, grants: Grants, records: Iterable[TokenRecord]
) -> Iterator[Right]:
    now, public = authenticator.tokens.runtime.now(), authenticator.policy.public
    for record in records:
        if record.state(now) != "active":
            continue
        owner = f" of {record.owner}, inside the rights of its owner" if record.owner else ""
        source = f"API token{owner}, until {record.expires_at:%Y-%m-%d}"
        principal = f"token:{record.id}"
        with suppress(Unauthenticated):  # its publisher is gone
            for scope in authenticator.caller_for_token(record, grants).scopes:
                if scope not in public:
                    who = f"{principal} ({record.name})"
                    yield Right(who, frozenset({principal}), scope, source)
