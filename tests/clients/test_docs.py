"""
The examples of the README and of `docs/`, run as they stand.

Each page gets a server of its own, with `acme-core` 1.0 published, and a folder that holds the
project's `dist/`. A block of ```console is run line by line; the documented address stands for the
server's, `$TOKEN` for its token, and the page about buckets has emulators of S3 and Azure.
"""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.clients.harness import REPOSITORY, Sandbox, pip_of, program, system_program
from tests.clients.projects import Builder
from tests.clients.reading import publish
from tests.clients.servers import Server, running_server
from tests.forking import forking_program
from tests.index_tables import split
from tests.services.fixtures import Emulators
from tests.services.service import Service
from tests.upstream.fake_upstream import running_fake_upstream
from tests.upstream.public_packages import public_wheel
from tests.upstream.settings import upstream_settings

DOCS = REPOSITORY / "docs"
PAGES = [REPOSITORY / "README.md", *sorted(DOCS.glob("*.md")), *sorted(DOCS.glob("deploy/*.md"))]
DOCUMENTED = "127.0.0.1:8080"
BUCKETS = {"s3://acme-packages": "s3", "az://packages": "azure"}
"""Buckets of the page about them, and what stands for the service of each."""
CLIENTS = ("twine", "uv", "poetry", "pdm", "hatch")

pytestmark = pytest.mark.clients


@pytest.fixture
def settings(page: Path) -> Iterator[str]:
    """What `wheelyard.toml` says: the pages about upstream indexes need one."""
    if not page.stem.startswith("upstream"):
        yield ""
        return
    with running_fake_upstream() as upstream:
        for version in ("2.33.0", "2.34.2"):
            upstream.publish(public_wheel("requests", version))
        yield upstream_settings(upstream)


@pytest.fixture
def fresh_server(tmp_path: Path, settings: str) -> Iterator[Server]:
    """A server for one page, as the examples of several pages change the same projects."""
    config = tmp_path / "wheelyard.toml"
    config.write_text(settings)
    with running_server(tmp_path / "server", "--config", str(config)) as server:
        yield server


@pytest.fixture
def buckets(page: Path, emulators: Emulators) -> Iterator[dict[str, Service]]:
    """The services that the page speaks of, by the URL that it has for a bucket there."""
    with ExitStack() as running:
        yield {
            url: running.enter_context(emulators.serving(name, url.partition("://")[2]))
            for url, name in BUCKETS.items()
            if page.stem == "bucket"
        }


@pytest.fixture
def environment(fresh_server: Server, settings: str, sandbox: Sandbox) -> dict[str, str]:
    """The variables that a reader of a page has set."""
    python, pip = sandbox.python(), sandbox.folder / "bin" / "pip"
    pip.parent.mkdir()
    command = " ".join(map(str, pip_of(python)))
    pip.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    pip.chmod(0o755)
    programs = (pip, forking_program(), *map(program, CLIENTS))
    folders = (str(each.parent) for each in programs)
    return {
        "PATH": os.pathsep.join((*folders, sandbox.environment()["PATH"])),
        "PYTHONPATH": str(REPOSITORY / "src"),
        "TOKEN": fresh_server.token,
        "VIRTUAL_ENV": str(python.parent.parent),
        "WHEELYARD_STORE": str(fresh_server.store),
        "WHEELYARD_TOML": settings,
    }


def commands(page: Path) -> list[str]:
    """Return the lines of a page that a reader is meant to type."""
    blocks = re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


def index_file(page: Path) -> str:
    """Return the first example of a page that describes the index."""
    examples = re.findall(r"```toml\n(.*?)```", page.read_text(), re.DOTALL)
    return next(filter(None, (split(example)[1] for example in examples)), "")


@pytest.mark.parametrize(
    "page", [page for page in PAGES if commands(page)], ids=lambda page: page.stem
)
def test_every_example_does_what_its_page_says(
    page: Path,
    fresh_server: Server,
    buckets: dict[str, Service],
    build: Builder,
    sandbox: Sandbox,
    environment: dict[str, str],
) -> None:
    """Every example of a page works as it stands."""
    system_program("curl")
    server, built = fresh_server, build("setuptools", "acme-core")
    publish(server, built)
    project = sandbox.at(sandbox.folder / "acme-core")
    shutil.copytree(built.folder, project.folder)
    (project.folder / "requirements.in").write_text("acme-core\n")
    (project.folder / "index.toml").write_text(index_file(page))
    stand_ins = {DOCUMENTED: server.address, "./wheelyard-data": str(server.store)}
    for url, service in buckets.items():
        environment |= service.environment()
        stand_ins[url] = service.location(url.partition("://")[2])
    for line in commands(page):
        typed = re.sub("|".join(map(re.escape, stand_ins)), lambda m: stand_ins[m[0]], line)
        project.run("/bin/sh", "-c", typed, **environment)
