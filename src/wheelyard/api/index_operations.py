"""
Operations on indexes.

Each raises Unavailable if the store does not answer, or a document that it needs is damaged.
"""

from datetime import datetime
from itertools import islice
from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from wheelyard.api.access_operations import AccessHistoryQuery
from wheelyard.api.operation import Call
from wheelyard.model.stored_indexes import IndexCommit, ListedIndex
from wheelyard.remedies import Caution


class IndexAnswer(Struct, frozen=True):
    """All indexes, first main, whose keys have no name."""

    indexes: tuple[ListedIndex, ...]
    revision: int
    """The number of the last change."""


class IndexHistory(Struct, frozen=True):
    """Changes of the indexes, oldest first."""

    commits: tuple[IndexCommit, ...]


class NewIndex(Struct, frozen=True, forbid_unknown_fields=True):
    """An index to make, and why."""

    index: dict[str, Any]
    """The keys of an `[[index]]` table."""
    note: str = ""
    even_if_open: bool = False
    """Whether anybody may read by it what needs a right in its own index."""


class IndexEdit(Struct, frozen=True, forbid_unknown_fields=True):
    """A change of an index, and why."""

    name: str
    index: dict[str, Any]
    """The keys that change, with null for those to leave out."""
    note: str = ""
    as_of: Annotated[datetime, Meta(tz=True)] | None = None
    """
    `changed`, or else `created`, as the list had it: another change since then is a conflict.

    It is 1970-01-01T00:00:00Z for main while nobody has changed it.
    """
    even_if_open: bool = False
    """As in `NewIndex`."""


class IndexRemoval(Struct, frozen=True, forbid_unknown_fields=True):
    """The index to remove, and why."""

    name: str
    note: str = ""


class RemovedIndex(Struct, frozen=True):
    """An index that was removed."""

    name: str
    warnings: tuple[Caution, ...] = ()
    """What still names it."""


def list_indexes(call: Call) -> IndexAnswer:
    """List the indexes."""
    administration = call.index.server.index_administration
    return IndexAnswer(administration.show(), administration.in_force.stored().revision)


def make_index(call: Call, body: NewIndex) -> ListedIndex:
    """
    Make an index.

    Raises as `IndexAdministration.make`.
    """
    return call.index.server.index_administration.make(
        body.index, call.by, body.note, even_if_open=body.even_if_open
    )


def change_index(call: Call, body: IndexEdit) -> ListedIndex:
    """
    Give other values to keys of an index.

    Raises as `IndexAdministration.change`.
    """
    administration = call.index.server.index_administration
    return administration.change(
        body.name, body.index, call.by, body.note, body.as_of, even_if_open=body.even_if_open
    )


def remove_index(call: Call, body: IndexRemoval) -> RemovedIndex:
    """
    Remove an index without packages.

    Raises as `IndexAdministration.remove`.
    """
    warnings = call.index.server.index_administration.remove(body.name, call.by, body.note)
    return RemovedIndex(body.name, warnings)


WHOLE_HISTORY: Final = AccessHistoryQuery()


def index_history(call: Call, body: AccessHistoryQuery = WHOLE_HISTORY) -> IndexHistory:
    """Show the changes of indexes that follow a number."""
    in_force = call.index.server.index_administration.in_force
    in_force.stored()  # raises if the list is lost, and with it how long its journal is
    commits = in_force.records.history(body.after)
    return IndexHistory(tuple(islice(commits, body.limit or None)))
