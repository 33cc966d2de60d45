"""
Lists of API tokens: what is marked, found and sorted, for administrators of thousands of them.

Everything here works on records that were read before, and reads nothing.
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
"""How long an active token was not used until it is marked."""

TokenMark = Literal["expiring", "unused", "owner-gone"]
"""
What an administrator should look at, of tokens that work or may work again.

- expiring: it expires soon (`EXPIRY_WARNING`)
- unused: it was not used for `UNUSED_AFTER`
- owner-gone: its owner may not use the index any more, or no grant names them

A rotated token, and one of a CI job, have none.
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
"""A state of tokens, or a mark that they have."""
TokenOrder = Literal["created", "-created", "used", "-used", "expires", "-expires", "name"]
"""
By what tokens are sorted, with a minus the greatest first.

One that was never used comes before all that were.
"""

OwnerIsGone = Callable[[ListedToken], bool]
"""Returns whether the owner of a token is gone."""


class TokenFilter(Struct, frozen=True):
    """Which tokens are listed, and in which order."""

    search: str = ""
    """A part of the name, the id, the owner, the maker or a project, in any case."""
    owner: str = ""
    """The principal of the owner."""
    project: str = ""
    """The name of a project that the tokens are for. The pattern of a token may match it."""
    state: TokenSelection | None = None
    sort: TokenOrder = "created"


class MarkedToken(Struct, frozen=True):
    """A listed token, and what an administrator should look at."""

    token: ListedToken
    marks: tuple[TokenMark, ...]


def marked(token: ListedToken, now: datetime, owner_is_gone: OwnerIsGone) -> MarkedToken:
    """Return a token with its marks."""
    record = token.record
    marks = list[TokenMark]()
    # of a rotated token none: another one has replaced it
    if token.state in WORKING_STATES and not record.publishers and record.rotation is None:
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
    selected = [token for token in tokens if _passes(token, token_filter)]
    field = token_filter.sort.removeprefix("-")
    is_descending = token_filter.sort.startswith("-")
    return sorted(selected, key=lambda token: _order(token.token, field), reverse=is_descending)


def _passes(marked_token: MarkedToken, token_filter: TokenFilter) -> bool:
    """Return whether a token passes every condition of a filter."""
    token = marked_token.token
    record = token.record
    state = token_filter.state
    if state is not None and state != token.state and state not in marked_token.marks:
        return False
    if token_filter.owner and record.owner != token_filter.owner:
        return False
    scope = record.scope
    if token_filter.project and not _is_for(scope.projects, token_filter.project):
        return False
    texts = [record.name, record.id, record.owner, record.created_by]
    texts += scope.projects
    texts += scope.indexes
    return token_filter.search.casefold() in "\n".join(texts).casefold()


def _is_for(patterns: tuple[Pattern, ...], project: str) -> bool:
    """Return whether patterns match what somebody has typed as a project, or are that text."""
    with suppress(Invalid):
        return matches_any(patterns, parse_name(project))
    # no name of a project, as it has a star in it: `acme-*`
    return project in patterns


def _order(token: ListedToken, field: str) -> tuple[Any, ...]:
    """Return what tokens are sorted by, which is never the same for two of them."""
    record = token.record
    first: object = record.created_at
    if field == "used":
        first = token.last_used or date.min
    elif field == "expires":
        first = record.expires_at
    elif field == "name":
        first = record.name.casefold()
    return first, record.created_at, record.id
