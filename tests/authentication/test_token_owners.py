"""Owners of tokens: who may own one, and what becomes of a token with its owner."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.authentication.verifiers.test_password_hashes import APR1, BCRYPT, SHA
from tests.fake_store import FakeStore
from tests.fake_time import START, Clock, fake_runtime
from tests.index_tables import put_tables, toml_of
from tests.operations.in_memory_index import ALICE
from tests.refused import refused
from wheelyard.api.access_operations import list_tokens
from wheelyard.api.local_api import LocalApi
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.authentication.rejections import rejection_reason
from wheelyard.catalog import keys
from wheelyard.errors import Invalid, Unauthenticated, Unavailable
from wheelyard.model.access import EVERY_PROJECT, Action, Caller, Credential
from wheelyard.model.api_token import ApiToken, ListedToken, TokenOwner
from wheelyard.model.person import PERSON_NAME, PROVIDER_NAME, Person, PersonId, person_in
from wheelyard.settings.sections import AccessSettings, Settings
from wheelyard.storage.base import Store, Stores
from wheelyard.storage.memory import MemoryStore
from wheelyard.storage.spool import Spool
from wheelyard.wiring.build import build_index
from wheelyard.wiring.index import Index
from wheelyard.wiring.stores import StoreTraits

FILE_SECONDS = 1
"""After so long a changed file is looked at."""
BUCKET_SECONDS = 15
"""After so long a change in a bucket counts."""
GRANTS: tuple[dict[str, object], ...] = (
    {"who": ["oidc:acme:group:platform"], "projects": ["acme-*"], "actions": ["upload"]},
    {"who": ["oidc:acme:ana@acme.dev"], "projects": ["tools"], "actions": ["read"]},
    {"who": ["htpasswd:ana"], "projects": ["acme-*"], "actions": ["read"]},
)
CLOSED = AccessSettings(private=True, htpasswd_may=())
ANA = Person(
    provider="acme",
    subject="ana-of-acme",
    name="ana@acme.dev",
    groups=("platform",),
    confirmed_at=START,
)
OF_ANA = "oidc:acme:ana@acme.dev"


@dataclass
class Place:
    """An index in a bucket, with passwords, and with people of the provider `acme`."""

    folder: Path
    grants: tuple[dict[str, object], ...] = GRANTS
    access: AccessSettings = CLOSED
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.htpasswd = self.folder / "htpasswd"
        self.htpasswd.write_text(f"ana:{SHA}\nbo:{APR1}\n")
        self.store = MemoryStore(self.clock.seconds)
        self.index = self.opened(1)
        put_tables(self.index, toml_of(grant=self.grants))

    def opened(
        self, seed: int, store: Store | None = None, providers: tuple[str, ...] = ("acme",)
    ) -> Index:
        """Return one more server of the index."""
        access = replace(self.access, htpasswd_file=str(self.htpasswd))
        index = build_index(
            Stores.of(store or self.store),
            Spool(self.folder),
            Settings(access=access),
            fake_runtime(self.clock, seed),
            StoreTraits(is_local=False),
        )
        owners = replace(index.authenticator.owners, providers=frozenset(providers))
        authenticator = replace(index.authenticator, owners=owners)
        index.server.authenticator = authenticator
        return replace(index, authenticator=authenticator)

    def save(self, person: Person) -> None:
        """Store what the provider says of a person now, and let all servers learn of it."""
        people = self.index.server.people
        assert people.save(person, people.get_current(person.provider, person.id)) is not None
        self.clock.advance(seconds=BUCKET_SECONDS)

    def write(self, *lines: str) -> None:
        """Write the htpasswd file, and let all servers notice."""
        self.htpasswd.write_text("".join(f"{line}\n" for line in lines))
        self.clock.advance(seconds=FILE_SECONDS)

    def make(self, owner: str) -> ApiToken:
        """Make a token for somebody that may manage everything, as far as they may."""
        request = TokenRequest(
            name="laptop",
            actions=Action.MANAGE.with_implied,
            projects=(EVERY_PROJECT,),
            owner=self.index.authenticator.owners.named(owner),
        )
        return self.index.tokens.create(request, by=ALICE.principal)[0]

    def rights(self, token: ApiToken, index: Index | None = None) -> list[str]:
        """Return what a token opens now: the highest action on some projects, for each scope."""
        credential = Credential("", token.text, is_bearer=True)
        caller = (index or self.index).authenticator.authenticate(credential, "192.0.2.1")
        assert caller.principal == f"token:{token.id}"
        words = ([each.word for each in Action if each & scope.actions] for scope in caller.scopes)
        patterns = (" ".join(scope.projects) for scope in caller.scopes)
        return sorted(f"{can[-1]} {on}" for can, on in zip(words, patterns, strict=True))

    def refusal(self, token: ApiToken, index: Index | None = None) -> tuple[str, str]:
        """Return the code and the message that whoever uses a token gets."""
        with pytest.raises(Unauthenticated) as caught:
            self.rights(token, index)
        assert rejection_reason(caught.value, otherwise="?") == caught.value.code
        return caught.value.code, caught.value.message

    def listed(self, caller: Caller = ALICE) -> dict[str, str]:
        """Return the state of each token that a caller sees, by its id."""
        tokens: list[ListedToken] = self.index.caller_tokens.visible(caller)
        return {token.record.id: token.state for token in tokens}


def person(known: Person) -> Caller:
    """Return a person who has signed in with a provider."""
    return Caller(known.principal, (), known.principals)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Return an index where Ana has signed in."""
    place = Place(tmp_path)
    place.save(ANA)
    return place


