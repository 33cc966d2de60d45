"""Signed JWTs: valid ones, wrong issuers, audiences and times, and every known forgery."""

import json
from dataclasses import dataclass, replace

import pytest
from msgspec import structs

from tests.authentication.verifiers.fake_issuer import (
    NOW,
    FakeIssuer,
    SigningKey,
    VerifierHarness,
    always,
    b64,
    bearer,
    ec_key,
    hmac_signature,
    rsa_key,
    running_issuer,
    sealed,
)
from tests.in_process_network import NetworkOrPorts
from wheelyard.authentication.verifiers.signed_jwt import (
    IdTokenVerifier,
    IssuerConfig,
    verified_claims,
)
from wheelyard.authentication.verifiers.verifier import CredentialRejected, VerificationCache
from wheelyard.errors import Unauthenticated
from wheelyard.model.access import Identity
from wheelyard.model.claim_matchers import Claims

ISSUER = "https://accounts.google.com"
CURVES = "https://cloud.google.com/iap"
HERE = "https://pypi.acme.dev"
HONEST: dict[str, object] = {
    "iss": ISSUER,
    "aud": HERE,
    "sub": "104857600123456789012",
    "iat": NOW - 60,
    "exp": NOW + 3540,
}
RSA, CURVE = rsa_key("r1"), ec_key("e1")
TOLD = (
    "This signed token is not valid here. Get a new one, and have it made out to this index as "
    "its audience."
)


class AnyAccount:
    """Takes every token."""

    def identify(self, claims: Claims) -> Identity:
        """Return the same identity for all."""
        del claims
        return Identity("anybody", frozenset())


@dataclass(frozen=True)
class JwtHarness:
    """The JWT verification of an index with two issuers: one signs with RSA, one with ES256."""

    harness: VerifierHarness
    issuers: dict[str, IssuerConfig]

    @property
    def issuer(self) -> FakeIssuer:
        """The fake server with the keys of both issuers."""
        return self.harness.issuer

    def claims(self, token: str) -> Claims:
        """Return what a token states."""
        return verified_claims(token, self.issuers, NOW)

    def reason(self, token: str) -> str:
        """Return the logged reason of a refusal; assert that the message is the generic one."""
        verifier = IdTokenVerifier(
            self.issuers,
            AnyAccount(),
            lambda: NOW,
            VerificationCache(bytes(32), lambda: NOW),
        )
        with pytest.raises(Unauthenticated) as told:
            verifier.verify(bearer(token))
        assert told.value.message == TOLD
        assert isinstance(told.value.__cause__, CredentialRejected)
        return told.value.__cause__.reason


@pytest.fixture
def harness(harness: VerifierHarness) -> JwtHarness:
    """Return an index whose issuers have one key of each kind."""
    harness.issuer.serve_keys(RSA, CURVE)
    issuers = {}
    for name, algorithm in ((ISSUER, "RS256"), (CURVES, "ES256")):
        keys, audiences = harness.keys(name, algorithm), frozenset({HERE, "wheelyard"})
        issuers[name] = IssuerConfig(name, keys, frozenset({algorithm}), audiences)
    return JwtHarness(harness, issuers)


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


def test_a_token_of_a_configured_issuer_is_accepted(harness: JwtHarness) -> None:
    """A token of a configured issuer for this index is accepted."""
    assert harness.claims(RSA.token(HONEST)) == HONEST
    assert harness.claims(RSA.token({**HONEST, "aud": "wheelyard"}))["aud"] == "wheelyard"
    assert harness.claims(CURVE.token({**HONEST, "iss": CURVES}))["iss"] == CURVES


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
def test_a_token_for_another_audience_is_refused(harness: JwtHarness, audience: object) -> None:
    """A token that was made out to anybody but exactly this index is refused."""
    assert harness.reason(RSA.token({**HONEST, "aud": audience})) == "jwt_aud"


