"""Uploads as they travel: chunked, cut off, announced, refused while they are still coming."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.distributions import Distribution, make_wheel
from tests.http.packages import form, post, publish
from tests.http.raw_client import RawConnection, RawResponse, basic, raw_connection
from tests.http.servers import RunningServer, running_server
from tests.waiting import until

pytestmark = pytest.mark.integration

KIND = "Content-Type: multipart/form-data; boundary=frontier"
POST = "POST /legacy/ HTTP/1.1"
CHUNKED = "Transfer-Encoding: chunked"
GOOD = make_wheel("good")
BIG = Distribution("big-1.0-py3-none-any.whl", bytes(5 << 20))
UNWANTED = {"no-token": (False, 401), "too-large": (True, 413)}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that takes files of at most 1 MiB, and is empty but for one."""
    config = "[uploads]\nmax_file_size = 1\n"
    with running_server(tmp_path_factory.mktemp("wire"), config=config) as server:
        publish(server, make_wheel("other"))
        yield server


@pytest.fixture
def line(server: RunningServer) -> Iterator[RawConnection]:
    """A connection; and whatever comes over it, nothing is kept and the server lives on."""
    kept = server.kept()
    with raw_connection(server) as line:
        yield line
    until(lambda: server.kept() == kept)  # the server may see the end only now
    assert server.kept() == kept
    assert server.get("/simple/good/").status_code == 404
    assert server.get("/health").status_code == 200


def credentials(server: RunningServer) -> str:
    """Write the header that opens everything."""
    return basic("__token__", server.token)


def chunks(body: bytes, size: int) -> bytes:
    """Cut a body into chunks, without the last one."""
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)


def answered(line: RawConnection) -> RawResponse:
    """Read an answer, which there has to be."""
    reply = line.reply()
    assert reply is not None, "the server hung up"
    return reply


@pytest.mark.parametrize("size", [1, 65_536])
def test_chunked_upload_is_taken(server: RunningServer, size: int) -> None:
    """A body without a length, in chunks of any size, is as good as one with it."""
    package = make_wheel("chunked", str(size))
    with raw_connection(server) as line:
        line.ask(POST, credentials(server), KIND, CHUNKED)
        line.send(chunks(form(package), size) + b"0\r\n\r\n")
        assert answered(line).status == 200
    assert server.get(f"/packages/{package.filename}").content == package.body


@pytest.mark.parametrize(
    "rest",
    [b"ZZ\r\n", b"f" * 17 + b"\r\n", b"-1\r\n", b"5\r\nabc", b"3\r\nabcdef\r\n0\r\n\r\n", b""],
    ids=["no-hex", "17-digits", "negative", "cut", "wrong-size", "no-end"],
)
def test_broken_chunks_are_refused(server: RunningServer, line: RawConnection, rest: bytes) -> None:
    """A body whose chunks break off is refused."""
    line.ask(POST, credentials(server), KIND, CHUNKED)
    line.send(chunks(form(GOOD)[:-20], 100) + rest)
    line.connection.shutdown(socket.SHUT_WR)
    reply = answered(line)
    assert (reply.status, b"incomplete_body" in reply.body) == (400, True)


def test_endless_chunks_are_refused(server: RunningServer, line: RawConnection) -> None:
    """A body that goes on and on is refused when it passes the limit."""
    line.ask(POST, credentials(server), KIND, CHUNKED)
    start = form(BIG)[:200]
    line.send(chunks(start, 200))
    for _ in range(8):
        line.send(chunks(bytes(1 << 18), 1 << 18))
    assert answered(line).status == 413


@pytest.mark.parametrize("missing", [1, 500])
def test_short_body_is_refused(server: RunningServer, line: RawConnection, missing: int) -> None:
    """A client that stops before the length that it announced is told so."""
    body = form(GOOD)
    line.ask(POST, credentials(server), KIND, f"Content-Length: {len(body)}")
    line.send(body[:-missing])
    line.connection.shutdown(socket.SHUT_WR)
    reply = answered(line)
    assert (reply.status, b"incomplete_body" in reply.body) == (400, True)


