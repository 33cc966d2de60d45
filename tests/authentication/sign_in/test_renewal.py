"""Renewals: sessions follow what the provider says, by one server at a time, whatever dies."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from threading import Thread
from time import sleep

import pytest
from msgspec.structs import replace

from tests.authentication.sign_in.fake_provider import (
    SECRET,
    FakeProvider,
    ProviderServer,
    running_providers,
)
from tests.fake_store import ALWAYS, Before, FakeStore, Fault, FaultKind, ProcessCrash
from tests.fake_time import START, Clock, fake_runtime
from tests.in_process_network import NetworkOrPorts
from tests.refused import refused
from wheelyard.authentication.confirmation import ConfirmationNeeded
from wheelyard.authentication.sign_in.confirmed_people import LEASE
from wheelyard.authentication.sign_in.provider import AuthorizationAnswer
from wheelyard.authentication.sign_in.sign_in import MAX_RENEWALS, WAIT_SECONDS, SignedIn, SignIn
from wheelyard.errors import Conflict, Forbidden, Invalid, Unavailable
from wheelyard.model.access import Caller
from wheelyard.model.person import Person, id_of_subject
from wheelyard.settings.sections import Settings
from wheelyard.settings.validation import validate
from wheelyard.storage.base import Store, Stores
from wheelyard.storage.memory import MemoryStore
from wheelyard.storage.spool import Spool
from wheelyard.wiring.build import build_index
from wheelyard.wiring.index import Index
from wheelyard.wiring.stores import StoreTraits

ADDRESS = "192.0.2.7"
GROUP = "oidc:acme:group:platform"


@dataclass
class Server:
    """A server of an index, whose renewals in the background wait until a test runs them."""

    index: Index
    started: list[Callable[[], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        sign_in = self.index.sessions.sign_in
        assert sign_in is not None
        self.sign_in: SignIn = sign_in
        self.sign_in.renewals._start = self.started.append  # noqa: SLF001 - in place of a thread

    def use(self, cookie: str) -> Caller | None:
        """Return whose session a cookie is, as for a request."""
        try:
            return self.index.sessions.caller(cookie)
        except ConfirmationNeeded as needed:
            needed.confirm()
        try:
            return self.index.sessions.caller(cookie)
        except ConfirmationNeeded:
            return None

    def groups(self, cookie: str) -> list[str] | None:
        """Return the groups of whose session a cookie is, or None if it is nobody's."""
        caller = self.use(cookie)
        names = caller.principals if caller else ()
        return [name for name in sorted(names) if ":group:" in name] if caller else None

    def work(self) -> None:
        """Do what was to be done in the background."""
        while self.started:
            self.started.pop(0)()


@dataclass
class Place:
    """A provider with the groups of a person, and an index."""

    providers: ProviderServer
    folder: Path
    is_local: bool = True
    changes: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.clock = Clock()
        self.store = MemoryStore(self.clock.seconds)
        self.fake: FakeProvider = self.providers.provider(self.clock.seconds)
        self.fake.claims["groups"] = ["platform"]
        self.wait: Callable[[float], None] = lambda seconds: self.clock.advance(seconds=seconds)
        """What a server does to wait."""
        self.one = self.server(1)

    def server(self, seed: int, store: Store | None = None, **changes: object) -> Server:
        """Start one more server, perhaps with other settings of the provider."""
        table = {
            "name": "acme",
            "issuer": self.fake.issuer,
            "client_id": "wheelyard",
            "secret": SECRET,
            "groups_claim": "groups",
            "allow_private": True,
            **self.changes,
            **changes,
        }
        settings = validate(Settings(sign_in=(table,)))
        runtime = replace(fake_runtime(self.clock, seed), pause=self._pause)
        traits = StoreTraits(is_local=self.is_local)
        stores = Stores.of(store or self.store)
        spool = Spool(self.folder)
        return Server(build_index(stores, spool, settings, runtime, traits, is_server=True))

    def _pause(self, seconds: float) -> None:
        self.wait(seconds)

    def later(self, **by: float) -> None:
        """Let time go by, and all caches of a second, too."""
        self.clock.advance(**by)

    def sign_in(self, server: Server | None = None) -> str:
        """Sign the person in; return the cookie of the session."""
        server = server or self.one
        sign_in = server.sign_in
        back = self.fake.authorize(sign_in.begin("acme", "browser", "/"))
        done = come_back(server, back)
        cookie, _ = server.index.sessions.begin_for_person(sign_in, done.person, done.seconds)
        return cookie

    @property
    def person(self) -> Person:
        """The record of the person, as it is in the store."""
        person_id = id_of_subject(str(self.fake.claims["sub"]))
        record = self.one.index.server.people.get_current("acme", person_id).value
        assert record is not None
        return record

    def save(self, person: Person) -> None:
        """Store a changed record."""
        people = self.one.index.server.people
        assert people.save(person, people.get_current("acme", person.id)) is not None


