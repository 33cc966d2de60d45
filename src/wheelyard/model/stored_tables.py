"""
Tables that the store keeps in one document, each under a name of its own, with a journal.

Only the keys that were written are kept, so that the defaults are those of the version that reads
the table. The rules of its kind say whether a table is valid: a version that does not know one of
the keys takes the table for wrong.

Each kind of table has its own classes for events and for stored tables, as each kind has its own
words in the JSON of a store. `TableKind` names these classes.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, ClassVar, Final, Generic, Self, TypeVar

from msgspec import Struct, to_builtins
from msgspec.inspect import Type, type_info
from msgspec.structs import fields, replace

from wheelyard.errors import Invalid
from wheelyard.model.decoding import InvalidField, decode_table
from wheelyard.model.project import EventCommit
from wheelyard.model.table_texts import describe_table
from wheelyard.remedies import Advice, Caution

NEVER_CHANGED: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""The time of the last change of a table that nobody has changed."""
TableKeys = dict[str, Any]
"""The keys of a table, with their values as JSON."""


class TableEvent(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="what"):
    """A change of the tables of a kind by a principal."""

    at: datetime
    """When the change was made, in UTC."""
    by: str
    """The principal that made the change, such as `local:NAME` or `user:EMAIL`."""
    note: str = ""
    """Why the change was made, in the words of who made it, or an empty text."""


class TableAdded(TableEvent, frozen=True, kw_only=True, omit_defaults=True):
    """A table was added."""

    keys: TableKeys
    source: str = ""
    """The name of the file that added the table, or an empty text if no file did."""


class TableChanged(TableEvent, frozen=True, kw_only=True, omit_defaults=True):
    """A table has other keys now, which are all here."""

    keys: TableKeys
    source: str = ""
    """
    The name of the file that changed the table. An empty text leaves the table the source that it
    had.
    """


class TableRemoved(TableEvent, frozen=True, kw_only=True, omit_defaults=True):
    """A table was removed."""

    name: str


