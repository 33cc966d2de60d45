"""
Copying a document with a journal of its own, such as the grants.

The changes are committed in the target one by one, each in the two steps of
`catalog/journaled_document.py`, so that a copy may end at any time.
"""

from dataclasses import dataclass
from typing import Generic

from wheelyard.catalog.commit_transfer import diverged
from wheelyard.catalog.conflict_retry import ConflictRetries
from wheelyard.catalog.document_cache import damaged, digest
from wheelyard.catalog.journaled_document import C, D, E, JournalKind
from wheelyard.errors import Conflict
from wheelyard.operations.copying.source_faults import source_faults
from wheelyard.storage.base import ABSENT, ObjectVersion, Store, Stored


@dataclass(frozen=True, slots=True)
class JournaledCopy(Generic[D, C, E]):
    """Copies one document with its journal from one store to another one."""

    kind: JournalKind[D, C, E]
    source: Store
    target: Store
    retries: ConflictRetries
    """For the writes of the target, of which a bucket may refuse many at once."""

    def copy(self) -> int:
        """Commit the changes that the target lacks; return how many."""
        kind = self.kind
        with source_faults(self.source):
            newest, _ = self._read(self.source)
        if not newest.revision:
            return 0
        document, version = self._read(self.target)
        before = document.revision
        last = kind.last_commit(document)
        if before > newest.revision or last != self._commit(newest, before):
            raise diverged()
        for number in range(before + 1, newest.revision + 1):
            self._ensure_journaled(document)
            commit = self._commit(newest, number)
            if commit is None or commit.previous != self._digest(document):
                raise damaged(
                    f"in FROM: {kind.entry_key(number)} does not continue the journal. Run "
                    "'wheelyard check' there."
                )
            document = kind.fold(document, commit)
            version = self._put(document, version)
        if newest.revision > before:
            self._ensure_journaled(document)
        return newest.revision - before

    def _put(self, document: D, version: ObjectVersion) -> ObjectVersion:
        key, body = self.kind.key, self.kind.documents.encode(document)
        for _ in self.retries.attempts():
            try:
                return self.target.put(key, body, version)
            except Conflict as error:
                if self._read(self.target)[1] != version:
                    raise diverged() from error
        raise self.retries.exhausted(key)

    def _ensure_journaled(self, document: D) -> None:
        commit = self.kind.last_commit(document)
        if commit is not None:
            key = self.kind.entry_key(document.revision)
            self.target.create_all([(key, self.kind.commits.encode(commit))])

    def _commit(self, newest: D, number: int) -> C | None:
        if number == newest.revision:
            return self.kind.last_commit(newest)
        key = self.kind.entry_key(number)
        with source_faults(self.source):
            found = self.source.get(key)
            if not isinstance(found, Stored):
                return None
            return self.kind.commits.decode_whole(key, found.body)

    def _read(self, store: Store) -> tuple[D, ObjectVersion]:
        found = store.get(self.kind.key)
        if not isinstance(found, Stored):
            return self.kind.empty, ABSENT
        return self.kind.documents.decode_whole(self.kind.key, found.body), found.version

    def _digest(self, document: D) -> str:
        commit = self.kind.last_commit(document)
        return digest(self.kind.commits.encode(commit)) if commit else ""
