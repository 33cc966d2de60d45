"""
The records of people who sign in with an OpenID Connect provider.

They lie below `credentials/`: who can write them can give people groups of the provider. A session
and a token of a person read the record, so a group that the provider has taken away is lost for
both as soon as the record is written.

A name is claimed before a record has it: by a document of its own, which is made once. So of two
people who come with one name at the same time, one gets it. Who dies in between has the name at the
next sign-in.
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

    Threads may share it. Every method raises Unavailable if the store does not answer. Those that
    return a snapshot raise it also if the record is damaged.
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

        if not self.documents.swap(key, written, snapshot.version, was_written):
            return None
        return written

    def all(self) -> Iterator[Person]:
        """
        Return an iterator of the records, sorted by provider.

        A record cached in its current version is not read. A damaged one is left out: `check`
        reports it.
        """
        return self.documents.read_listed(self.store.list(keys.PEOPLE), self.threads)


class NameClaim(
    Extensible, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """The stored document that says whose a name is."""

    provider: str
    name: str
    person: str
    """The `Person.id` of whoever had the name first. Empty once it was released."""
    claimed_at: datetime


_CLAIMS: Final = Codec(NameClaim)


class PersonNames(Struct, frozen=True):
    """
    The names of people, each of which is that of one person of a provider.

    Threads may share it. Every method raises Unavailable if the store does not answer, or the
    document of a name is damaged.
    """

    store: Store
    retries: ConflictRetries

    def claim(self, provider: str, name: str, person_id: str) -> bool:
        """
        Claim a name for a person, and return whether it is theirs now.

        It is, too, if they had it before. The name counts as it is written. Raises Unavailable
        (code `overloaded`) if too many claim it at once.
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
                # released: the next one writes over it
                version = stored.version
            try:
                self.store.put(key, _CLAIMS.encode(claim), version)
            except Conflict:  # somebody else was faster: see who
                continue
            return True
        raise self.retries.exhausted("the name of a person")

    def holder(self, provider: str, name: str) -> str:
        """Return the `Person.id` of whose a name is, or an empty text if it is nobody's."""
        key = _key(provider, name)
        stored = self.store.get(key)
        if not isinstance(stored, Stored):
            return ""
        return _CLAIMS.decode(key, stored.body).person

    def release(self, provider: str, name: str, person_id: str) -> None:
        """Let the next person have a name, unless it is not that of this person any more."""
        key = _key(provider, name)
        # written and not deleted: a deletion is never conditional, and could meet the next claim
        for _ in self.retries.attempts():
            stored = self.store.get(key)
            if not isinstance(stored, Stored):
                return
            claim = _CLAIMS.decode(key, stored.body)
            if claim.person != person_id:
                return
            try:
                self.store.put(key, _CLAIMS.encode(replace(claim, person="")), stored.version)
            except Conflict:
                continue
            return
        raise self.retries.exhausted("the name of a person")


def _key(provider: str, name: str) -> Key:
    """Return the key of the claim of a name."""
    return keys.person_name(provider, sha256(name.encode()).hexdigest())
