"""Errors of the server's machine: reported as such, and over when the fault is."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.distributions import make_wheel
from tests.http.packages import publish
from tests.http.raw_client import RawConnection, raw_connection
from tests.http.servers import RunningServer, running_server

pytestmark = pytest.mark.integration

needs_prlimit = pytest.mark.skipif(
    not hasattr(resource, "prlimit"), reason="limits are not changed from outside here"
)
PAGE = "GET /project/demo/ HTTP/1.1"


@contextmanager
def no_more_files(server: RunningServer) -> Iterator[None]:
    """Let the server open nothing."""
    before = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        yield
    finally:
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, before)


def asked(line: RawConnection, request: str) -> tuple[int, bytes]:
    """Return the status and the body of the answer to a browser."""
    line.ask(request, "Accept: text/html")
    reply = line.reply()
    assert reply is not None
    return reply.status, reply.body


@needs_prlimit
def test_page_comes_once_templates_can_be_read(server: RunningServer) -> None:
    """The first page for people may fail for want of files, and the next one comes."""
    publish(server, make_wheel("demo"))
    with raw_connection(server) as line:
        for path in ("/simple/", "/simple/demo/"):
            assert asked(line, f"GET {path} HTTP/1.1")[0] == 200
        with no_more_files(server):
            for request in (PAGE, "GET / HTTP/1.1"):
                status, body = asked(line, request)
                assert (status, b"storage_unavailable" in body) == (503, True)
        for _ in range(2):
            assert asked(line, PAGE)[0] == 200


@needs_prlimit
def test_refusal_without_templates_is_a_plain_page(private: RunningServer) -> None:
    """A browser that is refused is told why by a plain page where there is no template for it."""
    with raw_connection(private) as line:
        assert asked(line, "GET /health HTTP/1.1")[0] == 200
        with no_more_files(private):
            status, body = asked(line, PAGE)
            assert (status, b"unauthenticated" in body) == (401, True)
            assert b"<h1>Sign in first</h1>" in body
            assert b"<header" not in body
        status, body = asked(line, PAGE)
        assert (status, b"<header" in body) == (401, True)


@needs_prlimit
def test_unopened_file_is_not_said_to_be_missing(server: RunningServer) -> None:
    """A file that cannot be opened just now is not said to be missing, and the log says why."""
    package = make_wheel("demo")
    publish(server, package)
    path = f"GET /packages/{package.filename} HTTP/1.1"
    with raw_connection(server) as line:
        assert asked(line, path)[0] == 200
        with no_more_files(server):
            status, body = asked(line, path)
            assert (status, b"too many files open" in body) == (503, True)
        assert asked(line, path)[0] == 200

    assert "a request was refused, storage_unavailable: The server has too many files" in server.log


def test_what_the_store_fails_at_is_logged(tmp_path: Path) -> None:
    """A store that fails is in the log at once, and a few times a minute at most."""
    with running_server(tmp_path) as server:
        publish(server, make_wheel("demo"))
        (server.store / "projects" / "demo.json").write_text("not a document")
        for _ in range(50):
            assert server.get("/simple/demo/").status_code == 503
        lines = [line for line in server.log.splitlines() if "a request was refused" in line]

    assert 1 <= len(lines) <= 12  # six a minute, and a minute may have ended
    assert " WARNING wheelyard: a request was refused, damaged_document: " in lines[0]


def test_what_is_not_ready_says_why(tmp_path: Path) -> None:
    """The reason why a server is not ready is logged."""
    with running_server(tmp_path) as server:
        server.store.rename(tmp_path / "elsewhere")
        try:
            assert server.get("/ready").status_code == 503
            assert "The store is not where it was" in server.log
        finally:
            (tmp_path / "elsewhere").rename(server.store)