class StoredTable(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A table in the store."""

    NAME_KEY: ClassVar[str] = "name"
    """The key that has the name of the table."""

    keys: TableKeys
    created: datetime
    created_by: str
    changed: datetime | None = None
    changed_by: str = ""
    note: str = ""
    """The note of the last change."""
    source: str = ""
    """
    The name of the file that added or changed the table last, or an empty text if no file did.
    """

    @property
    def name(self) -> str:
        """The name of the table, which no other table of its kind has, or empty without one."""
        # the keys of main have no name, and those of a damaged table may lack it
        return str(self.keys.get(self.NAME_KEY, ""))

    @property
    def last_changed(self) -> datetime:
        """When the table was changed last, or if it never was, when it was added."""
        return self.changed or self.created

    @property
    def last_changed_by(self) -> str:
        """The principal that changed the table last, or if it never was changed, that added it."""
        return self.changed_by or self.created_by

    def after(self, event: TableChanged) -> Self:
        """Return the table after a change."""
        return replace(
            self,
            keys=event.keys,
            changed=event.at,
            changed_by=event.by,
            note=event.note,
            # a change by hand does not take the table away from its file
            source=event.source or self.source,
        )


S = TypeVar("S", bound=StoredTable)


class TableList(Struct, Generic[S], frozen=True, kw_only=True, omit_defaults=True):
    """The tables of a kind in the store after the commits 1 to `revision`."""

    revision: int = 0
    tables: tuple[S, ...] = ()
    """The tables in the order in which they were added."""
    commit: Any = None
    """The last commit, number `revision`."""

    def find(self, name: str) -> S | None:
        """Return the table with a name, or None if there is none."""
        return next((table for table in self.tables if table.name == name), None)


class ListedTable(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A table in a list for people and programs."""

    name: str
    source: str = ""
    """
    The name of the file that added or changed the table last, or an empty text if no file did.
    """
    keys: TableKeys
    problem: str = ""
    """Why the table is not in force, in a sentence, or an empty text if it is in force."""
    created: datetime | None = None
    created_by: str = ""
    changed: datetime | None = None
    changed_by: str = ""
    note: str = ""

    @property
    def cautions(self) -> tuple[Caution, ...]:
        """What is probably wrong with a table in force. A subclass may have such warnings."""
        return ()


L = TypeVar("L", bound=TableList[Any])
E = TypeVar("E", bound=TableEvent)
R = TypeVar("R", bound=ListedTable)


class TableKind(Struct, Generic[L, E, R], frozen=True, kw_only=True):
    """What all tables of a kind have in common."""

    noun: str
    """The word for one table: `publisher`."""
    plural: str
    """The word for several tables in paths: `publishers`."""
    title: str
    """The words for several tables in texts: `trusted publishers`."""
    exists_code: str
    """The code of a Conflict for a name that another table has."""
    changed_code: str
    """The code of a Conflict for a table that somebody else has changed."""
    titles: tuple[str, ...]
    """The titles of the columns of a list. The last column says who added a table, and when."""
    article: str = "a"
    fields: type[Struct] | None = None
    """The struct with the keys of a table, or None if other rules define the keys."""
    fixed_keys: Mapping[str, str] = MappingProxyType({})
    """The keys that cannot be changed, each with a sentence that says what to do instead."""
    list_them: Advice | None = None
    """The advice that lists the tables of the kind."""
    added_word: str
    """The word for what was done with a new table: `added`."""
    document: type[L]
    """The class of the document. The fields below have the classes of its parts and of lists."""
    commit: type[EventCommit[Any]]
    stored: type[StoredTable]
    events: Mapping[type[TableEvent], str]
    """The classes of all events in the document, each with the heading of a list of these."""
    added: Callable[..., E]
    changed: Callable[..., E]
    removed: Callable[..., E]
    listed: Callable[..., R]

    @property
    def keys(self) -> dict[str, Type]:
        """The type of each key in `fields`."""
        if self.fields is None:
            return {}
        return {field.encode_name: type_info(field.type) for field in fields(self.fields)}

    def checked(self, keys: TableKeys) -> TableKeys:
        """
        Return the keys of a table in the form in which they are stored.

        Without `fields`, the keys are returned unchecked. Raises Invalid (code `invalid_field`),
        with the key, if a key is wrong.
        """
        # the keys of a publisher depend on its provider, so `parse_publisher` checks them
        if self.fields is None:
            return keys
        try:
            decoded = decode_table(keys, self.fields)
        except InvalidField as fault:
            message = f"{fault.message}."
            raise Invalid(message, code="invalid_field", field=fault.path[0]) from fault
        # decoded and encoded, so that equal tables are stored as equal keys
        stored_keys: TableKeys = to_builtins(decoded)
        return stored_keys

    def cells(self, row: ListedTable) -> tuple[str, ...]:
        """Return the words in the columns of a list, without those of the last column."""
        return (row.name, self.describe_keys(row.keys))

    @property
    def name_key(self) -> str:
        """The key that has the name of a table."""
        return self.stored.NAME_KEY

    def apply(self, tables: L, event: TableEvent) -> L:
        """
        Return a list after an event, with its revision and last commit unchanged.

        An event of an unknown class changes nothing.
        """
        match event:
            case TableAdded(keys=keys, at=at, by=by, note=note, source=source):
                new = self.stored(keys=keys, created=at, created_by=by, note=note, source=source)
                return replace(tables, tables=(*tables.tables, new))
            case TableChanged(keys=keys):
                name = keys.get(self.name_key)
                changed = list(tables.tables)
                # in its place, as the tables are in the order in which they were added
                for position, table in enumerate(changed):
                    if table.name == name:
                        changed[position] = table.after(event)
                return replace(tables, tables=tuple(changed))
            case TableRemoved(name=name):
                remaining = tuple(table for table in tables.tables if table.name != name)
                return replace(tables, tables=remaining)
        # an event of a newer version: the stored document has what the event has changed
        return tables

    def describe_event(self, event: TableEvent) -> str:
        """
        Return a change in words, without who made it and when.

        For an event of an unknown class, that is the noun alone.
        """
        note = ""
        if event.note:
            note = f" ({event.note})"
        match event:
            case TableRemoved():
                return f"{self.noun} {event.name}: removed{note}"
            case TableAdded(keys=keys) | TableChanged(keys=keys):
                change = "changed"
                if isinstance(event, TableAdded):
                    change = self.added_word
                name = keys.get(self.name_key)
                described_keys = self.describe_keys(keys)
                if described_keys:
                    change = f"{change}, {described_keys}"
                return f"{self.noun} {name}: {change}{note}"
        return self.noun

    def describe_keys(self, keys: Mapping[str, Any]) -> str:
        """Return the keys of a table without its name, with their values, as one line."""
        return describe_table(keys, self.name_key)

    def listed_row(self, table: StoredTable, problem: str = "") -> R:
        """Return the row of a list for a table."""
        return self.listed(
            name=table.name,
            source=table.source,
            keys=table.keys,
            problem=problem,
            created=table.created,
            created_by=table.created_by,
            changed=table.changed,
            changed_by=table.changed_by,
            note=table.note,
        )