def come_back(server: Server, back: Mapping[str, str]) -> SignedIn:
    """Return who has signed in, whom a provider has sent back with these parameters."""
    answer = AuthorizationAnswer(code=back["code"])
    return server.sign_in.finish("acme", "browser", back["state"], answer, ADDRESS)


@pytest.fixture
def providers(network: NetworkOrPorts) -> Iterator[ProviderServer]:
    """A server of providers."""
    with running_providers(network) as providers:
        yield providers


@pytest.fixture
def place(providers: ProviderServer, tmp_path: Path) -> Place:
    """An index whose people come from a provider."""
    return Place(providers, tmp_path)


def test_an_answer_that_comes_again_asks_nobody(place: Place) -> None:
    """An answer that comes again is refused at any server, and the provider is not asked."""
    back = place.fake.authorize(place.one.sign_in.begin("acme", "browser", "/"))
    come_back(place.one, back)
    for server in (place.one, place.server(2)):
        with pytest.raises(Invalid, match="is over"):
            come_back(server, back)
    assert place.fake.server.asked(f"{place.fake.path}/token") == 1


def test_one_answer_at_two_servers_is_one_session(place: Place) -> None:
    """Of two servers to which one answer comes at the same time, one signs the person in."""
    back = place.fake.authorize(place.one.sign_in.begin("acme", "browser", "/"))
    place.fake.takes_codes_again = True
    at_the_other = list[SignedIn]()

    def come_back_elsewhere() -> None:
        place.fake.before_exchange = lambda: None
        at_the_other.append(come_back(place.server(2), back))

    place.fake.before_exchange = come_back_elsewhere
    with pytest.raises(Invalid, match="is over"):
        come_back(place.one, back)
    assert [done.person.name for done in at_the_other] == ["ana@acme.dev"]


def test_an_invented_code_writes_nothing(place: Place) -> None:
    """An answer with an invented code signs nobody in, and leaves no object in the store."""
    place.one.sign_in.begin("acme", "browser", "/")  # makes the key of sessions
    before = list(place.store.list(""))
    for _ in range(3):
        back = place.fake.authorize(place.one.sign_in.begin("acme", "browser", "/"))
        with pytest.raises(Forbidden):
            come_back(place.one, {**back, "code": "invented"})
    assert list(place.store.list("")) == before


def test_nothing_is_asked_for_a_quarter_of_an_hour(place: Place) -> None:
    """A session costs the provider nothing until a renewal is due."""
    cookie = place.sign_in()
    place.later(minutes=14, seconds=59)
    assert place.one.groups(cookie) == [GROUP]
    assert place.one.started == []


def test_a_due_renewal_waits_for_nobody(place: Place) -> None:
    """A request with a due renewal has the groups of before, the requests after it the new."""
    cookie = place.sign_in()
    place.fake.claims["groups"] = ["ops"]
    place.later(minutes=15)
    assert place.one.groups(cookie) == [GROUP]
    place.one.work()
    assert place.one.groups(cookie) == ["oidc:acme:group:ops"]
    assert place.person.confirmed_at == place.clock.now
    assert place.one.started == []


