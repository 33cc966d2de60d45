"""
Grants: the `[[grant]]` tables of the settings give principals actions on projects.

Grants only add up. No grant takes rights away, so their order does not matter.
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
_PRINCIPAL_PATTERNS: Final = {
    "user": re.compile(_EMAIL),
    "serviceAccount": re.compile(rf"{_EMAIL}(?:#[0-9]{{1,30}})?"),
    "domain": re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)+"),
    "htpasswd": re.compile(r"[^\x00-\x1f\x7f:]{1,255}"),
    "publisher": re.compile(r"[a-z0-9-]{1,40}"),
    "static": re.compile(r"[^\x00-\x1f\x7f]{1,100}"),
    "token": re.compile(r"[0-9A-Za-z]{10}"),
}
_CASE_INSENSITIVE_KINDS: Final = frozenset({"user", "serviceAccount", "domain"})
_Texts = tuple[str, ...]


class _Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a `[[grant]]` table, not validated yet."""

    who: Annotated[_Texts, Meta(min_length=1, title='a list such as ["user:ana@acme.dev"]')]
    projects: Annotated[_Texts, Meta(min_length=1, title='a list such as ["acme-*", "tools"]')]
    actions: Annotated[_Texts, Meta(min_length=1, title='a list such as ["read", "upload"]')]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Grant:
    """A valid `[[grant]]` table: a scope, and the principals that have it."""

    number: int
    """Its position among the tables, from 1."""
    principals: frozenset[str]
    """The principals that have the scope."""
    scope: Scope
    note: str = ""

    def __str__(self) -> str:
        note = f" ({self.note})" if self.note else ""
        return f"grant {self.number}{note}"


@dataclass(frozen=True, slots=True)
class Grants:
    """All grants of the settings."""

    all: tuple[Grant, ...] = ()

    def scopes_of(self, principals: Iterable[str]) -> tuple[Scope, ...]:
        """Return the scope of each grant that names at least one of these principals."""
        return tuple(each.scope for each in self.all if each.principals.intersection(principals))

    def granting(
        self, principals: Iterable[str], action: Action, project: NormalizedName
    ) -> tuple[Grant, ...]:
        """Return the grants that give at least one of `principals` `action` on `project`."""
        named = (each for each in self.all if each.principals.intersection(principals))
        return tuple(each for each in named if each.scope.permits(action, project))


def parse_grant(number: int, table: Mapping[str, object]) -> Grant:
    """
    Return the grant in a `[[grant]]` table; `number` is its position among the tables, from 1.

    Raise Invalid (code `bad_setting`) for unknown or missing keys and for invalid values.
    """
    try:
        found = decode_table(table, _Table)
        who = frozenset(map(parse_principal, found.who))
        scope = Scope(_actions(found.actions), tuple(map(parse_pattern, found.projects)))
        _check_grantable(who, scope)
    except (InvalidField, Invalid) as fault:
        why = fault.message if isinstance(fault, Invalid) else f"{fault.message}."
        raise Invalid(f"[[grant]] number {number}: {why}", code="bad_setting") from fault
    return Grant(number, who, scope, found.note)


def parse_principal(text: str) -> str:
    """
    Return a principal as identities write it, with domains and e-mail addresses in lower case.

    Raise Invalid (code `bad_setting`) for text that is not a principal.
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
    name = name.lower() if kind in _CASE_INSENSITIVE_KINDS and name.isascii() else name
    if kind not in _PRINCIPAL_PATTERNS or not _PRINCIPAL_PATTERNS[kind].fullmatch(name):
        raise Invalid(
            f"{quoted(text)} is nobody that a grant can name. Write {ANONYMOUS}, "
            f"{ALL_AUTHENTICATED}, or one of user:EMAIL, serviceAccount:EMAIL, "
            "serviceAccount:EMAIL#NUMBER, domain:DOMAIN, htpasswd:NAME, static:NAME, token:ID, "
            "publisher:ID.",
            code="bad_setting",
        )
    return f"{kind}:{name}"


def describe_grant(grant: Grant) -> str:
    """Return a grant in words, without its number: principals, actions, projects and note."""
    note = f" ({grant.note})" if grant.note else ""
    return (
        f"{', '.join(sorted(grant.principals))} may {describe_actions(grant.scope.actions)} "
        f"{describe_projects(grant.scope.projects)}{note}"
    )


def describe_actions(actions: Action) -> str:
    """Return actions in words, to be followed by projects: "read and upload to"."""
    words = [
        "administer" if each is Action.ADMIN else each.verb for each in Action if each & actions
    ]
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def describe_projects(patterns: tuple[str, ...]) -> str:
    """Return project patterns in words: "every project", or the patterns with commas between."""
    return "every project" if EVERY_PROJECT in patterns else ", ".join(patterns)


def _check_grantable(who: frozenset[str], scope: Scope) -> None:
    """Raise Invalid for admin on less than every project, and for more than read to anonymous."""
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
