"""What the machine under the server refuses: told as such, and forgotten once it is over."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.http.packages import publish, wheel
from tests.http.raw import Wire, wire
from tests.http.servers import Site

needs_prlimit = pytest.mark.skipif(
    not hasattr(resource, "prlimit"), reason="limits are not changed from outside here"
)
PAGE = "GET /project/demo/ HTTP/1.1"


@contextmanager
def no_more_files(site: Site) -> Iterator[None]:
    """Let the server open nothing."""
    before = resource.prlimit(site.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(site.pid, resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        yield
    finally:
        resource.prlimit(site.pid, resource.RLIMIT_NOFILE, before)


def asked(line: Wire, request: str) -> tuple[int, bytes]:
    """Return the status and the body of the answer to a browser."""
    line.ask(request, "Accept: text/html")
    reply = line.reply()
    assert reply is not None
    return reply.status, reply.body


@needs_prlimit
def test_templates_that_cannot_be_read(site: Site) -> None:
    """The first page for people may fail for want of files, and the next one comes."""
    publish(site, wheel("demo"))
    with wire(site) as line:
        for path in ("/simple/", "/simple/demo/"):
            assert asked(line, f"GET {path} HTTP/1.1")[0] == 200
        with no_more_files(site):
            for request in (PAGE, "GET / HTTP/1.1"):
                status, body = asked(line, request)
                assert (status, b"storage_unavailable" in body) == (503, True)
        for _ in range(2):
            assert asked(line, PAGE)[0] == 200


@needs_prlimit
def test_refusal_that_has_no_page(private: Site) -> None:
    """A browser that is refused is told why even where there is no page to say it with."""
    with wire(private) as line:
        assert asked(line, "GET /health HTTP/1.1")[0] == 200
        with no_more_files(private):
            status, body = asked(line, PAGE)
            assert (status, b'"unauthenticated"' in body) == (401, True)
        status, body = asked(line, PAGE)
        assert (status, body[:15]) == (401, b"<!DOCTYPE html>")
