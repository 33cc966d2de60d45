"""The operations on indexes."""

from typing import Annotated, Final

from msgspec import Meta, Struct, field

from wheelyard.api.table_operations import (
    Moment,
    NewTable,
    RemovedTable,
    TableEdit,
    TableHistory,
    TableJson,
    TableOperations,
    TableRemoval,
    TableTexts,
)
from wheelyard.model.stored_indexes import INDEX_KIND, IndexCommit, IndexKeys, ListedIndex

KeysOfIndex = Annotated[IndexKeys, Meta(title="IndexKeys")]


class IndexAnswer(Struct, frozen=True):
    """All indexes, first main, whose keys have no name."""

    tables: tuple[ListedIndex, ...] = field(name="indexes")
    revision: int
    """The number of the last change."""


class IndexHistory(TableHistory[IndexCommit], frozen=True):
    """Changes of the indexes, oldest first."""


class NewIndex(NewTable, frozen=True, forbid_unknown_fields=True):
    """An index to make, and why."""

    keys: KeysOfIndex = field(name="index")
    """The keys of an `[[index]]` table."""
    even_if_open: bool = False
    """Whether anybody may read by it what needs a right in its own index."""


class IndexEdit(TableEdit, frozen=True, forbid_unknown_fields=True):
    """A change of an index, and why."""

    keys: KeysOfIndex = field(name="index")
    """The keys that change, with null for those to leave out."""
    as_of: Moment = None
    """
    `changed`, or else `created`, as the list had it: another change since then is a conflict.

    It is 1970-01-01T00:00:00Z for main while nobody has changed it.
    """
    even_if_open: bool = False
    """As in `NewIndex`."""


class IndexRemoval(TableRemoval, frozen=True, forbid_unknown_fields=True):
    """The index to remove, and why."""


class RemovedIndex(RemovedTable, frozen=True):
    """An index that was removed."""


INDEXES: Final = TableOperations(
    INDEX_KIND,
    TableJson(
        answer=IndexAnswer,
        listed=ListedIndex,
        history=IndexHistory,
        new=NewIndex,
        edit=IndexEdit,
        removal=IndexRemoval,
        removed=RemovedIndex,
        confirmations=("even_if_open",),
    ),
    TableTexts(
        list="List the indexes.",
        history="Show the changes of indexes that follow a number.",
        add="Make an index.",
        change="Give other values to keys of an index.",
        remove="Remove an index without packages.",
        right_to_see="see or change indexes",
        right_to_change="change indexes",
    ),
    lambda call: call.index.server.index_administration,
    add_path="make",
)
