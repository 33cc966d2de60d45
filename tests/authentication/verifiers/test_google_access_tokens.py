"""Google's access tokens: what their bearers may do."""

import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace

import pytest
from msgspec import structs

from tests.authentication.verifiers.fake_issuer import (
    Bearer,
    CannedResponse,
    FakeIssuer,
    bearer,
    issuer_clock,
    loopback_fetcher,
    running_issuer,
)
from tests.fake_time import Clock
from tests.in_process_network import NetworkOrPorts
from tests.refused import refused
from wheelyard.authentication.verifiers import google_access_tokens
from wheelyard.authentication.verifiers.google_access_tokens import (
    AccessTokenVerdict,
    AccessTokenVerifier,
    AuthorizationBucket,
)
from wheelyard.authentication.verifiers.verifier import VerificationCache
from wheelyard.errors import Unauthenticated, Unavailable
from wheelyard.http_client.json_client import JsonClient
from wheelyard.model.access import EVERY_PROJECT, Action, Scope
from wheelyard.model.index_name import MAIN

TOKEN = "ya29.a0AfH6SMBx-7hQJ_kLmNoPqRsTuV"
SENT = bearer(TOKEN)
AUTH = "https://www.googleapis.com/auth"
GET, CREATE, DELETE = (f"storage.objects.{verb}" for verb in ("get", "create", "delete"))
READER = Bearer(frozenset({GET}))
OWNER = Bearer(frozenset({GET, CREATE, DELETE}))
PERMISSIONS = "/storage/v1/b/acme-authz/iam/testPermissions"


@dataclass
class RightsHarness:
    """An index whose rights are the policy of a bucket."""

    issuer: FakeIssuer
    fetcher: JsonClient
    clock: Clock = field(default_factory=issuer_clock)

    @property
    def resource(self) -> AuthorizationBucket:
        """The bucket."""
        return AuthorizationBucket("acme-authz", google=self.issuer.google)

    def tokens(
        self, resource: AuthorizationBucket | None = None, remembered: float = 300.0
    ) -> AccessTokenVerifier:
        """Return what recognises bearers."""
        verification_cache = VerificationCache[AccessTokenVerdict](bytes(32), self.clock.seconds)
        return AccessTokenVerifier(
            resource or self.resource,
            self.fetcher,
            self.clock.seconds,
            verification_cache,
            remembered,
        )

    def actions(self, bearer: Bearer, resource: AuthorizationBucket | None = None) -> Action:
        """Return what a bearer may do."""
        self.issuer.bearers[TOKEN] = bearer
        identity = self.tokens(resource).verify(SENT)
        assert all(scope.projects == (EVERY_PROJECT,) for scope in identity.scopes)
        return identity.scopes[0].actions if identity.scopes else Action(0)


@pytest.fixture
def harness(network: NetworkOrPorts) -> Iterator[RightsHarness]:
    """Run a fake of Google's endpoints."""
    with running_issuer(network) as issuer, loopback_fetcher() as fetcher:
        yield RightsHarness(issuer, fetcher)


@pytest.mark.parametrize(
    ("held", "actions"),
    [
        ({GET}, Action.READ),
        ({GET, CREATE}, Action.READ | Action.UPLOAD),
        ({GET, CREATE, DELETE}, Action.READ | Action.UPLOAD | Action.MANAGE),
        ({CREATE}, Action.UPLOAD),
        ({DELETE}, Action.MANAGE),
        ({"storage.buckets.delete", "storage.objects.setIamPolicy"}, Action(0)),
        (set(), Action(0)),
    ],
)
def test_permissions_become_rights(harness: RightsHarness, held: set[str], actions: Action) -> None:
    """Permissions to get, create and delete objects grant read, upload and manage."""
    assert harness.actions(Bearer(frozenset(held))) == actions


