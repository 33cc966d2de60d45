"""
Grants: who may do what to which projects, as the `[[grant]]` tables of the settings say it.

They only ever add up: there is no grant that takes away, so their order does not matter, and one
line is enough to see what it gives.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Final

from msgspec import Meta, Struct
from packaging.utils import NormalizedName

from wheelyard.errors import Invalid, quoted
from wheelyard.model.access import (
    ALL_AUTHENTICATED,
    ANONYMOUS,
    EVERY_PROJECT,
    Action,
    Scope,
    parse_pattern,
)
from wheelyard.model.decoding import InvalidField, decode_table

ACTIONS: Final = {action.word: action for action in Action}

_EMAIL: Final = r"[!-~]+@[a-z0-9.-]+\.[a-z0-9-]+"
_FORMS: Final = {
    "user": re.compile(_EMAIL),
    "serviceAccount": re.compile(rf"{_EMAIL}(?:#[0-9]{{1,30}})?"),
    "domain": re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)+"),
    "htpasswd": re.compile(r"[^\x00-\x1f\x7f:]{1,255}"),
    "publisher": re.compile(r"[a-z0-9-]{1,40}"),
    "static": re.compile(r"[^\x00-\x1f\x7f]{1,100}"),
    "token": re.compile(r"[0-9A-Za-z]{10}"),
}
_FOLDED: Final = frozenset({"user", "serviceAccount", "domain"})
_Texts = tuple[str, ...]


class _Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A `[[grant]]` table."""

    who: Annotated[_Texts, Meta(min_length=1, title='a list such as ["user:ana@acme.dev"]')]
    projects: Annotated[_Texts, Meta(min_length=1, title='a list such as ["acme-*", "tools"]')]
    actions: Annotated[_Texts, Meta(min_length=1, title='a list such as ["read", "upload"]')]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Grant:
    """One `[[grant]]` table."""

    number: int
    """Its place among the tables, from 1: what people call it by."""
    principals: frozenset[str]
    """Principals, any of which is enough."""
    scope: Scope
    note: str = ""

    def __str__(self) -> str:
        note = f" ({self.note})" if self.note else ""
        return f"grant {self.number}{note}"


@dataclass(frozen=True, slots=True)
class Grants:
    """Every grant there is."""

    all: tuple[Grant, ...] = ()

    def scopes_of(self, principals: Iterable[str]) -> tuple[Scope, ...]:
        """Return what somebody may do who goes by all of these names."""
        names = frozenset(principals)
        return tuple(grant.scope for grant in self.all if grant.principals & names)

    def granting(
        self, principals: Iterable[str], action: Action, project: NormalizedName
    ) -> tuple[Grant, ...]:
        """Return the grants that let them do `action` to `project`."""
        names = frozenset(principals)
        return tuple(
            grant
            for grant in self.all
            if grant.principals & names and grant.scope.permits(action, project)
        )


def parse_grant(number: int, table: Mapping[str, object]) -> Grant:
    """
    Return the grant that a table describes; `number` is its place among the tables, from 1.

    Raises:
        Invalid: A key is unknown or missing, or a value makes no sense (code `bad_setting`).
    """
    try:
        found = decode_table(table, _Table)
        who = frozenset(map(parse_principal, found.who))
        scope = Scope(_actions(found.actions), tuple(map(parse_pattern, found.projects)))
        _require_fit(who, scope)
    except (InvalidField, Invalid) as fault:
        why = fault.message if isinstance(fault, Invalid) else f"{fault.message}."
        raise Invalid(f"[[grant]] number {number}: {why}", code="bad_setting") from fault
    return Grant(number, who, scope, found.note)


def parse_principal(text: str) -> str:
    """
    Return a principal, written as identities write it.

    Raises:
        Invalid: It is none (code `bad_setting`).
    """
    if text in (ANONYMOUS, ALL_AUTHENTICATED):
        return text
    kind, _, name = text.partition(":")
    if kind == "group":
        raise Invalid(
            f"{quoted(text)}: no credential tells of Google groups. Let an IAM policy name the "
            "group, and set [google.access_token] resource.",
            code="bad_setting",
        )
    name = name.lower() if kind in _FOLDED and name.isascii() else name
    if kind not in _FORMS or not _FORMS[kind].fullmatch(name):
        raise Invalid(
            f"{quoted(text)} is nobody that a grant can name. Write {ANONYMOUS}, "
            f"{ALL_AUTHENTICATED}, or one of user:EMAIL, serviceAccount:EMAIL, "
            "serviceAccount:EMAIL#NUMBER, domain:DOMAIN, htpasswd:NAME, static:NAME, token:ID, "
            "publisher:ID.",
            code="bad_setting",
        )
    return f"{kind}:{name}"


def describe_grant(grant: Grant) -> str:
    """Return a grant in words, without its number."""
    note = f" ({grant.note})" if grant.note else ""
    return (
        f"{', '.join(sorted(grant.principals))} may {describe_actions(grant.scope.actions)} "
        f"{describe_projects(grant.scope.projects)}{note}"
    )


def describe_actions(actions: Action) -> str:
    """Return actions as a sentence says them, before projects."""
    held = [
        "administer" if each is Action.ADMIN else each.verb for each in Action if each & actions
    ]
    return " and ".join(filter(None, (", ".join(held[:-1]), held[-1])))


def describe_projects(patterns: tuple[str, ...]) -> str:
    """Return patterns in words."""
    return "every project" if EVERY_PROJECT in patterns else ", ".join(patterns)


def _require_fit(who: frozenset[str], scope: Scope) -> None:
    if scope.actions & Action.ADMIN and scope.projects != (EVERY_PROJECT,):
        raise Invalid('admin is for everything; write projects = ["*"].')
    if ANONYMOUS in who and scope.actions != Action.READ:
        raise Invalid('anonymous may read, and nothing else; write actions = ["read"].')


def _actions(words: Iterable[str]) -> Action:
    found = Action(0)
    for word in words:
        if word not in ACTIONS:
            raise Invalid(f"{quoted(word)} is no action. Write {', '.join(ACTIONS)}.")
        found |= ACTIONS[word].with_implied
    return found
