"""Installing, locking and downloading with the tool that one already uses."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from uv import find_uv_bin

from tests.clients.harness import Sandbox, program, wheelyard
from tests.clients.projects import Builder, Built, sha256
from tests.clients.public_index import PublicIndex, public_index
from tests.clients.reading import publish
from tests.clients.servers import Server
from tests.http.packages import wheel
from wheelyard.rendering.client_settings import CLIENTS, ClientSettings

pytestmark = pytest.mark.clients

PROJECT = """\
[project]
name = "consumer"
version = "0"
requires-python = ">=3.11"
dependencies = ["acme-tool"]

"""
"""A project that wants one of ours; what follows tells a client where to find it."""


@pytest.fixture
def tool(index: Server, build: Builder) -> Built:
    """A published project that depends on another one; shared by all tests."""
    base = build("flit-core", "yard-base", "2.0")
    tool = build("hatchling", "acme-tool", "1.5", "yard-base>=2")
    older = build("hatchling", "acme-tool", "1.4", "yard-base>=2")
    publish(index, base, older, tool)
    return tool


@pytest.fixture
def base(build: Builder) -> Built:
    """The project that it depends on."""
    return build("flit-core", "yard-base", "2.0")


@pytest.fixture
def public(base: Built) -> Iterator[PublicIndex]:
    """A public index with that dependency, and with a stranger's files under our name."""
    strangers = (wheel("acme-tool", "9.9"), wheel("acme-tool", "1.5"))
    files = {each.filename: each.data for each in strangers}
    with public_index({base.wheel.name: base.wheel.read_bytes(), **files}) as public:
        yield public


def test_pip_install(index: Server, sandbox: Sandbox, tool: Built, base: Built) -> None:
    """`pip install` takes the newest version and what it depends on, by the printed `pip.conf`."""
    python, settings = sandbox.python(), sandbox.home / "pip.conf"
    settings.write_text(printed("pip", index, token=index.token))

    sandbox.run(*pip_command(python), "acme-tool", PIP_CONFIG_FILE=str(settings))

    assert_installed(python, tool, base)


@pytest.mark.parametrize("place", ["url", "netrc"])
def test_pip_token(index: Server, sandbox: Sandbox, build: Builder, place: str) -> None:
    """A token alone before the `@` is enough; or it lies in `~/.netrc`, and in no URL."""
    project = build("flit-core", "yard-base", "2.0")
    publish(index, project)
    python, token = sandbox.python(), index.token
    netrc = sandbox.home / ".netrc"
    netrc.touch(0o600)
    if place == "netrc":
        netrc.write_text(f"machine 127.0.0.1 login __token__ password {token}\n")
    login = f"{token}@" if place == "url" else ""
    url = f"http://{login}{index.address}/simple/"

    pip_install(sandbox, python, "--index-url", url, "yard-base")

    project.assert_installed(python)


def test_pip_require_hashes(
    index: Server, public: PublicIndex, sandbox: Sandbox, tool: Built, base: Built
) -> None:
    """
    A requirements file with hashes installs, and with a wrong hash it does not.

    With hashes a second index is safe, too: a stranger's file of the same version is not taken.
    """
    good = "".join(
        f"{each.requirement} --hash=sha256:{sha256(each.wheel)}\n" for each in (tool, base)
    )
    (sandbox.folder / "good.txt").write_text(good)
    (sandbox.folder / "bad.txt").write_text(re.sub("[0-9a-f]{64}", "0" * 64, good))
    python = sandbox.python()
    indexes = ("--index-url", public.url, "--extra-index-url", index.index_url)
    command = (*pip_command(python), *indexes, "--require-hashes", "-r")

    refused = sandbox.attempt(*command, "bad.txt")
    sandbox.run(*command, "good.txt")

    assert refused.returncode == 1
    assert_installed(python, tool, base)


def test_uv_pip_install(
    index: Server, public: PublicIndex, sandbox: Sandbox, tool: Built, base: Built
) -> None:
    """`uv pip install --index` takes what we have from us, and never looks it up in public."""
    python = sandbox.python()
    indexes = ("--index", index.index_url, "--default-index", public.url)

    uv_pip(sandbox, "install", "--python", python, *indexes, "acme-tool")

    assert_installed(python, tool, base)
    assert not public.was_asked_for("acme-tool")


