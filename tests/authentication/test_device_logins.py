"""Logins of programs through a browser: asked for, approved with a code, and used once."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from threading import Barrier, Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.authentication.verifiers.test_password_hashes import BCRYPT, SHA
from tests.catalog.faulty_store import Fault, FaultKind, FaultyStore, ProcessCrash
from tests.operations.in_memory_index import START, Clock, fake_runtime
from tests.refused import refused
from wheelyard.authentication.api_tokens import MAX_TOKENS_PER_OWNER, TokenRequest
from wheelyard.authentication.device_logins import BegunLogin, WantedToken
from wheelyard.catalog import keys
from wheelyard.errors import Conflict, Forbidden, Invalid, NotFound, Unauthenticated, Unavailable
from wheelyard.model.access import Action, Caller, Credential, parse_pattern
from wheelyard.model.api_token import ApiToken
from wheelyard.model.device_login import (
    CODE_LETTERS,
    LIFETIME_SECONDS,
    LoginRequest,
    device_code,
    is_user_code,
    page_text,
    request_in_device_code,
    request_in_page_text,
    user_code,
)
from wheelyard.settings.sections import AccessSettings, Settings
from wheelyard.storage.base import Key, Store, Stores
from wheelyard.storage.memory import MemoryStore
from wheelyard.storage.spool import Spool
from wheelyard.wiring.build import build_index
from wheelyard.wiring.index import Index
from wheelyard.wiring.stores import StoreTraits

ADDRESS = "192.0.2.7"
GRANTS: tuple[dict[str, object], ...] = (
    {"who": ["htpasswd:ana", "user:ana@acme.dev"], "projects": ["acme-*"], "actions": ["upload"]},
    {"who": ["htpasswd:ana"], "projects": ["*"], "actions": ["read"]},
    {"who": ["htpasswd:root"], "projects": ["*"], "actions": ["admin"]},
)
ASKED = WantedToken(
    name="laptop", actions=Action.UPLOAD.with_implied, projects=(parse_pattern("*"),), days=30
)
ALLOWED = replace(ASKED, projects=(parse_pattern("acme-*"),), days=7)


@dataclass
class Servers:
    """An index in a bucket with two servers, whose caches are their own."""

    folder: Path
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.store = MemoryStore(self.clock.seconds)
        self.file = self.folder / "htpasswd"
        self.file.write_text(f"ana:{SHA}\nroot:{SHA}\n")
        self.one, self.other = self.opened(1), self.opened(2)

    def opened(self, seed: int, store: Store | None = None, **access: object) -> Index:
        """Return one more server."""
        settings = AccessSettings(**{"htpasswd_file": str(self.file), **access})  # type: ignore[arg-type]
        return build_index(
            Stores.of(store or self.store),
            Spool(self.folder),
            Settings(access=settings, grant=GRANTS),
            fake_runtime(self.clock, seed),
            StoreTraits(is_local=False),
        )

    def ask(self, wanted: WantedToken = ASKED, index: Index | None = None) -> BegunLogin:
        """Begin a login at the first server."""
        return (index or self.one).device_logins.ask(wanted, "anas-laptop", ADDRESS)

    def approve(
        self,
        begun: BegunLogin,
        allowed: WantedToken = ALLOWED,
        *,
        code: str = "",
        by: str = "htpasswd:ana",
        signed_in_at: datetime | None = None,
    ) -> None:
        """Approve a login at the other server, as Ana who has signed in now."""
        logins, caller = self.other.device_logins, person(by)
        typed = code or begun.user_code
        logins.approve(caller, signed_in_at, begun.page_text, typed, allowed)

    def redeem(self, begun: BegunLogin, index: Index | None = None) -> ApiToken:
        """Fetch the token of a login."""
        return (index or self.one).device_logins.redeem(begun.device_code)[0]

    def keys(self, prefix: str = "credentials/") -> list[str]:
        """Return the keys of what is stored of credentials, but the key of sessions."""
        stored = (entry.key for entry in self.store.list(prefix))
        return [key for key in stored if key != keys.SESSION_KEY]


def person(principal: str, owner: str = "") -> Caller:
    """Return somebody who has signed in."""
    return Caller(principal, (), frozenset({principal}), owner=owner)


@pytest.fixture
def servers(tmp_path: Path) -> Servers:
    """Return two servers of one index."""
    return Servers(tmp_path)


def test_an_approved_program_gets_one_token(servers: Servers) -> None:
    """A program gets the token that a person has allowed it, once, and within their rights."""
    begun = servers.ask()
    with refused(Invalid, "authorization_pending"):
        servers.redeem(begun)
    assert servers.keys() == []
    request = servers.other.device_logins.open_request(begun.page_text)
    assert (request.address, request.host, request.asked_at) == (
        ADDRESS,
        "anas-laptop",
        START.timestamp(),
    )
    allowed = servers.other.device_logins.allowed(person("htpasswd:ana"), request)
    assert allowed == {Action.READ: ("*",), Action.UPLOAD: ("acme-*",)}

    servers.approve(begun)
    token, record = servers.one.device_logins.redeem(begun.device_code)

    assert (record.owner, record.created_by, record.name) == ("htpasswd:ana",) * 2 + ("laptop",)
    assert (record.scope, record.lifetime) == (ALLOWED.scope, timedelta(days=7))
    credential = Credential("", token.text, is_bearer=True)
    caller = servers.other.authenticator.authenticate(credential, ADDRESS)
    assert (caller.principal, caller.owner) == (f"token:{token.id}", "htpasswd:ana")
    for index in (servers.one, servers.other):
        with refused(Invalid, "invalid_grant", match="for once"):
            servers.redeem(begun, index)
    with refused(NotFound, "not_found"):
        servers.approve(begun)
    assert len(servers.one.tokens.all()) == 1
    servers.file.write_text(f"ana:{BCRYPT}\n")
    servers.clock.advance(seconds=5)
    with refused(Unauthenticated, "owner_ended"):
        servers.one.authenticator.authenticate(credential, ADDRESS)


def test_what_is_in_a_url_is_no_code(servers: Servers) -> None:
    """Neither the URL of the page nor the code opens anything, and none can be made of another."""
    begun = servers.ask()
    servers.approve(begun)

    for text in (
        begun.page_text,
        begun.user_code,
        begun.device_code[:-1],
        "",
        "x" * 5000,
        "zz" * 90,
    ):
        with refused(Invalid, "invalid_grant", match="no login of this index"):
            servers.one.device_logins.redeem(text)
    with refused(NotFound, "not_found"):
        servers.one.device_logins.open_request(begun.device_code)
    assert begun.user_code.replace("-", "") not in bytes.fromhex(begun.page_text).decode("latin-1")
    servers.store.delete(keys.SESSION_KEY)
    servers.clock.advance(seconds=20)
    with refused(Invalid, "invalid_grant"):
        servers.redeem(begun)


def test_five_wrong_codes_end_a_login(servers: Servers) -> None:
    """Five wrong codes end a login on every server, and the right one comes too late."""
    begun = servers.ask()
    wrong = "BBBB-BBBB"
    for left in ("4 more tries", "3 more tries", "2 more tries", "one more try"):
        with refused(Invalid, "invalid_field", match=left) as caught:
            servers.approve(begun, code=wrong)
        assert caught.value.field == "code"
        with refused(Invalid, "authorization_pending"):
            servers.redeem(begun)
    with refused(NotFound, "not_found", match="too many wrong codes"):
        servers.approve(begun, code=wrong)

    with refused(NotFound, "not_found"):
        servers.approve(begun)
    with refused(Invalid, "access_denied", match="5 wrong codes"):
        servers.redeem(begun)
    other = servers.ask()
    letters = other.user_code.replace("-", " ").lower()
    servers.approve(other, code=f" {letters}\n")
    assert servers.redeem(other).id


def test_a_refused_login_ends_at_once(servers: Servers) -> None:
    """Who refuses a login ends it, and the program is told."""
    begun = servers.ask()

    servers.other.device_logins.refuse(person("htpasswd:root"), None, begun.page_text)

    with refused(Invalid, "access_denied", match="refused in the browser"):
        servers.redeem(begun)
    with refused(NotFound, "not_found"):
        servers.approve(begun)


def test_a_login_lasts_ten_minutes(servers: Servers) -> None:
    """Ten minutes after it was asked for a login can be neither approved nor used."""
    begun, approved = servers.ask(), servers.ask()
    servers.clock.advance(seconds=LIFETIME_SECONDS - 1)
    servers.approve(approved)
    servers.clock.advance(seconds=1)

    for login in (begun, approved):
        with refused(Invalid, "expired_token"):
            servers.redeem(login)
    with refused(NotFound, "not_found", match="more than ten minutes old"):
        servers.approve(begun)
    assert servers.one.tokens.all() == []


def test_only_people_who_have_just_signed_in_approve(servers: Servers) -> None:
    """No token approves or refuses a login, nor a person whose sign-in is older than an hour."""
    begun, logins = servers.ask(), servers.other.device_logins
    long_ago = START - timedelta(hours=1, seconds=1)
    for caller, signed_in_at in (
        (person("token:0123456789"), None),
        (person("token:0123456789", "htpasswd:ana"), None),
        (person("static:ci"), None),
        (person("anonymous"), None),
        (person("htpasswd:ana"), long_ago),
    ):
        with refused(Forbidden, "forbidden"):
            logins.refuse(caller, signed_in_at, begun.page_text)
        with refused(Forbidden, "forbidden"):
            logins.approve(caller, signed_in_at, begun.page_text, begun.user_code, ALLOWED)
    assert servers.keys() == []


@pytest.mark.parametrize(
    ("change", "error", "field"),
    [
        ({"actions": Action.MANAGE.with_implied}, Invalid, "can"),
        ({"projects": ()}, Invalid, "projects"),
        ({"projects": (parse_pattern("*"),)}, Forbidden, ""),
        ({"days": 31}, Invalid, "days"),
        ({"days": 0}, Invalid, "days"),
        ({"name": " "}, Invalid, ""),
    ],
)
def test_no_more_is_allowed_than_was_asked_for(
    servers: Servers, change: dict[str, object], error: type[Invalid | Forbidden], field: str
) -> None:
    """A person allows at most what was asked for, and what they may do themselves."""
    begun = servers.ask()

    with pytest.raises(error) as caught:
        servers.approve(begun, replace(ALLOWED, **change))

    assert caught.value.field == field
    assert servers.keys() == []


def test_a_narrow_request_stays_narrow(servers: Servers) -> None:
    """An administrator, too, allows a program no project that it has not asked for."""
    begun = servers.ask(replace(ASKED, projects=(parse_pattern("acme-*"),)))
    with refused(Invalid, "invalid_field", match="that the program has asked for"):
        servers.approve(begun, replace(ALLOWED, projects=(parse_pattern("*"),)), by="htpasswd:root")
    servers.approve(
        begun, replace(ALLOWED, projects=(parse_pattern("acme-x"),)), by="htpasswd:root"
    )
    assert servers.redeem(begun).id


def test_a_token_is_for_the_index_that_was_asked_for(servers: Servers) -> None:
    """A login for an index makes a token that names it, and no other one."""
    begun = servers.ask(replace(ASKED, index="prod"))
    request = servers.other.device_logins.open_request(begun.page_text)
    assert (request.actions, request.scope.index) == (0, "prod")  # for an older version
    with refused(Invalid, "invalid_field", match="another index"):
        servers.approve(begun)

    servers.approve(begun, replace(ALLOWED, index="prod"))

    _, record = servers.one.device_logins.redeem(begun.device_code)
    assert record.scope == replace(ALLOWED.scope, index="prod")


@pytest.mark.parametrize(
    "change",
    [
        {"actions": Action.ADMIN.with_implied},
        {"actions": Action.APPROVE},
        {"days": 366},
        {"days": 0},
        {"name": ""},
        {"name": "x" * 101},
        {"projects": tuple(parse_pattern(f"{'a' * 60}-{number}") for number in range(20))},
    ],
)
def test_not_everything_can_be_asked_for(servers: Servers, change: dict[str, object]) -> None:
    """Who asks for rights of administrators, or for what no token can have, is told at once."""
    with refused(Invalid, "invalid_field"):
        servers.ask(replace(ASKED, **change))


def test_a_name_of_a_machine_is_one_line(servers: Servers) -> None:
    """What a program calls its machine is shown as one short line."""
    begun = servers.one.device_logins.ask(ASKED, f"a\n\u202eb{'c' * 99}", ADDRESS)

    host = servers.one.device_logins.open_request(begun.page_text).host
    assert (host[:4], len(host)) == ("a bc", 60)


def test_an_index_without_people_says_what_to_do(servers: Servers) -> None:
    """Where nobody can sign in, a program is told to get a token from the operator."""
    nobody = servers.opened(3, htpasswd_file="", cookie_login=True)

    with refused(Forbidden, "login_unavailable", match="Ask its operator for a token"):
        servers.ask(index=nobody)


def test_a_hundred_tokens_are_enough(servers: Servers) -> None:
    """Who has a hundred tokens gets no other one, by no login that was approved before either."""
    begun = servers.ask()
    servers.approve(begun)
    owner = servers.one.authenticator.owners.named("htpasswd:ana")
    for _ in range(MAX_TOKENS_PER_OWNER):
        servers.one.tokens.create(TokenRequest(name="x", owner=owner), "local:op")

    with refused(Conflict, "too_many_tokens"):
        servers.approve(servers.ask())
    with refused(Invalid, "access_denied", match="100 tokens"):
        servers.redeem(begun)


def end_access(servers: Servers) -> None:
    """End Ana's access, as an administrator."""
    servers.one.access.end_person("htpasswd:ana", "htpasswd:root", "")


