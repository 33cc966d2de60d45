"""What is fetched from the servers of pictures, and what is not."""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Event, Thread

import pytest

from tests.http_client.test_client import Names
from tests.operations.in_memory_index import Clock, fake_runtime
from tests.sources.web.fake_server import (
    CannedResponse,
    FakeServer,
    ReceivedRequest,
    running_fake_server,
)
from wheelyard.concurrency.runtime import Runtime
from wheelyard.http_client.client import Network
from wheelyard.http_client.hosts import Address, AddressPolicy
from wheelyard.pictures import proxy
from wheelyard.pictures.proxy import MAX_BYTES, PictureProxy, public_network
from wheelyard.pictures.signing import PicturePaths
from wheelyard.wiring.stores import system_runtime

pytestmark = pytest.mark.integration

HERE = "127.0.0.1"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
PATHS = PicturePaths(b"k" * 32)


def is_here(address: Address) -> bool:
    """Return whether an address is the only one that the tests take for a public one."""
    return address == ip_address(HERE)


def made(runtime: Runtime | None = None, policy: AddressPolicy | None = None) -> PictureProxy:
    """Return a proxy for which 127.0.0.1 is public, and plain HTTP is allowed."""
    policy = policy or AddressPolicy(is_allowed=is_here)
    network = Network(policies={"http": policy}, connect=3.0, max_redirects=3)
    return PictureProxy(PATHS, runtime or system_runtime(), network)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """A server of pictures."""
    with running_fake_server() as running:
        running.file("/a.png", PNG, Content_Type="text/html", Set_Cookie="a=b")
        yield running


def fault(server: FakeServer, path: str = "/a.png") -> str:
    """Return why a picture is not shown, or an empty text."""
    pictures = made()
    try:
        return pictures.fetch(f"{server.url}{path}").picture.fault
    finally:
        pictures.close()


def test_a_picture_is_what_its_bytes_are(server: FakeServer) -> None:
    """The type is that of the bytes; the request tells nothing of a reader."""
    pictures = made()
    shown = pictures.fetch(f"{server.url}/a.png")
    pictures.close()

    assert (shown.picture.body, shown.picture.media_type) == (PNG, "image/png")
    (asked,) = server.seen
    assert asked.headers.keys() == {"host", "accept", "accept-encoding", "user-agent", "via"}
    assert asked.headers["via"] == "1.1 wheelyard-pictures"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (CannedResponse(b"<html><script>alert(1)</script>"), "no picture that is known"),
        (CannedResponse(b"PNG?", headers={"Content-Type": "image/png"}), "no picture that is"),
        (CannedResponse(PNG + bytes(MAX_BYTES)), "larger than 5 MiB"),
        (
            CannedResponse(
                gzip.compress(PNG + bytes(4 * MAX_BYTES)), headers={"Content-Encoding": "gzip"}
            ),
            "larger than 5 MiB",
        ),
        (CannedResponse(PNG, headers={"Content-Encoding": "br"}), "packed in a way"),
        (CannedResponse(PNG, breaks_at=50), "the connection broke off"),
        (CannedResponse(status=404), "status 404"),
        (CannedResponse(status=204), "status 204"),
        (CannedResponse(status=302, headers={"Location": "/a.png"}), "more than 3 times"),
        (CannedResponse(status=302, headers={"Location": "file:///etc/passwd"}), "no URL"),
        (
            CannedResponse(status=302, headers={"Location": "http://127.0.0.2/a.png"}),
            "its host 127.0.0.2 has a private address",
        ),
        (
            CannedResponse(status=302, headers={"Location": "http://[::1]/a.png"}),
            "its host ::1 has a private address",
        ),
        (
            CannedResponse(status=302, headers={"Location": "https://127.0.0.1/a.png"}),
            "its URL is not https",
        ),
    ],
)
def test_what_is_not_shown(server: FakeServer, answer: CannedResponse, why: str) -> None:
    """What a hostile server sends is not shown, and there is a reason."""
    server.serve("/a.png", answer)
    assert why in fault(server)


def test_compressed_pictures(server: FakeServer) -> None:
    """A picture that comes compressed is sent as it is meant."""
    server.serve("/a.png", CannedResponse(gzip.compress(PNG), headers={"Content-Encoding": "gzip"}))
    assert fault(server) == ""


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/", "http://", "no url", "http://a.invalid/", "ftp://a.example/x"]
)
def test_urls_that_lead_nowhere(url: str) -> None:
    """A URL of no server, or of none that is one, is a picture that is not shown."""
    pictures = made()
    shown = pictures.fetch(url).picture
    pictures.close()
    assert shown.fault
    assert shown.body == b""


