"""How each client installs `acme-tool`, and the `yard-base` that it needs, from an index."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.clients.harness import Sandbox, pip_of, program
from tests.clients.projects import Built, sha256
from tests.clients.public_index import PublicIndex
from tests.clients.servers import Server
from wheelyard.rendering.client_settings import ClientSettings, client_text

Install = Callable[[Server, PublicIndex, Sandbox, Built, Built], None]

PROJECT = """\
[project]
name = "consumer"
version = "0"
requires-python = ">=3.11"
dependencies = ["acme-tool"]

"""
"""A project that wants one of ours; what follows tells a client where to find it."""
DIGEST = re.compile(r'(?<!content_hash = ")sha256:([0-9a-f]{64})')
"""The digest of a file in any lock file."""


@dataclass(frozen=True)
class LockingClient:
    """A client that locks what a project needs, and installs that; PUBLIC is the public index."""

    before: str
    """The file of the project, before our printed settings."""
    lock: str
    commands: tuple[str, str]
    token: str = ""
    """How our settings name the token, if they have it."""
    environment: dict[str, str] = field(default_factory=dict)
    """TOKEN is the token."""
    file: str = "pyproject.toml"


LOCKING = {
    "uv": LockingClient(
        PROJECT,
        "uv.lock",
        ("lock", "sync --locked --no-install-project"),
        environment={
            "UV_DEFAULT_INDEX": "PUBLIC",
            "UV_INDEX_WHEELYARD_USERNAME": "__token__",
            "UV_INDEX_WHEELYARD_PASSWORD": "TOKEN",
        },
    ),
    "poetry": LockingClient(
        f"{PROJECT}[tool.poetry]\npackage-mode = false\n\n"
        '[[tool.poetry.source]]\nname = "public"\nurl = "PUBLIC"\n',
        "poetry.lock",
        ("lock --no-interaction", "sync --no-interaction"),
        environment={
            "POETRY_VIRTUALENVS_IN_PROJECT": "true",
            # a second thread may ask without the credentials that the first one is still reading
            "POETRY_INSTALLER_MAX_WORKERS": "1",
            "POETRY_HTTP_BASIC_WHEELYARD_USERNAME": "__token__",
            "POETRY_HTTP_BASIC_WHEELYARD_PASSWORD": "TOKEN",
        },
    ),
    "pdm": LockingClient(
        f'{PROJECT}[[tool.pdm.source]]\nname = "pypi"\nurl = "PUBLIC"\n',
        "pdm.lock",
        ("lock", "sync --no-self"),
        token="${WHEELYARD_TOKEN}",
        environment={"PDM_CHECK_UPDATE": "false", "WHEELYARD_TOKEN": "TOKEN"},
    ),
    "pipenv": LockingClient(
        '[[source]]\nname = "pypi"\nurl = "PUBLIC"\nverify_ssl = true\n\n',
        "Pipfile.lock",
        ("lock", "sync"),
        token="${WHEELYARD_TOKEN}",
        environment={
            "PIPENV_IGNORE_VIRTUALENVS": "1",
            "PIPENV_NOSPIN": "1",
            "PIPENV_VENV_IN_PROJECT": "1",
            "WHEELYARD_TOKEN": "TOKEN",
        },
        file="Pipfile",
    ),
}


def lock_and_install(
    client: str, index: Server, public: PublicIndex, sandbox: Sandbox, tool: Built, base: Built
) -> None:
    """Lock, which records each digest, and install: ours from here, and what else is public."""
    locking, stands_for = LOCKING[client], {"PUBLIC": public.url, "TOKEN": index.token}
    python = sandbox.python(".venv")
    settings = ClientSettings(root=index.url, projects=("acme-tool",), token=locking.token)
    before = locking.before.replace("PUBLIC", public.url)
    (sandbox.folder / locking.file).write_text(before + client_text(client, settings))
    environment = {name: stands_for.get(text, text) for name, text in locking.environment.items()}

    for command in locking.commands:
        sandbox.run(program(client), *command.split(), **environment)

    lock = (sandbox.folder / locking.lock).read_text()
    digests = {sha256(file) for file in (tool.wheel, tool.sdist, base.wheel)}
    assert set(DIGEST.findall(lock)) - {sha256(base.sdist)} == digests
    assert_installed(python, tool, base)
    if client == "uv":
        assert f"size = {tool.wheel.stat().st_size}" in lock
    else:
        assert public.was_asked_for("yard-base")
    assert not public.was_asked_for("acme-tool")


def install_by_pip(
    index: Server, _: PublicIndex, sandbox: Sandbox, tool: Built, base: Built
) -> None:
    """`pip install` takes the newest version and what it depends on, by the printed `pip.conf`."""
    python, settings = sandbox.python(), sandbox.home / "pip.conf"
    settings.write_text(client_text("pip", ClientSettings(root=index.url, token=index.token)))
    sandbox.run(*pip_command(python), "acme-tool", PIP_CONFIG_FILE=str(settings))
    assert_installed(python, tool, base)


def install_by_uv(
    index: Server, public: PublicIndex, sandbox: Sandbox, tool: Built, base: Built
) -> None:
    """`uv pip install --index` takes what we have from us, and never looks it up in public."""
    python = sandbox.python()
    indexes = ("--index", index.index_url, "--default-index", public.url)
    sandbox.run(program("uv"), "pip", "install", "--python", python, *indexes, "acme-tool")
    assert_installed(python, tool, base)
    assert not public.was_asked_for("acme-tool")


CLIENTS: dict[str, Install] = {
    "pip": install_by_pip,
    "uv": install_by_uv,
    "uv-lock": partial(lock_and_install, "uv"),
    **{client: partial(lock_and_install, client) for client in ("poetry", "pdm", "pipenv")},
}


def pip_command(python: Path) -> list[str | Path]:
    """Return the start of `pip install` of today's pip, into that environment."""
    return [*pip_of(python), "install", "--no-cache-dir"]


def assert_installed(python: Path, *projects: Built) -> None:
    """See that each project works there."""
    for project in projects:
        project.assert_installed(python)
