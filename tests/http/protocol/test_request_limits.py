"""Limits on what one client may use: time, threads, upload slots."""

import asyncio
from base64 import b64encode
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final
from weakref import ref

import pytest
from packaging.utils import NormalizedName

from tests.distributions import make_wheel
from tests.http.packages import post, publish
from tests.http.raw_client import RawConnection, basic, http2_connection, raw_connection
from tests.http.servers import RunningServer, running_app
from tests.waiting import StillLoop, until
from wheelyard.cli.command_context import local_caller
from wheelyard.http.app import App
from wheelyard.http.messages import Message
from wheelyard.http.requests import BodyTimeouts, RequestBody, SlowClient
from wheelyard.model.distribution_filename import parse_version
from wheelyard.operations.lifecycle import Selection
from wheelyard.settings.sections import HttpSettings, Settings, StoreSettings
from wheelyard.wiring.build import open_index

pytestmark = pytest.mark.integration

TIMEOUTS = BodyTimeouts(idle_seconds=0.8, min_bytes_per_second=2000, discard_seconds=0.3)
KIND = "Content-Type: multipart/form-data; boundary=frontier"
LENGTH = "Content-Length: 100000000"
CHUNKED = "Transfer-Encoding: chunked"
PIECE = b"64\r\n" + bytes(100) + b"\r\n"
"""A chunk of a hundred bytes, and as good as any bytes where a length was announced."""


TURNS: Final = 3
"""Turns of an event loop within which a timer that is due ends what waits."""


def read(pieces: Sequence[tuple[int, float]], turns_after_stop: int = TURNS) -> None:
    """
    Read a body of so many bytes each, which come after so many seconds.

    In a pause of a minute the server is stopped, and the bytes come some turns after it.
    """
    loop, coming = StillLoop(), iter(pieces)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        scope = {"headers": [], "http_version": "1.1", "method": "POST"}

        async def receive() -> Message:
            size, pause = next(coming)
            loop.by += pause
            for _ in range(TURNS if pause < 60 else turns_after_stop):
                await asyncio.sleep(0)
            return {"type": "http.request", "body": bytes(size), "more_body": True}

        async def whole() -> None:
            incoming = RequestBody(receive, scope, {}, TIMEOUTS)
            for _ in pieces:
                await incoming()

        runner.run(whole())


@pytest.mark.parametrize("first", [10, 1 << 20])
def test_trickling_body_is_given_up(first: int) -> None:
    """A body that gets nowhere is given up, however much of it came first."""
    with pytest.raises(SlowClient):
        read([(first, 0.05), *[(10, 0.05)] * 30])


def test_steady_slow_body_is_taken() -> None:
    """A body that takes its time, but keeps a pace, is taken however long it lasts."""
    read([(500, 0.1)] * 10_000)


@pytest.mark.parametrize("turns", [0, TURNS])
def test_body_that_comes_while_the_server_is_stopped_is_taken(turns: int) -> None:
    """A server that was stopped for a minute takes what has come, and has patience as before."""
    read([(500, 60), *[(10, 0.05)] * 10, (10, 60), (10, 0.05), (1 << 20, 60)], turns)


