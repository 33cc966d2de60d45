"""The lease of a daily job: one process does the job, and another one goes on if that one dies."""

from datetime import datetime, timedelta
from functools import partial
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import Codec, read_usable
from wheelyard.catalog.store_clock import StoreClock
from wheelyard.errors import Conflict
from wheelyard.storage.base import ABSENT, ObjectVersion, Store

LEASE_TIME: Final = timedelta(minutes=10)
"""How long a lease is valid. So long the job waits for a process that has died."""
RENEWAL_SECONDS: Final = 120.0
"""The age from which a lease is renewed."""


class LeaseDocument(Struct, frozen=True, omit_defaults=True):
    """The stored document of a lease."""

    revision: int = 0
    holder: str = ""
    """A random text of the process that has written the document last."""
    ends: datetime | None = None
    """When the lease of the holder ends."""
    completed: datetime | None = None
    """When the job was done last."""


_CODEC: Final = Codec(LeaseDocument)


class JobLease:
    """
    The lease of one job, as one process has it.

    One thread at a time may use it. Times are those of the store's clock. A time in the document
    that is later than any correct clock can have written is ignored, and so is a damaged document.
    Each method raises Unavailable if the store does not answer.
    """

    def __init__(self, store: Store, job: str, clock: StoreClock) -> None:
        self._store = store
        self._key = keys.lease(job)
        self._clock = clock
        self._monotonic = clock.runtime.monotonic
        self._holder = clock.runtime.new_id()
        self._document = LeaseDocument()
        self._version = ABSENT
        self._renew_at = 0.0

    def take(self, every: timedelta) -> timedelta:
        """
        Take the lease if nobody has it, and the job was not done within `every`.

        Returns zero if the lease was taken, or else after how long to try again.
        """
        self._document, self._version = self._read()
        document = self._document
        now = self._clock.now()
        wait = timedelta()
        # a lease that this process has not given back may be taken again by this process
        if document.ends is not None and document.holder != self._holder:
            wait = _until(document.ends, now, LEASE_TIME)
        if document.completed is not None:
            wait = max(wait, _until(document.completed + every, now, every))
        if wait:
            return wait
        try:
            # a compare-and-swap with the version that was read: one of several processes succeeds
            self._put(ends=now + LEASE_TIME)
        except Conflict:
            return LEASE_TIME
        return timedelta()

    def renew(self) -> None:
        """
        Renew the lease if it is older than `RENEWAL_SECONDS`.

        Raises Conflict if another process has taken the lease.
        """
        # by the clock of this process, as the clock of the store would cost a request each time
        if self._monotonic() >= self._renew_at:
            self._put(ends=self._clock.now() + LEASE_TIME)

    def complete(self) -> None:
        """
        Give the lease back, and write that the job is done.

        Raises Conflict if another process has taken the lease.
        """
        now = self._clock.now()
        self._put(ends=now, completed=now)

    def give_back(self) -> None:
        """
        Give the lease back, though the job is not done.

        Raises Conflict if another process has taken the lease.
        """
        self._put(ends=self._clock.now())

    def _read(self) -> tuple[LeaseDocument, ObjectVersion]:
        """Return the document, or an empty one if it is missing or damaged, and its version."""
        return read_usable(self._store, self._key, _CODEC, LeaseDocument())

    def _put(self, *, ends: datetime, completed: datetime | None = None) -> None:
        """Write the lease. Raises Conflict if another process has written it meanwhile."""
        before = self._document
        document = replace(
            before,
            revision=before.revision + 1,
            holder=self._holder,
            ends=ends,
            completed=completed or before.completed,
        )
        body = _CODEC.encode(document)
        version = self._version
        # with the reserve, as the job may make room on a full disk
        put = partial(self._store.put, self._key, body, version)
        self._version = self._store.with_reserve(put)
        self._document = document
        self._renew_at = self._monotonic() + RENEWAL_SECONDS


def last_completed(store: Store, job: str) -> datetime | None:
    """
    Return when a job was done last.

    None means that it was never done, or that the document is damaged. Raises Unavailable if the
    store does not answer.
    """
    document, _ = read_usable(store, keys.lease(job), _CODEC, LeaseDocument())
    return document.completed


def _until(moment: datetime, now: datetime, longest: timedelta) -> timedelta:
    """
    Return how long it is until `moment`, or zero if it has passed.

    Returns zero also if it is more than `longest`, and the time of a lease, away.
    """
    wait = moment - now
    # Such a moment is later than any correct clock can have written. Without this limit, a process
    # whose clock was years ahead would keep all others from the job.
    if wait > longest + LEASE_TIME:
        return timedelta()
    return max(wait, timedelta())
