"""
Stored facts about sessions: the key that signs them, and which were signed out before they expired.

A session itself is in the cookie of a browser alone. The key is created at the first sign-in, and
all processes read it. Without it, or with another one, every session ends.
"""

import logging
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import islice
from typing import Annotated, Final

from msgspec import Meta, Struct

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import DocumentCache, MaxAge, Snapshot, UnreadableIgnored
from wheelyard.catalog.token_records import expired_keys
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
    """Reads and writes the key of sessions, and the records of ended ones; thread-safe."""

    store: Store
    key_documents: DocumentCache[SessionKey]
    ended_documents: DocumentCache[EndedSession]
    runtime: Runtime

    def peek_key(self) -> bytes | None:
        """Return the key if it is cached and recent enough; reads no remote store."""
        return _key_in(self.key_documents.peek(keys.SESSION_KEY))

    def key(self, max_age: MaxAge = "fresh") -> bytes | None:
        """Return the key, read unless it is cached; None if there is none, or it is damaged."""
        with UnreadableIgnored():
            return _key_in(self.key_documents.get(keys.SESSION_KEY, max_age))
        return None

    def require_key(self) -> bytes:
        """Return the key; if there is none, create it. Raise Unavailable if it is damaged."""
        key = _key_in(self.key_documents.get(keys.SESSION_KEY))
        while key is None:
            made = SessionKey(self.runtime.random.randbytes(KEY_BYTES).hex(), self.runtime.now())
            try:
                self.store.put(keys.SESSION_KEY, self.key_documents.codec.encode(made), ABSENT)
            except Conflict:
                pass  # another process was faster
            else:
                logger.info("the key of browser sessions was created: %s", keys.SESSION_KEY)
            key = _key_in(self.key_documents.get(keys.SESSION_KEY, "current"))
        return key

    def end(self, session_id: str, expires_at: datetime) -> None:
        """Record that a session, which expires at a moment, has ended; it may have been before."""
        key, ended = keys.ended_session(expires_at, session_id), EndedSession(self.runtime.now())
        with suppress(Conflict):  # it was ended in another tab
            self.store.put(key, self.ended_documents.codec.encode(ended), ABSENT)
        self.ended_documents.get(key, "current")

    def has_ended(self, session_id: str, expires_at: datetime) -> bool:
        """Return whether a session was signed out; a damaged record says so, too."""
        with UnreadableIgnored():
            key = keys.ended_session(expires_at, session_id)
            return self.ended_documents.get(key).value is not None
        return True

    def remove_expired(self, at_most: int | None = None) -> int:
        """Delete records of ended sessions that have expired, at most so many; return how many."""
        limit = self.runtime.now() - CLOCK_SKEW
        expired = list(islice(expired_keys(self.store, keys.ENDED_SESSIONS, limit), at_most))
        for key in expired:
            self.store.delete(key)
        return len(expired)


def _key_in(snapshot: Snapshot[SessionKey] | None) -> bytes | None:
    return bytes.fromhex(snapshot.value.key) if snapshot and snapshot.value else None
