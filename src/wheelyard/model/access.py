"""
Who may do what: credentials, identities, actions, scopes, and the one function that decides.

Patterns are a normalised name, or a prefix with one trailing `*`; nothing else, so that a person
can tell whether two of them overlap. Rights only ever add up.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntFlag
from typing import Final, NewType

from packaging.utils import NormalizedName

from wheelyard.errors import QUOTE_LIMIT, Forbidden, Invalid, quoted
from wheelyard.model.distribution_filename import parse_name
from wheelyard.model.text import escaped

Pattern = NewType("Pattern", str)
"""A normalised project name, or a normalised prefix and `*`."""

EVERY_PROJECT = Pattern("*")
ANONYMOUS: Final = "anonymous"
"""The principal that every request has, with a credential or without."""
ALL_AUTHENTICATED: Final = "allAuthenticated"
"""The principal of whoever has proven to be somebody, minted publishing tokens apart."""

_PREFIX = re.compile(r"[a-z0-9-]*")


class Action(IntFlag):
    """What can be done to a project; each one implies those before it."""

    READ = 1
    UPLOAD = 2
    MANAGE = 4
    ADMIN = 8

    @property
    def word(self) -> str:
        """As it is written in a command or a setting."""
        return (self.name or "").lower()

    @property
    def verb(self) -> str:
        """As a sentence says it, before a project's name."""
        return "upload to" if self is Action.UPLOAD else self.word

    @property
    def with_implied(self) -> "Action":
        """This action and every one that it implies."""
        return Action((1 << self.bit_length()) - 1)


_GRANTED = {action.word: action for action in (Action.READ, Action.UPLOAD, Action.MANAGE)}
"""What a token may be given; nothing asks for ADMIN yet, so nobody may hand it out."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Actions on the projects that match any of the patterns."""

    actions: Action
    projects: tuple[Pattern, ...]

    def permits(self, action: Action, project: NormalizedName) -> bool:
        """Return whether `action` on `project` is inside."""
        return bool(self.actions & action) and any(_matches(p, project) for p in self.projects)


@dataclass(frozen=True, slots=True)
class Credential:
    """What an Authorization header says: taken apart, and not believed yet."""

    user: str = field(repr=False)  # people put tokens there
    """The first half of a Basic pair; empty for Bearer."""
    secret: str = field(repr=False)
    """The second half, or what follows Bearer."""
    is_bearer: bool = False
    """Whether it was Bearer, which has no user."""
    is_unicode: bool = True
    """Whether a pair was UTF-8; old clients send Latin-1, which only passwords may be."""
    client_network: str = ""
    """
    From where it comes: a password that was right from elsewhere is to be tried anew, or who
    guesses would be told sooner than the limit on guesses allows.
    """

    @property
    def halves(self) -> Iterator[str]:
        """Where a token may stand: as the password, or as the user."""
        yield self.secret
        if not self.is_bearer:
            yield self.user


@dataclass(frozen=True, slots=True)
class Identity:
    """What a credential proves; what its sender may do is another question."""

    principal: str
    """The one name for journals and logs: `user:ana@acme.dev`, `htpasswd:ml-ci`."""
    principals: frozenset[str]
    """Every name that a grant may call this identity by."""
    scopes: tuple[Scope, ...] = ()
    """Rights that the credential itself brings, as a static token's or Google's answer."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sent a request, and what they may do."""

    principal: str
    """`anonymous`, `token:ID`, `local:NAME`, `user:EMAIL`."""
    scopes: tuple[Scope, ...]
    principals: frozenset[str] = frozenset()
    """Every name that grants may call this caller by."""

    @property
    def is_anonymous(self) -> bool:
        """Whether no credential was given."""
        return self.principal == ANONYMOUS

    @property
    def display_name(self) -> str:
        """How a refusal calls this caller, as the beginning of a sentence: by the credential."""
        if self.is_anonymous:
            return "Whoever sends no credential"
        if self.principal.partition(":")[0] in _TOKENS:
            return "This token"
        return f"You ({escaped(self.principal[:QUOTE_LIMIT])})"

    def may(self, action: Action, project: NormalizedName) -> bool:
        """Return whether this caller may do `action` to `project`, existing or not."""
        return any(scope.permits(action, project) for scope in self.scopes)

    def require(self, action: Action, project: NormalizedName) -> None:
        """Raise Forbidden unless this caller may do `action` to `project`, existing or not."""
        if not self.may(action, project):
            message = f"{self.display_name} may not {action.verb} {quoted(project)}."
            raise Forbidden(
                f"{message} Ask the operator of this index for the right, or use a token that has "
                f"it: 'wheelyard token create NAME --can {action.word} --project {project}'.",
                short=message,
            )

    def may_anywhere(self, action: Action) -> bool:
        """Return whether there could be any project that this caller may do `action` to."""
        return any(scope.actions & action for scope in self.scopes)

    def may_everywhere(self, action: Action) -> bool:
        """Return whether this caller may do `action` to every project."""
        return any(
            scope.actions & action and EVERY_PROJECT in scope.projects for scope in self.scopes
        )


