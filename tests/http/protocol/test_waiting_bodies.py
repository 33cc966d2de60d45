"""Bodies whose next bytes have still to come from somewhere else."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import pytest

from tests.waiting import TIMEOUT_SECONDS, StillLoop
from wheelyard.http.messages import STALL_SECONDS, Message, StreamedResponse
from wheelyard.http.requests import announces_body


@dataclass
class ArrivingBody:
    """A body each of whose chunks arrives once somebody waits for it; after None, nothing does."""

    coming: list[bytes | None]
    arrived: list[bytes] = field(default_factory=list)
    is_closed: bool = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        assert self.arrived or not self.coming, "a thread would wait here"
        if not self.arrived:
            raise StopIteration
        return self.arrived.pop()

    def when_ready(self, call: Callable[[], None]) -> bool:
        """Return whether a chunk is there or all were, else let the next one arrive soon."""
        if self.arrived or not self.coming:
            return True
        chunk = self.coming[0]
        if chunk is not None:
            asyncio.get_running_loop().call_soon(self._arrive, call)
        return False

    def close(self) -> None:
        """Note that nobody reads any more."""
        self.is_closed = True

    def _arrive(self, call: Callable[[], None]) -> None:
        self.arrived.append(self.coming.pop(0) or b"")
        call()


class OwnThread(Executor):
    """Runs work in the thread that submits it: no work may wait."""

    def submit(self, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:  # noqa: ANN401
        """Run `work` now."""
        future: Future[Any] = Future()
        future.set_result(work(*args, **kwargs))
        return future


class Client:
    """A client that sends nothing, and leaves once it is told to."""

    def __init__(self, left: asyncio.Event | None = None) -> None:
        self.left = left or asyncio.Event()

    async def __call__(self) -> Message:
        """Receive nothing."""
        return {"type": "http.disconnect"}

    async def wait_for_disconnect(self) -> None:
        """Wait until the client leaves."""
        await self.left.wait()


def test_waiting_client_occupies_no_thread() -> None:
    """A client that waits for bytes which are not there yet occupies no thread."""
    body, sent = ArrivingBody([b"one", b"two"]), list[bytes]()

    async def send(message: Message) -> None:
        sent.append(message.get("body", b""))

    response = StreamedResponse(200, (), body, OwnThread())
    asyncio.run(response({"method": "GET"}, Client(), send))

    assert b"".join(sent) == b"onetwo"
    assert body.is_closed


def test_leaving_client_is_let_go_at_once() -> None:
    """A client that disconnects while it waits for bytes is let go at once."""

    async def check() -> ArrivingBody:
        body, left = ArrivingBody([b"one", None]), asyncio.Event()

        async def send(message: Message) -> None:
            if message.get("body") == b"one":
                left.set()

        response = StreamedResponse(200, (), body, OwnThread())
        await response({"method": "GET"}, Client(left), send)
        return body

    assert asyncio.run(check()).is_closed


def test_nothing_is_sent_to_a_client_that_has_left() -> None:
    """What is read while a client disconnects is not sent to it any more."""
    left, sent = asyncio.Event(), list[bytes]()

    def pieces() -> Iterator[bytes]:
        yield b"one"
        left.set()
        yield b"two"

    async def send(message: Message) -> None:
        sent.append(message.get("body", b""))

    response = StreamedResponse(200, (), pieces(), OwnThread())
    asyncio.run(response({"method": "GET"}, Client(left), send))

    assert sent == [b"", b"one"]


def test_client_that_takes_nothing_is_given_up() -> None:
    """A client that takes a piece within a minute gets the next, and one that does not, no more."""
    loop, body, sent = StillLoop(), ArrivingBody([b"one", b"two", b"three"]), list[bytes]()

    async def send(message: Message) -> None:
        sent.append(message.get("body", b""))
        if sent[-1]:
            loop.by += STALL_SECONDS - 1 if sent[-1] == b"one" else STALL_SECONDS + 0.5
            taken = loop.create_future()
            if sent[-1] == b"one":
                loop.call_soon(taken.set_result, None)
            await taken

    async def check() -> None:
        await StreamedResponse(200, (), body, OwnThread())({"method": "GET"}, Client(), send)

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(check())

    assert sent == [b"", b"one", b"two"]
    assert body.is_closed


def test_client_of_a_stopped_server_gets_the_rest() -> None:
    """A download goes on if it was the server that did not run for longer than a minute."""
    loop, body, sent = StillLoop(), ArrivingBody([b"one", b"two"]), list[bytes]()

    async def send(message: Message) -> None:
        sent.append(message.get("body", b""))
        loop.by += 2 * STALL_SECONDS
        for _ in range(3):  # turns in which a timer that is due ends it
            await asyncio.sleep(0)

    async def check() -> None:
        await StreamedResponse(200, (), body, OwnThread())({"method": "GET"}, Client(), send)

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(check())

    assert sent == [b"", b"one", b"two", b""]


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
            response = StreamedResponse(200, (), chunks, readers)
            task = asyncio.create_task(response({"method": "GET"}, Client(), send_soon))
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


@pytest.mark.parametrize(
    ("request_line", "header", "is_announced"),
    [
        ("POST HTTP/1.1", b"content-length: 5", True),
        ("POST HTTP/1.1", b"transfer-encoding: chunked", True),
        ("POST HTTP/1.1", b"content-length: 0", False),
        ("POST HTTP/1.1", b"accept: */*", False),
        ("POST HTTP/2", b"accept: */*", True),
        ("POST HTTP/2", b"content-length: 0", False),
        ("GET HTTP/2", b"accept: */*", False),
        ("GET HTTP/2", b"content-length: 5", True),
    ],
    ids=[
        *("length", "chunks", "empty", "no-header"),
        *("http-2", "http-2-empty", "http-2-get", "http-2-get-with-a-length"),
    ],
)
def test_http_2_announces_a_body_without_a_header(
    request_line: str, header: bytes, *, is_announced: bool
) -> None:
    """An upload over HTTP/2 need not say its length; over HTTP/1.1 a header tells of a body."""
    method, _, version = request_line.partition(" HTTP/")
    name, _, value = header.partition(b": ")

    announced = announces_body({"method": method, "http_version": version}, {name: value})

    assert announced is is_announced
