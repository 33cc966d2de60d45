"""Tokens that nobody has signed so, in every form that has fooled somebody."""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.trust.issuer import (
    NOW,
    SigningKey,
    always,
    b64,
    hmac_signature,
    rsa_key,
    sealed,
)
from tests.trust.verifying import CURVE, CURVES, HONEST, ISSUER, RSA, World, running_issuers
from wheelyard.trust.keysets import KeySet
from wheelyard.trust.statements import claims_of
from wheelyard.trust.verifier import Refused

pytestmark = pytest.mark.integration

NONSENSE = {
    "nothing": "",
    "one dot": ".",
    "two dots": "..",
    "two parts": "a.b",
    "no JSON": "a.b.c",
    "no base64": "!!!.!!!.!!!",
    "empty objects": "e30.e30.",
    "encrypted": ".".join(["e30"] * 5),
    "too many parts": f"{RSA.token(HONEST)}.e30.e30",
    "space before": f" {RSA.token(HONEST)}",
    "line end behind": f"{RSA.token(HONEST)}\n",
    "folded": RSA.token(HONEST).replace(".", ".\n"),
    "not ASCII": f"{RSA.token(HONEST)}\xe9",
    "not Unicode": "\ud800.\ud800.\ud800",
    "NUL": "\0.\0.\0",
    "header is a list": sealed(b"[]", HONEST, RSA.signature),
    "header is deep": sealed(b"[" * 3000, HONEST, RSA.signature),
    "algorithm is infinite": sealed(b'{"alg":1e999999}', HONEST, RSA.signature),
    "payload is a list": RSA.token(b"[]"),
    "payload is a text": RSA.token(b'"text"'),
    "payload is not UTF-8": RSA.token(b"\xff\xfe"),
    "payload is empty": RSA.token(b""),
    "number of 5000 digits": RSA.token(b'{"exp":' + b"9" * 5000 + b"}"),
    "nested": RSA.token(RSA.token(HONEST).encode(), cty="JWT"),
}


@pytest.fixture
def world() -> Iterator[World]:
    """Run an issuer with one key of each kind."""
    with running_issuers() as world:
        yield world


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "nOnE", "", None, 7, ["RS256"], "RS512"], ids=repr
)
def test_no_signature(world: World, algorithm: object) -> None:
    """Nobody gets in by saying that their token needs no signature."""
    header = {"alg": algorithm, "kid": "r1"}
    for signature in (b"", b"x" * 256):
        assert world.reason(sealed(header, HONEST, always(signature))) == "jwt_alg"
    assert world.reason(sealed({"kid": "r1"}, HONEST, RSA.signature)) == "jwt_alg"


@pytest.mark.parametrize(
    "secret",
    [RSA.pem(), RSA.pem().strip(), RSA.der(), json.dumps(RSA.jwk()).encode()],
    ids=["PEM", "PEM without its end", "DER", "JWK"],
)
@pytest.mark.parametrize("algorithm", ["HS256", "RS256"])
def test_the_public_key_as_a_password(world: World, secret: bytes, algorithm: str) -> None:
    """Nobody gets in with a signature made with what everybody may know of a key."""
    token = sealed({"alg": algorithm, "kid": "r1"}, HONEST, hmac_signature(secret))

    assert world.reason(token) == ("jwt_alg" if algorithm == "HS256" else "jwt_sig")


@pytest.mark.parametrize(
    "kid",
    [
        "../../dev/null",
        "/etc/passwd",
        "' OR 1=1 --",
        "http://169.254.169.254/",
        "",
        "k" * 201,
        7,
        ["r1"],
        {"r1": 1},
        True,
        None,
    ],
    ids=repr,
)
def test_hostile_key_ids(world: World, kid: object) -> None:
    """A key id opens no file and asks no server but the issuer's, whatever it says."""
    world.claims(RSA.token(HONEST))

    assert world.reason(RSA.token(HONEST, kid=kid)) == "jwt_kid"
    assert [each.path for each in world.site.seen] == ["/keys"]


def test_a_key_with_a_long_id(world: World) -> None:
    """A key id of more than 200 characters names no key, even if its issuer says so."""
    keys = [SigningKey("k" * length, RSA.private) for length in (200, 201)]
    world.site.serve_keys(*keys)

    assert world.claims(keys[0].token(HONEST)) == HONEST
    assert world.reason(keys[1].token(HONEST)) == "jwt_kid"


