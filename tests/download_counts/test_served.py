"""What of a server's answers counts as a download, and where the counts are shown."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.distributions import make_wheel
from tests.fake_store import FakeStore
from tests.fake_time import START, Clock
from tests.http.in_process import InProcessServer, in_process
from tests.http.servers import token_of
from tests.index_tables import toml_of
from tests.operations.in_memory_index import ALICE
from wheelyard.api.download_operations import downloads_by_project
from wheelyard.catalog import keys
from wheelyard.model.access import Action, Caller, Pattern, Scope
from wheelyard.model.distribution_filename import parse_name, parse_version
from wheelyard.model.index_name import MAIN
from wheelyard.operations.lifecycle import Selection
from wheelyard.settings.sections import AccessSettings, DownloadSettings, ServerSettings, Settings
from wheelyard.storage.memory import MemoryStore

DEMO = make_wheel("demo")
FILE = f"/files/demo/{DEMO.sha256}/{DEMO.filename}"
HTML = ("accept", "text/html")


@pytest.fixture
def store() -> FakeStore:
    """A store that notes each call."""
    return FakeStore(MemoryStore(Clock().seconds))


@pytest.fixture
def server(tmp_path: Path, store: FakeStore) -> Iterator[InProcessServer]:
    """An index with two releases of a project."""
    with in_process(tmp_path, store=store) as server:
        server.publish(DEMO, make_wheel("demo", "2.0"))
        yield server


def downloads(server: InProcessServer, query: str = "") -> dict[str, Any]:
    """Return the counts of the project a minute later."""
    server.clock.advance(minutes=2)
    shown = server.get(f"/api/v1/projects/demo/downloads{query}")
    assert shown.status == 200
    return dict(json.loads(shown.body))


def test_downloads_are_counted(server: InProcessServer) -> None:
    """A file that is sent counts, whole or from its beginning, by version."""
    server.get(FILE)
    server.get(f"/simple{FILE}")
    server.get(f"/packages/{DEMO.filename}", ("range", "bytes=0-9"))

    counts = downloads(server, "?days=2")

    assert counts["downloads"] == 3
    assert counts["last"] == "2026-01-01"
    assert [day["downloads"] for day in counts["by_day"]] == [0, 3]
    assert counts["by_version"] == [{"version": "1.0", "downloads": 3, "last": "2026-01-01"}]
    assert "by_installer" not in counts


def test_nothing_else_is_counted(server: InProcessServer) -> None:
    """No part, no HEAD, no 304, no core metadata, no page and no error is a download."""
    etag = f'"{DEMO.sha256}"'
    answers = [
        server.get(FILE, method="HEAD"),
        server.get(FILE, ("range", "bytes=5-")),
        server.get(FILE, ("range", "bytes=-5")),
        server.get(FILE, ("range", "bytes=99999999-")),
        server.get(FILE, ("if-none-match", etag)),
        server.get(FILE, ("if-match", '"other"')),
        server.get(f"{FILE}.metadata"),
        server.get(f"{FILE}x"),
        server.get("/simple/demo/"),
    ]

    assert [answer.status for answer in answers] == [200, 206, 206, 416, 304, 412, 200, 404, 200]
    assert downloads(server)["downloads"] == 0


def test_a_download_costs_no_call_of_the_store(
    tmp_path: Path, server: InProcessServer, store: FakeStore
) -> None:
    """A download has the same calls of the store as without counts, and an idle end has none."""
    with in_process(
        tmp_path, Settings(downloads=DownloadSettings(count=False)), store=store
    ) as other:
        calls = []
        for index in (server, other):
            index.get(FILE)
            store.calls.clear()
            index.get(FILE)
            calls.append(list(store.calls))
    store.calls.clear()

    assert calls[0] == calls[1]
    server.tell("lifespan", "lifespan.shutdown")
    assert [verb for verb, _ in store.calls] == ["put"]
    server.tell("lifespan", "lifespan.shutdown")
    assert len(store.calls) == 1


def test_pages_show_counts(server: InProcessServer, store: FakeStore) -> None:
    """A project's page has its latest downloads, one has those of each version, others none."""
    before = server.get("/project/demo/", HTML)
    again = server.get("/project/demo/", HTML)
    quick = [server.get("/project/demo/downloads/", HTML).was_quick for _ in range(2)]
    server.get(FILE)
    server.clock.advance(minutes=2)
    table = server.get("/project/demo/downloads/", HTML)
    after = server.get("/project/demo/", HTML)
    unchanged = server.get("/project/demo/2.0/", HTML)
    whole = server.get("/project/demo/downloads/?days=90", HTML).body.decode()
    server.clock.advance(minutes=2)
    store.calls.clear()
    server.get("/project/demo/2.0/", HTML)

    assert ">0 in 30 days</a>" in before.body.decode()
    assert again.was_quick
    assert (quick, table.was_quick) == ([False, True], False)
    assert b"1 download of its files" in table.body
    assert not after.was_quick
    assert ">1 in 30 days</a>" in after.body.decode()
    assert 'last on <time datetime="2026-01-01">' in after.body.decode()
    assert "in 30 days" not in unchanged.body.decode()
    assert not any("downloads" in key for _, key in store.calls)
    assert '<td class="id"><a href="../1.0/">1.0</a></td><td data-label="Downloads">1</td>' in whole
    assert server.get("/project/demo/downloads/?days=7", HTML).status == 400
    assert server.get("/api/v1/projects/demo/downloads?days=401").status == 400


