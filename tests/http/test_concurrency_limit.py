"""The limit on concurrent uploads: slots, the queue, and bodies aborted for other clients."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.waiting import TIMEOUT_SECONDS
from wheelyard.errors import Unavailable
from wheelyard.http.concurrency_limit import MAX_WAITING_PER_CLIENT, ConcurrencyLimit, Slot
from wheelyard.http.protocol.messages import Message

NEVER = 3600.0


@dataclass(eq=False)
class Client:
    """A client that sends one request body in chunks, when a test says so."""

    slots: ConcurrencyLimit
    name: str
    pieces: asyncio.Queue[tuple[bytes, bool]] = field(default_factory=asyncio.Queue)
    slot: Slot | None = None
    outcome: str = ""

    async def upload(self) -> None:
        """Wait for a slot, and send the body."""
        try:
            async with self.slots.acquire(self.name) as self.slot:
                more = True
                while more:
                    _, more = await self.slot.next_chunk(self.receive)
            self.outcome = "taken"
        except Unavailable as fault:
            self.outcome = fault.code
        finally:
            self.outcome = self.outcome or "gone"

    async def receive(self) -> Message:
        """Return the next piece of the body, as ASGI has it."""
        body, more = await self.pieces.get()
        return {"type": "http.request", "body": body, "more_body": more}

    def send(self, body: bytes, *, more: bool = True) -> None:
        """Send a piece."""
        self.pieces.put_nowait((body, more))

    @property
    def has_slot(self) -> bool:
        """Whether it was given a slot, and still is at it."""
        return self.slot is not None and not self.outcome


class Crowd:
    """Many clients of the same slots."""

    def __init__(self, slots: ConcurrencyLimit) -> None:
        self.slots = slots
        self.clients: list[Client] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def come(self, *names: str) -> list[Client]:
        """Let clients come, one after the other."""
        new = [Client(self.slots, name) for name in names]
        self.clients += new
        self.tasks += [asyncio.create_task(each.upload()) for each in new]
        await settle()
        return new

    async def leave(self, client: Client) -> None:
        """Let a client hang up, wherever it is."""
        self.tasks[self.clients.index(client)].cancel()
        await settle()

    @property
    def held(self) -> Counter[str]:
        """The number of slots of each client."""
        return Counter(each.name for each in self.clients if each.has_slot)

    @property
    def waiting(self) -> int:
        """The number of clients that have neither a slot nor a response."""
        return sum(each.slot is None and not each.outcome for each in self.clients)

    async def end(self) -> None:
        """Cancel all clients."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def settle() -> None:
    """Run the event loop until all tasks wait."""
    for _ in range(20):
        await asyncio.sleep(0)


def play(story: Callable[[Crowd], Awaitable[None]], count: int, after: float = NEVER) -> None:
    """Tell a story of a crowd and so many slots; at the end all of them are free again."""

    async def run_story() -> None:
        crowd = Crowd(ConcurrencyLimit(count, "tests", wait_timeout=NEVER, preempt_after=after))
        await story(crowd)
        await crowd.end()
        again = Crowd(crowd.slots)
        await again.come(*["again"] * count)
        assert again.held == {"again": count}, "no slot is lost, and none is there twice"
        await again.come("again")
        assert again.waiting == 1
        await again.end()

    asyncio.run(run_story())


def test_whoever_has_the_fewest_is_next() -> None:
    """Waiting requests of one client do not delay another client's."""

    async def story(crowd: Crowd) -> None:
        first, second, third, *_ = await crowd.come(*["ci"] * 5)
        await crowd.come("ana", "ana", "ben")
        for client, held in (
            (first, {"ci": 2, "ana": 1}),
            (second, {"ci": 1, "ana": 1, "ben": 1}),
            (third, {"ci": 1, "ana": 1, "ben": 1}),
        ):
            client.send(b"", more=False)
            await settle()
            assert crowd.held == held

    play(story, 3)


def test_the_slowest_body_gives_way() -> None:
    """A new client gets the slot of the slowest upload of the client with the most slots."""

    async def story(crowd: Crowd) -> None:
        fast, slow, other, *_ = await crowd.come("ci", "ci", "ci", "ana", "ana")
        for client, size in ((fast, 1_000_000), (slow, 1000), (other, 1_000_000)):
            client.send(bytes(size))
        await settle()
        (new,) = await crowd.come("ben")
        await until(lambda: new.has_slot)
        assert slow.outcome == "overloaded"
        assert crowd.held == {"ci": 2, "ana": 2, "ben": 1}

    play(story, 5, after=0)