def test_all_servers_have_what_is_new(providers: ProviderServer, tmp_path: Path) -> None:
    """On a bucket, a lost group is lost at every server 14 seconds later."""
    place = Place(providers, tmp_path, is_local=False)
    two = place.server(2)
    cookie = place.sign_in()
    place.later(minutes=15)
    assert two.groups(cookie) == [GROUP]  # and is cached there
    two.started.clear()
    place.fake.claims["groups"] = []
    assert place.one.groups(cookie) == [GROUP]
    place.one.work()
    place.later(seconds=14)
    assert (place.one.groups(cookie), two.groups(cookie)) == ([], [])


def test_after_an_hour_the_provider_is_asked_first(place: Place) -> None:
    """After an hour without a renewal, the first request has the groups of now."""
    cookie = place.sign_in()
    place.fake.claims["groups"] = ["ops"]
    place.later(hours=3)
    assert place.one.groups(cookie) == ["oidc:acme:group:ops"]
    assert place.one.started == []


def test_a_session_ends_after_its_time(providers: ProviderServer, tmp_path: Path) -> None:
    """Renewals do not make a session longer than the settings say."""
    place = Place(providers, tmp_path, changes={"session_hours": 2})
    cookie = place.sign_in()
    for _ in range(7):
        place.later(minutes=17)
        assert place.one.groups(cookie) == [GROUP]
        place.one.work()
    place.later(minutes=1)
    assert place.one.groups(cookie) is None


def test_without_a_refresh_token_a_session_ends_after_an_hour(place: Place) -> None:
    """Without a refresh token, a session ends after an hour."""
    place.fake.gives_refresh_tokens = False
    cookie = place.sign_in()
    place.later(minutes=59)
    assert place.one.groups(cookie) == [GROUP]
    assert place.one.started == []
    place.later(minutes=1)
    assert place.one.groups(cookie) is None


def test_a_provider_that_sends_a_refresh_token_once_is_asked_by_that_one(place: Place) -> None:
    """Of a provider that sends a refresh token at the first sign-in alone, that one is used."""
    place.sign_in()
    place.fake.gives_refresh_tokens = False
    cookie = place.sign_in()
    place.fake.claims["groups"] = ["ops"]
    place.later(minutes=15)

    assert place.one.groups(cookie) == [GROUP]
    place.one.work()

    assert place.one.groups(cookie) == ["oidc:acme:group:ops"]


@pytest.mark.parametrize(
    "change",
    [{"ended_at": START, "ended_by": "local:test"}, {"refresh_token": ""}],
    ids=["ended", "no refresh token"],
)
def test_nobody_is_asked_about_who_cannot_be_confirmed(
    place: Place, change: dict[str, object]
) -> None:
    """A renewal that waits asks nothing about who was ended, or has no refresh token, meanwhile."""
    cookie = place.sign_in()
    place.later(minutes=15)
    place.one.use(cookie)
    place.save(replace(place.person, **change))
    before = place.person

    place.one.work()

    assert place.fake.server.asked(f"{place.fake.path}/token") == 1
    assert place.person == before


def test_who_cannot_be_recorded_is_not_signed_in(place: Place) -> None:
    """If others change the record of a person at each attempt to sign in, that is said."""
    fault = Fault(FaultKind.LOST_RACE, "put", "credentials/people/*", times=ALWAYS)
    server = place.server(2, FakeStore(place.store, fault))

    with refused(Unavailable, "overloaded", match="the record of a person"):
        place.sign_in(server)

    assert list(place.store.list("credentials/people/")) == []


def test_a_refusal_ends_all_sessions_at_every_server(place: Place) -> None:
    """Who has lost the account is signed out everywhere, and may sign in if they get it back."""
    two = place.server(2)
    cookies = [place.sign_in(), place.sign_in(two)]
    place.fake.revoke()
    place.later(minutes=15)
    place.one.use(cookies[0])
    place.one.work()
    assert [server.use(cookie) for server in (place.one, two) for cookie in cookies] == [None] * 4
    assert (place.person.refresh_token, place.person.refused_at) == ("", place.clock.now)
    new = place.sign_in()
    assert place.person.refused_at is None
    assert place.one.groups(new) == [GROUP]
    assert place.one.use(cookies[0]) is None  # what has ended does not come back


