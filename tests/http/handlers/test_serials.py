"""The serials that mirrors ask for: in the list of projects, and on the page of each."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from tests.catalog.invariants import DEMO
from tests.distributions import make_wheel
from tests.fake_store import FakeStore
from tests.fake_time import START
from tests.http.in_process import InProcessResponse, InProcessServer, in_process
from tests.http.remote_store import RemoteStore
from tests.index_tables import toml_of
from tests.operations.in_memory_index import ALICE, OPEN_MAIN
from wheelyard.catalog import keys
from wheelyard.catalog.changes import SERIALS_BEGIN
from wheelyard.operations.lifecycle import Selection
from wheelyard.settings.sections import AccessSettings, ServerSettings, Settings

JSON = ("accept", "application/vnd.pypi.simple.v1+json")
FIRST = int((START - SERIALS_BEGIN).total_seconds())
"""The serial of the first commit, as the clocks of tests stand still."""


@contextmanager
def two_servers(folder: Path, *, near: bool) -> Iterator[tuple[InProcessServer, InProcessServer]]:
    """Run two servers on one store."""
    store = RemoteStore()
    with (
        in_process(folder, store=store, near=near) as one,
        in_process(folder, store=store, near=near) as two,
    ):
        yield one, two


def listed(app: InProcessServer, *headers: tuple[str, str]) -> dict[str, Any]:
    """Return the list of projects as JSON."""
    answer: dict[str, Any] = json.loads(app.get("/simple/", JSON, *headers).body)
    return answer


def serials(app: InProcessServer, *headers: tuple[str, str]) -> dict[str, int]:
    """Return the serial of each project in the list that has one."""
    projects = listed(app, *headers)["projects"]
    return {each["name"]: each["_last-serial"] for each in projects if "_last-serial" in each}


def serial_of(answer: InProcessResponse) -> int:
    """Return the serial of a page, which body and header have."""
    serial = int(answer.headers["x-pypi-last-serial"])
    assert json.loads(answer.body)["last_serial"] == serial
    return serial


def test_every_change_gives_a_project_a_new_serial(tmp_path: Path) -> None:
    """Every change gives its project a serial above all others, in the list and on its page."""
    with in_process(tmp_path) as app:
        app.publish(make_wheel("demo"), make_wheel("other"))
        assert serials(app) == {"demo": FIRST, "other": FIRST + 1}

        app.index.lifecycle.change("yank", ALICE, DEMO, Selection(Version("1.0")), "broken")
        assert serials(app) == {"demo": FIRST + 2, "other": FIRST + 1}
        assert listed(app)["meta"] == {"api-version": "1.4", "_last-serial": FIRST + 2}
        assert serial_of(app.get("/pypi/demo/json")) == FIRST + 2
        assert serial_of(app.get("/pypi/other/json")) == FIRST + 1


@pytest.mark.parametrize("near", [True, False], ids=["folder", "bucket"])
def test_page_has_its_serial_at_once(tmp_path: Path, *, near: bool) -> None:
    """A page has a serial at once, and each new content a new one, though nobody reads the list."""
    with two_servers(tmp_path, near=near) as (one, two):
        one.publish(make_wheel("other"), make_wheel("demo"))
        assert serial_of(one.get("/pypi/demo/json")) == FIRST
        assert serial_of(two.get("/pypi/demo/json")) == FIRST
        for number, changed in enumerate((two, one, two), 2):
            changed.publish(make_wheel("demo", f"{number}.0"))
            changed.index.projects.get(DEMO)
            pages = [app.get("/pypi/demo/json") for app in (changed, one, two)]
            versions = [json.loads(page.body)["info"]["version"] for page in pages]
            assert versions == [f"{number}.0"] * 3
            assert [serial_of(page) for page in pages] == [FIRST + number] * 3


def test_page_with_a_serial_costs_one_call(tmp_path: Path) -> None:
    """A page, one that can get no serial, and an unknown name ask the bucket for the feed alone."""
    store = FakeStore(RemoteStore())
    with in_process(tmp_path, store=store, near=False) as app:
        app.publish(make_wheel("demo"))
        first = serial_of(app.get("/pypi/demo/json"))
        app.get("/pypi/demo/json")
        store.calls.clear()
        assert serial_of(app.get("/pypi/demo/json")) == first
        assert store.calls == [("get", keys.CHANGES)]

        app.publish(make_wheel("demo", "2.0"))
        for entry in store.list(keys.PENDING):
            store.delete(entry.key)  # as after a restore: only `check` makes it again
        app.get("/pypi/demo/json")
        store.calls.clear()
        assert serial_of(app.get("/pypi/demo/json")) == first
        assert store.calls == [("get", keys.CHANGES)]

        store.calls.clear()
        assert app.get("/pypi/nothing/json").status == 404
        assert store.calls == [("get", keys.CHANGES)]


def test_list_without_serials_changes_with_names_only(tmp_path: Path) -> None:
    """The list as HTML, and the pages of installers, have no serials and no new ETag by them."""
    with in_process(tmp_path) as app:
        app.publish(make_wheel("demo"), make_wheel("other"))
        html = ("accept", "text/html")
        before = [app.get("/simple/", html), app.get("/simple/other/", JSON)]
        as_json = app.get("/simple/", JSON)
        app.publish(make_wheel("demo", "2.0"))

        after = [app.get("/simple/", html), app.get("/simple/other/", JSON)]
        assert [(each.headers["etag"], each.body) for each in after] == [
            (each.headers["etag"], each.body) for each in before
        ]
        known = ("if-none-match", as_json.headers["etag"])
        assert app.get("/simple/", JSON, known).status == 200
        assert not any(b"serial" in each.body for each in after)


def test_serials_tell_nothing_of_other_projects(tmp_path: Path) -> None:
    """A reader of one project sees its serial alone, and the same one when others change."""
    with in_process(tmp_path, Settings(access=AccessSettings(private=True))) as app:
        app.publish(make_wheel("demo"), make_wheel("secret"))
        bearer = app.bearer("demo", can="read")
        before = app.get("/simple/", JSON, bearer)
        app.publish(make_wheel("secret", "2.0"))

        assert listed(app, bearer) == {
            "meta": {"api-version": "1.4", "_last-serial": FIRST},
            "projects": [{"name": "demo", "_last-serial": FIRST}],
        }
        assert app.get("/simple/", JSON, bearer).headers["etag"] == before.headers["etag"]
        assert serial_of(app.get("/pypi/demo/json", bearer)) == FIRST
        assert app.get("/pypi/secret/json", bearer).status == 404


def test_list_of_several_indexes_has_all_names_and_no_serials(tmp_path: Path) -> None:
    """An index with layers has the projects of each of them, and no serial of any."""
    layered = {"name": "all", "layers": ["dev", "all"], "read": "anyone"}
    tables = toml_of(main=OPEN_MAIN, index=[{"name": "dev"}, layered])
    with in_process(tmp_path, tables=tables) as app:
        app.publish_to("all", make_wheel("other"), make_wheel("demo", "0.9"))
        app.publish_to("dev", make_wheel("demo"))

        answer = json.loads(app.get("/all/simple/", JSON).body)
        project = app.get("/all/pypi/demo/json")

    assert answer == {
        "meta": {"api-version": "1.4"},
        "projects": [{"name": "demo"}, {"name": "other"}],
    }
    assert (project.status, json.loads(project.body)["info"]["version"]) == (200, "1.0")
    assert "x-pypi-last-serial" not in project.headers


def test_index_that_hides_files_gives_no_serials(tmp_path: Path) -> None:
    """With a cooldown, the JSON of a project has no serial, and is new when the cooldown ends."""
    tables = toml_of(main={**OPEN_MAIN, "cooldown_days": 7})
    with in_process(tmp_path, tables=tables) as app:
        app.publish(make_wheel("demo"))
        app.clock.advance(days=6)
        app.publish(make_wheel("demo", "2.0"))
        app.clock.advance(days=1)
        before = [app.get("/pypi/demo/json") for _ in range(2)]
        app.clock.advance(days=6)
        after = app.get("/pypi/demo/json")

        assert serials(app) == {}

    pages = [json.loads(page.body) for page in (*before, after)]
    assert [page["info"]["version"] for page in pages] == ["1.0", "1.0", "2.0"]
    assert [page["last_serial"] for page in pages] == [0, 0, 0]
    assert not any("x-pypi-last-serial" in page.headers for page in (*before, after))


def test_reserved_name_has_no_serial(tmp_path: Path) -> None:
    """A name without a project is listed without a serial."""
    with in_process(tmp_path) as app:
        app.index.projects.names.claim(DEMO)
        assert listed(app) == {"meta": {"api-version": "1.4"}, "projects": [{"name": "demo"}]}


@pytest.mark.parametrize("near", [True, False], ids=["folder", "bucket"])
def test_page_is_never_older_than_the_list_of_another_server(tmp_path: Path, *, near: bool) -> None:
    """A page has what another server has listed, also if this one has it in its cache."""
    with two_servers(tmp_path, near=near) as (one, two):
        one.publish(make_wheel("demo"))
        assert serials(one) == {"demo": FIRST}
        assert [serial_of(two.get("/pypi/demo/json")) for _ in range(2)] == [FIRST] * 2
        one.publish(make_wheel("demo", "2.0"))
        assert serials(one) == {"demo": FIRST + 1}

        for app in (one, two):
            app.clock.advance(seconds=near)  # on a bucket, the cached document is fresh
        page = two.get("/pypi/demo/json")
        assert (serial_of(page), json.loads(page.body)["info"]["version"]) == (FIRST + 1, "2.0")


@pytest.mark.parametrize("near", [True, False], ids=["folder", "bucket"])
def test_new_project_of_another_server_has_a_page(tmp_path: Path, *, near: bool) -> None:
    """What another server lists is never 404 here, which a mirror would take for deleted."""
    with two_servers(tmp_path, near=near) as (one, two):
        assert two.get("/pypi/demo/json").status == 404
        one.publish(make_wheel("demo"))
        assert serials(one) == {"demo": FIRST}

        assert serial_of(two.get("/pypi/demo/json")) == FIRST


def test_new_project_is_in_the_list_that_has_its_serial(tmp_path: Path) -> None:
    """A project that its writer has not listed yet is in the list that has a higher serial."""
    store, read_only = RemoteStore(), Settings(server=ServerSettings(read_only=True))
    with (
        in_process(tmp_path, store=store) as app,
        in_process(tmp_path, read_only, store=store) as reader,
    ):
        app.publish(make_wheel("demo"), make_wheel("other"))
        app.index.projects.names.remove(DEMO)  # as right after the first commit
        app.index.changes.newest()

        assert serials(reader) == {}
        assert serials(app) == {"demo": FIRST, "other": FIRST + 1}
        reader.clock.advance(seconds=1)
        assert serials(reader) == serials(app)


def test_server_that_may_only_read_has_the_serials_of_others(tmp_path: Path) -> None:
    """A read-only server writes nothing, and has the serials that others have given."""
    store, read_only = RemoteStore(), Settings(server=ServerSettings(read_only=True))
    with (
        in_process(tmp_path, store=store) as app,
        in_process(tmp_path, read_only, store=store) as reader,
    ):
        app.publish(make_wheel("demo"))
        assert serials(reader) == {}
        assert serials(app) == {"demo": FIRST}
        reader.clock.advance(seconds=1)
        assert serials(reader) == {"demo": FIRST}
        assert serial_of(reader.get("/pypi/demo/json")) == FIRST


def test_list_and_page_are_there_without_the_feed(tmp_path: Path) -> None:
    """While the feed is damaged, the list and the pages are there, without new serials."""
    with in_process(tmp_path) as app:
        app.publish(make_wheel("demo"))
        app.index.stores.documents.put(keys.CHANGES, b"{", None)

        assert listed(app)["projects"] == [{"name": "demo"}]
        page = app.get("/pypi/demo/json")
        assert (page.status, "x-pypi-last-serial" in page.headers) == (200, False)
