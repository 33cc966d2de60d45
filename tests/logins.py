"""`wheelyard login` at a running server, and the person who makes the token in a browser."""

import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.authentication.verifiers.test_password_hashes import SHA
from tests.cli.conftest import Done, called
from tests.clients.harness import Sandbox
from tests.http.servers import RunningServer, memory_index, running_app
from tests.http_server import TOKEN
from tests.index_tables import toml_of
from wheelyard.settings.sections import AccessSettings, Settings
from wheelyard.wiring.index import Index

USER, PASSWORD = "ana", "s3cret"
_SHOWN = re.compile(r"Make a token on this page, and copy it:\s+(\S+)")


def make_token(address: str, **changes: str) -> str:
    """Sign in as Ana, open the address of a command, send the form, and return the token."""
    root, _, _ = address.partition("/-/account/")
    origin = urlsplit(address)._replace(path="", query="").geturl()
    headers = {"Accept": "text/html", "Origin": origin}
    with httpx2.Client(headers=headers, trust_env=False) as browser:
        fields = {"user": USER, "password": PASSWORD, "next": "/"}
        assert browser.post(f"{root}/-/sign-in/", data=fields).status_code == 303
        page = browser.get(address).text
        named = re.findall('<input[^>]* name="([a-z_]+)" value="([^"]*)"', page)
        form = {name: unescape(value) for name, value in named if name not in ("q", "can", "index")}
        ticked = dict(re.findall('name="(can|index)" value="([^"]+)" checked', page))
        made = {**form, **ticked, **changes}
        answer = browser.post(f"{root}/-/account/tokens/", data=made, follow_redirects=True)
    match = TOKEN.search(answer.text)
    assert (answer.status_code, match is not None) == (200, True), answer.text
    return match[0] if match else ""


def shown(text: str) -> str | None:
    """Return the address that a command has printed, or None."""
    match = _SHOWN.search(text)
    return match[1] if match else None


def typed_login(
    sandbox: Sandbox,
    *arguments: str | Path,
    environment: Mapping[str, str],
    act: Callable[[str], str] = make_token,
) -> Done:
    """
    Run `wheelyard login` in this process, and return what it has printed.

    The first time there is nothing on standard input. What `act` makes of the address is there the
    second time, unless none was shown.
    """
    every = {**sandbox.environment(), **environment}

    def run(typed: str) -> Done:
        with tempfile.TemporaryFile("w+") as stdin, pytest.MonkeyPatch.context() as patch:
            stdin.write(typed)
            stdin.seek(0)
            patch.setattr(sys, "stdin", stdin)
            return called(sandbox.folder, every, "login", *arguments)

    first = run("")
    address = shown(first.stderr)
    if address is None:
        return first
    assert (first.returncode, first.stdout) == (2, ""), first.stderr
    return run(f"{act(address)}\n")


@dataclass(frozen=True)
class LoginServer:
    """A private index where Ana has a password, and may upload `acme-*` and read everything."""

    server: RunningServer
    index: Index

    @property
    def url(self) -> str:
        """Its root URL."""
        return self.server.url

    def principal(self, token: str) -> str:
        """Return whom a token is for, or the code of the error."""
        answer = self.server.get("/api/v1/whoami", token).json()
        return str(answer.get("principal") or answer["error"])


@contextmanager
def running_login_server(folder: Path, **access: object) -> Iterator[LoginServer]:
    """Serve such an index from this process."""
    (folder / "htpasswd").write_text(f"{USER}:{SHA}\n")
    values: Mapping[str, object] = {
        "cookie_login": True,
        "htpasswd_file": str(folder / "htpasswd"),
        "htpasswd_may": (),
        "private": True,
        **access,
    }
    grants: tuple[dict[str, object], ...] = (
        {"who": [f"htpasswd:{USER}"], "projects": ["acme-*"], "actions": ["upload"]},
        {"who": [f"htpasswd:{USER}"], "projects": ["*"], "actions": ["read"]},
    )
    settings = Settings(access=AccessSettings(**values))  # type: ignore[arg-type]
    index = memory_index(folder, settings, tables=toml_of(grant=grants))
    with running_app(index, folder) as server:
        yield LoginServer(server, index)
