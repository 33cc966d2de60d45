"""
Limit of concurrent expensive requests, which leaves slots for other clients.

Each request holds one slot while it runs. A client is a string, such as a principal or a network.
It gets another slot only while it holds fewer than are free. So one client has at most half of the
slots, the next one half of the rest, and with n slots it takes more than log2(n) clients with slow
requests to keep another one waiting. Clients that wait take turns.
"""

from asyncio import Future, get_running_loop, wait
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from wheelyard.errors import OVERLOADED, RETRY_AFTER_SECONDS, Unavailable

MAX_WAITING_PER_CLIENT: Final = 256


class ConcurrencyLimit:
    """
    Slots for one kind of work.

    Args:
        count: The number of slots.
        work: The plural name of the work, for messages.
        wait_timeout: How many seconds a request waits for a slot.
        max_waiting: How many requests of one client may wait.
    """

    def __init__(
        self,
        count: int,
        work: str,
        *,
        wait_timeout: float = 30.0,
        max_waiting: int = MAX_WAITING_PER_CLIENT,
    ) -> None:
        self._free = count
        self._work = work
        self._wait_timeout = wait_timeout
        self._max_waiting = max_waiting
        self._held = Counter[str]()
        self._queues: dict[str, deque[Future[None]]] = {}
        """Waiting requests by client, least recently served client first."""

    @asynccontextmanager
    async def acquire(self, client: str) -> AsyncIterator[None]:
        """
        Wait for a slot for one request of `client`, and hold it within an `async with` block.

        Raise Unavailable (code `overloaded`) after `wait_timeout` seconds, or at once if
        `max_waiting` requests of the client wait already.
        """
        queue = self._queues.setdefault(client, deque())
        if len(queue) >= self._max_waiting:
            raise self._overloaded()
        turn: Future[None] = get_running_loop().create_future()
        queue.append(turn)
        self._serve()
        try:
            if not turn.done():
                await wait((turn,), timeout=self._wait_timeout)
            if not turn.done():
                raise self._overloaded()
            yield
        finally:
            self._leave(client, turn)

    def _serve(self) -> None:
        """Give slots to clients that wait, one to each that may have another."""
        for client, queue in tuple(self._queues.items()):
            if self._held[client] < self._free:
                self._free -= 1
                self._held[client] += 1
                queue.popleft().set_result(None)
                del self._queues[client]
                if queue:  # behind the other clients
                    self._queues[client] = queue

    def _leave(self, client: str, turn: Future[None]) -> None:
        if turn.done():
            self._free += 1
            self._held -= Counter((client,))
            self._serve()
        else:
            self._queues[client].remove(turn)
            if not self._queues[client]:
                del self._queues[client]

    def _overloaded(self) -> Unavailable:
        return Unavailable(
            f"Too many {self._work} are under way.",
            code=OVERLOADED,
            retry_after=RETRY_AFTER_SECONDS,
        )
