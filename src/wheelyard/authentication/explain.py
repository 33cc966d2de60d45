"""The explanation of an access decision, for `wheelyard access explain`."""

import re
from collections.abc import Iterator
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.authentication.authenticator import Authenticator
from wheelyard.errors import Invalid, Unauthenticated, quoted
from wheelyard.model.access import (
    ALL_AUTHENTICATED,
    ANONYMOUS,
    ANYONE_READS,
    Action,
    Caller,
    Identity,
    Pattern,
    Scope,
    matches_any,
)
from wheelyard.model.grants import (
    Grants,
    describe_actions,
    describe_grant,
    describe_projects,
    parse_principal,
)
from wheelyard.model.token import TokenRecord

_SEPARATOR: Final = re.compile(
    rf",\s*(?=(?:user|serviceAccount|domain|htpasswd|static|token|publisher|group):"
    rf"|{ANONYMOUS}\b|{ALL_AUTHENTICATED}\b)"
)
"""The comma between principals; the name of a static token may contain a comma."""
_UNIQUE_ID: Final = re.compile(r"#[0-9]+\Z")
OWNER_PREFIXES: Final = ("user:", "serviceAccount:")
"""The prefixes of principals that can own a token."""


class AccessSubject(Struct, frozen=True):
    """The caller that `access explain` is asked about, and what its credential adds."""

    caller: Caller
    grants: Grants
    """The grants in force."""
    credential_scopes: tuple[Scope, ...] = ()
    """Scopes from the credential itself."""
    credential_label: str = ""
    """A description of `credential_scopes`."""
    state: str = "active"
    """The state of a token: `active`, `expired`, `revoked` ..."""


class AccessExplanation(Struct, frozen=True):
    """The answer of `access explain`: whether access is allowed, and why."""

    allowed: bool
    reasons: tuple[str, ...]
    """If allowed, each sufficient reason; otherwise the response that the caller gets, and why."""
    hints: tuple[str, ...] = ()
    """Other principals that the caller may have, if they would change a no."""


def parse_subject(text: str, authenticator: Authenticator) -> AccessSubject:
    """
    Return the AccessSubject for principals, separated by commas, or for one `token:ID`.

    Raise Invalid for text that is not a principal, NotFound for an unknown token.
    """
    principals = [parse_principal(each.strip()) for each in _SEPARATOR.split(text)]
    first, policy = principals[0], authenticator.policy
    grants = policy.access.load()
    kind, _, name = first.partition(":")
    if kind == "token":
        record = authenticator.tokens.records.get_for_update(name).value
        assert record is not None  # noqa: S101 - `get_for_update` raises for none
        return _token_subject(record, grants, authenticator)
    if principals == [ANONYMOUS]:
        return AccessSubject(Caller(ANONYMOUS, policy.public, frozenset({ANONYMOUS})), grants)
    scopes, label = _credential_scopes(principals, authenticator)
    principal = next((each for each in principals if each.startswith("htpasswd:")), first)
    identity = Identity(principal, frozenset(_with_implied(principals)), scopes)
    caller = policy.authorize(identity, grants)
    if principal in authenticator.static_tokens.expired:
        return AccessSubject(caller, grants, state="expired")
    if kind == "htpasswd" and policy.htpasswd_scope is not None:
        scopes, label = (policy.htpasswd_scope,), "what a password is good for without a [[grant]]"
    return AccessSubject(caller, grants, scopes, label)


