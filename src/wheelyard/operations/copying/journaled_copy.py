"""
Copying a document with a journal of its own, such as the grants.

The changes are committed in the target one by one, each in the two steps of
`catalog/journaled_document.py`, so that a copy may end at any time.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Generic

from msgspec import Struct

from wheelyard.catalog import keys
from wheelyard.catalog.commit_transfer import diverged
from wheelyard.catalog.journaled_document import C, D, Journal, JournalKind
from wheelyard.concurrency.runtime import ConflictRetries
from wheelyard.errors import Conflict, NotFound, Unavailable
from wheelyard.storage.base import ABSENT, ObjectVersion, Store


class JournaledCopy(Struct, Generic[D, C], frozen=True):
    """Copies one document with its journal from one store to another one."""

    kind: JournalKind[D, C]
    source: Store
    target: Store
    retries: ConflictRetries
    """For the writes of the target, of which a bucket may refuse many at once."""

    def copy(self) -> int:
        """Commit the changes that the target lacks; return how many."""
        kind = self.kind
        with source_faults(self.source):
            newest, _ = kind.read(self.source)
        if not newest.revision:
            return 0
        document, version = kind.read(self.target)
        before = document.revision
        with source_faults(self.source):
            if not kind.is_state_of(document, self.source, newest):
                raise diverged()
        for number in range(before + 1, newest.revision + 1):
            self._ensure_journaled(document)
            with source_faults(self.source):
                commit = Journal(kind, self.source, newest).read(number, is_whole=True)
                document = kind.fold_all(document, [commit])
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
                if self.kind.read(self.target)[1] != version:
                    raise diverged() from error
        raise self.retries.exhausted(key)

    def _ensure_journaled(self, document: D) -> None:
        commit = self.kind.last_commit(document)
        if commit is not None:
            key = self.kind.entry_key(document.revision)
            with suppress(Conflict):  # it is there
                self.target.put(key, self.kind.commits.encode(commit), ABSENT)


@contextmanager
def source_faults(source: Store) -> Iterator[None]:
    """Raise Conflict if an object of `source` is unreadable, Unavailable if all of it is."""
    try:
        yield
    except NotFound as fault:
        raise NotFound(f"in FROM: {fault.message}") from fault
    except Unavailable as fault:
        source.get(keys.FORMAT)
        raise Conflict(f"in FROM: {fault.message}") from fault