def test_a_token_of_a_password_lives_as_long_as_its_line(place: Place) -> None:
    """A token ends when the line of its owner changes or goes, and works with the same line."""
    token, of_bo = place.make("htpasswd:ana"), place.make("htpasswd:bo")
    assert place.rights(token) == ["read acme-*"]

    for lines in ((f"bo:{APR1}",), (f"ana:{BCRYPT}", f"bo:{APR1}"), (f"ana:{APR1}", f"bo:{APR1}")):
        place.write(*lines)
        code, message = place.refusal(token)
        assert (code, token.text in message) == ("owner_ended", False)
        assert f"The token laptop ({token.id}) has ended" in message
        assert "has no password here any more, or was given another one" in message
        assert place.listed()[token.id] == "ended"
        assert place.rights(of_bo) == []
    place.write("# by hand", f"ana:{SHA}:of Ana", f"bo:{APR1}")

    assert place.rights(token) == ["read acme-*"]
    assert place.listed()[token.id] == "active"


def test_a_later_user_of_a_name_does_not_see_earlier_tokens(place: Place) -> None:
    """Who gets a name that somebody had before neither sees nor revokes their tokens."""
    ana = Caller("htpasswd:ana", (), frozenset({"htpasswd:ana"}))
    old = place.make("htpasswd:ana")
    assert place.listed(ana) == {old.id: "active"}
    place.write(f"ana:{BCRYPT}")
    new = place.make("htpasswd:ana")
    other = replace(ANA, subject="another-ana")
    place.save(other)

    assert place.listed(ana) == {new.id: "active"}
    of_ana, of_other = (place.make(f"{OF_ANA}#{each.id}") for each in (ANA, other))
    assert place.listed(person(ANA)) == {of_ana.id: "active"}
    assert place.listed(person(other)) == {of_other.id: "active"}
    assert place.listed().keys() == {old.id, new.id, of_ana.id, of_other.id}


def test_a_password_without_grants_limits_its_tokens(tmp_path: Path) -> None:
    """Without a grant and other settings, a token of a password may upload, and not manage."""
    place = Place(tmp_path, grants=(), access=AccessSettings())

    assert place.rights(place.make("htpasswd:ana")) == ["read *", "read *", "upload *"]


def test_the_groups_of_today_count(place: Place) -> None:
    """A group that a person has lost at a renewal is lost for the tokens, and one won is won."""
    token = place.make(OF_ANA)
    assert place.rights(token) == ["read tools", "upload acme-*"]

    place.save(replace(ANA, groups=()))
    assert place.rights(token) == ["read tools"]
    place.save(replace(ANA, name="ana@new.dev", groups=("platform", "web")))
    assert place.rights(token) == ["upload acme-*"]
    # under the new name, too, it is hers
    assert place.listed(person(replace(ANA, name="ana@new.dev"))) == {token.id: "active"}


