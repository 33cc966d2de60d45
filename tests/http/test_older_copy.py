"""An older copy that is put in the place of a store while a server runs."""

import logging
from pathlib import Path

import pytest
from msgspec.json import decode
from packaging.utils import NormalizedName
from packaging.version import Version

from tests.catalog.invariants import DEMO
from tests.distributions import make_wheel
from tests.http.in_process import InProcessServer, in_process
from tests.http.index_pages import JSON
from tests.index_tables import toml_of
from tests.operations.in_memory_index import ALICE, OPEN_MAIN, objects
from wheelyard.api.health_operations import show_health
from wheelyard.api.local_api import LocalApi
from wheelyard.catalog import keys
from wheelyard.catalog.private_names import PrivateNames
from wheelyard.model.access import NO_PATTERNS
from wheelyard.operations.lifecycle import Selection
from wheelyard.operations.names import Names, TakenNames
from wheelyard.settings.sections import Settings
from wheelyard.storage.base import Key
from wheelyard.storage.memory import MemoryStore

ASKED = ("/simple/newer/", "/pypi/newer/json", "/project/newer/", "/api/v1/projects/newer")
LATER, GIVEN_UP = NormalizedName("later"), NormalizedName("given-up")


def put_in_place(store: MemoryStore, copy: dict[str, bytes]) -> None:
    """Replace all objects of a store by those of a copy."""
    for entry in list(store.list("")):
        store.delete(entry.key)
    for key, body in copy.items():
        store.put(Key(key), body, None)


def state_of_store(app: InProcessServer) -> str:
    """Return what Health says of the store."""
    health = LocalApi(index=app.index, caller=ALICE).call(show_health)
    (state,) = (part.state for part in health.parts if part.name == "store")
    return state


@pytest.mark.parametrize("near", [True, False], ids=["folder", "bucket"])
def test_an_older_copy_is_served(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, *, near: bool
) -> None:
    """What an older copy lacks is not there, at once; log and Health say why, and how to go on."""
    store = MemoryStore(lambda: 0.0)
    with in_process(tmp_path, store=store, near=near) as app:
        app.publish(make_wheel("demo"))
        copy = dict(objects(store))
        app.publish(make_wheel("newer"), make_wheel("demo", "2.0"))
        assert [app.get(path).status for path in ASKED] == [200] * len(ASKED)
        assert state_of_store(app) == "ok"

        put_in_place(store, copy)
        app.clock.advance(minutes=1)
        with caplog.at_level(logging.WARNING, "wheelyard"):
            assert [app.get(path).status for path in ASKED] == [404] * len(ASKED)

        assert "demo-2.0" not in app.get("/simple/demo/").body.decode()
        assert state_of_store(app) == "warning"
        (said,) = (each.getMessage() for each in caplog.records if "older copy" in each.message)
        assert said.startswith("the project newer was there")
        assert "reserve the name" in said
        # nobody has released the name, so no upstream index may be asked for it
        names = PrivateNames(app.index.projects, NO_PATTERNS, store, is_local=near)
        assert names.is_private(NormalizedName("newer"))

        app.publish(make_wheel("newer"), make_wheel("demo", "2.0"))
        assert [app.get(path).status for path in ASKED] == [200] * len(ASKED)
        assert app.index.server.check.run().problems == []


@pytest.mark.parametrize("near", [True, False], ids=["folder", "bucket"])
@pytest.mark.parametrize("reserved", [(GIVEN_UP, LATER), (GIVEN_UP,)], ids=["reserved", "claimed"])
def test_an_older_copy_releases_no_reserved_name(
    tmp_path: Path, reserved: tuple[NormalizedName, ...], *, near: bool
) -> None:
    """A name without files that an older copy lacks is private at once, unless it was released."""
    store = MemoryStore(lambda: 0.0)
    with in_process(tmp_path, store=store, near=near) as app:
        names = Names(app.index.projects, app.index.server.runtime, TakenNames(tuple))
        app.publish(make_wheel("demo"))
        copy = dict(objects(store))
        private = PrivateNames(app.index.projects, NO_PATTERNS, store, is_local=near)
        private.claim(LATER)
        for name in reserved:
            names.reserve(ALICE, name, "soon")
        assert private.is_private(LATER)
        names.release(ALICE, GIVEN_UP, "never")
        assert not private.is_private(GIVEN_UP)

        put_in_place(store, copy)
        app.clock.advance(minutes=1)

        assert private.is_private(LATER)
        assert private.absence(LATER) is None
        assert state_of_store(app) == "warning"


