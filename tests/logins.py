"""`wheelyard login` at a running server, and the person who approves it in a browser."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
from msgspec.structs import replace

from tests.authentication.verifiers.test_password_hashes import SHA
from tests.cli.conftest import Done, called
from tests.clients.harness import Sandbox
from tests.http.servers import RunningServer, memory_index, running_app
from wheelyard.api.device_login import DeviceAuthorization, WantedLogin, begin_login
from wheelyard.api_client import ApiConnection
from wheelyard.cli import login_commands
from wheelyard.settings.sections import AccessSettings, Settings
from wheelyard.wiring.index import Index
from wheelyard.wiring.stores import system_runtime

USER, PASSWORD = "ana", "s3cret"
_SHOWN = re.compile(r"type the code (\S+) there:\s+(\S+)")


def decide(url: str, code: str, action: str = "approve", **changes: str) -> httpx2.Response:
    """Sign in as Ana, open the URL that a program has printed, and send the form."""
    origin, _, _ = url.partition("/-/login/")
    headers = {"Accept": "text/html", "Origin": urlsplit(url)._replace(path="", query="").geturl()}
    with httpx2.Client(headers=headers, trust_env=False) as browser:
        fields = {"user": USER, "password": PASSWORD, "next": "/"}
        assert browser.post(f"{origin}/-/sign-in/", data=fields).status_code == 303
        page = browser.get(url).text
        named = re.findall('<input[^>]* name="([a-z_]+)" value="([^"]*)"', page)
        form = {name: unescape(value) for name, value in named if name not in ("q", "can")}
        ticked = re.search('name="can" value="([a-z]+)" checked', page)
        form |= {"can": ticked[1] if ticked else "", "code": code, "action": action, **changes}
        return browser.post(f"{origin}/-/login/", data=form)


def shown(text: str) -> tuple[str, str] | None:
    """Return the URL and the code that a command has printed, or None."""
    match = _SHOWN.search(text)
    return (match[2], match[1]) if match else None


def typed_login(
    sandbox: Sandbox,
    *arguments: str | Path,
    environment: Mapping[str, str],
    act: Callable[[str, str], object] = decide,
) -> Done:
    """
    Run `wheelyard login` in this process, and let a person act while it waits.

    It waits no second: its first pause calls `act`, with the URL and the code.
    """
    begun = list[DeviceAuthorization]()

    def begin(connection: ApiConnection, wanted: WantedLogin) -> DeviceAuthorization:
        begun.append(begin_login(connection, wanted))
        return begun[0]

    def pause(_: float) -> None:
        if begun:
            login = begun.pop()
            act(login.verification_uri, login.user_code)

    with pytest.MonkeyPatch.context() as patch:
        runtime = replace(system_runtime(), pause=pause)
        patch.setattr(login_commands, "system_runtime", lambda: runtime)
        patch.setattr(login_commands, "begin_login", begin)
        every = {**sandbox.environment(), **environment}
        return called(sandbox.folder, every, "login", *arguments)


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
        **access,
    }
    grants: tuple[dict[str, object], ...] = (
        {"who": [f"htpasswd:{USER}"], "projects": ["acme-*"], "actions": ["upload"]},
        {"who": [f"htpasswd:{USER}"], "projects": ["*"], "actions": ["read"]},
    )
    settings = Settings(access=AccessSettings(**values), grant=grants)  # type: ignore[arg-type]
    index = memory_index(folder, settings)
    with running_app(index, folder) as server:
        yield LoginServer(server, index)
