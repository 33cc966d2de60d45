"""The explanation of an access decision, for `wheelyard access explain`."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.authentication.authenticator import Authenticator
from wheelyard.authentication.rights import PASSWORD_USERS, Right, rights
from wheelyard.errors import Invalid, Unauthenticated, quoted
from wheelyard.model.access import (
    ALL_AUTHENTICATED,
    ANONYMOUS,
    Action,
    Pattern,
    matches_any,
)
from wheelyard.model.grants import parse_principal
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
    """Whom `access explain` is asked about."""

    principals: frozenset[str]
    """All principals by which rights can name it."""
    state: str = "active"
    """The state of a token: `active`, `expired`, `revoked` ..."""
    records: tuple[TokenRecord, ...] = ()
    """The record of an API token."""


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
    kind, _, name = principals[0].partition(":")
    if kind == "token":
        record = authenticator.tokens.records.get_for_update(name).value
        assert record is not None  # noqa: S101 - `get_for_update` raises for none
        return _token_subject(record, authenticator)
    names = frozenset(_with_implied(principals))
    if any(each.startswith("htpasswd:") for each in principals):
        names |= {PASSWORD_USERS}
    is_expired = not authenticator.static_tokens.expired().isdisjoint(principals)
    return AccessSubject(names, "expired" if is_expired else "active")


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
    every = rights(authenticator, subject.records)
    own = [each for each in every if not each.principals.isdisjoint(subject.principals)]
    fit = [each for each in every if each.scope.permits(action, project)]
    is_private_name = matches_any(private_patterns, project)
    is_anonymous = subject.principals == {ANONYMOUS}
    reads_anything = not is_anonymous and any(each.scope.actions & Action.READ for each in own)
    hints = _hints(subject.principals, fit)
    if subject.state != "active":
        response, hints = f"401, because the token is {subject.state}", iter(())
    elif reasons := tuple(_reasons(subject.principals, [each for each in fit if each in own])):
        return AccessExplanation(allowed=True, reasons=reasons)
    elif action is Action.READ and reads_anything and may_be_public and not is_private_name:
        reason = "the name is not private, and whoever may read anything may read public packages"
        return AccessExplanation(allowed=True, reasons=(reason,))
    elif is_anonymous:
        response = "401, as everybody is asked who they are"
    elif action is not Action.READ:
        response = "403, whether or not the project exists"
    elif is_private_name:
        response = "403, because the name matches access.private_names"
    else:
        response = "404, as for a project that does not exist"
    return AccessExplanation(allowed=False, reasons=(response,), hints=tuple(hints))


def _reasons(principals: frozenset[str], own: Iterable[Right]) -> Iterator[str]:
    for right in own:
        members = sorted(right.principals & principals) if right.who.startswith("group:") else ()
        yield "; ".join(
            (f"{right.source}: {right}", *(f"{each} is in {right.who}" for each in members))
        )


def _hints(principals: frozenset[str], fit: Iterable[Right]) -> Iterator[str]:
    for right in fit:
        for wanted in sorted(right.principals):
            for own in sorted(principals):
                if hint := _hint(own, wanted):
                    note = f" ({right.note})" if right.note else ""
                    yield f"{right.source}{note} is for {wanted}: {hint}"


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


def _token_subject(record: TokenRecord, authenticator: Authenticator) -> AccessSubject:
    principals = frozenset({f"token:{record.id}", ANONYMOUS})
    try:
        authenticator.caller_for_token(record)
    except Unauthenticated:
        return AccessSubject(principals, "of a publisher that is gone")
    return AccessSubject(principals, record.state(authenticator.tokens.runtime.now()), (record,))


def _with_implied(principals: list[str]) -> Iterator[str]:
    """Yield the principals, and those that they imply, such as `anonymous`; some more than once."""
    yield ANONYMOUS
    for principal in principals:
        yield principal
        if principal.startswith("serviceAccount:"):
            yield _UNIQUE_ID.sub("", principal)
        if not principal.startswith("publisher:") and principal != ANONYMOUS:
            yield ALL_AUTHENTICATED
