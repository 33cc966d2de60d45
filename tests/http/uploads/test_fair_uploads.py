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

from tests.distributions import make_wheel
from tests.http.packages import form, post
from tests.http.raw_client import RawConnection, basic, http2_connection, raw_connection
from tests.http.servers import RunningServer, running_server
from tests.waiting import until
from wheelyard.http.upload_handler import BATCH_BYTES

pytestmark = pytest.mark.integration

SLOTS = 64
"""The default number of upload slots."""
SHARE = SLOTS // 2
"""How many of them one client may have."""
SLOW = 120
POST = "POST /legacy/ HTTP/1.1"
KIND = "Content-Type: multipart/form-data; boundary=frontier"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    """A server with the settings that it has by itself."""
    with running_server(tmp_path) as server:
        yield server


def begin(line: RawConnection, number: int, *headers: str) -> None:
    """Send the first part of an upload, and nothing after it."""
    body = form(make_wheel(f"slow-{number}", content=bytes(4 * BATCH_BYTES)))
    line.ask(POST, *headers, KIND, f"Content-Length: {len(body)}")
    line.send(body[: 2 * BATCH_BYTES])


def spooled(server: RunningServer) -> int:
    """Return how many uploads have a scratch file."""
    return sum(1 for _ in server.index.server.spool.folder.iterdir())


@contextmanager
def slow_bodies(server: RunningServer) -> Iterator[list[RawConnection]]:
    """Begin uploads of one credential that fill its share of the slots, while more of them wait."""
    with ExitStack() as stack:
        lines = [stack.enter_context(raw_connection(server)) for _ in range(SLOW)]
        for number, line in enumerate(lines):
            begin(line, number, basic("u", server.token))
        until(lambda: server.under_way() == SLOW)
        until(lambda: spooled(server) == SHARE)
        yield lines


def answered(lines: list[RawConnection]) -> list[RawConnection]:
    """Return the connections on which an answer has come."""
    ready, _, _ = select([line.connection for line in lines], [], [], 0)
    return [line for line in lines if line.connection in ready]


def test_other_credentials_are_answered(server: RunningServer) -> None:
    """However many slow uploads one credential has, others publish meanwhile, within 5 seconds."""
    tokens = [server.make_token() for _ in range(9)]
    server.client.timeout = 5.0
    with slow_bodies(server) as slow:
        with ThreadPoolExecutor(len(tokens)) as pool:
            answers = pool.map(
                lambda each: post(server, make_wheel(f"prompt-{each[0]}"), token=each[1]),
                enumerate(tokens),
            )
            assert [answer.status_code for answer in answers] == [200] * len(tokens)
        assert answered(slow) == []


def test_slots_are_free_after_clients_hang_up(server: RunningServer) -> None:
    """When its clients have hung up, whether they had a slot or waited, a credential goes on."""
    with slow_bodies(server):
        pass
    until(lambda: spooled(server) == 0)
    with ThreadPoolExecutor(SLOTS) as pool:
        answers = pool.map(lambda number: post(server, make_wheel(f"job-{number}")), range(SLOTS))
        assert {answer.status_code for answer in answers} == {200}


def test_waiting_upload_blocks_no_other_of_its_connection(server: RunningServer) -> None:
    """Of those who share a proxy's connection, one who waits for a slot keeps no other waiting."""
    token = server.make_token()
    body = form(make_wheel("prompt", content=bytes(3 * BATCH_BYTES)))
    with slow_bodies(server) as slow, http2_connection(server) as proxy:
        waiting = proxy.begin(*upload(server.token, 1 << 30), has_body=True)
        proxy.fill(waiting)
        stream = proxy.begin(*upload(token, len(body)), has_body=True)
        proxy.send(stream, body)
        assert json.loads(proxy.answer(stream))["message"] == "OK"
        assert answered(slow) == []


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


def test_anonymous_network_shares_its_slots(tmp_path: Path) -> None:
    """Where anybody uploads, a network has half of the turns, and other networks are answered."""
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
        until(lambda: spooled(server) == 2)
        server.client.headers["X-Forwarded-For"] = "198.51.100.7"
        assert post(server, make_wheel("prompt"), token="").status_code == 200
        assert answered(lines) == []


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