def remove_line(servers: Servers) -> None:
    """Remove Ana's line of the htpasswd file."""
    servers.file.write_text(f"root:{SHA}\n")
    servers.clock.advance(seconds=5)


@pytest.mark.parametrize("end", [end_access, remove_line])
def test_an_approval_of_somebody_who_has_left_is_worth_nothing(
    servers: Servers, end: Callable[[Servers], None]
) -> None:
    """If the person loses access after the approval, the program gets no token."""
    begun = servers.ask()
    servers.approve(begun)
    end(servers)

    with refused(Invalid, "access_denied", match="The token laptop has ended, because its owner"):
        servers.redeem(begun)

    assert servers.one.tokens.all() == []


def test_of_two_programs_at_once_one_gets_the_token(servers: Servers) -> None:
    """If two programs have one device code, on two servers, one of them gets a token."""
    for _ in range(5):
        begun, gate, made, errors = servers.ask(), Barrier(2), list[str](), list[str]()
        servers.approve(begun)

        def fetch(
            index: Index,
            begun: BegunLogin = begun,
            gate: Barrier = gate,
            made: list[str] = made,
            errors: list[str] = errors,
        ) -> None:
            gate.wait(10)
            try:
                made.append(servers.redeem(begun, index).id)
            except Invalid as fault:
                errors.append(fault.code)

        threads = [Thread(target=fetch, args=[each]) for each in (servers.one, servers.other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(made), errors) == (1, ["invalid_grant"])


def crash(kind: FaultKind, key: str) -> Callable[[Servers, BegunLogin], None]:
    """Return what fetches the token at a server that dies at a write of such a key."""

    def act(servers: Servers, begun: BegunLogin) -> None:
        store = FaultyStore(servers.store, (Fault(kind, "put", f"{key}*"),))
        with pytest.raises(ProcessCrash):
            servers.redeem(begun, servers.opened(9, store))

    return act


@pytest.mark.parametrize(
    ("kind", "prefix", "is_used", "tokens"),
    [
        (FaultKind.CRASH, keys.DEVICE_LOGINS, False, 1),
        (FaultKind.CRASH_AFTER, keys.DEVICE_LOGINS, True, 0),
        (FaultKind.CRASH, keys.TOKENS, True, 0),
        (FaultKind.CRASH_AFTER, keys.TOKENS, True, 1),
    ],
)
def test_a_crash_makes_no_second_token(
    servers: Servers,
    kind: FaultKind,
    prefix: str,
    is_used: bool,  # noqa: FBT001
    tokens: int,
) -> None:
    """If a server dies while it makes the token, no second one is made, and the rest is said."""
    begun = servers.ask()
    servers.approve(begun)

    crash(kind, prefix)(servers, begun)

    if is_used:
        with refused(Invalid, "invalid_grant", match="revoke that on the page"):
            servers.redeem(begun)
    else:
        assert servers.redeem(begun).id
    assert len(servers.one.tokens.all()) == tokens


def test_a_lost_answer_of_the_store_counts(servers: Servers) -> None:
    """If the store has written a decision and its answer is lost, the decision counts once."""
    begun = servers.ask()
    store = FaultyStore(servers.store, (Fault(FaultKind.DONE, "put", f"{keys.DEVICE_LOGINS}*"),))
    logins = servers.opened(9, store).device_logins

    logins.approve(person("htpasswd:ana"), None, begun.page_text, begun.user_code, ALLOWED)

    assert servers.redeem(begun).id
    store = FaultyStore(
        servers.store, (Fault(FaultKind.NOT_DONE, "get", f"{keys.DEVICE_LOGINS}*"),)
    )
    with pytest.raises(Unavailable):
        servers.redeem(servers.ask(), servers.opened(8, store))


def test_old_records_are_removed(servers: Servers) -> None:
    """An approval removes the records of logins that are over, and so does `check --sweep`."""
    for _ in range(3):
        servers.approve(servers.ask())
    servers.clock.advance(hours=2)
    servers.approve(servers.ask())
    assert len(servers.keys(keys.DEVICE_LOGINS)) == 1
    servers.clock.advance(hours=2)

    findings = servers.other.check.run(sweep=True)

    assert (findings.problems, findings.notes, findings.swept) == ([], [], 1)
    servers.store.put(Key(f"{keys.DEVICE_LOGINS}x"), b"", None)
    (note,) = servers.other.check.run().notes
    assert keys.DEVICE_LOGINS in note


def test_decisions_are_logged_without_a_code(
    servers: Servers, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says who has approved what from where, and has no code and no token."""
    begun = servers.ask()
    with caplog.at_level(logging.INFO, "wheelyard"):
        with pytest.raises(Invalid):
            servers.approve(begun, code="BBBBBBBB")
        servers.approve(begun)
        token = servers.redeem(begun)

    assert f"login approved by htpasswd:ana: in a browser, address {ADDRESS}" in caplog.text
    assert "login code wrong by htpasswd:ana" in caplog.text
    assert f"token created by htpasswd:ana: {token.id}" in caplog.text
    for secret in (token.text, begun.device_code, begun.user_code, begun.page_text):
        assert secret not in caplog.text


REQUESTS = st.builds(
    LoginRequest,
    id=st.integers(0, 2**128 - 1).map(lambda number: f"{number:032x}"),
    address=st.just(ADDRESS),
    host=st.text(max_size=60),
    name=st.text(min_size=1, max_size=100),
    actions=st.sampled_from([1, 3, 7]),
    projects=st.lists(st.sampled_from([parse_pattern("*"), parse_pattern("a-*")])).map(tuple),
    days=st.integers(1, 36500),
    asked_at=st.integers(0, 2**32),
)


@given(REQUESTS, st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_codes_belong_to_one_request(request_: LoginRequest, key: bytes, other: bytes) -> None:
    """Codes and URL are read back to the request with the same key alone, and not as each other."""
    device, page = device_code(request_, key), page_text(request_, key)
    code = user_code(request_, key)

    assert request_in_device_code(device, key) == request_in_page_text(page, key) == request_
    assert request_in_page_text(device, key) is request_in_device_code(page, key) is None
    assert set(code.replace("-", "")) <= set(CODE_LETTERS)
    assert is_user_code(code.lower().replace("-", ""), request_, key)
    assert not is_user_code(code[:-1], request_, key)
    if other != key:
        assert request_in_device_code(device, other) is None
        assert user_code(request_, other) != code
    changed = replace(request_, days=request_.days + 1)
    assert user_code(changed, key) != code


@given(st.text())
def test_any_other_text_is_no_request(text: str) -> None:
    """Any other text is refused, whatever it is."""
    for read in (request_in_device_code, request_in_page_text):
        assert read(text, b"k" * 32) is None
    assert not is_user_code(text.replace("B", ""), REQUEST, b"k" * 32)


REQUEST = LoginRequest(
    id="0" * 32, address=ADDRESS, host="", name="x", actions=1, projects=(), days=1, asked_at=0
)
