"""
The delivery lease, a stored document: only the process that holds it delivers to webhooks.

The lease needs no clock that several machines agree on, as their clocks may differ by more than it
lasts. A process that finds the lease taken watches the version of its document. If the version has
not changed for 30 seconds by the monotonic clock of the watching process, the holder has died, or
has stood still; then the holder knows by its own clock that it may send nothing any more.
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
"""How long a lease lasts after its last write, so how long others wait for a dead process."""
RENEWED_AFTER: Final = timedelta(seconds=8)
"""The age from which the holder renews the lease."""
_KEY: Final = keys.lease("webhooks")


class DeliveryLeaseDocument(Struct, frozen=True):
    """The stored document of the lease."""

    revision: int = 0
    holder: str = ""
    """A random text for each process, or empty while nobody has it."""


_CODEC: Final = Codec(DeliveryLeaseDocument)


class DeliveryLease:
    """
    The delivery lease, for one process.

    One thread takes the lease, renews it and gives it back; those methods raise Unavailable if the
    store does not answer. Other threads may ask whether the lease is held.
    """

    def __init__(self, store: Store, runtime: Runtime) -> None:
        self._store = store
        self._monotonic = runtime.monotonic
        self._holder = runtime.new_id()
        self._document = DeliveryLeaseDocument()
        self._version: ObjectVersion = ABSENT
        self._observed_at = 0.0
        """When this process first read this version of the document, by the monotonic clock."""
        self._held_since: float | None = None
        """When this process began its last write as holder, or None if it is not the holder."""

    def take(self) -> timedelta:
        """Take the lease and return zero, or return how long to wait before the next try."""
        document, version = read_usable(self._store, _KEY, _CODEC, DeliveryLeaseDocument())
        # a time after the read, which may have taken long: the holder wrote this version before it
        now = self._monotonic()
        # a new version: the holder was alive after the last look
        if version != self._version:
            self._document = document
            self._version = version
            self._observed_at = now
        is_held_by_another = document.holder not in {"", self._holder}
        if is_held_by_another:
            # by the clock of this process alone: the document has no time of another machine
            remaining_seconds = self._observed_at + LASTS.total_seconds() - now
            if remaining_seconds > 0:
                return timedelta(seconds=remaining_seconds)
        try:
            self._write(self._holder)
        except Conflict:  # another process was faster
            return RENEWED_AFTER
        return timedelta()

    def renew(self) -> None:
        """
        Renew the lease if its last write is older than `RENEWED_AFTER`.

        Raises Conflict if another process has taken the lease.
        """
        held_since = self._held_since
        if held_since is not None:
            age_seconds = self._monotonic() - held_since
            if age_seconds < RENEWED_AFTER.total_seconds():
                return
        self._write(self._holder)

    def give_back(self) -> None:
        """Let another process take the lease at once, unless one has taken it already."""
        try:
            self._write("")
        except Conflict:  # another process has taken it, as this one stood still
            pass
        finally:
            self._held_since = None

    def is_held_for(self, seconds: float) -> bool:
        """Return whether no other process can take the lease within this number of seconds."""
        # read once, as the thread that renews the lease may change it
        held_since = self._held_since
        if held_since is None:
            return False
        return self._monotonic() + seconds < held_since + LASTS.total_seconds()

    def _write(self, holder: str) -> None:
        """
        Write the name of the holder, which is empty if nobody has the lease.

        Raises Conflict if the stored document is not the one that was read or written last.
        """
        document = DeliveryLeaseDocument(self._document.revision + 1, holder)
        # a time before the write: no other process can see the new version earlier
        began = self._monotonic()
        try:
            self._version = self._store.put(_KEY, _CODEC.encode(document), self._version)
        except Conflict:
            self._held_since = None
            raise
        self._document = document
        self._held_since = began
