"""What goes out to an upstream: the name of a public project, and nothing of a client."""

from pathlib import Path
from typing import Any

from tests.upstream.fake_pages import Fault, basic
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import public_wheel
from tests.upstream.reading import link_of, look, page_of
from tests.upstream.settings import front

PACKAGE = public_wheel("requests", "2.0")
OF_A_CLIENT = {
    "authorization": basic("__token__", "client-secret"),
    "cookie": "session=client-secret",
    "forwarded": "for=192.0.2.7",
    "x-forwarded-for": "192.0.2.7",
    "x-forwarded-host": "packages.acme.dev",
    "x-real-ip": "192.0.2.7",
    "x-goog-iap-jwt-assertion": "client-secret",
    "user-agent": "pip/26.3 client-secret",
    "referer": "http://packages.acme.dev/project/acme-core/",
    "accept-language": "de",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "if-none-match": '"client-secret"',
    "x-request-id": "client-secret",
}
SENT = {"host", "accept", "accept-encoding", "user-agent", "via"}
"""The names of the headers that a request to an upstream has."""


def test_no_header_of_a_client_goes_out(upstream: FakeUpstream, tmp_path: Path) -> None:
    """Requests to an upstream have five headers, and none of them comes from a client."""
    upstream.publish(PACKAGE)
    with front(tmp_path, upstream) as server:
        assert page_of(server, "requests", **OF_A_CLIENT).status == 401
        link = link_of(server, "requests", PACKAGE.filename)
        for suffix in ("", ".metadata"):
            look(server, link + suffix, **OF_A_CLIENT)
            assert look(server, link + suffix).status == 200
        server.clock.advance(seconds=601)
        page_of(server, "requests")

    page, *files, again = upstream.requests
    assert {name.lower() for name, _ in page.headers} == SENT
    assert {name.lower() for name, _ in again.headers} == SENT | {"if-none-match"}
    assert len(files) == 2
    for file in files:
        assert {name.lower() for name, _ in file.headers} <= SENT
    for request in upstream.requests:
        written = str(request.headers)
        for secret in ("client-secret", "192.0.2.7", "acme", "pip/"):
            assert secret not in written
        assert (request.header("user-agent") or "").startswith("wheelyard/")
        assert "?" not in request.path


def test_credentials_of_the_upstream(upstream: FakeUpstream, tmp_path: Path) -> None:
    """The credentials of an upstream go to its own host, and no page or message shows them."""
    upstream.publish(PACKAGE)
    upstream.require("reader", "upstream-secret")
    login: dict[str, Any] = {"username": "reader", "password": "upstream-secret"}
    seen = []
    with front(tmp_path, upstream, **login) as server:
        upstream.behave("requests", Fault.RELATIVE_URL)
        seen.append(page_of(server, "requests"))
        link = link_of(server, "requests", PACKAGE.filename)
        assert look(server, link).body == PACKAGE.body
        upstream.behave("other", Fault.REDIRECT_OTHER)
        seen += [
            page_of(server, "other"),
            look(server, "/metrics"),
            look(server, "/project/other/"),
        ]

    index = [each for each in upstream.requests if each.host == "index"]
    assert {each.header("authorization") for each in index} == {upstream.credentials}
    assert upstream.asked_stranger() == []
    assert all(b"upstream-secret" not in each.body for each in seen)
