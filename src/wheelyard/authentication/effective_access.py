"""Who may do what to one project, and why: from the settings, the store and each credential."""

from collections.abc import Iterable, Iterator
from functools import reduce
from operator import or_

from packaging.utils import NormalizedName

from wheelyard.authentication.authenticator import Authenticator
from wheelyard.model.access import ANONYMOUS, ANYONE_READS, AccessEntry, Action, Scope, matches_any
from wheelyard.model.grants import Grants, describe_projects, groups_in
from wheelyard.model.token import TokenRecord


def effective_access(
    project: NormalizedName, authenticator: Authenticator, records: Iterable[TokenRecord]
) -> list[AccessEntry]:
    """
    Return who may do what to a project, which need not exist; most rights first.

    `records` are those of all API tokens. Tokens of CI jobs live for minutes, so only their
    publishers are in it. Raise Unavailable if the grants of the store cannot be read.
    """
    grants = authenticator.policy.access.load()
    entries = (
        *_of_everybody(project, authenticator, grants),
        *_of_grants(project, grants),
        *_of_static_tokens(project, authenticator),
        *_of_publishers(project, authenticator),
        *_of_tokens(project, authenticator, grants, records),
    )
    return sorted(entries, key=lambda each: -each.actions)


def _of_everybody(
    project: NormalizedName, authenticator: Authenticator, grants: Grants
) -> Iterator[AccessEntry]:
    policy = authenticator.policy
    from_grants = grants.scopes_of((ANONYMOUS,))
    for scope in policy.public:
        if scope in from_grants or not _actions((scope,), project):
            continue
        reason = "[access] anonymous_uploads is set"
        if scope == ANYONE_READS:
            reason = "there is no [[grant]], and [access] private is not set"
        yield AccessEntry("everybody", scope.actions, reason)
    if policy.htpasswd_scope is not None and authenticator.htpasswd is not None:
        reason = "there is no [[grant]]"
        yield AccessEntry("every name of the htpasswd file", policy.htpasswd_scope.actions, reason)
    if authenticator.access_tokens is not None:
        yield AccessEntry(
            "whoever Google allows it",
            Action(0),
            "[google.access_token] is set: the IAM policy of its bucket decides",
        )


def _of_grants(project: NormalizedName, grants: Grants) -> Iterator[AccessEntry]:
    for grant in grants.all:
        actions = _actions((grant.scope,), project)
        source = "in the store" if grant.id.startswith("g") else "of the settings"
        note = f"; {grant.note}" if grant.note else ""
        for who in sorted(grant.who) if actions else ():
            names = groups_in((who,))
            members = {member for name in names for member in grants.groups.get(name, ())}
            yield AccessEntry(
                who,
                actions,
                f"grant {grant.id} {source}",
                tuple(sorted(members)),
                f"{describe_projects(grant.scope.projects)}{note}",
            )


def _of_static_tokens(
    project: NormalizedName, authenticator: Authenticator
) -> Iterator[AccessEntry]:
    tokens = authenticator.static_tokens
    for identity in tokens.identities:
        actions = _actions(identity.scopes, project)
        if actions and identity.principal not in tokens.expired:
            details = ", ".join(describe_projects(scope.projects) for scope in identity.scopes)
            yield AccessEntry(identity.principal, actions, "static token", details=details)


def _of_publishers(project: NormalizedName, authenticator: Authenticator) -> Iterator[AccessEntry]:
    service = authenticator.trusted_publishing
    for publisher in service.publishers if service else ():
        if actions := _actions((publisher.scope,), project):
            details = describe_projects(publisher.scope.projects)
            yield AccessEntry(publisher.principal, actions, "trusted publisher", details=details)


def _of_tokens(
    project: NormalizedName,
    authenticator: Authenticator,
    grants: Grants,
    records: Iterable[TokenRecord],
) -> Iterator[AccessEntry]:
    now = authenticator.tokens.runtime.now()
    for record in records:
        if record.publishers or record.state(now) != "active":
            continue
        caller = authenticator.caller_for_token(record, grants)
        public = authenticator.policy.public
        actions = _actions((each for each in caller.scopes if each not in public), project)
        if actions:
            owner = f" of {record.owner}, inside the rights of its owner" if record.owner else ""
            yield AccessEntry(
                f"{caller.principal} ({record.name})",
                actions,
                f"API token{owner}, until {record.expires_at:%Y-%m-%d}",
                details=describe_projects(record.projects),
            )


def _actions(scopes: Iterable[Scope], project: NormalizedName) -> Action:
    found = (each.actions for each in scopes if matches_any(each.projects, project))
    return reduce(or_, found, Action(0))
