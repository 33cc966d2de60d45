"""The application itself, asked without a server."""

import asyncio
import json
import os
from collections.abc import Iterator
from errno import EMFILE
from pathlib import Path
from random import Random

import pytest

from tests.distributions import make_wheel
from tests.fake_store import ALWAYS, Before, FakeStore, Pause
from tests.fake_time import Clock
from tests.http.in_process import InProcessServer, in_process
from tests.http.remote_store import RemoteStore
from tests.http.servers import token_of
from wheelyard.catalog import keys
from wheelyard.http import file_delivery
from wheelyard.model.distribution_filename import parse_name
from wheelyard.settings.sections import AccessSettings, ServerSettings, Settings
from wheelyard.storage.local import LocalStore
from wheelyard.storage.memory import MemoryStore

DEMO = make_wheel("demo")
PAGE = "/simple/demo/"
METRICS_TOKEN = "a token for the metrics"


@pytest.fixture
def app(tmp_path: Path) -> Iterator[InProcessServer]:
    """An application with one project, which anybody may read."""
    with in_process(tmp_path) as app:
        app.publish(DEMO)
        yield app


def test_server_is_told_of_start_and_end(app: InProcessServer) -> None:
    """A server is told when the application has started, and when it has stopped."""
    assert app.tell("lifespan", "lifespan.startup", "lifespan.shutdown") == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]


def test_websocket_is_closed_at_once(app: InProcessServer) -> None:
    """A connection for WebSocket is closed before it is open."""
    assert app.tell("websocket", "websocket.connect") == ["websocket.close"]


def test_name_in_the_path_decides_first(tmp_path: Path) -> None:
    """The right to the project that a path names is decided first, whichever file is asked for."""
    private = AccessSettings(private=True, private_names=("secret",))
    with in_process(tmp_path, Settings(access=private)) as app:
        app.publish(DEMO, make_wheel("secret"))
        bearer = ("authorization", f"Bearer {token_of(app.index, 'demo', can='read')}")

        assert app.get(f"/files/demo/{DEMO.filename}", bearer).status == 200
        assert app.get(f"/files/secret/{DEMO.filename}", bearer).status == 403
        assert app.get(f"/files/other/{DEMO.filename}", bearer).status == 404
        for name in ("demo", "secret", "other"):
            assert app.get(f"/files/{name}/{DEMO.filename}").status == 401


def test_a_link_in_place_of_a_file_is_named(tmp_path: Path) -> None:
    """Where a file of the store is a link, the answer says what to do, and has nothing of it."""
    with in_process(tmp_path, store=LocalStore(tmp_path / "store", Random(1))) as app:
        app.publish(DEMO)
        (kept,) = tmp_path.glob("store/files/demo/*/*.whl")
        kept.rename(tmp_path / "moved")
        kept.symlink_to(tmp_path / "moved")
        answer = app.get(f"/packages/{DEMO.filename}")

    error = json.loads(answer.body)
    assert (answer.status, error["error"]) == (503, "storage_unavailable")
    assert f"{DEMO.filename} is a link, or behind one" in error["message"]
    assert "Put the file or the folder itself there." in error["message"]