def test_counts_of_deleted_versions_stay(server: InProcessServer) -> None:
    """A version that was deleted keeps its counts, without a link to its page."""
    server.get(FILE)
    selection = Selection(parse_version("1.0"))
    server.index.lifecycle.change("delete", ALICE, parse_name("demo"), selection, "")
    server.clock.advance(minutes=2)

    page = server.get("/project/demo/downloads/", HTML).body.decode()

    assert '<td class="id">1.0</td><td data-label="Downloads">1</td>' in page
    assert server.get(FILE).status == 404
    assert downloads(server)["downloads"] == 1


def test_whoever_may_read_a_project_sees_its_counts(tmp_path: Path) -> None:
    """On a private index, only those who may read the project see its counts."""
    with in_process(tmp_path, Settings(access=AccessSettings(private=True))) as server:
        server.publish(DEMO)
        path = "/api/v1/projects/demo/downloads"
        for names, status in ((("demo",), 200), (("other",), 404)):
            token = token_of(server.index, *names, can="read")
            assert server.get(path, ("authorization", f"Bearer {token}")).status == status
        assert server.get(path).status == 401


def test_counts_belong_to_the_index_of_the_url(tmp_path: Path) -> None:
    """An index counts what is downloaded by its URL, also files of another one that it shows."""
    indexes = (
        {"name": "dev", "read": "anyone"},
        {"name": "prod", "layers": ["prod", "dev"], "read": "anyone"},
    )
    with in_process(tmp_path, tables=toml_of(index=indexes)) as server:
        old, new = make_wheel(), make_wheel(version="2.0")
        dev = server.index.named("dev")
        for package in (old, new):
            dev.uploads.accept(package.arrival(server.folder), ALICE)
        for index, package in (("prod", old), ("prod", new), ("dev", new)):
            path = f"/{index}/files/demo/{package.sha256}/{package.filename}"
            assert server.get(path).status == 200
        counts = [
            json.loads(server.get(f"/{index}/api/v1/projects/demo/downloads").body)["downloads"]
            for index in ("dev", "prod")
        ]
        page = server.get("/prod/project/demo/downloads/", HTML)
        server.clock.advance(days=1)
        last = dev.server.last_downloads(7)

        assert counts == [1, 2]
        assert (page.status, b"2 downloads" in page.body) == (200, True)
        assert server.get("/api/v1/projects/demo/downloads").status == 404
        assert last is not None
        for version in (
            "1.0",
            "2.0",
        ):  # also what was only downloaded by the URL of the other index
            assert last.of(parse_name("demo"), version) == START.date()
        server.tell("lifespan", "lifespan.shutdown")
        stored = [entry.key for entry in server.index.stores.documents.list("indexes/")]
        written = [key.partition("/new/")[0] for key in stored if "/new/" in key]
        assert written == ["indexes/dev/downloads", "indexes/prod/downloads"]


def test_counting_can_be_turned_off(tmp_path: Path) -> None:
    """With the setting off, nothing is counted, pages show nothing, and the API says why."""
    with in_process(tmp_path, Settings(downloads=DownloadSettings(count=False))) as server:
        server.publish(DEMO)
        server.get(FILE)

        answer = server.get("/api/v1/projects/demo/downloads")
        pages = [server.get(f"/project/demo/{tab}", HTML) for tab in ("", "1.0/", "releases/")]

        assert (answer.status, json.loads(answer.body)["error"]) == (404, "downloads_not_counted")
        assert [page.status for page in pages] == [200] * 3
        assert not any(b"ownloads" in page.body.partition(b"<main")[2] for page in pages)
        assert server.get("/project/demo/downloads/", HTML).status == 404


def test_a_server_that_only_reads_counts_nothing(
    tmp_path: Path, server: InProcessServer, store: FakeStore
) -> None:
    """A read-only server shows what others have counted, and writes nothing."""
    server.get(FILE)
    server.tell("lifespan", "lifespan.shutdown")
    settings = Settings(server=ServerSettings(read_only=True))
    with in_process(tmp_path, settings, store=store) as other:
        other.get(FILE)
        assert downloads(other)["downloads"] == 1

    assert len([*store.list(keys.NEW_DOWNLOADS)]) == 1


