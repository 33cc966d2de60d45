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
"""How long a list that was read for something else may be counted for a page."""

logger = logging.getLogger("wheelyard")


class RequestRecords(Struct, frozen=True):
    """
    Reads and changes the list.

    Threads may share it. Every method raises Unavailable if the store does not answer. A list that
    is damaged counts as empty: it has what was asked in the last days, and nothing depends on it.
    """

    documents: DocumentCache[RequestList]
    retries: ConflictRetries

    def get(self) -> RequestList:
        """Return the list as it is in the store now, which is empty if there is none."""
        snapshot = self._read()
        return (snapshot and snapshot.value) or NO_REQUESTS

    def peek_memory(self) -> RequestList | None:
        """Return the list if this process has read it in the last ten minutes. Reads no store."""
        cached = self.documents.peek(keys.PACKAGE_REQUESTS, "any")
        if cached is None:
            return None
        age = self.retries.runtime.monotonic() - cached.validated_at
        return cached.value if age <= REMEMBERED_SECONDS else None

    def change(self, change: Callable[[RequestList], RequestList]) -> RequestList:
        """
        Write what `change` makes of the list, unless that is the same, and return it.

        It may be called again, with a newer list. A change whose answer was lost may be made twice.
        A damaged list is replaced. Raises what `change` raises, and Unavailable (code `overloaded`)
        if too many writers change the list.
        """
        for _ in self.retries.attempts():
            snapshot = self._read()
            before = (snapshot and snapshot.value) or NO_REQUESTS
            after = change(before)
            if after == before:
                return before
            # over a damaged list, whose version is not known: nothing in it could be kept
            if snapshot is None:
                self.documents.put(keys.PACKAGE_REQUESTS, after, None)
                return after
            if self.documents.swap(keys.PACKAGE_REQUESTS, after, snapshot.version or ABSENT):
                return after
        raise self.retries.exhausted(keys.PACKAGE_REQUESTS)

    def _read(self) -> Snapshot[RequestList] | None:
        """Return the list, or None if it is damaged."""
        try:
            return self.documents.get(keys.PACKAGE_REQUESTS, "current")
        except Unavailable as fault:
            # what only a newer version may read is not damaged, and is left to that
            if fault.code != DAMAGED:
                raise
            logger.warning("requests for public packages are lost: %s", fault.message)
            return None
