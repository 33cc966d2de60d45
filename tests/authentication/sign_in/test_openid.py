"""OpenID Connect: who signs in at an honest provider, and what of a hostile one is refused."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.authentication.sign_in.fake_provider import (
    ANA,
    CLIENT,
    KEY,
    SECRET,
    FakeProvider,
    ProviderServer,
    running_providers,
)
from tests.authentication.verifiers.fake_issuer import (
    CannedResponse,
    always,
    as_json,
    b64,
    hmac_signature,
    loopback_fetcher,
    rsa_key,
    sealed,
)
from tests.in_process_network import NetworkOrPorts
from wheelyard.authentication.rejections import rejection_reason
from wheelyard.authentication.sign_in.openid import OpenIdProvider
from wheelyard.authentication.sign_in.provider import (
    AuthorizationAnswer,
    AuthorizationRequest,
    Confirmation,
    ProviderConfig,
)
from wheelyard.errors import Forbidden, Unavailable, WheelyardError
from wheelyard.http_client.json_client import JsonClient
from wheelyard.wiring.stores import system_runtime

REQUEST = AuthorizationRequest(state="the-state", nonce="the-nonce", verifier="v" * 43)
OTHER_KEY = rsa_key("provider-2")


def config_for(issuer: str) -> ProviderConfig:
    """Return the settings of a provider."""
    return ProviderConfig(
        name="acme",
        title="Acme",
        issuer=issuer,
        client_id=CLIENT,
        secret=SECRET,
        redirect_uri="https://packages.acme.dev/-/sign-in/acme/callback",
        scopes=("openid", "email"),
        name_claim="email",
        groups_claim="groups",
        require={},
        parameters={"prompt": "select_account"},
        session_seconds=12 * 3600,
        renew_seconds=900,
    )


@dataclass
class Place:
    """A provider, and an index that asks it."""

    fake: FakeProvider
    fetcher: JsonClient

    def __post_init__(self) -> None:
        self.config = config_for(self.fake.issuer)
        self.asks_anew()

    def asks_anew(self, **changes: str) -> None:
        """Let the index forget what it knows of the provider, and change what its settings say."""
        self.config = replace(self.config, **changes)  # type: ignore[arg-type]
        runtime = system_runtime()
        self.provider = OpenIdProvider(self.config, self.fetcher, runtime)

    def sign_in(self, **changes: str | None) -> Confirmation:
        """Sign somebody in, with an answer that differs so from the provider's."""
        back: dict[str, str | None] = dict(
            self.fake.authorize(self.provider.authorization_url(REQUEST))
        )
        back |= changes
        answer = AuthorizationAnswer(
            code=back.get("code") or "", error=back.get("error") or "", issuer=back.get("iss")
        )
        return self.provider.redeem(answer, REQUEST)

    def refusal(self, **changes: str | None) -> tuple[type[WheelyardError], str]:
        """Return the class of the error of a sign-in, and the reason that is logged."""
        with pytest.raises(WheelyardError) as refused:
            self.sign_in(**changes)
        assert "ana@acme.dev" not in refused.value.message
        return type(refused.value), rejection_reason(refused.value, "none")


@pytest.fixture
def providers(network: NetworkOrPorts) -> Iterator[ProviderServer]:
    """A server of providers."""
    with running_providers(network) as providers:
        yield providers


@pytest.fixture(scope="module")
def fetcher() -> Iterator[JsonClient]:
    """What may ask a server of this machine."""
    with loopback_fetcher() as fetcher:
        yield fetcher


@pytest.fixture
def place(providers: ProviderServer, fetcher: JsonClient) -> Place:
    """A provider of a test's own."""
    return Place(providers.provider(system_runtime().seconds), fetcher)


def test_somebody_signs_in(place: Place) -> None:
    """A person is known by the subject, the verified address and the groups of the provider."""
    place.fake.claims = {**ANA, "email": "Ana@Acme.dev", "groups": ["b", "a", "b"]}
    assert place.sign_in() == Confirmation(
        subject="ana-of-acme", name="ana@acme.dev", groups=("a", "b"), refresh_token="refresh-2"
    )


