"""An index below a path prefix, behind a proxy that passes paths on as they are."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import pytest

from tests.distributions import make_wheel
from tests.http.in_process import in_process
from tests.http.packages import post
from tests.http.servers import RunningServer, running_server
from wheelyard.settings.sections import ServerSettings, Settings

pytestmark = pytest.mark.integration

JSON = "application/vnd.pypi.simple.v1+json"
DEMO = make_wheel("demo")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server below `/team/python`, with the project demo."""
    config = '[server]\npath_prefix = "/team/python"\nroots = ["acme"]\n'
    folder = tmp_path_factory.mktemp("prefix")
    with running_server(folder, config=config, prefix="/team/python") as server:
        assert post(server, DEMO, "/team/python/legacy/").status_code == 200
        yield server


@pytest.mark.parametrize("root", ["simple", "pypi/simple", "pypi", "acme", "+simple", "%2Bsimple"])
def test_links_stay_below_the_prefix(server: RunningServer, root: str) -> None:
    """Relative links of a page lead to files below the prefix, which are there."""
    path = f"/team/python/{root}/demo/"
    (file,) = server.get(path, Accept=JSON).json()["files"]
    address = urljoin(f"{server.url}{path}", file["url"])

    assert address.startswith(f"{server.url}/team/python/")
    assert server.get(address).content == DEMO.body


@pytest.mark.parametrize("name", ["demo", "Demo"])
def test_root_alias_leads_to_the_simple_page(server: RunningServer, name: str) -> None:
    """`/<name>/` would have links that leave the prefix, so it leads to the page under simple."""
    asked = f"/team/python/{name}/?x=1"
    answer = server.get(asked)

    assert answer.status_code == 301
    target = urljoin(f"{server.url}{asked}", answer.headers["Location"])
    assert target == f"{server.url}/team/python/simple/demo/?x=1"
    assert server.get(target).status_code == 200


@pytest.mark.parametrize(
    ("asked", "leads_to"),
    [
        ("/team/python/simple/Demo/?a=b", "/team/python/simple/demo/?a=b"),
        ("/team/python/simple", "/team/python/simple/"),
        ("/team/python", "/team/python/"),
        ("/team/python/project/Demo/", "/team/python/project/demo/"),
    ],
)
def test_redirects_keep_the_prefix(server: RunningServer, asked: str, leads_to: str) -> None:
    """A redirect names a path of this host, prefix and query included."""
    assert server.get(asked).headers["Location"] == leads_to


@pytest.mark.parametrize("path", ["/", "/simple/", "/simple/demo/", "/team/", "/team/pythonic/"])
def test_nothing_is_outside_the_prefix(server: RunningServer, path: str) -> None:
    """Paths that are not below the prefix lead nowhere."""
    assert server.get(path).status_code == 404


@pytest.mark.parametrize(
    ("path", "status"),
    [("/health", 200), ("/ready", 200), ("/metrics", 200), ("/.well-known/pytp", 404)]
    + [(f"/_/oidc/{step}", 405) for step in ("mint-token", "github/mint-token", "burn-token")],
)
def test_probes_need_no_prefix(tmp_path: Path, path: str, status: int) -> None:
    """Probes, and jobs that publish, need not know the prefix; with a slash they have to."""
    settings = Settings(server=ServerSettings(path_prefix="/team/python"))
    with in_process(tmp_path, settings) as app:
        assert app.get(path).status == app.get(f"/team/python{path}").status == status
        assert app.get(f"{path}/").status == 404


def test_pages_for_people_link_below_the_prefix(server: RunningServer) -> None:
    """The pages for people name the index with its prefix, and link only below it."""
    home = server.get("/team/python/", Accept="text/html").text
    page = server.get("/team/python/project/demo/", Accept="text/html").text
    lost = server.get("/team/python/project/nothing/", Accept="text/html")

    assert f"{server.url}/team/python/simple/" in home
    assert 'href="/' not in home + page
    assert not re.search(r'href="/(?!team/python/)', lost.text)
    assert lost.status_code == 404


def test_pypi_json_has_addresses_below_the_prefix(server: RunningServer) -> None:
    """Addresses in PyPI's JSON hold the prefix, and lead to the file."""
    (file,) = server.get("/team/python/pypi/demo/json").json()["urls"]
    assert file["url"].startswith("/team/python/packages/")
    assert server.get(file["url"]).content == DEMO.body
