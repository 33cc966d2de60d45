"""Pictures of other servers in pages, through the front."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from pathlib import Path
from threading import Event

import pytest

from tests.http.in_process import InProcessServer, in_process
from tests.http.packages import Package, wheel
from tests.http.remote_store import RemoteStore
from tests.http.servers import close_app, memory_index, running_app
from tests.operations.in_memory_index import START
from tests.sources.web.fake_server import (
    CannedResponse,
    FakeServer,
    ReceivedRequest,
    running_fake_server,
)
from tests.waiting import TIMEOUT_SECONDS, until
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.http.app import App
from wheelyard.http.handlers import pictures as handlers
from wheelyard.http_client.client import Network
from wheelyard.http_client.hosts import AddressPolicy
from wheelyard.model.access import EVERY_PROJECT, Action
from wheelyard.pictures import proxy
from wheelyard.pictures.signing import PicturePaths
from wheelyard.settings.sections import AccessSettings, ServerSettings, Settings, WebSettings
from wheelyard.storage.memory import MemoryStore

pytestmark = pytest.mark.integration

HTML = ("accept", "text/html")
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
BADGE = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
WEB = WebSettings(pictures="proxied")
TEXT = """
<img src="https://a.example/x.png?a=1&b=2" width="120" height="20" onerror="alert(1)" alt="Logo">