def test_a_browser_is_sent_with_all_that_protects_the_answer(place: Place) -> None:
    """The URL of the sign-in has state, nonce, the verifier's digest and what settings add."""
    url = place.provider.authorization_url(REQUEST)
    asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    digest = hashlib.sha256(REQUEST.verifier.encode()).digest()
    assert asked.pop("code_challenge") == b64(digest)
    assert asked == {
        "prompt": "select_account",
        "response_type": "code",
        "client_id": CLIENT,
        "redirect_uri": "https://packages.acme.dev/-/sign-in/acme/callback",
        "scope": "openid email",
        "state": "the-state",
        "nonce": "the-nonce",
        "code_challenge_method": "S256",
    }
    assert "verifier" not in url
    place.fake.serve(authorization_endpoint=f"{place.fake.issuer}/authorize?policy=b2c")
    place.asks_anew()
    assert place.provider.authorization_url(REQUEST).startswith(
        f"{place.fake.issuer}/authorize?policy=b2c&"
    )


def unsigned(claims: Mapping[str, object]) -> str:
    """Return an ID token without a signature."""
    return sealed({"alg": "none", "kid": KEY.kid, "typ": "JWT"}, claims, always(b""))


def signed_with_the_secret(claims: Mapping[str, object]) -> str:
    """Return an ID token that is signed with the client's secret, as HS256 has it."""
    header = {"alg": "HS256", "kid": KEY.kid, "typ": "JWT"}
    return sealed(header, claims, hmac_signature(SECRET.encode()))


def signed_with_the_public_key(claims: Mapping[str, object]) -> str:
    """Return an ID token that takes the public key for the secret of HS256."""
    header = {"alg": "HS256", "kid": KEY.kid, "typ": "JWT"}
    return sealed(header, claims, hmac_signature(KEY.pem()))


def signed_by_another(claims: Mapping[str, object]) -> str:
    """Return an ID token that another key with the same id has signed."""
    return rsa_key(KEY.kid, 2049).token(claims)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"nonce": "another-nonce"}, "jwt_nonce"),
        ({"nonce": None}, "jwt_nonce"),
        ({"nonce": ["the-nonce"]}, "jwt_nonce"),
        ({"iss": "https://other.example"}, "jwt_iss"),
        ({"iss": None}, "jwt_iss"),
        ({"aud": "another-client"}, "jwt_aud"),
        ({"aud": [CLIENT, "another-client"]}, "jwt_aud"),
        ({"aud": []}, "jwt_aud"),
        ({"azp": "another-client"}, "jwt_azp"),
        ({"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}, "jwt_at_hash"),
        ({"at_hash": 7}, "jwt_at_hash"),
        ({"exp": 1_000_000_000}, "jwt_time"),
        ({"exp": None}, "auth_malformed"),
        ({"iat": 4_000_000_000, "exp": 4_000_000_300}, "jwt_time"),
        ({"sub": None}, "auth_malformed"),
    ],
)
def test_a_wrong_id_token_signs_nobody_in(
    place: Place, changes: dict[str, object], reason: str
) -> None:
    """An ID token that is about another sign-in, another client or another time is refused."""
    place.fake.token_changes = changes
    assert place.refusal() == (Forbidden, reason)


@pytest.mark.parametrize(
    ("sign", "reason"),
    [
        (unsigned, "jwt_alg"),
        (signed_with_the_secret, "jwt_alg"),
        (signed_with_the_public_key, "jwt_alg"),
        (signed_by_another, "jwt_sig"),
        (OTHER_KEY.token, "jwt_kid"),
    ],
)
def test_a_forged_id_token_signs_nobody_in(
    place: Place, sign: Callable[[Mapping[str, object]], str], reason: str
) -> None:
    """Only a signature by a published key of the provider counts, never one by a secret."""
    place.fake.sign = sign
    assert place.refusal() == (Forbidden, reason)


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": [CLIENT]},
        {"azp": CLIENT},
        {"at_hash": None},
        {"exp": 1_900_000_000, "iat": 1_899_990_000, "nbf": 1_899_990_000},
    ],
)
def test_a_right_id_token_may_look_different(place: Place, changes: dict[str, object]) -> None:
    """An ID token may name this client in a list, live for hours and lack the digest."""
    if "exp" in changes:
        now = int(system_runtime().seconds())
        changes = {"iat": now - 300, "nbf": now - 300, "exp": now + 36_000}
    place.fake.token_changes = changes
    assert place.sign_in().subject == "ana-of-acme"


def test_a_new_key_of_the_provider_is_fetched(place: Place) -> None:
    """An ID token that a newly published key has signed is accepted."""
    place.fake.serve(KEY, OTHER_KEY)
    place.fake.sign = OTHER_KEY.token
    assert place.sign_in().subject == "ana-of-acme"