@pytest.mark.parametrize(
    "issuer",
    [
        *(f"{ISSUER}.evil", f"{ISSUER}/", ISSUER.replace("https", "http"), ISSUER.upper()),
        *(f" {ISSUER}", "http://169.254.169.254/", "file:///etc/passwd", [ISSUER], {}, 7, None),
    ],
    ids=repr,
)
def test_an_unknown_issuer_is_not_asked(harness: JwtHarness, issuer: object) -> None:
    """A token of an unknown issuer is refused without any request to that issuer."""
    assert harness.reason(RSA.token({**HONEST, "iss": issuer})) == "jwt_iss"
    assert harness.issuer.seen == []


def test_a_key_proves_only_tokens_of_its_own_issuer(
    harness: JwtHarness, network: NetworkOrPorts
) -> None:
    """A key proves the statements of its own issuer only, even if another has one of that name."""
    with running_issuer(network) as elsewhere:
        other = "https://gitlab.acme.dev"
        imposter = replace(rsa_key("imposter"), kid="r1")
        elsewhere.serve_keys(imposter)
        keys = harness.harness.keys(other, "RS256", url=elsewhere.keys_url)
        harness.issuers[other] = structs.replace(harness.issuers[ISSUER], name=other, keys=keys)

        assert harness.claims(imposter.token({**HONEST, "iss": other}))["iss"] == other
        assert harness.reason(imposter.token(HONEST)) == "jwt_sig"
        assert harness.reason(RSA.token({**HONEST, "iss": other})) == "jwt_sig"


@pytest.mark.parametrize(
    "change",
    [
        *({"exp": 10_413_792_000}, {"exp": NOW + 3541, "iat": NOW - 160}, {"exp": -1}),
        *({"exp": float(NOW + 60)}, {"exp": str(NOW + 60)}, {"exp": True}, {"exp": [NOW + 60]}),
        *({"exp": 10**300}, {"exp": NOW - 31}, {"exp": NOW + 60, "iat": NOW + 61}),
        *({"iat": NOW + 31}, {"iat": NOW - 3701, "exp": NOW - 1}, {"iat": float(NOW)}),
        *({"iat": str(NOW)}, {"iat": False}, {"nbf": NOW + 31}, {"nbf": "now"}, {"nbf": True}),
        {"nbf": float(NOW)},
    ],
    ids=repr,
)
def test_token_from_another_time_is_refused(harness: JwtHarness, change: dict[str, object]) -> None:
    """A token from another time, for too long or with a time that is no integer is refused."""
    assert harness.reason(RSA.token({**HONEST, **change})) == "jwt_time"


@pytest.mark.parametrize("name", ["exp", "iat", "sub"])
def test_a_token_without_times_or_subject_is_refused(harness: JwtHarness, name: str) -> None:
    """A token that does not say when, until when or about whom it speaks is refused."""
    for value in ({}, {name: None}):
        claims = {each: HONEST[each] for each in HONEST if each != name} | value
        assert harness.reason(RSA.token(json.dumps(claims).encode())) == "auth_malformed"


@pytest.mark.parametrize(
    "change",
    [{"exp": NOW - 20, "iat": NOW - 3500}, {"iat": NOW + 30, "exp": NOW + 60}, {"nbf": NOW + 30}],
    ids=repr,
)
def test_clocks_may_differ_by_half_a_minute(harness: JwtHarness, change: dict[str, object]) -> None:
    """An issuer's clock may differ by half a minute."""
    assert harness.claims(RSA.token({**HONEST, **change}))


def test_the_clock_is_the_one_that_was_handed_in(harness: JwtHarness) -> None:
    """A token is judged by the index's clock alone, in either direction."""
    token = RSA.token(HONEST)
    with pytest.raises(CredentialRejected, match="jwt_time"):
        verified_claims(token, harness.issuers, NOW + 3600)
    with pytest.raises(CredentialRejected, match="jwt_time"):
        verified_claims(token, harness.issuers, NOW - 3600)


