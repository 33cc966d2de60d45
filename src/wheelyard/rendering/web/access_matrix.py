"""The matrix of who may do what to a project: a row for each person, program and group."""

from collections.abc import Iterable

from msgspec import Struct

from wheelyard.model.access import AccessEntry, Action


class Reason(Struct, frozen=True):
    """What gives somebody a right."""

    text: str
    """In words, which name no other project."""
    group: str = ""
    """The group through which they have it, as in a grant, or nothing."""
    details: str = ""
    """What only administrators may know."""


class AccessRow(Struct, frozen=True):
    """Who may do something, and what gives it to them."""

    who: str
    """A principal or a group, as in a grant, or words, such as `everybody`."""
    actions: Action
    """All of what they may do, also through groups."""
    reasons: tuple[Reason, ...]


def access_rows(entries: Iterable[AccessEntry]) -> list[AccessRow]:
    """
    Return the rows of the matrix, those with most rights first.

    A group has a row, too: a provider may know members of it that the index does not.
    """
    rows: dict[str, AccessRow] = {}
    for entry in entries:
        _add(rows, entry.who, entry.actions, Reason(entry.reason, details=entry.details))
        for member in entry.members:
            through = Reason(entry.reason, group=entry.who, details=entry.details)
            _add(rows, member, entry.actions, through)
    # more rights are the larger number, and rows with equal ones stay as they come
    return sorted(rows.values(), key=lambda row: -row.actions)


def _add(rows: dict[str, AccessRow], who: str, actions: Action, reason: Reason) -> None:
    """Add what somebody may do, and why, to the row that they have or to a new one."""
    row = rows.get(who, AccessRow(who, Action(0), ()))
    rows[who] = AccessRow(who, row.actions | actions, (*row.reasons, reason))
