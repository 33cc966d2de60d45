"""What `wheelyard login` stores, and the lines that it prints, with real clients."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.harness import Sandbox, program
from tests.distributions import make_wheel
from tests.http.packages import publish
from tests.logins import LoginServer, running_login_server, typed_login

pytestmark = pytest.mark.clients

BACKEND = Path(__file__).parent / "keyring_backend"
PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "acme-new"
version = "1.0"
"""


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoginServer]:
    """A private index with a package, where Ana may upload others."""
    with running_login_server(tmp_path_factory.mktemp("index")) as index:
        publish(index.server, make_wheel("acme-core"))
        yield index


def lines_of(printed: str) -> dict[str, str]:
    """Return the command for each client that a login has printed."""
    return dict(re.findall(r"^  (\w+) +(\S.*)$", printed, re.MULTILINE))


def distribution(sandbox: Sandbox, version: str) -> None:
    """Write a wheel into `dist`, beside a project of that name."""
    folder = sandbox.folder / "dist"
    folder.mkdir(exist_ok=True)
    (sandbox.folder / "pyproject.toml").write_text(PYPROJECT)
    package = make_wheel("acme-new", version)
    (folder / package.filename).write_bytes(package.body)


def uploaded(index: LoginServer) -> set[str]:
    """Return the versions of the uploaded package."""
    answer = index.server.get("/api/v1/projects/acme-new", index.server.token)
    if answer.status_code == 404:
        return set()
    return {file["version"] for file in json.loads(answer.text)["files"]}


def test_clients_find_the_token_in_netrc(index: LoginServer, sandbox: Sandbox) -> None:
    """After a login into netrc, pip and uv install, and uv and twine publish."""
    environment = {"PATH": f"{program('twine').parent}:/usr/bin:/bin"}
    done = typed_login(sandbox, index.url, environment={})
    assert done.returncode == 0, done.stderr
    simple, upload = f"{index.url}/simple/", f"{index.url}/legacy/"

    install = ("install", "--quiet", "--index-url", simple, "acme-core", "--target")
    sandbox.run(program("pip"), *install, "by-pip")
    sandbox.run(program("uv"), "pip", *install, "by-uv")
    for target in ("by-pip", "by-uv"):
        assert list((sandbox.folder / target).glob("acme_core*"))
    distribution(sandbox, "1.0")
    where = ("--publish-url", upload, "--trusted-publishing", "never")
    sandbox.run(program("uv"), "publish", *where, "dist/acme_new-1.0-py3-none-any.whl")
    distribution(sandbox, "1.1")
    sandbox.run("sh", "-c", lines_of(done.stderr)["twine"], **environment)

    assert {"1.0", "1.1"} <= uploaded(index)


def test_clients_find_the_token_in_a_keyring(index: LoginServer, sandbox: Sandbox) -> None:
    """After a login into a keyring, pip and uv install by a command each, and twine publishes."""
    keyring = {
        "PYTHONPATH": str(BACKEND),
        "PYTHON_KEYRING_BACKEND": "file_keyring.FileKeyring",
        "FILE_KEYRING": str(sandbox.home / "keyring.json"),
        "PIP_CONFIG_FILE": str(sandbox.home / "pip.conf"),
    }
    keyring["PATH"] = f"{program('uv').parent}:{Path(sys.executable).parent}:/usr/bin:/bin"
    done = typed_login(sandbox, index.url, environment=keyring)
    assert "It is stored in the keyring." in done.stderr, done.stderr
    lines, simple = lines_of(done.stderr), f"{index.url}/simple/"

    sandbox.run("sh", "-c", f"{program('pip').parent}/{lines['pip']}", **keyring)
    with_user = simple.replace("://", "://__token__@")
    pip = (program("pip"), "install", "--quiet", "--target", "by-pip")
    sandbox.run(*pip, "--index-url", with_user, "acme-core", **keyring)
    sandbox.run("sh", "-c", lines["uv"], **keyring)
    uv = (program("uv"), "pip", "install", "--target", "by-uv")
    sandbox.run(*uv, "--index-url", simple, "acme-core", **keyring)
    for target in ("by-pip", "by-uv"):
        assert list((sandbox.folder / target).glob("acme_core*"))
    distribution(sandbox, "2.0")
    twine = ("upload", "-u", "__token__", "--repository-url", f"{index.url}/legacy/")
    sandbox.run(program("twine"), *twine, "dist/acme_new-2.0-py3-none-any.whl", **keyring)

    assert "2.0" in uploaded(index)


@pytest.mark.weekly
@pytest.mark.parametrize("client", ["PDM", "Hatch", "Flit"])
def test_other_clients_publish_by_their_line(
    index: LoginServer, sandbox: Sandbox, client: str
) -> None:
    """Clients that read no netrc publish by the line that the login has printed."""
    done = typed_login(sandbox, index.url, environment={})
    version = {"PDM": "3.0", "Hatch": "3.1", "Flit": "3.2"}[client]
    distribution(sandbox, version)
    if client == "Flit":
        (sandbox.folder / "acme_new.py").write_text(f'"""A module."""\n__version__ = "{version}"\n')
        text = PYPROJECT.replace('"1.0"', f'"{version}"\ndescription = "A module."')
        text = text.replace('["hatchling"]', '["flit_core"]').replace(
            "hatchling.build", "flit_core.buildapi"
        )
        (sandbox.folder / "pyproject.toml").write_text(text)
    folder = program(client.lower()).parent

    sandbox.run(
        *("sh", "-c", lines_of(done.stderr)[client]),
        PATH=f"{folder}:/usr/bin:/bin",
        PDM_CHECK_UPDATE="0",
    )

    assert version in uploaded(index)
