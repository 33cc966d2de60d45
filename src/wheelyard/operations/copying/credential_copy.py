"""
Copying what is below `credentials/`: tokens, and the grants and groups of the store.

Sessions of browsers are left out: whoever has the key that signs them could be anybody, so it stays
where it is, and a copy holds no secret.

A token that is revoked in the target stays revoked, and one that was rotated there ends as soon.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from msgspec import Struct

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import Codec
from wheelyard.catalog.journals import AccessRecords
from wheelyard.errors import Conflict
from wheelyard.model.token import TokenRecord
from wheelyard.operations.copying.journaled_copy import copy_document, source_faults
from wheelyard.storage.base import ABSENT, Key, Store, Stored

_RECORDS: Final = Codec(TokenRecord)


class CredentialCopy(Struct, frozen=True):
    """Copies credentials from one store to another one."""

    source: Store
    target: Store
    access: AccessRecords
    """The grants and groups of the target."""

    def wanted(self) -> Iterator[Key]:
        """Yield the key of each object that may have to be copied."""
        # such a record never changes
        used = {entry.key for entry in self.target.list(keys.USED_ID_TOKENS)}
        for entry in self.source.list(keys.CREDENTIALS):
            is_left_out = entry.key.startswith((keys.ACCESS_JOURNAL, keys.SESSIONS))
            if not is_left_out and entry.key not in used:
                yield entry.key

    def copy(self, key: Key) -> int:
        """Copy one of the wanted objects, if it is newer; return how many were written."""
        if key == keys.ACCESS:
            return copy_document(self.source, self.access)
        with source_faults(self.source):
            found = self.source.get(key)
        retries = self.access.commits.retries
        for _ in retries.attempts():
            there = self.target.get(key)
            if not isinstance(found, Stored) or not _is_newer(key, found, there):
                return 0
            version = there.version if isinstance(there, Stored) else ABSENT
            with suppress(Conflict):  # another copy, or a server of the target, was faster
                self.target.put(key, found.body, version)
                return 1
        raise retries.exhausted(key)


def _is_newer(key: Key, found: Stored, there: object) -> bool:
    """Return whether the target needs an object; of two ends of a token it keeps the earlier."""
    if not isinstance(there, Stored):
        return True
    if key.startswith(keys.LAST_USES):
        return found.body > there.body  # days, which sort as text
    if found.body == there.body or not key.startswith(keys.TOKENS):
        return found.body != there.body
    ours, theirs = _RECORDS.decode(key, found.body), _RECORDS.decode(key, there.body)
    if ours.revoked_at is not None:
        return True
    return theirs.revoked_at is None and ours.expires_at <= theirs.expires_at  # else it was rotated