@pytest.mark.parametrize("near", [True, False], ids=["folder", "bucket"])
def test_an_older_copy_may_lack_all_of_an_index(tmp_path: Path, *, near: bool) -> None:
    """An older copy from before the first upload to an index is served, and releases no name."""
    settings, tables = (
        Settings(),
        toml_of(main=OPEN_MAIN, index=({"name": "dev", "read": "anyone"},)),
    )
    store = MemoryStore(lambda: 0.0)
    with in_process(tmp_path, settings, store=store, near=near, tables=tables) as app:
        app.publish(make_wheel("demo"))
        copy = dict(objects(store))
        app.publish_to("dev", make_wheel("newer"))
        assert app.get("/dev/simple/newer/").status == 200

        put_in_place(store, copy)
        app.clock.advance(minutes=1)

        assert app.get("/dev/simple/newer/").status == 404
        assert app.get("/dev/simple/other/").status == 404
        projects = app.index.named("dev").projects
        names = PrivateNames(projects, NO_PATTERNS, store, is_local=near)
        assert names.is_private(NormalizedName("newer"))
        assert state_of_store(app) == "warning"
        app.publish_to("dev", make_wheel("newer"))
        assert app.get("/dev/simple/newer/").status == 200


@pytest.mark.parametrize("later", [("2.0",), ("2.0", "3.0")], ids=["fewer", "as many"])
def test_a_day_is_that_of_the_older_copy(tmp_path: Path, later: tuple[str, ...]) -> None:
    """What happened on a day by a store that an older copy has replaced is no part of that day."""
    store = MemoryStore(lambda: 0.0)
    with in_process(tmp_path, store=store) as app:
        app.publish(make_wheel("demo", "1.0"))
        copy = dict(objects(store))
        selection = Selection(Version("1.0"))
        app.index.lifecycle.change("yank", ALICE, DEMO, selection, "broken")
        app.clock.advance(days=1)
        app.publish(make_wheel("demo", "2.0"))
        path = "/as-of-2026-01-01/simple/demo/"
        before = decode(app.get(path, JSON).body)["files"]

        put_in_place(store, copy)
        app.clock.advance(minutes=1)
        app.publish(*(make_wheel("demo", version) for version in later))
        after = decode(app.get(path, JSON).body)["files"]

    assert [file.get("yanked") for file in before] == ["broken"]
    assert [file.get("yanked", False) for file in after] == [False]


def test_an_empty_store_is_no_older_copy(tmp_path: Path) -> None:
    """A store that has lost even `wheelyard.json`, as an empty disk has, is said to be damaged."""
    store = MemoryStore(lambda: 0.0)
    with in_process(tmp_path, store=store) as app:
        app.publish(make_wheel("demo"))
        assert app.get("/simple/demo/").status == 200

        put_in_place(store, {})

        assert app.get("/simple/demo/").status == 503


@pytest.mark.parametrize(
    "gone", [(), (keys.PROJECTS,), (keys.JOURNAL,)], ids=["list", "documents too", "journals too"]
)
def test_a_lost_list_is_no_older_copy(tmp_path: Path, gone: tuple[str, ...]) -> None:
    """If the store still has a part of a project, a list of names that is gone is not empty."""
    store = MemoryStore(lambda: 0.0)
    with in_process(tmp_path, store=store) as app:
        app.publish(make_wheel("demo"))
        assert app.get("/simple/").status == 200
        for folder in (keys.PROJECT_NAMES, *gone):
            for entry in list(store.list(folder)):
                store.delete(entry.key)
        app.clock.advance(minutes=1)

        assert app.get("/simple/").status == 503
        assert app.get("/simple/other/").status == 503


@pytest.mark.parametrize(
    "lost",
    [
        (keys.project(DEMO),),
        (keys.project(DEMO), keys.journal(DEMO)),
        (keys.project(DEMO), keys.PROJECT_NAMES),
    ],
    ids=["document", "document and journal", "document and name"],
)
def test_a_lost_document_is_no_older_copy(tmp_path: Path, lost: tuple[str, ...]) -> None:
    """If the store still knows a project, a document that is gone is lost, and nobody gets 404."""
    store = MemoryStore(lambda: 0.0)
    with in_process(tmp_path, store=store) as app:
        app.publish(make_wheel("other"))
        before = dict(objects(store))
        app.publish(make_wheel("demo"))
        assert app.get("/simple/demo/").status == 200
        kept = {key: body for key, body in objects(store) if not key.startswith(lost)}
        put_in_place(store, {k: body for k, body in before.items() if k.startswith(lost)} | kept)
        app.clock.advance(minutes=1)

        assert app.get("/simple/demo/").status == 503
        assert state_of_store(app) == "ok"
