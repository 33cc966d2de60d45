"""Google's ID tokens, and the assertions of Identity-Aware Proxy."""

import pytest

from tests.authentication.verifiers.fake_issuer import (
    NOW,
    SigningKey,
    VerifierHarness,
    bearer,
    ec_key,
    google_claims,
    iap_claims,
    rsa_key,
)
from tests.refused import refused
from wheelyard.authentication.verifiers.google_id_tokens import (
    GCLOUD_CLIENT_ID,
    google_verifier,
    iap_verifier,
)
from wheelyard.authentication.verifiers.signed_jwt import IdTokenVerifier
from wheelyard.authentication.verifiers.verifier import VerificationCache
from wheelyard.errors import Unauthenticated, Unavailable
from wheelyard.model.access import Identity

HERE = "https://pypi.acme.dev"
SERVICE = "/projects/1234/global/backendServices/5678"
ROBOT = "build@acme-ci.iam.gserviceaccount.com"
KEY, IAP_KEY = rsa_key("google"), ec_key("iap")
ANA = google_claims("ana@acme.dev", HERE, NOW - 60)
BUILD = {**ANA, "email": ROBOT, "hd": None, "azp": "104857600123456789012"}
SEEN = iap_claims("ana@acme.dev", SERVICE)
"""The claims of an IAP assertion."""


@pytest.fixture(autouse=True)
def _keys(harness: VerifierHarness) -> None:
    harness.issuer.serve_keys(KEY, IAP_KEY)


def login_of(
    harness: VerifierHarness, *domains: str, audiences: tuple[str, ...] = (HERE,)
) -> IdTokenVerifier:
    """Return a verifier of Google ID tokens, for some domains only if any are given."""
    cache = VerificationCache[Identity](bytes(32), harness.clock.seconds)
    keys = harness.keys("https://accounts.google.com", "RS256")
    return google_verifier(
        keys, frozenset(audiences), frozenset(domains), harness.clock.seconds, cache
    )


def principals(harness: VerifierHarness, claims: dict[str, object], *domains: str) -> set[str]:
    """Return what the sender of an ID token may be called by a grant."""
    return set(login_of(harness, *domains).verify(bearer(KEY.token(claims))).principals)


def proxied(
    harness: VerifierHarness, claims: dict[str, object], key: SigningKey = IAP_KEY
) -> Identity:
    """Return who is before the browser."""
    cache = VerificationCache[Identity](bytes(32), harness.clock.seconds)
    keys = harness.keys("https://cloud.google.com/iap", "ES256")
    login = iap_verifier(keys, frozenset({SERVICE}), harness.clock.seconds, cache)
    return login.verify(bearer(key.token(claims)))


@pytest.mark.parametrize("issuer", ["https://accounts.google.com", "accounts.google.com"])
def test_a_person_is_known_by_address_and_domain(harness: VerifierHarness, issuer: str) -> None:
    """A person of a company is known by e-mail address and by the company's domain."""
    identity = login_of(harness).verify(bearer(KEY.token({**ANA, "iss": issuer})))

    assert identity.principal == "user:ana@acme.dev"
    assert identity.principals == {
        "anonymous",
        "allAuthenticated",
        "user:ana@acme.dev",
        "domain:acme.dev",
    }
    assert identity.scopes == ()


def test_a_service_account_is_known_by_address_and_number(harness: VerifierHarness) -> None:
    """A service account is known by its address, and by the address with its lasting number."""
    identity = login_of(harness, "acme.dev").verify(bearer(KEY.token(BUILD)))

    assert identity.principal == f"serviceAccount:{ROBOT}"
    assert identity.principals == {
        "anonymous",
        "allAuthenticated",
        f"serviceAccount:{ROBOT}",
        f"serviceAccount:{ROBOT}#104857600123456789012",
    }


def test_the_case_of_an_address_does_not_count(harness: VerifierHarness) -> None:
    """An e-mail address and a domain are the same in capital letters."""
    names = principals(harness, {**ANA, "email": "Ana@ACME.dev", "hd": "Acme.Dev"}, "acme.dev")

    assert {"user:ana@acme.dev", "domain:acme.dev"} <= names


NOBODY = [
    *({"email_verified": each} for each in ("true", "True", 1, False, None, [True], "yes")),
    *({"email": each} for each in (None, "", "ana", "@acme.dev", "ana@", ["ana@acme.dev"], 7)),
    *({"email": text} for text in ("ana@acme.dev@evil.example", "ana@acme.dev\n", "a @acme.dev")),
    *({"email": f"{each}@acme.dev"} for each in ("\u00e4na", "a" * 65)),
    *({"email": f"ana@{text}"} for text in ("acme.d\u212av", "\u0430cme.dev", "acme.dev#1")),
    *({"hd": each} for each in ("", 7, ["acme.dev"], True, "acme.dev\n", "\u0430cme.dev")),
    *({"iss": text} for text in ("https://cloud.google.com/iap", "https://gitlab.com")),
    *({"aud": each} for each in (SERVICE, "wheelyard-publishing")),
]
"""Changes of claims that make an ID token invalid or meant for another service."""


