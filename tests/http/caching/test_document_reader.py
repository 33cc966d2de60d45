"""Many clients and a store that takes its time: who waits, for what, and who need not."""

import asyncio
import gc
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from pathlib import Path
from threading import Event

import pytest
from msgspec.structs import replace

from tests.http.packages import publish, wheel
from tests.http.raw_client import RawConnection, raw_connection
from tests.http.remote_store import RemoteStore, remote_server
from tests.http.servers import RunningServer
from tests.waiting import TIMEOUT_SECONDS, StillLoop, until
from wheelyard.concurrency.single_flight import STALE_AFTER_SECONDS, SingleFlight
from wheelyard.errors import Unavailable
from wheelyard.http.protocol.messages import Message, Response, send_response
from wheelyard.settings.sections import Settings, StoreSettings
from wheelyard.wiring.stores import system_runtime

pytestmark = pytest.mark.integration

MANY = 60
"""More than there are threads for reading."""


class FrozenClock:
    """A clock that stands still, however slow the machine is, until a test moves it on."""

    def __init__(self) -> None:
        self.by = 1000.0
        self.runtime = replace(system_runtime(), monotonic=lambda: self.by)


@pytest.fixture
def clock() -> FrozenClock:
    """A clock to move on."""
    return FrozenClock()


@pytest.fixture
def store() -> RemoteStore:
    """A remote store."""
    return RemoteStore()


@pytest.fixture(params=[0.0])
def server(
    store: RemoteStore, clock: FrozenClock, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[RunningServer]:
    """A server over the remote store, with two projects whose pages are cached."""
    settings = Settings(store=StoreSettings(stale_if_error=request.param))
    with remote_server(tmp_path, store, settings, runtime=clock.runtime) as server:
        publish(server, wheel("demo"), wheel("other"))
        for name in ("demo", "other"):
            assert server.get(f"/simple/{name}/").status_code == 200
        server.get("/metrics")  # counts the tokens, once an hour
        until(lambda: store.asked("get", "credentials/tokens/") == 2)
        yield server
        store.answers.set()


def asking(server: RunningServer, stack: ExitStack, *paths: str) -> list[RawConnection]:
    """Ask for pages over connections of their own, and do not wait for an answer."""
    lines = [stack.enter_context(raw_connection(server)) for _ in paths]
    for line, path in zip(lines, paths, strict=True):
        line.ask(f"GET {path} HTTP/1.1")
    return lines


def statuses(lines: list[RawConnection]) -> set[int]:
    """Return every status that comes."""
    replies = [line.reply() for line in lines]
    return {reply.status if reply else 0 for reply in replies}


def test_one_project_takes_one_thread(
    server: RunningServer, store: RemoteStore, clock: FrozenClock
) -> None:
    """However many wait for a project that the store is slow to tell about, others are answered."""
    clock.by += 2
    before = store.asked("get", "projects/demo.json")
    assert server.get("/simple/other/").status_code == 200  # the name list is fresh again
    store.answers.clear()
    with ExitStack() as stack:
        waiting = asking(server, stack, *["/simple/demo/"] * MANY)
        until(lambda: server.under_way() == MANY)
        until(lambda: store.asked("get", "projects/demo.json") == before + 1)
        assert server.get("/files/other/other-1.0-py3-none-any.whl").status_code == 200
        store.answers.set()
        assert statuses(waiting) == {200}
    assert store.asked("get", "projects/demo.json") == before + 1


def test_unknown_names_take_one_thread(
    server: RunningServer, store: RemoteStore, clock: FrozenClock
) -> None:
    """An installer that asks for every public name costs one look at the list of names."""
    clock.by += 2
    before = len(store.calls)
    store.answers.clear()
    with ExitStack() as stack:
        waiting = asking(server, stack, *[f"/simple/unknown-{n}/" for n in range(MANY)])
        until(lambda: server.under_way() == MANY)
        until(lambda: len(store.calls) > before)
        assert store.calls[before:] == [("get", "projects.json")]
        store.answers.set()
        assert statuses(waiting) == {404}
    assert store.calls[before:] == [("get", "projects.json")]


@pytest.mark.usefixtures("server")
def test_unknown_names_of_a_server_that_has_just_started(
    store: RemoteStore, tmp_path: Path
) -> None:
    """They wait for one list of names, too, though the first of them may be looked for itself."""
    with remote_server(tmp_path, store) as other, ExitStack() as stack:
        before = len(store.calls)
        store.answers.clear()
        waiting = asking(other, stack, *[f"/simple/unknown-{n}/" for n in range(MANY)])
        until(lambda: other.under_way() == MANY)
        until(lambda: ("get", "projects.json") in store.calls[before:])
        store.answers.set()
        assert statuses(waiting) == {404}
        asked = [key for _, key in store.calls[before:] if key.startswith("projects")]
    assert asked.count("projects.json") == 1
    assert len(asked) <= 2


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("first", ["/health", "/simple/"])
def test_page_of_a_project_takes_one_question(
    store: RemoteStore, clock: FrozenClock, tmp_path: Path, first: str
) -> None:
    """A server that has no list of names, or an old one that has the name, asks for none."""
    with remote_server(tmp_path, store, runtime=clock.runtime) as other:
        assert other.get(first).status_code == 200
        clock.by += 2
        before = len(store.calls)
        assert other.get("/simple/demo/").status_code == 200
        assert store.calls[before:] == [("get", "projects/demo.json")]


@pytest.mark.parametrize("server", [0.0, 100.0], indirect=True)
@pytest.mark.parametrize(
    ("path", "key"), [("/simple/", "projects.json"), ("/simple/demo/", "projects/demo.json")]
)
def test_nobody_is_told_old_news(
    server: RunningServer, store: RemoteStore, clock: FrozenClock, path: str, key: str
) -> None:
    """A request during a long read gets the result of a newer read."""
    clock.by += 2
    before = store.asked("get", key)
    store.answers.clear()
    with ExitStack() as stack:
        first = asking(server, stack, path)
        until(lambda: store.asked("get", key) == before + 1)
        clock.by += 2
        second = asking(server, stack, path)
        until(lambda: server.under_way() == 2)
        store.answers.set()
        assert statuses([*first, *second]) == {200}
    assert store.asked("get", key) == before + 2


def test_one_credential_takes_one_thread(
    server: RunningServer, store: RemoteStore, clock: FrozenClock
) -> None:
    """Jobs that share a token share one look at it."""
    clock.by += 20
    before = store.asked("get", "credentials/tokens/")
    store.answers.clear()
    with ExitStack() as stack:
        lines = [stack.enter_context(raw_connection(server)) for _ in range(MANY)]
        for line in lines:
            line.ask("GET /simple/ HTTP/1.1", f"Authorization: Bearer {server.token}")
        until(lambda: store.asked("get", "credentials/tokens/") == before + 1)
        until(lambda: server.under_way() == MANY)
        store.answers.set()
        assert statuses(lines) == {200}
    assert store.asked("get", "credentials/tokens/") == before + 1


def test_who_goes_away_goes_alone(
    server: RunningServer, store: RemoteStore, clock: FrozenClock
) -> None:
    """A client that disconnects does not cancel the read for other waiting clients."""
    clock.by += 2
    store.answers.clear()
    with ExitStack() as stack:
        first, *others = asking(server, stack, *["/simple/demo/"] * 5)
        until(lambda: server.under_way() == 5)
        first.close()
        assert server.under_way() in {4, 5}  # an answer to somebody who came after that
        store.answers.set()
        assert statuses(others) == {200}


def test_shared_work_ends_for_those_who_stay() -> None:
    """Shared work continues when its first waiter leaves; new work begins after its end."""
    times: list[int] = []

    async def play() -> None:
        gate, begun, late = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def work() -> int:
            times.append(1)
            begun.set()
            await gate.wait()
            return len(times)

        flight = SingleFlight()
        first = asyncio.create_task(flight.run("subject", work, late.set))
        second = asyncio.create_task(flight.run("subject", work))
        await begun.wait()  # which is after both wait for it
        loop.by += 2 * STALE_AFTER_SECONDS
        await late.wait()  # there is no old answer
        first.cancel()
        await asyncio.wait((first,))
        gate.set()
        assert await second == 1
        assert first.cancelled()
        assert await flight.run("subject", work) == 2

    loop = StillLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(play())


def test_failure_that_nobody_waited_for() -> None:
    """Shared work that fails after all waiters left is not logged as an error."""
    reports: list[object] = []

    async def play() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, report: reports.append(report))
        gate, begun = asyncio.Event(), asyncio.Event()

        async def work() -> None:
            begun.set()
            await gate.wait()
            raise Unavailable("The bucket does not answer.")

        waiting = asyncio.create_task(SingleFlight().run("subject", work))
        await begun.wait()
        waiting.cancel()
        gate.set()
        await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})

    asyncio.run(play())
    gc.collect()  # what a failure that nobody has looked at is reported by
    assert reports == []


