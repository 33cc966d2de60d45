"""
Limit of concurrent expensive requests, with fair sharing between clients.

A `ConcurrencyLimit` has a number of slots. Each request holds one slot while it runs. A client is a
string, such as a principal or a network. A client may hold every slot while no other client waits.
A free slot goes to the waiting client that holds the fewest slots, and within a client to the
request that has waited longest.

A slot whose holder still receives its request body can be preempted. When a request has waited for
`preempt_after` seconds, one such slot is preempted, of a client that holds at least two slots more
than the waiting client: the slowest body of the client with the most slots is refused. So with n
slots, a new client gets one within about that time, as long as fewer than n other clients have open
bodies.
"""

from asyncio import Future, Timeout, get_running_loop, timeout, wait
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from msgspec import Struct

from wheelyard.errors import RETRY_AFTER_SECONDS, Unavailable
from wheelyard.http.protocol.messages import Receive
from wheelyard.http.protocol.request_body import next_chunk

MAX_WAITING_PER_CLIENT: Final = 256


class Slot(Struct, eq=False):
    """A slot that a request holds, and the progress of that request's body."""

    client: str
    work: str
    """The plural name of the limited work, for the error message."""
    acquired_at: float
    """When the request got the slot, on the clock of the event loop."""
    received_bytes: int = 0
    is_receiving: bool = False
    is_preempted: bool = False
    """Whether the slot was given to another client."""
    _read_timeout: Timeout | None = None

    async def next_chunk(self, receive: Receive) -> tuple[bytes, bool]:
        """Return the next body chunk, and whether more come; raise Unavailable if preempted."""
        self.is_receiving = True
        if self.is_preempted:
            raise _overloaded(self.work)
        try:
            async with timeout(None) as self._read_timeout:
                chunk, self.is_receiving = await next_chunk(receive)
        except TimeoutError as error:
            raise _overloaded(self.work) from error
        finally:
            self._read_timeout = None
        self.received_bytes += len(chunk)
        return chunk, self.is_receiving

    def preempt(self) -> None:
        """Make `next_chunk` raise Unavailable from now on, even in a call that waits already."""
        self.is_preempted = True
        if self._read_timeout is not None:
            self._read_timeout.reschedule(get_running_loop().time())


class ConcurrencyLimit:
    """Slots for one kind of `work` (in the plural, for messages), shared fairly between clients."""

    def __init__(
        self,
        count: int,
        work: str,
        *,
        wait_timeout: float = 30.0,
        preempt_after: float = 1.0,
        max_waiting: int = MAX_WAITING_PER_CLIENT,
    ) -> None:
        self._count = count
        self._work = work
        self._wait_timeout = wait_timeout
        self._preempt_after = preempt_after
        self._max_waiting = max_waiting
        self._slots: list[Slot] = []
        self._queues: dict[str, deque[Future[Slot]]] = {}
        """Waiting requests by client, least recently served client first."""

    @asynccontextmanager
    async def acquire(self, client: str) -> AsyncIterator[Slot]:
        """
        Wait for a slot for one request of `client`, and hold it within an `async with` block.

        Raise Unavailable (code `overloaded`) after `wait_timeout` seconds, or at once if
        `max_waiting` requests of the client wait already.
        """
        slot = await self._acquire(client)
        try:
            yield slot
        finally:
            if not slot.is_preempted:
                self._release(slot)

    async def _acquire(self, client: str) -> Slot:
        if len(self._slots) < self._count:  # so no request waits
            return self._new_slot(client)
        queue = self._queues.setdefault(client, deque())
        if len(queue) >= self._max_waiting:
            raise _overloaded(self._work)
        turn: Future[Slot] = get_running_loop().create_future()
        queue.append(turn)
        try:
            async with timeout(self._wait_timeout):
                while not turn.done():
                    await wait((turn,), timeout=self._preempt_after)
                    if not turn.done():
                        self._preempt_for(client)
            return turn.result()
        except BaseException as error:
            self._leave_queue(client, turn)
            if isinstance(error, TimeoutError):
                raise _overloaded(self._work) from error
            raise

    def _leave_queue(self, client: str, turn: Future[Slot]) -> None:
        if turn.done():  # a slot has come together with the error
            self._release(turn.result())
            return
        self._queues[client].remove(turn)
        if not self._queues[client]:
            del self._queues[client]

    def _preempt_for(self, client: str) -> None:
        """Preempt the slowest body of a client with at least 2 slots more than `client`, if any."""
        counts, now = self._slot_counts(), get_running_loop().time()

        def rank(slot: Slot) -> tuple[int, float]:
            speed = slot.received_bytes / max(now - slot.acquired_at, 1e-9)
            return -counts[slot.client], speed

        receiving = (slot for slot in self._slots if slot.is_receiving)
        candidates = (slot for slot in receiving if counts[slot.client] >= counts[client] + 2)
        slowest = min(candidates, key=rank, default=None)
        if slowest is not None:
            slowest.preempt()
            self._release(slowest)

    def _release(self, slot: Slot) -> None:
        """Free a slot, and give one to the waiting client that holds the fewest slots."""
        self._slots.remove(slot)
        if self._queues:
            client = min(self._queues, key=self._slot_counts().__getitem__)
            queue = self._queues.pop(client)
            queue.popleft().set_result(self._new_slot(client))
            if queue:
                self._queues[client] = queue

    def _new_slot(self, client: str) -> Slot:
        slot = Slot(client, self._work, get_running_loop().time())
        self._slots.append(slot)
        return slot

    def _slot_counts(self) -> Counter[str]:
        return Counter(slot.client for slot in self._slots)


def _overloaded(work: str) -> Unavailable:
    return Unavailable(
        f"Too many {work} are under way.",
        code="overloaded",
        short=f"Too many {work}.",
        retry_after=RETRY_AFTER_SECONDS,
    )
