"""Downloads from a remote store: redirected, proxied, and never lost on the way."""

import logging
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.distributions import Distribution, make_wheel
from tests.http.packages import publish
from tests.http.raw_client import raw_answer, raw_connection
from tests.http.remote_store import RemoteStore, remote_server
from tests.http.servers import RunningServer
from tests.waiting import until
from wheelyard.errors import Unavailable
from wheelyard.settings.sections import Settings, StoreSettings
from wheelyard.storage.base import Key
from wheelyard.wiring.stores import system_runtime

pytestmark = pytest.mark.integration

DEMO = make_wheel("demo", content=bytes(range(256)) * 40)
PATH = f"/files/demo/{DEMO.sha256}/{DEMO.filename}"
KEY = Key(PATH[1:])
SIGNED = "https://storage.invalid/b/demo-1.0%2Bcpu~!'().whl?X-Goog-Signature=ab+c/d&x=%20;#"


@pytest.fixture
def store() -> RemoteStore:
    """A remote store that signs nothing by default."""
    return RemoteStore()


@pytest.fixture
def server(store: RemoteStore, tmp_path: Path) -> Iterator[RunningServer]:
    """A server over the remote store, with one wheel."""
    with remote_server(tmp_path, store) as server:
        publish(server, DEMO)
        yield server


@pytest.fixture
def redirecting_server(store: RemoteStore, server: RunningServer) -> RunningServer:
    """A server over a remote store that signs URLs, with one wheel."""
    store.url = SIGNED
    return server


@pytest.mark.parametrize("headers", [(), ("Range: bytes=5-9",)])
@pytest.mark.parametrize("path", [PATH, f"/packages/{DEMO.filename}", f"/simple{PATH}"])
def test_client_is_sent_to_storage(
    redirecting_server: RunningServer, path: str, headers: tuple[str, ...]
) -> None:
    """A file, or a range of it, is redirected to the storage by a URL that caches may not store."""
    answer = raw_answer(redirecting_server, f"GET {path} HTTP/1.1", *headers)

    assert (answer.status, answer.body) == (302, b"")
    assert answer.header("location") == SIGNED
    assert answer.header("cache-control") == "private, no-store"
    assert answer.header("referrer-policy") == "no-referrer"


def test_signed_url_holds_as_long_as_set(tmp_path: Path) -> None:
    """A signed URL holds as long as the settings say."""
    store = RemoteStore(url=SIGNED)
    settings = Settings(store=StoreSettings(signed_url_minutes=7))
    with remote_server(tmp_path, store, settings) as server:
        publish(server, DEMO)
        assert server.get(PATH).status_code == 302
    assert [lifetime.total_seconds() for lifetime in store.lifetimes] == [7 * 60]


def test_head_and_metadata_are_never_redirected(
    redirecting_server: RunningServer, store: RemoteStore
) -> None:
    """HEAD, core metadata, "not modified" and a range behind the end come from the index itself."""
    etag = f'"{DEMO.sha256}"'
    for path in (PATH, f"{PATH}.metadata"):
        head = raw_answer(redirecting_server, f"HEAD {path} HTTP/1.1")
        assert head.status == 200
        for line in (f"HEAD {path} HTTP/1.1", f"GET {path} HTTP/1.1"):
            known = raw_answer(redirecting_server, line, f"If-None-Match: {head.header('etag')}")
            assert (known.status, known.header("etag")) == (304, head.header("etag"))
        assert "location" not in dict(head.headers)
    behind = raw_answer(
        redirecting_server, f"GET {PATH} HTTP/1.1", f"Range: bytes={len(DEMO.body)}-"
    )
    assert behind.status == 416
    assert "location" not in dict(behind.headers)
    assert raw_answer(redirecting_server, f"HEAD {PATH} HTTP/1.1").header("etag") == etag
    metadata = raw_answer(redirecting_server, f"GET {PATH}.metadata HTTP/1.1")
    assert (metadata.status, metadata.body) == (200, DEMO.metadata)
    assert store.asked("sign") == store.asked("read") == 0


def test_withdrawn_file_is_not_signed(
    redirecting_server: RunningServer, store: RemoteStore
) -> None:
    """No URL is signed for a file that the index does not list any more."""
    redirecting_server.change("demo", "delete", version="1.0")
    for path in (PATH, f"{PATH}.metadata", f"/packages/{DEMO.filename}"):
        assert redirecting_server.get(path).status_code == 404
    assert store.asked("sign") == 0