def test_of_two_equal_claims_the_last_counts(harness: JwtHarness) -> None:
    """Of two claims of one name the last counts, everywhere: nothing is parsed in two ways."""
    body = json.dumps(HONEST)[:-1]

    claims = harness.claims(RSA.token(f'{body}, "sub": "b"}}'.encode()))
    assert claims["sub"] == "b"
    assert harness.reason(RSA.token(f'{body}, "aud": "elsewhere"}}'.encode())) == "jwt_aud"
    assert harness.reason(RSA.token(f'{body}, "iss": "elsewhere"}}'.encode())) == "jwt_iss"


def test_a_removed_signature_is_the_logged_reason(harness: JwtHarness) -> None:
    """A signature that Cloud Run has cut off is the logged reason of the refusal."""
    token = ".".join([*RSA.token(HONEST).split(".")[:2], "SIGNATURE_REMOVED_BY_GOOGLE"])

    assert harness.reason(token) == "sig_removed_by_google"


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "nOnE", "", None, 7, ["RS256"], "RS512"], ids=repr
)
def test_a_token_without_a_signature_is_refused(harness: JwtHarness, algorithm: object) -> None:
    """A token with an unknown algorithm, such as `none`, is refused."""
    header = {"alg": algorithm, "kid": "r1"}
    for signature in (b"", b"x" * 256):
        assert harness.reason(sealed(header, HONEST, always(signature))) == "jwt_alg"
    assert harness.reason(sealed({"kid": "r1"}, HONEST, RSA.signature)) == "jwt_alg"


@pytest.mark.parametrize(
    "secret",
    [RSA.pem(), RSA.pem().strip(), RSA.der(), json.dumps(RSA.jwk()).encode()],
    ids=["PEM", "PEM without its end", "DER", "JWK"],
)
@pytest.mark.parametrize("algorithm", ["HS256", "RS256"])
def test_public_key_is_no_secret(harness: JwtHarness, secret: bytes, algorithm: str) -> None:
    """A token signed with HMAC and the public key as secret is refused."""
    token = sealed({"alg": algorithm, "kid": "r1"}, HONEST, hmac_signature(secret))

    assert harness.reason(token) == ("jwt_alg" if algorithm == "HS256" else "jwt_sig")


@pytest.mark.parametrize(
    "kid",
    [
        *("../../dev/null", "/etc/passwd", "' OR 1=1 --", "http://169.254.169.254/", ""),
        *("k" * 201, 7, ["r1"], {"r1": 1}, True, None),
    ],
    ids=repr,
)
def test_a_key_id_opens_no_file_and_asks_nobody(harness: JwtHarness, kid: object) -> None:
    """A key id opens no file and asks no server but the issuer's, whatever it says."""
    harness.claims(RSA.token(HONEST))

    assert harness.reason(RSA.token(HONEST, kid=kid)) == "jwt_kid"
    assert [request.path for request in harness.issuer.seen] == ["/keys"]


def test_a_key_id_of_201_characters_names_no_key(harness: JwtHarness) -> None:
    """A key id of more than 200 characters names no key, even if its issuer says so."""
    keys = [SigningKey("k" * length, lambda: RSA.private) for length in (200, 201)]
    harness.issuer.serve_keys(*keys)

    assert harness.claims(keys[0].token(HONEST)) == HONEST
    assert harness.reason(keys[1].token(HONEST)) == "jwt_kid"


@pytest.mark.parametrize("size", [8_192, 1_000_000])
def test_a_large_token_is_refused_unread(harness: JwtHarness, size: int) -> None:
    """A token with more than 8,192 characters is refused, and no key is fetched for it."""
    token = RSA.token({**HONEST, "picture": "p" * size})

    assert harness.reason(token) == "auth_malformed"
    assert harness.issuer.seen == []


