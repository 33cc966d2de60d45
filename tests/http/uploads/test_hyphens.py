"""Forms with an sdist whose version has a hyphen, and what is then served of it."""

from collections.abc import Iterator

import pytest

from tests.distributions import Distribution
from tests.http.forms import Part, file, form, text
from tests.http.in_process import InProcessResponse, InProcessServer, in_process
from tests.http.packages import KIND, content
from tests.operations.old_sdists import old_sdist, sdist_without_metadata

V1_JSON = "application/vnd.pypi.simple.v1+json"
SHORT, LONG = old_sdist("foo", "1-2"), old_sdist("foo-1", "2")
"""Version 1-2 of foo and version 2 of foo-1, under one filename."""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessServer]:
    """An application."""
    with in_process(tmp_path_factory.mktemp("hyphens")) as app:
        yield app


def send(app: InProcessServer, token: tuple[str, str], *parts: Part) -> InProcessResponse:
    """Send a form with these parts in their order."""
    return app.send("/legacy/", form(*parts), token, kind=KIND)


ORDERS = ("no name", "name before", "name behind")


def parts_of(order: str, made: Distribution, name: str) -> tuple[Part, ...]:
    """Return the parts of a form with a file, and its name at one place or none."""
    parts = {"name before": (text("name", name), content(made))}
    parts |= {"name behind": (content(made), text("name", name))}
    return parts.get(order, (content(made),))


@pytest.mark.parametrize("order", ORDERS)
def test_a_token_publishes_to_its_own_project_alone(app: InProcessServer, order: str) -> None:
    """A token for `foo-1` does not publish `foo`, nor the other way round, wherever the name is."""
    of_foo, of_foo_1 = app.bearer("foo"), app.bearer("foo-1")
    kept = app.get("/simple/", ("Accept", V1_JSON)).body
    for token, made, names in (
        (of_foo_1, SHORT, ("foo", "foo-1", "other")),
        (of_foo, LONG, ("foo", "foo-1", "other")),
    ):
        for name in names:
            answer = send(app, token, *parts_of(order, made, name))
            assert answer.status in {400, 403}, answer.text
            assert answer.status == 403 or order != "no name"
            assert app.get("/simple/", ("Accept", V1_JSON)).body == kept


def test_each_token_publishes_its_project(app: InProcessServer) -> None:
    """A token for one of both projects publishes that, whatever the order of the form."""
    tokens = {"pub": app.bearer("pub"), "pub-1": app.bearer("pub-1")}
    made = {"pub": old_sdist("pub", "1-2"), "pub-1": old_sdist("pub-1", "2")}

    for order in ORDERS:
        for project, token in tokens.items():
            answer = send(app, token, *parts_of(order, made[project], project))
            assert (answer.status, answer.json()["project"]) == (200, project)

    for project, version in (("pub", "1.post2"), ("pub-1", "2")):
        page = app.get(f"/simple/{project}/", ("Accept", V1_JSON)).json()
        (listed,) = page["files"]
        assert (page["versions"], listed["hashes"]["sha256"]) == ([version], made[project].sha256)
        assert app.get(f"/pypi/{project}/{version}/json").json()["info"]["version"] == version
        for path in (f"/project/{project}/", f"/project/{project}/{version}/"):
            assert app.get(path).status == 200


def test_urls_of_files(app: InProcessServer) -> None:
    """A URL with the project opens its file; one without it only what nobody can mistake."""
    made = {"url": old_sdist("url", "1-2"), "url-1": old_sdist("url-1", "2")}
    filename = made["url"].filename
    assert app.get(f"/packages/{filename}").status == 404
    assert send(app, app.bearer(), content(made["url"])).status == 200
    assert app.get(f"/packages/{filename}").body == made["url"].body
    assert send(app, app.bearer(), content(made["url-1"])).status == 200

    assert app.get(f"/packages/{filename}").status == 404
    for project, each in made.items():
        assert app.get(f"/files/{project}/{filename}").body == each.body
        assert app.get(f"/files/{project}/{each.sha256}/{filename}").body == each.body
    assert app.get(f"/files/url-1-2/{filename}").status == 404


@pytest.mark.parametrize(
    ("names", "code"),
    [
        ((), "ambiguous_filename"),
        (("bare",), "missing_metadata"),
        (("bar",), "name_mismatch"),
        (("-",), "invalid_name"),
    ],
)
def test_a_file_without_metadata(app: InProcessServer, names: tuple[str, ...], code: str) -> None:
    """A file that does not say what it is is refused, with the reason that helps."""
    made = sdist_without_metadata("bare-1-2.tar.gz")
    fields = tuple(text("name", name) for name in names)
    for parts in ((*fields, content(made)), (content(made), *fields)):
        answer = send(app, app.bearer(), *parts)
        assert (answer.status, answer.json()["error"]) == (400, code), answer.text


def test_a_right_is_asked_for_before_the_file_has_come(app: InProcessServer) -> None:
    """Who may upload neither project is refused before the archive is looked at."""
    token = app.bearer("other")
    assert send(app, token, file(filename=SHORT.filename, data=b"no archive")).status == 403


def test_the_whole_life_of_a_release(app: InProcessServer) -> None:
    """Yank, delete and restore go by the version that the project reads; feeds and pages, too."""
    made = old_sdist("life", "1.0-1")
    assert send(app, app.bearer(), content(made)).status == 200

    for verb in ("yank", "unyank", "delete", "restore"):
        answer = app.change("life", verb, version="1.0-1")
        assert made.filename in answer.text, answer.text
    for path in ("", "history/", "feed.xml", "1.0.post1/", "1.0.post1/files/"):
        page = app.get(f"/project/life/{path}")
        assert (page.status, made.filename in page.text or not path) == (200, True), path
    assert "1.0.post1 deleted" in app.get("/project/life/feed.xml").text
    assert app.get(f"/files/life/{made.filename}").body == made.body
