"""The matrix of who may do what to a project: a row for each person, program and group."""

from collections.abc import Iterable

from msgspec import Struct

from wheelyard.model.access import AccessEntry, Action


class Reason(Struct, frozen=True):
    """Why somebody has a right."""

    text: str
    """The source of the right in words that name no other project."""
    group: str = ""
    """The group that the right is for, as in a grant, or an empty text without a group."""
    details: str = ""
    """Details that only administrators may know."""


class AccessRow(Struct, frozen=True):
    """A row of the matrix: a principal or a group, its rights, and why it has them."""

    who: str
    """A principal or a group, as in a grant, or words, such as `everybody`."""
    actions: Action
    """All actions that `who` may do, also through groups."""
    reasons: tuple[Reason, ...]


def access_rows(entries: Iterable[AccessEntry]) -> list[AccessRow]:
    """
    Return the rows of the matrix, those with most rights first.

    A group has a row, too: a provider may know members of the group whom the index does not know.
    """
    rows: dict[str, AccessRow] = {}
    for entry in entries:
        _add_reason(rows, entry.who, entry.actions, Reason(entry.reason, details=entry.details))
        for member in entry.members:
            membership = Reason(entry.reason, group=entry.who, details=entry.details)
            _add_reason(rows, member, entry.actions, membership)
    # more rights are the larger number, and rows with equal rights stay in their order
    return sorted(rows.values(), key=lambda row: -row.actions)


def _add_reason(rows: dict[str, AccessRow], who: str, actions: Action, reason: Reason) -> None:
    """Add actions, and the reason for them, to the row of `who`, or to a new row."""
    row = rows.get(who, AccessRow(who, Action(0), ()))
    rows[who] = AccessRow(who, row.actions | actions, (*row.reasons, reason))
