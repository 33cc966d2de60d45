"""
The table of clients, places of an index, and credentials.

`tests/exporting` has the places of a static site, `test_old_clients.py` old versions of clients.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.access.serving import LOGINS, Served, basic, served
from tests.bucket_clients.bucket_server import (
    BUCKET,
    BucketIndex,
    as_account,
    running_bucket_index,
)
from tests.clients.harness import Sandbox, program, system_program
from tests.clients.installing import CLIENTS
from tests.clients.projects import Built
from tests.clients.public_index import PublicIndex
from tests.clients.reading import publish
from tests.clients.servers import Server
from tests.distributions import make_wheel
from tests.fake_gcs.server import running_fake_gcs

pytestmark = pytest.mark.clients

READERS = ("pip", "uv")
"""Clients that take every package from this index, also the dependency."""
WEEKLY = (pytest.mark.weekly,)


@pytest.fixture(scope="module")
def bucket(
    request: pytest.FixtureRequest, projects: list[Built], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BucketIndex]:
    """A private index in a closed bucket; the parameter says how files are sent."""
    folder = tmp_path_factory.mktemp(request.param)
    with running_fake_gcs(BUCKET) as cloud:
        cloud.permissions.token_required = True
        environment = as_account(cloud, folder) | {"WHEELYARD_STORE_DOWNLOADS": request.param}
        with running_bucket_index(folder, cloud, environment, "--private") as index:
            publish(index.server, *projects)
            yield index


@pytest.mark.parametrize(
    "client",
    [pytest.param(client, marks=WEEKLY * (client == "pipenv")) for client in CLIENTS],
)
def test_a_client_installs_from_a_folder(
    stocked_server: Server,
    public: PublicIndex,
    sandbox: Sandbox,
    tool: Built,
    base: Built,
    client: str,
) -> None:
    """Every client installs from a private index in a folder by the printed settings."""
    CLIENTS[client](stocked_server, public, sandbox, tool, base)


# pipenv has pip install
@pytest.mark.parametrize(
    ("bucket", "client"),
    [
        *(
            pytest.param("redirect", client, marks=WEEKLY * (client in {"pdm", "poetry"}))
            for client in CLIENTS
            if client != "pipenv"
        ),
        pytest.param("proxy", "pip", marks=WEEKLY),
        ("proxy", "uv"),
    ],
    indirect=["bucket"],
)
def test_a_client_installs_from_a_bucket(
    bucket: BucketIndex,
    public: PublicIndex,
    sandbox: Sandbox,
    tool: Built,
    base: Built,
    client: str,
) -> None:
    """Every client installs from a bucket or by way of the index, and no secret goes there."""
    bucket.cloud.log.clear()

    CLIENTS[client](bucket.server, public, sandbox, tool, base)

    signed, sent_by_us = (bucket.cloud.log.records(kind) for kind in ("signed", "media"))
    sent = {Path(each.name).name for each in signed or sent_by_us if each.status in {200, 206}}
    # the others take the dependency from the public index
    ours = (tool, base) if client in READERS else (tool,)
    assert {project.wheel.name for project in ours} <= sent
    assert bool(signed) == ("redirect" in str(bucket.folder))
    assert all(each.status in {200, 206} and not each.authorization for each in signed)


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A private server that accepts every kind of credential."""
    with served(tmp_path_factory.mktemp("served")) as index:
        yield index


