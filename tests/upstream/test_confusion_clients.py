"""Dependency confusion as the clients see it: what they install, and what they may publish."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.harness import Sandbox, program, wheelyard
from tests.clients.projects import build_project
from tests.http.packages import publish
from tests.http.servers import RunningServer, running_server
from tests.upstream.fake_upstream import FakeUpstream, running_fake_upstream
from tests.upstream.public_packages import private_wheel, public_wheel
from tests.upstream.reading import page_of
from tests.upstream.settings import upstream_settings

pytestmark = [pytest.mark.clients, pytest.mark.integration]


@pytest.fixture(scope="module")
def public() -> Iterator[FakeUpstream]:
    """The public index, in which a stranger has published our names."""
    with running_fake_upstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def index(
    public: FakeUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    """A server before the public index, with two private packages, one without any file left."""
    config = upstream_settings(public)
    with running_server(tmp_path_factory.mktemp("front"), config=config) as server:
        publish(
            server,
            private_wheel("acme-core", "1.0", "Requires-Dist: public-lib"),
            private_wheel("acme-gone", "1.0"),
        )
        server.change("acme-gone", "delete", version="1.0")
        for name in ("acme-core", "acme-gone", "team-new", "public-lib", "yard-taken"):
            public.publish(public_wheel(name, "99.0"))
        public.requests.clear()
        yield server


def who(python: Path, module: str, sandbox: Sandbox) -> str:
    """Return who published the installed package."""
    return sandbox.run(python, "-c", f"import {module}; print({module}.WHO)").strip()


def pip(python: Path, *arguments: str) -> list[str | Path]:
    """Return the command line of `pip install`."""
    options = ("install", "--quiet", "--no-cache-dir", "--no-compile")
    return [program("pip"), "--python", python, *options, *arguments]


def uv(python: Path, *arguments: str) -> list[str | Path]:
    """Return the command line of `uv pip install`."""
    return [program("uv"), "pip", "install", "--quiet", "--python", python, *arguments]


def test_one_index(index: RunningServer, public: FakeUpstream, sandbox: Sandbox) -> None:
    """With one URL, pip and uv install the private package, and public ones that it needs."""
    url = f"{index.url}/simple/"
    first, second = sandbox.python("pip"), sandbox.python("uv")

    sandbox.run(*pip(first, "--index-url", url, "acme-core"))
    sandbox.run(*uv(second, "--default-index", url, "acme-core"))

    for python in (first, second):
        assert who(python, "acme_core", sandbox) == "private"
        assert who(python, "public_lib", sandbox) == "upstream"
    assert public.asked("acme-core") == []


PROJECT = """\
[project]
name = "consumer"
version = "0"
requires-python = ">=3.11"
dependencies = ["acme-core"]
"""
MANAGERS = {
    "uv": ("pyproject.toml", PROJECT, ("sync", "--upgrade")),
    "poetry": (
        "pyproject.toml",
        f"{PROJECT}\n[tool.poetry]\npackage-mode = false\n",
        ("update", "--no-interaction"),
    ),
    "pdm": ("pyproject.toml", PROJECT, ("update", "--no-self")),
    "pipenv": ("Pipfile", '[packages]\nacme-core = "*"\n', ("update",)),
}
"""The file of a project of each client, and the command that installs with and without a lock."""


@pytest.mark.parametrize(
    "client",
    ["uv", *(pytest.param(c, marks=pytest.mark.weekly) for c in ("poetry", "pdm", "pipenv"))],
)
def test_one_index_in_a_project(
    index: RunningServer, public: FakeUpstream, sandbox: Sandbox, client: str
) -> None:
    """The settings that a server with an upstream index hands out name it alone, and suffice."""
    filename, project, command = MANAGERS[client]
    settings = wheelyard(sandbox, "print-settings", client, "--server", index.url)
    (sandbox.folder / filename).write_text(project + settings)
    environment = {
        "PDM_CHECK_UPDATE": "false",
        "PIPENV_IGNORE_VIRTUALENVS": "1",
        "PIPENV_NOSPIN": "1",
        "PIPENV_VENV_IN_PROJECT": "1",
        "POETRY_VIRTUALENVS_IN_PROJECT": "true",
    }
    sandbox.python(".venv")

    for _ in range(2):
        sandbox.run(program(client), *command, **environment)
        python = sandbox.folder / ".venv" / "bin" / "python"
        assert who(python, "acme_core", sandbox) == "private"
        assert who(python, "public_lib", sandbox) == "upstream"
    assert public.asked("acme-core") == []


@pytest.mark.parametrize("page", ["/project/acme-core/", "/project/public-lib/"])
def test_commands_of_pages(index: RunningServer, page: str) -> None:
    """The pages hand out commands that ask this index alone, for public packages, too."""
    name, text = page.split("/")[2], index.get(page, Accept="text/html").text
    commands = re.findall(r'<code data-copy="command for [^"]+">(.*?)</code>', text)

    url = f"{index.url}/simple/"
    assert [re.sub("<[^>]*>", "", each) for each in commands] == [
        f"uv add --default-index wheelyard={url} {name}",
        f"uv pip install --default-index {url} {name}",
        f"pip install --index-url {url} {name}",
        *(f"{client} {name}" for client in ("poetry add", "pdm add", "pipenv install")),
    ]


def test_no_such_version(index: RunningServer, public: FakeUpstream, sandbox: Sandbox) -> None:
    """A version that only the public index has of a private name cannot be installed."""
    url, python = f"{index.url}/simple/", sandbox.python()

    for command in (
        pip(python, "--index-url", url, "acme-core>=2"),
        uv(python, "--default-index", url, "acme-core>=2"),
    ):
        assert sandbox.attempt(*command).returncode == 1
    assert public.asked("acme-core") == []


@pytest.mark.parametrize("name", ["acme-gone", "team-new"])
def test_uv_with_a_second_index(
    index: RunningServer, public: FakeUpstream, sandbox: Sandbox, name: str
) -> None:
    """Uv stops at a private name without files, and asks no second index for it."""
    indexes = ("--index", f"{index.url}/simple/", "--default-index", public.url)
    before = len(public.asked(name))

    refused = sandbox.attempt(*uv(sandbox.python(), *indexes, name))

    assert refused.returncode == 1
    assert len(public.asked(name)) == before


@pytest.mark.weekly
def test_pip_with_a_second_index(
    index: RunningServer, public: FakeUpstream, sandbox: Sandbox
) -> None:
    """No index can protect a pip that has a second one: the documentation says never to add it."""
    indexes = ("--index-url", f"{index.url}/simple/", "--extra-index-url", public.url)
    python = sandbox.python()

    sandbox.run(*pip(python, *indexes, "acme-core"))

    assert who(python, "acme_core", sandbox) == "upstream"


@pytest.mark.parametrize("client", ["twine", "uv", "poetry"])
def test_publishing_a_public_name(
    index: RunningServer, public: FakeUpstream, sandbox: Sandbox, client: str
) -> None:
    """A client that publishes a public name fails, also if it skips what exists."""
    built = build_project("poetry-core", "yard-taken")
    commands: dict[str, tuple[str | Path, ...]] = {
        "twine": (
            *(program("twine"), "upload", "--repository-url", f"{index.url}/legacy/"),
            *("-u", "__token__", "-p", index.token, built.wheel),
        ),
        "uv": (
            *(program("uv"), "publish", "--publish-url", f"{index.url}/legacy/"),
            *("--check-url", f"{index.url}/simple/", "--token", index.token, built.wheel),
        ),
        "poetry": (
            *(program("poetry"), "publish", "--no-interaction", "--skip-existing"),
            *("--repository", "acme"),
        ),
    }
    before = index.kept()

    refused = sandbox.at(built.folder).attempt(
        *commands[client],
        POETRY_REPOSITORIES_ACME_URL=f"{index.url}/legacy/",
        POETRY_HTTP_BASIC_ACME_USERNAME="__token__",
        POETRY_HTTP_BASIC_ACME_PASSWORD=index.token,
    )

    assert refused.returncode != 0, refused.stdout + refused.stderr
    assert index.kept() == before
    assert "yard_taken-99.0-py3-none-any.whl" in page_of(index, "yard-taken").files
    assert public.asked_stranger() == []
