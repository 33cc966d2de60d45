"""Installing from a static site with common clients."""

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.clients import test_install as known
from tests.clients.conftest import build as _build
from tests.clients.harness import REPOSITORY, Sandbox, new_sandbox, wheelyard
from tests.clients.projects import Builder, Built
from tests.clients.public_index import PublicIndex
from tests.clients.servers import Server
from tests.exporting.serving import WebServer, nginx_web
from tests.fake_gcs.server import FakeGcs, running_fake_gcs

pytestmark = pytest.mark.clients

build, public = _build, known.public

PLACE = "a/b/c"
"""The prefix of the site in its bucket."""
SIMPLE_JSON = "application/vnd.pypi.simple.v1+json"

Install = Callable[[Server, PublicIndex, Sandbox, Built, Built], None]

CLIENTS: dict[str, Install] = {
    "pip": lambda index, _, *rest: known.test_pip_install(index, *rest),
    "uv": known.test_uv_pip_install,
    "uv-lock": known.test_uv_lock,
    "poetry": known.test_poetry,
    "pdm": known.test_pdm,
}
"""The install tests of a live index."""


@pytest.fixture
def tool(build: Builder) -> Built:
    """Return a project whose version has a `+`, and which wants another one."""
    return build("hatchling", "acme-tool", "1.5+cpu.1", "yard-base>=2")


@pytest.fixture
def base(build: Builder) -> Built:
    """Return the project that it wants, whose version has a `!`."""
    return build("flit-core", "yard-base", "1!2.0")


@pytest.fixture(scope="module")
def dist(build: Builder) -> list[Path]:
    """Return what is published: two projects, one of which has an older version."""
    made = (
        build("flit-core", "yard-base", "1!2.0"),
        build("hatchling", "acme-tool", "1.4", "yard-base>=2"),
        build("hatchling", "acme-tool", "1.5+cpu.1", "yard-base>=2"),
    )
    return [path for each in made for path in (each.wheel, each.sdist)]


@pytest.fixture(scope="module")
def exported(dist: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a site."""
    folder = tmp_path_factory.mktemp("www")
    sandbox = new_sandbox(folder)
    site = folder / "site"
    wheelyard(sandbox, "upload", *dist)
    wheelyard(sandbox, "export", site, "--base-url", "https://x.example/y", "--gzip")
    return site


@pytest.fixture
def web(exported: Path, tmp_path: Path) -> Iterator[WebServer]:
    """Yield nginx as the guide has it."""
    with nginx_web(exported, tmp_path) as web:
        yield web


def index_at(address: str) -> Server:
    """Return what tells a client where the index is."""
    return Server(address, "", Path(), private=False)


@pytest.mark.parametrize("client", CLIENTS)
def test_from_a_folder(
    web: WebServer, public: PublicIndex, sandbox: Sandbox, tool: Built, base: Built, client: str
) -> None:
    """Every client installs from nginx, reading metadata first."""
    CLIENTS[client](index_at(web.address), public, sandbox, tool, base)

    assert web.asked("GET /simple/acme-tool/") >= 1
    assert web.asked(r"GET /files/acme-tool/\S*whl\.metadata\S* HTTP\S+ 200") >= 1


def test_what_nginx_says(web: WebServer) -> None:
    """With the guide's recipe nginx says of each thing what it is, how long it may be kept."""

    def ask(path: str, **headers: str) -> tuple[str, str, str, bytes]:
        asked = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(f"http://{web.address}{path}", headers=asked)
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - our own server
            got = answer.headers
            kind, coding = got["Content-Type"], got["Content-Encoding"] or ""
            return kind, coding, got["Cache-Control"], answer.read()

    html = ask("/simple/acme-tool/", Accept="text/html")
    assert html[:3] == ("text/html", "", "no-cache")
    found = ask("/simple/acme-tool/", Accept=SIMPLE_JSON)
    assert found[:3] == (SIMPLE_JSON, "", "no-cache")
    assert ask("/simple/acme-tool/", Accept_Encoding="gzip")[1] == "gzip"
    assert ask("/pypi/acme-tool/json")[:3] == ("application/json", "", "no-cache")
    assert ask("/search.json")[0] == "application/json"
    assert ask("/project/acme-tool/")[0] == "text/html"
    for file in json.loads(found[3])["files"]:
        path = file["url"].removeprefix("../..").replace("!", "%21")
        kind, _, caching, body = ask(path)
        assert (kind, len(body)) == ("application/octet-stream", file["size"])
        assert "immutable" in caching
    with pytest.raises(urllib.error.HTTPError) as hidden:
        ask("/wheelyard-export/manifest.json")
    with hidden.value:
        assert hidden.value.code == 404


@pytest.fixture(scope="module")
def cloud(dist: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeGcs]:
    """Yield buckets, one of which has a site in it that anyone may read."""
    with running_fake_gcs("wheels", "site") as server:
        folder = tmp_path_factory.mktemp("cloud")
        sandbox = Sandbox(folder, folder)
        done = sandbox.attempt(
            *(sys.executable, "-m", "wheelyard", "upload"),
            *("--store", "gs://wheels/store", "--export", f"gs://site/{PLACE}"),
            *dist,
            PYTHONPATH=str(REPOSITORY / "src"),
            **server.environment(),
        )
        assert done.returncode == 0, done.stderr
        server.bucket("site").public = True
        server.permissions.token_required = True
        yield server


@pytest.mark.parametrize("client", ["pip", "uv"])
def test_from_a_bucket(
    cloud: FakeGcs, public: PublicIndex, sandbox: Sandbox, tool: Built, base: Built, client: str
) -> None:
    """Clients install from a public bucket by the plain URLs of its objects."""
    cloud.log.clear()

    CLIENTS[client](index_at(f"{cloud.address}/site/{PLACE}"), public, sandbox, tool, base)

    asked = {each.name for each in cloud.log.records("public") if each.status == 200}
    assert f"{PLACE}/simple/acme-tool/" in asked
    assert any(name.endswith(".whl.metadata") for name in asked)
    assert {each.kind for each in cloud.log.records()} == {"public"}


def test_what_a_bucket_says(cloud: FakeGcs) -> None:
    """The bucket says of each object what it is, and how long it may be kept."""
    bucket = cloud.bucket("site")
    served = {}
    for name in bucket.names():
        found = bucket.get(name)
        assert found is not None
        kinds = (found.fields["contentType"], found.fields["cacheControl"])
        served[name.removeprefix(f"{PLACE}/")] = kinds

    assert served["simple/acme-tool/"] == ("text/html; charset=utf-8", "no-cache")
    assert served["simple/acme-tool/index.json"] == (SIMPLE_JSON, "no-cache")
    assert served["pypi/acme-tool/json"] == ("application/json", "no-cache")
    files = {name: kinds for name, kinds in served.items() if name.startswith("files/")}
    assert len(files) == 9
    for name, (kind, caching) in files.items():
        is_core = name.endswith(".metadata")
        assert kind == ("text/plain; charset=utf-8" if is_core else "application/octet-stream")
        assert caching == "public, max-age=31536000, immutable"
