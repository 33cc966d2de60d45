"""pip, uv, twine, Poetry and curl with every kind of credential, against real servers."""

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from keyring_tests.fake_servers import program as make_program
from keyring_tests.harness import lay_over

from tests.access.serving import ACCESS_TOKEN, LOGINS, Served, basic, served
from tests.clients.harness import Sandbox, program, system_program
from tests.http.packages import wheel

pytestmark = pytest.mark.clients

PAGE = "/simple/shut-lib/"
QUIET = "--disable-progress-bar --non-interactive"
ODD = ("password", "ID token")
"""One with a space in it, and the longest: all others look to a client like one of them."""


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A private server that accepts every kind of credential."""
    with served(tmp_path_factory.mktemp("served")) as index:
        yield index


def url(index: Served, user: str, password: str) -> str:
    """Return the index URL with a credential in it."""
    return f"http://{quote(user, '')}:{quote(password, '')}@{index.address}/simple/"


def pip(*arguments: str | Path) -> list[str | Path]:
    """Return a command of pip that installs into a folder."""
    return [program("pip"), "install", "--no-cache-dir", "--target", "installed", *arguments]


def uv(*arguments: str | Path) -> list[str | Path]:
    """Return the uv command for it."""
    into = ("--target", "installed")
    return [program("uv"), "--no-cache", "pip", "install", *into, *arguments]


def netrc(sandbox: Sandbox, user: str, password: str) -> None:
    """Write a credential to where netrc has it."""
    path = sandbox.home / ".netrc"
    path.write_text(f"machine 127.0.0.1 login {user} password {password.replace(' ', '')}\n")
    path.chmod(0o600)


def is_installed(sandbox: Sandbox) -> bool:
    """Return whether the project is there."""
    return (sandbox.folder / "installed" / "shut_lib.py").exists()


@pytest.mark.parametrize("kind", LOGINS)
@pytest.mark.parametrize("client", ["pip", "uv"])
def test_url(index: Served, sandbox: Sandbox, client: str, kind: str) -> None:
    """Pip and uv install with every kind of credential in the URL."""
    command = {"pip": pip, "uv": uv}[client]
    sandbox.run(*command("--index-url", url(index, *index.login(kind, "reader")), "shut-lib"))
    assert is_installed(sandbox)


@pytest.mark.parametrize("kind", ["API token", "static token", "access token", "ID token"])
@pytest.mark.parametrize("client", ["pip", "uv"])
def test_netrc(index: Served, sandbox: Sandbox, client: str, kind: str) -> None:
    """Pip and uv find every kind of token in netrc."""
    netrc(sandbox, *index.login(kind, "reader"))
    command = {"pip": pip, "uv": uv}[client]
    sandbox.run(*command("--index-url", f"{index.url}/simple/", "shut-lib"))
    assert is_installed(sandbox)


@pytest.mark.parametrize("kind", LOGINS)
def test_uv_environment(index: Served, sandbox: Sandbox, kind: str) -> None:
    """Uv takes every kind of credential from its environment."""
    user, password = index.login(kind, "reader")
    login = {"UV_INDEX_YARD_USERNAME": user, "UV_INDEX_YARD_PASSWORD": password}
    sandbox.run(*uv("--default-index", f"yard={index.url}/simple/", "shut-lib"), **login)
    assert is_installed(sandbox)


@pytest.mark.parametrize("kind", LOGINS)
@pytest.mark.parametrize("client", ["twine", "uv"])
def test_publishing(index: Served, sandbox: Sandbox, client: str, kind: str) -> None:
    """Twine and uv publish with every kind of credential, and what they publish is there."""
    user, password = index.login(kind)
    package = wheel("shut-lib", f"{LOGINS.index(kind) + 2}.{len(client)}")
    (sandbox.folder / package.filename).write_bytes(package.data)
    words, login, where = {
        "twine": (f"upload {QUIET}", "TWINE", "--repository-url"),
        "uv": ("publish --trusted-publishing never", "UV_PUBLISH", "--publish-url"),
    }[client]
    command = (*words.split(), where, f"{index.url}/legacy/", package.filename)

    sandbox.run(
        program(client), *command, **{f"{login}_USERNAME": user, f"{login}_PASSWORD": password}
    )

    assert index.status(f"/packages/{package.filename}", basic(user, password)) == 200


@pytest.mark.parametrize("kind", ODD)
def test_poetry(index: Served, sandbox: Sandbox, kind: str) -> None:
    """Poetry locks with a credential from its environment."""
    user, password = index.login(kind, "reader")
    (sandbox.folder / "pyproject.toml").write_text(
        '[project]\nname = "consumer"\nversion = "0"\nrequires-python = ">=3.11"\n'
        'dependencies = ["shut-lib"]\n\n[tool.poetry]\npackage-mode = false\n\n'
        f'[[tool.poetry.source]]\nname = "yard"\nurl = "{index.url}/simple/"\n'
    )
    login = {
        "POETRY_HTTP_BASIC_YARD_USERNAME": user,
        "POETRY_HTTP_BASIC_YARD_PASSWORD": password,
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
    }
    sandbox.run(program("poetry"), "lock", "--no-interaction", **login)
    lock = (sandbox.folder / "poetry.lock").read_text()
    assert 'name = "shut-lib"' in lock
    assert password not in lock


@pytest.mark.parametrize("kind", ["API token", "static token", "access token", "ID token"])
def test_curl(index: Served, sandbox: Sandbox, kind: str) -> None:
    """Curl sends every kind of token as a Bearer."""
    header = f"Authorization: Bearer {index.login(kind, 'reader')[1]}"
    command = [system_program("curl"), "--silent", "--fail", "--header", header]
    assert "shut_lib-1.0" in sandbox.run(*command, f"{index.url}{PAGE}")


@pytest.fixture(scope="module")
def keyring_python() -> Path:
    """The Python of an environment with pip, twine, keyring, and our backend for it."""
    return lay_over("twine", "pip")


@pytest.mark.parametrize("client", ["pip", "uv", "twine"])
def test_keyring(index: Served, sandbox: Sandbox, keyring_python: Path, client: str) -> None:
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
        package = wheel("shut-lib", "50.0")
        (sandbox.folder / package.filename).write_bytes(package.data)
        where = ("--repository-url", f"{index.url}/legacy/", package.filename)
        sandbox.run(keyring_python, "-m", "twine", "upload", *QUIET.split(), *where, **more)
        login = basic("oauth2accesstoken", ACCESS_TOKEN)
        assert index.status(f"/packages/{package.filename}", login) == 200
        return
    if client == "pip":
        _, *words = pip("--keyring-provider", "import", "--index-url", url, "shut-lib")
        sandbox.run(keyring_python, "-m", "pip", *words, **more)
    else:
        sandbox.run(*uv("--keyring-provider", "subprocess", "--index-url", url, "shut-lib"), **more)
    assert is_installed(sandbox)


def test_two_servers(tmp_path: Path) -> None:
    """A token that is revoked beside one server is soon refused by both (65)."""
    with served(tmp_path, servers=2) as index:
        token = index.token("read")
        for server in (0, 1):
            assert index.status(PAGE, f"Bearer {token}", server) == 200
        index.revoke(token)
        for server in (1, 0):
            index.eventually(401, PAGE, f"Bearer {token}", server)
