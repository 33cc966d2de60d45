"""The operation on the feed of all changes."""

from typing import Annotated, Final

from msgspec import Meta, Struct

from wheelyard.api.operation import Call
from wheelyard.authentication.authorization import require_all_read
from wheelyard.catalog.changes import NO_SERIAL

PAGE: Final = 10_000
"""The most changes in one answer."""


class ChangesQuery(Struct, frozen=True):
    """A query for what follows a change."""

    since: Annotated[int, Meta(ge=0, le=999_999_999_999_999)] = 0
    """Its serial; 0 for all changes."""


class ListedChange(Struct, frozen=True):
    """A change: at this serial, a project had this revision."""

    serial: int
    project: str
    revision: int
    """The number of its last commit."""


class ChangeList(Struct, frozen=True):
    """The changes of all projects after a serial, in order."""

    newest: int
    """The serial of the newest change there is."""
    changes: tuple[ListedChange, ...]
    more: bool
    """Whether there are more changes after the last of these."""


def list_changes(call: Call, body: ChangesQuery) -> ChangeList:
    """List which projects have changed since a change; 404 `unknown_serial` after a restore."""
    require_all_read(call.caller)
    changes, newest = call.index.changes.since(body.since, PAGE)
    listed = [
        ListedChange(change.serial, change.project, change.revision)
        for change in changes
        if change.serial != NO_SERIAL
    ]
    return ChangeList(newest, tuple(listed), more=bool(listed) and listed[-1].serial < newest)