@pytest.mark.parametrize(
    "claims", [{"sub": "bo-of-acme"}, {"email_verified": False}, {"email": "a:b"}]
)
def test_what_no_sign_in_would_accept_ends_sessions_at_a_renewal(
    place: Place, claims: dict[str, object]
) -> None:
    """Claims that no sign-in would accept end the sessions of a person at a renewal."""
    cookie = place.sign_in()
    person_id = place.person.id
    place.fake.claims |= claims
    place.later(minutes=15)
    place.one.use(cookie)
    place.one.work()
    assert place.one.use(cookie) is None
    record = place.one.index.server.people.get_current("acme", person_id).value
    assert record is not None
    assert (record.name, record.endings) == ("ana@acme.dev", 1)


def test_a_silent_provider_leaves_sessions_for_an_hour(place: Place) -> None:
    """A silent provider leaves sessions open for an hour, and open again once it answers."""
    cookie = place.sign_in()
    place.fake.break_off()
    for _ in range(59):
        place.later(minutes=1)
        assert place.one.groups(cookie) == [GROUP]
        place.one.work()
    place.later(minutes=1)
    assert place.one.groups(cookie) is None
    # it has not ended: as soon as the provider answers, it goes on
    place.fake.repair()
    place.later(minutes=2)
    assert place.one.groups(cookie) == [GROUP]


def test_a_silent_provider_is_asked_once_a_minute(place: Place) -> None:
    """A silent provider is asked about a person once a minute, by all servers together."""
    cookie, two = place.sign_in(), place.server(2)
    place.later(minutes=15)
    path = f"{place.fake.path}/token"
    place.fake.break_off()
    renewals = place.fake.server.asked(path)
    for second in range(120):
        for server in (place.one, two):
            server.use(cookie)
            server.work()
        assert place.fake.server.asked(path) == renewals + 1 + second // 60
        place.later(seconds=1)


def test_one_server_at_a_time_renews_a_person(place: Place) -> None:
    """While one server renews a person, the others go on without sending the refresh token."""
    cookie, two = place.sign_in(), place.server(2)
    place.later(minutes=15)
    groups_meanwhile = list[list[str] | None]()

    def meanwhile() -> None:
        groups_meanwhile.append(two.groups(cookie))
        two.work()

    place.fake.before_answer = meanwhile
    place.one.use(cookie)
    place.one.work()
    assert groups_meanwhile == [[GROUP]]
    assert len(place.fake.renewals) == 1
    assert two.groups(cookie) == [GROUP]
    two.work()
    assert len(place.fake.renewals) == 1