def lists(server: InProcessServer, target: str, token: str = "") -> list[tuple[str, str]]:
    """Return the projects of a page of a list, each with its downloads as they are shown."""
    login = [("authorization", f"Bearer {token}")] if token else []
    answer = server.get(target, HTML, *login)
    assert answer.status == 200
    row = r'<li><p><a href="[^"]*">([a-z0-9-]+)</a>.*?</p>\s*<span>([^<]*)</span>'
    return re.findall(row, answer.body.decode(), re.DOTALL)


BY_DOWNLOADS = "/-/projects/1/?sort=downloads"


def download(server: InProcessServer, name: str, times: int) -> None:
    """Send a file of a project so many times."""
    package = make_wheel(name)
    for _ in range(times):
        path = f"/files/{name}/{package.sha256}/{package.filename}"
        assert server.get(path).status == 200


def test_lists_are_sorted_by_downloads(server: InProcessServer) -> None:
    """The most downloaded projects come first, each with its downloads in the last 30 days."""
    server.publish(make_wheel("demo-lib"), make_wheel("a-demo"))
    download(server, "demo", 1)
    server.clock.advance(days=40)
    download(server, "demo", 2)
    download(server, "demo-lib", 3)
    server.clock.advance(minutes=2)

    expected = [("demo-lib", "3 downloads"), ("demo", "2 downloads"), ("a-demo", "0 downloads")]
    assert lists(server, BY_DOWNLOADS) == expected
    assert lists(server, "/?q=demo&sort=downloads") == expected
    assert server.get(BY_DOWNLOADS, HTML).was_quick
    assert ">downloads, 30 days<" in server.get("/", HTML).body.decode()

    download(server, "a-demo", 4)
    server.clock.advance(minutes=2)
    assert lists(server, BY_DOWNLOADS)[0] == ("a-demo", "4 downloads")


def test_a_list_by_downloads_reads_the_counts_once(
    server: InProcessServer, store: FakeStore
) -> None:
    """A list by downloads costs the two listings of the counts, and no other list reads them."""
    server.publish(*(make_wheel(f"lib-{number}") for number in range(20)))
    download(server, "lib-3", 1)

    def calls(*targets: str) -> list[str]:
        store.calls.clear()
        for target in targets:
            server.get(target, HTML)
        return [verb for verb, key in store.calls if key != keys.INDEX_LIST]

    calls("/")  # reads what was published
    assert calls("/", "/-/projects/1/", "/-/projects/1/?sort=date", "/?q=lib") == []
    assert calls(BY_DOWNLOADS, "/?q=lib&sort=downloads") == ["list", "list"]


def test_nobody_sees_the_downloads_of_others_projects(tmp_path: Path) -> None:
    """A list by downloads has the figures of projects that the caller may read, and no others."""
    with in_process(tmp_path, Settings(access=AccessSettings(private=True))) as server:
        server.publish(make_wheel("acme-core"), make_wheel("secret"))
        every = token_of(server.index, can="read")
        acme = token_of(server.index, "acme-*", can="read")
        package = make_wheel("secret")
        path = f"/files/secret/{package.sha256}/{package.filename}"
        assert server.get(path, ("authorization", f"Bearer {every}")).status == 200
        server.clock.advance(minutes=2)

        for _ in range(2):
            assert lists(server, BY_DOWNLOADS, acme) == [("acme-core", "0 downloads")]
            whole = [("secret", "1 download"), ("acme-core", "0 downloads")]
            assert lists(server, BY_DOWNLOADS, every) == whole

        counts, table = server.index.downloads, server.index.search.table()
        assert counts is not None
        scopes = (Scope(Action.READ, (Pattern("acme-*"),), (MAIN,)),)
        assert downloads_by_project(counts, table, Caller("user:ana@acme.dev", scopes))[0] == {}
        assert downloads_by_project(counts, table, ALICE)[0] == {"secret": 1}


def test_a_list_by_downloads_needs_counts(tmp_path: Path) -> None:
    """Where downloads are not counted, lists cannot be sorted by them, and do not offer it."""
    with in_process(tmp_path, Settings(downloads=DownloadSettings(count=False))) as server:
        server.publish(DEMO)
        for target in ("/", "/-/projects/1/", "/?q=demo"):
            assert "downloads, 30 days" not in server.get(target, HTML).body.decode()
        assert server.get(BY_DOWNLOADS, HTML).status == 400
        assert server.get("/?q=demo&sort=downloads", HTML).status == 400
