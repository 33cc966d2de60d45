"""What single clients do on top of installing, which `test_table.py` shows."""

import re
from pathlib import Path

import pytest
import yaml
from uv import find_uv_bin

from tests.clients.harness import REPOSITORY, Sandbox, program, site_packages, wheelyard
from tests.clients.installing import PROJECT, assert_installed, pip_command
from tests.clients.projects import Builder, Built, sha256
from tests.clients.public_index import PublicIndex
from tests.clients.reading import publish
from tests.clients.servers import Server

pytestmark = pytest.mark.clients


def test_pip_require_hashes(
    stocked_server: Server, public: PublicIndex, sandbox: Sandbox, tool: Built, base: Built
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
    indexes = ("--index-url", public.url, "--extra-index-url", stocked_server.index_url)
    command = (*pip_command(python), *indexes, "--require-hashes", "-r")

    refused = sandbox.attempt(*command, "bad.txt")
    sandbox.run(*command, "good.txt")

    assert refused.returncode == 1
    assert_installed(python, tool, base)


def test_uv_pip_compile(stocked_server: Server, sandbox: Sandbox, tool: Built, base: Built) -> None:
    """`uv pip compile` locks with the hashes of what was published, and `sync` installs that."""
    (sandbox.folder / "requirements.in").write_text("acme-tool\n")
    where = ("--default-index", stocked_server.index_url)
    python = sandbox.python()

    uv_pip(sandbox, "compile", "--generate-hashes", *where, "requirements.in", "-o", "lock.txt")
    uv_pip(sandbox, "sync", "--require-hashes", "--python", python, *where, "lock.txt")

    hashes = set(re.findall("sha256:([0-9a-f]{64})", (sandbox.folder / "lock.txt").read_text()))
    assert hashes == digests(tool, base)
    assert_installed(python, tool, base)


def test_uv_exclude_newer(stocked_server: Server, sandbox: Sandbox, tool: Built) -> None:
    """`uv --exclude-newer` goes by the time of upload: nothing is from before today."""
    python = sandbox.python()
    command = (
        *(program("uv"), "pip", "install", "--python", python, "--no-deps"),
        *("--default-index", stocked_server.index_url, "acme-tool"),
    )

    refused = sandbox.attempt(*command, "--exclude-newer", "2020-01-01T00:00:00Z")
    sandbox.run(*command, "--exclude-newer", "2099-01-01T00:00:00Z")

    assert refused.returncode == 1
    assert "published at" in refused.stderr  # so it knows the time, and that is the reason
    tool.assert_installed(python)


# by pip, it is the environment of docs/access.md, which test_docs.py has daily
@pytest.mark.parametrize("installer", [pytest.param("pip", marks=pytest.mark.weekly), "uv"])
def test_a_hatch_environment_is_filled_from_the_index(
    stocked_server: Server, sandbox: Sandbox, tool: Built, base: Built, installer: str
) -> None:
    """Hatch fills an environment from the index that the environment variables name."""
    (sandbox.folder / "pyproject.toml").write_text(
        PROJECT
        + "[tool.hatch.envs.default]\nskip-install = true\n"
        + f'installer = "{installer}"\ndependencies = ["acme-tool"]\n'
    )
    settings = {
        "PIP_INDEX_URL": stocked_server.index_url,
        "UV_DEFAULT_INDEX": stocked_server.index_url,
        "HATCH_UV": find_uv_bin(),
    }

    sandbox.run(program("hatch"), "env", "create", **settings)

    found = sandbox.run(program("hatch"), "env", "find", **settings)
    python = Path(found.strip()) / "bin" / "python"
    assert_installed(python, tool, base)


@pytest.mark.parametrize("has_netrc", [True, False], ids=["netrc", "variable"])
def test_pip_section_for_conda(
    stocked_server: Server, sandbox: Sandbox, *, has_netrc: bool
) -> None:
    """The documented `pip:` section of conda installs from here, with netrc or a variable."""
    page = (REPOSITORY / "docs/conda.md").read_text()
    section = yaml.safe_load(page.partition("```yaml\n")[2].partition("```")[0])
    options, _ = section["dependencies"][-1]["pip"]
    address = stocked_server.address
    if has_netrc:
        netrc = sandbox.home / ".netrc"
        netrc.write_text(f"machine 127.0.0.1 login __token__ password {stocked_server.token}\n")
        netrc.chmod(0o600)
    else:
        address = f"__token__:${{TOKEN}}@{address}"
    options = options.replace("127.0.0.1:8080", address)
    # as conda does, each item is a line of a file for pip
    (sandbox.folder / "requirements.txt").write_text(f"{options}\nacme-tool>=1\n")

    python = sandbox.python()
    sandbox.run(*pip_command(python), "-r", "requirements.txt", TOKEN=stocked_server.token)
    assert (site_packages(python) / "acme_tool").is_dir()


def test_pip_passes_over_a_yanked_version(index: Server, sandbox: Sandbox, build: Builder) -> None:
    """A yanked version is passed over by pip, unless asked for by name: then pip says why."""
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


def pip_install(sandbox: Sandbox, python: Path, *arguments: str | Path) -> str:
    """Install with today's pip into that environment."""
    return sandbox.run(*pip_command(python), *arguments)


def uv_pip(sandbox: Sandbox, *arguments: str | Path) -> str:
    """Run `uv pip`."""
    return sandbox.run(program("uv"), "pip", *arguments)


def digests(*projects: Built) -> set[str]:
    """The digests of all that projects published."""
    return {sha256(file) for each in projects for file in (each.wheel, each.sdist)}
