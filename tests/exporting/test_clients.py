"""Installing from a static site with common clients."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.clients.conftest import base as _base
from tests.clients.conftest import build as _build
from tests.clients.conftest import public as _public
from tests.clients.conftest import tool as _tool
from tests.clients.harness import REPOSITORY, Sandbox, new_sandbox, wheelyard
from tests.clients.installing import CLIENTS as INSTALL
from tests.clients.projects import Builder, Built
from tests.clients.public_index import PublicIndex
from tests.clients.servers import Server
from tests.fake_gcs.server import FakeGcs, running_fake_gcs
from tests.nginx import running_nginx
from tests.ports import free_port
from tests.services.fixtures import Emulators
from tests.services.service import ProxiedService

pytestmark = pytest.mark.clients

build, public, tool, base = _build, _public, _tool, _base

PLACE = "a/b/c"
"""The prefix of the site in its bucket."""
SIMPLE_JSON = "application/vnd.pypi.simple.v1+json"
CLIENTS = {client: install for client, install in INSTALL.items() if client != "pipenv"}


@pytest.fixture(scope="module")
def dist(build: Builder, tool: Built, base: Built) -> list[Path]:
    """Return what is published: both, and an older version."""
    older = build("hatchling", "acme-tool", "1.4", "yard-base>=2")
    return [path for built in (base, older, tool) for path in (built.wheel, built.sdist)]


@pytest.fixture(scope="module")
def site_folder(dist: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a site."""
    folder = tmp_path_factory.mktemp("www")
    sandbox = new_sandbox(folder)
    wheelyard(sandbox, "upload", *dist)
    where = (folder / "site", "--base-url", "https://x.example/y")
    wheelyard(sandbox, "export", *where, "--gzip")
    return folder / "site"


@contextmanager
def nginx(heading: str, folder: Path, **replaced: str) -> Iterator[Server]:
    """Run nginx as the guide has it below a heading, with some of its words replaced."""
    port = free_port()
    guide = (REPOSITORY / "docs" / "static-site.md").read_text().partition(f"# {heading}\n")[2]
    (recipe, *_) = re.findall(r"```nginx\n(.*?)```", guide, re.DOTALL)
    for shown, here in {"80;": f"127.0.0.1:{port};", **replaced}.items():
        assert shown in recipe
        recipe = recipe.replace(shown, here)
    with running_nginx(folder, recipe, port):
        yield Server(f"127.0.0.1:{port}", "", folder / "store", private=False)


@pytest.fixture
def web(site_folder: Path, tmp_path: Path) -> Iterator[Server]:
    """Yield nginx before a folder."""
    with nginx("Serving with nginx", tmp_path, **{"/srv/packages": str(site_folder)}) as server:
        yield server


@pytest.mark.parametrize("client", CLIENTS)
def test_clients_install_from_nginx(
    web: Server, public: PublicIndex, sandbox: Sandbox, tool: Built, base: Built, client: str
) -> None:
    """Every client installs from nginx, reading metadata first."""
    CLIENTS[client](web, public, sandbox, tool, base)

    assert re.search("GET /simple/acme-tool/", web.log)
    assert re.search(r"GET /files/acme-tool/\S*whl\.metadata\S* HTTP\S+ 200", web.log)


def test_nginx_sends_types_and_lifetimes(web: Server) -> None:
    """With the guide's recipe nginx says of each thing what it is, how long it may be kept."""

    def type_lifetime_and_size(path: str, **headers: str) -> tuple[str, str, int]:
        answer = httpx2.get(f"{web.url}{path}", headers=headers)
        sent = answer.headers
        return sent["Content-Type"], sent.get("Cache-Control", ""), len(answer.content)

    assert type_lifetime_and_size("/simple/acme-tool/", Accept="text/html")[:2] == (
        "text/html",
        "no-cache",
    )
    assert type_lifetime_and_size("/simple/acme-tool/", Accept=SIMPLE_JSON)[:2] == (
        SIMPLE_JSON,
        "no-cache",
    )
    assert type_lifetime_and_size("/pypi/acme-tool/json")[:2] == ("application/json", "no-cache")
    assert type_lifetime_and_size("/search.json")[0] == "application/json"
    assert type_lifetime_and_size("/project/acme-tool/")[0] == "text/html"
    page = httpx2.get(f"{web.url}/simple/acme-tool/", headers={"Accept": SIMPLE_JSON})
    assert page.headers["Content-Encoding"] == "gzip"
    for file in json.loads(page.content)["files"]:
        kind, caching, size = type_lifetime_and_size(
            file["url"].removeprefix("../..").replace("!", "%21")
        )
        assert (kind, size) == ("application/octet-stream", file["size"])
        assert "immutable" in caching
    assert httpx2.get(f"{web.url}/wheelyard-export/manifest.json").status_code == 404


