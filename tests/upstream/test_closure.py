"""Sixty public packages and a private one, installed by each client with one URL."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from socket import AF_INET, getaddrinfo
from urllib.parse import urlsplit

import pytest
from packaging.utils import canonicalize_name

from tests.clients.harness import Sandbox, new_sandbox, program, site_packages
from tests.http.packages import publish
from tests.http.servers import RunningServer, running_server
from tests.upstream.fake_upstream import FakeUpstream, running_fake_upstream
from tests.upstream.public_closure import names_of, recorded_wheels, roots
from tests.upstream.public_packages import private_wheel, public_wheel
from tests.upstream.settings import upstream_settings

pytestmark = [pytest.mark.clients, pytest.mark.integration]

PROJECT = f"""\
[project]
name = "consumer"
version = "0"
requires-python = "=={sys.version_info.major}.{sys.version_info.minor}.*"
dependencies = ["acme-app"]

"""


@pytest.fixture(scope="module")
def wheels() -> Path:
    """The wheels of the public packages."""
    return recorded_wheels()


@pytest.fixture(scope="module")
def recorded_upstream(wheels: Path) -> Iterator[FakeUpstream]:
    """An upstream with the wheels of the public packages."""
    with running_fake_upstream() as upstream:
        upstream.publish_folder(wheels)
        yield upstream


@pytest.fixture(scope="module")
def index(
    recorded_upstream: FakeUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    """
    An index before that upstream, with a private package that needs all the public ones.

    Afterwards a stranger publishes a package of that name.
    """
    folder = tmp_path_factory.mktemp("closure")
    with running_server(folder, config=upstream_settings(recorded_upstream)) as server:
        needs = (f"Requires-Dist: {each}" for each in roots())
        publish(server, private_wheel("acme-app", "1.0", *needs))
        recorded_upstream.publish(public_wheel("acme-app", "99.0"))
        recorded_upstream.requests.clear()
        yield server


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """An index before the public registry itself, whose URLs pip knows."""
    code = "from pip._internal.models.index import PyPI as p; print(p.simple_url, p.%s)"
    sandbox = new_sandbox(tmp_path_factory.mktemp("pip"))
    printed = sandbox.run(program("pip", "python"), "-c", code % "file_storage_domain")
    url, file_host = printed.split()
    hosts = {file_host, urlsplit(url).hostname}
    # a mirror of this machine's network may stand in for it
    found = (each[4][0] for host in hosts for each in getaddrinfo(host, 443, AF_INET))
    lines = {
        "enabled": True,
        "url": f"{url}/",
        "file_hosts": [file_host],
        "private": ["acme-*"],
        "allow_private_networks": sorted({f"{address}/32" for address in found}),
    }
    config = "[upstream]\n" + "".join(f"{key} = {json.dumps(lines[key])}\n" for key in lines)
    folder = tmp_path_factory.mktemp("registry")
    with running_server(folder, config=config) as server:
        needs = (f"Requires-Dist: {each}" for each in roots())
        publish(server, private_wheel("acme-app", "1.0", *needs))
        yield server


def assert_installed(python: Path, wheels: Path) -> None:
    """See that all packages are there, and that the private one is ours."""
    site = site_packages(python)
    found = {each.name.removesuffix(".dist-info") for each in site.glob("*.dist-info")}
    names = {canonicalize_name(each.rpartition("-")[0]) for each in found}
    assert names_of(wheels) <= names
    assert "private" in (site / "acme_app.py").read_text()


def test_pip_installs_a_closure(index: RunningServer, sandbox: Sandbox, wheels: Path) -> None:
    """`pip` installs the closure."""
    python = sandbox.python()

    sandbox.run(
        *(program("pip"), "--python", python, "install", "--quiet", "--no-compile"),
        *("--no-cache-dir", "--index-url", f"{index.url}/simple/", "acme-app"),
    )

    assert_installed(python, wheels)


def test_uv_installs_a_closure(index: RunningServer, sandbox: Sandbox, wheels: Path) -> None:
    """`uv pip install` installs the closure."""
    python = sandbox.python()

    sandbox.run(
        *(program("uv"), "pip", "install", "--python", python),
        *("--default-index", f"{index.url}/simple/", "acme-app"),
    )

    assert_installed(python, wheels)


@pytest.mark.downloads  # the two slow ones
def test_poetry_installs_a_closure(index: RunningServer, sandbox: Sandbox, wheels: Path) -> None:
    """Poetry locks and installs the closure."""
    (sandbox.folder / "pyproject.toml").write_text(
        f"{PROJECT}[tool.poetry]\npackage-mode = false\n\n"
        f'[[tool.poetry.source]]\nname = "acme"\nurl = "{index.url}/simple/"\n'
    )
    settings = {"POETRY_VIRTUALENVS_IN_PROJECT": "true"}

    sandbox.run(program("poetry"), "sync", "--no-interaction", **settings)

    assert_installed(sandbox.folder / ".venv" / "bin" / "python", wheels)


@pytest.mark.downloads
def test_pdm_installs_a_closure(index: RunningServer, sandbox: Sandbox, wheels: Path) -> None:
    """PDM locks and installs the closure."""
    (sandbox.folder / "pyproject.toml").write_text(
        f'{PROJECT}[[tool.pdm.source]]\nname = "pypi"\nurl = "{index.url}/simple/"\n'
    )
    sandbox.python(".venv")

    sandbox.run(program("pdm"), "install", "--no-self", PDM_CHECK_UPDATE="false")

    assert_installed(sandbox.folder / ".venv" / "bin" / "python", wheels)


@pytest.mark.downloads
@pytest.mark.parametrize(
    "client",
    [
        test_pip_installs_a_closure,
        test_uv_installs_a_closure,
        test_poetry_installs_a_closure,
        test_pdm_installs_a_closure,
    ],
)
def test_each_client_installs_from_the_public_registry(
    registry: RunningServer,
    sandbox: Sandbox,
    wheels: Path,
    client: Callable[[RunningServer, Sandbox, Path], None],
) -> None:
    """Each client installs the closure from the public registry itself."""
    client(registry, sandbox, wheels)


def test_each_file_was_fetched_once(recorded_upstream: FakeUpstream) -> None:
    """Each file came from the upstream once, and the private name never was asked for."""
    asked = [each.path for each in recorded_upstream.requests if each.path.endswith(".whl")]

    assert len(asked) == len(set(asked))
    assert recorded_upstream.asked("acme-app") == []
    assert recorded_upstream.asked_stranger() == []