def test_uv_pip_compile(index: Server, sandbox: Sandbox, tool: Built, base: Built) -> None:
    """`uv pip compile` locks with the hashes of what was published, and `sync` installs that."""
    (sandbox.folder / "requirements.in").write_text("acme-tool\n")
    where = ("--default-index", index.index_url)
    python = sandbox.python()

    uv_pip(sandbox, "compile", "--generate-hashes", *where, "requirements.in", "-o", "lock.txt")
    uv_pip(sandbox, "sync", "--require-hashes", "--python", python, *where, "lock.txt")

    hashes = set(re.findall("sha256:([0-9a-f]{64})", (sandbox.folder / "lock.txt").read_text()))
    assert hashes == digests(tool, base)
    assert_installed(python, tool, base)


def test_uv_exclude_newer(index: Server, sandbox: Sandbox, tool: Built) -> None:
    """`uv --exclude-newer` goes by the time of upload: nothing is from before today."""
    python = sandbox.python()
    command = (
        *(program("uv"), "pip", "install", "--python", python, "--no-deps"),
        *("--default-index", index.index_url, "acme-tool"),
    )

    refused = sandbox.attempt(*command, "--exclude-newer", "2020-01-01T00:00:00Z")
    sandbox.run(*command, "--exclude-newer", "2099-01-01T00:00:00Z")

    assert refused.returncode == 1
    assert "published at" in refused.stderr  # so it knows the time, and that is the reason
    tool.assert_installed(python)


def test_uv_lock(
    index: Server, public: PublicIndex, sandbox: Sandbox, tool: Built, base: Built
) -> None:
    """`uv lock` records URL, size and digest of each file; `uv sync` installs from the lock."""
    (sandbox.folder / "pyproject.toml").write_text(PROJECT + printed("uv", index, "acme-tool"))
    settings = {
        "UV_DEFAULT_INDEX": public.url,
        "UV_INDEX_WHEELYARD_USERNAME": "__token__",
        "UV_INDEX_WHEELYARD_PASSWORD": index.token,
    }

    sandbox.run(program("uv"), "lock", **settings)
    sandbox.run(program("uv"), "sync", "--locked", "--no-install-project", **settings)

    lock = tomllib.loads((sandbox.folder / "uv.lock").read_text())
    packages = {each["name"]: each for each in lock["package"]}
    assert packages["acme-tool"]["wheels"][0]["hash"] == f"sha256:{sha256(tool.wheel)}"
    assert packages["acme-tool"]["wheels"][0]["size"] == tool.wheel.stat().st_size
    assert packages["acme-tool"]["sdist"]["hash"] == f"sha256:{sha256(tool.sdist)}"
    assert_installed(sandbox.folder / ".venv" / "bin" / "python", tool, base)
    assert not public.was_asked_for("acme-tool")


def test_poetry(
    index: Server, public: PublicIndex, sandbox: Sandbox, tool: Built, base: Built
) -> None:
    """`poetry lock` records the digests, `poetry sync` installs from the lock."""
    (sandbox.folder / "pyproject.toml").write_text(
        PROJECT
        + "[tool.poetry]\npackage-mode = false\n\n"
        + f'[[tool.poetry.source]]\nname = "public"\nurl = "{public.url}"\n'
        + printed("poetry", index, "acme-tool")
    )
    settings = {
        "POETRY_VIRTUALENVS_IN_PROJECT": "true",
        # a second thread of it may ask without the credentials that the first one is still reading
        "POETRY_INSTALLER_MAX_WORKERS": "1",
        "POETRY_HTTP_BASIC_WHEELYARD_USERNAME": "__token__",
        "POETRY_HTTP_BASIC_WHEELYARD_PASSWORD": index.token,
    }

    sandbox.run(program("poetry"), "lock", "--no-interaction", **settings)
    sandbox.run(program("poetry"), "sync", "--no-interaction", **settings)

    lock = tomllib.loads((sandbox.folder / "poetry.lock").read_text())
    assert locked_digests(lock) == {*digests(tool), sha256(base.wheel)}
    assert_installed(sandbox.folder / ".venv" / "bin" / "python", tool, base)
    assert_apart(public)


def test_pdm(
    index: Server, public: PublicIndex, sandbox: Sandbox, tool: Built, base: Built
) -> None:
    """`pdm lock` records the digests, `pdm sync` installs from the lock."""
    (sandbox.folder / "pyproject.toml").write_text(
        PROJECT
        + f'[[tool.pdm.source]]\nname = "pypi"\nurl = "{public.url}"\n'
        + printed("pdm", index, "acme-tool", token="${WHEELYARD_TOKEN}")
    )
    sandbox.python(".venv")
    settings = {"PDM_CHECK_UPDATE": "false", "WHEELYARD_TOKEN": index.token}

    sandbox.run(program("pdm"), "lock", **settings)
    sandbox.run(program("pdm"), "sync", "--no-self", **settings)

    lock = tomllib.loads((sandbox.folder / "pdm.lock").read_text())
    assert locked_digests(lock) == {*digests(tool), sha256(base.wheel)}
    assert_installed(sandbox.folder / ".venv" / "bin" / "python", tool, base)
    assert_apart(public)


