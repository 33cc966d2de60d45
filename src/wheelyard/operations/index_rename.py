"""
Renaming of an index that an earlier version has made under the name that main has now.

It is done to a store that no server has open. A process may die after each step, and the same
renaming again goes on: the documents are copied, what names the index gets its new name, the
definition is committed, and the documents at the old place are deleted last.
"""

from collections.abc import Iterator
from datetime import datetime
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from wheelyard.catalog import keys
from wheelyard.catalog.removed import renamed, without_removed_rules
from wheelyard.errors import Conflict, NotFound, quoted
from wheelyard.model import stored_indexes
from wheelyard.model.api_token import TokenRecord
from wheelyard.model.decoding import require_one_line
from wheelyard.model.index_definition import read_definition
from wheelyard.model.index_name import MAIN, renamed_in
from wheelyard.operations.access_control import NOTE_LIMIT_CHARS
from wheelyard.operations.index_administration import (
    INDEX_IN_USE,
    IndexAdministration,
)
from wheelyard.storage.base import ABSENT, Key, Store, Stored


class IndexRename(Struct, frozen=True):
    """Gives the index that has the name of main another one, with all that it has."""

    administration: IndexAdministration
    documents: Store
    """The documents of the whole store."""

    def rename(self, name: str, by: str, note: str = "") -> stored_indexes.ListedIndex:
        """
        Rename the index, and what names it: grants, publishers, tokens and layers. Return it.

        A renaming that was interrupted goes on. Raises NotFound if no index has the name of main.
        Raises Invalid (code `invalid_index`) if no index can have the new name, and Conflict (code
        `index_exists`) if another one has it, or had documents there. Raises Invalid, too, if the
        note is not one line of text. Raises Conflict (code `index_in_use`) if its documents change
        meanwhile, and Unavailable if the store does not answer.
        """
        require_one_line(note, "A note", NOTE_LIMIT_CHARS)
        administration = self.administration
        stored = administration.in_force.stored()
        former = stored.find(MAIN)
        has_documents = any(True for _ in self._objects())
        if former is None and not (has_documents and stored.find(name) is not None):
            raise NotFound(
                "No index of this store is called main but the one at its root, which stays so."
            )
        if former is not None:
            self._prepare(name, former.keys, stored)
            self._copy(name)
            # before the definition: from then on main is the index at the root
            self._rename_in_rights(name, by, note)
            self._commit(name, by, note)
        self._delete(name)
        return next(row for row in administration.show() if row.name == name)

    def _prepare(
        self, name: str, table: stored_indexes.IndexKeys, stored: stored_indexes.IndexList
    ) -> None:
        """Raise Invalid or Conflict if the index cannot have this name."""
        administration = self.administration
        if stored.find(name) is not None:
            raise Conflict(
                f"There is an index {quoted(name)} already.", code=stored_indexes.INDEX_EXISTS
            )
        administration.require_free(name)
        # a rule or a filter of an earlier version is told of once the index has its name
        read_definition(without_removed_rules(_renamed(table, name)))

    def _objects(self) -> Iterator[tuple[Key, str]]:
        """Yield the key of each document of the index, and the end of it."""
        for entry in self.documents.list(keys.FORMER_MAIN_FOLDER):
            yield entry.key, entry.key.removeprefix(keys.FORMER_MAIN_FOLDER)

    def _copy(self, name: str) -> None:
        """Copy the documents to their new place, as far as they are not there already."""
        for key, end in self._objects():
            target = Key(f"{keys.index_folder(name)}{end}")
            body = self._body(key)
            copied = self._body(target)
            if copied is None and body is not None:
                self.documents.put(target, body, ABSENT)
            elif copied != body:
                raise Conflict(
                    f"An index {quoted(name)} had documents before. Choose another name.",
                    code=stored_indexes.INDEX_EXISTS,
                )

    def _delete(self, name: str) -> None:
        """Delete the documents at the old place, of which each was copied."""
        # a list, as each step deletes what the listing goes over
        for key, end in list(self._objects()):
            if self._body(key) != self._body(Key(f"{keys.index_folder(name)}{end}")):
                raise Conflict(
                    f"The index is called {name} now, and something still writes {key}. Stop all "
                    "servers of earlier versions, and have the operator compare both objects.",
                    code=INDEX_IN_USE,
                )
            self.documents.delete(key)

    def _body(self, key: Key) -> bytes | None:
        stored = self.documents.get(key)
        if not isinstance(stored, Stored):
            return None
        return stored.body

    def _rename_in_rights(self, name: str, by: str, note: str) -> None:
        """Give the index its new name in grants, publishers and tokens."""
        self.administration.access.rename_index(MAIN, name, by, note)
        self.administration.publishers.rename_index(MAIN, name, by, note)
        tokens = self.administration.tokens
        for record in tokens.all():
            if _in_index(record, name) != record:
                tokens.update(record.id, partial(_in_index, name=name))

    def _commit(self, name: str, by: str, note: str) -> None:
        """Commit the definition under its new name, and those of the indexes that name it."""
        at = self.administration.runtime.now()
        self.administration.commit(partial(_renaming_events, name, at, by, note))


def _renaming_events(
    name: str, at: datetime, by: str, note: str, stored: stored_indexes.IndexList
) -> tuple[stored_indexes.AnyIndexEvent, ...]:
    """Return the events of a renaming, or none if another process has committed them."""
    former = stored.find(MAIN)
    if former is None:
        return ()
    removed_index = stored_indexes.IndexRemoved(at=at, by=by, note=note, name=MAIN)
    keys_of_index = _renamed(former.keys, name)
    # one commit: at no time is an index missing that is a layer of another
    events: list[stored_indexes.AnyIndexEvent] = [
        removed_index,
        stored_indexes.IndexMade(at=at, by=by, note=note, keys=keys_of_index),
    ]
    for table in stored.tables:
        changed = renamed(table.keys, MAIN, name)
        if table.name != MAIN and changed != table.keys:
            new_keys = stored_indexes.with_main(changed)
            events.append(stored_indexes.IndexChanged(at=at, by=by, note=note, keys=new_keys))
    return tuple(events)


def _renamed(table: stored_indexes.IndexKeys, name: str) -> stored_indexes.IndexKeys:
    """Return the keys of the index under its new name."""
    return stored_indexes.with_main(renamed(table, MAIN, name) | {"name": name})


def _in_index(record: TokenRecord, name: str) -> TokenRecord:
    """Return a token with the new name of the index in place of that of main."""
    scope = record.in_index
    if scope is None:
        return record
    return replace(record, in_index=replace(scope, index=renamed_in(scope.index, MAIN, name)))
