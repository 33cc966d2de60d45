"""Signing in with GitHub beside another provider: what a browser gets, and what ends a session."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.authentication.sign_in.fake_github import CLIENT, SECRET, FakeGitHub, running_github
from tests.authentication.sign_in.fake_provider import SECRET as ACME_SECRET
from tests.authentication.sign_in.fake_provider import FakeProvider, running_providers
from tests.distributions import make_wheel
from tests.fake_time import Clock
from tests.http.browser import Browser
from tests.http.in_process import InProcessResponse, InProcessServer, in_process
from tests.in_process_network import NetworkOrPorts
from tests.index_tables import toml_of
from wheelyard.settings.sections import AccessSettings, ServerSettings, Settings
from wheelyard.settings.validation import validate

GRANT = {"who": ["oidc:github:group:acme/platform"], "projects": ["*"], "actions": ["read"]}


@dataclass
class Place:
    """A private index with two providers."""

    server: InProcessServer
    github: FakeGitHub
    acme: FakeProvider

    def sign_in(self, browser: Browser) -> InProcessResponse:
        """Let somebody sign in with GitHub."""
        start = browser.open("/-/sign-in/github/?next=%2Fproject%2Fdemo%2F")
        back = self.github.authorize(start.headers["location"])
        return browser.open(f"/-/sign-in/github/callback?{urlencode(back)}")


@pytest.fixture
def place(tmp_path: Path, network: NetworkOrPorts) -> Iterator[Place]:
    """An index whose projects a team of GitHub may read."""
    clock = Clock()
    with running_github(network) as github, running_providers(network) as providers:
        acme = providers.provider(clock.seconds)
        tables: tuple[dict[str, object], ...] = (
            {
                "name": "github",
                "kind": "github",
                "title": "GitHub",
                "issuer": github.issuer,
                "client_id": CLIENT,
                "secret": SECRET,
                "require": {"organizations": "acme"},
                "allow_private": True,
            },
            {
                "name": "acme",
                "issuer": acme.issuer,
                "client_id": "wheelyard",
                "secret": ACME_SECRET,
                "allow_private": True,
            },
        )
        server = ServerSettings(public_url="https://packages.acme.dev")
        access = AccessSettings(private=True)
        settings = validate(Settings(server=server, access=access, sign_in=tables))
        with in_process(tmp_path, settings, clock=clock, tables=toml_of(grant=[GRANT])) as running:
            running.publish(make_wheel("demo"))
            yield Place(running, github, acme)


def test_a_team_of_github_may_read(place: Place) -> None:
    """Who is in the team signs in by a button, and sees what the grant says."""
    browser = Browser(place.server)
    assert "Sign in with GitHub" in browser.open("/-/sign-in/").body.decode()
    assert place.sign_in(browser).status == 200
    assert browser.open("/project/demo/").status == 200
    account = browser.open("/-/account/").body.decode()
    assert "oidc:github:ana-acme" in account
    assert "oidc:github:group:acme/docs" in account


def test_who_leaves_the_team_loses_its_rights(place: Place) -> None:
    """Who has left a team at GitHub has lost its rights here an hour later."""
    browser = Browser(place.server)
    place.sign_in(browser)
    place.github.account.teams = ("Acme/docs",)
    place.server.clock.advance(minutes=61)
    assert browser.open("/project/demo/").status == 404
    assert "oidc:github:ana-acme" in browser.open("/-/account/").body.decode()


def test_who_leaves_the_organization_is_out(place: Place) -> None:
    """Who has left the organization at GitHub is signed out after an hour, and then refused."""
    browser = Browser(place.server)
    place.sign_in(browser)
    place.github.account.organizations = ()
    place.server.clock.advance(minutes=61)
    assert browser.open("/project/demo/").status == 401
    refused = place.sign_in(browser)
    assert refused.status == 403
    assert "Your account at GitHub is none that may sign in here" in refused.body.decode()


def test_a_changed_login_is_followed_and_opens_nothing_to_others(place: Place) -> None:
    """Who changes their login at GitHub stays the same person; who takes the old one is refused."""
    browser = Browser(place.server)
    place.sign_in(browser)
    place.github.account.login = "ana-new"
    place.sign_in(browser)
    assert "oidc:github:ana-new" in browser.open("/-/account/").body.decode()
    place.github.account.id, place.github.account.login = 7, "ana-acme"
    taken = place.sign_in(Browser(place.server))
    assert taken.status == 409
    assert "The name ana-acme belongs to somebody else here" in taken.body.decode()


def test_answers_of_two_providers_are_not_mixed_up(place: Place) -> None:
    """What was begun with one provider cannot be finished with the other, in either direction."""
    browser = Browser(place.server)
    of_acme = place.acme.authorize(browser.open("/-/sign-in/acme/").headers["location"])
    of_github = place.github.authorize(browser.open("/-/sign-in/github/").headers["location"])
    mixed = {**of_github, "state": of_acme["state"]}
    for provider, query, status in (
        ("acme", of_github, 400),
        ("acme", mixed, 403),
        ("github", of_acme, 400),
        ("github", mixed, 400),
    ):
        answer = browser.open(f"/-/sign-in/{provider}/callback?{urlencode(query)}")
        assert answer.status == status
        assert "-session-" not in answer.headers.get("set-cookie", "")
    assert place.github.tokens == set()


def test_a_token_of_github_is_sealed_in_the_store(place: Place) -> None:
    """Whoever reads the store finds no token that GitHub would take."""
    place.sign_in(Browser(place.server))
    store = place.server.index.stores.credentials
    (entry,) = store.list("credentials/people/")
    body = b"".join(store.read(entry.key))
    assert b'"refresh_token":"' in body
    assert b"gho_" not in body