def test_the_principal_of_an_access_token_is_a_short_hash(harness: RightsHarness) -> None:
    """The principal of an access token is a short hash; with read access it is authenticated."""
    harness.issuer.bearers[TOKEN] = READER
    identity = harness.tokens().verify(SENT)

    assert identity.principals == {"anonymous", "allAuthenticated"}
    assert identity.scopes == (Scope(Action.READ, (EVERY_PROJECT,), (MAIN,)),)
    kind, _, mark = identity.principal.partition(":")
    assert (kind, len(mark)) == ("google", 8)
    assert int(mark, 16) >= 0


@pytest.mark.parametrize(
    ("scope", "actions"),
    [
        (f"{AUTH}/cloud-platform", Action.READ | Action.UPLOAD | Action.MANAGE),
        (f"openid {AUTH}/devstorage.read_write", Action.READ | Action.UPLOAD | Action.MANAGE),
        (f"{AUTH}/devstorage.full_control", Action.READ | Action.UPLOAD | Action.MANAGE),
        (f"{AUTH}/devstorage.read_only", Action.READ),
        (f"{AUTH}/cloud-platform.read-only openid", Action.READ),
        (f"{AUTH}/cloud-platform.evil", Action.READ),
        ("cloud-platform", Action.READ),
        ("openid", Action.READ),
        ("", Action.READ),
    ],
)
def test_narrow_tokens_only_read(harness: RightsHarness, scope: str, actions: Action) -> None:
    """A read-only token cannot upload, whatever rights its owner has."""
    assert harness.actions(replace(OWNER, scope=scope)) == actions


def test_a_narrow_token_without_the_right_to_read(harness: RightsHarness) -> None:
    """A token for reading, of an account that may only create objects, may do nothing."""
    bearer = Bearer(frozenset({CREATE}), scope=f"{AUTH}/devstorage.read_only")

    assert harness.actions(bearer) == Action(0)


@pytest.mark.parametrize("status", [400, 401])
def test_a_token_without_known_scopes_reads_at_most(harness: RightsHarness, status: int) -> None:
    """A token that Google's storage takes, but whose scopes Google does not tell, reads at most."""
    harness.issuer.answers["/tokeninfo"] = CannedResponse(b'{"error": "invalid_token"}', status)

    assert harness.actions(OWNER) == Action.READ


def test_rights_on_the_bucket_of_the_packages_only_read(harness: RightsHarness) -> None:
    """Rights on the packages' own bucket give reading at most."""
    assert harness.actions(OWNER, structs.replace(harness.resource, read_only=True)) == Action.READ
    assert harness.issuer.asked("/tokeninfo") == 0
    assert CREATE not in harness.issuer.seen[0].path

    harness.issuer.answers[PERMISSIONS] = CannedResponse(
        b'{"permissions": ["storage.objects.create"]}'
    )
    assert harness.actions(OWNER, structs.replace(harness.resource, read_only=True)) == Action(0)


@pytest.mark.parametrize(
    "answer",
    [
        CannedResponse(),
        CannedResponse(b'{"permissions": ["other"]}'),
        CannedResponse(b'{"error": {}}', 403),
    ],
)
def test_no_answer_means_no_rights(harness: RightsHarness, answer: CannedResponse) -> None:
    """An answer that names no permission gives none, nor does one that refuses the question."""
    harness.issuer.answers[PERMISSIONS] = answer

    assert harness.actions(OWNER) == Action(0)


def test_a_rejected_token_is_not_asked_about_for_ten_seconds(harness: RightsHarness) -> None:
    """A token that Google does not know is refused, and not asked about again for ten seconds."""
    tokens = harness.tokens()
    answers = set()
    for _ in range(5):
        with pytest.raises(Unauthenticated) as told:
            tokens.verify(SENT)
        answers.add(told.value.message)
    assert harness.issuer.asked(PERMISSIONS) == 1
    assert len(answers) == 1
    with pytest.raises(Unauthenticated):
        tokens.cached_identity(SENT)

    harness.issuer.bearers[TOKEN] = READER
    harness.clock.advance(seconds=10)
    assert tokens.verify(SENT).scopes