def test_a_file_that_cannot_be_opened_now_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file for which the server can open no descriptor may be asked for again, as it is there."""

    def fail(*_: object) -> int:
        raise OSError(EMFILE, os.strerror(EMFILE))

    path = f"/packages/{DEMO.filename}"
    with in_process(tmp_path, store=LocalStore(tmp_path / "store", Random(1))) as app:
        app.publish(DEMO)
        with monkeypatch.context() as patch:
            patch.setattr(file_delivery, "open_no_follow", fail)
            answer = app.get(path)
        again = app.get(path)

    assert (answer.status, b"too many files open" in answer.body) == (503, True)
    assert "retry-after" in answer.headers
    assert (again.status, again.body) == (200, DEMO.body)


def test_rest_of_a_refused_body_is_read(app: InProcessServer) -> None:
    """What a client still sends after a refusal is read, so that it gets to see the refusal."""
    answer = app.get(PAGE, ("content-length", "9"), method="POST", body=[b"x"] * 9)

    assert (answer.status, answer.unread) == (405, 0)


@pytest.mark.parametrize("name", ["authorization", "content-type"])
def test_a_header_that_may_be_sent_once_is_refused_twice(app: InProcessServer, name: str) -> None:
    """A request with two values of a header that has one is refused, though both are the same."""
    answer = app.get(PAGE, (name, "a/b"), (name, "a/b"))

    assert (answer.status, b"only once" in answer.body) == (400, True)


def test_unknown_names_cost_one_read(tmp_path: Path) -> None:
    """On a bucket, unknown names cost one read of the project list."""
    store = RemoteStore()
    with in_process(tmp_path, store=store, near=False) as app:
        app.publish(DEMO)
    with in_process(tmp_path, store=store, near=False) as app:
        store.calls.clear()
        for number in range(9):
            assert app.get(f"/simple/nothing-{number}/").status == 404
        assert (store.asked("get", keys.PROJECT_NAMES), store.asked("get", keys.PROJECTS)) == (1, 0)

        assert app.get(PAGE).status == 200
        assert app.get(PAGE).status == 200
        assert store.asked("get", keys.PROJECT_NAMES) == 1
        assert store.asked("get", keys.project(parse_name("demo"))) == 1


def test_a_server_lives_while_its_store_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While each thread that reads waits for the store, a server says at once that it lives."""
    monkeypatch.setattr("wheelyard.http.context_building.LOCAL_READ_THREADS", 1)
    hang = Pause()
    store = FakeStore(MemoryStore(Clock().seconds))

    async def ask(app: InProcessServer) -> list[bool]:
        page = asyncio.create_task(app.ask(PAGE))
        await asyncio.sleep(0)
        hang.wait_for_call()
        probes = [asyncio.create_task(app.ask(path)) for path in ("/health", "/robots.txt")]
        await asyncio.sleep(0)
        answered = [task.done() for task in (page, *probes)]
        hang.go_on.set()
        await asyncio.gather(page, *probes)
        return answered

    with in_process(tmp_path, store=store) as app:
        app.publish(DEMO)
        store.follow(Before(hang, times=ALWAYS, verb="get", key="projects/*"))

        assert app.runner.run(ask(app)) == [False, True, True]


@pytest.mark.parametrize(
    ("accept_encoding", "is_packed"),
    [("br, gzip", True), ("br, " + "x, " * 1400, False), ("gzip, " + "x, " * 1400, False)],
    ids=["gzip", "long", "long-with-gzip"],
)
def test_nothing_is_compressed_for_an_endless_header(
    app: InProcessServer, accept_encoding: str, *, is_packed: bool
) -> None:
    """A page is compressed for who accepts that, and not by a header that is too long to read."""
    html = ("accept", "text/html")
    page = app.get("/setup/", html, ("accept-encoding", accept_encoding))

    assert (page.status, "content-encoding" in page.headers) == (200, is_packed)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/simple/demo/", "GET, HEAD, OPTIONS"), ("/legacy/", "GET, HEAD, POST, OPTIONS")],
)
@pytest.mark.parametrize(("method", "status"), [("OPTIONS", 204), ("PATCH", 405)])
def test_the_methods_of_a_path_are_named(
    app: InProcessServer, path: str, allowed: str, method: str, status: int
) -> None:
    """OPTIONS, and a method that a path does not take, are answered with those that it takes."""
    answer = app.get(path, method=method)

    assert (answer.status, answer.headers["allow"]) == (status, allowed)


@pytest.mark.parametrize(
    ("host", "token", "status"),
    [("127.0.0.1", "", 200), ("192.0.2.1", "", 401), ("192.0.2.1", METRICS_TOKEN, 200)],
)
def test_metrics_of_a_public_server_need_their_token(
    tmp_path: Path, host: str, token: str, status: int
) -> None:
    """Metrics are public on this machine alone; elsewhere the token of the metrics opens them."""
    settings = Settings(
        server=ServerSettings(host=host), access=AccessSettings(metrics_token=METRICS_TOKEN)
    )
    with in_process(tmp_path, settings) as app:
        answer = app.get("/metrics", ("authorization", f"Bearer {token}"))

    assert answer.status == status