@pytest.mark.parametrize("change", NOBODY, ids=ascii)
def test_unverified_address_is_refused(harness: VerifierHarness, change: dict[str, object]) -> None:
    """An ID token with an invalid or unverified e-mail address or domain is rejected."""
    with pytest.raises(Unauthenticated):
        principals(harness, {**ANA, **change})


def test_a_private_account_does_not_belong_to_the_company(harness: VerifierHarness) -> None:
    """A private Google account on a company's e-mail address does not belong to the company."""
    names = principals(harness, {**ANA, "hd": None})

    assert "user:ana@acme.dev" in names
    assert not any(name.startswith("domain:") for name in names)


@pytest.mark.parametrize("domain", [None, "evil.example", "sub.acme.dev", "acme.dev.evil"])
def test_accounts_of_others_are_refused(harness: VerifierHarness, domain: str | None) -> None:
    """Where only some domains are allowed, accounts of others and private ones are refused."""
    claims = {**ANA, "hd": domain}

    assert principals(harness, claims)
    assert principals(harness, ANA, "acme.dev", "acme.example")
    with pytest.raises(Unauthenticated):
        principals(harness, claims, "acme.dev", "acme.example")


def test_a_token_with_the_audience_of_gcloud_is_refused(harness: VerifierHarness) -> None:
    """A token with gcloud's default audience is refused, even if that audience is configured."""
    login = login_of(harness, audiences=(GCLOUD_CLIENT_ID, HERE))

    with pytest.raises(Unauthenticated):
        login.verify(bearer(KEY.token({**ANA, "aud": GCLOUD_CLIENT_ID, "azp": GCLOUD_CLIENT_ID})))
    assert (
        login.verify(bearer(KEY.token({**ANA, "azp": GCLOUD_CLIENT_ID}))).principal
        == "user:ana@acme.dev"
    )


def test_a_token_is_verified_once(harness: VerifierHarness) -> None:
    """A verified token is accepted from the cache for five minutes."""
    login, token = login_of(harness), KEY.token(ANA)
    assert login.cached_identity(bearer(token)) is None
    first = login.verify(bearer(token))
    harness.issuer.answers.clear()

    assert login.cached_identity(bearer(token)) is first
    assert login.verify(bearer(token)) is first
    harness.clock.advance(seconds=299)
    assert login.cached_identity(bearer(token)) is first
    harness.clock.advance(seconds=1)
    assert login.cached_identity(bearer(token)) is None


def test_an_expired_token_is_forgotten(harness: VerifierHarness) -> None:
    """An expired token is never accepted from the cache."""
    login, token = login_of(harness), KEY.token({**ANA, "exp": NOW + 100})
    login.verify(bearer(token))

    harness.clock.advance(seconds=99)
    assert login.cached_identity(bearer(token))
    harness.clock.advance(seconds=1)
    assert login.cached_identity(bearer(token)) is None
    harness.clock.advance(seconds=31)
    with pytest.raises(Unauthenticated):
        login.verify(bearer(token))


def test_valid_tokens_are_answered_503_while_google_is_down(harness: VerifierHarness) -> None:
    """While Google's keys are unavailable, valid tokens are answered 503, not 401."""
    harness.issuer.answers.clear()

    with refused(Unavailable, "identity_unavailable"):
        login_of(harness).verify(bearer(KEY.token(ANA)))
    with pytest.raises(Unavailable):
        proxied(harness, SEEN)


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
def test_the_proxy_names_a_person_by_address_and_domain(
    harness: VerifierHarness, change: dict[str, object], principal: str, more: list[str]
) -> None:
    """A person whom the proxy lets through is known by e-mail address and domain."""
    identity = proxied(harness, {**SEEN, **change})

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
def test_other_assertions_are_refused(harness: VerifierHarness, change: dict[str, object]) -> None:
    """An assertion for another service, of an external identity, or too old is rejected."""
    with pytest.raises(Unauthenticated):
        proxied(harness, {**SEEN, **change})


def test_an_id_token_is_no_assertion(harness: VerifierHarness) -> None:
    """What is signed with the keys for ID tokens is no assertion."""
    harness.issuer.serve_keys(KEY, rsa_key("google"))

    with pytest.raises(Unauthenticated):
        proxied(harness, SEEN, rsa_key("google"))
