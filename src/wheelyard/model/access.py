"""
Access control: credentials, identities, callers, actions and scopes, and principals in words.

A project pattern is a normalized name, or a prefix and one trailing `*`. So a person can tell
whether two patterns overlap. Scopes only add up. None takes rights away. Each names the indexes in
which it holds.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntFlag
from fnmatch import translate
from itertools import product
from types import MappingProxyType
from typing import Final, NewType

from msgspec import Struct
from packaging.utils import NormalizedName, canonicalize_name

from wheelyard.errors import QUOTE_LIMIT, Forbidden, Invalid, quoted
from wheelyard.model.decoding import escaped
from wheelyard.model.distribution_filename import NAME_LIMIT, parse_name
from wheelyard.model.index_name import EVERY_INDEX, MAIN, parse_right_index
from wheelyard.remedies import Advice, Remedy

Pattern = NewType("Pattern", str)
"""A normalized project name, or a normalized prefix and `*`."""

EVERY_PROJECT = Pattern("*")
ANONYMOUS: Final = "anonymous"
"""The principal of every caller, and the only one without a credential."""
ALL_AUTHENTICATED: Final = "allAuthenticated"
"""A principal of every caller with a valid credential, except minted publishing tokens."""
PASSWORD: Final = "htpasswd:"  # noqa: S105 - the beginning of a principal
PROVIDER: Final = "oidc:"
GOOGLE: Final = ("user:", "serviceAccount:")
OWNER_PREFIXES: Final = (*GOOGLE, PASSWORD, PROVIDER)
"""The prefixes of principals that can own a token."""

_TOKEN_KINDS: Final = frozenset({"token", "static", "publisher"})
"""The kinds of principal that a token of this index has."""
_STARS: Final = re.compile(r"\*+")
_PATTERN_FORM: Final = re.compile(r"(?!-)[a-z0-9*?-]+(?<!-)")
_MATCHES_NOTHING: Final = re.compile(r"(?!)")
"""An expression that matches no text."""
_NAME_PREFIX = re.compile(r"[a-z0-9-]*")
_DESCRIPTIONS: Final = MappingProxyType(
    {
        ANONYMOUS: "everybody, also without a credential",
        ALL_AUTHENTICATED: "everybody with a credential",
    }
)
_DESCRIPTION_OF_KIND: Final = MappingProxyType(
    {
        "domain": "everybody of {}, by Google",
        "group": "the group {}",
        "htpasswd": "{}, by password",
        "local": "{}, on the command line",
        "publisher": "the trusted publisher {}",
        "serviceAccount": "the service account {}",
        "static": "the static token {}",
        "token": "the API token {}",
        "user": "{}, by Google",
    }
)


class Action(IntFlag):
    """
    What a caller can do with projects, as flags that can be combined.

    Of reading, uploading, managing and administering, each implies the actions before it. Approving
    is about public packages, and implies nothing. Administrators may approve, too. The numbers are
    stored.
    """

    READ = 1
    UPLOAD = 2
    MANAGE = 4
    APPROVE = 16
    ADMIN = 8

    @property
    def word(self) -> str:
        """The action's name in commands and settings, such as `upload`."""
        return (self.name or "").lower()

    @property
    def verb(self) -> str:
        """The action in a sentence, before the name of a project, such as `upload to`."""
        if self is Action.UPLOAD:
            return "upload to"
        return self.word

    @property
    def with_implied(self) -> "Action":
        """The flags of this action and of each one that it implies."""
        if self is Action.APPROVE:
            return self
        # any other action implies all actions with lower bits
        with_lower_bits = Action((1 << self.bit_length()) - 1)
        if self is Action.ADMIN:
            return with_lower_bits | Action.APPROVE
        return with_lower_bits


_GRANTABLE = {action.word: action for action in (Action.READ, Action.UPLOAD, Action.MANAGE)}
"""The actions of publishers and static tokens."""


