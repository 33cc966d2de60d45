"""Live and static: the same bytes, given the same settings."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.cli.conftest import Typed
from tests.exporting.export_fixture import publish, stock
from tests.exporting.sites import BASE, broken, pages_of, reader, tree
from tests.http.packages import wheel
from tests.http.servers import RunningServer, running_server
from tests.model.test_brand import LOGO
from tests.waiting import until
from wheelyard.operations.project_history import older_pages

pytestmark = pytest.mark.integration

LARGE = [wheel("large", "1.0", tag=f"cp3{each}-none-any") for each in range(110)]
"""A release whose files are on several pages, and whose history is, too."""
LINKED = (
    wheel("app", "1.0", "Requires-Dist: demo>=1", "Requires-Dist: Absent; extra == 'x'"),
    wheel("demo", "0.9", "Requires-Dist: app", "Description-Content-Type: text/markdown"),
)
"""Releases with links to other projects, and to one that is not there."""
V1_JSON = "application/vnd.pypi.simple.v1+json"


@dataclass(frozen=True)
class LiveAndStatic:
    """An index as a server gives it out, and as a site."""

    live: RunningServer
    static: Path


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveAndStatic]:
    """A server with every kind of release and a public URL, and an export of its store."""
    folder = tmp_path_factory.mktemp("both")
    brand = '[web]\nname = "Acme & Söhne"\naccent = "#c2185b"\nlogo = "logo.svg"\n'
    config = f'[server]\npublic_url = "{BASE}"\n{brand}'
    (folder / "live").mkdir()
    (folder / "live/logo.svg").write_bytes(LOGO)
    with running_server(folder / "live", config=config) as live:
        stock(live.index, folder)
        publish(live.index, folder, *LARGE, *LINKED)
        (folder / "sandbox").mkdir()
        yield LiveAndStatic(live, folder / "static")


@pytest.fixture
def exported(both: LiveAndStatic, wheelyard: Typed) -> LiveAndStatic:
    """The same, exported as an operator does it."""
    if not both.static.exists():
        config = both.live.folder / "wheelyard.toml"
        done = wheelyard("export", both.static, "--store", both.live.store, "--config", config)
        assert (done.returncode, done.stderr) == (0, "")
        # a search may know for a second what was there before
        known = (both.static / "search.json").read_bytes()
        until(lambda: both.live.get("/search.json").content == known)
    return both


def asked_live(path: str) -> tuple[str, str]:
    """Return the path of a page on a server, and the form that it is asked for in."""
    folder, _, page = path.rpartition("/")
    if path.startswith("simple/") and page == "index.json":
        return f"/{folder}/", V1_JSON
    if page == "index.html":
        return (f"/{folder}/" if folder else "/"), "text/html"
    return f"/{path}", "*/*"


def test_every_page_and_file(exported: LiveAndStatic) -> None:
    """Every page, file and piece of metadata of the site is what a server answers with."""
    found = tree(exported.static)
    differing = []
    for path, body in found.items():
        # nobody publishes to a site, so its set-up page has fewer clients
        # for what is not there, a server has other answers
        if path.startswith((".", "setup/")) or path == "404.html":
            continue
        live, accept = asked_live(path)
        answer = exported.live.get(quote(live), Accept=accept)
        if (answer.status_code, answer.content) != (200, body):
            differing.append(path)

    assert differing == []
    kinds = {path.split("/")[0] for path in found}
    assert kinds >= {"files", "index.html", "project", "pypi", "search.json", "simple", "-"}
    assert {"feed.xml", "favicon.ico", "robots.txt", "health"} <= kinds
    assert any(path.endswith(".metadata") for path in found)


def test_nothing_is_missing(exported: LiveAndStatic) -> None:
    """Every project that the server lists has all of its pages, and every link leads somewhere."""
    listed = exported.live.get("/simple/", Accept=V1_JSON).json()["projects"]
    found = set(pages_of(exported.static))

    expected = {"index.html", "search.json", "setup/index.html", "feed.xml", "404.html"}
    expected |= {"favicon.ico", "robots.txt", "health"}
    expected |= {"simple/index.html", "simple/index.json"}
    for name in (each["name"] for each in listed):
        expected |= {f"simple/{name}/index.{form}" for form in ("html", "json")}
        expected |= {f"project/{name}/{page}" for page in ("feed.xml", "history/index.html")}
        expected.add(f"project/{name}/index.html")
        for number in range(1, older_pages(exported.live.index.projects.get(name).revision) + 1):
            expected.add(f"project/{name}/history/{number}/index.html")
        versions = exported.live.get(f"/simple/{name}/", Accept=V1_JSON).json()["versions"]
        expected |= {f"project/{name}/{version}/index.html" for version in versions}
        if exported.live.get(f"/pypi/{name}/json").status_code == 200:
            expected.add(f"pypi/{name}/json")
    of_files = {path for path in found if path.startswith("project/large/1.0/files/")}
    assert found - of_files == expected
    assert len(of_files) > 10
    assert "project/large/history/1/index.html" in found
    assert len(listed) == 15
    assert broken(reader(exported.static), pages_of(exported.static)) == []
    page = (exported.static / "project/demo/index.html").read_text()
    assert f"uv pip install --index {BASE}/simple/ demo" in page


def test_what_is_not_for_installing_is_not_there(exported: LiveAndStatic) -> None:
    """Of deleted files and of a quarantined project no bytes are to be found."""
    files = [path for path in tree(exported.static) if path.startswith("files/")]

    assert files
    for absent in ("gone/", "kept-in/", "half_gone-2.0"):
        assert [path for path in files if f"/{absent}" in path] == []


def test_the_brand(exported: LiveAndStatic) -> None:
    """The name, logo and colour of the team are on the pages; the logo can run no script."""
    page = (exported.static / "index.html").read_text()
    logo, style = (
        re.findall(rf'"\./(-/assets/{name}-\w+\.\w+)"', page) for name in ("logo", "style")
    )

    assert "<title>Projects · Acme &amp; Söhne</title>" in page
    assert (exported.static / logo[0]).read_bytes() == LOGO
    assert "sandbox" in exported.live.get(f"/{logo[0]}").headers["content-security-policy"]
    assert "--accent: #c2185b;" in exported.live.get(f"/{style[0]}").text
