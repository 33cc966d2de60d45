"""The lease of a daily job: one process does it, and another one goes on if that dies."""

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
"""How long the job waits for a process that has died."""
RENEWAL_SECONDS: Final = 120.0
"""The age from which a lease is renewed."""


class LeaseDocument(Struct, frozen=True, omit_defaults=True):
    """The stored document of a lease."""

    revision: int = 0
    holder: str = ""
    """A random text that, with `revision`, makes each write another one."""
    ends: datetime | None = None
    completed: datetime | None = None
    """When the job was done last."""


_CODEC: Final = Codec(LeaseDocument)


class JobLease:
    """
    The lease of one job, as one process has it.

    For one thread at a time. Times are those of the store's clock. One in the document that is
    later than any correct clock can have written counts for nothing, and so does a document that is
    damaged. Each method raises Unavailable if the store does not answer.
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

        Return zero if it was taken, else after how long to try again.
        """
        self._document, self._version = self._read()
        document = self._document
        now = self._clock.now()
        wait = timedelta()
        # one that this process has itself, as it has not given it back, may be taken again
        if document.ends is not None and document.holder != self._holder:
            wait = _until(document.ends, now, LEASE_TIME)
        if document.completed is not None:
            wait = max(wait, _until(document.completed + every, now, every))
        if wait:
            return wait
        try:
            # compare-and-swap with what was read above: of several processes one gets it
            self._put(ends=now + LEASE_TIME)
        except Conflict:
            # another process has taken it since it was read
            return LEASE_TIME
        return timedelta()

    def renew(self) -> None:
        """
        Renew the lease if that is due.

        Raises Conflict if another process has taken it.
        """
        # by the clock of this process, as that of the store would cost a request each time
        if self._monotonic() >= self._renew_at:
            self._put(ends=self._clock.now() + LEASE_TIME)

    def complete(self) -> None:
        """
        Give the lease back, and write that the job is done.

        Raises Conflict if another process has taken it.
        """
        now = self._clock.now()
        self._put(ends=now, completed=now)

    def give_back(self) -> None:
        """
        Give the lease back, though the job is not done.

        Raises Conflict if another process has taken it.
        """
        self._put(ends=self._clock.now())

    def _read(self) -> tuple[LeaseDocument, ObjectVersion]:
        """Return the document and its version. A damaged one is read as if there was none."""
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
        # on a full disk, too, as the job may be what makes room
        put = partial(self._store.put, self._key, body, version)
        self._version = self._store.with_reserve(put)
        self._document = document
        self._renew_at = self._monotonic() + RENEWAL_SECONDS


def last_completed(store: Store, job: str) -> datetime | None:
    """
    Return when a job was done last, or None if it never was, or that is not known.

    Raises Unavailable if the store does not answer.
    """
    document, _ = read_usable(store, keys.lease(job), _CODEC, LeaseDocument())
    return document.completed


def _until(moment: datetime, now: datetime, longest: timedelta) -> timedelta:
    """Return how long it is until `moment`, or zero if that has passed, or is too far away."""
    wait = moment - now
    # later than any correct clock can have written: without this limit, a process whose clock was
    # years ahead would keep all others from the job
    if wait > longest + LEASE_TIME:
        return timedelta()
    return max(wait, timedelta())