@pytest.mark.parametrize(
    ("announced", "issuer", "reason"),
    [
        (True, None, "answer_iss"),
        (True, "https://other.example", "answer_iss"),
        (None, "https://other.example", "answer_iss"),
    ],
)
def test_an_answer_of_another_issuer_is_refused(
    place: Place, *, announced: bool | None, issuer: str | None, reason: str
) -> None:
    """An answer of another issuer is refused, and one without an issuer if that is announced."""
    place.fake.serve(authorization_response_iss_parameter_supported=announced)
    assert place.refusal(iss=issuer) == (Forbidden, reason)
    assert place.fake.server.asked(f"{place.fake.path}/token") == 0
    assert place.sign_in(iss=place.fake.issuer).subject == "ana-of-acme"


def test_a_code_is_used_once_and_by_its_verifier_alone(place: Place) -> None:
    """A code that was used, or that another verifier comes with, signs nobody in."""
    back = place.fake.authorize(place.provider.authorization_url(REQUEST))
    answer = AuthorizationAnswer(code=back["code"])
    assert place.provider.redeem(answer, REQUEST).subject == "ana-of-acme"
    for request in (REQUEST, replace(REQUEST, verifier="w" * 43)):
        with pytest.raises(Forbidden) as refused:
            place.provider.redeem(answer, request)
        assert rejection_reason(refused.value, "") == "provider_invalid_grant"


@pytest.mark.parametrize(
    ("error", "kind", "reason", "logged"),
    [
        ("access_denied", Forbidden, "provider_access_denied", ""),
        ("login_required", Forbidden, "provider_login_required", ""),
        (
            "temporarily_unavailable",
            Unavailable,
            "provider_temporarily_unavailable",
            "acme cannot be asked: it answered temporarily_unavailable",
        ),
        (
            "invalid_scope",
            Unavailable,
            "provider_invalid_scope",
            "acme refuses this index (invalid_scope)",
        ),
        (
            "rate_limited",
            Unavailable,
            "provider_rate_limited",
            "acme cannot be asked: it answered rate_limited",
        ),
        (
            "<script>alert(1)</script>",
            Unavailable,
            "provider_other",
            "acme cannot be asked: it answered other",
        ),
    ],
    ids=["denied", "no login", "away", "scope", "rate", "markup"],
)
def test_an_error_of_the_provider_is_told_apart(
    place: Place,
    caplog: pytest.LogCaptureFixture,
    error: str,
    kind: type[WheelyardError],
    reason: str,
    logged: str,
) -> None:
    """An error about the person is a refusal; an outage, which is logged, any other one."""
    assert place.refusal(error=error, code=None) == (kind, reason)
    place.fake.error = error
    assert place.refusal() == (kind, reason)
    assert [record.message.partition(": compare")[0] for record in caplog.records] == (
        [logged, logged] if logged else []
    )


