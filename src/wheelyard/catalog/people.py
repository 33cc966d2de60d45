"""
The records of people who sign in with an OpenID Connect provider.

They lie below `credentials/`: who can write them can give people groups of the provider. A session
and a token of a person read the record, so a group that the provider has taken away is lost for
both as soon as the record is written.
"""

from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import DocumentCache, Snapshot
from wheelyard.concurrency.runtime import Runtime
from wheelyard.model.person import Person
from wheelyard.storage.base import Store


class PeopleRecords(Struct, frozen=True):
    """
    Reads and writes the records of people.

    Threads may share it. Every method raises Unavailable if the store does not answer.
    """

    store: Store
    documents: DocumentCache[Person]
    runtime: Runtime
    threads: int = 1
    """The number of records that are read concurrently."""

    def get(self, provider: str, person_id: str) -> Snapshot[Person]:
        """Return a snapshot of a record, read from the store unless a fresh one is cached."""
        return self.documents.get(keys.person(provider, person_id))

    def get_current(self, provider: str, person_id: str) -> Snapshot[Person]:
        """Return a snapshot of a record as it is in the store now."""
        return self.documents.get(keys.person(provider, person_id), "current")

    def save(self, person: Person, snapshot: Snapshot[Person]) -> Person | None:
        """
        Store a record, and return it as stored, or None if `snapshot` is outdated.

        A snapshot without a value makes a new record. After None, the caller reads the record
        again, and decides again.
        """
        key = keys.person(person.provider, person.id)
        write_id = self.runtime.new_id()
        written = replace(person, revision=person.revision + 1, write_id=write_id)

        def was_written(current: Person | None) -> bool:
            return current is not None and current.write_id == write_id

        return written if self.documents.swap(key, written, snapshot.version, was_written) else None

    def all(self) -> Iterator[Person]:
        """
        Return an iterator of the records, sorted by provider.

        A record cached in its current version is not read. A damaged one is left out: `check`
        reports it.
        """
        return self.documents.read_listed(self.store.list(keys.PEOPLE), self.threads)