def test_a_huge_key_id(world: World) -> None:
    """A token of a megabyte is refused unread."""
    assert world.reason(RSA.token(HONEST, kid="k" * 1_000_000)) == "auth_malformed"
    assert world.site.seen == []


def test_keys_that_a_token_brings(world: World) -> None:
    """A key or an address of keys in the token itself is not looked at, let alone fetched."""
    stranger = rsa_key("stranger")
    brought = {
        "jku": f"{world.site.url}/evil",
        "x5u": f"{world.site.url}/evil",
        "jwk": stranger.jwk(),
        "x5c": [b64(stranger.der())],
    }
    assert world.claims(RSA.token(HONEST, **brought)) == HONEST
    assert world.reason(stranger.token(HONEST, **{**brought, "kid": "r1"})) == "jwt_sig"
    assert world.reason(stranger.token(HONEST, **brought)) == "jwt_kid"
    assert {each.path for each in world.site.seen} == {"/keys"}


@pytest.mark.parametrize(
    "header",
    [
        {"crit": ["exp"], "exp": 1},
        {"crit": []},
        {"crit": ["b64"], "b64": False},
        {"b64": False},
        {"typ": "at+jwt"},
        {"typ": 7},
    ],
    ids=repr,
)
def test_headers_that_change_the_meaning(world: World, header: dict[str, object]) -> None:
    """A token that asks to be read in another way than usual is refused."""
    assert world.reason(RSA.token(HONEST, **header)) == "auth_malformed"


@pytest.mark.parametrize("token", NONSENSE.values(), ids=NONSENSE)
def test_what_is_no_token(world: World, token: str) -> None:
    """Encrypted, nested, cut off, overlong or nonsensical tokens are refused, never a fault."""
    assert world.reason(token) in {"auth_malformed", "jwt_alg", "jwt_iss"}


def test_any_change_of_a_token(world: World) -> None:
    """A token with one character changed anywhere, or cut anywhere, is refused."""
    token = RSA.token(HONEST)
    assert world.claims(token)

    for place in range(0, len(token), 7):
        other = "A" if token[place] != "A" else "B"
        world.reason(token[:place] + other + token[place + 1 :])
        world.reason(token[:place])


def test_a_key_of_another_kind(world: World) -> None:
    """A curve's key opens nothing where RSA is asked for, and the reverse."""
    elliptic = {**HONEST, "iss": CURVES}

    assert world.reason(CURVE.token(HONEST)) == "jwt_alg"
    assert world.reason(CURVE.token(HONEST, alg="RS256")) == "jwt_kid"
    assert world.reason(CURVE.token(HONEST, alg="RS256", kid="r1")) == "jwt_sig"
    assert world.reason(RSA.token(elliptic)) == "jwt_alg"
    assert world.reason(RSA.token(elliptic, alg="ES256")) == "jwt_kid"
    assert world.reason(RSA.token(elliptic, alg="ES256", kid="e1")) == "jwt_sig"


def test_an_issuer_with_both_kinds(world: World) -> None:
    """Where an issuer has keys of both kinds, each is good for its own algorithm only."""
    both = frozenset({"RS256", "ES256"})
    keys = KeySet(ISSUER, both, world.means, world.site.keys_url)
    issuers = {ISSUER: replace(world.issuers[ISSUER], keys=keys, algorithms=both)}

    assert claims_of(CURVE.token(HONEST), issuers, NOW) == HONEST
    for token in (CURVE.token(HONEST, alg="RS256"), RSA.token(HONEST, alg="ES256")):
        with pytest.raises(Refused, match="jwt_alg"):
            claims_of(token, issuers, NOW)


@pytest.mark.parametrize("signature", [b"\0" * 64, b"\0" * 63, b"\xff" * 64, b"", b"\0" * 72])
def test_psychic_signatures(world: World, signature: bytes) -> None:
    """A signature of zeros is no signature."""
    header = {"alg": "ES256", "kid": "e1"}
    token = sealed(header, {**HONEST, "iss": CURVES}, always(signature))

    assert world.reason(token) == "jwt_sig"
