"""Google's ID tokens: who somebody is."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

import pytest

from tests.trust.issuer import (
    NOW,
    Clock,
    StandIn,
    loopback_fetcher,
    rsa_key,
    stand_in,
)
from wheelyard.errors import Unauthenticated, Unavailable
from wheelyard.trust.google import GCLOUD, Login, google_keys, google_login
from wheelyard.trust.keysets import Means
from wheelyard.trust.verifier import Verdicts

pytestmark = pytest.mark.integration

HERE = "https://pypi.acme.dev"
ROBOT = "build@acme-ci.iam.gserviceaccount.com"
ANA: dict[str, object] = {
    "iss": "https://accounts.google.com",
    "aud": HERE,
    "azp": "112233.apps.googleusercontent.com",
    "sub": "104857600123456789012",
    "email": "ana@acme.dev",
    "email_verified": True,
    "hd": "acme.dev",
    "iat": NOW - 60,
    "exp": NOW + 3540,
}
BUILD = {**ANA, "email": ROBOT, "hd": None, "azp": "104857600123456789012"}
KEY = rsa_key("google")


@dataclass
class World:
    """An index that believes Google."""

    site: StandIn
    means: Means
    clock: Clock = field(default_factory=Clock)

    def login(self, *domains: str, audiences: tuple[str, ...] = (HERE,)) -> Login:
        """Return what recognises people; of some domains only, if there are any."""
        return google_login(
            google_keys(self.means, self.site.keys_url),
            frozenset(audiences),
            frozenset(domains),
            self.clock,
            Verdicts(bytes(range(32)), self.clock),
        )

    def principals(self, claims: dict[str, object], *domains: str) -> set[str]:
        """Return what the sender of a token may be called by a grant."""
        return set(self.login(*domains).identity(KEY.token(claims)).principals)


@pytest.fixture
def world() -> Iterator[World]:
    """Run a stand-in for Google."""
    with stand_in() as site, loopback_fetcher() as fetcher:
        site.serve_keys(KEY)
        yield World(site, Means(fetcher, Clock(), Random(4), lambda work: work()))


@pytest.mark.parametrize("issuer", ["https://accounts.google.com", "accounts.google.com"])
def test_a_person(world: World, issuer: str) -> None:
    """A person of a company is known by e-mail address and by the company's domain."""
    identity = world.login().identity(KEY.token({**ANA, "iss": issuer}))

    assert identity.principal == "user:ana@acme.dev"
    assert identity.principals == {
        "anonymous",
        "allAuthenticated",
        "user:ana@acme.dev",
        "domain:acme.dev",
    }
    assert identity.scopes == ()


def test_a_service_account(world: World) -> None:
    """A service account is known by its address, and by the address with its lasting number."""
    identity = world.login("acme.dev").identity(KEY.token(BUILD))

    assert identity.principal == f"serviceAccount:{ROBOT}"
    assert identity.principals == {
        "anonymous",
        "allAuthenticated",
        f"serviceAccount:{ROBOT}",
        f"serviceAccount:{ROBOT}#104857600123456789012",
    }


def test_a_service_account_that_was_made_again(world: World) -> None:
    """A service account that was deleted and made again has another number, and is told apart."""
    again = world.principals({**BUILD, "sub": "999999999999999999999"})

    assert f"serviceAccount:{ROBOT}#104857600123456789012" not in again
    assert f"serviceAccount:{ROBOT}" in again


def test_capital_letters(world: World) -> None:
    """An e-mail address and a domain are the same in capital letters."""
    found = world.principals({**ANA, "email": "Ana@ACME.dev", "hd": "Acme.Dev"}, "acme.dev")

    assert {"user:ana@acme.dev", "domain:acme.dev"} <= found


@pytest.mark.parametrize("value", ["true", "True", 1, False, None, [True], "yes"], ids=repr)
def test_addresses_that_nobody_verified(world: World, value: object) -> None:
    """An e-mail address counts only where Google says in so many words that it is verified."""
    with pytest.raises(Unauthenticated):
        world.principals({**ANA, "email_verified": value})


@pytest.mark.parametrize(
    "email",
    [
        None,
        "",
        "ana",
        "@acme.dev",
        "ana@",
        "ana@acme.dev@evil.example",
        "ana@acme.dev\n",
        "ana @acme.dev",
        "\u00e4na@acme.dev",
        "ana@acme.d\u212av",
        "ana@\u0430cme.dev",
        "ana@acme.dev#1",
        ["ana@acme.dev"],
        {"ana@acme.dev": 1},
        7,
        f"{'a' * 65}@acme.dev",
    ],
    ids=ascii,
)
def test_addresses_that_are_none(world: World, email: object) -> None:
    """An e-mail address that is not plain, or has letters that look like others, names nobody."""
    with pytest.raises(Unauthenticated):
        world.principals({**ANA, "email": email})


def test_a_private_account_on_a_company_address(world: World) -> None:
    """A private Google account on a company's e-mail address does not belong to the company."""
    found = world.principals({**ANA, "hd": None})

    assert "user:ana@acme.dev" in found
    assert not any(name.startswith("domain:") for name in found)


