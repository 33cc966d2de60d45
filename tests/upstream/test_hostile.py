"""Upstreams that are dead, slow or lying, as a client of the server before them sees it."""

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.clients.tls import running_proxy
from tests.http.servers import RunningServer
from tests.upstream.fake_pages import Fault
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import public_wheel
from tests.upstream.reading import SOURCE, file_of, link_of, look, page_of
from tests.upstream.settings import front, serving

PACKAGE = public_wheel("requests", "2.0")

NOT_ALLOWED = "is not in upstream.file_hosts"
BROKE_OFF = "the connection broke off"
"""Reasons for the user, as in the refusals of pages and of files."""


@pytest.mark.parametrize(
    ("fault", "status", "retry_after", "why"),
    [
        (401, 502, None, "it answers with status 401"),
        (Fault.BAD_JSON, 502, None, "its page is not the JSON that it should be"),
        (Fault.API_2_0, 502, None, "of a version of the Simple API that is not known here"),
        (Fault.WRONG_CONTENT_TYPE, 502, None, "its page is neither JSON nor HTML"),
        (Fault.NAME_MISMATCH, 502, None, "its page is that of another project"),
        (Fault.REDIRECT_OTHER, 502, None, NOT_ALLOWED),
        (Fault.REDIRECT_NAME, 502, None, "it leads to the page of another project"),
        (Fault.REDIRECT_METADATA_IP, 502, None, f"the host 169.254.169.254 {NOT_ALLOWED}"),
        (Fault.REDIRECT_LOOP, 502, None, "it leads on more than 3 times"),
        (Fault.REDIRECT_OTHER_SCHEME, 502, None, "it leads to what is no URL"),
        (500, 503, "2", "it answers with status 500"),
        (502, 503, "2", "it answers with status 502"),
        (503, 503, "2", "it answers with status 503"),
        (504, 503, "2", "it answers with status 504"),
        (Fault.TRUNCATE, 503, "2", BROKE_OFF),
        (Fault.RESET, 503, "2", BROKE_OFF),
    ],
)
def test_a_page_that_cannot_be_used_is_never_a_404(
    upstream: FakeUpstream,
    tmp_path: Path,
    fault: Fault | int,
    status: int,
    retry_after: str | None,
    why: str,
) -> None:
    """A page that cannot be used is 502 or 503; a cached one is served with its age for a time."""
    upstream.publish(PACKAGE)
    with front(tmp_path, upstream, max_stale=3600) as server:
        upstream.behave("requests", fault)
        failed = page_of(server, "requests")
        assert (failed.status, failed.headers.get("retry-after")) == (status, retry_after)
        assert why in failed.body.decode()
        upstream.behave("requests")
        server.clock.advance(seconds=61)
        good = page_of(server, "requests")
        assert good.headers[SOURCE] == "upstream"

        upstream.behave("requests", fault)
        server.clock.advance(seconds=1800)
        stale = page_of(server, "requests")
        assert stale.files == good.files
        assert stale.headers[SOURCE] == "upstream-stale"
        assert int(stale.headers["age"]) == 1800
        server.clock.advance(seconds=1801)
        assert page_of(server, "requests").status == status
    assert upstream.asked_stranger() == []


@pytest.mark.integration
@pytest.mark.parametrize("fault", [Fault.HUGE_PAGE, Fault.GZIP_BOMB])
def test_an_endless_page_is_not_read_to_its_end(
    upstream: FakeUpstream, tmp_path: Path, fault: Fault
) -> None:
    """A page that is too large, or becomes so, is not read to its end."""
    upstream.publish(PACKAGE)
    upstream.behave("requests", fault)
    with front(tmp_path, upstream) as server:
        refused = page_of(server, "requests")
    assert refused.status == 502
    assert b"larger than 64 MiB" in refused.body


