"""
The records of logins of programs through a browser.

A login has a record only once somebody has decided about it, or has typed a wrong code. All
servers of an index see it at once: it is never cached.
"""

from itertools import islice

from msgspec import Struct
from msgspec.structs import replace

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import DocumentCache, Snapshot
from wheelyard.catalog.stored_credentials import CLOCK_SKEW, expired_keys
from wheelyard.concurrency.runtime import ConflictRetries
from wheelyard.model.device_login import LoginRecord, LoginRequest
from wheelyard.storage.base import Store


class DeviceLoginRecords(Struct, frozen=True):
    """
    Reads and writes the records of logins.

    Threads may share it. Every method raises Unavailable if the store does not answer.
    """

    store: Store
    documents: DocumentCache[LoginRecord]
    retries: ConflictRetries

    def get(self, request: LoginRequest) -> Snapshot[LoginRecord]:
        """Return a snapshot of the record of a login as it is in the store now."""
        return self.documents.get(keys.device_login(request.expiry, request.id), "current")

    def save(
        self, request: LoginRequest, record: LoginRecord, snapshot: Snapshot[LoginRecord]
    ) -> bool:
        """Store a record, and return whether that succeeded: not if `snapshot` is outdated."""
        write_id = self.retries.runtime.new_id()

        def was_written(current: LoginRecord | None) -> bool:
            return current is not None and current.write_id == write_id

        written = replace(record, write_id=write_id)
        key = keys.device_login(request.expiry, request.id)
        return self.documents.swap(key, written, snapshot.version, was_written)

    def remove_expired(self, at_most: int | None = None) -> int:
        """
        Delete the records of logins that have ended, and return how many.

        At most `at_most` are deleted, or all for None.
        """
        limit = self.retries.runtime.now() - CLOCK_SKEW
        expired = list(islice(expired_keys(self.store, keys.DEVICE_LOGINS, limit), at_most))
        for key in expired:
            self.store.delete(key)
        return len(expired)
