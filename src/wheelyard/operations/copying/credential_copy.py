"""
Copies of credentials, of documents that have a journal, and of what is known of upstream indexes.

Sessions of browsers are left out: who has the key that signs them could sign in as anybody, so the
key stays where it is, and a copy holds no secret. Logins through a browser are left out, too, as
they are of no use any more, and so are the secrets of webhooks, which that key opens.

A token that is revoked in the target stays revoked, and a token that was rotated there ends as
early. A line of the htpasswd file that is outdated in the source, or in the target, stays outdated:
every copy brings these lines, as digests with the names, and without the hashes of passwords.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Final

from msgspec import DecodeError, Struct
from msgspec.json import Decoder

from wheelyard.catalog import keys, removed
from wheelyard.catalog.commits import C, D, Journal, JournalKind, diverged
from wheelyard.catalog.document_cache import Codec, gunzipped
from wheelyard.catalog.journaled_documents import JournaledDocument
from wheelyard.catalog.upstream_keys import kept_upstream_keys
from wheelyard.concurrency.runtime import ConflictRetries
from wheelyard.errors import UNREADABLE_CODES, Conflict, NotFound, Unavailable
from wheelyard.model.api_token import TokenRecord
from wheelyard.model.person import Person
from wheelyard.remedies import Advice, Remedy
from wheelyard.storage.base import ABSENT, Found, Key, ObjectVersion, Store, Stored

_RECORDS: Final = Codec(TokenRecord)
_PEOPLE: Final = Codec(Person)
_PASSWORDS: Final = Codec(removed.ChangedPasswords)
_LEFT_OUT: Final = (keys.SESSIONS, removed.DEVICE_LOGINS, keys.WEBHOOK_SECRETS)
RightsRecords = tuple[JournaledDocument[Any, Any, Any], ...]
"""The documents below `credentials/` that have a journal, at least one."""
_Json = dict[str, Any]

SIZE_LIMIT: Final = 256 * 1024**2
"""Bytes of the largest page that is copied, before compression."""
NEVER: Final = datetime.min.replace(tzinfo=UTC)
_DOCUMENTS: Final = Codec[_Json](dict)


def copy_document(source: Store, target: JournaledDocument[D, C, Any]) -> int:
    """
    Add the commits that a document of the target lacks, and return how many were added.

    Raises Conflict if the document of the target is not an earlier state of that of the source, if
    one of them is damaged, or if the document of the source is lost. Raises Unavailable if a store
    does not answer.
    """
    kind = target.kind
    with source_faults(source):
        source_document, _ = kind.read(source)
    if not source_document.revision:
        # a journal without a document says that the document is lost, and not that it is empty
        with source_faults(source):
            is_lost = next(source.list(kind.entries), None) is not None
        if is_lost:
            raise Conflict(f"in FROM: {kind.key} is lost.", advice=Advice(Remedy.CHECK_STORE))
        return 0
    with target_faults():
        target_document, _ = kind.read(target.commits.store)
    with source_faults(source):
        # if both have commits that the other lacks, none may be lost, so nothing is copied
        if not kind.is_state_of(target_document, source, source_document):
            raise diverged()
        missing_numbers = range(target_document.revision + 1, source_document.revision + 1)
        commits = commits_of(kind, source, source_document, missing_numbers)
    if commits:
        with target_faults():
            target.commits.add(kind, commits)
    return len(commits)


def commits_of(kind: JournalKind[D, C], source: Store, document: D, numbers: range) -> list[C]:
    """
    Return the commits with these numbers of a document of the source.

    Raises Conflict if a commit is damaged or lost. Raises Unavailable if the source does not
    answer.
    """
    with source_faults(source):
        journal = Journal(kind, source, document)
        return [journal.read(number, is_whole=True) for number in numbers]


@contextmanager
def source_faults(source: Store) -> Iterator[None]:
    """
    Raise Conflict if an object of the source cannot be read, and name the source in the message.

    Raises Unavailable if the whole source cannot be read. A NotFound stays a NotFound.
    """
    try:
        yield
    except NotFound as fault:
        raise NotFound(f"in FROM: {fault.message}") from fault
    except Unavailable as fault:
        source.get(keys.FORMAT)  # raises Unavailable if the whole source cannot be read
        raise Conflict(f"in FROM: {fault.message}") from fault


@contextmanager
def target_faults() -> Iterator[None]:
    """
    Raise Conflict if a document of the target is damaged, and name the target in the message.

    Any other Unavailable stays an Unavailable.
    """
    try:
        yield
    except Unavailable as fault:
        if fault.code in UNREADABLE_CODES:
            raise Conflict(f"in TO: {fault.message}") from fault
        raise


class CredentialCopy(Struct, frozen=True):
    """
    Copies credentials from one store to another one.

    Each method raises Unavailable if a store does not answer.
    """

    source: Store
    target: Store
    rights: RightsRecords
    """The documents of the target that have a journal."""

    def keys_to_copy(self) -> Iterator[Key]:
        """
        Yield the key of each object that may have to be copied.

        Of a document with a journal, the key of the document is yielded, also if it is lost.
        """
        # a record of a used ID token never changes
        copied_keys = {entry.key for entry in self.target.list(keys.USED_ID_TOKENS)}
        key_before: Key | None = None
        for entry in self.source.list(keys.CREDENTIALS):
            key = self._document_key(entry.key)
            is_left_out = key in copied_keys or key.startswith(_LEFT_OUT)
            # the entries of its journal follow a document in the listing, and have the same `key`
            if key != key_before and not is_left_out:
                yield key
            key_before = key

    def _document_key(self, key: Key) -> Key:
        """Return the key of the document if an object is in its journal, or else the same key."""
        for records in self.rights:
            if key.startswith(records.kind.entries):
                return records.kind.key
        return key

    def has_outdated_lines(self) -> bool:
        """Return whether the source has the document of outdated lines."""
        return isinstance(self.source.get(removed.CHANGED_PASSWORDS), Stored)

    def copy(self, key: Key) -> int:
        """
        Copy the object of a key, if it is newer, and return how many objects were written.

        For a document with a journal, returns how many commits were copied. Raises Conflict or
        Unavailable if the object is damaged or lost, or cannot be read in the source, and Conflict
        if the target has commits of the document that the source lacks.
        """
        for records in self.rights:
            if key == records.kind.key:
                return copy_document(self.source, records)
        with source_faults(self.source):
            source_object = self.source.get(key)
        retries = self.rights[0].commits.retries
        for _ in retries.attempts():
            target_object = _find_stored(self.target, key)
            body = self._new_body(key, source_object, target_object)
            if body is None:
                return 0
            with suppress(Conflict):  # another copy, or a server of the target, was faster
                self.target.put(key, body, _version_of(target_object))
                return 1
        raise retries.exhausted(key)

    def _new_body(
        self, key: Key, source_object: Found, target_object: Stored | None
    ) -> bytes | None:
        """Return the bytes to write into the target, or None if nothing has to be written."""
        if not isinstance(source_object, Stored):
            return None
        if key == removed.CHANGED_PASSWORDS:
            return self._join_outdated_lines(source_object, target_object)
        if target_object is None:
            return source_object.body
        if source_object.body == target_object.body:
            return None
        if not _is_newer(key, source_object, target_object):
            return None
        return source_object.body

    def _join_outdated_lines(
        self, source_object: Stored, target_object: Stored | None
    ) -> bytes | None:
        """
        Return the document of outdated lines with the lines of both stores.

        Returns None if the target has all lines already.
        """
        key = removed.CHANGED_PASSWORDS
        target_lines = removed.ChangedPasswords()
        source_lines = _PASSWORDS.decode_whole(key, source_object.body)
        if target_object is not None:
            target_lines = _PASSWORDS.decode_whole(key, target_object.body)
        by_line = removed.joined(target_lines, source_lines)
        if by_line == target_lines.by_line:
            return None
        write_id = self.rights[0].commits.retries.runtime.new_id()
        return _PASSWORDS.encode(target_lines.next_write(by_line, write_id))


def _is_newer(key: Key, source_object: Stored, target_object: Stored) -> bool:
    """Return whether an object of the source has to replace that of the target."""
    if key.startswith(keys.LAST_USES):  # a body is a day, and days sort as text
        return source_object.body > target_object.body
    if key.startswith(keys.TOKENS):
        return _is_newer_token(key, source_object, target_object)
    if key.startswith(keys.PEOPLE):
        return _is_newer_person(key, source_object, target_object)
    # the person who had a name first in the target keeps it
    return not key.startswith(keys.PERSON_NAMES)


def _is_newer_token(key: Key, source_object: Stored, target_object: Stored) -> bool:
    """Return whether the record of a token in the source has to replace that of the target."""
    source_token = _RECORDS.decode(key, source_object.body)
    target_token = _RECORDS.decode(key, target_object.body)
    if source_token.revoked_at is not None:
        return True
    if target_token.revoked_at is not None:
        return False
    # a token that ends earlier in the target was rotated there
    return source_token.expires_at <= target_token.expires_at


def _is_newer_person(key: Key, source_object: Stored, target_object: Stored) -> bool:
    """Return whether the record of a person in the source has to replace that of the target."""
    source_person = _PEOPLE.decode(key, source_object.body)
    target_person = _PEOPLE.decode(key, target_object.body)
    # if the access was ended in one of the stores, it is ended in the target
    if source_person.ended_at is not None:
        return True
    if target_person.ended_at is not None:
        return False
    source_answer = source_person.refused_at or source_person.confirmed_at
    target_answer = target_person.refused_at or target_person.confirmed_at
    return source_answer > target_answer


def _find_stored(store: Store, key: Key) -> Stored | None:
    """Return an object of a store, or None if the store has no such object."""
    answer = store.get(key)
    if not isinstance(answer, Stored):
        return None
    return answer


def _version_of(stored: Stored | None) -> ObjectVersion:
    """Return the version that a write has to expect. `stored` is the object as it was read."""
    if stored is None:
        return ABSENT
    return stored.version


class _FetchedPage(Struct, frozen=True):
    """The field of a stored page that a copy compares: when its index confirmed the page."""

    fetched_at: datetime


_PAGES: Final = Decoder(_FetchedPage)


class UpstreamCopy(Struct, frozen=True):
    """
    Copies the memory of upstream indexes from one store to another one.

    Each method raises Unavailable if a store does not answer.
    """

    source: Store
    target: Store
    retries: ConflictRetries

    def keys_to_copy(self) -> Iterator[Key]:
        """Yield the key of each object that may have to be copied."""
        return kept_upstream_keys(self.source)

    def copy(self, key: Key) -> int:
        """
        Join the object of a key with that of the target, and return how many objects were written.

        Returns 0 if the object is gone, if it is a damaged page, or if the target lacks nothing of
        it. Raises Conflict or Unavailable if an object that is no page is damaged, or cannot be
        read in the source.
        """
        with source_faults(self.source):
            source_object = self.source.get(key)
            if not isinstance(source_object, Stored) or not _is_sound(key, source_object.body):
                return 0
        for _ in self.retries.attempts():
            target_object = _find_stored(self.target, key)
            body: bytes | None = source_object.body
            if target_object is not None:
                body = _join_bodies(key, source_object.body, target_object.body)
            if body is None:
                return 0
            with suppress(Conflict):  # a server of the target has heard from the index meanwhile
                self.target.put(key, body, _version_of(target_object))
                return 1
        raise self.retries.exhausted(key)


def _is_sound(key: Key, body: bytes) -> bool:
    """
    Return whether an object of the source can be copied, which a damaged page cannot.

    Raises Unavailable for a damaged object that is no page.
    """
    if _is_page(key):
        return _fetched_at(body) > NEVER
    _DOCUMENTS.decode(key, body)
    return True


def _join_bodies(key: Key, source_body: bytes, target_body: bytes) -> bytes | None:
    """
    Return the bytes of an object with what both stores know, or the newer one of two pages.

    Returns None if the target needs no other bytes.
    """
    if _is_page(key):
        if _fetched_at(source_body) > _fetched_at(target_body):
            return source_body
        return None
    target_fields = _DOCUMENTS.decode(key, target_body)
    source_fields = _DOCUMENTS.decode(key, source_body)
    joined = _join_fields(source_fields, target_fields)
    if joined == target_fields:
        return None
    return _DOCUMENTS.encode(joined)


def _join_fields(source_fields: _Json, target_fields: _Json) -> _Json:
    """Return the fields of two documents. If both have another value, that of the target counts."""
    joined = source_fields | target_fields
    for name in source_fields.keys() & target_fields.keys():
        if isinstance(source_fields[name], dict) and isinstance(target_fields[name], dict):
            joined[name] = _join_fields(source_fields[name], target_fields[name])
    return joined


def _is_page(key: Key) -> bool:
    """Return whether an object is the page of a project at an upstream index."""
    _, _, key_in_index = key.removeprefix(keys.UPSTREAM).partition("/")
    return keys.project_of_upstream_page(Key(key_in_index)) is not None


def _fetched_at(body: bytes) -> datetime:
    """Return when the index confirmed a page, or NEVER if the page is damaged."""
    try:
        return _PAGES.decode(gunzipped(body, SIZE_LIMIT) or b"").fetched_at
    except (DecodeError, UnicodeDecodeError):
        return NEVER
