"""Sessions of browsers: what begins one, and what ends it."""

from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.json import encode
from msgspec.structs import replace

from tests.authentication.verifiers.test_password_hashes import APR1, SHA
from tests.fake_time import START, Clock, fake_runtime
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.authentication.sessions import SESSION_SECONDS, Sessions
from wheelyard.catalog import keys
from wheelyard.errors import Unauthenticated
from wheelyard.model.access import Action, Caller, Credential, Identity
from wheelyard.model.api_token import decoded_session
from wheelyard.settings.sections import AccessSettings, Settings
from wheelyard.storage.base import Stores
from wheelyard.storage.memory import MemoryStore
from wheelyard.storage.spool import Spool
from wheelyard.wiring.build import build_index
from wheelyard.wiring.index import Index
from wheelyard.wiring.stores import StoreTraits

STATIC = "a static token of many characters"
PASSWORD = Credential("ana", "s3cret", client_network="192.0.2.1")
FIFTEEN_SECONDS = 15
ANA = Identity("user:ana@acme.dev", frozenset({"user:ana@acme.dev", "domain:acme.dev"}))


@dataclass(frozen=True)
class AnyIdToken:
    """A verifier that takes every token for Ana's."""

    def cached_identity(self, _: Credential) -> Identity | None:
        """Return Ana."""
        return ANA

    def verify(self, _: Credential) -> Identity:
        """Return Ana."""
        return ANA


@dataclass
class Servers:
    """A store in a bucket, and two servers of one index with caches of their own."""

    folder: Path
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.store = MemoryStore(self.clock.seconds)
        self.htpasswd = self.folder / "htpasswd"
        self.static = self.folder / "tokens.toml"
        self.htpasswd.write_text(f"ana:{SHA}\n")
        self.static.write_text(f'[[token]]\nname = "ci"\nvalue = "{STATIC}"\nprojects = ["*"]\n')
        self.one, self.other = self.opened(1), self.opened(2)

    def opened(self, seed: int) -> Index:
        """Return one more server."""
        access = AccessSettings(
            cookie_login=True,
            private=True,
            htpasswd_file=str(self.htpasswd),
            static_tokens_file=str(self.static),
        )
        traits = StoreTraits(is_local=False)
        runtime = fake_runtime(self.clock, seed)
        return build_index(
            Stores.of(self.store), Spool(self.folder), Settings(access=access), runtime, traits
        )

    def begin(self, credential: Credential, sessions: Sessions | None = None) -> str:
        """Sign in at the first server, and return the cookie."""
        sessions = sessions or self.one.sessions
        authenticator = sessions.authenticator
        caller = authenticator.authenticate(credential, "192.0.2.1")
        return sessions.begin(credential, caller)[0]

    def callers(self, cookie: str) -> list[str | None]:
        """Return whom each server takes a cookie for."""
        callers = (index.sessions.caller(cookie) for index in (self.one, self.other))
        return [caller.principal if caller else None for caller in callers]


@pytest.fixture
def servers(tmp_path: Path) -> Servers:
    """Return two servers of one index."""
    return Servers(tmp_path)


def _token(servers: Servers, lifetime: timedelta = timedelta(days=9)) -> Credential:
    wanted = TokenRequest(name="browser", actions=Action.READ, lifetime=lifetime)
    token, _ = servers.one.tokens.create(wanted, "local:op")
    return Credential("", token.text, is_bearer=True)


def test_a_session_works_on_every_server(servers: Servers) -> None:
    """Whoever signs in at one server is known at once by another, which has asked for the key."""
    assert servers.callers("x.y") == [None, None]  # so that the other one knows: there is no key
    servers.clock.advance(seconds=2)
    cookie = servers.begin(PASSWORD)

    assert servers.callers(cookie) == ["htpasswd:ana"] * 2
    caller = servers.other.sessions.caller(cookie)
    assert caller == servers.other.authenticator.authenticate(PASSWORD, "192.0.2.1")


def test_a_session_lasts_half_a_day(servers: Servers) -> None:
    """A session ends twelve hours after it began, however much it is used."""
    cookie = servers.begin(PASSWORD)

    servers.clock.advance(seconds=SESSION_SECONDS - 1)
    assert servers.callers(cookie) == ["htpasswd:ana"] * 2
    servers.clock.advance(seconds=1)
    assert servers.callers(cookie) == [None, None]


def _change_password(servers: Servers) -> None:
    servers.htpasswd.write_text(f"ana:{APR1}\n")


def _remove_user(servers: Servers) -> None:
    servers.htpasswd.write_text(f"ben:{SHA}\n")


def _change_static_token(servers: Servers) -> None:
    servers.static.write_text(servers.static.read_text().replace("many", "most"))


def _rename_static_token(servers: Servers) -> None:
    servers.static.write_text(servers.static.read_text().replace('"ci"', '"job"'))


def _revoke_token(servers: Servers) -> None:
    record = servers.one.tokens.all()[0]
    servers.one.tokens.revoke(record.id, "local:op")


def _delete_token(servers: Servers) -> None:
    servers.store.delete(keys.token(servers.one.tokens.all()[0].id))


def _delete_key(servers: Servers) -> None:
    servers.store.delete(keys.SESSION_KEY)