class Scope(Struct, frozen=True):
    """Actions on the projects that match any of the patterns, in some indexes."""

    actions: Action
    projects: tuple[Pattern, ...]
    indexes: tuple[str, ...]
    """The names of the indexes in which the scope holds, sorted, or `EVERY_INDEX` alone."""

    def holds_in(self, index: str) -> bool:
        """Return whether the scope holds in an index, or for `EVERY_INDEX`, in all indexes."""
        return index in self.indexes or EVERY_INDEX in self.indexes

    def permits(self, actions: Action, project: NormalizedName) -> bool:
        """Return whether the scope has all of `actions` on `project`, whatever its indexes are."""
        # the index is not compared: `AuthorizationPolicy` keeps only scopes that hold in its index
        return actions in self.actions and matches_any(self.projects, project)


# a dataclass, since the fields of a Struct cannot be kept out of `repr`
@dataclass(frozen=True, slots=True)
class Credential:
    """A parsed Authorization header, not verified yet."""

    user: str = field(repr=False)  # people put tokens there
    """The user name of a Basic pair, or empty for Bearer."""
    secret: str = field(repr=False)
    """The password of a Basic pair, or the Bearer token."""
    is_bearer: bool = False
    """Whether the scheme is Bearer."""
    is_unicode: bool = True
    """Whether a Basic pair is UTF-8. Old clients send Latin-1, which only passwords may be."""
    client_network: str = ""
    """
    The network of the client. A password is cached for one network: otherwise an attacker in
    another network could test passwords without the rate limit.
    """

    @property
    def halves(self) -> Iterator[str]:
        """The texts that may be a token: the Bearer token, or the password and the user name."""
        # a URL may have a token as its user name, without a password
        yield self.secret
        if not self.is_bearer:
            yield self.user


class Identity(Struct, frozen=True):
    """The result of verifying a credential: the principals that it proves, and its own scopes."""

    principal: str
    """The name in journals and logs: `user:ana@acme.dev`, `htpasswd:ml-ci`."""
    principals: frozenset[str]
    """All principals by which a grant can name this identity."""
    scopes: tuple[Scope, ...] = ()
    """Scopes of the credential itself: of a static token, or of a Google access token."""


class Caller(Struct, frozen=True):
    """The sender of a request, or the user of a command, with its principals and scopes."""

    principal: str
    """`anonymous`, `token:ID`, `local:NAME`, `user:EMAIL`."""
    scopes: tuple[Scope, ...]
    principals: frozenset[str] = frozenset()
    """All principals by which a grant can name this caller."""
    name: str = ""
    """The name of the caller's API token, which the principal lacks, or empty."""
    owner: str = ""
    """The principal of the owner of the caller's API token, or empty."""
    owner_names: frozenset[str] = frozenset()
    """All principals by which a grant could name the owner when the token was made."""
    index: str = MAIN
    """The name of the index that the scopes hold in."""

    @property
    def is_anonymous(self) -> bool:
        """Whether the caller sent no credential."""
        return self.principal == ANONYMOUS

    @property
    def can_own_tokens(self) -> bool:
        """Whether the caller is a person or a service account, which can own tokens."""
        return self.principal.startswith(OWNER_PREFIXES)

    @property
    def acts_for(self) -> str:
        """The owner of the caller's API token, or else the caller's own principal."""
        return self.owner or self.principal

    @property
    def display_name(self) -> str:
        """The caller in words, as the subject at the beginning of an error message."""
        if self.is_anonymous:
            return "Whoever sends no credential"
        if self.principal.partition(":")[0] in _TOKEN_KINDS:
            return "This token"
        return f"You ({escaped(describe_principal(self.principal)[:QUOTE_LIMIT])})"

    # The methods below are about one action. A combination of actions has to be in one scope as a
    # whole: two scopes that each have a part of the combination do not add up.

    def may(self, action: Action, project: NormalizedName) -> bool:
        """Return whether the caller may do `action` to `project`, which need not exist."""
        return any(scope.permits(action, project) for scope in self.scopes)

    def require(self, action: Action, project: NormalizedName) -> None:
        """Raise Forbidden unless the caller may do `action` to `project`, which need not exist."""
        if not self.may(action, project):
            raise self.forbidden(f"{action.verb} {quoted(project)}", action.word, project)

    def forbidden(self, act: str, right: str = "", project: str = "") -> Forbidden:
        """
        Return the error about an act that the caller may not do.

        `act` is such as `upload to 'acme'`. `right` and `project` are for the advice:
        the command that makes a token with this right. Either may be empty.
        """
        where = ""
        if self.index != MAIN:
            where = f" in the index {self.index}"
        fact = f"{self.display_name} may not {act}{where}. Ask the operator of this index"
        # a job has no other token, so the advice to take one would mislead
        if self.principal.startswith("publisher:"):
            return Forbidden(f"{fact} to change its trusted publisher.")
        advice = Advice(Remedy.CREATE_TOKEN, project, self.index, right=right)
        return Forbidden(f"{fact} for the right, or use a token that has it.", advice=advice)

    def may_anywhere(self, action: Action) -> bool:
        """Return whether the caller may do `action` to some project, which need not exist."""
        return any(action in scope.actions for scope in self.scopes)

    @property
    def may_read_public_packages(self) -> bool:
        """
        Whether the caller may read all packages of upstream indexes.

        A caller with a credential may, if there is any project that the caller may read, or any
        public package that the caller may decide about.
        """
        may_see_packages = self.may_anywhere(Action.READ) or self.may_anywhere(Action.APPROVE)
        return not self.is_anonymous and may_see_packages

    def may_everywhere(self, action: Action) -> bool:
        """Return whether one of the caller's scopes allows `action` on every project (`*`)."""
        return may_everywhere(self.scopes, action)

    @property
    def administers_server(self) -> bool:
        """Whether the caller is an administrator of all indexes, and so of the whole server."""
        scopes_of_all_indexes = holding(self.scopes, EVERY_INDEX)
        return may_everywhere(scopes_of_all_indexes, Action.ADMIN)