@pytest.fixture(scope="module")
def bucket(dist: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeGcs]:
    """Yield buckets, one of which has a site in it that anyone may read."""
    with running_fake_gcs("wheels", "site") as server:
        sandbox = new_sandbox(tmp_path_factory.mktemp("cloud"))
        where = ("--store", "gs://wheels/store", "--export", f"gs://site/{PLACE}")
        wheelyard(sandbox, "upload", *where, *dist, **server.environment())
        server.bucket("site").public = True
        server.permissions.token_required = True
        yield server


@pytest.mark.parametrize("client", ["pip", "uv"])
def test_clients_install_from_a_public_bucket(
    bucket: FakeGcs, public: PublicIndex, sandbox: Sandbox, tool: Built, base: Built, client: str
) -> None:
    """Clients install from a public bucket by the plain URLs of its objects."""
    bucket.log.clear()
    index = Server(f"{bucket.address}/site/{PLACE}", "", Path(), private=False)

    CLIENTS[client](index, public, sandbox, tool, base)

    asked = {record.name for record in bucket.log.records("public") if record.status == 200}
    assert f"{PLACE}/simple/acme-tool/" in asked
    assert any(name.endswith(".whl.metadata") for name in asked)
    assert {record.kind for record in bucket.log.records()} == {"public"}


def test_a_bucket_sends_types_and_lifetimes(bucket: FakeGcs) -> None:
    """The bucket says of each object what it is, and how long it may be kept."""
    site, lasting = bucket.bucket("site"), "public, max-age=31536000, immutable"
    kinds = {
        name.removeprefix(f"{PLACE}/"): (fields["contentType"], fields["cacheControl"])
        for name in site.names()
        for fields in [site.find(name).fields]
    }
    assert kinds["simple/acme-tool/"] == ("text/html; charset=utf-8", "no-cache")
    assert kinds["simple/acme-tool/index.json"] == (SIMPLE_JSON, "no-cache")
    assert kinds["pypi/acme-tool/json"] == ("application/json", "no-cache")
    files = [path for path in kinds if path.startswith("files/")]
    metadata = [path for path in files if path.endswith(".metadata")]
    assert (len(files), len(metadata)) == (9, 3)
    assert {kinds.pop(path) for path in metadata} == {("text/plain; charset=utf-8", lasting)}
    assert {kinds[path] for path in files if path in kinds} == {
        ("application/octet-stream", lasting)
    }


POLICY = """{{"Version": "2012-10-17", "Statement": [{{"Effect": "Allow", "Principal": "*",
    "Action": "s3:GetObject", "Resource": "arn:aws:s3:::{}/*"}}]}}"""
"""Lets anyone read the objects of a bucket."""


@pytest.fixture(scope="module")
def site_in_s3(
    emulators: Emulators, dist: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Yield nginx before a bucket of S3 with a site in it that anyone may read."""
    folder = tmp_path_factory.mktemp("s3")
    with emulators.serving("s3", "wheels", "site") as service:
        assert isinstance(service, ProxiedService)
        sandbox, site = new_sandbox(folder / "cloud"), service.location("site")
        where = ("--store", service.location("wheels"), "--export", site)
        wheelyard(sandbox, "upload", *where, *dist, **service.environment())
        name, address = site.removeprefix("s3://"), service.url.removeprefix("http://")
        policy = POLICY.format(name).encode()
        headers = service.bucket("site").headers(policy)
        answer = httpx2.put(f"{service.url}/{name}?policy", content=policy, headers=headers)
        assert answer.is_success, answer.text
        words = {"minio.example.com:9000": address, "/acme-site": f"/{name}"}
        with nginx("S3", folder, **words) as server:
            yield server


@pytest.mark.parametrize("client", ["pip", "uv"])
def test_clients_install_from_s3(
    site_in_s3: Server,
    public: PublicIndex,
    sandbox: Sandbox,
    tool: Built,
    base: Built,
    client: str,
) -> None:
    """Clients install from a bucket of S3 where nginx answers folders with their pages."""
    CLIENTS[client](site_in_s3, public, sandbox, tool, base)

    assert re.search(r"GET /simple/acme-tool/ HTTP\S+ 200", site_in_s3.log)
    assert re.search(r"GET /files/acme-tool/\S*whl\.metadata\S* HTTP\S+ 200", site_in_s3.log)