def test_a_wrong_secret_is_the_operators_to_correct(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """A provider that does not know this client is named in the log, with what to compare."""
    place.asks_anew(secret="another")
    assert place.refusal() == (Unavailable, "provider_invalid_client")
    (record,) = caplog.records
    assert record.message == (
        "acme refuses this index (invalid_client): compare client_id, the secret, scopes, and the "
        "redirect URI https://packages.acme.dev/-/sign-in/acme/callback with what is set there"
    )


def test_a_gateway_that_fails_is_not_taken_for_a_wrong_secret(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """An answer of a failing gateway before a provider blames no setting of this index."""
    place.fake.server.answers[f"{place.fake.path}/token"] = as_json(
        {"error": "invalid_client"}, 502
    )
    assert place.refusal() == (Unavailable, "provider_silent")
    assert [record.message for record in caplog.records] == [
        "acme cannot be asked: it answered 502"
    ]


@pytest.mark.parametrize("methods", [None, ["client_secret_basic"], ["client_secret_post"]])
def test_the_secret_is_sent_as_the_provider_takes_it(
    place: Place, methods: list[str] | None
) -> None:
    """The client's secret is sent in the form only if the provider takes nothing else."""
    place.fake.serve(token_endpoint_auth_methods_supported=methods)
    assert place.sign_in().subject == "ana-of-acme"
    (request,) = [
        each for each in place.fake.server.seen if each.path == f"{place.fake.path}/token"
    ]
    assert (b"client_secret" in request.body) == (methods == ["client_secret_post"])


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ({"issuer": "https://other.example"}, "it is of the issuer 'https://other.example'"),
        ({"issuer": None}, "it is of the issuer 'None'"),
        ({"token_endpoint": None}, "its token_endpoint is no https URL"),
        ({"token_endpoint": "ftp://a.example/"}, "its token_endpoint is no https URL"),
        (
            {"authorization_endpoint": "https://u:p@a.example/"},
            "authorization_endpoint is no https",
        ),
        ({"authorization_endpoint": "https://a.example/\r\nX: y"}, "authorization_endpoint is no"),
        ({"jwks_uri": 7}, "its jwks_uri is no https URL"),
        ({"token_endpoint_auth_methods_supported": ["private_key_jwt"]}, "it takes no secret"),
    ],
)
def test_an_unfit_discovery_document_is_not_used(
    place: Place, document: dict[str, object], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A discovery document of another issuer, or with unsafe URLs, is not used."""
    place.fake.serve(**document)
    with pytest.raises(Unavailable) as fault:
        place.provider.authorization_url(REQUEST)
    assert rejection_reason(fault.value, "") == "discovery_failed"
    assert why in caplog.text


def test_an_issuer_is_compared_with_its_slash(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """An issuer in the settings with a slash that the provider's lacks is named in the log."""
    place.asks_anew(issuer=f"{place.fake.issuer}/")
    with pytest.raises(Unavailable):
        place.provider.authorization_url(REQUEST)
    assert f"it is of the issuer '{place.fake.issuer}'. Write that in the settings" in caplog.text


def test_a_provider_that_is_away_is_said_so(place: Place) -> None:
    """A sign-in while the provider does not answer is an outage, and no refusal."""
    place.fake.break_off()
    with pytest.raises(Unavailable) as fault:
        place.provider.authorization_url(REQUEST)
    assert fault.value.code == "identity_unavailable"


@pytest.mark.parametrize("body", [b"", b"[]", b"no JSON", b'{"error": 7}', b"[" * 100_000])
@pytest.mark.parametrize("status", [200, 400, 500])
def test_an_answer_that_is_none_signs_nobody_in(place: Place, status: int, body: bytes) -> None:
    """Whatever else a token endpoint sends, nobody is signed in by its answer."""
    path = f"{place.fake.path}/token"
    place.fake.server.answers[path] = CannedResponse(body, status)
    kind, reason = place.refusal()
    assert (kind, reason) in {
        (Unavailable, "provider_silent"),
        (Forbidden, "id_token_missing"),
    }


def test_userinfo_is_asked_for_what_the_id_token_lacks(place: Place) -> None:
    """Userinfo is asked only for what the ID token lacks, and for a whole address."""
    userinfo = f"{place.fake.path}/userinfo"
    place.fake.claims |= {"groups": ["platform"]}
    place.sign_in()
    assert place.fake.server.asked(userinfo) == 0
    place.fake.in_userinfo = ("email", "groups")
    assert place.sign_in().groups == ("platform",)
    assert place.fake.server.asked(userinfo) == 1
    # an ID token with an address, of which userinfo says that another one is verified
    place.fake.in_userinfo = ("email_verified",)
    place.fake.userinfo_changes = {"email": "ana@other.dev"}
    assert place.sign_in().name == "ana@other.dev"


def test_missing_groups_are_logged_once(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """A missing groups claim is logged once, and not again at the renewal."""
    first = place.sign_in().refresh_token
    place.provider.renew(first, "ana-of-acme")
    (record,) = caplog.records
    assert record.message.startswith("acme: groups_missing: of a person it has sent no list")


def test_userinfo_of_somebody_else_is_refused(place: Place) -> None:
    """Userinfo about another subject than that of the ID token signs nobody in."""
    place.fake.in_userinfo = ("email",)
    place.fake.userinfo_changes = {"sub": "bo-of-acme"}
    assert place.refusal() == (Forbidden, "userinfo_sub")


def test_an_unverified_address_is_no_name(place: Place) -> None:
    """An address that the provider has not verified signs nobody in."""
    place.fake.claims["email_verified"] = False
    assert place.refusal() == (Forbidden, "email_unverified")
    del place.fake.claims["email_verified"]
    assert place.refusal() == (Forbidden, "email_unverified")


def test_a_renewal_brings_what_is_true_now(place: Place) -> None:
    """A renewal brings the name and the groups of now, and the next refresh token."""
    first = place.sign_in().refresh_token
    place.fake.claims |= {"email": "ana.b@acme.dev", "groups": ["ops"]}
    renewed = place.provider.renew(first, "ana-of-acme")
    assert (renewed.name, renewed.groups) == ("ana.b@acme.dev", ("ops",))
    assert renewed.refresh_token not in {"", first}


def test_a_renewal_without_an_id_token_asks_userinfo(place: Place) -> None:
    """A renewal without an ID token takes the groups of userinfo."""
    first = place.sign_in().refresh_token
    place.fake.answer_changes = {"id_token": None}
    place.fake.claims["groups"] = ["ops"]
    assert place.provider.renew(first, "ana-of-acme").groups == ("ops",)


@pytest.mark.parametrize(
    ("break_it", "kind", "reason"),
    [
        (FakeProvider.revoke, Forbidden, "provider_invalid_grant"),
        (FakeProvider.break_off, Unavailable, "provider_silent"),
        (
            lambda fake: setattr(fake, "error", "invalid_client"),
            Unavailable,
            "provider_invalid_client",
        ),
        (lambda fake: fake.claims.update(sub="bo-of-acme"), Forbidden, "renewed_sub"),
        (lambda fake: fake.claims.update(email_verified=False), Forbidden, "email_unverified"),
        (lambda fake: setattr(fake, "sign", unsigned), Unavailable, "jwt_alg"),
    ],
)
def test_a_renewal_tells_a_no_from_no_answer(
    place: Place,
    break_it: Callable[[FakeProvider], object],
    kind: type[WheelyardError],
    reason: str,
) -> None:
    """A renewal is refused by what the provider says of the person; other faults are outages."""
    first = place.sign_in().refresh_token
    break_it(place.fake)
    with pytest.raises(WheelyardError) as refused:
        place.provider.renew(first, "ana-of-acme")
    assert (type(refused.value), rejection_reason(refused.value, "")) == (kind, reason)


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, "invalid_grant", Forbidden),
        (401, "access_denied", Forbidden),
        (403, "invalid_grant", Forbidden),
        (403, "access_denied", Unavailable),
        (404, "invalid_grant", Unavailable),
        (429, "access_denied", Unavailable),
        (429, "Too Many Requests", Unavailable),
        (403, "forbidden", Unavailable),
        (400, "unauthorized_client", Unavailable),
        (503, "invalid_grant", Unavailable),
    ],
)
def test_an_error_of_a_gateway_is_no_refusal(
    place: Place, status: int, error: str, kind: type[WheelyardError]
) -> None:
    """Only a refusal that OAuth knows, with a status of OAuth, ends the sessions of a person."""
    first = place.sign_in().refresh_token
    place.fake.server.answers[f"{place.fake.path}/token"] = as_json({"error": error}, status)
    with pytest.raises(kind):
        place.provider.renew(first, "ana-of-acme")


