"""
Installing with old versions of clients that are still in use.

pip is here in every version since 20.3 that reads the index in another way than the one before it.
uv 0.0.5 is the first one that was published. Poetry 1.1.0 is the oldest one that can be installed
from wheels: 0.12 and 1.0 need pyrsistent 0.14, which only exists as an sdist, and so would have to
be built with a setuptools that no lock names; 0.11 and older do not start a resolution on Python
3.10 or newer, where `collections` has no `Mapping`.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.clients.harness import Sandbox, new_sandbox, program, site_packages, wheelyard
from tests.clients.projects import Builder, Built
from tests.clients.reading import post, publish
from tests.clients.servers import running_server

pytestmark = pytest.mark.clients

OLDEST = "pip-20.3.4"
ENDED_WITH_PYTHON_311 = ("21.3.1", "22.2.2", "22.3.1", "23.0.1")
"""Later ones that need `distutils` or `pkgutil.ImpImporter` as well: Python 3.12 has neither."""
LATER = ("23.1.2", "23.2.1", "24.0")
NEWEST = "pip"

PYPROJECT = """\
[tool.poetry]
name = "consumer"
version = "0"
description = ""
authors = []

[tool.poetry.dependencies]
python = "^3.11"
acme-tool = "<1.6"   # which was yanked: Poetry knows of that since 1.2

[[tool.poetry.source]]
name = "yard"
url = "{url}"
default = true
"""

needs_python_311 = pytest.mark.skipif(
    sys.version_info >= (3, 12), reason="this client needs Python 3.11 or older"
)


@dataclass(frozen=True)
class Releases:
    """The installable releases, and the index URL."""

    index_url: str
    tool: Built  # with a yanked newer version
    base: Built  # what `tool` depends on
    source: Built  # without a wheel


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory, build: Builder) -> Iterator[Releases]:
    """An index that anyone may read, with something of each kind."""
    folder = tmp_path_factory.mktemp("published")
    base, source = build("flit-core", "yard-base", "2.0"), build("flit-core", "yard-source")
    tool = build("hatchling", "acme-tool", "1.5", "yard-base>=2")
    yanked = build("hatchling", "acme-tool", "1.6", "yard-base>=2")
    with running_server(folder / "server") as server:
        publish(server, base, tool, yanked)
        post(server, source.sdist)
        sandbox = new_sandbox(folder / "sandbox")
        wheelyard(sandbox, "yank", yanked.name, yanked.version, "--store", server.store)
        yield Releases(server.index_url, tool, base, source)


@pytest.mark.parametrize(
    "client",
    [
        pytest.param(OLDEST, marks=needs_python_311),
        *(
            pytest.param(f"pip-{each}", marks=(needs_python_311, pytest.mark.weekly))
            for each in ENDED_WITH_PYTHON_311
        ),
        *(pytest.param(f"pip-{each}", marks=pytest.mark.weekly) for each in LATER),
        pytest.param(NEWEST, marks=pytest.mark.weekly),
    ],
)
def test_old_pip_installs(client: str, releases: Releases, sandbox: Sandbox) -> None:
    """Old and new pip install a wheel with what it depends on, an sdist, and nothing yanked."""
    python = sandbox.python()
    pip, backend = (program(each, "python") for each in (client, "build"))

    sandbox.run(
        *(python, "-m", "pip", "install", "--no-cache-dir", "--no-build-isolation"),
        *("--index-url", releases.index_url, releases.tool.name, releases.source.name),
        PYTHONPATH=":".join(str(site_packages(each)) for each in (pip, backend)),
    )

    for project in (releases.tool, releases.base, releases.source):
        project.assert_installed(python)


@pytest.mark.weekly
def test_the_oldest_uv_installs(releases: Releases, sandbox: Sandbox) -> None:
    """The oldest uv installs a wheel and what it depends on, and nothing yanked."""
    python = sandbox.python()

    sandbox.run(
        *(program("uv-0.0.5", "uv"), "pip", "install"),
        *("--index-url", releases.index_url, releases.tool.name),
        VIRTUAL_ENV=str(python.parent.parent),
    )

    for project in (releases.tool, releases.base):
        project.assert_installed(python)


@pytest.mark.weekly
@needs_python_311
def test_the_oldest_poetry_locks_and_installs(releases: Releases, sandbox: Sandbox) -> None:
    """The oldest Poetry locks a wheel and what it depends on, and installs them."""
    (sandbox.folder / "pyproject.toml").write_text(PYPROJECT.format(url=releases.index_url))

    for command in (("lock",), ("install", "--no-root")):
        sandbox.run(
            *(program("poetry-1.1.0", "poetry"), *command, "--no-interaction"),
            POETRY_VIRTUALENVS_IN_PROJECT="true",
        )

    for project in (releases.tool, releases.base):
        project.assert_installed(sandbox.folder / ".venv" / "bin" / "python")