@pytest.mark.parametrize(
    "answer",
    [
        CannedResponse(status=404),
        CannedResponse(status=429),
        CannedResponse(status=500),
        CannedResponse(status=503),
        CannedResponse(status=302, headers={"Location": "https://storage.googleapis.com/"}),
        CannedResponse(status=418),
        CannedResponse(b"<html>"),
        CannedResponse(b"[]"),
        CannedResponse(b'{"permissions": "storage.objects.get"}'),
        CannedResponse(b'{"permissions": {"storage.objects.get": true}}'),
        CannedResponse(b" " * 65536, is_endless=True),
    ],
    ids=lambda answer: f"{answer.status} {answer.body[:30]!r}",
)
@pytest.mark.parametrize("path", [PERMISSIONS, "/tokeninfo"])
def test_access_tokens_are_answered_503_while_google_fails(
    harness: RightsHarness, answer: CannedResponse, path: str
) -> None:
    """While Google fails, access tokens are answered 503, not 401."""
    if path == "/tokeninfo" and b"permissions" in answer.body:
        answer = replace(answer, status=500)
    harness.issuer.bearers[TOKEN] = OWNER
    harness.issuer.answers[path] = answer
    tokens = harness.tokens()
    for _ in range(2):
        with refused(Unavailable, "identity_unavailable"):
            tokens.verify(SENT)
    assert harness.issuer.asked(path) == 2

    del harness.issuer.answers[path]
    assert tokens.verify(SENT).scopes


@pytest.mark.parametrize(
    ("status", "is_named"), [(404, True), (403, False), (503, False)], ids=["404", "403", "503"]
)
def test_a_bucket_that_is_missing_is_logged_as_such(
    harness: RightsHarness, caplog: pytest.LogCaptureFixture, status: int, *, is_named: bool
) -> None:
    """Where Google knows no such bucket, the log names the setting; for another status it not."""
    harness.issuer.answers[PERMISSIONS] = CannedResponse(status=status)

    with suppress(Unavailable):
        harness.tokens().verify(SENT)

    line = "google.access_token.resource: there is no such bucket; look at its name"
    assert (line in caplog.messages) == is_named


