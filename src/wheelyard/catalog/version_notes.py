"""Notes about versions of public packages, in documents to which several servers add."""

from collections.abc import Mapping
from typing import Generic, TypeVar

from packaging.utils import NormalizedName

from wheelyard.catalog.document_cache import DocumentCache, Snapshot
from wheelyard.concurrency.runtime import ConflictRetries
from wheelyard.storage.base import Key

V = TypeVar("V")

NoteDocument = dict[str, dict[NormalizedName, dict[str, V]]]
"""The stored form: an object with one member, whose value has the notes by project and version."""


class VersionNotes(Generic[V]):
    """
    Reads and changes the document at `key` with one `member`.

    Threads may share an object. `retries` are for conflicts with other servers.
    """

    def __init__(
        self,
        key: Key,
        member: str,
        documents: DocumentCache[NoteDocument[V]],
        retries: ConflictRetries,
    ) -> None:
        self._key = key
        self._member = member
        self._documents = documents
        self._retries = retries

    def peek(self) -> Snapshot[NoteDocument[V]] | None:
        """Return the document if it is cached and fresh, else None."""
        return self._documents.peek(self._key)

    def get(self) -> Snapshot[NoteDocument[V]]:
        """
        Return the document, from the cache or the store.

        Raises Unavailable if the store does not answer, or if the document is damaged.
        """
        return self._documents.get(self._key)

    def of_project(self, name: NormalizedName, noted: Snapshot[NoteDocument[V]]) -> Mapping[str, V]:
        """Return the notes of a project in a document, by version."""
        return (noted.value or {}).get(self._member, {}).get(name, {})

    def add(
        self,
        name: NormalizedName,
        before: Snapshot[NoteDocument[V]],
        notes: Mapping[str, V],
        *,
        replaces: bool = False,
    ) -> Snapshot[NoteDocument[V]]:
        """
        Add notes of a project, by version, to the document, and return the document.

        `before` is the document that `get` has just returned. If it has a note of a version
        already, this note stays, unless the new one `replaces` it. Raises Unavailable if the
        document cannot be read or written, or (code `overloaded`) if too many writers change it.
        """
        for attempt in self._retries.attempts():
            # after a conflict: another server has added notes to the document
            if attempt:
                before = self._documents.get(self._key, "current")
            noted = self.of_project(name, before)
            updated = {**notes, **noted}
            if replaces:
                updated = {**noted, **notes}
            if updated == noted:
                return before
            projects = (before.value or {}).get(self._member, {})
            after = {self._member: {**projects, name: updated}}
            # a write needs no id: if its answer is lost, the next attempt finds the notes
            if self._documents.swap(self._key, after, before.version):
                return self.get()
        raise self._retries.exhausted(self._key)
