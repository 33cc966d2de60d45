"""Assertions of Google's proxy for people with browsers."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

import pytest

from tests.trust.issuer import (
    NOW,
    Clock,
    SigningKey,
    StandIn,
    ec_key,
    loopback_fetcher,
    rsa_key,
    stand_in,
)
from wheelyard.errors import Unauthenticated, Unavailable
from wheelyard.model.access import Identity
from wheelyard.trust.google import Login, iap_keys, iap_login
from wheelyard.trust.keysets import Means
from wheelyard.trust.verifier import Verdicts

pytestmark = pytest.mark.integration

HERE = "/projects/1234/global/backendServices/5678"
KEY = ec_key("iap")
ANA: dict[str, object] = {
    "iss": "https://cloud.google.com/iap",
    "aud": HERE,
    "sub": "accounts.google.com:104857600123456789012",
    "email": "ana@acme.dev",
    "hd": "acme.dev",
    "iat": NOW - 10,
    "exp": NOW + 590,
}


@dataclass
class World:
    """An index behind the proxy."""

    site: StandIn
    means: Means
    clock: Clock = field(default_factory=Clock)

    def login(self) -> Login:
        """Return what recognises people."""
        keys = iap_keys(self.means, self.site.keys_url)
        return iap_login(keys, frozenset({HERE}), self.clock, Verdicts(bytes(32), self.clock))

    def identity(self, claims: dict[str, object], key: SigningKey = KEY) -> Identity:
        """Return who is before the browser."""
        return self.login().identity(key.token(claims))


@pytest.fixture
def world() -> Iterator[World]:
    """Run a stand-in for the place where the proxy's keys are."""
    with stand_in() as site, loopback_fetcher() as fetcher:
        site.serve_keys(KEY)
        yield World(site, Means(fetcher, Clock(), Random(4), lambda work: work()))


def test_a_person(world: World) -> None:
    """A person whom the proxy has let through is known by e-mail address and domain."""
    identity = world.identity(ANA)

    assert identity.principal == "user:ana@acme.dev"
    assert identity.principals == {
        "anonymous",
        "allAuthenticated",
        "user:ana@acme.dev",
        "domain:acme.dev",
    }


def test_a_private_account(world: World) -> None:
    """A private account has no domain, whatever its address looks like."""
    assert world.identity({**ANA, "hd": None}).principals == {
        "anonymous",
        "allAuthenticated",
        "user:ana@acme.dev",
    }


def test_a_service_account(world: World) -> None:
    """A service account that came through the proxy has none of the rights of its ID token."""
    robot = {**ANA, "email": "b@acme.iam.gserviceaccount.com", "hd": None}

    assert world.identity(robot).principals == {"anonymous", "allAuthenticated"}


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "https://cloud.google.com/iap/"},
        {"iss": "https://accounts.google.com"},
        {"aud": "/projects/1234/global/backendServices/56789"},
        {"aud": "https://pypi.acme.dev"},
        {"aud": [HERE]},
        {"exp": NOW + 651},
        {"iat": NOW - 661, "exp": NOW - 1},
        {"exp": NOW - 31},
        {"gcip": {"auth_time": NOW}},
        {"gcip": None, "sub": "securetoken.google.com/acme:abc"},
        {"sub": "accounts.google.com:"},
        {"sub": "104857600123456789012"},
        {"email": None},
        {"email": "accounts.google.com:ana@acme.dev\n"},
        {"email": "\u00e4na@acme.dev"},
        {"hd": ["acme.dev"]},
    ],
    ids=repr,
)
def test_other_assertions(world: World, change: dict[str, object]) -> None:
    """An assertion for another service, of an outside identity or too old lets nobody in."""
    with pytest.raises(Unauthenticated):
        world.identity({**ANA, **change})


def test_an_id_token_as_an_assertion(world: World) -> None:
    """What is signed with the keys for ID tokens is no assertion."""
    world.site.serve_keys(KEY, rsa_key("google"))

    with pytest.raises(Unauthenticated):
        world.identity(ANA, rsa_key("google"))


def test_an_assertion_is_verified_once(world: World) -> None:
    """A person who opens many pages costs one verification."""
    login, token = world.login(), KEY.token(ANA)
    first = login.identity(token)
    world.site.answers.clear()

    assert login.identity(token) is first


def test_the_keys_cannot_be_had(world: World) -> None:
    """While the proxy's keys cannot be had, nobody is let in, and nobody is called a liar."""
    world.site.answers.clear()

    with pytest.raises(Unavailable):
        world.identity(ANA)