def test_a_password_user_who_was_ended_has_no_tokens(place: Place) -> None:
    """An administrator ends the tokens of somebody whose line stays, and the message says so."""
    token = place.make("htpasswd:ana")
    place.index.server.access.end_person("htpasswd:ana", ALICE.principal)
    place.clock.advance(seconds=BUCKET_SECONDS)

    code, message = place.refusal(token)

    assert (code, "its owner may not use this index any more" in message) == ("owner_ended", True)
    with refused(Invalid, "invalid_field", match=r"was ended\. Admit them again first\."):
        place.make("htpasswd:ana")


def test_an_owner_who_can_own_no_token_opens_nothing(place: Place) -> None:
    """A token whose record names an owner that can own none is refused as one that has ended."""
    request = TokenRequest(
        name="edited",
        actions=Action.READ,
        projects=(EVERY_PROJECT,),
        owner=TokenOwner("static:ci", frozenset({"static:ci"})),
    )
    token, _ = place.index.tokens.create(request, by=ALICE.principal)

    assert place.refusal(token)[0] == "owner_ended"
    assert place.listed()[token.id] == "ended"


def test_a_person_who_was_ended_has_no_tokens(place: Place) -> None:
    """The tokens of somebody whom an administrator has ended, or whose provider is gone, end."""
    token = place.make(OF_ANA)
    elsewhere = place.opened(2, providers=("other",))
    assert place.refusal(token, elsewhere)[0] == "owner_ended"

    place.save(replace(ANA, ended_at=START, ended_by="user:root@acme.dev"))

    assert place.refusal(token)[0] == "owner_ended"
    assert place.listed()[token.id] == "ended"
    with refused(Invalid, "invalid_field", match="nobody who has signed in"):
        place.make(OF_ANA)


def test_a_token_waits_for_its_owner_to_sign_in(place: Place) -> None:
    """A token waits for its owner thirty days after the provider has confirmed the account."""
    token = place.make(OF_ANA)
    place.clock.now = START
    place.clock.advance(days=30)
    assert place.rights(token) == ["read tools", "upload acme-*"]
    place.clock.advance(seconds=1)

    code, message = place.refusal(token)
    assert (code, place.listed()[token.id]) == ("owner_unconfirmed", "unconfirmed")
    assert "waits for its owner ana@acme.dev to sign in again: the last time was on 2026" in message

    place.save(replace(ANA, confirmed_at=place.clock.now))
    assert place.rights(token) == ["read tools", "upload acme-*"]


def test_a_token_waits_once_the_provider_has_refused_its_owner(place: Place) -> None:
    """A token waits for its owner once the provider has refused to confirm the account."""
    token = place.make(OF_ANA)
    place.save(replace(ANA, refused_at=place.clock.now))

    code, message = place.refusal(token)

    assert (code, place.listed()[token.id]) == ("owner_unconfirmed", "unconfirmed")
    assert "to sign in again: acme refused to confirm the account on 2026" in message
    assert [each.state for each in place.index.server.known_people.recorded()] == ["refused"]


def test_an_owner_costs_one_read_at_most(place: Place) -> None:
    """After its first use a token of a password costs no read, one of a person two in all."""
    tokens = [place.make("htpasswd:ana"), place.make(OF_ANA)]
    store = FakeStore(place.store)
    index = place.opened(3, store)
    place.rights(tokens[0], index)  # reads the grants, too
    store.calls.clear()

    def reads(token: ApiToken) -> list[str]:
        before = len(store.calls)
        place.rights(token, index)
        place.rights(token, index)
        keys_read = (key for verb, key in store.calls[before:] if verb == "get")
        return [key for key in keys_read if not key.startswith(keys.LAST_USES)]

    assert reads(tokens[0]) == []
    assert reads(tokens[1]) == [keys.token(tokens[1].id), keys.person("acme", ANA.id)]


