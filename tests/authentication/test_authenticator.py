"""Which credential is tried as what, and whose failures keep whom out."""

import logging
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from msgspec import structs
from msgspec.structs import replace as changed

from tests.access.access_fixture import (
    PASSWORD,
    AccessHarness,
    id_token,
    open_harness,
    put_behind_the_proxy,
    static_token,
)
from tests.authentication.verifiers.fake_issuer import Bearer
from tests.fake_time import Clock
from tests.in_process_network import NetworkOrPorts
from tests.operations.in_memory_index import IndexHarness
from tests.refused import refused
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.authentication.verifiers.htpasswd import CACHE_SECONDS, HtpasswdVerifier
from wheelyard.errors import RATE_LIMITED, Unauthenticated, Unavailable
from wheelyard.model.access import Action, Credential
from wheelyard.model.api_token import new_token
from wheelyard.model.distribution_filename import parse_name
from wheelyard.settings.sections import AccessSettings, Settings

HERE, ELSEWHERE = "192.0.2.7", "198.51.100.7"
SHUT = parse_name("shut-lib")
GOOGLE = "ya29.the-token-of-a-reader"
IAP_ASSERTION = "x-goog-iap-jwt-assertion"


def few(document: dict[str, object]) -> None:
    """Let three logins a minute fail."""
    access = document["access"]
    assert isinstance(access, dict)
    access["failed_login_per_minute"] = 3


@pytest.fixture
def access(tmp_path: Path, network: NetworkOrPorts) -> Iterator[AccessHarness]:
    """An index that has little patience with guesses."""
    with open_harness(tmp_path, adjust=few, network=network) as access:
        access.google.bearers[GOOGLE] = Bearer(frozenset({"storage.objects.get"}))
        yield access


def guess(access: AccessHarness, address: str, credential: Credential, times: int = 3) -> None:
    """Fail to log in, so often."""
    for number in range(times):
        wrong = Credential(credential.user, f"{credential.secret}-{number}")
        with pytest.raises(Unauthenticated):
            access.index.authenticator.authenticate(wrong, address)


def is_let_in(access: AccessHarness, credential: Credential, address: str = HERE) -> bool:
    """Return whether a credential opens the index, and is not put off."""
    fault: Unavailable | None = None
    try:
        caller = access.index.authenticator.authenticate(credential, address)
    except Unavailable as found:
        fault = found
    else:
        return caller.may(Action.READ, SHUT)
    assert fault.code == RATE_LIMITED
    return False


def test_a_password_is_no_bearer_token(access: AccessHarness) -> None:
    """A password is accepted as one half of Basic only, also when it was verified just now."""
    assert is_let_in(access, Credential("reader", PASSWORD))

    with pytest.raises(Unauthenticated):
        is_let_in(access, Credential("reader", PASSWORD, is_bearer=True))


def test_guesses_are_put_off(access: AccessHarness, caplog: pytest.LogCaptureFixture) -> None:
    """After three wrong passwords, logins are refused at that address, and only there."""
    guess(access, HERE, Credential("reader", "guess"))
    with caplog.at_level(logging.INFO):
        assert not is_let_in(access, Credential("manager", PASSWORD))
    assert "htpasswd_rate for htpasswd:manager, from 192.0.2.0/24" in caplog.text
    assert is_let_in(access, Credential("reader", PASSWORD), ELSEWHERE)
    assert is_let_in(access, Credential("manager", PASSWORD), ELSEWHERE)


def test_who_logged_in_before_is_not_locked_out(access: AccessHarness, tmp_path: Path) -> None:
    """A user who has logged in is not locked out by other clients' guesses."""
    clock, right = Clock(), Credential("reader", PASSWORD)
    passwords = HtpasswdVerifier(
        tmp_path / "htpasswd", bytes(32), clock.seconds, access.index.catalog.outdated_lines
    )
    index = structs.replace(
        access.index, authenticator=structs.replace(access.index.authenticator, htpasswd=passwords)
    )
    access = replace(access, in_process=replace(access.in_process, index=index))
    assert is_let_in(access, right)
    guess(access, HERE, Credential("reader", "guess"))
    clock.advance(seconds=CACHE_SECONDS)
    assert is_let_in(access, right)
    assert not is_let_in(access, Credential("reader", "guess-9"))


