"""The keyring backend, and two servers; `tests/clients/test_table.py` has all other credentials."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from keyring_tests.fake_servers import program as make_program
from keyring_tests.harness import lay_over

from tests.access.serving import ACCESS_TOKEN, Served, basic, served
from tests.clients.harness import Sandbox, program
from tests.distributions import make_wheel

pytestmark = pytest.mark.clients

PAGE = "/simple/shut-lib/"
QUIET = "--disable-progress-bar --non-interactive"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A private server that accepts every kind of credential."""
    with served(tmp_path_factory.mktemp("served")) as index:
        yield index


@pytest.fixture(scope="module")
def keyring_python() -> Path:
    """The Python of an environment with pip, twine, keyring, and our backend for it."""
    return lay_over("twine", "pip")


@pytest.mark.parametrize("client", ["pip", "uv", "twine"])
def test_keyring_backend_gives_a_credential(
    index: Served, sandbox: Sandbox, keyring_python: Path, client: str
) -> None:
    """After `gcloud auth login`, clients need no configuration to log in to the index."""
    tools = sandbox.home / "bin"
    make_program(tools, "gcloud", f"echo {ACCESS_TOKEN}")
    make_program(tools, "keyring", f'exec {keyring_python} -m keyring "$@"')
    more = {
        "PATH": os.pathsep.join((str(tools), sandbox.environment()["PATH"])),
        "WHEELYARD_KEYRING_HOSTS": index.address,
        "GCE_METADATA_HOST": "127.0.0.1:1",
    }
    url = f"http://oauth2accesstoken@{index.address}/simple/"
    if client == "twine":
        package = make_wheel("shut-lib", "50.0")
        (sandbox.folder / package.filename).write_bytes(package.body)
        where = ("--repository-url", f"{index.url}/legacy/", package.filename)
        sandbox.run(keyring_python, "-m", "twine", "upload", *QUIET.split(), *where, **more)
        login = basic("oauth2accesstoken", ACCESS_TOKEN)
        assert index.status(f"/packages/{package.filename}", login) == 200
        return
    install = ("install", "--target", "installed", "--keyring-provider")
    provider = "import" if client == "pip" else "subprocess"
    command = {
        "pip": (keyring_python, "-m", "pip", "--no-cache-dir"),
        "uv": (program("uv"), "pip", "--no-cache"),
    }[client]
    sandbox.run(*command, *install, provider, "--index-url", url, "shut-lib", **more)
    assert (sandbox.folder / "installed" / "shut_lib.py").exists()


def test_revocation_reaches_another_server(tmp_path: Path) -> None:
    """A token that is revoked beside one server is soon refused by both servers."""
    with served(tmp_path, servers=2) as index:
        token = index.token("read")
        for server in (0, 1):
            assert index.status(PAGE, f"Bearer {token}", server) == 200
        index.revoke(token)
        for server in (1, 0):
            index.eventually(401, PAGE, f"Bearer {token}", server)
