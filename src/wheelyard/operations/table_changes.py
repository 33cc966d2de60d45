"""Shows, adds, changes and removes the tables of a kind in the store."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any, Generic, TypeVar

from msgspec import Struct

from wheelyard.catalog.commits import Committed, Intent
from wheelyard.catalog.journaled_documents import JournaledDocument
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Conflict, Invalid, NotFound, quoted
from wheelyard.model.decoding import require_one_line
from wheelyard.model.project import EventCommit
from wheelyard.model.stored_tables import (
    ListedTable,
    StoredTable,
    TableEvent,
    TableKeys,
    TableKind,
    TableList,
)
from wheelyard.operations.access_control import NOTE_LIMIT_CHARS
from wheelyard.operations.audit_log import log_tables
from wheelyard.remedies import Caution

L = TypeVar("L", bound=TableList[Any])
C = TypeVar("C", bound=EventCommit[Any])
E = TypeVar("E", bound=TableEvent)
R = TypeVar("R", bound=ListedTable)


class _Change(Struct, frozen=True, kw_only=True):
    """A change of a table, as somebody asks for it."""

    name: str
    keys: Mapping[str, Any]
    by: str
    note: str
    as_of: datetime | None
    """
    When the table was last changed, as far as the caller knows.

    The change fails if somebody has changed the table since. With None it does not.
    """


class StoredTables(Generic[L, C, E, R]):
    """
    Reads and changes the tables of a kind.

    Threads may share an object. Each method raises Unavailable if the store does not answer. A kind
    with rules of its own has a subclass, which overrides the methods that say so. A parameter
    `stored` is the document of the tables, and `by` is the principal of whoever changes a table.

    Args:
        kind: The noun, the keys and the events of the tables.
        records: The document of the tables.
        runtime: Has the clock.
    """

    def __init__(
        self, kind: TableKind[L, E, R], records: JournaledDocument[L, C, E], runtime: Runtime
    ) -> None:
        self.kind = kind
        self.records = records
        self.runtime = runtime

    def read_stored(self) -> L:
        """Return the document as it is in the store now."""
        return self.records.get("current").value or self.records.kind.empty

    def show(self) -> tuple[R, ...]:
        """Return all tables as they are now, in the order in which they were added."""
        return tuple(self.listed_in(self.read_stored()))

    def history(self, after: int, limit: int | None) -> tuple[C, ...]:
        """Return the commits after the number `after`, oldest first, at most `limit` or all."""
        self.read_stored()  # raises if the document is lost, which has the length of its journal
        return tuple(islice(self.records.history(after), limit))

    def add(self, keys: TableKeys, by: str, note: str = "") -> R:
        """
        Add a table, and return it.

        Raises Invalid (code `invalid_field`), with the key, if a key or the note is wrong. Raises
        Conflict (code `..._exists`) if another table has its name, and Invalid or Conflict if the
        table does not fit the others. Raises NotFound if another process has removed it meanwhile.
        """
        committed, name = self.commit_added(keys, by, note, self.require_fit)
        return self.listed_after(committed, name)

    def change(
        self,
        name: str,
        keys: Mapping[str, Any],
        by: str,
        note: str = "",
        as_of: datetime | None = None,
    ) -> R:
        """
        Give other values to keys of a table, and return the table.

        With the same values nothing is written. The value None removes a key. Raises NotFound if
        there is no such table, or another process has removed it meanwhile. Raises Invalid (code
        `invalid_field`), with the key, if a key is wrong or may not be changed, or for a wrong
        note. Raises Conflict (code `..._changed`) unless `as_of` is None or the time of the last
        change of the table. Raises Invalid or Conflict if the table does not fit the others.
        """
        committed = self.commit_changed(name, keys, by, note, as_of, self.require_fit)
        return self.listed_after(committed, name)

    def remove(self, name: str, by: str, note: str = "") -> tuple[Caution, ...]:
        """
        Remove a table, also on a full disk, and return warnings.

        Raises NotFound if there is no such table, and Invalid if the note is not one line of text.
        """
        require_one_line(note, "A note", NOTE_LIMIT_CHARS)
        removed = self.kind.removed(at=self.runtime.now(), by=by, note=note, name=name)
        self.commit(partial(self._removal_events, name, removed), is_end=True)
        return ()

    def _removal_events(self, name: str, removed: E, stored: L) -> tuple[E, ...]:
        """Return the event of a removal. Raises NotFound if there is no such table by now."""
        self.require_stored(name, stored)
        return (removed,)

    def commit_added(
        self, keys: TableKeys, by: str, note: str, require_fit: Callable[[E, L], None]
    ) -> tuple[Committed[L, E], str]:
        """
        Commit a new table, and return the commit and the name of the table.

        A key with the value None is left out. `require_fit` is called in the commit, with the event
        and the document. Raises the errors of `require_fit`, Invalid (code `invalid_field`) if a
        key or the note is wrong, and Conflict (code `..._exists`) if another table has the name.
        """
        require_one_line(note, "A note", NOTE_LIMIT_CHARS)
        # as in a change, in which None removes a key
        keys_with_values = {key: value for key, value in keys.items() if value is not None}
        self._require_keys(keys.keys() - keys_with_values.keys(), keys_with_values)
        checked_keys = self.checked(keys_with_values, None)
        name = str(checked_keys[self.kind.name_key])
        self.require_free(name)
        make_event = partial(self.kind.added, by=by, note=note, keys=checked_keys)
        intent = partial(self._addition_events, name, make_event, require_fit)
        return self.commit(intent), name

    def _addition_events(
        self,
        name: str,
        make_event: Callable[..., E],
        require_fit: Callable[[E, L], None],
        stored: L,
    ) -> tuple[E, ...]:
        """
        Return the event of a new table.

        Raises Conflict if another table has the name, and the errors of `require_fit`.
        """
        # in the commit, as another process may take the name at the same time
        if stored.find(name) is not None:
            raise self.taken(name)
        added = make_event(at=self.runtime.now())
        require_fit(added, stored)
        return (added,)

    def commit_changed(
        self,
        name: str,
        keys: Mapping[str, Any],
        by: str,
        note: str,
        as_of: datetime | None,
        require_fit: Callable[[E, L], None],
    ) -> Committed[L, E]:
        """
        Commit a change of a table, or nothing if the table has these values already.

        The value None removes a key. `require_fit` is called in the commit, with the event and the
        document. Raises the errors of `require_fit`, NotFound if there is no such table, Invalid
        (code `invalid_field`) if a key or the note is wrong, and Conflict (code `..._changed`)
        unless `as_of` is None or the time of the last change of the table. A subclass may refuse a
        change by a Conflict of its own.
        """
        require_one_line(note, "A note", NOTE_LIMIT_CHARS)
        change = _Change(name=name, keys=keys, by=by, note=note, as_of=as_of)
        return self.commit(partial(self._change_events, change, require_fit))

    def _change_events(
        self, change: _Change, require_fit: Callable[[E, L], None], stored: L
    ) -> tuple[E, ...]:
        """Return the event of a change, or none if the table has these keys already."""
        name = change.name
        table_before = self.require_stored(name, stored)
        self._require_unchanged(name, table_before, change.as_of)
        new_keys = self._changed_keys(table_before, change.keys)
        if self.is_same(new_keys, table_before.keys):
            return ()
        self._require_fixed(new_keys, table_before.keys)
        self.require_change(table_before, new_keys)
        checked_keys = self.checked(new_keys, name)
        make_event = self.changed_event(name)
        now = self.runtime.now()
        event = make_event(at=now, by=change.by, note=change.note, keys=checked_keys)
        require_fit(event, stored)
        return (event,)

    def _changed_keys(
        self, table_before: StoredTable, changes: Mapping[str, Any]
    ) -> dict[str, Any]:
        """
        Return the keys of a table after a change.

        Raises Invalid for a removed key that no table of the kind can have.
        """
        merged = {**self.keys_before(table_before, changes), **changes}
        new_keys = {key: value for key, value in merged.items() if value is not None}
        removed_keys = changes.keys() - new_keys.keys()
        # a key that is removed, and that the table did not have, may be misspelt
        self._require_keys(removed_keys - table_before.keys.keys(), table_before.keys)
        return new_keys

    def commit(self, intent: Intent[L, E], *, is_end: bool = False) -> Committed[L, E]:
        """
        Commit events, and log each.

        Set `is_end` if the events end somebody's access: these are committed on a full disk, too.
        """
        change = self.records.change
        if is_end:
            change = self.records.take_away
        committed = change(intent)
        # after the commit, so that the log has no change that was not made
        for event in committed.events:
            log_tables(self.kind.plural, event.by, self.kind.describe_event(event))
        return committed

    def listed_after(self, committed: Committed[L, E], name: str) -> R:
        """Return a table after a commit. Raises NotFound if another process has removed it."""
        for row in self.listed_in(committed.after):
            if row.name == name:
                return row
        raise NotFound(f"The {self.kind.noun} {quoted(name)} has been removed meanwhile.")

    def listed_in(self, stored: L) -> Iterable[R]:
        """Return the tables of a document as a list has them. A subclass may override it."""
        problems = self.problems(stored)
        rows = list[R]()
        for table in stored.tables:
            rows.append(self.kind.listed_row(table, problems.get(table.name, "")))
        return rows

    def problems(self, stored: L) -> Mapping[str, str]:
        """Return why tables are not in force, by name. A subclass may override it."""
        del stored
        return {}

    def checked(self, keys: TableKeys, name: str | None) -> TableKeys:
        """
        Return the keys of a table as they are stored. A subclass may override it.

        `name` is the name of the table that gets the keys, or None for a new table. Raises Invalid
        (code `invalid_field`), with the key, if one is wrong.
        """
        del name
        return self.kind.checked(keys)

    def require_fit(self, event: E, stored: L) -> None:
        """
        Raise Invalid or Conflict if a change does not fit the other tables.

        Every change fits, unless a subclass overrides it.
        """

    def require_free(self, name: str) -> None:
        """
        Raise Conflict if something else than a table has the name of a new table.

        Nothing has, unless a subclass overrides it.
        """

    def require_change(self, table_before: StoredTable, new_keys: TableKeys) -> None:
        """
        Raise Conflict unless a table may get these keys.

        It may, unless a subclass overrides it.
        """

    def keys_before(self, table_before: StoredTable, changes: Mapping[str, Any]) -> TableKeys:
        """Return the keys that a change starts from. A subclass may override it."""
        del changes
        return table_before.keys

    def is_same(self, new_keys: TableKeys, keys_before: TableKeys) -> bool:
        """Return whether keys have the same meaning. A subclass may override it."""
        return new_keys == keys_before

    def has_key(self, key: str, table: TableKeys) -> bool:
        """Return whether a table can have a key. A subclass may override it."""
        del table
        return self.kind.fields is None or key in self.kind.keys

    def changed_event(self, name: str) -> Callable[..., E]:
        """Return the class of the event for a change of a table. A subclass may override it."""
        del name
        return self.kind.changed

    def require_stored(self, name: str, stored: L) -> StoredTable:
        """Return a table. Raises NotFound if there is none. A subclass may override it."""
        table: StoredTable | None = stored.find(name)
        if table is None:
            raise self.unknown(name)
        return table

    def taken(self, name: str) -> Conflict:
        """Return the error for a new table with the name of another. A subclass may override it."""
        noun = self.kind.noun
        key = self.kind.name_key
        return Conflict(
            f"There is {self.kind.article} {noun} {quoted(name)}. Choose another {key}, or change "
            "that one.",
            code=self.kind.exists_code,
            field=key,
        )

    def unknown(self, name: str) -> NotFound:
        """Return the error for a table that does not exist. A subclass may override it."""
        return NotFound(f"There is no {self.kind.noun} {quoted(name)}.", advice=self.kind.list_them)

    def _require_unchanged(
        self, name: str, table_before: StoredTable, as_of: datetime | None
    ) -> None:
        """Raise Conflict if somebody has changed a table since the caller has read it."""
        if as_of is not None and as_of != table_before.last_changed:
            raise Conflict(
                f"The {self.kind.noun} {quoted(name)} was changed meanwhile, by "
                f"{table_before.last_changed_by}. Look at it as it is now, and then change it.",
                code=self.kind.changed_code,
            )

    def _require_keys(self, names: Iterable[str], table: TableKeys) -> None:
        """Raise Invalid if a table cannot have one of the keys with these names."""
        for key in sorted(names):
            if not self.has_key(key, table):
                raise Invalid(
                    f"{quoted(key)} is no key of {self.kind.article} {self.kind.noun}. Correct it, "
                    "or leave it out.",
                    code="invalid_field",
                    field=key,
                )

    def _require_fixed(self, new_keys: TableKeys, keys_before: TableKeys) -> None:
        """Raise Invalid if a change gives another value to a key that never changes."""
        for key, why in self.kind.fixed_keys.items():
            if key in keys_before and new_keys.get(key) != keys_before[key]:
                raise Invalid(why, code="invalid_field", field=key)
