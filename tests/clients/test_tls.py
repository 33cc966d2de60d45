"""Clients of a server that speaks TLS itself, with a certificate of an own authority."""

import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from uv import find_uv_bin

from tests.clients.harness import REPOSITORY, SOURCE, Sandbox, new_sandbox, pip_of, program
from tests.clients.projects import Builder
from tests.clients.servers import PROMPT
from tests.clients.tls import Authority
from tests.http_server import TOKEN, running_program
from tests.ports import free_port

pytestmark = pytest.mark.clients


@dataclass(frozen=True)
class TlsServer:
    """A running server."""

    url: str
    authority: Path
    """The certificate of the authority."""
    printed: str


@contextmanager
def running_tls_server(folder: Path, *options: str) -> Iterator[TlsServer]:
    """Start a server whose settings file names a certificate beside it."""
    sandbox, authority = new_sandbox(folder), Authority()
    places = folder / "ca.pem", folder / "chain.pem", folder / "key.pem"
    for path, content in zip(places, (authority.pem, *authority.issue()), strict=True):
        path.write_bytes(content)
        path.chmod(0o600)
    port, log, config = free_port(), folder / "log.txt", folder / "wheelyard.toml"
    names = f'[server]\nport = {port}\ncertificate = "chain.pem"\nkey = "key.pem"\n'
    config.write_text(f'{names}[store]\nlocation = "{folder}/store"\n')
    server: list[str | Path] = [
        sys.executable,
        "-m",
        "wheelyard",
        "serve",
        "--config",
        config,
        *options,
    ]
    url = f"https://127.0.0.1:{port}"
    trusting = ssl.create_default_context(cafile=places[0])

    def is_up() -> bool:
        try:
            return httpx2.get(f"{url}/health", verify=trusting, trust_env=False).is_success
        except httpx2.TransportError:  # not listening yet
            return False

    with running_program(
        sandbox, server, log, lambda: is_up() and PROMPT in log.read_text(), SOURCE
    ):
        yield TlsServer(url, places[0], log.read_text())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsServer]:
    """A server that speaks TLS itself."""
    with running_tls_server(tmp_path_factory.mktemp("tls") / "server") as server:
        yield server


def test_clients_publish_and_install_over_tls(
    server: TlsServer, sandbox: Sandbox, build: Builder
) -> None:
    """Twine publishes, and pip and uv install, over TLS with an authority of one's own."""
    project, python = build("flit-core", "yard-base", "2.0"), sandbox.python()
    found = TOKEN.search(server.printed)
    assert found is not None
    upload = ("--repository-url", f"{server.url}/legacy/", "-u", "__token__", "-p", found[0])
    trusted = str(server.authority)

    sandbox.run(program("twine"), "upload", *upload, "--cert", trusted, project.wheel)
    pip = (*pip_of(python), "install", "--index-url", f"{server.url}/simple/")
    sandbox.run(*pip, "yard-base", PIP_CERT=trusted)
    project.assert_installed(python)
    again = (find_uv_bin(), "pip", "install", "--reinstall", "--python", python, "--default-index")
    sandbox.run(*again, f"{server.url}/simple/", "yard-base", SSL_CERT_FILE=trusted)


def test_every_printed_url_is_https(server: TlsServer) -> None:
    """Every URL that the start prints begins with https."""
    assert f"at {server.url}/simple/" in server.printed
    assert "http://" not in server.printed


def test_health_of_the_image(server: TlsServer, sandbox: Sandbox) -> None:
    """The health check of the image speaks TLS with a server that does."""
    check = REPOSITORY / "deploy" / "image" / "health.py"

    sandbox.run(sys.executable, "-IS", check, WHEELYARD_SERVER_PORT=server.url.rpartition(":")[2])


def test_several_processes_speak_tls(tmp_path: Path) -> None:
    """A server of several processes speaks TLS as one of a single process does."""
    with running_tls_server(tmp_path / "server", "--workers", "2") as server:
        assert f"at {server.url}/simple/" in server.printed
