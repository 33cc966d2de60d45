"""
The lease of those who deliver: one process at a time has it.

It needs no clock that several machines agree on, as theirs differ by more than it lasts. Whoever
finds it taken looks at it again: if it was not renewed within 30 seconds of the own monotonic
clock, its holder is dead, or has stood still, and knows that it may send nothing any more.
"""

from datetime import timedelta
from typing import Final

from msgspec import Struct

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import Codec, read_usable
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Conflict
from wheelyard.storage.base import ABSENT, ObjectVersion, Store

LASTS: Final = timedelta(seconds=30)
"""How long deliveries wait for a process that has died."""
RENEWED_AFTER: Final = timedelta(seconds=8)
"""The age from which the lease is renewed."""
_KEY: Final = keys.lease("webhooks")


class DeliveryLeaseDocument(Struct, frozen=True):
    """The stored document of the lease."""

    revision: int = 0
    holder: str = ""
    """A random text for each process, or empty while nobody has it."""


_CODEC: Final = Codec(DeliveryLeaseDocument)


class DeliveryLease:
    """
    The lease as one process has it.

    One thread takes, renews and gives it back. Others may ask whether it is held. These methods
    raise Unavailable if the store does not answer.
    """

    def __init__(self, store: Store, runtime: Runtime) -> None:
        self._store = store
        self._monotonic = runtime.monotonic
        self._holder = runtime.new_id()
        self._document = DeliveryLeaseDocument()
        self._version: ObjectVersion = ABSENT
        self._observed_at = 0.0
        """When this version was found first that somebody else has."""
        self._held_since: float | None = None
        """Before the last write by which this process has it, or None if it has it not."""

    def take(self) -> timedelta:
        """Take the lease, and return zero, or return after how long to try again."""
        now = self._monotonic()
        document, version = read_usable(self._store, _KEY, _CODEC, DeliveryLeaseDocument())
        # a new version: whoever has the lease was alive since the last look
        if version != self._version:
            self._document = document
            self._version = version
            self._observed_at = now
        if document.holder not in {"", self._holder}:
            # by the own clock alone: the document has no time of another machine's
            seconds = self._observed_at + LASTS.total_seconds() - now
            if seconds > 0:
                return timedelta(seconds=seconds)
        try:
            self._write(self._holder)
        except Conflict:  # another process was faster
            return RENEWED_AFTER
        return timedelta()

    def renew(self) -> None:
        """
        Renew the lease if that is due.

        Raises Conflict if another process has taken it.
        """
        since = self._held_since
        if since is not None and self._monotonic() < since + RENEWED_AFTER.total_seconds():
            return
        self._write(self._holder)

    def give_back(self) -> None:
        """Let another process take it at once, unless one has done so already."""
        try:
            self._write("")
        except Conflict:  # another process has taken it, as this one stood still
            pass
        finally:
            self._held_since = None

    def is_held_for(self, seconds: float) -> bool:
        """Return whether no other process can take it for so many seconds."""
        since = self._held_since
        return since is not None and self._monotonic() + seconds < since + LASTS.total_seconds()

    def _write(self, holder: str) -> None:
        """
        Write who has the lease.

        Raises Conflict if the store has another version than the one that was read or written last.
        """
        document = DeliveryLeaseDocument(self._document.revision + 1, holder)
        # before the write: whoever sees it cannot have seen it earlier
        began = self._monotonic()
        try:
            self._version = self._store.put(_KEY, _CODEC.encode(document), self._version)
        except Conflict:
            self._held_since = None
            raise
        self._document = document
        self._held_since = began
