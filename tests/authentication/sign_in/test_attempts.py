"""Sign-ins that have begun: an answer belongs to one browser and one provider, and is used once."""

from dataclasses import dataclass, field

import pytest

from tests.fake_time import Clock, fake_runtime
from wheelyard.authentication.rejections import rejection_reason
from wheelyard.authentication.sign_in.attempts import ATTEMPT_SECONDS, MAX_NEXT_CHARS, Attempts
from wheelyard.catalog.used_id_tokens import UsedIdTokens
from wheelyard.errors import Invalid
from wheelyard.storage.memory import MemoryStore

KEY = b"k" * 32


@dataclass
class Place:
    """A store, and servers of one index."""

    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.store = MemoryStore(self.clock.seconds)
        self.here, self.there = self.server(1), self.server(2)
        self.browser = self.here.new_browser()

    def server(self, seed: int, key: bytes = KEY) -> Attempts:
        """Return one more server of the index."""
        return Attempts(lambda: key, UsedIdTokens(self.store), fake_runtime(self.clock, seed))

    def begun(self, next_path: str = "/acme/?page=2") -> str:
        """Begin a sign-in; return its state."""
        return self.here.begin("acme", self.browser, next_path).state


def refusal(server: Attempts, provider: str, browser: str, state: str) -> str:
    """Return the reason for which a server refuses an answer."""
    with pytest.raises(Invalid) as refused:
        server.find(provider, browser, state)
    assert refused.value.code == "sign_in_expired"
    return rejection_reason(refused.value, "none")


@pytest.fixture
def place() -> Place:
    """An index."""
    return Place()


def test_an_answer_is_taken_by_any_server(place: Place) -> None:
    """Any server knows of a person who comes back the request and the page to return to."""
    request = place.here.begin("acme", place.browser, "/acme/?page=2")
    attempt = place.there.find("acme", place.browser, request.state)
    assert (attempt.request, attempt.next) == (request, "/acme/?page=2")
    assert len({request.state, request.nonce, request.verifier}) == 3
    assert 43 <= len(request.verifier) <= 128  # as RFC 7636 has it


def test_the_page_to_return_to_outlives_a_refusal(place: Place) -> None:
    """The page to return to is known after a used or late answer, to the same browser alone."""
    state = place.begun()
    place.here.use(place.here.find("acme", place.browser, state))
    place.clock.advance(seconds=ATTEMPT_SECONDS)
    assert place.there.next_path("acme", place.browser, state) == "/acme/?page=2"
    assert place.there.next_path("acme", place.here.new_browser(), state) == ""
    assert place.there.next_path("acme", place.browser, "nonsense") == ""


def test_an_answer_is_taken_once(place: Place) -> None:
    """An answer of the provider signs in once, on whichever server it is opened again."""
    state = place.begun()
    attempts = [server.find("acme", place.browser, state) for server in (place.here, place.there)]
    place.here.use(attempts[0])
    with pytest.raises(Invalid) as refused:
        place.there.use(attempts[1])
    assert rejection_reason(refused.value, "none") == "state_used"
    for server in (place.here, place.there):
        assert refusal(server, "acme", place.browser, state) == "state_used"


def test_an_answer_alone_writes_nothing(place: Place) -> None:
    """Finding the attempt of an answer writes nothing to the store."""
    for _ in range(3):
        place.here.find("acme", place.browser, place.begun())
    assert list(place.store.list("")) == []


def test_several_tabs_of_a_browser_can_sign_in(place: Place) -> None:
    """Several tabs of a browser can each sign in, in any order."""
    one, two = place.begun(), place.begun("/zebra/")
    assert place.here.find("acme", place.browser, two).next == "/zebra/"
    assert place.here.find("acme", place.browser, one).next == "/acme/?page=2"


def test_a_stolen_state_is_worth_nothing(place: Place) -> None:
    """A state is of no sign-in in another browser, without a cookie or for another provider."""
    state = place.begun()
    for provider, browser in (
        ("acme", place.here.new_browser()),
        ("acme", ""),
        ("b", place.browser),
    ):
        assert refusal(place.here, provider, browser, state) == "state_unknown"
    # nobody has used it up
    assert place.here.find("acme", place.browser, state).next


@pytest.mark.parametrize("state", ["", "x", "A" * 5000, "=", "ä", "\ud800", "A" * 64])
def test_a_state_that_is_none_is_refused(place: Place, state: str) -> None:
    """A text that is no state of this index belongs to no sign-in."""
    assert refusal(place.here, "acme", place.browser, state) == "state_unknown"


def test_a_state_is_good_for_ten_minutes(place: Place) -> None:
    """A sign-in that takes ten minutes has expired."""
    state = place.begun()
    place.clock.advance(seconds=ATTEMPT_SECONDS - 1)
    other = place.begun()
    place.clock.advance(seconds=1)
    assert refusal(place.here, "acme", place.browser, state) == "state_expired"
    assert place.here.find("acme", place.browser, other).next


def test_a_new_key_of_sessions_ends_what_has_begun(place: Place) -> None:
    """A sign-in that has begun ends with the key of sessions."""
    state, server = place.begun(), place.server(3, b"j" * 32)
    assert refusal(server, "acme", place.browser, state) == "state_unknown"


def test_a_state_tells_nothing(place: Place) -> None:
    """Neither the page to return to nor the cookie can be read in what the provider gets."""
    request = place.here.begin("acme", place.browser, "/secret-project/")
    assert "secret" not in request.state
    assert place.browser not in f"{request.state}{request.nonce}{request.verifier}"


def test_a_long_path_to_return_to_gives_way(place: Place) -> None:
    """A path to return to that is too long is dropped, and the state stays short."""
    state = place.begun("/" + "a" * MAX_NEXT_CHARS)
    assert len(state) < 400
    assert place.here.find("acme", place.browser, state).next == ""