def test_nothing_is_opened_without_the_record_of_the_owner(place: Place) -> None:
    """While the record of an owner is damaged tokens are unavailable; without it they end."""
    token = place.make(OF_ANA)
    place.store.put(keys.person("acme", ANA.id), b"{", None)
    place.clock.advance(seconds=BUCKET_SECONDS)

    with refused(Unavailable, "damaged_document"):
        place.rights(token)
    assert place.listed()[token.id] == "active"
    (listed,) = LocalApi(index=place.index, caller=ALICE).call(list_tokens).tokens
    assert "owner-gone" not in listed.marks
    place.store.delete(keys.person("acme", ANA.id))
    place.clock.advance(seconds=BUCKET_SECONDS)
    assert place.refusal(token)[0] == "owner_ended"
    (listed,) = LocalApi(index=place.index, caller=ALICE).call(list_tokens).tokens
    assert "owner-gone" in listed.marks


@pytest.mark.parametrize(
    ("owner", "words"),
    [
        ("htpasswd:eve", "no name of the htpasswd file"),
        ("oidc:acme:eve@acme.dev", "nobody who has signed in"),
        ("oidc:other:ana@acme.dev", "nobody who has signed in"),
        ("oidc:acme:group:platform", "nobody who has signed in"),
        (f"{OF_ANA}#{'0' * 32}", "nobody who has signed in"),
        (f"{OF_ANA},htpasswd:ana", "owns no tokens"),
        ("static:ci", "owns no tokens"),
        ("domain:acme.dev", "owns no tokens"),
        ("user:ana@acme.dev,user:bo@acme.dev", "owns no tokens"),
        ("anonymous", "owns no tokens"),
        ("ana", "is nobody that a grant can name"),
        ("", "is nobody that a grant can name"),
    ],
)
def test_not_everybody_can_own_a_token(place: Place, owner: str, words: str) -> None:
    """A token for an owner who can own none is refused, with the reason."""
    with refused(Invalid, "invalid_field", match=words):
        place.make(owner)


def test_of_two_people_of_a_name_one_is_named(place: Place) -> None:
    """If two people of a provider have one name, the id says who is meant."""
    other = replace(ANA, subject="another-ana")
    place.save(other)

    with refused(Invalid, "invalid_field", match="Several people have this name") as caught:
        place.make(OF_ANA)

    assert all(f"{OF_ANA}#{each.id}" in caught.value.message for each in (ANA, other))


@pytest.mark.parametrize("ended", [0, 1])
def test_a_name_belongs_to_who_may_sign_in(place: Place, ended: int) -> None:
    """Of two people who have had a name, it means the one whose access nobody has ended."""
    people = (ANA, replace(ANA, subject="another-ana"))
    place.save(people[1])
    place.index.server.people_administration.end(ANA.provider, people[ended].id, "local:test")
    place.clock.advance(seconds=BUCKET_SECONDS)

    found = place.index.server.known_people.find(OF_ANA)

    assert (found.id, found.state) == (people[1 - ended].id, "active")


@given(
    st.from_regex(PROVIDER_NAME, fullmatch=True),
    st.from_regex(PERSON_NAME, fullmatch=True),
    st.text(),
    st.lists(st.from_regex(r"[^\x00-\x1f\x7f,]{1,20}", fullmatch=True)),
)
def test_a_person_is_found_in_their_principals(
    provider: str, name: str, subject: str, groups: list[str]
) -> None:
    """Whatever the name and the groups of a person, their principals tell who it is."""
    known = Person(
        provider=provider, subject=subject, name=name, groups=tuple(groups), confirmed_at=START
    )

    assert person_in(known.principals) == PersonId(provider, known.id)
    assert person_in(known.principals - {f"{known.principal}#{known.id}"}) is None


def test_whoever_sends_a_token_sees_that_one_alone(tmp_path: Path) -> None:
    """A program that lists tokens with a token of somebody gets that token, and no other."""
    place = Place(tmp_path)
    sent, _ = place.make("htpasswd:ana"), place.make("htpasswd:ana")
    credential = Credential("", sent.text, is_bearer=True)
    caller = place.index.authenticator.authenticate(credential, "192.0.2.1")

    listed = LocalApi(index=place.index, caller=caller).call(list_tokens)

    assert [token.id for token in listed.tokens] == [sent.id]
