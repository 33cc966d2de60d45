"""Anti-forgery tokens of forms."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from msgspec.structs import replace

from tests.operations.in_memory_index import IndexHarness
from wheelyard.catalog import keys
from wheelyard.errors import Forbidden
from wheelyard.http.context import IndexRequest
from wheelyard.http.context_building import build_context
from wheelyard.http.forms import form_token, require_form_token
from wheelyard.http.messages import Message
from wheelyard.model.access import Caller
from wheelyard.model.api_token import Session
from wheelyard.operations.check_store import always_writable
from wheelyard.settings.sections import ServerSettings, Settings
from wheelyard.wiring.index import Index


async def _no_body() -> Message:
    return {}


SESSION = Session(
    id="5" * 32, kind="password", subject="ana", proof="", issued_at=0, expires_at=2**33
)


@dataclass(frozen=True)
class Sender:
    """Who sends a form: by a session or by a password."""

    principal: str
    session: Session | None


SIGNED_IN = Sender("htpasswd:ana", SESSION)
BY_PASSWORD = Sender("htpasswd:ana", None)


def request_to(index: Index, sender: Sender) -> IndexRequest:
    """Return a request that somebody sends to an index."""
    caller = Caller(sender.principal, ())
    request = IndexRequest({"type": "http"}, _no_body, {}, caller, "127.0.0.1")
    request.context = build_context(index, always_writable)
    request.browser_session = sender.session
    return request


@pytest.fixture
def harness(tmp_path: Path) -> IndexHarness:
    """Return an index in memory."""
    return IndexHarness(tmp_path)


def _new_token(index: Index, sender: Sender) -> str:
    return form_token(request_to(index, sender))


def _is_taken(index: Index, sender: Sender, token: str) -> bool:
    with suppress(Forbidden):
        require_form_token(request_to(index, sender), token)
        return True
    return False


@pytest.mark.parametrize("sender", [SIGNED_IN, BY_PASSWORD], ids=["session", "password"])
def test_a_form_may_be_sent_to_another_worker(harness: IndexHarness, sender: Sender) -> None:
    """A form that one worker has shown is taken by another one, until it is half a day old."""
    token, other = _new_token(harness.index, sender), harness.opened(seed=2)

    assert _is_taken(other, sender, token)
    harness.clock.advance(hours=12)
    assert _is_taken(other, sender, token)
    harness.clock.advance(seconds=1)
    assert not _is_taken(other, sender, token)


def test_a_form_of_somebody_else_is_refused(harness: IndexHarness) -> None:
    """A form is taken from its own session or person alone, while its key is in the store."""
    of_session, of_ana = (
        _new_token(harness.index, SIGNED_IN),
        _new_token(harness.index, BY_PASSWORD),
    )
    others = [
        BY_PASSWORD,
        Sender("htpasswd:ana", structs.replace(SESSION, id="6" * 32)),
        Sender("htpasswd:ben", None),
    ]

    assert [_is_taken(harness.index, other, of_session) for other in others] == [False] * 3
    assert [_is_taken(harness.index, each, of_ana) for each in others] == [True, False, False]
    harness.store.delete(keys.SESSION_KEY)
    assert not _is_taken(harness.opened(seed=3), SIGNED_IN, of_session)


def test_a_read_only_server_makes_no_key(harness: IndexHarness) -> None:
    """A page of a read-only server has forms without a token, and writes nothing for them."""
    settings = Settings(server=ServerSettings(read_only=True))
    index = replace(harness.index, settings=settings)

    assert _new_token(index, BY_PASSWORD) == ""
    assert not _is_taken(index, BY_PASSWORD, "")
    assert harness.store.get(keys.SESSION_KEY) is None


@given(place=st.integers(0, 60), character=st.characters(codec="utf-8"))
def test_an_altered_token_is_refused(
    tmp_path_factory: pytest.TempPathFactory, place: int, character: str
) -> None:
    """A token in which a character is another one, is missing or is added, is refused."""
    harness = IndexHarness(tmp_path_factory.getbasetemp())
    token = _new_token(harness.index, SIGNED_IN)
    place %= len(token)
    replaced = f"{token[:place]}{character}{token[place + 1 :]}"
    removed = f"{token[:place]}{token[place + 1 :]}"
    added = f"{token[:place]}{character}{token[place:]}"

    for each in {replaced, removed, added}:
        if each.strip() != token:
            assert not _is_taken(harness.index, SIGNED_IN, each)
