"""What is remembered of versions of public projects, in a document of the store."""

from collections.abc import Callable, Mapping
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
    Reads and changes such a document; thread-safe.

    Args:
        key: That of the document.
        member: The name of its member.
        documents: What reads and writes it.
        retries: For conflicts with other servers.
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
        """Return the document, if that needs no read; see DocumentCache."""
        return self._documents.peek(self._key)

    def get(self) -> Snapshot[NoteDocument[V]]:
        """Return the document, from the cache or the store."""
        return self._documents.get(self._key)

    def of(self, name: NormalizedName, noted: Snapshot[NoteDocument[V]]) -> Mapping[str, V]:
        """Return what the document says of a project, by version."""
        return (noted.value or {}).get(self._member, {}).get(name, {})

    def change(
        self,
        name: NormalizedName,
        before: Snapshot[NoteDocument[V]],
        update: Callable[[Mapping[str, V]], Mapping[str, V]],
    ) -> Snapshot[NoteDocument[V]]:
        """
        Write what `update` makes of the notes of a project, unless it is the same; return them all.

        `before` is what `get` has just returned. Raise Unavailable if that cannot be written.
        """
        for attempt in self._retries.attempts():
            if attempt:
                before = self._documents.get(self._key, "current")
            noted = self.of(name, before)
            updated = update(noted)
            if updated == noted:
                return before
            projects = (before.value or {}).get(self._member, {})
            after = {self._member: {**projects, name: dict(updated)}}
            if self._documents.swap(self._key, after, before.version):
                return self.get()
        raise self._retries.exhausted(self._key)
