"""One credential with many slow uploads, and the other clients, which are served meanwhile."""

import json
import resource
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from select import select

import pytest

from tests.http.packages import form, post, wheel
from tests.http.raw_client import RawConnection, basic, http2_connection, raw_connection
from tests.http.servers import RunningServer, running_server
from tests.waiting import until
from wheelyard.http.uploads.handler import BATCH_BYTES

pytestmark = pytest.mark.integration

SLOTS = 64
"""The default number of upload slots."""
QUEUED = 40
POST = "POST /legacy/ HTTP/1.1"
KIND = "Content-Type: multipart/form-data; boundary=frontier"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    """A server with the settings that it has by itself."""
    with running_server(tmp_path) as server:
        yield server


def begin(line: RawConnection, number: int, *headers: str) -> None:
    """Send the first part of an upload, and nothing after it."""
    body = form(wheel(f"slow-{number}", filler=bytes(2 * BATCH_BYTES)))
    line.ask(POST, *headers, KIND, f"Content-Length: {len(body)}")
    line.send(body[: BATCH_BYTES + 1024])


def spooled(server: RunningServer) -> int:
    """Return how many uploads have a scratch file."""
    return sum(1 for _ in server.index.spool.folder.iterdir())


@contextmanager
def slow_bodies(server: RunningServer, count: int) -> Iterator[list[RawConnection]]:
    """Begin uploads of one credential that fill all slots, while more of them wait."""
    with ExitStack() as stack:
        lines = [stack.enter_context(raw_connection(server)) for _ in range(count)]
        for number, line in enumerate(lines):
            begin(line, number, basic("u", server.token))
        until(lambda: server.under_way() == count)
        until(lambda: spooled(server) == SLOTS)
        yield lines


def answered(lines: list[RawConnection]) -> list[RawConnection]:
    """Return the connections on which an answer has come."""
    ready, _, _ = select([line.connection for line in lines], [], [], 0)
    return [line for line in lines if line.connection in ready]


def test_other_credentials_are_answered(server: RunningServer) -> None:
    """However many slow bodies one credential has open, nine others upload meanwhile."""
    tokens = [server.make_token() for _ in range(9)]
    with slow_bodies(server, SLOTS + QUEUED) as slow:
        with ThreadPoolExecutor(len(tokens)) as pool:
            answers = pool.map(
                lambda each: post(server, wheel(f"prompt-{each[0]}"), token=each[1]),
                enumerate(tokens),
            )
            assert [answer.status_code for answer in answers] == [200] * len(tokens)
        given_up = answered(slow)
        assert len(given_up) <= len(tokens), "the others are still open"
        for line in given_up:
            reply = line.reply()
            assert reply is not None
            assert (reply.status, reply.header("retry-after")) == (503, "5")
            assert b'"overloaded"' in reply.body


def test_nothing_stays_taken(server: RunningServer) -> None:
    """When its clients have hung up, whether they had a slot or waited, a credential goes on."""
    with slow_bodies(server, SLOTS + QUEUED):
        pass
    until(lambda: spooled(server) == 0)
    with ThreadPoolExecutor(SLOTS) as pool:
        answers = pool.map(lambda number: post(server, wheel(f"job-{number}")), range(SLOTS))
        assert {answer.status_code for answer in answers} == {200}


def test_over_one_connection(server: RunningServer) -> None:
    """Of those who share a proxy's connection, one who waits for a slot keeps no other waiting."""
    token = server.make_token()
    body = form(wheel("prompt", filler=bytes(3 * BATCH_BYTES)))
    with slow_bodies(server, SLOTS) as slow, http2_connection(server) as proxy:
        waiting = proxy.begin(*upload(server.token, 1 << 30), has_body=True)
        proxy.fill(waiting)
        stream = proxy.begin(*upload(token, len(body)), has_body=True)
        proxy.send(stream, body)
        assert json.loads(proxy.answer(stream))["message"] == "OK"
        assert len(answered(slow)) <= 1, "the others are still open"


def upload(token: str, size: int) -> list[tuple[str, str]]:
    """Return the head of an upload over HTTP/2."""
    return [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "index"),
        (":path", "/legacy/"),
        ("authorization", f"Basic {b64encode(f'u:{token}'.encode()).decode()}"),
        ("content-type", "multipart/form-data; boundary=frontier"),
        ("content-length", str(size)),
    ]


def test_a_network_without_a_credential(tmp_path: Path) -> None:
    """Where anybody uploads, those of one network share what is theirs, and others are answered."""
    config = """
        [access]
        anonymous_uploads = true
        [server]
        trusted_proxies = 1
        [http]
        concurrent_uploads = 4
    """
    with running_server(tmp_path, config=config) as server, ExitStack() as stack:
        lines = [stack.enter_context(raw_connection(server)) for _ in range(12)]
        for number, line in enumerate(lines):
            begin(line, number, f"X-Forwarded-For: 192.0.2.{number}")
        until(lambda: spooled(server) == 4)
        server.client.headers["X-Forwarded-For"] = "198.51.100.7"
        assert post(server, wheel("prompt"), token="").status_code == 200
        assert len(answered(lines)) <= 1


def test_more_connections_than_uploads(server: RunningServer) -> None:
    """Thousands of connections are open, and one more client is answered."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with ExitStack() as stack:
            for _ in range(1200):
                stack.enter_context(raw_connection(server))
            with raw_connection(server) as line:
                line.ask("GET /health HTTP/1.1")
                reply = line.reply()
            assert reply is not None
            assert reply.status == 200
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
