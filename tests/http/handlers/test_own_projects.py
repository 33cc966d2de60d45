"""The projects of a person on the page of the account."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.authentication.verifiers.test_password_hashes import SHA
from tests.distributions import make_wheel
from tests.fake_store import ALWAYS, FakeStore, Fault, FaultKind
from tests.http.browser import Browser
from tests.http.in_process import InProcessServer, in_process
from tests.http.packages import form
from tests.index_tables import toml_of
from wheelyard.settings.sections import AccessSettings, ServerSettings, Settings
from wheelyard.storage.memory import MemoryStore

PASSWORD = "s3cret"
ACCOUNT = "/-/account/"
GRANTS: tuple[dict[str, object], ...] = (
    {"who": ["htpasswd:ana"], "projects": ["*"], "actions": ["upload"]},
    {"who": ["htpasswd:ben"], "projects": ["*"], "actions": ["read"]},
    {"who": ["htpasswd:ben"], "projects": ["ml-*", "acme-core"], "actions": ["manage"]},
)


def settings_in(folder: Path) -> Settings:
    """Return settings with a person who may do everything, and one with projects by name."""
    (folder / "htpasswd").write_text(f"ana:{SHA}\nben:{SHA}\n")
    access = AccessSettings(
        private=True,
        cookie_login=True,
        htpasswd_file=str(folder / "htpasswd"),
        htpasswd_may=(),
    )
    return Settings(server=ServerSettings(public_url="http://index"), access=access)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[InProcessServer]:
    """A server with a few projects, of which nobody is known to have uploaded any."""
    with in_process(tmp_path, settings_in(tmp_path), tables=toml_of(grant=GRANTS)) as server:
        for name in ("acme-core", "ml-train", "other"):
            server.clock.advance(hours=1)
            server.publish(make_wheel(name))
        yield server


def own(server: InProcessServer, name: str) -> list[str]:
    """Return the projects on the page of the account of a person, in their order."""
    browser = Browser(server)
    assert browser.sign_in(name, PASSWORD).status == 303
    page = browser.open(ACCOUNT)
    assert page.status == 200
    return re.findall(r'<li><p><a href="../../project/([a-z-]+)/"', page.body.decode())


def upload(server: InProcessServer, name: str, authorization: str) -> None:
    """Upload a project as a person or with a token."""
    body = form(make_wheel(name))
    headers = (
        ("authorization", authorization),
        ("content-type", "multipart/form-data; boundary=frontier"),
        ("content-length", str(len(body))),
    )
    assert server.get("/legacy/", *headers, method="POST", body=[body]).status == 200


def test_own_projects_are_those_that_a_grant_names(server: InProcessServer) -> None:
    """A person's projects are those that a grant names; a right to everything names none."""
    assert own(server, "ben") == ["ml-train", "acme-core"]
    assert own(server, "ana") == []


def test_own_projects_are_those_of_the_last_upload(server: InProcessServer) -> None:
    """A person's projects are also those with a latest upload of the person's, by a token, too."""
    upload(server, "of-ana", "Basic YW5hOnMzY3JldA==")
    browser = Browser(server)
    browser.sign_in("ana", PASSWORD)
    fields = {"action": "create", "name": "laptop", "can": "upload", "projects": "*", "days": "9"}
    token = {"csrf_token": browser.form_token("/-/account/tokens/")}
    made = browser.follow(browser.send("/-/account/tokens/", token | fields)).body.decode()
    match = re.search(r"wyd_[0-9A-Za-z]+", made)
    assert match is not None
    server.clock.advance(hours=1)
    upload(server, "by-token", f"Bearer {match[0]}")

    assert own(server, "ana") == ["by-token", "of-ana"]
    assert own(server, "ben") == ["ml-train", "acme-core"]


def test_account_begins_with_tokens_and_sign_out(server: InProcessServer) -> None:
    """Tokens and the sign-out are above the projects, of which a link shows all."""
    for number in range(21):
        server.publish(make_wheel(f"ml-{number}"))
    browser = Browser(server)
    browser.sign_in("ben", PASSWORD)
    page = browser.open(ACCOUNT).body.decode()
    titles = re.findall("<h2>(.+?)</h2>", page)
    assert titles == ["API tokens", "Sign out", "Your projects"]
    link = re.search(r'<a href="\./(\?projects=all)">And 3 more</a>', page)
    assert link is not None
    whole = browser.open(f"{ACCOUNT}{link[1]}").body.decode()
    assert whole.count('href="../../project/') == 23
    assert "more</a>" not in whole


def test_account_is_shown_while_the_store_is_down(tmp_path: Path) -> None:
    """Whoever wants to sign out can do so, although nobody knows their projects just now."""
    store = FakeStore(MemoryStore(lambda: 0.0))
    with in_process(tmp_path, settings_in(tmp_path), store=store, near=False) as server:
        browser = Browser(server)
        browser.sign_in("ana", PASSWORD)
        assert browser.open(ACCOUNT).status == 200
        store.follow(Fault(FaultKind.NOT_DONE, "get", times=ALWAYS))
        page = browser.open(ACCOUNT)
        store.follow()
    assert page.status == 200
    assert b"Sign out" in page.body