class AccessEntry(Struct, frozen=True):
    """Something that gives somebody rights on a project."""

    who: str
    """A principal or a group, as in a grant, or words, such as `everybody`."""
    actions: Action
    """What `who` may do to the project."""
    reason: str
    """What gives the right, in words that name no other project."""
    members: tuple[str, ...] = ()
    """The members of the group in `who`, or empty if `who` is no group."""
    details: str = ""
    """What only administrators may know: the projects and the note of a grant or token."""


def parse_pattern(text: str) -> Pattern:
    """
    Return the normalized project pattern in `text`.

    Raises Invalid (code `invalid_name` or `invalid_field`) if the text is malformed.
    """
    if "*" not in text:
        return Pattern(parse_name(text))
    if text.isascii():  # lower() turns the Kelvin sign into a plain k
        prefix = canonicalize_name(text[:-1])
        if _NAME_PREFIX.fullmatch(prefix):
            return Pattern(f"{prefix}*")
    raise Invalid(
        f"{quoted(text)} is not a project pattern. Write a name (acme-core), or the beginning of "
        "names and one star (acme-*).",
        code="invalid_field",
    )


def parse_actions(words: Iterable[str], *, admin: bool = False) -> Action:
    """
    Return the actions that `words` name, and the actions that follow from them.

    Without words there are no actions. Raises Invalid (code `invalid_field`) if a word is not read,
    upload or manage. With `admin`, the words approve and admin are allowed, too.
    """
    actions_by_word = _GRANTABLE
    if admin:
        actions_by_word = {action.word: action for action in Action}
    actions = Action(0)
    for word in words:
        action = actions_by_word.get(word.strip().lower())
        if action is None:
            allowed = list(actions_by_word)
            raise Invalid(
                f"{quoted(word)} is not an action. Use {', '.join(allowed[:-1])} or {allowed[-1]}.",
                code="invalid_field",
            )
        actions |= action.with_implied
    return actions


def intersection(scope: Scope, scopes: Iterable[Scope]) -> tuple[Scope, ...]:
    """Return what `scope` has in common with each of `scopes`, without empty scopes."""
    common_scopes = list[Scope]()
    for other_scope in scopes:
        indexes = _common_indexes(scope, other_scope)
        actions = scope.actions & other_scope.actions
        projects = set[Pattern]()
        for pattern, other_pattern in product(scope.projects, other_scope.projects):
            narrower_pattern = _narrower(pattern, other_pattern)
            if narrower_pattern is not None:
                projects.add(narrower_pattern)
        if indexes and actions and projects:
            common_scopes.append(Scope(actions, tuple(sorted(projects)), indexes))
    return tuple(common_scopes)


def everywhere(actions: Action) -> Scope:
    """Return the scope of `actions` on every project of all indexes."""
    return Scope(actions, (EVERY_PROJECT,), (EVERY_INDEX,))