class Chunks:
    """A body whose second piece takes as long as a test wants."""

    def __init__(self) -> None:
        self.second = Event()
        self.may_go_on = Event()
        self.pieces = iter([b"a", b"b"])
        self.is_reading = False
        self.closed_while_reading: list[bool] = []

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        piece = next(self.pieces)
        if piece == b"b":
            self.is_reading = True
            self.second.set()
            assert self.may_go_on.wait(TIMEOUT_SECONDS)
            self.is_reading = False
        return piece

    def close(self) -> None:
        """Note when this happens."""
        self.closed_while_reading.append(self.is_reading)


def sending(
    chunks: Chunks, send: Callable[[Message], None], *, is_called_off: bool
) -> Future[None]:
    """Send a body in a thread of its own; call it off, if so, while its second piece is read."""

    async def play() -> None:
        async def send_soon(message: Message) -> None:
            send(message)

        with ThreadPoolExecutor(2) as readers:
            answer = Response(200, (), chunks)
            task = asyncio.create_task(send_response(answer, "GET", send_soon, readers))
            if is_called_off:
                assert await asyncio.to_thread(chunks.second.wait, TIMEOUT_SECONDS)
                task.cancel()
                await asyncio.wait((task,), timeout=0.1)  # it would end, if nothing waited
                assert not task.done()
            chunks.may_go_on.set()
            await task

    with ThreadPoolExecutor(1) as pool:
        outcome: Future[None] = pool.submit(asyncio.run, play())
        wait([outcome])
    return outcome


def test_body_is_closed_when_nothing_can_be_sent() -> None:
    """Where even the head of an answer cannot be sent, its body is closed."""

    def fail(_: Message) -> None:
        raise ConnectionResetError

    chunks = Chunks()
    outcome = sending(chunks, fail, is_called_off=False)
    assert isinstance(outcome.exception(), ConnectionResetError)
    assert chunks.closed_while_reading == [False]


def test_body_is_closed_when_sending_is_called_off() -> None:
    """A body that is being read when sending is cancelled is closed after the read."""
    chunks = Chunks()
    outcome = sending(chunks, lambda _: None, is_called_off=True)
    assert isinstance(outcome.exception(), asyncio.CancelledError)
    assert chunks.closed_while_reading == [False]
