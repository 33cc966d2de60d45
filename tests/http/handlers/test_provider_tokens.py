"""The tokens of somebody who signs in with a provider."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.authentication.sign_in.fake_provider import ProviderServer, running_providers
from tests.distributions import make_wheel
from tests.fake_time import Clock
from tests.http.browser import Browser
from tests.http.handlers.test_provider_sign_in import HERE, TABLES, Place, settings_for
from tests.http.in_process import InProcessResponse, in_process
from tests.in_process_network import NetworkOrPorts

TOKENS = "/-/account/tokens/"
DEMO = "/simple/demo/"


@pytest.fixture
def providers(network: NetworkOrPorts) -> Iterator[ProviderServer]:
    """A server of providers."""
    with running_providers(network) as providers:
        yield providers


@pytest.fixture
def place(providers: ProviderServer, tmp_path: Path) -> Iterator[Place]:
    """A private index with two providers, and Ana in the group that may read."""
    clock = Clock()
    acme, other = (providers.provider(clock.seconds) for _ in range(2))
    acme.claims["groups"] = ["platform"]
    with in_process(tmp_path, settings_for(acme, other), clock=clock, tables=TABLES) as server:
        server.publish(make_wheel("demo"))
        yield Place(server, acme, other)


def send(browser: Browser, path: str, **fields: str) -> InProcessResponse:
    """Send a form of a page."""
    secret = browser.form_token("/-/account/")
    return browser.send(path, {"csrf_token": secret, **fields}, ("Origin", HERE))


def make_token(browser: Browser) -> str:
    """Make a token for 90 days on the page, and return it or an empty text."""
    wanted = {"action": "create", "name": "laptop", "can": "read", "projects": "*", "days": "90"}
    answer = send(browser, TOKENS, **wanted)
    if answer.status == 303:
        answer = browser.follow(answer)
    match = re.search("wyd_[0-9A-Za-z]{48}", answer.body.decode())
    return match[0] if match else ""


def opens(place: Place, token: str) -> str:
    """Return what a token gets for a page that is for a group: the status, or the error's code."""
    place.server.clock.advance(seconds=15)
    answer = place.server.get(DEMO, ("Authorization", f"Bearer {token}"))
    return json.loads(answer.body)["error"] if answer.status == 401 else str(answer.status)


def test_a_token_follows_what_the_provider_says(place: Place) -> None:
    """A token loses a lost group, waits for a sign-in after 30 days or a refusal, and can end."""
    ana, clock = Browser(place.server), place.server.clock
    place.sign_in(ana)
    token = make_token(ana)
    assert opens(place, token) == "200"
    clock.advance(hours=1)
    assert make_token(ana) == ""  # she has signed in more than an hour ago

    place.acme.claims["groups"] = []
    clock.advance(hours=3)
    assert ana.open("/-/account/").status == 200  # which asks the provider anew
    assert opens(place, token) == "404"
    place.acme.claims["groups"] = ["platform"]
    place.sign_in(ana)
    assert opens(place, token) == "200"

    clock.advance(days=29, hours=23)
    assert opens(place, token) == "200"
    clock.advance(hours=1)
    assert opens(place, token) == "owner_unconfirmed"
    place.sign_in(ana)
    assert opens(place, token) == "200"

    place.acme.revoke()
    clock.advance(hours=3)
    assert ana.open("/-/account/").status == 401
    assert opens(place, token) == "owner_unconfirmed"
    place.sign_in(ana)
    assert opens(place, token) == "200"

    (person,) = place.server.index.server.people.all()
    place.server.index.server.people_administration.end("acme", person.id, "user:root@acme.dev")
    assert opens(place, token) == "owner_ended"


def test_a_link_leads_through_the_provider(place: Place) -> None:
    """Who signs in with a provider on the way finds the form of a token filled in by the link."""
    ana, link = Browser(place.server), f"{TOKENS}?can=read&projects=*&days=7&name=laptop"
    assert ana.open(link).status == 401
    place.sign_in(ana, link)

    page = ana.open(link).body.decode()

    assert 'value="laptop"' in page
    assert "the token can read every project in the index main, for 7 days" in page
