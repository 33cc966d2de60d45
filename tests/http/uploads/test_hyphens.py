"""Forms with an sdist whose version has a hyphen, and what is then served of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.distributions import Distribution
from tests.http.forms import BOUNDARY, Part, file, form, text
from tests.http.servers import Answer, RunningServer, running_server
from tests.operations.old_sdists import old_sdist, sdist_without_metadata

pytestmark = pytest.mark.integration
V1_JSON = "application/vnd.pypi.simple.v1+json"
SHORT, LONG = old_sdist("foo", "1-2"), old_sdist("foo-1", "2")
"""Version 1-2 of foo and version 2 of foo-1, under one filename."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server."""
    with running_server(tmp_path_factory.mktemp("hyphens")) as server:
        yield server


def send(server: RunningServer, token: str, *parts: Part) -> Answer:
    """Send a form with these parts in their order."""
    return server.client.post(
        "/legacy/",
        content=form(*parts),
        headers={"content-type": f"multipart/form-data; boundary={BOUNDARY.decode()}"},
        auth=("__token__", token),
    )


def content(made: Distribution) -> Part:
    """Return the part with a file."""
    return file(filename=made.filename, data=made.body)


ORDERS = ("no name", "name before", "name behind")


def parts_of(order: str, made: Distribution, name: str) -> tuple[Part, ...]:
    """Return the parts of a form with a file, and its name at one place or none."""
    parts = {"name before": (text("name", name), content(made))}
    parts |= {"name behind": (content(made), text("name", name))}
    return parts.get(order, (content(made),))


@pytest.mark.parametrize("order", ORDERS)
def test_a_token_publishes_to_its_own_project_alone(server: RunningServer, order: str) -> None:
    """A token for `foo-1` does not publish `foo`, nor the other way round, wherever the name is."""
    of_foo, of_foo_1 = server.make_token("foo"), server.make_token("foo-1")
    kept = server.kept()
    for token, made, names in (
        (of_foo_1, SHORT, ("foo", "foo-1", "other")),
        (of_foo, LONG, ("foo", "foo-1", "other")),
    ):
        for name in names:
            answer = send(server, token, *parts_of(order, made, name))
            assert answer.status_code in {400, 403}, answer.text
            assert answer.status_code == 403 or order != "no name"
            assert server.kept() == kept


def test_each_token_publishes_its_project(server: RunningServer) -> None:
    """A token for one of both projects publishes that, whatever the order of the form."""
    tokens = {"pub": server.make_token("pub"), "pub-1": server.make_token("pub-1")}
    made = {"pub": old_sdist("pub", "1-2"), "pub-1": old_sdist("pub-1", "2")}

    for order in ORDERS:
        for project, token in tokens.items():
            answer = send(server, token, *parts_of(order, made[project], project))
            assert (answer.status_code, answer.json()["project"]) == (200, project)

    for project, version in (("pub", "1.post2"), ("pub-1", "2")):
        page = server.get(f"/simple/{project}/", accept=V1_JSON).json()
        (listed,) = page["files"]
        assert (page["versions"], listed["hashes"]["sha256"]) == ([version], made[project].sha256)
        assert server.get(f"/pypi/{project}/{version}/json").json()["info"]["version"] == version
        for path in (f"/project/{project}/", f"/project/{project}/{version}/"):
            assert server.get(path).status_code == 200


def test_urls_of_files(server: RunningServer) -> None:
    """A URL with the project opens its file; one without it only what nobody can mistake."""
    made = {"url": old_sdist("url", "1-2"), "url-1": old_sdist("url-1", "2")}
    filename = made["url"].filename
    assert server.get(f"/packages/{filename}").status_code == 404
    assert send(server, server.token, content(made["url"])).status_code == 200
    assert server.get(f"/packages/{filename}").content == made["url"].body
    assert send(server, server.token, content(made["url-1"])).status_code == 200

    assert server.get(f"/packages/{filename}").status_code == 404
    for project, each in made.items():
        assert server.get(f"/files/{project}/{filename}").content == each.body
        assert server.get(f"/files/{project}/{each.sha256}/{filename}").content == each.body
    assert server.get(f"/files/url-1-2/{filename}").status_code == 404


@pytest.mark.parametrize(
    ("names", "code"),
    [
        ((), "ambiguous_filename"),
        (("bare",), "missing_metadata"),
        (("bar",), "name_mismatch"),
        (("-",), "invalid_name"),
    ],
)
def test_a_file_without_metadata(server: RunningServer, names: tuple[str, ...], code: str) -> None:
    """A file that does not say what it is is refused, with the reason that helps."""
    made = sdist_without_metadata("bare-1-2.tar.gz")
    fields = tuple(text("name", name) for name in names)
    for parts in ((*fields, content(made)), (content(made), *fields)):
        answer = send(server, server.token, *parts)
        assert (answer.status_code, answer.json()["error"]) == (400, code), answer.text


def test_a_right_is_asked_for_before_the_file_has_come(server: RunningServer) -> None:
    """Who may upload neither project is refused before the archive is looked at."""
    token = server.make_token("other")
    assert send(server, token, file(filename=SHORT.filename, data=b"no archive")).status_code == 403


def test_the_whole_life_of_a_release(server: RunningServer) -> None:
    """Yank, delete and restore go by the version that the project reads; feeds and pages, too."""
    made = old_sdist("life", "1.0-1")
    assert send(server, server.token, content(made)).status_code == 200

    for verb in ("yank", "unyank", "delete", "restore"):
        answer = server.change("life", verb, version="1.0-1")
        assert made.filename in answer.text, answer.text
    for path in ("", "history/", "feed.xml", "1.0.post1/", "1.0.post1/files/"):
        page = server.get(f"/project/life/{path}")
        assert (page.status_code, made.filename in page.text or not path) == (200, True), path
    assert "1.0.post1 deleted" in server.get("/project/life/feed.xml").text
    assert server.get(f"/files/life/{made.filename}").content == made.body


def test_a_url_without_a_project_asks_for_a_credential(tmp_path: Path) -> None:
    """Who may read neither project is told to sign in; who may read one gets its file."""
    with running_server(tmp_path, "--private") as private:
        for made in (SHORT, LONG):
            assert send(private, private.token, content(made)).status_code == 200
        path = f"/packages/{SHORT.filename}"

        assert private.get(path).status_code == 401
        assert private.get(path, private.token).status_code == 404
        for project, made in (("foo", SHORT), ("foo-1", LONG)):
            token = private.make_token(project, can="read")
            assert private.get(path, token).content == made.body
