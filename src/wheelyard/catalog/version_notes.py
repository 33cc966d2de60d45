"""Notes about versions of public packages: documents that several servers add to."""

from collections.abc import Mapping
from typing import Generic, TypeVar

from packaging.utils import NormalizedName

from wheelyard.catalog.document_cache import DocumentCache, Snapshot
from wheelyard.concurrency.runtime import ConflictRetries
from wheelyard.storage.base import Key

V = TypeVar("V")

NoteDocument = dict[str, dict[NormalizedName, dict[str, V]]]
"""The stored form: one member, whose value is by project and version."""


class VersionNotes(Generic[V]):
    """
    Reads and changes the document at `key` with one `member`.

    Threads may share it. `retries` are for conflicts with other servers.
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
        """Return what the document says of a project, by version."""
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
        Write notes of a project, by version, unless they are there, and return the document.

        `before` is what `get` has just returned. A note that is there stays, unless the new one
        `replaces` it. Raises Unavailable if the document cannot be read or written, or (code
        `overloaded`) if too many writers change it.
        """
        for attempt in self._retries.attempts():
            # another server has changed the document, and what it has added counts
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
            # without an id of the write: if the answer is lost, the next attempt finds the notes
            if self._documents.swap(self._key, after, before.version):
                return self.get()
        raise self._retries.exhausted(self._key)
