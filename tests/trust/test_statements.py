"""Signed statements: what is believed, for whom, from whom, and when."""

import json
import logging
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.trust.issuer import (
    NOW,
    SigningKey,
    rsa_key,
    stand_in,
)
from tests.trust.verifying import CURVE, CURVES, HERE, HONEST, ISSUER, RSA, World, running_issuers
from wheelyard.errors import Unauthenticated, Unavailable
from wheelyard.trust.keysets import KeySet
from wheelyard.trust.statements import claims_of, verify
from wheelyard.trust.verifier import Refused

pytestmark = pytest.mark.integration


@pytest.fixture
def world() -> Iterator[World]:
    """Run an issuer with one key of each kind."""
    with running_issuers() as world:
        yield world


def test_an_honest_token(world: World) -> None:
    """A token of an issuer that is known, made out to this index, is believed."""
    assert world.claims(RSA.token(HONEST)) == HONEST
    assert world.claims(RSA.token({**HONEST, "aud": "wheelyard"}))["aud"] == "wheelyard"
    assert world.claims(CURVE.token({**HONEST, "iss": CURVES}))["iss"] == CURVES


@pytest.mark.parametrize(
    "audience",
    [
        [HERE],
        [HERE, "https://other.example"],
        f"{HERE}.evil",
        f"{HERE}/",
        HERE.upper(),
        HERE.replace("https", "http"),
        HERE[:-1],
        "",
        "pypi",
        "https://upload.acme.dev/_/oidc/mint-token",
        "/projects/1/global/backendServices/2",
        None,
        7,
        {HERE: 1},
    ],
    ids=repr,
)
def test_other_audiences(world: World, audience: object) -> None:
    """A token that was made out to anybody but exactly this index is refused."""
    assert world.reason(RSA.token({**HONEST, "aud": audience})) == "jwt_aud"


@pytest.mark.parametrize(
    "issuer",
    [
        f"{ISSUER}.evil",
        f"{ISSUER}/",
        ISSUER.replace("https", "http"),
        ISSUER.upper(),
        f" {ISSUER}",
        "http://169.254.169.254/",
        "file:///etc/passwd",
        [ISSUER],
        {},
        7,
        None,
    ],
    ids=repr,
)
def test_other_issuers(world: World, issuer: object) -> None:
    """A token of an issuer that was not configured is refused, and nobody is asked about it."""
    assert world.reason(RSA.token({**HONEST, "iss": issuer})) == "jwt_iss"
    assert world.site.seen == []


def test_the_same_key_id_at_two_issuers(world: World) -> None:
    """A key proves the statements of its own issuer only, even if another has one of that name."""
    with stand_in() as elsewhere:
        other = "https://gitlab.acme.dev"
        imposter = SigningKey("r1", rsa_key("imposter").private)
        elsewhere.serve_keys(imposter)
        keys = KeySet(other, frozenset({"RS256"}), world.means, elsewhere.keys_url)
        world.issuers[other] = replace(world.issuers[ISSUER], name=other, keys=keys)

        assert world.claims(imposter.token({**HONEST, "iss": other}))["iss"] == other
        assert world.reason(imposter.token(HONEST)) == "jwt_sig"
        assert world.reason(RSA.token({**HONEST, "iss": other})) == "jwt_sig"


@pytest.mark.parametrize(
    "change",
    [
        {"exp": 10_413_792_000},
        {"exp": NOW + 3541, "iat": NOW - 160},
        {"exp": -1},
        {"exp": float(NOW + 60)},
        {"exp": str(NOW + 60)},
        {"exp": True},
        {"exp": [NOW + 60]},
        {"exp": 10**300},
        {"exp": NOW - 31},
        {"exp": NOW + 60, "iat": NOW + 61},
        {"iat": NOW + 31},
        {"iat": NOW - 3701, "exp": NOW - 1},
        {"iat": float(NOW)},
        {"iat": str(NOW)},
        {"iat": False},
        {"nbf": NOW + 31},
        {"nbf": "now"},
        {"nbf": True},
        {"nbf": float(NOW)},
    ],
    ids=repr,
)
def test_other_times(world: World, change: dict[str, object]) -> None:
    """A token from another time, for too long or with a time that is no integer is refused."""
    assert world.reason(RSA.token({**HONEST, **change})) == "jwt_time"


