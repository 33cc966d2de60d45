"""The fake upstream itself: clients install from it, and it breaks what it is told to break."""

import hashlib

import httpx2
import pytest

from tests.plain_http import LOCALLY
from tests.upstream.fake_pages import JSON, Fault, make_page
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import public_wheel

pytestmark = pytest.mark.integration


def page_of(upstream: FakeUpstream, name: str, **headers: str) -> httpx2.Response:
    """Ask for a page."""
    return httpx2.get(f"{upstream.url}{name}/", headers={"Accept": JSON, **headers}, **LOCALLY)


def test_it_serves_pages_and_files(upstream: FakeUpstream) -> None:
    """A page leads to the file and its metadata, and is not sent again with its ETag."""
    package = public_wheel("requests", "2.0")
    upstream.publish(package)

    page = page_of(upstream, "requests")
    (file,) = page.json()["files"]
    body = httpx2.get(file["url"], **LOCALLY).content
    part = httpx2.get(file["url"], headers={"Range": "bytes=2-4"}, **LOCALLY)
    metadata = httpx2.get(f"{file['url']}.metadata", **LOCALLY).content

    assert (body, part.content, metadata) == (package.data, package.data[2:5], package.metadata)
    assert hashlib.sha256(metadata).hexdigest() == file["core-metadata"]["sha256"]
    again = httpx2.get(page.url, headers={"If-None-Match": page.headers["etag"]}, **LOCALLY)
    assert again.status_code == httpx2.codes.NOT_MODIFIED
    assert [each.path for each in upstream.asked_pages("Requests")] == ["/simple/requests/"] * 2
    assert len(upstream.asked_files("requests")) == 2
    assert upstream.asked("acme-core") == []


def test_every_fault_has_a_page(upstream: FakeUpstream) -> None:
    """A page can be made with each fault, in both formats."""
    upstream.publish(public_wheel("requests", "2.0"))
    for fault in set(Fault) - {Fault.HUGE_PAGE}:
        upstream.behave("requests", fault)
        for accept in (JSON, "text/html"):
            project = upstream.projects["requests"]
            assert make_page(project, upstream.places, accept, "/simple/requests/").body


def test_it_breaks_off(upstream: FakeUpstream) -> None:
    """A truncated file is an error for the client, a held one comes after the gate is open."""
    package = public_wheel("requests", "2.0")
    upstream.publish(package)
    url = page_of(upstream, "requests").json()["files"][0]["url"]

    upstream.behave_files("requests", Fault.TRUNCATE, Fault.ONLY_ONCE)
    with pytest.raises(httpx2.RemoteProtocolError):
        httpx2.get(url, **LOCALLY)
    upstream.behave_files("requests", Fault.CHUNKED)
    assert httpx2.get(url, **LOCALLY).content == package.data
    gate = upstream.hold_files("requests")
    with httpx2.stream("GET", url, **LOCALLY) as answer:
        pieces = answer.iter_raw()
        first = next(pieces)
        gate.set()
        rest = b"".join(pieces)

    assert 0 < len(first) < len(package.data)
    assert first + rest == package.data


def test_it_comes_back_on_its_ports(upstream: FakeUpstream) -> None:
    """A stopped upstream refuses connections; afterwards it is there again."""
    upstream.publish(public_wheel("requests", "2.0"))
    upstream.stop()
    with pytest.raises(httpx2.ConnectError):
        page_of(upstream, "requests")

    upstream.start()

    assert page_of(upstream, "requests").status_code == httpx2.codes.OK
