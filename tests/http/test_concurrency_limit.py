"""The limit on concurrent uploads and other expensive requests, and work that many wait for."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wheelyard.errors import Unavailable
from wheelyard.http import work_limits
from wheelyard.http.work_limits import ConcurrencyLimit, SingleFlight

MAX_WAITING = 20


class Crowd:
    """Requests of many clients, each of which holds its slot until it leaves."""

    def __init__(self, count: int, wait_timeout: float = 3600.0) -> None:
        self.limit = ConcurrencyLimit(
            count, "tests", wait_timeout=wait_timeout, max_waiting=MAX_WAITING
        )
        self.requests: list[tuple[str, asyncio.Task[None]]] = []
        self.holders: list[tuple[str, asyncio.Task[None]]] = []

    async def come(self, *clients: str) -> None:
        """Let requests of these clients come, one after the other."""
        for client in clients:
            task = asyncio.create_task(self._hold(client))
            self.requests.append((client, task))
            await settle()

    async def leave(self, client: str, *, waiting: bool = False) -> None:
        """Let the oldest request of a client hang up: one with a slot, or one that waits."""
        request = next(
            each
            for each in self.requests
            if each[0] == client and (each in self.holders) != waiting and not each[1].done()
        )
        request[1].cancel()
        await settle()

    @property
    def held(self) -> Counter[str]:
        """The number of slots of each client."""
        return Counter(client for client, _ in self.holders)

    @property
    def waiting(self) -> Counter[str]:
        """The number of requests of each client that wait."""
        there = (request for request in self.requests if not request[1].done())
        return Counter(each[0] for each in there if each not in self.holders)

    async def _hold(self, client: str) -> None:
        async with self.limit.acquire(client):
            task = asyncio.current_task()
            assert task is not None
            self.holders.append((client, task))
            try:
                await asyncio.Future()
            finally:
                self.holders.remove((client, task))


async def settle() -> None:
    """Run the event loop until all tasks wait."""
    for _ in range(10):
        await asyncio.sleep(0)


def play(
    story: Callable[[Crowd], Awaitable[None]], count: int, wait_timeout: float = 3600.0
) -> None:
    """Play a story of so many slots; at the end all of them are free again."""

    async def run_story() -> None:
        crowd = Crowd(count, wait_timeout)
        await story(crowd)
        for _, task in crowd.requests:
            task.cancel()
        await settle()
        assert not crowd.holders
        clients = [str(number) for number in range(count)]
        await crowd.come(*clients, "late")
        assert crowd.held == Counter(clients), "no slot is lost, and none is there twice"
        for _, task in crowd.requests:
            task.cancel()
        await asyncio.gather(*(task for _, task in crowd.requests), return_exceptions=True)

    asyncio.run(run_story())


@given(st.integers(1, 70), st.data())
def test_client_has_at_most_half_of_the_slots(count: int, data: st.DataObject) -> None:
    """A client has at most half of the slots, and few clients leave one for a newcomer."""
    others = st.sampled_from("abcdef"[: count.bit_length() - 1] or "a")

    async def story(crowd: Crowd) -> None:
        for client in data.draw(st.lists(others, max_size=40)):
            if crowd.waiting[client] < MAX_WAITING:
                await crowd.come(client)
            if crowd.held[client] > 1 and data.draw(st.booleans()):
                await crowd.leave(client)
        assert max(crowd.held.values(), default=0) <= (count + 1) // 2
        if count > 1:
            await crowd.come("newcomer")
            assert crowd.held["newcomer"] == 1

    play(story, count)


@given(st.integers(1, 6), st.data())
def test_slots_are_neither_lost_nor_doubled(count: int, data: st.DataObject) -> None:
    """Whatever clients do, no more slots are held than there are, and a free one waits for none."""

    async def story(crowd: Crowd) -> None:
        for _ in range(data.draw(st.integers(1, 25))):
            client = data.draw(st.sampled_from("abc"))
            waits = data.draw(st.booleans())
            if (crowd.waiting if waits else crowd.held)[client] and data.draw(st.booleans()):
                await crowd.leave(client, waiting=waits)
            elif crowd.waiting[client] < MAX_WAITING:
                await crowd.come(client)
            free = count - sum(crowd.held.values())
            assert free >= 0
            assert all(crowd.held[waiting] >= free for waiting in crowd.waiting)

    play(story, count)


def test_clients_take_turns() -> None:
    """A client with many waiting requests does not delay the only one of another."""

    async def story(crowd: Crowd) -> None:
        await crowd.come("ci", "ci", "ci", "ci", "ana")
        order = []
        for _ in range(4):
            ((client, _),) = crowd.holders
            order.append(client)
            await crowd.leave(client)
        assert order == ["ci", "ci", "ana", "ci"]

    play(story, 1)


@pytest.mark.parametrize("steps", range(6))
def test_disconnected_client_keeps_no_slot(steps: int) -> None:
    """A client that disconnects while it waits, or when its turn comes, keeps no slot."""

    async def story(crowd: Crowd) -> None:
        await crowd.come("ci", "gone", "last")
        crowd.requests[0][1].cancel()
        for _ in range(steps):
            await asyncio.sleep(0)
        crowd.requests[1][1].cancel()
        await settle()
        assert crowd.held == {"last": 1}

    play(story, 1)


def test_waiting_requests_of_a_client_are_limited() -> None:
    """A client has a limit of waiting requests: one more is refused, others wait."""

    async def story(crowd: Crowd) -> None:
        await crowd.come("ci", *["ci"] * MAX_WAITING, "ci", "ana")
        assert crowd.waiting == {"ci": MAX_WAITING, "ana": 1}
        refused = crowd.requests[-2][1].exception()
        assert isinstance(refused, Unavailable)
        assert (refused.code, refused.retry_after) == ("overloaded", 5)

    play(story, 1)


def test_long_wait_is_refused() -> None:
    """Who has waited too long is refused, and told when to try again."""

    async def story(crowd: Crowd) -> None:
        await crowd.come("ci")
        with pytest.raises(Unavailable, match="Too many tests are under way"):
            async with crowd.limit.acquire("ana"):
                pass

    play(story, 1, wait_timeout=0)


def test_an_older_result_is_returned_while_work_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who can do with an older result gets it while work takes long; all others get the new one."""
    monkeypatch.setattr(work_limits, "STALE_AFTER_SECONDS", 0.0)

    async def story() -> list[str]:
        flight, gate = SingleFlight(), asyncio.Event()

        async def work() -> str:
            await gate.wait()
            return "new"

        callers = [
            asyncio.create_task(flight.run("key", work)),
            asyncio.create_task(flight.run("key", work, get_stale=lambda: "old")),
            asyncio.create_task(flight.run("key", work, get_stale=lambda: None)),
        ]
        await settle()
        gate.set()
        return await asyncio.gather(*callers)

    assert asyncio.run(story()) == ["new", "old", "new"]