def test_silence_after_the_server_was_stopped_is_given_up() -> None:
    """A client that sends nothing after the server was stopped is given up all the same."""
    with pytest.raises(SlowClient):
        read([(500, 60), *[(10, 0.05)] * 30])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that takes two uploads at a time, and is soon out of patience with a slow one."""
    folder = tmp_path_factory.mktemp("hasty")
    settings = Settings(
        store=StoreSettings(location=str(folder / "store")), http=HttpSettings(concurrent_uploads=2)
    )
    index = open_index(settings)
    with running_app(index, folder, App(index, TIMEOUTS)) as server:
        yield server


def test_silent_uploads_block_nobody_for_long(server: RunningServer) -> None:
    """Where silent uploads hold every slot, another is taken as soon as they get their 408."""

    def silent(_: int) -> int:
        with raw_connection(server) as line:
            kind = "Content-Type: multipart/form-data; boundary=frontier"
            head = (basic("u", server.token), kind, "Content-Length: 1000")
            line.ask("POST /legacy/ HTTP/1.1", *head)
            reply = line.reply()
        assert reply is not None
        return reply.status

    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(silent, range(4))
        until(lambda: server.under_way() > 1)
        assert post(server, make_wheel("prompt")).status_code == 200
        assert set(answers) == {408}


def is_cut_off(line: RawConnection) -> bool:
    """Send more of a body, and return whether the server has closed the connection."""
    line.connection.settimeout(0)
    try:
        line.send(PIECE)
        return not line.connection.recv(1)
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


@pytest.mark.parametrize("framing", [LENGTH, CHUNKED])
@pytest.mark.parametrize(
    ("request_line", "headers", "status"),
    [
        ("POST /legacy/ HTTP/1.1", (KIND,), 401),
        ("POST /legacy/ HTTP/1.1", (KIND, "Expect: 100-continue"), 401),
        ("POST /legacy/ HTTP/1.1", (KIND, "Authorization: Basic {login}"), 408),
        ("PUT /simple/ HTTP/1.1", (), 405),
        ("GET /simple/ HTTP/1.1", (), 200),
    ],
    ids=["refused", "asked-first", "slow", "no-such-method", "page"],
)
def test_body_after_its_answer_is_cut_off(
    server: RunningServer, request_line: str, headers: tuple[str, ...], status: int, framing: str
) -> None:
    """Who sends on after the answer can read it, and is then cut off, however fast they send."""
    login = b64encode(f"u:{server.token}".encode()).decode()
    with raw_connection(server) as line:
        line.ask(request_line, *(header.format(login=login) for header in headers), framing)
        answer = line.reply()
        assert answer is not None
        assert (answer.status, answer.header("connection")) == (status, "close")
        until(lambda: is_cut_off(line))


def test_request_that_is_over_keeps_no_connection() -> None:
    """What still refers to a request, such as a timer that was cancelled, keeps nothing open."""

    class Line:
        async def receive(self) -> Message:
            return {"type": "http.disconnect"}

        async def send(self, _: Message) -> None:
            pass

    line = Line()
    kept = ref(line)
    body = RequestBody(line.receive, {"http_version": "1.1"}, {b"content-length": b"1"}, TIMEOUTS)
    body.closing(line.send)
    body.release()
    del line
    assert kept() is None


def test_request_behind_an_unread_body_is_not_answered(server: RunningServer) -> None:
    """What follows a body that was not read may be a part of it, and is no request."""
    with raw_connection(server) as line:
        line.ask("POST /legacy/ HTTP/1.1", KIND, body=b"12345")
        line.ask("GET /health HTTP/1.1")
        answer = line.reply()
        assert answer is not None
        assert answer.status == 401
        assert line.is_closed()


def test_unread_body_of_http2_ends_its_stream_alone(server: RunningServer) -> None:
    """An early answer over HTTP/2 leaves the connection to the other requests on it."""
    with http2_connection(server) as line:
        head = ((":scheme", "http"), (":authority", "index"))
        refused = line.begin((":method", "POST"), (":path", "/legacy/"), *head, has_body=True)
        assert b"401" in line.answer(refused)
        good = line.begin((":method", "GET"), (":path", "/health"), *head)
        assert line.answer(good) == b"Ok"


def test_long_journal_comes_in_pages(tmp_path: Path) -> None:
    """A journal comes a thousand commits at a time, in order, each of them once."""
    index = open_index(Settings(store=StoreSettings(location="memory:")))
    with running_app(index, tmp_path) as server:
        publish(server, make_wheel("long"))
        caller, name = local_caller(index), NormalizedName("long")
        selection = Selection(parse_version("1.0"))
        for number in range(1100):
            index.lifecycle.change("yank", caller, name, selection, f"reason {number}")
        path = "/api/v1/projects/long/journal"
        pages = [server.get(path).json()]
        while "next" in pages[-1]:
            pages.append(server.get(f"{path}?after={pages[-1]['next']}").json())

        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda _: server.get(path), range(24)))

    numbers = [[commit["number"] for commit in page["commits"]] for page in pages]
    assert [len(page) for page in numbers] == [1000, 101]
    assert [number for page in numbers for number in page] == list(range(1, 1102))
    assert {answer.json()["next"] for answer in answers} == {1000}
