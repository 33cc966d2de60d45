"""The index of `access_fixture.py`, served by real processes over a folder."""

from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx2

from tests.access.access_fixture import (
    PASSWORD,
    RIGHTS,
    id_token,
    serve_google,
    tables,
    values,
    write_files,
)
from tests.access.access_fixture import static_token as static
from tests.authentication.verifiers.fake_issuer import Bearer, FakeIssuer, running_issuer
from tests.clients.harness import SOURCE, Sandbox
from tests.distributions import Distribution, make_wheel
from tests.http.packages import form
from tests.http.servers import token_of
from tests.http_server import WHEELYARD, is_healthy, running_program
from tests.index_tables import put_tables_at
from tests.plain_http import LOCALLY
from tests.ports import free_port
from tests.settings.written import as_toml
from tests.waiting import until
from wheelyard.settings.sections import Settings, StoreSettings
from wheelyard.wiring.build import open_index
from wheelyard.wiring.index import Index

PROJECTS = ("open-lib", "shut-lib")
ACCESS_TOKEN = "ya29.a0_" + "x" * 60
LOGINS = ("API token", "static token", "password", "access token", "ID token", "oidc")


@dataclass(frozen=True)
class Served:
    """
    Servers over one store.

    Args:
        folder: Of everything.
        ports: Of the servers.
        google: Vouches for people.
    """

    folder: Path
    ports: tuple[int, ...]
    google: FakeIssuer

    @property
    def url(self) -> str:
        """The root of the first server, without a slash at its end."""
        return f"http://{self.address}"

    @property
    def address(self) -> str:
        """Host and port of the first server."""
        return f"127.0.0.1:{self.ports[0]}"

    @property
    def logs(self) -> str:
        """The logs of all servers."""
        return "".join(path.read_text() for path in self.folder.glob("log-*.txt"))

    def login(self, kind: str, role: str = "manager") -> tuple[str, str]:
        """Return user name and password of a credential, as configured in a client."""
        user, secret = {
            "API token": ("__token__", self.token(RIGHTS[role])),
            "static token": ("anybody", static(role)),
            "password": (role, PASSWORD),
            "access token": ("oauth2accesstoken", ACCESS_TOKEN),
            "ID token": ("__token__", id_token(f"{role}@acme.dev")),
            "oidc": ("oidc", id_token(f"{role}@acme.dev")),
        }[kind]
        return user, secret

    def token(self, can: str, *projects: str) -> str:
        """Make an API token, as the command line does beside the servers."""
        return token_of(self._index, *projects, can=can)

    def revoke(self, token: str) -> None:
        """Revoke an API token, in the same way."""
        self._index.tokens.revoke(token[4:14], by="local:test")

    def status(self, path: str, authorization: str = "", server: int = 0) -> int:
        """Return the status of a path."""
        headers = {"Authorization": authorization} if authorization else {}
        url = f"http://127.0.0.1:{self.ports[server]}{path}"
        return httpx2.get(url, headers=headers, timeout=30, **LOCALLY).status_code

    def publish(self, package: Distribution) -> None:
        """Upload a package."""
        kind = "multipart/form-data; boundary=frontier"
        authorization = f"Bearer {self.token('upload')}"
        answer = httpx2.post(
            f"{self.url}/legacy/",
            content=form(package),
            headers={"Authorization": authorization, "Content-Type": kind},
            timeout=30,
            **LOCALLY,
        )
        assert answer.status_code == 200, answer.text

    @property
    def _index(self) -> Index:
        return open_index(Settings(store=StoreSettings(location=str(self.folder / "store"))))

    def eventually(self, status: int, path: str, authorization: str, server: int) -> None:
        """Wait until a path is answered so."""
        until(
            lambda: self.status(path, authorization, server) == status,
            lambda: f"{path} is still not answered with {status}",
        )


def basic(user: str, password: str) -> str:
    """Return the value of a Basic header."""
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


@contextmanager
def served(folder: Path, servers: int = 1) -> Iterator[Served]:
    """Start servers on a new store with projects, without anonymous read access."""
    write_files(folder)
    with running_issuer() as google, ExitStack() as stack:
        serve_google(google)
        settings = values(folder, google, is_open=False)
        (folder / "wheelyard.toml").write_text(
            "".join(f"{key} = {as_toml(value)}\n" for key, value in settings.items())
        )
        put_tables_at(folder / "store", tables(google, is_open=False), folder / "wheelyard.toml")
        ports = tuple(stack.enter_context(_server(folder, google)) for _ in range(servers))
        harness = Served(folder, ports, google)
        every = frozenset(f"storage.objects.{each}" for each in ("get", "create", "delete"))
        google.bearers[ACCESS_TOKEN] = Bearer(every)
        for name in PROJECTS:
            harness.publish(make_wheel(name))
        yield harness
        assert "Traceback" not in harness.logs


@contextmanager
def _server(folder: Path, google: FakeIssuer) -> Iterator[int]:
    home, port = folder / "home", free_port()
    home.mkdir(exist_ok=True)
    places = ["--store", str(folder / "store"), "--config", str(folder / "wheelyard.toml")]
    command = [*WHEELYARD, "serve", "--port", str(port), *places]
    log, environment = folder / f"log-{port}.txt", google.environment | SOURCE
    is_up = partial(is_healthy, f"127.0.0.1:{port}")
    with running_program(Sandbox(home, home), command, log, is_up, environment):
        yield port