def parse_owner(text: str) -> tuple[str, tuple[str, ...]]:
    """
    Return the principal that is to own a token, and all principals by which grants can name it.

    Raise Invalid unless `text` is `user:EMAIL` or `serviceAccount:EMAIL`, perhaps with its domain.
    """
    try:
        principals = [parse_principal(each.strip()) for each in _SEPARATOR.split(text)]
    except Invalid as fault:
        raise Invalid(fault.message, code="invalid_field") from fault
    owners = {_UNIQUE_ID.sub("", each) for each in principals if each.startswith(OWNER_PREFIXES)}
    if len(owners) != 1 or not all(
        each.startswith((*OWNER_PREFIXES, "domain:")) for each in principals
    ):
        raise Invalid(
            f"{quoted(text)} owns no tokens. Write user:EMAIL or serviceAccount:EMAIL, and perhaps "
            "domain:DOMAIN after a comma.",
            code="invalid_field",
        )
    return owners.pop(), tuple(sorted(set(_with_implied(principals))))


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

    `may_be_public`: whether there is an upstream index, and the name is not private.
    """
    is_private_name = matches_any(private_patterns, project)
    caller, hints = subject.caller, _hints(subject, action, project)
    if subject.state != "active":
        response, hints = f"401, because the token is {subject.state}", iter(())
    elif caller.may(action, project):
        reasons = dict.fromkeys(_reasons(subject, action, project, authenticator))
        return AccessExplanation(allowed=True, reasons=tuple(reasons))
    elif (
        action is Action.READ
        and caller.may_read_public_packages
        and may_be_public
        and not is_private_name
    ):
        reason = "the name is not private, and whoever may read anything may read public packages"
        return AccessExplanation(allowed=True, reasons=(reason,))
    elif caller.is_anonymous:
        response = "401, as everybody is asked who they are"
    elif action is not Action.READ:
        response = "403, whether or not the project exists"
    elif is_private_name:
        response = "403, because the name matches [access] private_names"
    else:
        response = "404, as for a project that does not exist"
    return AccessExplanation(allowed=False, reasons=(response,), hints=tuple(hints))


def _reasons(
    subject: AccessSubject, action: Action, project: NormalizedName, authenticator: Authenticator
) -> Iterator[str]:
    policy, principals = authenticator.policy, subject.caller.principals | {ANONYMOUS}
    for grant in subject.grants.granting(principals, action, project):
        ways = (describe_grant(grant), *subject.grants.memberships(grant, principals))
        yield f"grant {grant.id}: {'; '.join(ways)}"
    from_grants = subject.grants.scopes_of((ANONYMOUS,))
    for scope in policy.public:
        if scope not in from_grants and scope.permits(action, project):
            if scope == ANYONE_READS:
                yield "anybody may read: there is no [[grant]], and [access] private is not set"
            else:
                yield "anybody may upload: [access] anonymous_uploads is set"
    for scope in subject.credential_scopes:
        if scope.permits(action, project):
            what = f"{describe_actions(scope.actions)} {describe_projects(scope.projects)}"
            yield f"{subject.credential_label}: {what}"


def _hints(subject: AccessSubject, action: Action, project: NormalizedName) -> Iterator[str]:
    for grant in subject.grants.all:
        if grant.scope.permits(action, project):
            for wanted in sorted(grant.principals):
                for own in sorted(subject.caller.principals):
                    if hint := _hint(own, wanted):
                        yield f"{grant} is for {wanted}: {hint}"


def _hint(own: str, wanted: str) -> str:
    """Return advice why a grant to `wanted` is not one to `own`; empty if they are not related."""
    kind, _, address = own.partition(":")
    if wanted.startswith(f"{own}#") and kind == "serviceAccount":
        return "ask for it so, if that is the account's unique id"
    if kind == "user" and wanted == f"domain:{address.rpartition('@')[2]}":
        return f"ask for {own},{wanted}, if that is the Workspace domain of the account"
    if kind == "user" and _UNIQUE_ID.sub("", wanted) == f"serviceAccount:{address}":
        return "a service account is no user"
    return ""


def _token_subject(
    record: TokenRecord, grants: Grants, authenticator: Authenticator
) -> AccessSubject:
    try:
        caller = authenticator.caller_for_token(record, grants)
    except Unauthenticated:
        nobody = Caller(f"token:{record.id}", ())
        return AccessSubject(nobody, grants, state="of a publisher that is gone")
    scopes = tuple(scope for scope in caller.scopes if scope not in authenticator.policy.public)
    label = "what the token itself is good for"
    if record.owner:
        label = f"what the token is good for, inside the rights of its owner {record.owner}"
    state = record.state(authenticator.tokens.runtime.now())
    return AccessSubject(caller, grants, scopes, label, state)


def _credential_scopes(
    principals: list[str], authenticator: Authenticator
) -> tuple[tuple[Scope, ...], str]:
    """Return scopes and label of the first static token or publisher; both empty without one."""
    for identity in authenticator.static_tokens.identities:
        if identity.principal in principals:
            return identity.scopes, "what the static token itself is good for"
    service = authenticator.trusted_publishing
    for publisher in service.publishers if service else ():
        if publisher.principal in principals:
            return (publisher.scope,), "what the publisher may do"
    return (), ""


def _with_implied(principals: list[str]) -> Iterator[str]:
    """Yield the principals, and those that they imply, such as `anonymous`; some more than once."""
    yield ANONYMOUS
    for principal in principals:
        yield principal
        if principal.startswith("serviceAccount:"):
            yield _UNIQUE_ID.sub("", principal)
        if not principal.startswith("publisher:") and principal != ANONYMOUS:
            yield ALL_AUTHENTICATED