![Old](http://b.example/y.png) ![Local](z.png) ![Data](data:image/png;base64,AA)
"""


def described(text: str, name: str = "demo") -> Package:
    """Return a wheel with a description."""
    return wheel(name, "1.0", "Description-Content-Type: text/markdown", "", text)


@pytest.fixture
def pictures(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    """A server of pictures whose address counts as public, without TLS."""

    def network() -> Network:
        here = AddressPolicy(is_allowed=lambda address: address == ip_address("127.0.0.1"))
        return Network(policies={"http": here})

    monkeypatch.setattr(proxy, "public_network", network)
    with running_fake_server() as server:
        server.file("/a.png", PNG)
        server.file("/badge.svg", BADGE, Content_Type="text/html")
        yield server


@pytest.fixture
def served(tmp_path: Path, pictures: FakeServer) -> Iterator[InProcessServer]:
    """An index below a path prefix that fetches pictures."""
    del pictures
    server = ServerSettings(path_prefix="/python")
    with in_process(tmp_path, Settings(web=WEB, server=server)) as running:
        yield running


def page_of(server: InProcessServer, path: str) -> str:
    """Return a page, once its description is rendered."""
    until(lambda: "not rendered yet" not in server.get(path, HTML).body.decode())
    return server.get(path, HTML).body.decode()


def signed(server: InProcessServer, url: str, prefix: str = "/python") -> str:
    """Return the path at which a page shows a picture."""
    return PicturePaths(server.index.sessions.records.require_key(), prefix).path_of(url)


def test_pictures_are_below_the_path_that_a_proxy_takes_away(
    tmp_path: Path, pictures: FakeServer
) -> None:
    """Pages show pictures below the public URL, of whose path the proxy forwards the rest."""
    server = ServerSettings(public_url="https://packages.example.com/python")
    with in_process(tmp_path, Settings(web=WEB, server=server)) as running:
        running.publish(described(TEXT))
        path = signed(running, "https://a.example/x.png?a=1&b=2")
        assert f'<img src="{path}"' in page_of(running, "/project/demo/")
        png = signed(running, f"{pictures.url}/a.png")
        assert running.get(png.removeprefix("/python")).status == 200


def test_a_page_names_no_other_server(served: InProcessServer) -> None:
    """Pictures at https URLs are at paths of the index, and link to their originals."""
    served.publish(described(TEXT))
    page = page_of(served, "/python/project/demo/")
    path = signed(served, "https://a.example/x.png?a=1&b=2")
    shown = f'<img src="{path}" alt="Logo" loading="lazy" width="120" height="20">'
    original = 'href="https://a.example/x.png?a=1&amp;b=2" rel="nofollow noopener noreferrer"'
    assert f"<a {original}>{shown}</a>" in page
    assert re.findall('<img src="([^"]*)"', page)[1:] == [path]  # after the logo
    assert page.count("https://a.example") == 1
    assert '<a href="http://b.example/y.png"' in page
    answer = served.get("/python/project/demo/", HTML)
    assert "img-src 'self' data:;" in answer.headers["content-security-policy"]


def test_a_picture_is_sent_without_harm(served: InProcessServer, pictures: FakeServer) -> None:
    """Its type is that of its bytes; an SVG runs no script, wherever it is opened."""
    answer = served.get(signed(served, f"{pictures.url}/badge.svg"))
    assert (answer.status, answer.body) == (200, BADGE)
    assert answer.headers["content-type"] == "image/svg+xml"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-disposition"] == "attachment"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "sandbox" in policy
    assert "script" not in policy
    assert answer.headers["cache-control"] == "private, max-age=3600"
    again = ("if-none-match", answer.headers["etag"])
    assert served.get(signed(served, f"{pictures.url}/badge.svg"), again).status == 304
    served.clock.advance(minutes=30)
    later = served.get(signed(served, f"{pictures.url}/badge.svg"))
    assert later.headers["cache-control"] == "private, max-age=1800"
    head = served.get(signed(served, f"{pictures.url}/a.png"), method="HEAD")
    assert (head.status, head.headers["content-type"], head.body) == (200, "image/png", b"")
    assert len(pictures.seen) == 2


def test_it_is_no_open_proxy(served: InProcessServer, pictures: FakeServer) -> None:
    """Only what a page of this index shows is fetched: nothing else has a signature."""
    path = signed(served, f"{pictures.url}/a.png")
    signature, address = path.split("/")[-2:]
    other = signed(served, f"{pictures.url}/other.png").split("/")[-1]
    for wrong in (
        f"/python/-/pictures/{signature}/{other}",
        f"/python/-/pictures/{'0' * 32}/{address}",
        f"/python/-/pictures/{signature}/{address}=",
        f"/python/-/pictures/{signature}/",
        f"/python/-/pictures/{signature}",
    ):
        assert served.get(wrong).status in {301, 404}, wrong
    assert served.get(path, ("via", "1.1 cdn, 1.1 wheelyard-pictures")).status == 404
    assert pictures.seen == []


def test_what_cannot_be_fetched_is_missing(
    served: InProcessServer, pictures: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot be shown is a 404, for which browsers show other text; the log says why."""
    path = signed(served, f"{pictures.url}/missing.png?key=hunter2")
    answers = [served.get(path) for _ in range(2)]
    assert [answer.status for answer in answers] == [404, 404]
    assert b"not shown: it answers with status 404." in answers[0].body
    assert len(pictures.seen) == 1
    line = f"pictures: {pictures.url}/missing.png is not shown: it answers with status 404"
    assert [record.getMessage() for record in caplog.records if "picture" in record.msg] == [line]
    secret = served.get(signed(served, f"http://127.0.0.2:{pictures.port}/a.png"))
    assert b"127.0.0.2 has a private address" in secret.body
    assert len(pictures.seen) == 1


def test_a_client_cannot_have_everything_fetched(
    tmp_path: Path, pictures: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One client can have so many pictures fetched a minute; those that are kept are free."""
    monkeypatch.setattr(handlers, "FETCHES_PER_MINUTE", 2)
    with in_process(tmp_path, Settings(web=WEB)) as served:
        paths = [signed(served, f"{pictures.url}/{number}", "") for number in range(3)]
        assert [served.get(path).status for path in (*paths, paths[0])] == [404, 404, 429, 404]
        assert int(served.get(paths[2]).headers["retry-after"]) > 0
        served.clock.advance(minutes=1)
        assert served.get(paths[2]).status == 404


def test_whoever_may_read_something_sees_pictures(tmp_path: Path, pictures: FakeServer) -> None:
    """On a private index, a picture is for whoever may read something there."""
    settings = Settings(web=WEB, access=AccessSettings(private=True))
    with in_process(tmp_path, settings) as served:
        wanted = TokenRequest(name="a", actions=Action.READ, projects=(EVERY_PROJECT,))
        token = served.index.tokens.create(wanted, by="local:ana")[0].text
        path = signed(served, f"{pictures.url}/a.png", "")
        assert served.get(path).status == 401
        assert pictures.seen == []
        assert served.get(path, ("authorization", f"Bearer {token}")).body == PNG


def test_all_servers_of_a_store_agree(tmp_path: Path, pictures: FakeServer) -> None:
    """A path of one server is one of another, also of one that may only read."""
    store = RemoteStore()
    reading = Settings(web=WEB, server=ServerSettings(read_only=True))
    with in_process(tmp_path, reading, store=MemoryStore(START.timestamp)) as alone:
        alone.publish(described(TEXT))
        assert "/-/pictures/" not in page_of(alone, "/project/demo/")
    with (
        in_process(tmp_path, Settings(web=WEB), store=store) as one,
        in_process(tmp_path, reading, store=store) as other,
    ):
        path = signed(one, f"{pictures.url}/a.png", "")
        assert one.get(path).body == other.get(path).body == PNG


def test_it_is_off_by_default(tmp_path: Path) -> None:
    """Without the setting, pictures are links, and no path has one."""
    with in_process(tmp_path) as served:
        served.publish(described(TEXT))
        page = page_of(served, "/project/demo/")
        assert '<a href="https://a.example/x.png?a=1&amp;b=2"' in page
        assert "/-/pictures/" not in page
        assert served.get(signed(served, "https://a.example/x.png", "")).status == 404


def test_a_description_shows_no_more_than_so_many(served: InProcessServer) -> None:
    """Pictures beyond the two-hundredth, and those with a long URL, are links."""
    many = "".join(f"![a](https://a.example/{number}.png)\n" for number in range(203))
    served.publish(described(f"![long](https://a.example/{'x' * 2000})\n{many}"))
    page = page_of(served, "/python/project/demo/")
    assert page.count("/-/pictures/") == 200
    assert len(re.findall(r'<a href="https://a\.example/20[0-9]\.png"', page)) == 3
    assert f'<a href="https://a.example/{"x" * 2000}"' in page


def test_all_who_want_a_picture_share_one_request(
    tmp_path: Path, pictures: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server is asked once for a picture that many want at the same time."""
    gate, answer = Event(), pictures.answer

    def held(request: ReceivedRequest) -> CannedResponse:
        planned = answer(request)
        gate.wait(TIMEOUT_SECONDS)
        return planned

    monkeypatch.setattr(pictures, "answer", held)
    index = memory_index(tmp_path, Settings(web=WEB))
    path = PicturePaths(index.sessions.records.require_key()).path_of(f"{pictures.url}/a.png")
    app = App(index)
    with running_app(index, tmp_path, app) as running, ThreadPoolExecutor(5) as people:
        waiting = [people.submit(running.client.get, path) for _ in range(5)]
        until(lambda: bool(pictures.seen))
        gate.set()
        assert {answer.result().content for answer in waiting} == {PNG}
    close_app(app)
    assert len(pictures.seen) == 1


def test_what_a_picture_says_of_its_size_is_left_alone(
    served: InProcessServer, pictures: FakeServer
) -> None:
    """Nothing is decoded: a picture of a few bytes that says it is huge costs a few bytes."""
    size = (2**31 - 1).to_bytes(4, "big")
    bomb = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + size + size + b"\x08\x06\0\0\0"
    pictures.file("/bomb.png", bomb)
    assert served.get(signed(served, f"{pictures.url}/bomb.png")).body == bomb