def test_a_host_that_changes_its_address(server: FakeServer) -> None:
    """Each request looks up the address and connects to that, which has to be public."""
    names = Names([HERE], ["127.0.0.2"])
    pictures = made(policy=AddressPolicy(is_allowed=is_here, resolve=names))
    url = f"http://pictures.example:{server.port}"
    first, second = pictures.fetch(f"{url}/a.png"), pictures.fetch(f"{url}/b.png")
    pictures.close()
    assert first.picture.fault == ""
    assert second.picture.fault == "it answers with status 404"  # over the connection of before
    other = made(policy=AddressPolicy(is_allowed=is_here, resolve=names))
    third = other.fetch(f"{url}/a.png")
    other.close()
    assert "its host pictures.example has a private address" in third.picture.fault
    assert names.without_userinfo == ["pictures.example", "pictures.example"]


def test_only_public_addresses_over_https() -> None:
    """Without a test that says otherwise, the addresses are public ones, and the URLs https."""
    network = public_network()
    assert [*network.policies] == ["https"]
    assert not network.uses_proxies
    assert not network.policies["https"].is_allowed(ip_address("10.0.0.1"))
    assert not network.policies["https"].is_allowed(ip_address("169.254.169.254"))


@contextmanager
def dripping_server() -> Iterator[str]:
    """Run a server that sends the first bytes of a picture, and then one after the other."""
    over = Event()

    class Drip(BaseRequestHandler):
        """Sends byte after byte, until the test is over."""

        def handle(self) -> None:
            """Answer."""
            self.request.recv(10_000)
            self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + PNG)
            with suppress(OSError):
                for _ in range(300):  # a client that waits longer hears that it broke off
                    if not over.wait(0.01):
                        self.request.sendall(b"x")

    with ThreadingTCPServer((HERE, 0), Drip) as listener:
        thread = Thread(target=listener.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://{HERE}:{listener.server_address[1]}"
        finally:
            over.set()
            listener.shutdown()
            thread.join()


def test_a_server_that_drips(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that sends byte after byte is not waited for longer than the limit."""
    monkeypatch.setattr(proxy, "FETCH_SECONDS", 0.2)
    pictures = made()
    with dripping_server() as url:
        assert pictures.fetch(f"{url}/a.png").picture.fault == "it does not answer in time"
    pictures.close()


def test_pictures_are_kept_for_an_hour(server: FakeServer) -> None:
    """A picture is asked for again after an hour; while it cannot be, the old one is shown."""
    clock = Clock()
    pictures, url = made(fake_runtime(clock, 1)), f"{server.url}/a.png"
    assert pictures.peek(url) is None
    assert pictures.fetch(url).seconds == 3600
    clock.advance(minutes=59)
    kept = pictures.peek(url)
    assert kept is not None
    assert (kept.picture.body, kept.seconds) == (PNG, 60)
    clock.advance(minutes=1)
    assert pictures.peek(url) is None

    server.serve("/a.png", CannedResponse(status=500))
    stale = pictures.fetch(url)
    assert (stale.picture.body, stale.seconds) == (PNG, 120)
    clock.advance(minutes=3)
    server.file("/a.png", b"GIF89a")
    assert pictures.fetch(url).picture.media_type == "image/gif"
    server.serve("/a.png", CannedResponse(status=500))
    clock.advance(days=2)
    assert pictures.fetch(url).picture.fault == "it answers with status 500"
    pictures.close()


def test_faults_are_kept_for_two_minutes(server: FakeServer) -> None:
    """A server is not asked again at once for what it did not send."""
    clock = Clock()
    pictures, url = made(fake_runtime(clock, 1)), f"{server.url}/missing.png"
    assert pictures.fetch(url).seconds == 120
    clock.advance(seconds=119)
    kept = pictures.peek(url)
    assert kept is not None
    assert kept.picture.fault
    clock.advance(seconds=1)
    assert pictures.peek(url) is None
    pictures.close()


def test_memory_is_bounded(server: FakeServer) -> None:
    """Of more pictures than there is memory for, those used longest ago are forgotten."""
    clock = Clock()
    pictures = made(fake_runtime(clock, 1))
    urls = [f"{server.url}/{number}.png" for number in range(8)]
    for number, url in enumerate(urls):
        server.file(f"/{number}.png", PNG + bytes(MAX_BYTES - 200))
        pictures.fetch(url)
    assert [pictures.peek(url) is not None for url in urls] == [False, False, *[True] * 6]
    pictures.close()


def test_no_password_of_a_url_is_sent(server: FakeServer) -> None:
    """The user name and password in a URL go nowhere."""
    where = server.url.replace("://", "://ana:hunter2@")
    pictures = made()
    pictures.fetch(f"{where}/a.png")
    pictures.close()
    seen: ReceivedRequest = server.seen[0]
    assert "authorization" not in seen.headers
    assert "hunter2" not in str(seen)