def test_a_whole_body_does_not_give_way() -> None:
    """What has come to its end is not given up while it is checked, though it came slowly."""

    async def story(crowd: Crowd) -> None:
        slots = crowd.slots
        async with slots.acquire("ci") as whole:
            client = Client(slots, "ci")
            client.send(b"a", more=False)
            assert await whole.next_chunk(client.receive) == (b"a", False)
            (fast,) = await crowd.come("ci")
            fast.send(bytes(1_000_000))
            await settle()
            (new,) = await crowd.come("ana")
            await until(lambda: new.has_slot)
            assert fast.outcome == "overloaded"
            assert not whole.is_preempted

    play(story, 2, after=0)


def test_a_body_that_is_not_waited_for_gives_way() -> None:
    """A body that is being looked at gives way before more of it is read, unless it has ended."""

    async def story(crowd: Crowd) -> None:
        slots = crowd.slots
        client = Client(slots, "ci")
        async with slots.acquire("ci") as first, slots.acquire("ci") as second:
            for slot in (first, second):
                client.send(b"a")
                assert await slot.next_chunk(client.receive) == (b"a", True)
            (new,) = await crowd.come("ana")
            await until(lambda: new.has_slot)
            lost = first if first.is_preempted else second
            with pytest.raises(Unavailable):
                await lost.next_chunk(client.receive)

    play(story, 2, after=0)


def test_nobody_gives_way_to_those_who_have_as_many() -> None:
    """Parties that share the slots as evenly as can be take none from each other."""

    async def story(crowd: Crowd) -> None:
        first, second, *_ = await crowd.come("ci", "ci", "ana", "ci", "ana", "ana")
        await settle()
        assert crowd.held == {"ci": 2, "ana": 1}
        assert first.has_slot
        assert second.has_slot

    play(story, 3, after=0)


@pytest.mark.parametrize("steps", range(8))
def test_hanging_up(steps: int) -> None:
    """A client that disconnects while it waits, or when its turn comes, keeps no slot."""

    async def story(crowd: Crowd) -> None:
        first, gone, late, last = await crowd.come(*["ci"] * 4)
        await crowd.leave(gone)
        first.send(b"", more=False)
        for _ in range(steps):
            await asyncio.sleep(0)
        await crowd.leave(late)
        assert last.has_slot

    play(story, 1)


def test_a_long_queue() -> None:
    """A client has a limit of waiting requests: one more is refused, others wait."""

    async def story(crowd: Crowd) -> None:
        await crowd.come("ci", *["ci"] * MAX_WAITING_PER_CLIENT)
        too_many, other = await crowd.come("ci", "ana")
        assert too_many.outcome == "overloaded"
        assert not other.outcome
        assert crowd.waiting == MAX_WAITING_PER_CLIENT + 1

    play(story, 1)


@given(st.data(), st.integers(2, 6))
def test_newcomers_are_served(data: st.DataObject, count: int) -> None:
    """Fewer others than slots, with any number of slow bodies each, keep no newcomer waiting."""
    others = st.lists(st.sampled_from("abcdef"[: count - 1]), min_size=1, max_size=30)

    async def story(crowd: Crowd) -> None:
        await crowd.come(*data.draw(others))
        (new,) = await crowd.come("new")
        await until(lambda: new.has_slot)
        assert sum(crowd.held.values()) <= count

    play(story, count, after=0)


@given(st.data(), st.integers(1, 4))
def test_slots_are_neither_lost_nor_doubled(data: st.DataObject, count: int) -> None:
    """Whatever clients do, as many have slots as there are, and fewer only when none waits."""

    async def story(crowd: Crowd) -> None:
        for _ in range(data.draw(st.integers(1, 25))):
            there = [each for each in crowd.clients if not each.outcome]
            step = data.draw(st.sampled_from(("come", "send", "end", "leave", "wait")))
            if step == "come" or not there:
                await crowd.come(data.draw(st.sampled_from("abc")))
                continue
            client = data.draw(st.sampled_from(there))
            if step == "leave":
                await crowd.leave(client)
            elif step != "wait":
                client.send(b"x", more=step == "send")
            await settle()
            held = sum(crowd.held.values())
            assert held <= count
            assert held == count or not crowd.waiting

    play(story, count, after=0)


async def until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while not is_so():  # noqa: ASYNC110 - nothing tells when it is
            await asyncio.sleep(0)
    await settle()
