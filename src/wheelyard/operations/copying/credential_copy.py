"""
Copies of credentials, and of the documents that have a journal.

Sessions of browsers are left out: whoever has the key that signs them could be anybody, so it stays
where it is, and a copy holds no secret. So are logins through a browser, which are of no use, and
the secrets of webhooks, which that key opens.

A token that is revoked in the target stays revoked, and one that was rotated there ends as early.
A line of the htpasswd file that is outdated in the source, or in the target, stays so: every copy
brings these lines, as digests with the names, and without the hashes of passwords.
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
    Add the commits that the target lacks of a document to it, and return how many.

    Raises Conflict if that of the target is not an earlier state of that of the source, one of them
    is damaged, or that of the source is lost. Raises Unavailable if a store does not answer.
    """
    kind = target.kind
    with source_faults(source):
        in_source, _ = kind.read(source)
    if not in_source.revision:
        # a journal without a document is no empty document
        with source_faults(source):
            is_lost = next(source.list(kind.entries), None) is not None
        if is_lost:
            raise Conflict(f"in FROM: {kind.key} is lost.", advice=Advice(Remedy.CHECK_STORE))
        return 0
    with target_faults():
        in_target, _ = kind.read(target.commits.store)
    with source_faults(source):
        # both have commits of their own: neither may be lost, so nothing is copied
        if not kind.is_state_of(in_target, source, in_source):
            raise diverged()
        missing = range(in_target.revision + 1, in_source.revision + 1)
        commits = commits_of(kind, source, in_source, missing)
    if commits:
        with target_faults():
            target.commits.add(kind, commits)
    return len(commits)


def commits_of(kind: JournalKind[D, C], source: Store, in_source: D, numbers: range) -> list[C]:
    """
    Return commits of a document of the source.

    Raises Conflict if one of them is damaged or lost. Raises Unavailable if the source does not
    answer.
    """
    with source_faults(source):
        journal = Journal(kind, source, in_source)
        return [journal.read(number, is_whole=True) for number in numbers]


@contextmanager
def source_faults(source: Store) -> Iterator[None]:
    """
    Raise Conflict if an object of `source` is unreadable, Unavailable if all of it is.

    A NotFound stays one.
    """
    try:
        yield
    except NotFound as fault:
        raise NotFound(f"in FROM: {fault.message}") from fault
    except Unavailable as fault:
        source.get(keys.FORMAT)  # raises Unavailable if nothing can be read
        raise Conflict(f"in FROM: {fault.message}") from fault