def holding(scopes: Iterable[Scope], index: str) -> tuple[Scope, ...]:
    """Return those of `scopes` that hold in an index."""
    return tuple(scope for scope in scopes if scope.holds_in(index))


def parse_right_indexes(text: str, actions: Action) -> tuple[str, ...]:
    """
    Return the indexes that a right names, in a text with commas between them.

    The result is sorted, or `EVERY_INDEX` alone. An empty text means main, or for a right to
    administer, all indexes. Raises Invalid (code `invalid_index`) for a wrong name, or a comma
    without a name beside it.
    """
    if not text and actions & Action.ADMIN:
        return (EVERY_INDEX,)
    if not text:
        return (MAIN,)
    parts = [name.strip() for name in text.split(",")]
    if "" in parts:
        raise Invalid(
            f"{quoted(text)} has a comma without a name of an index beside it. Write the names "
            "with a comma between two, such as dev,main.",
            code="invalid_index",
        )
    # `*` includes all other names, and equal rights have to be equal values
    names = {parse_right_index(name) for name in parts}
    if EVERY_INDEX in names:
        return (EVERY_INDEX,)
    return tuple(sorted(names))


def first_index(indexes: tuple[str, ...]) -> str:
    """
    Return the index that printed commands for a right are about.

    The result is main if the right holds in main, else the first index of the right.
    """
    if {MAIN, EVERY_INDEX}.intersection(indexes):
        return MAIN
    return indexes[0]


def right_index_text(indexes: tuple[str, ...]) -> str:
    """Return the indexes of a right as a text that `parse_right_indexes` reads."""
    return ",".join(indexes)


def is_subset(scope: Scope, scopes: Iterable[Scope]) -> bool:
    """
    Return whether `scopes` include every action of `scope` on each of its patterns.

    A single pattern of `scopes` has to cover a pattern of `scope`: several narrower patterns do not
    add up. The indexes of the scopes are not compared.
    """
    wider_scopes = tuple(scopes)
    # each action is checked alone: one scope may have `read` on a pattern, and another `upload`
    for action in Action:
        if not action & scope.actions:
            continue
        scopes_of_action = [wider for wider in wider_scopes if action in wider.actions]
        for pattern in scope.projects:
            if not any(matches_any(wider.projects, pattern) for wider in scopes_of_action):
                return False
    return True


def may_everywhere(scopes: Iterable[Scope], action: Action) -> bool:
    """Return whether one of `scopes`, of any index, allows `action` on every project (`*`)."""
    return any(action in scope.actions and EVERY_PROJECT in scope.projects for scope in scopes)


def matches_any(patterns: Iterable[Pattern], text: str) -> bool:
    """Return whether one of `patterns` matches a name, or every name that a pattern matches."""
    for pattern in patterns:
        # the text may be a pattern itself: `acme-*` matches all that `acme-core-*` does
        if text == pattern or (pattern.endswith("*") and text.startswith(pattern[:-1])):
            return True
    return False


def describe_scope(scope: Scope) -> str:
    """Return a scope in words: "read and upload to acme-* in the index prod"."""
    what = f"{describe_actions(scope.actions)} {describe_projects(scope.projects)}"
    return f"{what} in {describe_indexes(scope.indexes)}"


def describe_indexes(indexes: tuple[str, ...]) -> str:
    """Return the indexes of a scope in words: "all indexes", or "the index prod"."""
    if EVERY_INDEX in indexes:
        return "all indexes"
    names = " and ".join(indexes)
    if len(indexes) > 1:
        return f"the indexes {names}"
    return f"the index {names}"


def describe_index_text(text: str) -> str:
    """Return the indexes of a right in words, from a text that `parse_right_indexes` reads."""
    return describe_indexes(parse_right_indexes(text, Action.READ))


def describe_actions(actions: Action) -> str:
    """Return actions, at least one, in words before the names of projects: "read and upload to"."""
    words = list[str]()
    for action in Action:
        if action is Action.ADMIN and action & actions:
            words.append("administer")
        elif action & actions:
            words.append(action.verb)
    *first_words, last_word = words
    if not first_words:
        return last_word
    return f"{', '.join(first_words)} and {last_word}"


def describe_projects(patterns: tuple[str, ...]) -> str:
    """Return project patterns in words: "every project", or the patterns with commas between."""
    if EVERY_PROJECT in patterns:
        return "every project"
    return ", ".join(patterns)