def test_keys_inside_a_token_are_not_looked_at(harness: JwtHarness) -> None:
    """A key or an address of keys in the token itself is not looked at, let alone fetched."""
    stranger = rsa_key("stranger")
    brought = {
        "jku": f"{harness.issuer.url}/evil",
        "x5u": f"{harness.issuer.url}/evil",
        "jwk": stranger.jwk(),
        "x5c": [b64(stranger.der())],
    }
    assert harness.claims(RSA.token(HONEST, **brought)) == HONEST
    assert harness.reason(stranger.token(HONEST, **{**brought, "kid": "r1"})) == "jwt_sig"
    assert harness.reason(stranger.token(HONEST, **brought)) == "jwt_kid"
    assert {request.path for request in harness.issuer.seen} == {"/keys"}


@pytest.mark.parametrize(
    "header",
    [
        *({"crit": ["exp"], "exp": 1}, {"crit": []}, {"crit": ["b64"], "b64": False}),
        *({"b64": False}, {"typ": "at+jwt"}, {"typ": 7}),
    ],
    ids=repr,
)
def test_odd_headers_are_refused(harness: JwtHarness, header: dict[str, object]) -> None:
    """A token that asks to be read in another way than usual is refused."""
    assert harness.reason(RSA.token(HONEST, **header)) == "auth_malformed"


@pytest.mark.parametrize("token", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_is_refused_and_never_a_fault(harness: JwtHarness, token: str) -> None:
    """Encrypted, nested, cut off, overlong or nonsensical tokens are refused, never a fault."""
    assert harness.reason(token) in {"auth_malformed", "jwt_alg", "jwt_iss"}


def test_any_changed_character_is_refused(harness: JwtHarness) -> None:
    """A token with one character changed anywhere, or cut anywhere, is refused."""
    token = RSA.token(HONEST)
    assert harness.claims(token)

    for place in range(0, len(token), 7):
        other = "A" if token[place] != "A" else "B"
        harness.reason(token[:place] + other + token[place + 1 :])
        harness.reason(token[:place])


def test_a_key_opens_nothing_for_another_algorithm(harness: JwtHarness) -> None:
    """A curve's key opens nothing where RSA is asked for, and the reverse."""
    elliptic = {**HONEST, "iss": CURVES}

    assert harness.reason(CURVE.token(HONEST)) == "jwt_alg"
    assert harness.reason(CURVE.token(HONEST, alg="RS256")) == "jwt_kid"
    assert harness.reason(CURVE.token(HONEST, alg="RS256", kid="r1")) == "jwt_sig"
    assert harness.reason(RSA.token(elliptic)) == "jwt_alg"
    assert harness.reason(RSA.token(elliptic, alg="ES256")) == "jwt_kid"
    assert harness.reason(RSA.token(elliptic, alg="ES256", kid="e1")) == "jwt_sig"


def test_a_key_of_a_mixed_issuer_is_for_its_own_algorithm(harness: JwtHarness) -> None:
    """Where an issuer has keys of both kinds, each is good for its own algorithm only."""
    both = frozenset({"RS256", "ES256"})
    keys = harness.harness.keys(ISSUER, *both)
    issuers = {ISSUER: structs.replace(harness.issuers[ISSUER], keys=keys, algorithms=both)}

    assert verified_claims(CURVE.token(HONEST), issuers, NOW) == HONEST
    for token in (CURVE.token(HONEST, alg="RS256"), RSA.token(HONEST, alg="ES256")):
        with pytest.raises(CredentialRejected, match="jwt_alg"):
            verified_claims(token, issuers, NOW)


@pytest.mark.parametrize("signature", [b"\0" * 64, b"\0" * 63, b"\xff" * 64, b"", b"\0" * 72])
def test_a_signature_of_zeros_is_refused(harness: JwtHarness, signature: bytes) -> None:
    """A signature of zeros is no signature."""
    header = {"alg": "ES256", "kid": "e1"}
    token = sealed(header, {**HONEST, "iss": CURVES}, always(signature))

    assert harness.reason(token) == "jwt_sig"
