"""The HTTPS client of the verifiers: limits, and servers that it never connects to."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.authentication.verifiers.fake_issuer import (
    CannedResponse,
    FakeIssuer,
    loopback_fetcher,
    running_issuer,
)
from tests.clients.tls import running_proxy
from tests.in_process_network import NetworkOrPorts
from wheelyard.http_client.hosts import FetchError
from wheelyard.http_client.json_client import BODY_LIMIT_BYTES, JsonClient
from wheelyard.wiring.stores import system_runtime

LONG = 30.0


@pytest.fixture
def issuer(network: NetworkOrPorts) -> Iterator[FakeIssuer]:
    """Run a server."""
    with running_issuer(network) as running:
        yield running


@pytest.fixture
def fetcher() -> Iterator[JsonClient]:
    """Make a fetcher that may talk to it."""
    with loopback_fetcher() as opened:
        yield opened


def test_a_form_is_in_the_body(issuer: FakeIssuer, fetcher: JsonClient) -> None:
    """What is secret goes into headers and bodies, and never into a URL."""
    fetcher.fetch(f"{issuer.url}/form", timeout=LONG, form={"access_token": "s e&c"})
    fetcher.fetch(f"{issuer.url}/plain", timeout=LONG, authorization="Bearer secret")

    posted, plain = issuer.seen
    assert (posted.path, posted.body) == ("/form", b"access_token=s+e%26c")
    assert (plain.path, plain.authorization) == ("/plain", "Bearer secret")


def test_a_closed_client_leaves_no_connection(issuer: FakeIssuer) -> None:
    """A client that was closed asks nothing more, also by a connection that it had."""
    with loopback_fetcher() as fetcher:
        fetcher.fetch(f"{issuer.url}/before", timeout=LONG)
    with pytest.raises(RuntimeError):
        fetcher.fetch(f"{issuer.url}/after", timeout=LONG)

    assert [request.path for request in issuer.seen] == ["/before"]


def test_redirects_are_not_followed(issuer: FakeIssuer, fetcher: JsonClient) -> None:
    """A redirect is not followed, so that no credential is carried on to another address."""
    issuer.answers["/a"] = CannedResponse(status=302, headers={"Location": f"{issuer.url}/b"})

    assert (
        fetcher.fetch(f"{issuer.url}/a", timeout=LONG, authorization="Bearer secret").status == 302
    )
    assert [request.path for request in issuer.seen] == ["/a"]


@pytest.mark.parametrize(
    "answer",
    [
        CannedResponse(b"x" * (BODY_LIMIT_BYTES + 1)),
        CannedResponse(b"x" * 65536, is_endless=True),
        CannedResponse(b"x" * 65536, headers={"Content-Length": "1073741824"}, is_endless=True),
        CannedResponse(b"{}", headers={"Content-Encoding": "gzip"}),
        CannedResponse(b"{}", headers={"Content-Length": "2000"}),
    ],
    ids=["one byte too many", "endless", "a gigabyte", "packed", "cut off"],
)
def test_large_packed_and_cut_bodies_are_refused(
    issuer: FakeIssuer, fetcher: JsonClient, answer: CannedResponse
) -> None:
    """A body that is too large, packed or cut off is no answer."""
    issuer.answers["/a"] = answer

    with pytest.raises(FetchError):
        fetcher.fetch(f"{issuer.url}/a", timeout=LONG)


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b"[" * 5000, b"\xff", b'{"a":'])
def test_other_bodies_are_refused(issuer: FakeIssuer, fetcher: JsonClient, body: bytes) -> None:
    """A response whose body is no JSON object is refused."""
    issuer.answers["/a"] = CannedResponse(body)

    with pytest.raises(FetchError, match="JSON"):
        fetcher.fetch(f"{issuer.url}/a", timeout=LONG).document()


@pytest.mark.slow
@pytest.mark.parametrize(
    "answer",
    [CannedResponse(is_silent=True), CannedResponse(b"x", drip=0.05, is_endless=True)],
    ids=["silent", "one byte at a time"],
)
def test_one_deadline_covers_a_whole_exchange(
    issuer: FakeIssuer, fetcher: JsonClient, answer: CannedResponse
) -> None:
    """One deadline covers the whole exchange, so a server cannot hold anybody by trickling."""
    issuer.answers["/a"] = answer

    with pytest.raises(FetchError, match="in time"):
        fetcher.fetch(f"{issuer.url}/a", timeout=0.5)


@pytest.mark.parametrize(
    "url",
    [
        "http://accounts.example/keys",
        "file:///etc/passwd",
        "ftp://accounts.example/",
        "//accounts.example/",
        "https://",
        "https:///keys",
        "https://user:word@accounts.example/",
        "https://accounts.example:99999/",
        "https://[::1/",
        "https://accounts.example/\r\nHost: evil",
        "https://accounts.example/\u00e9",
        "",
    ],
    ids=ascii,
)
def test_only_plain_https_urls_are_asked(url: str) -> None:
    """Only plain https URLs are asked for."""
    fetcher = JsonClient(system_runtime())

    with pytest.raises(FetchError, match="URL"):
        fetcher.fetch(url, timeout=LONG)
    fetcher.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "10.0.0.1", "[fd00::1]"])
def test_private_addresses_are_not_reached(issuer: FakeIssuer, host: str) -> None:
    """However an address of the own machine or network is written, nothing is asked there."""
    fetcher = JsonClient(system_runtime())
    port = issuer.url.rpartition(":")[2]

    with pytest.raises(FetchError, match="private"):
        fetcher.fetch(f"https://{host}:{port}/keys", timeout=LONG)
    assert issuer.seen == []
    fetcher.close()


def test_plain_http_stays_on_the_machine(fetcher: JsonClient) -> None:
    """Plain http to another machine is refused, even where private addresses are allowed."""
    with pytest.raises(FetchError, match="private"):
        fetcher.fetch("http://10.0.0.1/keys", timeout=LONG)


@pytest.mark.integration
def test_a_server_without_a_valid_certificate_is_told_nothing(
    issuer: FakeIssuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server without a certificate of a known authority, or with another's, is told nothing."""
    issuer.answers["/"] = CannedResponse(b'{"safe": true}')
    with running_proxy(tmp_path, issuer.url.removeprefix("http://")) as proxy:
        stranger = JsonClient(system_runtime(), allow_private=True)

        with pytest.raises(FetchError, match="certificate"):
            stranger.fetch(f"{proxy.url}/", timeout=LONG)
        monkeypatch.setenv("SSL_CERT_FILE", str(proxy.authority))
        friend = JsonClient(system_runtime(), allow_private=True)
        with pytest.raises(FetchError, match="certificate"):
            friend.fetch(f"{proxy.url.replace('127.0.0.1', 'localhost')}/", timeout=LONG)
        assert [request.path for request in issuer.seen] == []
        assert friend.fetch(f"{proxy.url}/", timeout=LONG).document() == {"safe": True}
        stranger.close()
        friend.close()
