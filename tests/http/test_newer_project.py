"""A project that only a newer version of wheelyard can read."""

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.distributions import make_wheel
from tests.fake_time import START
from tests.http.in_process import InProcessServer, in_process
from wheelyard.catalog import keys
from wheelyard.catalog.journaled_documents import ProjectCodec
from wheelyard.model.distribution_filename import parse_name

DEMO, FILE = make_wheel("demo", "1.0"), "demo-1.0-py3-none-any.whl"
HTML = ("accept", "text/html")


def make_newer(server: InProcessServer) -> None:
    """Have a newer version change the project demo."""
    key = keys.project(parse_name("demo"))
    project = server.index.projects.get(parse_name("demo"))
    body = ProjectCodec().encode(replace(project, needs={"promoted": "7.5"}))
    server.index.stores.documents.put(key, body, None)
    server.clock.now = START.replace(year=START.year + 1)


@pytest.mark.parametrize("near", [True, False])
def test_a_project_that_needs_a_newer_version(tmp_path: Path, *, near: bool) -> None:
    """Nothing is shown of a project that needs a newer version; each answer names that version."""
    with in_process(tmp_path, near=near) as server:
        server.publish(DEMO, make_wheel("other", "1.0"))
        project = server.index.projects.get(parse_name("demo"))
        (file,) = project.files
        of_key = f"/{keys.distribution(project.name, file.sha256, FILE)}"
        paths = (
            "/simple/demo/",
            f"/files/demo/{FILE}",
            of_key,
            f"{of_key}.metadata",
            "/pypi/demo/json",
            "/pypi/demo/1.0/json",
            "/project/demo/",
            "/project/demo/1.0/",
            "/project/demo/history/",
            "/project/demo/feed.xml",
            "/api/v1/projects/demo",
            "/api/v1/projects/demo/journal",
        )
        assert {path: server.get(path).status for path in paths} == dict.fromkeys(paths, 200)

        make_newer(server)

        for path in paths:
            answer = server.get(path)
            assert (path, answer.status) == (path, 503)
            if answer.headers["content-type"] == "application/json":
                assert json.loads(answer.body)["error"] == "newer_document"
            assert b"wheelyard 7.5" in answer.body
        page = server.get("/project/demo/", HTML)
        assert (page.status, b"Upgrade to wheelyard 7.5 or newer." in page.body) == (503, True)


def test_lists_show_the_other_projects(tmp_path: Path) -> None:
    """Beside a project that needs a newer version, lists show the others; its name is private."""
    with in_process(tmp_path) as server:
        server.publish(DEMO, make_wheel("other", "1.0"))
        make_newer(server)

        for path in ("/", "/simple/", "/search.json", "/search.json?q=o", "/feed.xml"):
            answer = server.get(path)
            assert (path, answer.status) == (path, 200)
            assert b"other" in answer.body
        assert b"demo" not in server.get("/search.json").body
        names = json.loads(server.get("/api/v1/projects").body)["projects"]
        assert [each["name"] for each in names] == ["demo", "other"]
        registry = server.index.names
        described = registry.describe(registry.listed())
        states = [(name.name, name.state) for name in described]
        assert states == [("demo", "unreadable"), ("other", "files")]
