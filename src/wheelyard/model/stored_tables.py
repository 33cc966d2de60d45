"""
Tables that the store keeps in one document, each under a name of its own, with a journal.

A table is kept as its keys that were given, so that the defaults are those of the version that
reads it. Whether it is valid is for the rules of its kind to say: a version that does not know one
of the keys takes the table for wrong.

A kind of table has classes of its own for events and for what is stored, as each kind has its own
words in the JSON of a store. `TableKind` names them.
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
"""When a table was changed last that is there before anybody has changed it."""
TableKeys = dict[str, Any]
"""The keys of a table, with their values as JSON."""


class TableEvent(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="what"):
    """A change of such a document by a principal."""

    at: datetime
    """UTC."""
    by: str
    """The principal: `local:NAME`, `user:EMAIL`."""
    note: str = ""
    """Why, in the words of who has made the change."""


class TableAdded(TableEvent, frozen=True, kw_only=True, omit_defaults=True):
    """A table was added."""

    keys: TableKeys
    source: str = ""
    """That of the file by which it was added, or empty if it was added by hand."""


class TableChanged(TableEvent, frozen=True, kw_only=True, omit_defaults=True):
    """A table has other keys now, which are all here."""

    keys: TableKeys
    source: str = ""
    """That of the file by which it was changed, or empty if it keeps the one that it had."""


class TableRemoved(TableEvent, frozen=True, kw_only=True, omit_defaults=True):
    """A table was removed."""

    name: str


class StoredTable(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A table in the store."""

    NAME_KEY: ClassVar[str] = "name"
    """The key with its name."""

    keys: TableKeys
    created: datetime
    created_by: str
    changed: datetime | None = None
    changed_by: str = ""
    note: str = ""
    """That of the last change."""
    source: str = ""
    """That of the file that added or changed it last, or empty if none did."""

    @property
    def name(self) -> str:
        """The name, which no other one of its kind has."""
        # main has no name in its keys, and a damaged table may lack it
        return str(self.keys.get(self.NAME_KEY, ""))

    @property
    def last_changed(self) -> datetime:
        """When it was changed last, or else added."""
        return self.changed or self.created

    @property
    def last_changed_by(self) -> str:
        """The principal that has changed it last, or else added it."""
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
    """In the order in which they were added."""
    commit: Any = None
    """The last commit, number `revision`."""

    def find(self, name: str) -> S | None:
        """Return the table with a name, or None."""
        return next((table for table in self.tables if table.name == name), None)


class ListedTable(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A table in a list for people and programs."""

    name: str
    source: str = ""
    """That of the file that added or changed it last, or empty if none did."""
    keys: TableKeys
    problem: str = ""
    """Why it is not in force, in a sentence, or empty if it is."""
    created: datetime | None = None
    created_by: str = ""
    changed: datetime | None = None
    changed_by: str = ""
    note: str = ""

    @property
    def cautions(self) -> tuple[Caution, ...]:
        """What is probably wrong although it is in force. A kind may say so."""
        return ()


L = TypeVar("L", bound=TableList[Any])
E = TypeVar("E", bound=TableEvent)
R = TypeVar("R", bound=ListedTable)


class TableKind(Struct, Generic[L, E, R], frozen=True, kw_only=True):
    """What all tables of a kind have in common."""

    noun: str
    """What one is called: `publisher`."""
    plural: str
    """What several are called in paths: `publishers`."""
    title: str
    """What several are called in words: `trusted publishers`."""
    exists_code: str
    """The code of a Conflict for a name that another one has."""
    changed_code: str
    """The code of a Conflict for one that somebody else has changed."""
    titles: tuple[str, ...]
    """Those of the columns of a list, of which the last one says who added it and when."""
    article: str = "a"
    fields: type[Struct] | None = None
    """The struct that its keys are, or None if other rules say that."""
    fixed_keys: Mapping[str, str] = MappingProxyType({})
    """The keys that stay as they are, with a sentence that says what to do instead."""
    list_them: Advice | None = None
    """What says which ones there are."""
    added_word: str
    """What was done with a new one: `added`."""
    document: type[L]
    """The class of its document. The other ones are those of commits, tables, events and lists."""
    commit: type[EventCommit[Any]]
    stored: type[StoredTable]
    events: Mapping[type[TableEvent], str]
    """The classes of all events in its document, each with the heading of a list of them."""
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
        Return keys as they are kept, which are those that `fields` has.

        They are not checked if `fields` is None. Raises Invalid (code `invalid_field`), with the
        key, if one is wrong.
        """
        # publishers: other rules read their keys, which depend on the provider
        if self.fields is None:
            return keys
        try:
            checked = decode_table(keys, self.fields)
        except InvalidField as wrong:
            message = f"{wrong.message}."
            raise Invalid(message, code="invalid_field", field=wrong.path[0]) from wrong
        # as the types write them, so that equal tables are stored as equal keys
        kept: TableKeys = to_builtins(checked)
        return kept

    def cells(self, row: ListedTable) -> tuple[str, ...]:
        """Return the words in the columns of a list, but the last one."""
        return (row.name, self.describe_keys(row.keys))

    @property
    def name_key(self) -> str:
        """The key with its name."""
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
                stored = list(tables.tables)
                # in its place: the order is that in which the tables were added
                for position, table in enumerate(stored):
                    if table.name == name:
                        stored[position] = table.after(event)
                return replace(tables, tables=tuple(stored))
            case TableRemoved(name=name):
                left = tuple(before for before in tables.tables if before.name != name)
                return replace(tables, tables=left)
        # an event of a newer version, of which the document says what it has changed
        return tables

    def describe_event(self, event: TableEvent) -> str:
        """
        Return a change in words, without who made it and when.

        Of an event of an unknown class that is the noun alone.
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
                described = ", ".join(filter(None, (change, self.describe_keys(keys))))
                return f"{self.noun} {name}: {described}{note}"
        return self.noun

    def describe_keys(self, keys: Mapping[str, Any]) -> str:
        """Return the keys of a table but its name, with their values, as one line."""
        return describe_table(keys, self.name_key)

    def listed_row(self, table: StoredTable, problem: str = "") -> R:
        """Return a table as a list has it."""
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