@pytest.mark.parametrize("domain", ["", 7, ["acme.dev"], True, "acme.dev\n", "\u0430cme.dev"])
def test_domains_that_are_none(world: World, domain: object) -> None:
    """A domain that is no plain domain is not believed."""
    with pytest.raises(Unauthenticated):
        world.principals({**ANA, "hd": domain})


@pytest.mark.parametrize("domain", [None, "evil.example", "sub.acme.dev", "acme.dev.evil"])
def test_accounts_of_other_domains(world: World, domain: str | None) -> None:
    """Where only some domains are allowed, accounts of others and private ones are refused."""
    claims = {**ANA, "hd": domain}

    assert world.principals(claims)
    assert world.principals(ANA, "acme.dev", "acme.example")
    with pytest.raises(Unauthenticated):
        world.principals(claims, "acme.dev", "acme.example")


def test_tokens_for_nobody_in_particular(world: World) -> None:
    """A token that gcloud makes for no audience is refused, even if somebody configured that."""
    login = world.login(audiences=(GCLOUD, HERE))

    with pytest.raises(Unauthenticated):
        login.identity(KEY.token({**ANA, "aud": GCLOUD, "azp": GCLOUD}))
    assert login.identity(KEY.token({**ANA, "azp": GCLOUD})).principal == "user:ana@acme.dev"


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "https://cloud.google.com/iap"},
        {"iss": "https://token.actions.githubusercontent.com"},
        {"aud": "/projects/1/global/backendServices/2"},
        {"aud": "wheelyard-publishing"},
    ],
    ids=repr,
)
def test_tokens_for_another_purpose(world: World, change: dict[str, object]) -> None:
    """A token for pages behind a proxy, or for publishing from CI, signs nobody in."""
    with pytest.raises(Unauthenticated):
        world.principals({**ANA, **change})


def test_a_token_is_verified_once(world: World) -> None:
    """A token that was believed is believed again without its being verified, for five minutes."""
    login, token = world.login(), KEY.token(ANA)
    assert login.known(token) is None
    first = login.identity(token)
    world.site.answers.clear()

    assert login.known(token) is first
    assert login.identity(token) is first
    world.clock.time += 299
    assert login.known(token) is first
    world.clock.time += 1
    assert login.known(token) is None


def test_an_expired_token_is_forgotten(world: World) -> None:
    """No token is believed from memory once it has expired."""
    login, token = world.login(), KEY.token({**ANA, "exp": NOW + 100})
    login.identity(token)

    world.clock.time += 99
    assert login.known(token)
    world.clock.time += 1
    assert login.known(token) is None
    world.clock.time += 31
    with pytest.raises(Unauthenticated):
        login.identity(token)


def test_memory_is_bounded() -> None:
    """Whoever sends many tokens makes the index forget the oldest, and does not fill its memory."""
    verdicts = Verdicts[int](bytes(32), Clock(), capacity=3)
    marks = [verdicts.mark("kind", str(each)) for each in range(4)]
    for mark in marks[:3]:
        verdicts.put(mark, 1, 10)
    verdicts.get(marks[0])
    verdicts.put(marks[3], 1, 10)

    assert [verdicts.get(mark) for mark in marks] == [1, None, 1, 1]


def test_marks_are_not_confused() -> None:
    """What is remembered of one credential is never found for another, in any process."""
    verdicts, other = Verdicts[int](bytes(32), Clock()), Verdicts[int](bytes(31) + b"1", Clock())

    assert verdicts.mark("a", "bc") != verdicts.mark("ab", "c")
    assert verdicts.mark("a", "bc") != other.mark("a", "bc")


def test_google_is_down(world: World) -> None:
    """While Google's keys cannot be had, nobody is told that their good token is bad."""
    world.site.answers.clear()

    with pytest.raises(Unavailable) as told:
        world.login().identity(KEY.token(ANA))
    assert told.value.code == "identity_unavailable"


@pytest.mark.parametrize(
    "token", ["", "\u00e9", "\ud800", "x" * 100_000, "\0"], ids=lambda t: t[:2]
)
def test_nonsense(world: World, token: str) -> None:
    """What is no token at all is refused like any other."""
    assert world.login().known(token) is None
    with pytest.raises(Unauthenticated):
        world.login().identity(token)


def test_nothing_secret_is_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """No log, at whatever level, holds a part of a token."""
    caplog.set_level(logging.DEBUG)
    login, token = world.login("acme.dev"), KEY.token(ANA)
    other = KEY.token({**ANA, "hd": None})
    login.identity(token)
    with pytest.raises(Unauthenticated) as told:
        login.identity(other)

    assert repr(told.value.__cause__) == "Refused('jwt_hd')"
    parts = [*token.split(".")[1:], *other.split(".")[1:]]
    written = f"{caplog.text}{told.value!r}{login!r}{vars(login)!r}"
    assert [part for part in parts if part in written] == []