@pytest.mark.parametrize("path", [PERMISSIONS, "/tokeninfo"])
def test_a_silent_google_is_asked_once(
    harness: RightsHarness, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """A silent Google is given up after one question, and the token is answered 503."""
    monkeypatch.setattr(google_access_tokens, "TIMEOUT_SECONDS", 0.2)
    harness.issuer.bearers[TOKEN] = OWNER
    harness.issuer.answers[path] = CannedResponse(is_silent=True)
    tokens = harness.tokens()

    with pytest.raises(Unavailable):
        tokens.verify(SENT)
    assert harness.issuer.asked(path) == 1


def test_rights_are_remembered(harness: RightsHarness) -> None:
    """A right is asked for once in five minutes, and what is taken away is gone after that."""
    harness.issuer.bearers[TOKEN] = OWNER
    tokens = harness.tokens()
    assert tokens.cached_identity(SENT) is None
    first = tokens.verify(SENT)

    harness.issuer.bearers[TOKEN] = READER
    harness.clock.advance(seconds=299)
    assert tokens.cached_identity(SENT) is first
    assert tokens.verify(SENT) is first
    harness.clock.advance(seconds=1)
    assert tokens.cached_identity(SENT) is None
    assert tokens.verify(SENT).scopes == (Scope(Action.READ, (EVERY_PROJECT,), (MAIN,)),)
    assert harness.issuer.asked(PERMISSIONS) == 2


@pytest.mark.parametrize(
    ("wanted", "expires_in", "held"),
    [(60.0, 3599, 60), (100_000.0, 3599, 300), (0.0, 3599, 0), (300.0, 40, 40)],
)
def test_rights_are_remembered_as_long_as_set_and_as_the_token_lives(
    harness: RightsHarness, wanted: float, expires_in: int, held: int
) -> None:
    """Rights are remembered as long as an operator wants, and no longer than the token lives."""
    harness.issuer.bearers[TOKEN] = replace(OWNER, expires_in=expires_in)
    tokens = harness.tokens(remembered=wanted)
    tokens.verify(SENT)

    harness.clock.advance(seconds=max(held - 1, 0))
    assert bool(tokens.cached_identity(SENT)) is (held > 0)
    harness.clock.advance(seconds=1)
    assert tokens.cached_identity(SENT) is None


def test_a_new_right_counts_within_ten_seconds(harness: RightsHarness) -> None:
    """Who has just been granted a right does not wait for five minutes."""
    harness.issuer.bearers[TOKEN] = Bearer()
    tokens = harness.tokens()
    assert tokens.verify(SENT).scopes == ()

    harness.issuer.bearers[TOKEN] = READER
    assert tokens.verify(SENT).scopes == ()
    harness.clock.advance(seconds=10)
    assert tokens.verify(SENT).scopes


@pytest.mark.parametrize(
    "token",
    [
        *("", "x" * 19, "x" * 4097, f"{TOKEN} {TOKEN}", f"{TOKEN}\r\nX: y", f"{TOKEN}\u00e9"),
        f"{TOKEN}\n",
    ],
    ids=["empty", "short", "long", "space", "header", "not ASCII", "line end"],
)
def test_what_cannot_be_a_token_is_not_sent(harness: RightsHarness, token: str) -> None:
    """What cannot be a token is refused without asking Google."""
    tokens = harness.tokens()

    assert tokens.cached_identity(bearer(token)) is None
    with pytest.raises(Unauthenticated):
        tokens.verify(bearer(token))
    assert harness.issuer.seen == []


def test_a_token_is_never_in_a_url(harness: RightsHarness) -> None:
    """A token goes to Google in a header or a body, never in a URL."""
    harness.actions(OWNER)

    asked, told = harness.issuer.seen
    assert (asked.method, asked.authorization) == ("GET", f"Bearer {TOKEN}")
    assert (told.method, told.authorization) == ("POST", None)
    assert TOKEN in told.body.decode()
    assert not any(TOKEN in request.path for request in harness.issuer.seen)
    assert all(f"permissions={name}" in asked.path for name in (GET, CREATE, DELETE))


def test_the_name_of_a_bucket_stays_one_part_of_the_path() -> None:
    """The name of a bucket stays one part of the path, whatever is in it."""
    assert "/b/a%2F..%2Fb%3F/iam/" in AuthorizationBucket("a/../b?").permissions_url


def test_nothing_secret_is_kept_or_logged(
    harness: RightsHarness, caplog: pytest.LogCaptureFixture
) -> None:
    """No log, at whatever level, no message and no memory holds a token."""
    caplog.set_level(logging.DEBUG)
    rejected = "ya29.rejected-rejected-rejected"
    harness.issuer.bearers[TOKEN] = OWNER
    verification_cache = VerificationCache[AccessTokenVerdict](bytes(32), harness.clock.seconds)
    tokens = AccessTokenVerifier(
        harness.resource, harness.fetcher, harness.clock.seconds, verification_cache
    )
    tokens.verify(SENT)
    with pytest.raises(Unauthenticated) as told:
        tokens.verify(bearer(rejected))
    harness.issuer.answers[PERMISSIONS] = CannedResponse(status=500)
    with pytest.raises(Unavailable) as down:
        tokens.verify(bearer(f"{TOKEN}x"))

    kept = vars(verification_cache) | vars(verification_cache._entries)  # noqa: SLF001 - what is in memory
    written = f"{caplog.text}{told.value!r}{down.value!r}{tokens!r}{kept!r}"
    assert "AccessTokenVerdict" in written
    assert TOKEN not in written
    assert rejected not in written
