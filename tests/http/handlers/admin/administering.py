"""An index with an administrator, who has signed in, and with people of other kinds."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

from tests.authentication.verifiers.test_password_hashes import SHA
from tests.http.browser import Browser
from tests.http.in_process import InProcessResponse, InProcessServer
from tests.index_tables import toml_of
from wheelyard.api.local_api import LocalApi
from wheelyard.model.access import Caller
from wheelyard.settings.sections import AccessSettings, ServerSettings, Settings

PASSWORD = "s3cret"
GRANTS: tuple[dict[str, object], ...] = (
    {"who": ["htpasswd:admin"], "projects": ["*"], "actions": ["admin"]},
    {"who": ["htpasswd:reader", "group:team"], "projects": ["demo*"], "actions": ["read"]},
)
TEAM = {"team": ["htpasswd:stranger"]}
TABLES = toml_of(grant=GRANTS, groups=TEAM)
"""What the store has of rights."""
USERS = ("admin", "reader", "stranger")


def settings_in(folder: Path, **more: Any) -> Settings:  # noqa: ANN401 - any sections
    """Return settings in which people have passwords; `TABLES` say what each may do."""
    (folder / "htpasswd").write_text("".join(f"{name}:{SHA}\n" for name in USERS))
    access = AccessSettings(
        private=True,
        cookie_login=True,
        htpasswd_file=str(folder / "htpasswd"),
        htpasswd_may=(),
    )
    values = {
        "server": ServerSettings(public_url="http://index"),
        "access": access,
    }
    return Settings(**{**values, **more})


@dataclass(frozen=True)
class Administrator:
    """Somebody at a browser who has signed in, usually the administrator."""

    server: InProcessServer
    browser: Browser

    @classmethod
    def of(cls, server: InProcessServer, name: str = "admin") -> "Administrator":
        """Return a person of the htpasswd file who has signed in."""
        browser = Browser(server)
        # a person may sign in thirty times a minute, and the clock of a module stands still
        server.clock.advance(seconds=2)
        assert browser.sign_in(name, PASSWORD).status == 303
        return cls(server, browser)

    @property
    def api(self) -> LocalApi:
        """The operations, for the administrator."""
        policy, names = self.server.index.authenticator.policy, frozenset({"htpasswd:admin"})
        caller = Caller("htpasswd:admin", policy.own_scopes("htpasswd:admin", names), names)
        return LocalApi(index=self.server.index, caller=caller)

    def open(self, path: str) -> InProcessResponse:
        """Open a page below `/-/admin/`."""
        return self.browser.open(f"/-/admin/{path}")

    def read(self, path: str) -> str:
        """Return the words of a page below `/-/admin/`, which nobody may keep."""
        page = self.open(path)
        assert (page.status, page.headers["cache-control"]) == (200, "no-store"), page.body
        return text_of(page)

    def send(self, path: str, **fields: str | Sequence[str]) -> InProcessResponse:
        """Send a form of a page, with its anti-forgery token."""
        token = self.browser.form_token("/-/account/")
        named: Mapping[str, str | Sequence[str]] = {"csrf_token": token, **fields}
        return self.browser.send(f"/-/admin/{path}", named)

    def done(self, path: str, **fields: str | Sequence[str]) -> str:
        """Send a form that is accepted, and return the words of the page that comes then."""
        answer = self.send(path, **fields)
        assert answer.status == 303, text_of(answer)
        page = self.browser.open(answer.headers["location"])
        assert page.status == 200, text_of(page)
        return text_of(page)


def text_of(response: InProcessResponse) -> str:
    """Return the words of a page, without its tags."""
    return " ".join(unescape(re.sub("<[^>]*>", " ", response.body.decode())).split())