def test_no_secret_is_in_what_could_be_logged(place: Place) -> None:
    """Neither settings nor answers show a secret, a code, a nonce or a refresh token."""
    confirmation = place.sign_in()
    shown = f"{place.config}{confirmation}{REQUEST}{AuthorizationAnswer(code='the-code')}"
    secrets = (SECRET, confirmation.refresh_token, "the-nonce", "the-code", REQUEST.verifier)
    assert not [secret for secret in secrets if secret in shown]


def test_the_userinfo_of_a_renewal_has_to_be_of_the_person(place: Place) -> None:
    """A renewal by userinfo about another subject is refused."""
    first = place.sign_in().refresh_token
    place.fake.answer_changes = {"id_token": None}
    place.fake.userinfo_changes = {"sub": "bo-of-acme"}
    with pytest.raises(Forbidden) as refused:
        place.provider.renew(first, "ana-of-acme")
    assert rejection_reason(refused.value, "") == "userinfo_sub"


def test_groups_are_asked_of_userinfo_only_if_it_is_there(place: Place) -> None:
    """Without an endpoint for userinfo, nothing is asked there, and there are no groups."""
    place.fake.serve(userinfo_endpoint=None)
    assert place.sign_in().groups == ()
    place.fake.server.answers[f"{place.fake.path}/userinfo"] = as_json({}, 500)
    assert place.sign_in().groups == ()


def test_config_check_knows_whether_a_provider_answers(place: Place) -> None:
    """`config check` learns whether the description of the provider can be had."""
    assert place.provider.problem() == ""

    place.fake.break_off()
    place.asks_anew()

    assert "503" in place.provider.problem()
