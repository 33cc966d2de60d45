"""
Lists of API tokens for administrators of thousands of tokens: their marks, filters and order.

All functions work on records that were read before. Only `OwnerIsGone` may read the store.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import date, datetime, timedelta
from typing import Any, Final, Literal

from msgspec import Struct

from wheelyard.errors import Invalid
from wheelyard.model.access import Pattern, matches_any
from wheelyard.model.api_token import ListedToken
from wheelyard.model.distribution_filename import parse_name

UNUSED_AFTER: Final = timedelta(days=90)
"""How long an active token is not used before it gets the mark `unused`."""

TokenMark = Literal["expiring", "unused", "owner-gone"]
"""
Why an administrator should look at a token that works or may work again.

- expiring: the token expires soon (`EXPIRY_WARNING`)
- unused: the token was not used for `UNUSED_AFTER`
- owner-gone: the owner may not use the index any more, or no grant names the owner

A rotated token, and a token of a CI job, have no mark.
"""
WORKING_STATES: Final = frozenset({"active", "unconfirmed", "ended"})
"""The states of a token that is neither revoked nor expired."""
TokenSelection = Literal[
    "active",
    "unconfirmed",
    "ended",
    "expired",
    "revoked",
    "expiring",
    "unused",
    "owner-gone",
]
"""A state or a mark, by which a list is filtered."""
TokenOrder = Literal["created", "-created", "used", "-used", "expires", "-expires", "name"]
"""
The field by which tokens are sorted, and a minus before it to begin with the greatest value.

A token that was never used comes before all used tokens.
"""

OwnerIsGone = Callable[[ListedToken], bool]
"""Returns whether the owner of a token is gone."""


class TokenFilter(Struct, frozen=True):
    """Which tokens are listed, and in which order."""

    search: str = ""
    """A part of the name, the id, the owner, the maker or a project, in upper or lower case."""
    owner: str = ""
    """The principal of the owner, or an empty text for all owners."""
    project: str = ""
    """The name or pattern of a project that the tokens are for, or an empty text for all."""
    state: TokenSelection | None = None
    sort: TokenOrder = "created"


class MarkedToken(Struct, frozen=True):
    """A listed token with its marks."""

    token: ListedToken
    marks: tuple[TokenMark, ...]


def marked(token: ListedToken, now: datetime, owner_is_gone: OwnerIsGone) -> MarkedToken:
    """Return a token with its marks."""
    record = token.record
    marks = list[TokenMark]()
    is_replaced = record.rotation is not None
    is_of_job = bool(record.publishers)
    if token.state in WORKING_STATES and not is_of_job and not is_replaced:
        if record.expires_soon(now):
            marks.append("expiring")
        # a token that was never used counts as used on the day when it was made
        last_used = token.last_used or record.created_at.date()
        if now.date() - last_used >= UNUSED_AFTER:
            marks.append("unused")
        # last, as it may read the record of the owner
        if record.owner and owner_is_gone(token):
            marks.append("owner-gone")
    return MarkedToken(token, tuple(marks))


def select(tokens: Iterable[MarkedToken], token_filter: TokenFilter) -> list[MarkedToken]:
    """Return the tokens that pass a filter, in its order."""
    selected = [token for token in tokens if _passes_filter(token, token_filter)]
    field = token_filter.sort.removeprefix("-")
    is_descending = token_filter.sort.startswith("-")
    return sorted(selected, key=lambda token: _sort_key(token.token, field), reverse=is_descending)


def _passes_filter(marked_token: MarkedToken, token_filter: TokenFilter) -> bool:
    """Return whether a token passes every condition of a filter."""
    token = marked_token.token
    record = token.record
    state = token_filter.state
    if state is not None and state != token.state and state not in marked_token.marks:
        return False
    if token_filter.owner and record.owner != token_filter.owner:
        return False
    scope = record.scope
    if token_filter.project and not _match_project(scope.projects, token_filter.project):
        return False
    texts = [record.name, record.id, record.owner, record.created_by]
    texts += scope.projects
    texts += scope.indexes
    return token_filter.search.casefold() in "\n".join(texts).casefold()


def _match_project(patterns: tuple[Pattern, ...], project: str) -> bool:
    """Return whether patterns match a project that somebody has typed, or are the typed text."""
    with suppress(Invalid):
        return matches_any(patterns, parse_name(project))
    # the text is no name of a project, and may be a pattern such as acme-*
    return project in patterns


def _sort_key(token: ListedToken, field: str) -> tuple[Any, ...]:
    """Return the key by which a token is sorted, which differs for any two tokens."""
    record = token.record
    value: object = record.created_at
    if field == "used":
        value = token.last_used or date.min
    elif field == "expires":
        value = record.expires_at
    elif field == "name":
        value = record.name.casefold()
    return value, record.created_at, record.id