@pytest.mark.parametrize("name", ["exp", "iat", "sub"])
def test_missing_claims(world: World, name: str) -> None:
    """A token that does not say when, until when or about whom it speaks is refused."""
    for value in ({}, {name: None}):
        claims = {each: HONEST[each] for each in HONEST if each != name} | value
        assert world.reason(RSA.token(json.dumps(claims).encode())) == "auth_malformed"


@pytest.mark.parametrize(
    "change",
    [
        {"exp": NOW - 20, "iat": NOW - 3500},
        {"iat": NOW + 30, "exp": NOW + 60},
        {"nbf": NOW + 30},
    ],
    ids=repr,
)
def test_clocks_that_differ(world: World, change: dict[str, object]) -> None:
    """An issuer's clock may differ by half a minute."""
    assert world.claims(RSA.token({**HONEST, **change}))


def test_the_clock_is_the_one_that_was_handed_in(world: World) -> None:
    """A token is judged by the index's clock alone, in either direction."""
    token = RSA.token(HONEST)
    with pytest.raises(Refused, match="jwt_time"):
        claims_of(token, world.issuers, NOW + 3600)
    with pytest.raises(Refused, match="jwt_time"):
        claims_of(token, world.issuers, NOW - 3600)


def test_a_claim_that_is_there_twice(world: World) -> None:
    """Of two claims of one name the last counts, everywhere: nothing is parsed in two ways."""
    body = json.dumps(HONEST)[:-1]

    claims = world.claims(RSA.token(f'{body}, "sub": "b"}}'.encode()))
    assert claims["sub"] == "b"
    assert world.reason(RSA.token(f'{body}, "aud": "elsewhere"}}'.encode())) == "jwt_aud"
    assert world.reason(RSA.token(f'{body}, "iss": "elsewhere"}}'.encode())) == "jwt_iss"


def test_short_keys(world: World) -> None:
    """A key that is too short to be trusted opens nothing, even if its issuer publishes it."""
    short = rsa_key("short", 1024)
    world.site.serve_keys(RSA, short)

    assert world.claims(RSA.token(HONEST))
    assert world.reason(short.token(HONEST)) == "jwt_kid"


def test_signatures_that_google_took_away(world: World) -> None:
    """Where Cloud Run has cut off the signature, that is the reason."""
    token = ".".join([*RSA.token(HONEST).split(".")[:2], "SIGNATURE_REMOVED_BY_GOOGLE"])

    assert world.reason(token) == "sig_removed_by_google"


def test_an_issuer_that_is_down(world: World) -> None:
    """While an issuer's keys cannot be had, its tokens are neither believed nor called bad."""
    del world.site.answers["/keys"]

    with pytest.raises(Unavailable):
        verify(RSA.token(HONEST), world.issuers, NOW)


def test_nothing_secret_is_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """No log, at whatever level, and no message holds a part of a token."""
    caplog.set_level(logging.DEBUG)
    tokens = [RSA.token(HONEST), CURVE.token(HONEST), RSA.token({**HONEST, "aud": "elsewhere"})]
    said = [_said(world, token) for token in tokens]

    written = caplog.text + "".join(said)
    assert [part for token in tokens for part in token.split(".")[1:] if part in written] == []
    assert "jwt_alg" in written
    assert "jwt_aud" in written


def _said(world: World, token: str) -> str:
    try:
        verify(token, world.issuers, NOW)
    except Unauthenticated as fault:
        return f"{fault!r} {fault.message} {fault.short} {fault.__cause__!r}"
    return ""
