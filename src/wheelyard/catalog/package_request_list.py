"""The stored list of requests for public packages: one object that all processes share."""

import logging
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import DocumentCache, Snapshot
from wheelyard.concurrency.runtime import ConflictRetries
from wheelyard.errors import DAMAGED, Unavailable
from wheelyard.model.package_requests import RequestList
from wheelyard.storage.base import ABSENT

NO_REQUESTS: Final = RequestList()
REMEMBERED_SECONDS: Final = 600.0
"""The age up to which a page shows the list in memory, without a read of the store."""

logger = logging.getLogger("wheelyard")


class RequestRecords(Struct, frozen=True):
    """
    Reads and changes the list of requests.

    Threads may share an object. Every method raises Unavailable if the store does not answer. A
    damaged list counts as empty: it has the requests of the last days, and nothing depends on it.
    """

    documents: DocumentCache[RequestList]
    retries: ConflictRetries

    def get(self) -> RequestList:
        """Return the list as it is in the store now, which is empty if there is none."""
        return _list_in(self._read())

    def peek_memory(self) -> RequestList | None:
        """
        Return the list if this process has read it within `REMEMBERED_SECONDS`, else None.

        The store is not read.
        """
        cached = self.documents.peek(keys.PACKAGE_REQUESTS, "any")
        if cached is None:
            return None
        age = self.retries.runtime.monotonic() - cached.validated_at
        if age > REMEMBERED_SECONDS:
            return None
        return cached.value

    def change(self, change: Callable[[RequestList], RequestList]) -> RequestList:
        """
        Write the list that `change` returns, unless it is the same as before, and return it.

        `change` may be called again, with a newer list. A change whose answer was lost may be made
        twice. A damaged list is replaced. Raises the error of `change`, and Unavailable (code
        `overloaded`) if too many writers change the list.
        """
        for _ in self.retries.attempts():
            snapshot = self._read()
            before = _list_in(snapshot)
            after = change(before)
            if after == before:
                return before
            # over a damaged list, whose version is not known, and in which nothing can be read
            if snapshot is None:
                self.documents.put(keys.PACKAGE_REQUESTS, after, None)
                return after
            if self.documents.swap(keys.PACKAGE_REQUESTS, after, snapshot.version or ABSENT):
                return after
        raise self.retries.exhausted(keys.PACKAGE_REQUESTS)

    def _read(self) -> Snapshot[RequestList] | None:
        """Return a snapshot of the list as it is in the store now, or None if it is damaged."""
        try:
            return self.documents.get(keys.PACKAGE_REQUESTS, "current")
        except Unavailable as fault:
            # a list that only a newer version may read is not damaged, and must not be replaced
            if fault.code != DAMAGED:
                raise
            logger.warning("requests for public packages are lost: %s", fault.message)
            return None


def _list_in(snapshot: Snapshot[RequestList] | None) -> RequestList:
    """Return the list of a snapshot, or an empty one without a list, or for a damaged one."""
    if snapshot is None or snapshot.value is None:
        return NO_REQUESTS
    return snapshot.value