def test_what_is_cached_is_served_while_the_upstream_is_gone(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    """While the upstream is gone, what is cached is served, its files too, and the rest is 503."""
    upstream.publish(PACKAGE, public_wheel("other", "1.0"))
    with front(tmp_path, upstream) as server:
        link = link_of(server, "requests", PACKAGE.filename)
        assert look(server, link).body == PACKAGE.body
        upstream.stop()
        server.clock.advance(seconds=7200)

        assert page_of(server, "requests").headers[SOURCE] == "upstream-stale"
        assert look(server, link).body == PACKAGE.body
        refused = page_of(server, "other")
        assert (refused.status, refused.headers["retry-after"]) == (503, "2")
        why = "The upstream index public does not say what it has of other: it cannot be reached."
        assert json.loads(refused.body)["code"] == f"503 {why}"
        upstream.start()
        server.clock.advance(seconds=61)
        assert page_of(server, "other").status == 200


@pytest.mark.parametrize("status", [404, 410])
def test_a_removed_project_is_gone_with_its_files(
    upstream: FakeUpstream, tmp_path: Path, status: int
) -> None:
    """A project that the upstream has removed is gone at once, with its cached files."""
    upstream.publish(PACKAGE)
    with front(tmp_path, upstream) as server:
        link = link_of(server, "requests", PACKAGE.filename)
        assert look(server, link).status == 200
        upstream.behave("requests", status)
        server.clock.advance(seconds=601)

        assert page_of(server, "requests").status == 404
        assert look(server, link).status == 404
        assert look(server, f"{link}.metadata").status == 404


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (Fault.ABS_URL_OTHER_HOST, NOT_ALLOWED),
        (Fault.URL_USERINFO, "its URL has a user name"),
        (Fault.URL_METADATA_IP, f"the host 169.254.169.254 {NOT_ALLOWED}"),
    ],
)
def test_a_link_that_leads_elsewhere_is_never_followed(
    upstream: FakeUpstream, tmp_path: Path, fault: Fault, why: str
) -> None:
    """A page whose links lead to where the settings do not allow is refused, and none followed."""
    upstream.publish(PACKAGE)
    upstream.behave("requests", fault)
    with front(tmp_path, upstream) as server:
        page = page_of(server, "requests")
    assert page.status == 502
    assert "none of its files may be fetched: " in page.body.decode()
    assert why in page.body.decode()
    assert upstream.asked_stranger() == []
    assert upstream.asked_files("requests") == []


@pytest.mark.integration
def test_nothing_is_fetched_over_plain_http_from_a_page_of_https(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    """An upstream with a certificate of the team is asked over HTTPS, and never over plain HTTP."""
    upstream.publish(PACKAGE)
    address = upstream.places.index.removeprefix("http://")
    with running_proxy(tmp_path, address) as proxy:
        secure: dict[str, Any] = {"url": f"{proxy.url}/simple/", "ca_file": str(proxy.authority)}
        upstream.behave("requests", Fault.RELATIVE_URL)
        with front(tmp_path, upstream, **secure) as server:
            assert file_of(server, "requests", PACKAGE.filename).body == PACKAGE.body
        for fault in (Fault.NO_ETAG, Fault.REDIRECT_SAME):
            upstream.behave("requests", fault)
            with front(tmp_path, upstream, **secure) as server:
                refused = page_of(server, "requests")
                assert (refused.status, b"http" in refused.body) == (502, True)
        stranger = secure | {"ca_file": ""}
        with front(tmp_path, upstream, **stranger) as server:
            refused = page_of(server, "requests")
    assert (refused.status, b"its certificate is not trusted" in refused.body) == (503, True)
    assert [each for each in upstream.requests if each.host != "index"] == []


def test_odd_filename_and_text(upstream: FakeUpstream, tmp_path: Path) -> None:
    """A filename with a path is dropped, and a reason with markup is text, cut to a kilobyte."""
    upstream.publish(PACKAGE)
    with front(tmp_path, upstream) as server:
        upstream.behave("requests", Fault.DOTDOT_FILENAME)
        assert list(page_of(server, "requests").files) == [PACKAGE.filename]
        upstream.behave("requests", Fault.SCRIPT_IN_YANK_REASON)
        server.clock.advance(seconds=601)

        for target in ("/simple/requests/", "/project/requests/"):
            assert b"<script>alert" not in look(server, target, accept="text/html").body
        (file,) = page_of(server, "requests").files.values()
        assert file["yanked"].startswith("<script>alert")
        assert len(file["yanked"].encode()) <= 1024


def test_address_that_is_not_allowed(upstream: FakeUpstream, tmp_path: Path) -> None:
    """A private address that the settings do not allow is not connected to."""
    upstream.publish(PACKAGE)
    elsewhere: dict[str, Any] = {"allow_private_networks": ("10.0.0.0/8",), "allow_insecure": True}
    with front(tmp_path, upstream, **elsewhere) as server:
        assert page_of(server, "requests").status == 502
        assert b'upstream_blocked_total{reason="ssrf"} 1' in look(server, "/metrics").body
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("fault", "status", "why"),
    [
        (Fault.TRUNCATE, 503, BROKE_OFF),
        (Fault.RESET, 503, BROKE_OFF),
        (Fault.WRONG_BYTES, 502, "with another digest than its page says. Nothing of it was kept"),
        (Fault.SHORT, 502, "with another size than its page says. Nothing of it was kept"),
        (Fault.LONG, 502, "with another size than its page says. Nothing of it was kept"),
        (Fault.REDIRECT_OTHER, 502, NOT_ALLOWED),
        (Fault.REDIRECT_METADATA_IP, 502, f"the host 169.254.169.254 {NOT_ALLOWED}"),
        (Fault.REDIRECT_LOOP, 502, "it leads on more than 3 times"),
        (Fault.REDIRECT_OTHER_SCHEME, 502, "it leads to what is no URL"),
        (404, 404, "lists a file of requests that it does not have"),
        (403, 502, "it answers with status 403"),
        (500, 503, "it answers with status 500"),
    ],
)
def test_a_wrong_file_is_refused(
    upstream: FakeUpstream, tmp_path: Path, fault: Fault | int, status: int, why: str
) -> None:
    """A wrong file is refused with the reason, as is its metadata; a good one comes afterwards."""
    upstream.publish(PACKAGE)
    with front(tmp_path, upstream) as server:
        path = link_of(server, "requests", PACKAGE.filename)
        upstream.behave_files("requests", fault)
        for _ in range(2):
            refused = look(server, path)
            assert (refused.status, why in refused.body.decode()) == (status, True), refused.body
        assert look(server, f"{path}.metadata").status == status
        upstream.behave_files("requests")
        for _ in range(2):
            assert look(server, path).body == PACKAGE.body
        assert look(server, f"{path}.metadata").body == PACKAGE.metadata
    assert upstream.asked_stranger() == []


