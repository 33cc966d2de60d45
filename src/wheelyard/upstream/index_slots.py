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
    """For whom it is, or an empty text for nobody in particular."""
    refused_by: "IndexSlots | None" = None
    """The slots of the index that had none for it."""


CURRENT_LOOKUP: Final[ContextVar[Lookup | None]] = ContextVar("CURRENT_LOOKUP", default=None)


class _Holder(NamedTuple):
    """A thread that waits for the index."""

    client: str
    began_at: float


class _Waiting(NamedTuple):
    """A lookup that waits for a slot, and what is called when it may have one."""

    client: str
    call: Callable[[], object]


class IndexSlots:
    """
    The slots of the threads that wait for one upstream index.

    Threads may share it. `timeout` is the number of seconds after which each of them has an answer,
    or has failed. Nothing is limited before `limit` is called. Then a client gets a slot only while
    it holds fewer than are free, as of a `ConcurrencyLimit`.
    """

    def __init__(self, monotonic: Clock, timeout: float) -> None:
        self._monotonic = monotonic
        self._timeout = timeout
        self._size: float = inf
        self._numbers = count()
        self._holders: dict[int, _Holder] = {}
        """The oldest first."""
        self._of_client = Counter[str]()
        self._queue = deque[_Waiting]()
        self._lock = Lock()

    def limit(self, size: int) -> None:
        """Let so many threads wait at a time."""
        self._size = size

    def has_room(self, client: str) -> bool:
        """Return whether a thread may wait for a client now."""
        # the fewer are free, the fewer a client may hold, so that one never takes them all
        return self._of_client[client] < self._size - len(self._holders)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """
        Hold a slot for `CURRENT_LOOKUP` within the block.

        Raises FetchError if there is none. It says after how long there is one at the latest.
        """
        lookup = CURRENT_LOOKUP.get() or Lookup()
        client = lookup.client
        with self._lock:
            now = self._monotonic()
            if not self.has_room(client):
                lookup.refused_by = self
                oldest = next(iter(self._holders.values()))
                wait = max(1.0, oldest.began_at + self._timeout - now)
                why = f"{len(self._holders)} other requests wait for it"
                raise FetchError(why, is_transient=True, wait=wait, is_asked=False, is_busy=True)
            number = next(self._numbers)
            self._holders[number] = _Holder(client, now)
            self._of_client[client] += 1

        # the lock is free meanwhile: it is held for the books alone, and not for the request
        try:
            yield
        finally:
            with self._lock:
                del self._holders[number]
                self._of_client -= Counter((client,))  # without those that are 0
            self._wake()

    def when_free(self, client: str, call: Callable[[], object]) -> None:
        """Call `call` once, in any thread, as soon as there may be a slot for a client."""
        with self._lock:
            self._queue.append(_Waiting(client, call))
        self._wake()  # one may have become free before this was noted

    def forget(self, call: Callable[[], object]) -> None:
        """Do not call `call` any more. If that was done, another one is called instead."""
        with self._lock:
            remaining = deque(waiting for waiting in self._queue if waiting.call is not call)
            was_noted = len(remaining) < len(self._queue)
            self._queue = remaining
        # else it was called, for a slot that its lookup does not take any more
        if not was_noted:
            self._wake()

    def _wake(self) -> None:
        """Call the first lookup in the queue that may have a slot now, if there is one."""
        first: _Waiting | None = None
        with self._lock:
            for waiting in self._queue:
                if self.has_room(waiting.client):
                    first = waiting
                    break
            if first is not None:
                self._queue.remove(first)
        if first is not None:  # not under the lock: it calls code of the server
            first.call()
