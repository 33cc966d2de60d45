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
    """The number of the last commit of the indexes in the store, or 0 if there is none."""


class IndexHistory(TableHistory[IndexCommit], frozen=True):
    """Changes of the indexes, oldest first."""


class NewIndex(NewTable, frozen=True, forbid_unknown_fields=True):
    """An index to make, and why."""

    keys: KeysOfIndex = field(name="index")
    """The keys of an `[[index]]` table."""
    even_if_open: bool = False
    """
    Whether to make the index although anybody can then read, by an open index, packages that need a
    right in their own index.
    """


class IndexEdit(TableEdit, frozen=True, forbid_unknown_fields=True):
    """A change of an index, and why."""

    keys: KeysOfIndex = field(name="index")
    """The keys that change, with null for each key to remove."""
    as_of: Moment = None
    """
    The time in `changed`, or else in `created`, that the list had for the table. The edit is a
    conflict if the table was changed since. None checks nothing.

    For main, the time is 1970-01-01T00:00:00Z while nobody has changed main.
    """
    even_if_open: bool = False
    """
    Whether to change the index although anybody can then read, by an open index, packages that need
    a right in their own index.
    """


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
