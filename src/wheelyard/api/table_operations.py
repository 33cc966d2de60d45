"""
Operations on the tables of a kind: list, history, add, change and remove.

A kind whose JSON has words of its own has classes of its own in `TableJson`. Each operation raises
Unavailable if the store does not answer, or a document that it needs is damaged.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial, wraps
from typing import Annotated, Any, Final, Generic, TypeVar

from msgspec import Meta, Struct

from wheelyard.api.operation import ApiOperation, Call, Note, RequiredRight
from wheelyard.api.project_operations import HistoryQuery
from wheelyard.model.project import EventCommit
from wheelyard.model.stored_tables import ListedTable, TableKeys, TableKind
from wheelyard.operations.table_changes import StoredTables
from wheelyard.remedies import Caution

Moment = Annotated[datetime, Meta(tz=True)] | None
C = TypeVar("C", bound=EventCommit[Any])
R = TypeVar("R", bound=ListedTable)


class TableAnswer(Struct, Generic[R], frozen=True):
    """The tables of a kind."""

    tables: tuple[R, ...]
    revision: int
    """The number of the last commit of these tables in the store, or 0 if there is none."""


class TableHistory(Struct, Generic[C], frozen=True):
    """Changes of the tables of a kind, oldest first."""

    commits: tuple[C, ...]


class NewTable(Struct, frozen=True, forbid_unknown_fields=True):
    """A table to add, and why."""

    keys: TableKeys
    note: Note = ""


class TableEdit(Struct, frozen=True, forbid_unknown_fields=True):
    """A change of a table, and why."""

    name: str
    keys: TableKeys
    """The keys that change, with null for each key to remove."""
    note: Note = ""
    as_of: Moment = None
    """
    The time in `changed`, or else in `created`, that the list had for the table. The edit is a
    conflict if the table was changed since. None checks nothing.
    """


class TableRemoval(Struct, frozen=True, forbid_unknown_fields=True):
    """The table to remove, and why."""

    name: str
    note: Note = ""


class RemovedTable(Struct, frozen=True):
    """A table that was removed."""

    name: str
    warnings: tuple[Caution, ...] = ()
    """Warnings about what still names the removed table."""


def _no_facts(_call: Call) -> Mapping[str, object]:
    """Return no more facts for the list of a kind."""
    return {}


def _accept(_call: Call, _keys: TableKeys) -> None:
    """Accept all keys: the rules of the kind look at them later."""


class TableJson(Struct, frozen=True, kw_only=True):
    """The JSON of a kind, and what its operations do beside the usual."""

    answer: type[Any]
    """The class of the list of tables."""
    listed: type[ListedTable]
    """The class of a row of the list, which is also the answer to an addition and a change."""
    history: type[Any]
    new: type[NewTable] = NewTable
    edit: type[TableEdit] = TableEdit
    removal: type[TableRemoval] = TableRemoval
    removed: type[RemovedTable] | None = RemovedTable
    """The class of the answer to a removal, or None if that answer is empty."""
    confirmations: tuple[str, ...] = ()
    """Fields of `new`, and perhaps of `edit`, that confirm what is refused without them."""
    facts: Callable[[Call], Mapping[str, object]] = _no_facts
    """Returns more fields of the list, by their names."""
    require: Callable[[Call, TableKeys], None] = _accept
    """Raises Invalid if keys name something that does not exist."""

    def confirmations_of(self, body: type[NewTable | TableEdit]) -> tuple[str, ...]:
        """Return the names of the confirmations that a class of bodies has."""
        return tuple(name for name in self.confirmations if name in body.__struct_fields__)


class TableTexts(Struct, frozen=True, kw_only=True):
    """What the operations do, in sentences, and what their rights allow, for error messages."""

    list: str
    history: str
    add: str
    change: str
    remove: str
    right_to_see: str
    right_to_change: str


class TableOperations:
    """
    The operations on the tables of a kind.

    Args:
        kind: What the tables have in common.
        json: Their JSON.
        texts: What is said of the operations.
        tables: Returns the stored tables that a call is about.
        add_path: The path of the addition, below that of the kind.
    """

    def __init__(
        self,
        kind: TableKind[Any, Any, Any],
        json: TableJson,
        texts: TableTexts,
        tables: Callable[[Call], StoredTables[Any, Any, Any, Any]],
        add_path: str = "add",
    ) -> None:
        self.kind = kind
        self.json = json
        self._tables = tables
        self.list = _with_types(self._list, texts.list, None, json.answer)
        self.history = _with_types(self._history, texts.history, HistoryQuery, json.history)
        self.add = _with_types(self._add, texts.add, json.new, json.listed)
        self.change = _with_types(self._change, texts.change, json.edit, json.listed)
        self.remove = _with_types(self._remove, texts.remove, json.removal, json.removed)
        see_operation = partial(
            ApiOperation, "GET", right=RequiredRight.ADMIN, restricted_act=texts.right_to_see
        )
        change_operation = partial(
            ApiOperation,
            "POST",
            right=RequiredRight.OWN_ADMIN,
            restricted_act=texts.right_to_change,
        )
        path = kind.plural

        # the second of two equal additions or removals would be answered by an error
        self.rows: Final = (
            see_operation(path, self.list),
            see_operation(f"{path}/history", self.history, is_long=True),
            change_operation(f"{path}/{add_path}", self.add, status=201, is_repeatable=False),
            change_operation(f"{path}/change", self.change),
            change_operation(f"{path}/remove", self.remove, is_repeatable=False),
        )

    # `_of_types` gives each of these the types and the docstring of the kind

    def _list(self, call: Call) -> object:
        tables = self._tables(call)
        stored = tables.read_stored()
        rows = tuple(tables.listed_in(stored))
        return self.json.answer(tables=rows, revision=stored.revision, **self.json.facts(call))

    def _history(self, call: Call, body: HistoryQuery) -> object:
        tables = self._tables(call)
        return self.json.history(tables.history(body.after, body.limit or None))

    def _add(self, call: Call, body: NewTable) -> ListedTable:
        # a check that needs the store, which the rules of a kind never read
        self.json.require(call, body.keys)
        confirmed = self._confirmed(body)
        row: ListedTable = self._tables(call).add(body.keys, call.by, body.note, **confirmed)
        return row

    def _change(self, call: Call, body: TableEdit) -> ListedTable:
        self.json.require(call, body.keys)
        confirmed = self._confirmed(body)
        row: ListedTable = self._tables(call).change(
            body.name, body.keys, call.by, body.note, body.as_of, **confirmed
        )
        return row

    def _remove(self, call: Call, body: TableRemoval) -> RemovedTable | None:
        warnings = self._tables(call).remove(body.name, call.by, body.note)
        # tables that nothing else names have no warnings, and no answer
        if self.json.removed is None:
            return None
        return self.json.removed(body.name, warnings)

    def _confirmed(self, body: NewTable | TableEdit) -> dict[str, bool]:
        """Return the confirmations in a body, by their names."""
        names = self.json.confirmations_of(type(body))
        return {name: getattr(body, name) for name in names}


def _with_types(
    run: Callable[..., object], text: str, body: type[Struct] | None, answer: type[Any] | None
) -> Callable[..., Any]:
    """Return a function that calls `run`, and has the types and the docstring of a kind."""

    @wraps(run)
    def operation(*args: Any, **kwargs: Any) -> object:  # noqa: ANN401 - passed on
        return run(*args, **kwargs)

    # the routes, the client and docs/openapi.json read types and docstring of a function
    operation.__doc__ = text
    operation.__annotations__ = {"call": Call, "return": answer or type(None)}
    if body is not None:
        operation.__annotations__["body"] = body
    return operation
