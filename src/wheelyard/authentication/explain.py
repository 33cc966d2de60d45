"""Why somebody may do something, or what they see if they may not."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from packaging.utils import NormalizedName

from wheelyard.authentication.authenticator import Authenticator
from wheelyard.errors import Unauthenticated
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
    describe_actions,
    describe_grant,
    describe_projects,
    parse_principal,
)
from wheelyard.model.token import TokenRecord

_NEXT: Final = re.compile(
    rf",\s*(?=(?:user|serviceAccount|domain|htpasswd|static|token|publisher|group):"
    rf"|{ANONYMOUS}\b|{ALL_AUTHENTICATED}\b)"
)
"""Where the next principal begins: the name of a static token may have a comma in it."""
_UNIQUE_ID: Final = re.compile(r"#[0-9]+\Z")


@dataclass(frozen=True, slots=True)
class AccessSubject:
    """Whom a question is about."""

    caller: Caller
    credential_scopes: tuple[Scope, ...] = ()
    """What their credential itself allows."""
    credential_description: str = ""
    """What that is called."""
    state: str = "active"
    """Of a token: whether it still opens anything."""


@dataclass(frozen=True, slots=True)
class AccessExplanation:
    """The answer to a question."""

    allowed: bool
    reasons: tuple[str, ...]
    """Each of which is enough; or, if the answer is no, what would be seen, and why."""
    hints: tuple[str, ...] = ()
    """What else they may be called by, if that would change a no."""


def parse_subject(text: str, authenticator: Authenticator) -> AccessSubject:
    """
    Return whom `text` means: principals as a grant writes them, with commas, or one `token:ID`.

    Raises:
        Invalid: It is no principal (code `bad_setting`).
        NotFound: There is no such token.
        Unavailable: The store does not answer.
    """
    every = [parse_principal(each.strip()) for each in _NEXT.split(text)]
    first, rights = every[0], authenticator.policy
    kind, _, name = first.partition(":")
    if kind == "token":
        record = authenticator.tokens.records.latest(name).value
        assert record is not None  # noqa: S101 - `latest` raises for none
        return _bearer(record, authenticator)
    if every == [ANONYMOUS]:
        return AccessSubject(Caller(ANONYMOUS, rights.public, frozenset({ANONYMOUS})))
    own, words = _own(every, authenticator)
    principal = next((each for each in every if each.startswith("htpasswd:")), first)
    caller = rights.authorize(Identity(principal, frozenset(_implied(every)), own))
    if principal in authenticator.static_tokens.expired:
        return AccessSubject(caller, state="expired")
    if kind == "htpasswd" and not rights.grants.all:
        own, words = (rights.htpasswd_scope,), "what a password is good for without a [[grant]]"
    return AccessSubject(caller, own, words)


def explain(
    subject: AccessSubject,
    action: Action,
    project: NormalizedName,
    authenticator: Authenticator,
    private_patterns: tuple[Pattern, ...],
) -> AccessExplanation:
    """Return whether somebody may do `action` to `project`, existing or not, and why."""
    caller = subject.caller
    if subject.state != "active":
        return AccessExplanation(
            allowed=False, reasons=(f"401, because the token is {subject.state}",)
        )
    if caller.may(action, project):
        reasons = dict.fromkeys(
            _reasons(subject, action, project, authenticator)
        )  # each of them once
        return AccessExplanation(allowed=True, reasons=tuple(reasons))
    if caller.is_anonymous:
        seen = "401, as everybody is asked who they are"
    elif action is not Action.READ:
        seen = "403, whether or not the project exists"
    elif matches_any(private_patterns, project):
        seen = "403, because the name matches [access] private_names"
    else:
        seen = "404, as for a project that does not exist"
    hints = tuple(_hints(caller, action, project, authenticator))
    return AccessExplanation(allowed=False, reasons=(seen,), hints=hints)


def _reasons(
    subject: AccessSubject, action: Action, project: NormalizedName, authenticator: Authenticator
) -> Iterator[str]:
    rights = authenticator.policy
    for grant in rights.grants.granting(subject.caller.principals | {ANONYMOUS}, action, project):
        yield f"grant {grant.number}: {describe_grant(grant)}"
    named = rights.grants.scopes_of((ANONYMOUS,))
    for scope in rights.public:
        if scope not in named and scope.permits(action, project):
            if scope == ANYONE_READS:
                yield "anybody may read: there is no [[grant]], and [access] private is not set"
            else:
                yield "anybody may upload: [access] anonymous_uploads is set"
    for scope in subject.credential_scopes:
        if scope.permits(action, project):
            what = f"{describe_actions(scope.actions)} {describe_projects(scope.projects)}"
            yield f"{subject.credential_description}: {what}"


def _hints(
    caller: Caller, action: Action, project: NormalizedName, authenticator: Authenticator
) -> Iterator[str]:
    for grant in authenticator.policy.grants.all:
        if grant.scope.permits(action, project):
            for name in sorted(grant.principals):
                for own in sorted(caller.principals):
                    if why := _could_be(own, name):
                        yield f"{grant} is for {name}: {why}"


def _could_be(own: str, name: str) -> str:
    kind, _, address = own.partition(":")
    if name.startswith(f"{own}#") and kind == "serviceAccount":
        return "ask for it so, if that is the account's unique id"
    if kind == "user" and name == f"domain:{address.rpartition('@')[2]}":
        return f"ask for {own},{name}, if that is the Workspace domain of the account"
    if kind == "user" and _UNIQUE_ID.sub("", name) == f"serviceAccount:{address}":
        return "a service account is no user"
    return ""


def _bearer(record: TokenRecord, authenticator: Authenticator) -> AccessSubject:
    try:
        caller = authenticator.caller_for_token(record)
    except Unauthenticated:
        return AccessSubject(Caller(f"token:{record.id}", ()), state="of a publisher that is gone")
    own = tuple(scope for scope in caller.scopes if scope not in authenticator.policy.public)
    words = "what the token itself is good for"
    if record.owner:
        words = f"what the token is good for, inside the rights of its owner {record.owner}"
    return AccessSubject(caller, own, words, record.state(authenticator.tokens.runtime.now()))


def _own(every: list[str], authenticator: Authenticator) -> tuple[tuple[Scope, ...], str]:
    for identity in authenticator.static_tokens.identities:
        if identity.principal in every:
            return identity.scopes, "what the static token itself is good for"
    for publisher in (
        authenticator.trusted_publishing.publishers if authenticator.trusted_publishing else ()
    ):
        if publisher.principal in every:
            patterns = tuple(Pattern(name) for name in publisher.projects)
            return (Scope(Action.UPLOAD.with_implied, patterns),), "what the publisher may do"
    return (), ""


def _implied(every: list[str]) -> Iterator[str]:
    yield ANONYMOUS
    for name in every:
        yield name
        if name.startswith("serviceAccount:"):
            yield _UNIQUE_ID.sub("", name)  # an account with its number is one without it, too
        if not name.startswith("publisher:") and name != ANONYMOUS:
            yield ALL_AUTHENTICATED