def fetched(server: RunningServer, path: str) -> bytes | None:
    """Return a file that is received to its end, None if the server said that something broke."""
    try:
        answer = server.client.get(path)
    except httpx2.TransportError:
        return None
    if answer.status_code == 200:
        return answer.content
    assert answer.is_server_error, answer.text
    return None


@pytest.mark.integration
@pytest.mark.parametrize(
    "fault", [Fault.TRUNCATE, Fault.RESET, Fault.WRONG_BYTES, Fault.SHORT, Fault.LONG]
)
def test_a_wrong_file_is_never_received(
    upstream: FakeUpstream, tmp_path: Path, fault: Fault
) -> None:
    """A large file that turns out wrong on its way is never received as a whole."""
    package = public_wheel("large", "1.0", content=b"x" * 3_000_000)
    upstream.publish(package)
    with serving(tmp_path, upstream) as server:
        path = link_of(server, "large", package.filename)
        upstream.behave_files("large", fault)
        for _ in range(2):
            assert fetched(server, path) is None
        upstream.behave_files("large")
        for _ in range(2):
            assert fetched(server, path) == package.body


@pytest.mark.parametrize("fault", [Fault.CHUNKED, Fault.REDIRECT_SAME, Fault.WRONG_CONTENT_TYPE])
def test_file_sent_otherwise(upstream: FakeUpstream, tmp_path: Path, fault: Fault) -> None:
    """A file without a length, after a redirect or of another type is what the page says."""
    upstream.publish(PACKAGE)
    upstream.behave_files("requests", fault)
    with front(tmp_path, upstream) as server:
        answer = file_of(server, "requests", PACKAGE.filename)
    assert answer.body == PACKAGE.body
    assert answer.headers["content-type"] != "text/html"


def test_file_without_digest_that_breaks(upstream: FakeUpstream, tmp_path: Path) -> None:
    """A truncated file is not taken for the whole one where no digest says what is."""
    upstream.publish(PACKAGE)
    upstream.behave("requests", Fault.NO_HASH)
    upstream.behave_files("requests", Fault.TRUNCATE)
    with front(tmp_path, upstream) as server:
        path = link_of(server, "requests", PACKAGE.filename)
        assert look(server, path).status == 503
        upstream.behave_files("requests")
        assert look(server, path).body == PACKAGE.body