@contextmanager
def target_faults() -> Iterator[None]:
    """Raise Conflict if a document of the target is damaged. Any other Unavailable stays one."""
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
        """Yield the key of each object that may have to be copied, also of a lost document."""
        # such a record never changes
        copied = {entry.key for entry in self.target.list(keys.USED_ID_TOKENS)}
        before: Key | None = None
        for entry in self.source.list(keys.CREDENTIALS):
            key = self._copied_with(entry.key)
            is_left_out = key in copied or key.startswith(_LEFT_OUT)
            # a document comes right before its journal
            if key != before and not is_left_out:
                yield key
            before = key

    def _copied_with(self, key: Key) -> Key:
        """Return the key of the document whose journal an object is in, or else its own."""
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

        For what has a journal, that is the number of commits. Raises Conflict or Unavailable if the
        object is damaged or lost, or cannot be read in the source, and Conflict if the target has
        commits of it that the source lacks.
        """
        for records in self.rights:
            if key == records.kind.key:
                return copy_document(self.source, records)
        with source_faults(self.source):
            in_source = self.source.get(key)
        retries = self.rights[0].commits.retries
        for _ in retries.attempts():
            in_target = _find_stored(self.target, key)
            body = self._new_body(key, in_source, in_target)
            if body is None:
                return 0
            with suppress(Conflict):  # another copy, or a server of the target, was faster
                self.target.put(key, body, _version_of(in_target))
                return 1
        raise retries.exhausted(key)

    def _new_body(self, key: Key, in_source: Found, in_target: Stored | None) -> bytes | None:
        """Return the new bytes of an object of the target, or None if it needs none."""
        if not isinstance(in_source, Stored):
            return None
        if key == removed.CHANGED_PASSWORDS:
            return self._joined_passwords(in_source, in_target)
        if in_target is None:
            return in_source.body
        if in_source.body == in_target.body or not _is_newer(key, in_source, in_target):
            return None
        return in_source.body

    def _joined_passwords(self, in_source: Stored, in_target: Stored | None) -> bytes | None:
        """Return the document of outdated lines of the target with what it lacks of the source."""
        key = removed.CHANGED_PASSWORDS
        target = removed.ChangedPasswords()
        source = _PASSWORDS.decode_whole(key, in_source.body)
        if in_target is not None:
            target = _PASSWORDS.decode_whole(key, in_target.body)
        by_line = removed.joined(target, source)
        if by_line == target.by_line:
            return None
        write_id = self.rights[0].commits.retries.runtime.new_id()
        return _PASSWORDS.encode(target.next_write(by_line, write_id))


def _is_newer(key: Key, in_source: Stored, in_target: Stored) -> bool:
    """Return whether another object of the source counts, and not that of the target."""
    if key.startswith(keys.LAST_USES):  # days, which sort as text
        return in_source.body > in_target.body
    if key.startswith(keys.TOKENS):
        return _is_newer_token(key, in_source, in_target)
    if key.startswith(keys.PEOPLE):
        return _is_newer_person(key, in_source, in_target)
    # whoever had a name first in the target keeps it
    return not key.startswith(keys.PERSON_NAMES)


def _is_newer_token(key: Key, in_source: Stored, in_target: Stored) -> bool:
    """Return whether the record of a token in the source counts, and not that of the target."""
    source_token = _RECORDS.decode(key, in_source.body)
    target_token = _RECORDS.decode(key, in_target.body)
    if source_token.revoked_at is not None:
        return True
    if target_token.revoked_at is not None:
        return False
    # a token that ends earlier in the target was rotated there
    return source_token.expires_at <= target_token.expires_at


def _is_newer_person(key: Key, in_source: Stored, in_target: Stored) -> bool:
    """Return whether the record of a person in the source counts, and not that of the target."""
    source_person = _PEOPLE.decode(key, in_source.body)
    target_person = _PEOPLE.decode(key, in_target.body)
    # an end in either store holds in the target
    if source_person.ended_at is not None:
        return True
    if target_person.ended_at is not None:
        return False
    source_answer = source_person.refused_at or source_person.confirmed_at
    target_answer = target_person.refused_at or target_person.confirmed_at
    return source_answer > target_answer


def _find_stored(store: Store, key: Key) -> Stored | None:
    """Return an object of a store, or None if there is none."""
    answer = store.get(key)
    if not isinstance(answer, Stored):
        return None
    return answer


def _version_of(stored: Stored | None) -> ObjectVersion:
    """Return the version that a write expects, after an object was read or was not there."""
    if stored is None:
        return ABSENT
    return stored.version


class _FetchedPage(Struct, frozen=True):
    """What is read of a page: when its index confirmed it."""

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
        Copy what the target lacks of the object of a key, and return how many were written.

        It is 0 for an object that is gone, and a damaged page. Raises Conflict or Unavailable if
        another object is damaged, or cannot be read in the source.
        """
        with source_faults(self.source):
            in_source = self.source.get(key)
            if not isinstance(in_source, Stored) or not _is_sound(key, in_source.body):
                return 0
        for _ in self.retries.attempts():
            in_target = _find_stored(self.target, key)
            body: bytes | None = in_source.body
            if in_target is not None:
                body = _joined(key, in_source.body, in_target.body)
            if body is None:
                return 0
            with suppress(Conflict):  # a server of the target has heard from the index meanwhile
                self.target.put(key, body, _version_of(in_target))
                return 1
        raise self.retries.exhausted(key)


def _is_sound(key: Key, body: bytes) -> bool:
    """
    Return whether an object of the source can be copied.

    A damaged page cannot. Raises Unavailable for a damaged document.
    """
    if _is_page(key):
        return _fetched_at(body) > NEVER
    _DOCUMENTS.decode(key, body)
    return True


def _joined(key: Key, in_source: bytes, in_target: bytes) -> bytes | None:
    """Return the new bytes of an object of the target, or None if it needs none."""
    if _is_page(key):
        if _fetched_at(in_source) > _fetched_at(in_target):
            return in_source
        return None
    before = _DOCUMENTS.decode(key, in_target)
    joined = _joined_documents(_DOCUMENTS.decode(key, in_source), before)
    if joined == before:
        return None
    return _DOCUMENTS.encode(joined)


def _joined_documents(in_source: _Json, in_target: _Json) -> _Json:
    """Return what two documents say, with that of the target where they do not agree."""
    joined = in_source | in_target
    for name in in_source.keys() & in_target.keys():
        if isinstance(in_source[name], dict) and isinstance(in_target[name], dict):
            joined[name] = _joined_documents(in_source[name], in_target[name])
    return joined


def _is_page(key: Key) -> bool:
    """Return whether an object is the page of a project at an upstream index."""
    below = key.removeprefix(keys.UPSTREAM).partition("/")[2]
    return keys.project_of_upstream_page(Key(below)) is not None


def _fetched_at(body: bytes) -> datetime:
    """Return when the index confirmed a page, or NEVER if the page is damaged."""
    try:
        return _PAGES.decode(gunzipped(body, SIZE_LIMIT) or b"").fetched_at
    except (DecodeError, UnicodeDecodeError):
        return NEVER
