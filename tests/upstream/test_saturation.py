"""Everything that a stranger can occupy is occupied, and private packages are still served."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from bcrypt import gensalt, hashpw

from tests.distributions import make_wheel
from tests.http.packages import form, post
from tests.http.raw_client import RawConnection, basic, http2_connection, raw_connection
from tests.http.servers import RunningServer, running_server
from tests.upstream.fake_pages import Fault
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import public_wheel
from tests.upstream.settings import upstream_settings
from tests.waiting import until

pytestmark = pytest.mark.integration

HANGING, UPLOADS, LOGINS = 200, 64, 8
HASH_ROUNDS = 13
"""Of bcrypt: about half a second each."""
KIND = "Content-Type: multipart/form-data; boundary=frontier"


@pytest.fixture
def server(tmp_path: Path, upstream: FakeUpstream) -> Iterator[RunningServer]:
    """A server with an upstream that does not answer for any project, and with a password."""
    for number in range(HANGING):
        upstream.publish(public_wheel(f"slow-{number}", "1.0"))
        upstream.behave(f"slow-{number}", Fault.HANG)
    users = tmp_path / "htpasswd"
    users.write_text(f"ana:{hashpw(b's3cret', gensalt(HASH_ROUNDS)).decode()}\n")
    access = f'[access]\nprivate = true\nhtpasswd_file = "{users}"\n'
    with running_server(tmp_path, config=access + upstream_settings(upstream)) as server:
        assert post(server, make_wheel("demo"), token=server.token).status_code == 200
        yield server


def begin_upload(line: RawConnection, number: int, token: str) -> None:
    """Send the head and the first bytes of an upload, and nothing after them."""
    body = form(make_wheel(f"slow-upload-{number}", content=bytes(1 << 16)))
    line.ask("POST /legacy/ HTTP/1.1", basic("u", token), KIND, f"Content-Length: {len(body)}")
    line.send(body[:1024])


@contextmanager
def saturated(server: RunningServer) -> Iterator[None]:
    """Keep uploads and logins under way, of other credentials than the server's token."""
    tokens = [server.make_token() for _ in range(2)]
    with ExitStack() as stack:
        for number in range(UPLOADS):
            line = stack.enter_context(raw_connection(server))
            begin_upload(line, number, tokens[number % 2])
        for number in range(LOGINS):
            line = stack.enter_context(raw_connection(server))
            line.ask("GET /simple/demo/ HTTP/1.1", basic("ana", f"guess-{number}"))
        yield


def test_private_pages_over_http_1(server: RunningServer) -> None:
    """With 200 requests that wait for an upstream, 64 slow uploads and 8 logins, pages come."""
    with ExitStack() as stack:
        for number in range(HANGING):
            line = stack.enter_context(raw_connection(server))
            line.ask(f"GET /simple/slow-{number}/ HTTP/1.1", basic("u", server.token))
        with saturated(server):
            until(lambda: server.under_way() >= HANGING + UPLOADS)
            for number in range(20):  # none of them was asked for before
                assert server.get(f"/simple/demo/?n={number}", server.token).status_code == 200


def test_private_pages_over_one_http_2_connection(server: RunningServer) -> None:
    """With 200 waiting requests on one HTTP/2 connection, slow uploads and logins, pages come."""
    login = basic("u", server.token).partition(": ")[2]
    head = [(":method", "GET"), (":scheme", "http"), (":authority", "index")]
    with saturated(server), http2_connection(server) as connection:
        for number in range(HANGING):
            path = (":path", f"/simple/slow-{number}/")
            connection.begin(*head, path, ("authorization", login))
        until(lambda: server.under_way() >= HANGING + UPLOADS)
        for number in range(20):
            path = (":path", f"/simple/demo/?n={number}")
            stream = connection.begin(*head, path, ("authorization", login))
            assert b"demo-1.0" in connection.answer(stream)