@pytest.mark.parametrize(
    "wrong",
    [
        Credential("oauth2accesstoken", "ya29.no-token-of-google"),
        Credential("__token__", "no-token-at-all-of-anybody"),
        Credential("reader", "guess"),
        Credential("", "ya29.no-token-of-google", is_bearer=True),
    ],
    ids=["access token", "password of __token__", "password", "bearer"],
)
def test_failures_keep_no_other_kind_out(access: AccessHarness, wrong: Credential) -> None:
    """Bad credentials of one kind, from one office, leave good ones of other kinds alone."""
    guess(access, HERE, wrong, 1 if wrong.is_bearer else 3)
    api_token = access.token("*", can="read")
    assert is_let_in(access, Credential("__token__", api_token))
    assert is_let_in(access, Credential("__token__", static_token("reader")))
    assert is_let_in(access, Credential("oidc", id_token("reader@acme.dev")))
    if wrong.user == "oauth2accesstoken":
        assert is_let_in(access, Credential("oauth2accesstoken", GOOGLE), ELSEWHERE)
        assert is_let_in(access, Credential("reader", PASSWORD))
    elif not wrong.is_bearer:
        assert is_let_in(access, Credential("oauth2accesstoken", GOOGLE))


def test_empty_password_is_allowed(access: AccessHarness, caplog: pytest.LogCaptureFixture) -> None:
    """A client that first sends a name alone, as uv does, is not put off, and not in the log."""
    caplog.set_level(logging.INFO)
    for _ in range(10):
        with pytest.raises(Unauthenticated):
            access.index.authenticator.authenticate(Credential("reader", ""), HERE)
    assert caplog.records == []
    assert is_let_in(access, Credential("reader", PASSWORD))


KEY = '{"type": "service_account", "private_key": "-----BEGIN PRIVATE KEY-----\\nMIIE"}'


@pytest.mark.parametrize("user", ["_json_key", "_json_key_base64", "oauth2accesstoken", "reader"])
@pytest.mark.parametrize("secret", [KEY, b64encode(KEY.encode()).decode()], ids=["plain", "base64"])
def test_a_service_accounts_key_is_refused_and_never_logged(
    access: AccessHarness, caplog: pytest.LogCaptureFixture, user: str, secret: str
) -> None:
    """A service account's key is refused with advice, shown to nobody, and never logged."""
    caplog.set_level(logging.INFO)
    with pytest.raises(Unauthenticated, match="Delete it"):
        access.index.authenticator.authenticate(Credential(user, secret), HERE)
    assert access.google.seen == []
    assert "sa_key_refused" in caplog.text
    assert "PRIVATE" not in caplog.text


def test_only_hashing_and_requests_wait_in_other_pools(access: AccessHarness) -> None:
    """Only a credential that is hashed or asked about waits in a pool of its own, and once."""
    authenticator = access.index.authenticator
    google, password = Credential("oauth2accesstoken", GOOGLE), Credential("reader", PASSWORD)
    apart = {
        "password": (password, Credential("nobody", "guess")),
        "remote": (google, Credential("oidc", id_token("reader@acme.dev"))),
    }
    for wait, credentials in apart.items():
        for credential in credentials:
            assert authenticator.waits_for(credential) == wait
            with suppress(Unauthenticated):
                authenticator.authenticate(credential, HERE)
            assert authenticator.waits_for(credential) == "local"

    for each in (
        Credential("", access.token("*", can="read")),
        Credential("__token__", static_token("reader")),
        Credential("", PASSWORD, is_bearer=True),
        Credential("reader", ""),
        Credential("reader", "\0"),
    ):
        assert authenticator.waits_for(each) == "local"