_TOKENS = frozenset({"token", "static", "publisher"})
"""Kinds of principal that are known by a token of the index, which is all that they have."""
ANYONE_READS = Scope(Action.READ, (EVERY_PROJECT,))


def parse_pattern(text: str) -> Pattern:
    """Return a project pattern, normalised; raise Invalid if it is none."""
    if "*" not in text:
        return Pattern(parse_name(text))
    if text.isascii():  # the Kelvin sign, for one, is a plain letter in lower case
        prefix = re.sub(r"[-_.]+", "-", text[:-1]).lower()
        if _PREFIX.fullmatch(prefix):
            return Pattern(f"{prefix}*")
    raise Invalid(
        f"{quoted(text)} is not a project pattern. Write a name (acme-core), or the beginning of "
        "names and one star (acme-*).",
        code="invalid_field",
    )


def parse_actions(words: Iterable[str]) -> Action:
    """Return the actions that `words` name, with those implied; raise Invalid for another word."""
    actions = Action(0)
    for word in words:
        named = _GRANTED.get(word.strip().lower())
        if named is None:
            raise Invalid(
                f"{quoted(word)} is not an action. Use read, upload or manage.",
                code="invalid_field",
            )
        actions |= named.with_implied
    return actions


def intersection(scope: Scope, to: Iterable[Scope]) -> tuple[Scope, ...]:
    """Return what is inside `scope` and inside any of `to`."""
    found = list[Scope]()
    for other in to:
        actions = scope.actions & other.actions
        pairs = ((mine, theirs) for mine in scope.projects for theirs in other.projects)
        projects = {both for pair in pairs if (both := _narrower(*pair)) is not None}
        if actions and projects:
            found.append(Scope(actions, tuple(sorted(projects))))
    return tuple(found)


def is_subset(scope: Scope, scopes: Iterable[Scope]) -> bool:
    """Return whether each action on each pattern of `scope` is inside one of `scopes`."""
    held = tuple(scopes)
    return all(
        any(action & each.actions and _covers(each.projects, pattern) for each in held)
        for action in Action
        if action & scope.actions
        for pattern in scope.projects
    )


def matches_any(patterns: Iterable[Pattern], project: NormalizedName) -> bool:
    """Return whether `project` matches one of `patterns`."""
    return any(_matches(pattern, project) for pattern in patterns)


def _narrower(one: Pattern, other: Pattern) -> Pattern | None:
    if _covers((one,), other):
        return other
    return one if _covers((other,), one) else None


def _covers(patterns: Iterable[Pattern], pattern: Pattern) -> bool:
    """Return whether everything that matches `pattern` matches one of `patterns`."""
    return any(
        pattern == each or (each.endswith("*") and pattern.startswith(each[:-1]))
        for each in patterns
    )


def _matches(pattern: Pattern, project: NormalizedName) -> bool:
    if pattern.endswith("*"):
        return project.startswith(pattern[:-1])
    return str(project) == pattern
