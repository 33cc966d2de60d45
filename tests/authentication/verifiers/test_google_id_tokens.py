"""Who somebody is by Google's word: ID tokens, and assertions of its proxy."""

import pytest

from tests.authentication.verifiers.fake_issuer import NOW, SigningKey, World, ec_key, rsa_key
from wheelyard.authentication.verifiers.google_id_tokens import (
    GCLOUD_CLIENT_ID,
    IdTokenVerifier,
    google_verifier,
    iap_verifier,
)
from wheelyard.authentication.verifiers.verifier import VerificationCache
from wheelyard.errors import Unauthenticated, Unavailable
from wheelyard.model.access import Identity

pytestmark = pytest.mark.integration

HERE = "https://pypi.acme.dev"
SERVICE = "/projects/1234/global/backendServices/5678"
ROBOT = "build@acme-ci.iam.gserviceaccount.com"
KEY, IAP_KEY = rsa_key("google"), ec_key("iap")
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
SEEN: dict[str, object] = {
    "iss": "https://cloud.google.com/iap",
    "aud": SERVICE,
    "sub": "accounts.google.com:104857600123456789012",
    "email": "ana@acme.dev",
    "hd": "acme.dev",
    "iat": NOW - 10,
    "exp": NOW + 590,
}
"""What the proxy says of a person."""


@pytest.fixture(autouse=True)
def _keys(world: World) -> None:
    world.site.serve_keys(KEY, IAP_KEY)


def login_of(world: World, *domains: str, audiences: tuple[str, ...] = (HERE,)) -> IdTokenVerifier:
    """Return what recognises people by ID tokens; of some domains only, if there are any."""
    url, verification_cache = (
        world.site.keys_url,
        VerificationCache[Identity](bytes(32), world.clock),
    )
    return google_verifier(
        world.means, url, frozenset(audiences), frozenset(domains), world.clock, verification_cache
    )


def principals(world: World, claims: dict[str, object], *domains: str) -> set[str]:
    """Return what the sender of an ID token may be called by a grant."""
    return set(login_of(world, *domains).verify(KEY.token(claims)).principals)


def proxied(world: World, claims: dict[str, object], key: SigningKey = IAP_KEY) -> Identity:
    """Return who is before the browser."""
    verification_cache = VerificationCache[Identity](bytes(32), world.clock)
    login = iap_verifier(
        world.means, world.site.keys_url, frozenset({SERVICE}), world.clock, verification_cache
    )
    return login.verify(key.token(claims))


@pytest.mark.parametrize("issuer", ["https://accounts.google.com", "accounts.google.com"])
def test_a_person(world: World, issuer: str) -> None:
    """A person of a company is known by e-mail address and by the company's domain."""
    identity = login_of(world).verify(KEY.token({**ANA, "iss": issuer}))

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
    identity = login_of(world, "acme.dev").verify(KEY.token(BUILD))

    assert identity.principal == f"serviceAccount:{ROBOT}"
    assert identity.principals == {
        "anonymous",
        "allAuthenticated",
        f"serviceAccount:{ROBOT}",
        f"serviceAccount:{ROBOT}#104857600123456789012",
    }


def test_capital_letters(world: World) -> None:
    """An e-mail address and a domain are the same in capital letters."""
    found = principals(world, {**ANA, "email": "Ana@ACME.dev", "hd": "Acme.Dev"}, "acme.dev")

    assert {"user:ana@acme.dev", "domain:acme.dev"} <= found


NOBODY = [
    *({"email_verified": each} for each in ("true", "True", 1, False, None, [True], "yes")),
    *({"email": each} for each in (None, "", "ana", "@acme.dev", "ana@", ["ana@acme.dev"], 7)),
    *({"email": each} for each in ("ana@acme.dev@evil.example", "ana@acme.dev\n", "a @acme.dev")),
    *({"email": f"{each}@acme.dev"} for each in ("\u00e4na", "a" * 65)),
    *({"email": f"ana@{each}"} for each in ("acme.d\u212av", "\u0430cme.dev", "acme.dev#1")),
    *({"hd": each} for each in ("", 7, ["acme.dev"], True, "acme.dev\n", "\u0430cme.dev")),
    *({"iss": each} for each in ("https://cloud.google.com/iap", "https://gitlab.com")),
    *({"aud": each} for each in (SERVICE, "wheelyard-publishing")),
]
"""What may differ in an ID token, so that it names nobody, or is for something else."""


@pytest.mark.parametrize("change", NOBODY, ids=ascii)
def test_tokens_that_name_nobody(world: World, change: dict[str, object]) -> None:
    """An address that is not plain or not verified, a domain that is none: nobody is signed in."""
    with pytest.raises(Unauthenticated):
        principals(world, {**ANA, **change})