@pytest.mark.parametrize(
    ("credential", "end"),
    [
        (lambda _: PASSWORD, _change_password),
        (lambda _: PASSWORD, _remove_user),
        (lambda _: Credential("", STATIC, is_bearer=True), _change_static_token),
        (lambda _: Credential("", STATIC, is_bearer=True), _rename_static_token),
        (_token, _revoke_token),
        (_token, _delete_token),
        (lambda _: PASSWORD, _delete_key),
    ],
    ids=[
        "changed password",
        "removed user",
        "static token",
        "renamed static token",
        "revoked token",
        "lost token",
        "deleted key",
    ],
)
def test_a_session_ends_with_its_credential(
    servers: Servers, credential: Callable[[Servers], Credential], end: Callable[[Servers], None]
) -> None:
    """Fifteen seconds after a credential was changed, no server takes its sessions any more."""
    cookie = servers.begin(credential(servers))
    assert None not in servers.callers(cookie)

    end(servers)
    servers.clock.advance(seconds=FIFTEEN_SECONDS)
    assert servers.callers(cookie) == [None, None]


def test_signing_out_ends_one_session_everywhere(servers: Servers) -> None:
    """Fifteen seconds after a sign-out the cookie opens nothing, and another one still does."""
    cookie, other = servers.begin(PASSWORD), servers.begin(PASSWORD)
    assert servers.callers(cookie) == servers.callers(other) == ["htpasswd:ana"] * 2
    session = decoded_session(cookie)
    assert session is not None

    servers.one.sessions.end(session, "htpasswd:ana")
    servers.one.sessions.end(session, "htpasswd:ana")  # in two tabs
    servers.clock.advance(seconds=FIFTEEN_SECONDS - 1)
    assert servers.callers(cookie) == [None, None]
    assert servers.callers(other) == ["htpasswd:ana"] * 2


def test_a_damaged_record_of_a_sign_out_counts(servers: Servers) -> None:
    """A session that was signed out opens nothing, also once the record of that is damaged."""
    cookie = servers.begin(PASSWORD)
    session = decoded_session(cookie)
    assert session is not None
    servers.one.sessions.end(session, "htpasswd:ana")
    (ended,) = servers.store.list(keys.ENDED_SESSIONS)
    servers.store.put(ended.key, b"?", None)

    assert servers.opened(3).sessions.caller(cookie) is None


def test_records_of_ended_sessions_are_removed(servers: Servers) -> None:
    """A sign-out removes the records of sessions that have expired, and `check` leaves the rest."""
    for _ in range(3):
        session = decoded_session(servers.begin(PASSWORD))
        assert session is not None
        servers.one.sessions.end(session, "htpasswd:ana")
        servers.clock.advance(hours=7)
    kept = [entry.key for entry in servers.store.list(keys.ENDED_SESSIONS)]

    assert len(kept) == 2
    servers.clock.advance(hours=24)
    findings = servers.other.server.check.run(sweep=True)
    assert (findings.problems, findings.notes) == ([], [])
    assert [entry.key for entry in servers.store.list(keys.SESSIONS)] == [keys.SESSION_KEY]


def test_rights_are_those_of_the_moment(servers: Servers) -> None:
    """A token's session may do what the token may do, and ends when the token expires."""
    cookie = servers.begin(_token(servers, timedelta(hours=1)))
    caller = servers.other.sessions.caller(cookie)
    session = decoded_session(cookie)

    assert caller is not None
    assert (caller.name, caller.may_anywhere(Action.UPLOAD)) == ("browser", False)
    assert session is not None
    assert session.expiry == START + timedelta(hours=1)


def test_a_google_account_stays_until_its_id_token_expires(servers: Servers) -> None:
    """A Google account is signed in while its ID token is valid and its domain is allowed."""
    issued = int(servers.clock.seconds()) - 100
    claims = encode({"iat": issued, "exp": issued + 3600})
    parts = (b'{"alg":"none"}', claims, b"signature")
    secret = ".".join(urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
    sessions = replace_sessions(servers.one, frozenset({"acme.dev"}))
    credential = Credential("__token__", secret, client_network="192.0.2.1")

    cookie = servers.begin(credential, sessions)
    caller, session = sessions.caller(cookie), decoded_session(cookie)

    assert caller is not None
    assert caller.principals >= ANA.principals | {"allAuthenticated", "anonymous"}
    assert session is not None
    assert (session.issued_at, session.expires_at) == (issued, issued + 3600)
    assert replace_sessions(servers.other, frozenset({"other.dev"})).caller(cookie) is None
    assert replace_sessions(servers.other, frozenset()).caller(cookie) == caller
    assert servers.other.sessions.caller(cookie) is None  # it takes no ID tokens


def replace_sessions(index: Index, domains: frozenset[str]) -> Sessions:
    """Return the sessions of a server that takes ID tokens of these domains."""
    authenticator = replace(index.authenticator, id_tokens=AnyIdToken())
    return Sessions(index.sessions.records, authenticator, index.server.runtime, domains)


@pytest.mark.parametrize(
    ("credential", "caller"),
    [
        (PASSWORD, Caller("anonymous", ())),
        (Credential("oauth2accesstoken", "ya29.x"), Caller("google:ana", ())),
        (Credential("ana", "wrong"), Caller("htpasswd:ana", ())),
    ],
)
def test_nobody_gets_no_session(servers: Servers, credential: Credential, caller: Caller) -> None:
    """Neither an access token, a wrong password nor an anonymous caller begins a session."""
    with pytest.raises(Unauthenticated):
        servers.one.sessions.begin(credential, caller)


def test_a_damaged_key_ends_all_sessions(servers: Servers) -> None:
    """With a damaged key nobody is signed in, and `check` says what to do."""
    cookie = servers.begin(PASSWORD)
    servers.store.put(keys.SESSION_KEY, b'{"key":"short"}', None)
    servers.clock.advance(seconds=FIFTEEN_SECONDS)

    assert servers.callers(cookie) == [None, None]
    assert "damaged" in str(servers.other.server.check.run().problems)