def _common_indexes(scope: Scope, other_scope: Scope) -> tuple[str, ...]:
    """Return the indexes in which both scopes hold."""
    if EVERY_INDEX in scope.indexes:
        return other_scope.indexes
    return tuple(name for name in scope.indexes if other_scope.holds_in(name))


def _narrower(pattern: Pattern, other_pattern: Pattern) -> Pattern | None:
    """Return the pattern of the names that both patterns match, or None if there is none."""
    # The star is at the end. So either one pattern covers the other, or no name matches both.
    if matches_any((pattern,), other_pattern):
        return other_pattern
    if matches_any((other_pattern,), pattern):
        return pattern
    return None


class NamePatterns(Struct, frozen=True):
    """Patterns of names. A name matches if one of the patterns does."""

    texts: tuple[str, ...]
    """The patterns, normalised as names are."""
    _expression: re.Pattern[str]

    def match(self, name: NormalizedName) -> bool:
        """Return whether a pattern matches the whole name."""
        return self._expression.fullmatch(name) is not None


NO_PATTERNS: Final = NamePatterns((), _MATCHES_NOTHING)


class NameFilter(Struct, frozen=True):
    """Which names an upstream index is asked for."""

    allow: NamePatterns | None = None
    """The names that the index is asked for, or None for all names."""
    deny: NamePatterns = NO_PATTERNS
    """Names that the index is not asked for, whatever `allow` has."""

    def accepts(self, name: NormalizedName) -> bool:
        """Return whether the index is asked for a name."""
        return not self.deny.match(name) and (self.allow is None or self.allow.match(name))


def parse_name_patterns(texts: Iterable[str]) -> NamePatterns:
    """
    Return the patterns in `texts`, each once.

    Raises Invalid (code `bad_setting`) if a text is malformed.
    """
    patterns = tuple(dict.fromkeys(normalise_pattern(text) for text in texts))
    if not patterns:
        # an expression without alternatives would match the empty text
        return NamePatterns(patterns, _MATCHES_NOTHING)
    # one expression for all patterns, as each name of a page is compared with each pattern
    alternatives = "|".join(translate(pattern) for pattern in patterns)
    return NamePatterns(patterns, re.compile(alternatives))


def normalise_pattern(text: str) -> str:
    """
    Return a pattern in the form of normalised names: `Acme_*` is `acme-*`.

    Raises Invalid (code `bad_setting`) if the text can match no name.
    """
    # several stars in a row mean one, and make the expression slow for long names
    pattern = _STARS.sub("*", canonicalize_name(text))
    if len(text) > NAME_LIMIT or not _PATTERN_FORM.fullmatch(pattern):
        raise Invalid(
            f"{quoted(text)} is no pattern of names. Write a name, such as acme-core, or one with "
            "* or ? in it, such as acme-*.",
            code="bad_setting",
        )
    return pattern


def short_name(principal: str) -> str:
    """
    Return the name of a person or a credential in a principal: `ana@acme.dev`, `ml-ci`.

    The result is empty for a principal without a name, such as `anonymous`.
    """
    kind, _, name = principal.partition(":")
    # in the principal of a person of a provider, the name of the provider comes first
    if kind == "oidc":
        return name.partition(":")[2]
    return name


def describe_principal(principal: str, name: str = "", owner: str = "") -> str:
    """
    Return a principal, or a group of a grant, in words.

    `name` and `owner` are the name and the owner of the API token that the principal is, or empty
    if they are not known. A text of an unknown form is returned as it is.
    """
    if owner:
        return f"{describe_principal(principal, name)} of {describe_principal(owner)}"
    kind, colon, id_or_name = principal.partition(":")
    if principal in _DESCRIPTIONS:
        return _DESCRIPTIONS[principal]
    if kind == "oidc" and colon:
        provider, _, person_or_group = id_or_name.partition(":")
        if person_or_group.startswith("group:"):
            return f"the group {person_or_group.removeprefix('group:')} of {provider}"
        person, _, _ = person_or_group.partition("#")
        return f"{person}, by {provider}"
    if not colon or kind not in _DESCRIPTION_OF_KIND:
        return principal
    return _DESCRIPTION_OF_KIND[kind].format(name or id_or_name)
