"""
The records of people who sign in with an OpenID Connect provider.

The records are below `credentials/`, as a process that can write them can give people groups of
the provider. Sessions and tokens of a person are checked by the record. So when the provider has
taken away a group, they lose it as soon as the record is written.

A name is claimed before a record has it, by a document of its own, which is created once. So if two
people come with one name at the same time, only one of them gets it. If the process dies between
claim and record, the person gets the name at the next sign-in.
"""

from collections.abc import Iterator
from datetime import datetime
from hashlib import sha256
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import Codec, DocumentCache, Snapshot
from wheelyard.concurrency.runtime import ConflictRetries, Runtime
from wheelyard.errors import Conflict
from wheelyard.model.decoding import Extensible
from wheelyard.model.person import Person
from wheelyard.storage.base import ABSENT, Key, Store, Stored


class PeopleRecords(Struct, frozen=True):
    """
    Reads and writes the records of people.

    Threads may share an object. Every method raises Unavailable if the store does not answer. The
    methods that return a snapshot raise Unavailable, too, if the record is damaged.
    """

    store: Store
    documents: DocumentCache[Person]
    runtime: Runtime
    threads: int
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

        With a snapshot without a value, a new record is made. After None, the caller has to read
        the record and decide again.
        """
        key = keys.person(person.provider, person.id)
        write_id = self.runtime.new_id()
        written = replace(person, revision=person.revision + 1, write_id=write_id)

        def was_written(current: Person | None) -> bool:
            return current is not None and current.write_id == write_id

        if not self.documents.swap(key, written, snapshot.version, was_written):
            return None
        return written

    def all(self) -> Iterator[Person]:
        """
        Return an iterator of the records, sorted by provider.

        A record whose current version is cached is not read. Damaged records are left out, and
        reported by `check`.
        """
        return self.documents.read_listed(self.store.list(keys.PEOPLE), self.threads)


class NameClaim(
    Extensible, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """The stored document with the person who has a name."""

    provider: str
    name: str
    person: str
    """The `Person.id` of whoever had the name first, or empty after its release."""
    claimed_at: datetime


_CLAIMS: Final = Codec(NameClaim)


class PersonNames(Struct, frozen=True):
    """
    The names of people. Each name belongs to one person of a provider.

    Threads may share an object. Every method raises Unavailable if the store does not answer, or
    the document of a name is damaged.
    """

    store: Store
    retries: ConflictRetries

    def claim(self, provider: str, name: str, person_id: str) -> bool:
        """
        Claim a name for a person, and return whether the person has it now.

        The person may have had the name before. Upper and lower case differ. Raises Unavailable
        (code `overloaded`) if too many processes claim the name at once.
        """
        key = _key(provider, name)
        now = self.retries.runtime.now()
        claim = NameClaim(provider=provider, name=name, person=person_id, claimed_at=now)
        for _ in self.retries.attempts():
            stored = self.store.get(key)
            version = ABSENT
            if isinstance(stored, Stored):
                holder = _CLAIMS.decode(key, stored.body).person
                if holder:
                    return holder == person_id
                # the name was released: the claim is written over its document
                version = stored.version
            try:
                self.store.put(key, _CLAIMS.encode(claim), version)
            except Conflict:  # another process was faster: the next attempt reads for whom
                continue
            return True
        raise self.retries.exhausted("the name of a person")

    def holder(self, provider: str, name: str) -> str:
        """Return the `Person.id` of the person who has a name, or an empty text for nobody."""
        key = _key(provider, name)
        stored = self.store.get(key)
        if not isinstance(stored, Stored):
            return ""
        return _CLAIMS.decode(key, stored.body).person

    def release(self, provider: str, name: str, person_id: str) -> None:
        """Release a name for the next person, if it is still the name of this person."""
        key = _key(provider, name)
        # written and not deleted: a deletion is never conditional, and might delete the next claim
        for _ in self.retries.attempts():
            stored = self.store.get(key)
            if not isinstance(stored, Stored):
                return
            claim = _CLAIMS.decode(key, stored.body)
            if claim.person != person_id:
                return
            released = replace(claim, person="")
            try:
                self.store.put(key, _CLAIMS.encode(released), stored.version)
            except Conflict:
                continue
            return
        raise self.retries.exhausted("the name of a person")


def _key(provider: str, name: str) -> Key:
    """Return the key of the claim of a name."""
    name_digest = sha256(name.encode()).hexdigest()
    return keys.person_name(provider, name_digest)
