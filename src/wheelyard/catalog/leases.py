"""
Leases of jobs that are repeated anyway, and that one of many processes does at a time.

A lease is a document with its holder and its end. It is taken and renewed by compare-and-swap, and
never deleted: it also says when the job was completed last. It saves work, and protects nothing: a
process that was stopped may go on with a job that another one has taken meanwhile.
"""

from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import Codec, UnreadableIgnored
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Conflict
from wheelyard.storage.base import ABSENT, ObjectVersion, Store, Stored

LEASE_TIME: Final = timedelta(minutes=10)
"""How long the job waits for a process that has died."""
RENEWAL_SECONDS: Final = 120.0
"""The age from which a lease is renewed."""


class LeaseDocument(Struct, frozen=True, omit_defaults=True):
    """The stored document of a lease."""

    revision: int = 0
    holder: str = ""
    """Random; with `revision` it makes each write another one."""
    ends: datetime | None = None
    completed: datetime | None = None
    """When the job was done last."""


_CODEC: Final = Codec(LeaseDocument)


class JobLease:
    """
    The lease of one job, as one process has it; for one thread at a time.

    Each method may raise Unavailable. A time in the document that is later than any correct clock
    can have written counts for nothing, and so does a document that is damaged.
    """

    def __init__(self, store: Store, job: str, runtime: Runtime) -> None:
        self._store = store
        self._key = keys.lease(job)
        self._runtime = runtime
        self._holder = runtime.new_id()
        self._document, self._version = LeaseDocument(), ABSENT
        self._renew_at = 0.0

    def take(self, every: timedelta) -> timedelta:
        """
        Take the lease if nobody has it, and the job was not done within `every`.

        Return zero if it was taken, else after how long to try again.
        """
        self._document, self._version = self._read()
        document, now = self._document, self._runtime.now()
        others = document.ends if document.holder != self._holder else None
        done_until = document.completed and document.completed + every
        wait = max(_until(others, now, LEASE_TIME), _until(done_until, now, every))
        if wait:
            return wait
        try:
            self._put(ends=now + LEASE_TIME)
        except Conflict:
            return LEASE_TIME
        return timedelta()

    def renew(self) -> None:
        """Renew the lease if that is due; raise Conflict if another process has taken it."""
        if self._runtime.monotonic() >= self._renew_at:
            self._put(ends=self._runtime.now() + LEASE_TIME)

    def complete(self) -> None:
        """Give the lease back, and write that the job is done; raise Conflict as `renew` does."""
        now = self._runtime.now()
        self._put(ends=now, completed=now)

    def written_at(self) -> float:
        """Return when the lease was written last, by the store's clock; seconds since the epoch."""
        return next(self._store.list(self._key)).modified

    def _read(self) -> tuple[LeaseDocument, ObjectVersion]:
        found = self._store.get(self._key)
        if not isinstance(found, Stored):
            return LeaseDocument(), ABSENT
        with UnreadableIgnored():
            return _CODEC.decode(self._key, found.body), found.version
        return LeaseDocument(), found.version

    def _put(self, *, ends: datetime, completed: datetime | None = None) -> None:
        before = self._document
        document = replace(
            before,
            revision=before.revision + 1,
            holder=self._holder,
            ends=ends,
            completed=completed or before.completed,
        )
        self._version = self._store.put(self._key, _CODEC.encode(document), self._version)
        self._document = document
        self._renew_at = self._runtime.monotonic() + RENEWAL_SECONDS


def _until(moment: datetime | None, now: datetime, longest: timedelta) -> timedelta:
    """Return how long it is until `moment`; zero if that has passed, or is too far away."""
    wait = moment - now if moment else timedelta()
    return wait if timedelta() < wait <= longest + LEASE_TIME else timedelta()
