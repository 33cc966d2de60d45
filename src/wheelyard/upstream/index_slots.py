"""How many threads wait for one upstream index, so that a slow one does not take them all."""

from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from math import inf
from threading import Lock
from typing import Final, NamedTuple

from msgspec import Struct

from wheelyard.concurrency.runtime import Clock
from wheelyard.http_client.hosts import FetchError


class Lookup(Struct, eq=False):
    """One lookup of a name, which may ask several indexes."""

    client: str = ""
    """The client that the lookup is for, or an empty text for nobody in particular."""
    refused_by: "IndexSlots | None" = None
    """The slots of the index that had no slot for the lookup, or None."""


CURRENT_LOOKUP: Final[ContextVar[Lookup | None]] = ContextVar("CURRENT_LOOKUP", default=None)


class _Holder(NamedTuple):
    """A thread that waits for the index."""

    client: str
    began_at: float


class _WaitingLookup(NamedTuple):
    """A lookup that waits for a slot."""

    client: str
    call: Callable[[], object]
    """What is called when there may be a slot for it."""


class IndexSlots:
    """
    The slots of the threads that wait for one upstream index.

    Threads may share it. `timeout` is the number of seconds after which each waiting thread has an
    answer, or has failed. Nothing is limited before `limit` is called. Then a client gets a slot
    only while it holds fewer slots than are free, as of a `ConcurrencyLimit`.
    """

    def __init__(self, monotonic: Clock, timeout: float) -> None:
        self._monotonic = monotonic
        self._timeout = timeout
        self._size: float = inf
        self._numbers = count()
        self._holders: dict[int, _Holder] = {}
        """The threads that hold a slot, by the number of the slot, the oldest first."""
        self._count_by_client = Counter[str]()
        """How many slots each client holds."""
        self._queue = deque[_WaitingLookup]()
        self._lock = Lock()

    def limit(self, size: int) -> None:
        """Let at most `size` threads wait at a time."""
        self._size = size

    def has_room(self, client: str) -> bool:
        """Return whether a thread may wait for a client now."""
        # the fewer slots are free, the fewer a client may hold, so that no client takes them all
        free_slots = self._size - len(self._holders)
        return self._count_by_client[client] < free_slots

    @contextmanager
    def hold(self) -> Iterator[None]:
        """
        Hold a slot for `CURRENT_LOOKUP` within the block.

        Raises FetchError if no slot is free. The error says when one is free at the latest.
        """
        lookup = CURRENT_LOOKUP.get() or Lookup()
        client = lookup.client
        with self._lock:
            now = self._monotonic()
            if not self.has_room(client):
                lookup.refused_by = self
                oldest_holder = next(iter(self._holders.values()))
                wait = max(1.0, oldest_holder.began_at + self._timeout - now)
                why = f"{len(self._holders)} other requests wait for it"
                raise FetchError(why, is_transient=True, wait=wait, is_asked=False, is_busy=True)
            number = next(self._numbers)
            self._holders[number] = _Holder(client, now)
            self._count_by_client[client] += 1

        # the lock is not held during the request, but only while slots are counted
        try:
            yield
        finally:
            with self._lock:
                del self._holders[number]
                self._count_by_client -= Counter((client,))  # without those that are 0
            self._wake()

    def when_free(self, client: str, call: Callable[[], object]) -> None:
        """Call `call` once, in any thread, as soon as there may be a slot for a client."""
        with self._lock:
            self._queue.append(_WaitingLookup(client, call))
        self._wake()  # a slot may have become free before the lookup was noted

    def forget(self, call: Callable[[], object]) -> None:
        """Do not call `call` any more. If it was called already, another lookup is called."""
        with self._lock:
            remaining = deque(lookup for lookup in self._queue if lookup.call is not call)
            was_waiting = len(remaining) < len(self._queue)
            self._queue = remaining
        # if it was called, its lookup does not take the slot any more
        if not was_waiting:
            self._wake()

    def _wake(self) -> None:
        """Call the first lookup in the queue that may have a slot now, if there is one."""
        next_lookup: _WaitingLookup | None = None
        with self._lock:
            for lookup in self._queue:
                if self.has_room(lookup.client):
                    next_lookup = lookup
                    break
            if next_lookup is not None:
                self._queue.remove(next_lookup)
        if next_lookup is not None:  # not under the lock: this calls code of the server
            next_lookup.call()
