"""Feeds and histories as a server answers with them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.distributions import make_wheel
from tests.http.in_process import InProcessServer, in_process
from tests.index_tables import toml_of
from tests.operations.in_memory_index import ALICE
from tests.rendering.atom import parse_feed
from wheelyard.model.distribution_filename import parse_name, parse_version
from wheelyard.model.project import Status
from wheelyard.operations.lifecycle import Selection
from wheelyard.settings.sections import ServerSettings, Settings

URL = "https://packages.example.com/py"
ADDRESS = ServerSettings(public_url=URL, path_prefix="/py")
FEED = "/py/project/demo/feed.xml"


@pytest.fixture
def app(tmp_path: Path) -> Iterator[InProcessServer]:
    """A server below a path prefix, with one release."""
    with in_process(tmp_path, Settings(server=ADDRESS)) as running:
        running.publish(make_wheel("demo", "1.0"))
        yield running


def yank(app: InProcessServer, version: str, name: str = "demo") -> None:
    """Yank a release of a project."""
    selection = Selection(parse_version(version), None)
    app.index.lifecycle.change("yank", ALICE, parse_name(name), selection, "it breaks")


def test_feed_has_absolute_links_below_the_public_url(app: InProcessServer) -> None:
    """A feed has absolute links below the public URL, and is not sent again unchanged."""
    app.clock.advance(minutes=1)
    yank(app, "1.0")
    answer = app.get(FEED)
    feed = parse_feed(answer.body)
    tag = ("If-None-Match", answer.headers["etag"])
    again = app.get(FEED, tag)
    app.publish(make_wheel("demo", "1.1"))
    later = app.get(FEED, tag)

    assert answer.headers["content-type"] == "application/atom+xml; charset=utf-8"
    assert [entry.title for entry in feed.entries] == ["demo 1.0 yanked", "demo 1.0"]
    assert feed.links["self"] == f"{URL}/project/demo/feed.xml"
    assert feed.entries[0].link == f"{URL}/project/demo/1.0/"
    assert (again.status, later.status) == (304, 200)
    assert len(parse_feed(later.body).entries) == 3


def test_feed_of_all_projects_has_readable_ones_alone(tmp_path: Path) -> None:
    """Everybody gets the newest of all projects that they may read, and of no other."""
    grants = ({"who": ["anonymous"], "projects": ["open-*"], "actions": ["read"]},)
    tables = toml_of(main={"read": "granted"}, grant=grants)
    with in_process(tmp_path, Settings(server=ADDRESS), tables=tables) as app:
        for number, name in enumerate(("open-one", "shut", "open-two")):
            app.clock.advance(minutes=number)
            app.publish(make_wheel(name, "1.0"))
        app.clock.advance(minutes=1)
        yank(app, "1.0", "open-one")
        seen = parse_feed(app.get("/py/feed.xml").body)

    assert [entry.title for entry in seen.entries] == [
        "open-one 1.0 yanked",
        "open-two 1.0",
        "open-one 1.0",
    ]


def test_feed_of_a_view_has_what_it_shows(tmp_path: Path) -> None:
    """The feed of an index has the releases of its layers that its rules show."""
    view = {"name": "view", "layers": ["main"], "prereleases": False, "read": "anyone"}
    with in_process(tmp_path, Settings(server=ADDRESS), tables=toml_of(index=(view,))) as app:
        app.publish(
            make_wheel("demo", "1.0"), make_wheel("demo", "2.0rc1"), make_wheel("demo", "1.1")
        )
        seen, of_layer = (parse_feed(app.get(f"/py/{path}feed.xml").body) for path in ("view/", ""))

    assert [entry.title for entry in seen.entries] == ["demo 1.1", "demo 1.0"]
    assert seen.title == f"{of_layer.title} view"
    assert not {entry.id for entry in seen.entries} & {entry.id for entry in of_layer.entries}


def test_history_says_who_did_what(app: InProcessServer) -> None:
    """The history of a project tells who did what; older pages have numbers."""
    yank(app, "1.0")
    for number in range(60):
        status = Status.DEPRECATED if number % 2 else Status.ACTIVE
        app.index.lifecycle.set_status(ALICE, parse_name("demo"), status, f"reason {number}")
    for number in range(60):
        app.publish(make_wheel("demo", f"2.{number}"))
    newest = app.get("/py/project/demo/history/").body.decode()
    oldest = app.get("/py/project/demo/history/1/").body.decode()

    assert "<strong>uploaded 2.59</strong>" in newest
    assert "<bdi>alice, on the command line</bdi>" in newest
    assert '<a href="1/" rel="next">Older</a>' in newest
    assert "<strong>yanked 1.0</strong>: <bdi>it breaks</bdi>" in oldest
    assert '<a href="../" rel="prev">Newer</a>' in oldest
    for absent in ("2", "0", "01", "x", "9" * 30):
        assert app.get(f"/py/project/demo/history/{absent}/").status == 404


@pytest.mark.parametrize("page", ["feed.xml", "history/", "history/1/"])
def test_another_spelling_is_redirected(app: InProcessServer, page: str) -> None:
    """Another spelling of a name is redirected to the normalised one."""
    answer = app.get(f"/py/project/De.Mo/{page}")
    assert (answer.status, answer.headers["location"]) == (301, f"/py/project/de-mo/{page}")
    assert app.get(f"/py/project/de-mo/{page}").status == 404