def test_many_servers_at_once_send_one_refresh_token(place: Place) -> None:
    """Of servers that notice a due renewal at once, one sends the refresh token."""
    cookie = place.sign_in()
    servers = [place.server(seed) for seed in range(2, 10)]
    place.later(minutes=15)
    for server in servers:
        server.use(cookie)
    threads = [Thread(target=server.work) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(place.fake.renewals) == 1
    assert {str(server.groups(cookie)) for server in servers} == {str([GROUP])}


def test_a_request_that_needs_an_answer_waits_for_the_server_that_asks(place: Place) -> None:
    """After an hour, a second server waits for the answer that the first one gets."""
    cookie, two = place.sign_in(), place.server(2)
    place.later(hours=2)
    waiting = Thread(target=lambda: waited.append(two.groups(cookie)))
    waited = list[list[str] | None]()

    def meanwhile() -> None:
        place.fake.claims["groups"] = ["ops"]
        waiting.start()

    place.fake.before_answer = meanwhile
    # the time that the second one waits must not run out while the first one is answered
    place.wait = lambda _: sleep(0.01)
    assert place.one.groups(cookie) == ["oidc:acme:group:ops"]
    waiting.join()
    assert waited == [["oidc:acme:group:ops"]]
    assert len(place.fake.renewals) == 1


def test_a_request_waits_for_another_server_only_so_long(place: Place) -> None:
    """A request waits a while for a server that does not end, and seldom reads the store then."""
    cookie = place.sign_in()
    place.later(hours=2)
    place.save(replace(place.person, renewing_until=place.clock.now + LEASE))
    reading = Before(lambda: place.later(seconds=0.01), "get", times=ALWAYS)
    store = FakeStore(place.store, reading)
    two, asked_at = place.server(2, store), place.clock.now

    assert two.use(cookie) is None

    assert 0 <= (place.clock.now - asked_at).total_seconds() - WAIT_SECONDS < 1
    assert store.count("get") < 100
    assert place.fake.renewals == []


@pytest.mark.parametrize("kind", [FaultKind.CRASH, FaultKind.CRASH_AFTER])
def test_a_server_that_dies_after_the_answer_costs_one_sign_in(
    place: Place, kind: FaultKind
) -> None:
    """A server that dies with a new refresh token costs the person one sign-in at most."""
    cookie, key = place.sign_in(), "credentials/people/*"
    # the first write is the lease, the second one what the provider has said
    store = FakeStore(place.store, Fault(kind, "put", key, nth=2))
    dying = place.server(2, store)
    place.later(minutes=15)
    dying.use(cookie)
    with pytest.raises(ProcessCrash):
        dying.work()
    is_written = kind is FaultKind.CRASH_AFTER
    assert place.one.groups(cookie) == [GROUP]
    place.one.work()  # the lease of the dead one holds
    assert len(place.fake.renewals) == 1
    place.later(minutes=1)
    place.one.use(cookie)
    place.one.work()
    assert (place.one.groups(cookie) is not None) == is_written
    assert place.one.groups(place.sign_in()) == [GROUP]


@pytest.mark.parametrize("kind", [FaultKind.NOT_DONE, FaultKind.DONE, FaultKind.LOST_RACE])
def test_a_store_that_stumbles_does_not_lose_a_refresh_token(place: Place, kind: FaultKind) -> None:
    """An answer of the provider is stored although the store fails three times."""
    cookie, key = place.sign_in(), "credentials/people/*"
    store = FakeStore(place.store, Fault(kind, "put", key, nth=2, times=3))
    two = place.server(2, store)
    place.fake.claims["groups"] = ["ops"]
    place.later(minutes=15)
    two.use(cookie)
    two.work()
    assert place.one.groups(cookie) == ["oidc:acme:group:ops"]
    place.later(minutes=15)
    place.one.use(cookie)
    place.one.work()
    assert place.one.groups(cookie) == ["oidc:acme:group:ops"]
    assert len(place.fake.renewals) == 2


def test_a_store_that_takes_no_answer_of_a_provider_is_to_blame(place: Place) -> None:
    """Who cannot be confirmed as the store takes no record is told to try again, not to sign in."""
    cookie, key = place.sign_in(), "credentials/people/*"
    fault = Fault(FaultKind.NOT_DONE, "put", key, nth=2, times=1000)
    failing = place.server(2, FakeStore(place.store, fault))
    place.later(minutes=61)
    with pytest.raises(Unavailable):
        failing.use(cookie)
    assert len(place.fake.renewals) == 1


def test_a_sign_in_beats_a_renewal_that_is_under_way(place: Place) -> None:
    """A sign-in during a renewal goes on, and so does the session that is renewed."""
    old = place.sign_in()
    new = list[str]()
    place.later(minutes=15)
    place.fake.before_answer = lambda: new.append(place.sign_in())
    place.one.use(old)
    place.one.work()
    assert place.one.groups(new[0]) == [GROUP]
    assert place.one.groups(old) == [GROUP]
    record = place.person
    place.later(minutes=15)
    place.fake.before_answer = lambda: None
    place.one.use(new[0])
    place.one.work()
    assert place.person.endings == record.endings
    assert place.one.groups(new[0]) == [GROUP]


def test_a_refusal_that_a_sign_in_has_overtaken_is_dropped(place: Place) -> None:
    """A refusal of a refresh token is dropped if the person has signed in meanwhile."""
    old, new = place.sign_in(), list[str]()
    place.later(minutes=15)

    def sign_in_and_refuse() -> None:
        new.append(place.sign_in())
        place.fake.is_refusing = True

    place.fake.before_answer = sign_in_and_refuse
    place.one.use(old)
    place.one.work()
    assert place.person.endings == 0
    assert place.one.groups(new[0]) == [GROUP]


def test_a_new_name_is_taken_over(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """A new name at the provider counts from the renewal on, and the log has both names."""
    caplog.set_level("INFO")
    cookie = place.sign_in()
    unique = f"#{place.person.id}"
    place.fake.claims["email"] = "ana.b@acme.dev"
    place.later(minutes=15)
    place.one.use(cookie)
    place.one.work()
    caller = place.one.use(cookie)
    assert caller is not None
    assert caller.principal == "oidc:acme:ana.b@acme.dev"
    assert f"oidc:acme:ana.b@acme.dev{unique}" in caller.principals
    assert "oidc:acme:ana@acme.dev" not in caller.principals
    assert "renamed by acme: oidc:acme:ana@acme.dev, name ana.b@acme.dev" in caplog.text
    # and back again: it is still hers
    place.fake.claims["email"] = "ana@acme.dev"
    place.sign_in()
    assert place.person.name == "ana@acme.dev"


def test_a_new_name_of_somebody_else_is_not_taken_over(place: Place) -> None:
    """A name that somebody else has is not taken: a renewal keeps the old, a sign-in fails."""
    place.fake.claims |= {"sub": "bo-of-acme", "email": "bo@acme.dev"}
    place.sign_in()
    place.fake.claims |= {"sub": "ana-of-acme", "email": "ana@acme.dev"}
    cookie = place.sign_in()
    place.fake.claims["email"] = "bo@acme.dev"
    place.later(minutes=15)
    place.one.use(cookie)
    place.one.work()
    caller = place.one.use(cookie)
    assert caller is not None
    assert caller.principal == "oidc:acme:ana@acme.dev"
    with pytest.raises(Conflict) as refused:
        place.sign_in()
    assert refused.value.code == "name_taken"


def test_of_two_with_one_name_the_first_has_it(place: Place) -> None:
    """Of two people with one name the first has it, also if a server dies meanwhile."""
    key = "credentials/people/*"
    dying = place.server(2, FakeStore(place.store, Fault(FaultKind.CRASH, "put", key)))
    with pytest.raises(ProcessCrash):
        place.sign_in(dying)
    place.fake.claims["sub"] = "another-ana"
    with pytest.raises(Conflict):
        place.sign_in()
    place.fake.claims["sub"] = "ana-of-acme"
    assert place.one.groups(place.sign_in()) == [GROUP]


@pytest.mark.parametrize(("key", "value"), [("client_id", "another"), ("name", "renamed")])
def test_a_session_is_of_the_provider_of_the_settings(place: Place, key: str, value: str) -> None:
    """A session does not hold with another client_id, or where its provider is gone."""
    cookie = place.sign_in()
    assert place.server(2, None, **{key: value}).use(cookie) is None
    assert place.server(3).groups(cookie) == [GROUP]


def test_a_new_secret_of_the_client_keeps_sessions_for_an_hour(place: Place) -> None:
    """A new secret of the client ends the sessions of before within an hour."""
    cookie = place.sign_in()
    new = place.server(2, secret="another-s3cret-of-the-client")
    place.later(minutes=59)
    assert new.groups(cookie) == [GROUP]
    assert new.started == []
    place.later(minutes=1)
    assert new.use(cookie) is None


def test_a_refresh_token_opens_for_its_person_alone(place: Place) -> None:
    """A refresh token in the record of another person is not sent to the provider."""
    place.sign_in()
    stolen = place.person.refresh_token
    place.fake.claims |= {"sub": "bo-of-acme", "email": "bo@acme.dev"}
    cookie = place.sign_in()
    place.save(replace(place.person, refresh_token=stolen))
    place.later(minutes=15)
    assert place.one.groups(cookie) == [GROUP]
    place.one.work()
    assert place.fake.renewals == []


def test_who_was_ended_by_an_administrator_is_out_at_once(place: Place) -> None:
    """Whose access an administrator has ended has no session, no renewal and no sign-in."""
    cookie = place.sign_in()
    place.save(replace(place.person, ended_at=place.clock.now, ended_by="local:admin"))
    place.later(minutes=15)
    assert place.one.use(cookie) is None
    with pytest.raises(Forbidden) as refused:
        place.sign_in()
    assert refused.value.message.startswith("An administrator of this index has ended your access")
    assert place.fake.renewals == []


def test_who_is_ended_during_a_renewal_stays_out(place: Place) -> None:
    """Whose access is ended during a renewal stays out."""
    cookie = place.sign_in()
    place.later(minutes=15)
    place.fake.before_answer = lambda: place.save(
        replace(place.person, ended_at=place.clock.now, ended_by="local:admin")
    )
    place.one.use(cookie)
    place.one.work()
    assert place.person.ended_at is not None
    assert place.one.use(cookie) is None


@pytest.mark.parametrize(
    "change",
    [
        {"ended_at": START, "ended_by": "local:admin", "refresh_token": ""},
        {"refused_at": START, "endings": 1, "refresh_token": ""},
    ],
    ids=["ended", "refused"],
)
def test_a_request_does_not_wait_for_who_is_out_meanwhile(
    place: Place, change: dict[str, object]
) -> None:
    """A request that needs an answer is answered at once if the person is out by then."""
    cookie = place.sign_in()
    place.later(hours=2)
    with pytest.raises(ConfirmationNeeded) as needed:
        place.one.index.sessions.caller(cookie)
    place.save(replace(place.person, **change))
    asked_at = place.clock.now

    needed.value.confirm()

    assert place.clock.now == asked_at
    assert place.one.use(cookie) is None
    assert place.fake.renewals == []


@pytest.mark.parametrize("ahead", [timedelta(seconds=90), timedelta(days=400)])
def test_a_lease_of_a_wrong_clock_holds_nobody_up(place: Place, ahead: timedelta) -> None:
    """A lease by a clock that is over a minute ahead, or a year, keeps no server from renewing."""
    cookie = place.sign_in()
    place.later(minutes=15)
    place.save(replace(place.person, renewing_until=place.clock.now + ahead + LEASE))
    place.one.use(cookie)
    place.one.work()
    assert len(place.fake.renewals) == 1


def test_renewals_in_the_background_are_limited(place: Place) -> None:
    """Few renewals run in the background at a time; the others are made later."""
    cookies = [place.sign_in()]
    for number in range(20):
        place.fake.claims |= {"sub": f"person-{number}", "email": f"p{number}@acme.dev"}
        cookies.append(place.sign_in())
        place.later(seconds=10)
    place.later(minutes=15)
    for cookie in cookies:
        assert place.one.groups(cookie) == [GROUP]
    assert len(place.one.started) == MAX_RENEWALS
    place.one.work()
    assert place.one.groups(cookies[-1]) == [GROUP]
    assert len(place.one.started) == 1


def test_a_renewal_that_cannot_begin_keeps_no_other_from_beginning(place: Place) -> None:
    """Where the machine has no more threads for a while, renewals begin as soon as it has."""

    def fail(_: Callable[[], None]) -> None:
        raise RuntimeError

    cookie = place.sign_in()
    place.later(minutes=15)
    renewals = place.one.sign_in.renewals
    renewals._start = fail  # noqa: SLF001 - in place of a thread
    for _ in range(MAX_RENEWALS):
        assert place.one.groups(cookie) == [GROUP]

    renewals._start = place.one.started.append  # noqa: SLF001 - in place of a thread
    assert place.one.groups(cookie) == [GROUP]
    assert len(place.one.started) == 1