@pytest.mark.parametrize("sent", [0, 100, 500])
def test_disconnected_client_leaves_nothing(
    server: RunningServer, line: RawConnection, sent: int
) -> None:
    """A client that goes away in the middle of an upload leaves nothing in the store."""
    body = form(GOOD)
    line.ask(POST, credentials(server), KIND, f"Content-Length: {len(body)}")
    line.send(body[:sent])
    line.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    line.close()


def test_rest_of_a_long_body_is_another_request(server: RunningServer) -> None:
    """What comes behind a complete upload is another request, and a bad one."""
    package = make_wheel("longer")
    with raw_connection(server) as line:
        line.ask(POST, credentials(server), KIND, body=form(package))
        line.send(b"garbage garbage\r\n\r\n")
        assert answered(line).status == 200
        assert answered(line).status == 400
        assert line.is_closed()


@pytest.mark.parametrize("headers", [(), ("Content-Length: 0",), ("Content-Length: 0", KIND)])
def test_upload_without_a_body_is_refused(
    server: RunningServer, line: RawConnection, headers: tuple[str, ...]
) -> None:
    """An upload of nothing at all is told that there is nothing."""
    line.ask(POST, credentials(server), *headers)
    reply = answered(line)
    assert (reply.status, b"The request has no body." in reply.body) == (400, True)
    assert b"incomplete_body" in reply.body


@pytest.mark.parametrize("case", UNWANTED)
def test_expectation_is_refused_before_the_body(
    server: RunningServer, line: RawConnection, case: str
) -> None:
    """A client that asks first, as curl does, is refused without sending anything."""
    has_token, status = UNWANTED[case]
    headers = [credentials(server)] if has_token else []
    line.ask(POST, *headers, KIND, "Expect: 100-continue", f"Content-Length: {5 << 30}")
    assert answered(line).status == status


def test_expected_upload_is_told_to_go_on(server: RunningServer) -> None:
    """A client that asks first is told to go on, and then that all is well."""
    package, body = make_wheel("asked-first"), form(make_wheel("asked-first"))
    with raw_connection(server) as line:
        headers = (KIND, "Expect: 100-continue", f"Content-Length: {len(body)}")
        line.ask(POST, credentials(server), *headers)
        assert answered(line).status == 100
        line.send(body)
        assert answered(line).status == 200
    assert server.get(f"/packages/{package.filename}").content == package.body


def test_unknown_expectation_is_ignored(server: RunningServer) -> None:
    """Another expectation than 100-continue is ignored."""
    package = make_wheel("banana")
    with raw_connection(server) as line:
        line.ask(POST, credentials(server), KIND, "Expect: banana", body=form(package))
        assert answered(line).status == 200
    assert server.get(f"/packages/{package.filename}").content == package.body


@pytest.mark.parametrize("case", UNWANTED)
def test_refusal_is_readable_after_the_body(
    server: RunningServer, line: RawConnection, case: str
) -> None:
    """A client that sends all of 5 MB before it reads can still read why not."""
    has_token, status = UNWANTED[case]
    body = form(BIG)
    headers = [credentials(server)] if has_token else []
    line.ask(POST, *headers, KIND, f"Content-Length: {len(body)}")
    for at in range(0, len(body), 1 << 16):
        line.send(body[at : at + (1 << 16)])
    answer = answered(line)
    assert (answer.status, answer.header("connection")) == (status, "close")
    assert line.is_closed()


def test_parallel_uploads_are_all_listed(server: RunningServer) -> None:
    """Forty uploads at once to a few projects are all listed, and none is lost."""
    packages = [make_wheel(f"busy-{number % 3}", f"1.{number}") for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda package: post(server, package).status_code, packages))
    assert set(answers) == {200}
    listed = [
        file["filename"]
        for number in range(3)
        for file in server.get(f"/simple/busy-{number}/", Accept="application/json").json()["files"]
    ]
    assert sorted(listed) == sorted(package.filename for package in packages)