def test_pipenv(
    index: Server, public: PublicIndex, sandbox: Sandbox, tool: Built, base: Built
) -> None:
    """`pipenv lock` records the digests, `pipenv sync` installs from the lock."""
    (sandbox.folder / "Pipfile").write_text(
        f'[[source]]\nname = "pypi"\nurl = "{public.url}"\nverify_ssl = true\n\n'
        + printed("pipenv", index, "acme-tool", token="${WHEELYARD_TOKEN}")
    )
    settings = {
        "PIPENV_IGNORE_VIRTUALENVS": "1",
        "PIPENV_NOSPIN": "1",
        "PIPENV_VENV_IN_PROJECT": "1",
        "WHEELYARD_TOKEN": index.token,
    }

    sandbox.run(program("pipenv"), "lock", **settings)
    sandbox.run(program("pipenv"), "sync", **settings)

    lock = json.loads((sandbox.folder / "Pipfile.lock").read_text())
    hashes = {each for package in lock["default"].values() for each in package["hashes"]}
    assert hashes == {f"sha256:{each}" for each in (*digests(tool), sha256(base.wheel))}
    assert_installed(sandbox.folder / ".venv" / "bin" / "python", tool, base)
    assert_apart(public)


@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_hatch_environment(
    index: Server, sandbox: Sandbox, tool: Built, base: Built, installer: str
) -> None:
    """A hatch environment, filled from the index that the environment variables name."""
    (sandbox.folder / "pyproject.toml").write_text(
        PROJECT
        + "[tool.hatch.envs.default]\nskip-install = true\n"
        + f'installer = "{installer}"\ndependencies = ["acme-tool"]\n'
    )
    settings = {
        "PIP_INDEX_URL": index.index_url,
        "UV_DEFAULT_INDEX": index.index_url,
        "HATCH_UV": find_uv_bin(),
    }

    sandbox.run(program("hatch"), "env", "create", **settings)

    found = sandbox.run(program("hatch"), "env", "find", **settings)
    python = Path(found.strip()) / "bin" / "python"
    assert_installed(python, tool, base)


def test_pip_yanked(index: Server, sandbox: Sandbox, build: Builder) -> None:
    """A yanked version is passed over, unless it is asked for by name: then pip says why."""
    older = build("flit-core", "yard-yanked", "1.0")
    yanked = build("flit-core", "yard-yanked", "1.1")
    publish(index, older, yanked)
    wheelyard(
        sandbox, "yank", "yard-yanked", "1.1", "--reason", "eats data", "--store", index.store
    )
    where = ("--index-url", index.index_url)
    careless, resolute = sandbox.python("careless"), sandbox.python("resolute")

    pip_install(sandbox, careless, *where, "yard-yanked")
    printed = pip_install(sandbox, resolute, *where, "yard-yanked==1.1")

    older.assert_installed(careless)
    yanked.assert_installed(resolute)
    assert "eats data" in printed


def printed(client: str, index: Server, *projects: str, token: str = "") -> str:
    """What `wheelyard print-settings` prints for an index."""
    return CLIENTS[client](ClientSettings(root=index.url, projects=projects, token=token))


def assert_apart(public: PublicIndex) -> None:
    """See that the dependency came from the public index, and that our name was not asked there."""
    assert public.was_asked_for("yard-base")
    assert not public.was_asked_for("acme-tool")


def pip_command(python: Path) -> list[str | Path]:
    """`pip install` of today's pip, into that environment."""
    return [program("pip"), "--python", python, "install", "--no-cache-dir"]


def pip_install(sandbox: Sandbox, python: Path, *arguments: str | Path) -> str:
    """Install with today's pip into that environment."""
    return sandbox.run(*pip_command(python), *arguments)


def assert_installed(python: Path, *projects: Built) -> None:
    """See that each project works there."""
    for each in projects:
        each.assert_installed(python)


def uv_pip(sandbox: Sandbox, *arguments: str | Path) -> str:
    """Run `uv pip`."""
    return sandbox.run(program("uv"), "pip", *arguments)


def digests(*projects: Built) -> set[str]:
    """The digests of all that projects published."""
    return {sha256(file) for each in projects for file in (each.wheel, each.sdist)}


def locked_digests(lock: dict[str, list[dict[str, list[dict[str, str]]]]]) -> set[str]:
    """All digests of a lock file of Poetry or PDM."""
    return {
        file["hash"].removeprefix("sha256:")
        for package in lock["package"]
        for file in package["files"]
    }