def test_a_private_account_on_a_company_address(world: World) -> None:
    """A private Google account on a company's e-mail address does not belong to the company."""
    found = principals(world, {**ANA, "hd": None})

    assert "user:ana@acme.dev" in found
    assert not any(name.startswith("domain:") for name in found)


@pytest.mark.parametrize("domain", [None, "evil.example", "sub.acme.dev", "acme.dev.evil"])
def test_accounts_of_other_domains(world: World, domain: str | None) -> None:
    """Where only some domains are allowed, accounts of others and private ones are refused."""
    claims = {**ANA, "hd": domain}

    assert principals(world, claims)
    assert principals(world, ANA, "acme.dev", "acme.example")
    with pytest.raises(Unauthenticated):
        principals(world, claims, "acme.dev", "acme.example")


def test_tokens_for_nobody_in_particular(world: World) -> None:
    """A token that gcloud makes for no audience is refused, even if somebody configured that."""
    login = login_of(world, audiences=(GCLOUD_CLIENT_ID, HERE))

    with pytest.raises(Unauthenticated):
        login.verify(KEY.token({**ANA, "aud": GCLOUD_CLIENT_ID, "azp": GCLOUD_CLIENT_ID}))
    assert (
        login.verify(KEY.token({**ANA, "azp": GCLOUD_CLIENT_ID})).principal == "user:ana@acme.dev"
    )


def test_a_token_is_verified_once(world: World) -> None:
    """A token that was believed is believed again without its being verified, for five minutes."""
    login, token = login_of(world), KEY.token(ANA)
    assert login.cached_identity(token) is None
    first = login.verify(token)
    world.site.answers.clear()

    assert login.cached_identity(token) is first
    assert login.verify(token) is first
    world.clock.time += 299
    assert login.cached_identity(token) is first
    world.clock.time += 1
    assert login.cached_identity(token) is None


def test_an_expired_token_is_forgotten(world: World) -> None:
    """No token is believed from memory once it has expired."""
    login, token = login_of(world), KEY.token({**ANA, "exp": NOW + 100})
    login.verify(token)

    world.clock.time += 99
    assert login.cached_identity(token)
    world.clock.time += 1
    assert login.cached_identity(token) is None
    world.clock.time += 31
    with pytest.raises(Unauthenticated):
        login.verify(token)


def test_google_is_down(world: World) -> None:
    """While Google's keys cannot be had, nobody is told that their good credential is bad."""
    world.site.answers.clear()

    with pytest.raises(Unavailable) as told:
        login_of(world).verify(KEY.token(ANA))
    assert told.value.code == "identity_unavailable"
    with pytest.raises(Unavailable):
        proxied(world, SEEN)


@pytest.mark.parametrize(
    "token", ["", "\u00e9", "\ud800", "x" * 100_000, "\0"], ids=lambda t: t[:2]
)
def test_nonsense(world: World, token: str) -> None:
    """What is no token at all is refused like any other."""
    assert login_of(world).cached_identity(token) is None
    with pytest.raises(Unauthenticated):
        login_of(world).verify(token)


@pytest.mark.parametrize(
    ("change", "principal", "more"),
    [
        ({}, "user:ana@acme.dev", ["user:ana@acme.dev", "domain:acme.dev"]),
        # a private account has no domain, whatever its address looks like
        ({"hd": None}, "user:ana@acme.dev", ["user:ana@acme.dev"]),
        # a service account has an ID token for its rights
        ({"hd": None, "email": ROBOT}, f"serviceAccount:{ROBOT}", []),
    ],
    ids=repr,
)
def test_who_the_proxy_lets_through(
    world: World, change: dict[str, object], principal: str, more: list[str]
) -> None:
    """A person whom the proxy lets through is known by e-mail address and domain."""
    identity = proxied(world, {**SEEN, **change})

    assert identity.principal == principal
    assert identity.principals == {"anonymous", "allAuthenticated", *more}


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "https://cloud.google.com/iap/"},
        {"iss": "https://accounts.google.com"},
        {"aud": "/projects/1234/global/backendServices/56789"},
        {"aud": "https://pypi.acme.dev"},
        {"aud": [SERVICE]},
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
        proxied(world, {**SEEN, **change})


def test_an_id_token_as_an_assertion(world: World) -> None:
    """What is signed with the keys for ID tokens is no assertion."""
    world.site.serve_keys(KEY, rsa_key("google"))

    with pytest.raises(Unauthenticated):
        proxied(world, SEEN, rsa_key("google"))
