"""
Renaming of an index that an earlier version has made under the name that main has now.

No server may have the store open. First the documents are copied, then rights that name the index
get its new name, then the definition is committed, and last the documents at the old place are
deleted. If the process dies after any step, the same renaming again goes on.
"""

from collections.abc import Iterator
from datetime import datetime
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from wheelyard.catalog import keys
from wheelyard.catalog.removed import keys_after_rename, without_removed_rules
from wheelyard.errors import Conflict, NotFound, quoted
from wheelyard.model import stored_indexes
from wheelyard.model.api_token import TokenRecord
from wheelyard.model.decoding import require_one_line
from wheelyard.model.index_definition import read_definition
from wheelyard.model.index_name import MAIN, names_after_rename
from wheelyard.operations.access_control import NOTE_LIMIT_CHARS
from wheelyard.operations.index_administration import (
    INDEX_IN_USE,
    IndexAdministration,
)
from wheelyard.storage.base import ABSENT, Key, Store, Stored


class IndexRename(Struct, frozen=True):
    """Gives another name to the index that has the name of main, with its documents and rights."""

    administration: IndexAdministration
    documents: Store
    """The documents of the whole store."""

    def rename(self, name: str, by: str, note: str = "") -> stored_indexes.ListedIndex:
        """
        Rename the index in all that names it: grants, publishers, tokens and layers.

        Returns the index under its new name. A renaming that was interrupted goes on. Raises
        NotFound if no index has the name of main. Raises Invalid (code `invalid_index`) if no index
        can have the new name, and Conflict (code `index_exists`) if another index has the new name,
        or the store has documents of such an index. Raises Invalid, too, if the note is not one
        line of text. Raises Conflict (code `index_in_use`) if documents of the index change
        meanwhile, and Unavailable if the store does not answer.
        """
        require_one_line(note, "A note", NOTE_LIMIT_CHARS)
        administration = self.administration
        stored = administration.in_force.stored()
        # an index that an earlier version has made: the one at the root is in no list
        former_main = stored.find(MAIN)
        has_documents = next(self._list_documents(), None) is not None
        is_interrupted = has_documents and stored.find(name) is not None
        if former_main is None and not is_interrupted:
            raise NotFound(
                "No index of this store is called main but the one at its root, which stays so."
            )
        if former_main is not None:
            self._require_usable(name, former_main.keys, stored)
            self._copy_documents(name)
            # before the definition: once that is committed, main is the index at the root
            self._rename_in_rights(name, by, note)
            self._commit_definitions(name, by, note)
        self._delete_documents(name)
        return next(row for row in administration.show() if row.name == name)

    def _require_usable(
        self, name: str, table: stored_indexes.IndexKeys, stored: stored_indexes.IndexList
    ) -> None:
        """Raise Invalid or Conflict if the index cannot have the new name."""
        administration = self.administration
        if stored.find(name) is not None:
            raise Conflict(
                f"There is an index {quoted(name)} already.", code=stored_indexes.INDEX_EXISTS
            )
        administration.require_free(name)
        # rules of an earlier version raise nothing: the renamed index gets a warning about them
        new_keys = without_removed_rules(_new_keys_of(table, name))
        read_definition(new_keys)

    def _list_documents(self) -> Iterator[tuple[Key, str]]:
        """Yield the key of each document at the old place, and the part behind the folder."""
        for entry in self.documents.list(keys.FORMER_MAIN_FOLDER):
            yield entry.key, entry.key.removeprefix(keys.FORMER_MAIN_FOLDER)

    def _copy_documents(self, name: str) -> None:
        """Copy the documents to their new place, unless the store has a copy already."""
        for key, key_in_index in self._list_documents():
            new_key = Key(f"{keys.index_folder(name)}{key_in_index}")
            body = self._read_body(key)
            copied_body = self._read_body(new_key)
            if copied_body is None and body is not None:
                self.documents.put(new_key, body, ABSENT)
            elif copied_body != body:
                raise Conflict(
                    f"An index {quoted(name)} had documents before. Choose another name.",
                    code=stored_indexes.INDEX_EXISTS,
                )

    def _delete_documents(self, name: str) -> None:
        """
        Delete the documents at the old place.

        Raises Conflict for a document that differs from its copy.
        """
        # a list, as a listing must not go on while its objects are deleted
        for key, key_in_index in list(self._list_documents()):
            new_key = Key(f"{keys.index_folder(name)}{key_in_index}")
            if self._read_body(key) != self._read_body(new_key):
                raise Conflict(
                    f"The index is called {name} now, and something still writes {key}. Stop all "
                    "servers of earlier versions, and have the operator compare both objects.",
                    code=INDEX_IN_USE,
                )
            self.documents.delete(key)

    def _read_body(self, key: Key) -> bytes | None:
        """Return the bytes of an object, or None if the store has no such object."""
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
            if _with_new_name(record, name) != record:
                tokens.update(record.id, partial(_with_new_name, name=name))

    def _commit_definitions(self, name: str, by: str, note: str) -> None:
        """Commit the definition under its new name, and those of the indexes that name it."""
        at = self.administration.runtime.now()
        self.administration.commit(partial(_renaming_events, name, at, by, note))


def _renaming_events(
    name: str, at: datetime, by: str, note: str, stored: stored_indexes.IndexList
) -> tuple[stored_indexes.AnyIndexEvent, ...]:
    """Return the events of a renaming, or nothing if another process has committed them."""
    former_main = stored.find(MAIN)
    if former_main is None:
        return ()
    new_keys = _new_keys_of(former_main.keys, name)
    # one commit: at no time is an index missing that is a layer of another
    events: list[stored_indexes.AnyIndexEvent] = [
        stored_indexes.IndexRemoved(at=at, by=by, note=note, name=MAIN),
        stored_indexes.IndexMade(at=at, by=by, note=note, keys=new_keys),
    ]
    for table in stored.tables:
        changed_keys = keys_after_rename(table.keys, MAIN, name)
        if table.name != MAIN and changed_keys != table.keys:
            stored_keys = stored_indexes.with_main_named(changed_keys)
            events.append(stored_indexes.IndexChanged(at=at, by=by, note=note, keys=stored_keys))
    return tuple(events)


def _new_keys_of(table: stored_indexes.IndexKeys, name: str) -> stored_indexes.IndexKeys:
    """Return the keys of the index under its new name."""
    return stored_indexes.with_main_named(keys_after_rename(table, MAIN, name) | {"name": name})


def _with_new_name(record: TokenRecord, name: str) -> TokenRecord:
    """Return a token whose scope names the index by its new name in place of main."""
    scope = record.in_index
    if scope is None:
        return record
    new_scope = replace(scope, index=names_after_rename(scope.index, MAIN, name))
    return replace(record, in_index=new_scope)