@pytest.mark.parametrize(
    ("credential", "reason"),
    [
        (Credential("reader", "hunter2"), "htpasswd_password for htpasswd:reader"),
        (Credential("hunter2", "hunter2"), "htpasswd_user"),
        (Credential("reader", "hunter2" * 200), "auth_malformed"),
        (Credential("_json_key", "hunter2"), "sa_key_refused"),
        (Credential("__token__", "hunter2.hunter2.hunter2"), "htpasswd_user"),
        (Credential("__token__", "wyd_hunter2"), "token_shape"),
        (Credential("__token__", new_token(Random(1)).text), "token_unknown"),
        (Credential("oauth2accesstoken", "ya29.hunter2"), "auth_malformed"),
        (Credential("oidc", id_token("reader@acme.dev", aud="hunter2")), "jwt_aud"),
        (Credential("oidc", id_token("größe"), is_unicode=False), "auth_malformed"),
    ],
    ids=[
        "wrong password",
        "unknown user",
        "too long",
        "key of a service account",
        "password with dots",
        "no token",
        "unknown token",
        "no access token",
        "ID token for another audience",
        "not UTF-8",
    ],
)
def test_the_log_says_why_a_credential_was_refused(
    access: AccessHarness, caplog: pytest.LogCaptureFixture, credential: Credential, reason: str
) -> None:
    """The log tells an operator why a credential was refused and from where, and no secret."""
    caplog.set_level(logging.INFO)
    for _ in range(2):  # the second time, a wrong password is known to be wrong
        with pytest.raises(Unauthenticated):
            access.index.authenticator.authenticate(credential, HERE)

    lines = [record.getMessage() for record in caplog.records]
    assert lines[-1] == f"a credential was refused: {reason}, from 192.0.2.0/24"
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize(
    ("sent", "reason"),
    [("hunter2", "auth_malformed"), (id_token("admin@acme.dev"), "jwt_iss")],
    ids=["no assertion", "login of a person"],
)
def test_a_wrong_assertion_opens_nothing_and_is_logged(
    tmp_path: Path,
    network: NetworkOrPorts,
    caplog: pytest.LogCaptureFixture,
    sent: str,
    reason: str,
) -> None:
    """What is no assertion of Google's proxy opens no page, and the log says why it does not."""
    caplog.set_level(logging.INFO)
    with open_harness(tmp_path, adjust=put_behind_the_proxy, network=network) as proxied:
        page = proxied.request("GET", "/project/shut-lib/", ((IAP_ASSERTION, sent),))

    assert page.status == 401
    assert f"a credential was refused: {reason}, from the proxy" in caplog.text
    assert sent not in caplog.text


def test_any_password_may_upload_where_everybody_may(harness: IndexHarness) -> None:
    """Where everybody may upload, any password does, as clients insist on one; a token does not."""
    access = AccessSettings(anonymous_uploads=True)
    authenticator = harness.opened(3, settings=Settings(access=access)).authenticator

    caller = authenticator.authenticate(Credential("ana", "whatever"), HERE)

    assert caller.is_anonymous
    assert caller.may(Action.UPLOAD, SHUT)
    with pytest.raises(Unauthenticated):
        authenticator.authenticate(Credential("", "whatever", is_bearer=True), HERE)


def test_the_log_names_a_refused_token_by_its_id(
    harness: IndexHarness, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names a refused token that exists by its id, with the reason."""
    token, record = harness.index.tokens.create(TokenRequest(name="ci"), by="local:test")
    forged = new_token(Random(1000))
    harness.index.tokens.records.create(changed(record, id=forged.id))
    harness.clock.advance(days=400)
    caplog.set_level(logging.INFO)
    for sent, reason in ((forged, "secret"), (token, "expired"), (token, "revoked")):
        if reason == "revoked":
            harness.index.tokens.revoke(record.id, by="local:test")
        with pytest.raises(Unauthenticated):
            harness.index.authenticator.authenticate(Credential("", sent.text), HERE)
        assert f"token_{reason} for token:{sent.id}, from 192.0.2.0/24" in caplog.text
        assert sent.text[14:] not in caplog.text


def test_who_invents_tokens_is_put_off(harness: IndexHarness) -> None:
    """Who invents API tokens is put off after sixty a minute; those that are known still open."""
    good_token = harness.index.tokens.create(TokenRequest(name="ci"), by="local:test")[0]
    authenticator = harness.opened(3).authenticator
    authenticator.authenticate(Credential("", good_token.text), HERE)

    invented = [Credential("", new_token(Random(1000 + number)).text) for number in range(62)]
    for credential in invented[:60]:
        with pytest.raises(Unauthenticated):
            authenticator.authenticate(credential, HERE)
    with refused(Unavailable, RATE_LIMITED):
        authenticator.authenticate(invented[60], HERE)
    authenticator.authenticate(Credential("", good_token.text), HERE)
    with pytest.raises(Unauthenticated):
        authenticator.authenticate(invented[61], ELSEWHERE)
    harness.clock.advance(seconds=1)
    with pytest.raises(Unauthenticated):
        authenticator.authenticate(invented[61], HERE)


@pytest.mark.parametrize(
    "sent",
    [
        Credential("", "ghp_16C7e42F292c6912E7710c838347Ae178B4a", is_bearer=True),
        Credential("", "a.b.c", is_bearer=True),
        Credential("oauth2accesstoken", "wyd_nonsense"),
        Credential("oauth2accesstoken", "wyd_" + "0" * 48),
    ],
    ids=["bearer", "dots", "token's prefix", "token's shape"],
)
def test_other_secrets_are_not_shown_to_google(access: AccessHarness, sent: Credential) -> None:
    """A credential that cannot be Google's is refused without sending it to Google."""
    with pytest.raises(Unauthenticated) as refused:
        is_let_in(access, sent)
    assert "Missing or invalid credential" in refused.value.fact
    assert access.google.seen == []
