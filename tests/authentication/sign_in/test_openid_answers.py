"""OpenID Connect without a server: what an answer of the provider means for a sign-in."""

from dataclasses import dataclass, field
from typing import cast

import pytest

from tests.authentication.sign_in.test_claims import config
from tests.authentication.verifiers.fake_issuer import SigningKey, as_json, ec_key
from tests.fake_time import Clock
from wheelyard.authentication.rejections import rejection_reason
from wheelyard.authentication.sign_in.openid import OpenIdProvider
from wheelyard.authentication.sign_in.provider import (
    AuthorizationAnswer,
    AuthorizationRequest,
    Confirmation,
)
from wheelyard.authentication.verifiers.issuer_keys import LIFETIME_SECONDS
from wheelyard.errors import Forbidden, Unavailable
from wheelyard.http_client.json_client import JsonClient, JsonResponse

ISSUER = "https://login.acme.dev"
KEY = ec_key("provider")
ANA = {"sub": "ana-of-acme", "email": "ana@acme.dev", "email_verified": True, "groups": []}
DOCUMENT = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/authorize",
    "token_endpoint": f"{ISSUER}/token",
    "userinfo_endpoint": f"{ISSUER}/userinfo",
}


@dataclass
class Answers:
    """The answers of a provider whose token endpoint sends some tokens."""

    tokens: dict[str, object]
    keys_url: str = f"{ISSUER}/keys"
    key: SigningKey = KEY
    authorizations: list[str] = field(default_factory=list)
    """Those that its userinfo was asked with."""

    def fetch(self, url: str, *, authorization: str = "", **_: object) -> JsonResponse:
        """Return the answer at a URL."""
        if url == DOCUMENT["userinfo_endpoint"]:
            self.authorizations.append(authorization)
        answers: dict[str, object] = {
            f"{ISSUER}/.well-known/openid-configuration": {**DOCUMENT, "jwks_uri": self.keys_url},
            self.keys_url: {"keys": [self.key.jwk()]},
            DOCUMENT["token_endpoint"]: self.tokens,
            DOCUMENT["userinfo_endpoint"]: ANA,
        }
        return JsonResponse(200, as_json(answers[url]).body)


def provider_of(answers: Answers, clock: Clock | None = None) -> OpenIdProvider:
    """Return a provider that answers so."""
    return OpenIdProvider(config(), cast("JsonClient", answers), (clock or Clock()).runtime())


def test_userinfo_is_asked_with_the_access_token() -> None:
    """A renewal without an ID token asks userinfo with the access token, and fails without one."""
    answers = Answers({"access_token": "access-1"})

    assert provider_of(answers).renew("refresh-1", "ana-of-acme").name == "ana@acme.dev"
    assert answers.authorizations == ["Bearer access-1"]

    answers.tokens = {}
    with pytest.raises(Unavailable) as refused:
        provider_of(answers).renew("refresh-1", "ana-of-acme")
    assert rejection_reason(refused.value, "none") == "access_token_missing"


def redeemed(nonce: object) -> Confirmation:
    """Return who signs in, by an ID token with a nonce, where `the-nonce` was sent."""
    clock = Clock()
    answers = Answers({"id_token": id_token(clock, KEY, nonce)})
    return signed_in(provider_of(answers, clock))


def id_token(clock: Clock, key: SigningKey, nonce: object = "the-nonce") -> str:
    """Return an ID token of now that a key has signed."""
    now = int(clock.seconds())
    claims = {**ANA, "iss": ISSUER, "aud": "wheelyard", "iat": now, "exp": now + 300}
    return key.token({**claims, "nonce": nonce})


def signed_in(provider: OpenIdProvider) -> Confirmation:
    """Return who signs in by what the provider answers to a code."""
    request = AuthorizationRequest(state="the-state", nonce="the-nonce", verifier="v" * 43)
    return provider.redeem(AuthorizationAnswer(code="code-1", error="", issuer=ISSUER), request)


def test_the_nonce_that_was_sent_signs_in() -> None:
    """An ID token with the nonce that was sent signs its subject in."""
    assert redeemed("the-nonce").name == "ana@acme.dev"


@pytest.mark.parametrize("nonce", ["another", "größe", None, 7])
def test_no_other_nonce_signs_in(nonce: object) -> None:
    """An ID token with another nonce, of any letters, or without one, signs nobody in."""
    with pytest.raises(Forbidden) as refused:
        redeemed(nonce)
    assert rejection_reason(refused.value, "none") == "jwt_nonce"


def test_the_keys_of_a_provider_may_move() -> None:
    """Once a provider names another URL of its keys, a key that is there alone signs people in."""
    clock, moved_key = Clock(), ec_key("provider-2")
    answers = Answers({"id_token": id_token(clock, KEY)})
    provider = provider_of(answers, clock)
    assert signed_in(provider).name == "ana@acme.dev"

    answers.keys_url, answers.key = f"{ISSUER}/moved-keys", moved_key
    clock.advance(seconds=LIFETIME_SECONDS)
    answers.tokens = {"id_token": id_token(clock, moved_key)}
    assert signed_in(provider).name == "ana@acme.dev"