@dataclass(frozen=True)
class Attempt:
    """A client with a credential of an index."""

    index: Served
    sandbox: Sandbox
    kind: str
    user: str
    password: str

    @property
    def url(self) -> str:
        """The index URL without the credential."""
        return f"{self.index.url}/simple/"

    @property
    def url_with_login(self) -> str:
        """The index URL with the credential in it."""
        login = f"{quote(self.user, '')}:{quote(self.password, '')}"
        return f"http://{login}@{self.index.address}/simple/"

    def pip(self, url: str) -> None:
        """Install by pip."""
        options = ("--no-cache-dir", "--target", "installed", "--index-url", url)
        self._install(program("pip"), "install", *options)

    def uv(self, url: str, **environment: str) -> None:
        """Install by uv."""
        words = (program("uv"), "--no-cache", "pip", "install", "--target", "installed")
        self._install(*words, "--default-index", url, **environment)

    def with_netrc(self) -> str:
        """Write the credential to where netrc has it; return the URL without one."""
        path = self.sandbox.home / ".netrc"
        path.write_text(f"machine 127.0.0.1 login {self.user} password {self.password}\n")
        path.chmod(0o600)
        return self.url

    def uv_environment(self) -> None:
        """Install by uv with the credential in its environment."""
        login = {"UV_INDEX_YARD_USERNAME": self.user, "UV_INDEX_YARD_PASSWORD": self.password}
        self.uv(f"yard={self.url}", **login)

    def poetry(self) -> None:
        """Lock by Poetry, whose lock file has no secret."""
        (self.sandbox.folder / "pyproject.toml").write_text(
            '[project]\nname = "consumer"\nversion = "0"\nrequires-python = ">=3.11"\n'
            'dependencies = ["shut-lib"]\n\n[tool.poetry]\npackage-mode = false\n\n'
            f'[[tool.poetry.source]]\nname = "yard"\nurl = "{self.url}"\n'
        )
        login = {
            "POETRY_HTTP_BASIC_YARD_USERNAME": self.user,
            "POETRY_HTTP_BASIC_YARD_PASSWORD": self.password,
            "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        }
        self.sandbox.run(program("poetry"), "lock", "--no-interaction", **login)
        lock = (self.sandbox.folder / "poetry.lock").read_text()
        assert 'name = "shut-lib"' in lock
        assert self.password not in lock

    def curl(self) -> None:
        """Read the page by curl, with the secret as a Bearer."""
        header = f"Authorization: Bearer {self.password}"
        command = (system_program("curl"), "--silent", "--fail", "--header", header)
        assert "shut_lib-1.0" in self.sandbox.run(*command, f"{self.url}shut-lib/")

    def publish(self, client: str, words: str, variables: str) -> None:
        """Publish a version that nobody has, and download it."""
        package = make_wheel("shut-lib", f"{LOGINS.index(self.kind) + 2}.{len(client)}")
        (self.sandbox.folder / package.filename).write_bytes(package.body)
        login = {f"{variables}_USERNAME": self.user, f"{variables}_PASSWORD": self.password}
        command = (*words.split(), f"{self.index.url}/legacy/", package.filename)
        self.sandbox.run(program(client), *command, **login)
        path = f"/packages/{package.filename}"
        assert self.index.status(path, basic(self.user, self.password)) == 200

    def _install(self, *command: str | Path, **environment: str) -> None:
        self.sandbox.run(*command, "shut-lib", **environment)
        assert (self.sandbox.folder / "installed" / "shut_lib.py").exists()


TWINE = "upload --disable-progress-bar --non-interactive --repository-url"
UV = "publish --trusted-publishing never --publish-url"
NO_SPACE = ("API token", "static token", "access token", "ID token")
"""Credentials that netrc and a Bearer can have."""
ODD = ("password", "ID token")
"""
One with a space in it, and the longest: all others look to a client like one of them.

What the index makes of each kind is in `tests/access`, so the others are tried weekly.
"""
DAILY = {
    **dict.fromkeys(("uv, URL", "uv, netrc", "uv, environment", "uv publish"), (*ODD, "API token")),
    "curl, Bearer": (*ODD, "API token"),
    "poetry, environment": ("ID token",),
}
"""
The kinds that are tried each time, where they are not `ODD`.

Slow clients have an API token each time in other modules: twine in `test_publish.py`, pip in
`test_a_token_alone_is_enough` and, by netrc, in `test_login.py`, Poetry in
`test_a_client_installs_from_a_folder`.
"""
WAYS: dict[str, tuple[tuple[str, ...], str, Callable[[Attempt], None]]] = {
    "pip, URL": (LOGINS, "reader", lambda attempt: attempt.pip(attempt.url_with_login)),
    "uv, URL": (LOGINS, "reader", lambda attempt: attempt.uv(attempt.url_with_login)),
    "pip, netrc": (NO_SPACE, "reader", lambda attempt: attempt.pip(attempt.with_netrc())),
    "uv, netrc": (NO_SPACE, "reader", lambda attempt: attempt.uv(attempt.with_netrc())),
    "uv, environment": (LOGINS, "reader", Attempt.uv_environment),
    "poetry, environment": (ODD, "reader", Attempt.poetry),
    "curl, Bearer": (NO_SPACE, "reader", Attempt.curl),
    "twine": (LOGINS, "manager", lambda attempt: attempt.publish("twine", TWINE, "TWINE")),
    "uv publish": (
        LOGINS,
        "manager",
        lambda attempt: attempt.publish("uv", UV, "UV_PUBLISH"),
    ),
}
"""Each way of a client to take a credential: which kinds fit, whose it is, and what is done."""


@pytest.mark.parametrize(
    ("way", "kind"),
    [
        pytest.param(way, kind, marks=WEEKLY * (kind not in DAILY.get(way, ODD)))
        for way, (kinds, *_) in WAYS.items()
        for kind in kinds
    ],
)
def test_a_client_takes_a_credential(closed: Served, sandbox: Sandbox, way: str, kind: str) -> None:
    """Each client takes each kind of credential that it can be given."""
    _, role, act = WAYS[way]
    act(Attempt(closed, sandbox, kind, *closed.login(kind, role)))


def test_a_token_alone_is_enough(closed: Served, sandbox: Sandbox) -> None:
    """A token alone before the `@` of the URL is enough for pip."""
    attempt = Attempt(closed, sandbox, "API token", closed.token("read"), "")
    attempt.pip(attempt.url_with_login.replace(":@", "@"))