@pytest.mark.parametrize(
    ("asked", "status", "expected"),
    [("", 200, DEMO.body), ("bytes=100-199", 206, DEMO.body[100:200])],
)
def test_file_comes_through(
    server: RunningServer, store: RemoteStore, asked: str, status: int, expected: bytes
) -> None:
    """Where nothing signs, a file comes through the index, and of a part only the part is read."""
    answer = raw_answer(server, f"GET {PATH} HTTP/1.1", *([f"Range: {asked}"] if asked else []))

    assert (answer.status, answer.body) == (status, expected)
    assert answer.header("etag") == f'"{DEMO.sha256}"'
    (stream,) = store.streams
    assert stream.size == len(expected)
    until(lambda: stream.is_closed)


@pytest.mark.parametrize("code", ["signing_denied", "signing_unavailable"])
def test_unsigned_file_comes_through_the_index(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, code: str
) -> None:
    """Where no URL can be signed, files come through the index, and the log says so, not often."""
    store = RemoteStore(url=SIGNED, fault=Unavailable("IAM does not sign.", code=code))
    later = [0.0]
    real = system_runtime()
    runtime = replace(real, monotonic=lambda: real.monotonic() + later[0])

    def warnings() -> int:
        logged = [record for record in caplog.records if record.name == "wheelyard"]
        assert all(record.levelno == logging.WARNING for record in logged)
        return len(logged)

    with remote_server(tmp_path, store, runtime=runtime) as server:
        publish(server, DEMO)
        for _ in range(3):
            assert server.get(PATH).content == DEMO.body
        assert store.asked("sign") == warnings() == 1
        later[0] += 31
        assert server.get(PATH).content == DEMO.body
        assert (store.asked("sign"), warnings()) == (2, 1)
        later[0] += 60
        assert server.get(PATH).content == DEMO.body
        assert (store.asked("sign"), warnings()) == (3, 2)
        store.fault = None
        later[0] += 31
        assert server.get(PATH).headers["Location"] == SIGNED
    assert "IAM does not sign." in caplog.text


def big(server: RunningServer) -> Distribution:
    """Publish something that no socket takes whole."""
    package = make_wheel("big", content=bytes(64 << 20))
    publish(server, package)
    return package


def test_disconnected_client_leaves_no_stream(server: RunningServer, store: RemoteStore) -> None:
    """A client that disconnects during a download leaves no open connection to the store."""
    line = f"GET /packages/{big(server).filename} HTTP/1.1"
    for pieces in (1, 10):
        with raw_connection(server) as connection:
            connection.ask(line)
            for _ in range(pieces):
                assert connection.connection.recv(10_000)
    until(lambda: len(store.streams) == 2)
    until(lambda: all(stream.is_closed for stream in store.streams))


def test_unread_download_is_not_fetched(server: RunningServer, store: RemoteStore) -> None:
    """What a client does not take is not read from the store either, so it fills no memory."""
    line = f"GET /packages/{big(server).filename} HTTP/1.1"
    with ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(raw_connection(server)).ask(line)
        until(lambda: len(store.streams) == 8)
        sizes = deque[int](maxlen=50)  # as many looks without a change

        def is_still() -> bool:
            sizes.append(sum(stream.size for stream in store.streams))
            return sizes.count(sizes[-1]) == sizes.maxlen

        until(is_still)
        assert all(stream.size < 16 << 20 for stream in store.streams)
    until(lambda: all(stream.is_closed for stream in store.streams))


def test_core_metadata_is_fetched_once(server: RunningServer, store: RemoteStore) -> None:
    """However many ask for a wheel's core metadata, in whatever form, the store is asked once."""
    metadata = f"files/demo/{DEMO.sha256}/{DEMO.filename}.metadata"
    server.get("/search.json")  # the search index reads it for itself
    before = store.asked("get", metadata)
    for _ in range(3):
        assert server.get(f"{PATH}.metadata").content == DEMO.metadata
    assert server.get("/pypi/demo/json").status_code == 200
    assert server.get("/project/demo/").status_code == 200
    assert store.asked("get", metadata) - before == 1

    server.change("demo", "status", status="quarantined")
    assert server.get(f"{PATH}.metadata").status_code == 404
