"""
How many of what is costly may be under way at a time, and in which order the others get their turn.

Slots are shared between parties: all requests with one credential are one party. A party may have
every slot while nobody else wants one. When others wait, a slot that comes free goes to the party
that has the fewest, and within a party to the request that has waited longest.

A slot whose holder still waits for its client's body can be taken away. When a request has waited
for GRACE seconds, and some party has at least two slots more than the waiting one, the slowest body
of the party with the most slots is given up. So with n slots, whoever comes gets one within about
GRACE seconds as long as fewer than n other parties have bodies open, however many each has.
"""

from asyncio import Future, Timeout, get_running_loop, timeout, wait
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from wheelyard.errors import Unavailable
from wheelyard.http.protocol.messages import Receive
from wheelyard.http.protocol.request_parsing import next_chunk

WAIT_LIMIT: Final = 30.0
"""Seconds that somebody waits, as a rule."""
GRACE: Final = 1.0
"""Seconds in which a slot may come free by itself before one is taken away."""
QUEUE_LIMIT: Final = 256
"""Requests of one party that wait, as a rule; one more is refused, since each keeps memory."""


@dataclass(eq=False, slots=True)
class Slot:
    """One slot, and how the body that it was given for is coming along."""

    party: str
    """Who has it."""
    what: str
    """Of what too many are under way, for the message."""
    since: float
    """When it was given, on the clock of the event loop."""
    size: int = 0
    """Bytes of the body that have come."""
    is_receiving: bool = False
    """Whether more of the body is to come."""
    is_lost: bool = False
    """Whether it was given to another party."""
    _waiting: Timeout | None = None

    async def next_chunk(self, receive: Receive) -> tuple[bytes, bool]:
        """
        Return the next chunk of the body, and whether more will come.

        Raises:
            Unavailable: The slot was given to another party (code `overloaded`).
        """
        self.is_receiving = True
        if self.is_lost:
            raise _overloaded(self.what)
        try:
            async with timeout(None) as self._waiting:
                piece, self.is_receiving = await next_chunk(receive)
        except TimeoutError as error:
            raise _overloaded(self.what) from error
        finally:
            self._waiting = None
        self.size += len(piece)
        return piece, self.is_receiving

    def take_away(self) -> None:
        """Refuse the rest of the body, unless all of it turns out to be there."""
        self.is_lost = True
        if self._waiting is not None:
            self._waiting.reschedule(get_running_loop().time())


class ConcurrencyLimit:
    """
    A number of slots for one kind of work.

    Args:
        count: How many there are.
        what: Of what too many are under way, for the message.
        patience: Seconds that somebody waits for others to end.
        grace: Seconds after which a body of a party that has more slots is given up for them.
        queue: How many of one party may wait.
    """

    def __init__(
        self,
        count: int,
        what: str,
        *,
        patience: float = WAIT_LIMIT,
        grace: float = GRACE,
        queue: int = QUEUE_LIMIT,
    ) -> None:
        self._free = count
        self._what = what
        self._patience = patience
        self._grace = grace
        self._queue = queue
        self._held: dict[str, list[Slot]] = {}
        self._queues: dict[str, deque[Future[Slot]]] = {}
        """Those who wait, by party; the party that was served last comes last."""

    @asynccontextmanager
    async def one(self, party: str) -> AsyncIterator[Slot]:
        """
        Hold a slot.

        Raises:
            Unavailable: None became free for too long (code `overloaded`).
        """
        slot = await self._acquired(party)
        try:
            yield slot
        finally:
            if not slot.is_lost:
                self._freed(slot)

    async def _acquired(self, party: str) -> Slot:
        if self._free:  # so nobody waits
            self._free -= 1
            return self._given(party)
        queue = self._queues.setdefault(party, deque())
        if len(queue) >= self._queue:
            raise _overloaded(self._what)
        turn: Future[Slot] = get_running_loop().create_future()
        queue.append(turn)
        try:
            async with timeout(self._patience):
                while not turn.done():
                    await wait((turn,), timeout=self._grace)
                    if not turn.done():
                        self._make_room(party)
            return turn.result()
        except BaseException as error:
            self._give_up(party, turn)
            if isinstance(error, TimeoutError):
                raise _overloaded(self._what) from error
            raise

    def _give_up(self, party: str, turn: Future[Slot]) -> None:
        """Leave the queue; who has just been given a slot, and will not use it, hands it on."""
        if turn.done():
            self._freed(turn.result())
            return
        self._queues[party].remove(turn)
        if not self._queues[party]:
            del self._queues[party]

    def _make_room(self, party: str) -> None:
        """Take a slot away from the party with the most, if it has two more than `party`."""
        enough, now = self._count(party) + 2, get_running_loop().time()

        def rank(slot: Slot) -> tuple[int, float]:
            return -self._count(slot.party), slot.size / max(now - slot.since, 1e-9)

        many = (held for held in self._held.values() if len(held) >= enough)
        receiving = (each for held in many for each in held if each.is_receiving)
        slowest = min(receiving, key=rank, default=None)
        if slowest is not None:
            slowest.take_away()
            self._freed(slowest)

    def _freed(self, slot: Slot) -> None:
        """Give a slot to whoever has the fewest of those who wait."""
        held = self._held[slot.party]
        held.remove(slot)
        if not held:
            del self._held[slot.party]
        if not self._queues:
            self._free += 1
            return
        party = min(self._queues, key=self._count)
        queue = self._queues.pop(party)
        queue.popleft().set_result(self._given(party))
        if queue:
            self._queues[party] = queue

    def _given(self, party: str) -> Slot:
        slot = Slot(party, self._what, get_running_loop().time())
        self._held.setdefault(party, []).append(slot)
        return slot

    def _count(self, party: str) -> int:
        return len(self._held.get(party, ()))


def _overloaded(what: str) -> Unavailable:
    return Unavailable(
        f"Too many {what} are under way. Try again in a moment.",
        code="overloaded",
        short=f"Too many {what}.",
    )
