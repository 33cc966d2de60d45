"""An index below a path prefix, behind a proxy that passes paths on as they are."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import pytest

from tests.distributions import make_wheel
from tests.http.forms import form
from tests.http.in_process import InProcessServer, in_process
from tests.http.packages import KIND, content
from tests.index_tables import toml_of
from tests.operations.in_memory_index import OPEN_MAIN
from wheelyard.settings.sections import ServerSettings, Settings

JSON = "application/vnd.pypi.simple.v1+json"
DEMO = make_wheel("demo")


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessServer]:
    """An application below `/team/python`, with the project demo."""
    settings = Settings(server=ServerSettings(path_prefix="/team/python", roots=("acme",)))
    with in_process(tmp_path_factory.mktemp("prefix"), settings) as app:
        upload = app.send("/team/python/legacy/", form(content(DEMO)), app.bearer(), kind=KIND)
        assert upload.status == 200
        yield app


@pytest.mark.parametrize("root", ["simple", "pypi/simple", "pypi", "acme", "+simple", "%2Bsimple"])
def test_links_stay_below_the_prefix(app: InProcessServer, root: str) -> None:
    """Relative links of a page lead to files below the prefix, which are there."""
    path = f"/team/python/{root}/demo/"
    (file,) = app.get(path, ("Accept", JSON)).json()["files"]
    address = urljoin(path, file["url"])

    assert address.startswith("/team/python/")
    assert app.get(address).body == DEMO.body


@pytest.mark.parametrize("name", ["demo", "Demo"])
def test_root_alias_leads_to_the_simple_page(app: InProcessServer, name: str) -> None:
    """`/<name>/` would have links that leave the prefix, so it leads to the page under simple."""
    asked = f"/team/python/{name}/?x=1"
    answer = app.get(asked)

    assert answer.status == 301
    target = urljoin(asked, answer.headers["location"])
    assert target == "/team/python/simple/demo/?x=1"
    assert app.get(target).status == 200


@pytest.mark.parametrize(
    ("asked", "leads_to"),
    [
        ("/team/python/simple/Demo/?a=b", "/team/python/simple/demo/?a=b"),
        ("/team/python/simple", "/team/python/simple/"),
        ("/team/python", "/team/python/"),
        ("/team/python/project/Demo/", "/team/python/project/demo/"),
    ],
)
def test_redirects_keep_the_prefix(app: InProcessServer, asked: str, leads_to: str) -> None:
    """A redirect names a path of this host, prefix and query included."""
    assert app.get(asked).headers["location"] == leads_to


@pytest.mark.parametrize(("method", "status"), [("OPTIONS", 204), ("POST", 405)])
def test_the_prefix_itself_has_methods(app: InProcessServer, method: str, status: int) -> None:
    """The prefix without a slash says which methods it takes, as any other path does."""
    answer = app.raw(f"{method} /team/python")
    assert (answer.status, answer.header("allow")) == (status, "GET, HEAD, OPTIONS")


@pytest.mark.parametrize("path", ["/", "/simple/", "/simple/demo/", "/team/", "/team/pythonic/"])
def test_nothing_is_outside_the_prefix(app: InProcessServer, path: str) -> None:
    """Paths that are not below the prefix lead nowhere."""
    assert app.get(path).status == 404


@pytest.mark.parametrize(
    ("path", "status"),
    [("/health", 200), ("/ready", 200), ("/metrics", 200), ("/.well-known/pytp", 404)]
    + [(f"/_/oidc/{step}", 405) for step in ("mint-token", "github/mint-token", "burn-token")],
)
def test_probes_need_no_prefix(tmp_path: Path, path: str, status: int) -> None:
    """Probes, and jobs that publish, need not know the prefix; with a slash they have to."""
    settings = Settings(server=ServerSettings(path_prefix="/team/python"))
    # `/_/oidc/mint-` is as long as the prefix with its slash: what follows it names no index
    tables = toml_of(main=OPEN_MAIN, index=[{"name": "token"}])
    with in_process(tmp_path, settings, tables=tables) as app:
        assert app.get(path).status == app.get(f"/team/python{path}").status == status
        assert app.get(f"{path}/").status == 404


def test_pages_for_people_link_below_the_prefix(app: InProcessServer) -> None:
    """The pages for people name the index with its prefix, and link only below it."""
    home = app.get("/team/python/", ("Accept", "text/html")).text
    page = app.get("/team/python/project/demo/", ("Accept", "text/html")).text
    lost = app.get("/team/python/project/nothing/", ("Accept", "text/html"))

    assert "http://127.0.0.1:8080/team/python/simple/" in home
    assert 'href="/' not in home + page
    assert not re.search(r'href="/(?!team/python/)', lost.text)
    assert lost.status == 404


def test_pypi_json_has_addresses_below_the_prefix(app: InProcessServer) -> None:
    """Addresses in PyPI's JSON hold the prefix, and lead to the file."""
    (file,) = app.get("/team/python/pypi/demo/json").json()["urls"]
    assert file["url"].startswith("/team/python/packages/")
    assert app.get(file["url"]).body == DEMO.body
