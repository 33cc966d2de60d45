"""`/search.json`, the data of the search page."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.distributions import make_wheel
from tests.fake_gcs.server import FakeGcs, running_fake_gcs
from tests.http.in_process import InProcessServer, in_process
from tests.operations.in_memory_index import ALICE
from tests.storage.gcs.opened import EMULATOR
from wheelyard.catalog import keys
from wheelyard.model.distribution_filename import parse_name, parse_version
from wheelyard.operations.lifecycle import Selection
from wheelyard.operations.search.search_index import LOCAL_SECONDS
from wheelyard.settings.sections import Settings, StoreSettings
from wheelyard.storage.base import Stored
from wheelyard.wiring.build import open_index

Lines = list[list[str]]
HTML = ("Accept", "text/html")


def names(app: InProcessServer, *headers: tuple[str, str]) -> list[str]:
    """Ask for what a search finds; return the names."""
    app.clock.advance(seconds=LOCAL_SECONDS)
    answer = app.get("/search.json", *headers)
    assert (answer.status, answer.header("content-type")) == (200, "application/json")
    return [name for name, *_ in json.loads(answer.body)]


def test_project_is_found_by_name(tmp_path: Path) -> None:
    """Each project is found by name, with the version and summary that speak for it."""
    with in_process(tmp_path) as app:

        def found() -> Lines:
            app.clock.advance(seconds=LOCAL_SECONDS)
            lines: Lines = json.loads(app.get("/search.json").body)
            return lines

        assert found() == []
        app.publish(make_wheel("a-b", "1.0", "Summary: First"), make_wheel("a", "2.0"))
        assert found() == [["a", "2.0", ""], ["a-b", "1.0", "First"]]

        app.publish(make_wheel("a-b", "1.1", "Summary: <b>Zweites</b>, größer"))
        assert found() == [["a", "2.0", ""], ["a-b", "1.1", "<b>Zweites</b>, größer"]]

        life = app.index.lifecycle
        life.change("yank", ALICE, parse_name("a-b"), Selection(parse_version("1.1")), "")
        life.change("delete", ALICE, parse_name("a"), Selection(parse_version("2.0")), "")
        assert found() == [["a", "", "", "", "no files"], ["a-b", "1.0", "First"]]


def test_search_finds_the_best_first(tmp_path: Path) -> None:
    """With words, the answer is what a search finds, best first, and how many there are."""
    with in_process(tmp_path) as app:
        app.publish(
            make_wheel("my-zoo", "1.0"),
            make_wheel("b", "1.0", "Keywords: zoo"),
            make_wheel("zoo", "2.0"),
        )
        app.publish(*(make_wheel(f"zoo-{number}", "1.0") for number in range(30)))

        found = json.loads(app.get("/search.json?q=%20Zoo+").body)
        assert found["total"] == 33
        names = [name for name, *_ in found["projects"]]
        assert (names[0], names[1], len(names)) == ("zoo", "zoo-0", 20)
        nothing = {"total": 0, "projects": []}
        for query in ("q=zoo%00", "q=", "q=%ff", "q=zoo+ape", f"q={'zoo+ape+' * 500}"):
            assert json.loads(app.get(f"/search.json?{query}").body) == nothing


def test_search_finds_what_is_imported(tmp_path: Path) -> None:
    """A line that imports finds the project that has this import name, and its page names it."""
    with in_process(tmp_path) as app:
        app.publish(
            make_wheel("part-one", "1.0", "Import-Name: acme.one", "Import-Namespace: acme"),
            make_wheel("part-two", "1.0", "Import-Name: acme.two", "Import-Namespace: acme"),
        )

        found = json.loads(app.get("/search.json?q=from+acme.two+import+run").body)
        assert found == {
            "total": 1,
            "projects": [["part-two", "1.0", "", "", "", "", "acme.two acme.*"]],
        }
        for query in ("acme.two", "import+acme.two.tools"):
            body = app.get(f"/?q={query}", HTML).body.decode()
            assert "part-two" in body
            assert "part-one" not in body
        assert b"<code>acme.two</code>" in app.get("/project/part-two/", HTML).body


def test_damaged_project_is_not_found(tmp_path: Path) -> None:
    """A project whose document is damaged is not found, and every other one is."""
    with in_process(tmp_path) as app:
        app.publish(make_wheel("a", "1.0"), make_wheel("b", "1.0"))
        store, key = app.index.projects.store, keys.project(parse_name("a"))
        stored = store.get(key)
        assert isinstance(stored, Stored)
        store.put(key, b"{", expect=stored.version)
        app.clock.advance(seconds=LOCAL_SECONDS)
        assert json.loads(app.get("/search.json").body) == [["b", "1.0", ""]]


def test_answer_is_sent_again_when_something_changed(stocked_app: InProcessServer) -> None:
    """The data of the search is revalidated each time, and not sent again while nothing changes."""
    assert names(stocked_app) == ["demo", "epoch", "local"]
    first = stocked_app.get("/search.json")
    known = ("If-None-Match", first.header("etag"))

    assert first.header("cache-control") == "public, no-cache"
    assert stocked_app.get("/search.json", known).status == 304
    head = stocked_app.get("/search.json", method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert stocked_app.get("/search.json", method="POST").status == 405
    stocked_app.publish(make_wheel("more"))
    assert names(stocked_app, known) == ["demo", "epoch", "local", "more"]


def test_everybody_sees_their_own(private_app: InProcessServer) -> None:
    """On a private index, a search finds only projects that the caller may read."""
    assert private_app.get("/search.json").status == 401
    mine, everything = private_app.bearer("acme-*"), private_app.bearer()

    assert names(private_app, mine) == ["acme-core"]
    assert names(private_app, everything) == ["acme-core", "demo", "secret-plan"]
    for path in ("/search.json", "/search.json?q=secret"):
        assert private_app.get(path, mine).header("cache-control") == "private, no-cache"
    secret = "/search.json?q=secret"
    assert private_app.get(secret, mine).json() == {"total": 0, "projects": []}
    assert private_app.get(secret, everything).json()["total"] == 1
    assert private_app.get(secret).status == 401


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGcs]:
    """A bucket that this process is led to."""
    with running_fake_gcs("wheels") as server:
        monkeypatch.setenv(EMULATOR, server.url)
        yield server


@pytest.mark.integration
def test_first_refresh_reads_each_project_once(cloud: FakeGcs, tmp_path: Path) -> None:
    """The first refresh costs two listings, two reads a project, and a write; then nothing."""
    settings = Settings(store=StoreSettings(location="gs://wheels"))
    for number in range(5):
        made = make_wheel(f"demo{number}")
        path = tmp_path / made.filename
        path.write_bytes(made.body)
        index = open_index(settings)
        index.uploads.accept_path(path, ALICE, lambda _: None)
        index.changes.since(0)
    index = open_index(settings)
    cloud.log.clear()

    index.search.start = lambda work: work()
    assert len(index.search.table().projects) == 5
    first = sorted(cloud.log.kinds())
    cloud.log.clear()
    assert len(index.search.table().projects) == 5

    assert first.count("list") == 2  # the marks and the documents
    # the stored table, the list of changes, the names three times, each document and core metadata
    assert first.count("media") == 2 + 3 + 5 + 5
    assert first.count("insert") == 1
    assert cloud.log.kinds() == []
