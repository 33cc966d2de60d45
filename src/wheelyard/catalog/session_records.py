"""The key of the sessions of browsers, and the sessions that were signed out."""

import logging
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import islice
from typing import Annotated, Final

from msgspec import Meta, Struct

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import DocumentCache, MaxAge, Snapshot, UnreadableIgnored
from wheelyard.catalog.used_id_tokens import expired_keys
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Conflict
from wheelyard.storage.base import ABSENT, Store

KEY_BYTES: Final = 32
CLOCK_SKEW: Final = timedelta(minutes=2)
"""The largest difference between the clocks of two servers."""

logger = logging.getLogger("wheelyard")


class SessionKey(Struct, frozen=True):
    """The stored document with the key of all sessions."""

    key: Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
    created_at: datetime

    def __repr__(self) -> str:  # without the secret
        return f"SessionKey(created_at={self.created_at})"


class EndedSession(Struct, frozen=True):
    """The stored document about a session that was signed out."""

    ended_at: datetime


class SessionRecords(Struct, frozen=True):
    """
    Reads and writes the key of sessions, and the records of ended sessions.

    Threads may share an object. Every method raises Unavailable if the store that it reads or
    writes does not answer.
    """

    store: Store
    key_documents: DocumentCache[SessionKey]
    ended_documents: DocumentCache[EndedSession]
    runtime: Runtime

    def peek_key(self) -> bytes | None:
        """
        Return the key if it is cached and recent enough, else None.

        A remote store is not read.
        """
        return _key_in(self.key_documents.peek(keys.SESSION_KEY))

    def key(self, max_age: MaxAge = "fresh") -> bytes | None:
        """Return the key, from the cache or the store, or None if it is missing or damaged."""
        with UnreadableIgnored():
            return _key_in(self.key_documents.get(keys.SESSION_KEY, max_age))
        return None

    def require_key(self) -> bytes:
        """
        Return the key, which is created if there is none.

        Raises Unavailable if the key is damaged.
        """
        key = _key_in(self.key_documents.get(keys.SESSION_KEY))
        while key is None:
            random_key = self.runtime.random.randbytes(KEY_BYTES)
            document = SessionKey(random_key.hex(), self.runtime.now())
            try:
                self.store.put(keys.SESSION_KEY, self.key_documents.codec.encode(document), ABSENT)
            except Conflict:
                pass  # another process was faster
            else:
                logger.info("the key of browser sessions was created: %s", keys.SESSION_KEY)
            # read even after its own write, as two servers that start at once must use one key
            key = _key_in(self.key_documents.get(keys.SESSION_KEY, "current"))
        return key

    def end(self, session_id: str, expires_at: datetime) -> None:
        """Record that a session has ended, unless that is recorded already."""
        key = keys.ended_session(expires_at, session_id)
        record = EndedSession(self.runtime.now())
        with suppress(Conflict):  # the session was ended in another tab
            self.store.put(key, self.ended_documents.codec.encode(record), ABSENT)
        # read, as the cache of this server still has that there is no such record
        self.ended_documents.get(key, "current")

    def has_ended(self, session_id: str, expires_at: datetime) -> bool:
        """Return whether the store has a record, damaged or not, that a session was signed out."""
        with UnreadableIgnored():
            key = keys.ended_session(expires_at, session_id)
            return self.ended_documents.get(key).value is not None
        # only a session that has ended has a record, even a damaged one
        return True

    def remove_expired(self, at_most: int | None = None) -> int:
        """
        Delete the records of ended sessions that have expired, and return how many were deleted.

        At most `at_most` records are deleted, or all for None.
        """
        # another server, whose clock is behind, may still accept a session that has just expired
        limit = self.runtime.now() - CLOCK_SKEW
        expired = list(islice(expired_keys(self.store, keys.ENDED_SESSIONS, limit), at_most))
        for key in expired:
            self.store.delete(key)
        return len(expired)


def _key_in(snapshot: Snapshot[SessionKey] | None) -> bytes | None:
    """Return the key in a document, or None without one."""
    if snapshot is None or snapshot.value is None:
        return None
    return bytes.fromhex(snapshot.value.key)
