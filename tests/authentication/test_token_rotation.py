"""Rotation of API tokens: the new token, the life of the old one, and what is refused."""

import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.advice import in_terminal
from tests.fake_store import Before, FakeStore, Fault, FaultKind, ProcessCrash
from tests.fake_time import START
from tests.operations.in_memory_index import IndexHarness
from wheelyard.authentication.api_tokens import RotatedToken, TokenRequest
from wheelyard.catalog import keys
from wheelyard.errors import Conflict, NotFound, Unauthenticated, Unavailable
from wheelyard.model.access import Action, parse_pattern
from wheelyard.model.api_token import (
    ApiToken,
    Rotation,
    TokenOwner,
    TokenRecord,
    active_replacement,
)
from wheelyard.settings.sections import Settings, TokenSettings
from wheelyard.wiring.index import Index

DAY = timedelta(days=1)
CI = TokenRequest(
    name="ci",
    actions=Action.UPLOAD.with_implied,
    projects=(parse_pattern("acme-*"),),
    lifetime=30 * DAY,
    owner=TokenOwner("user:ana@acme.dev", frozenset({"user:ana@acme.dev", "domain:acme.dev"})),
)


def create_token(index: Index, request: TokenRequest = CI) -> tuple[ApiToken, TokenRecord]:
    """Make a token."""
    return index.tokens.create(request, by="local:alice")


def rotated(index: Index, text: str = "ci", overlap: timedelta = DAY) -> RotatedToken:
    """Rotate a token, given by its name or id."""
    return index.tokens.rotate(index.tokens.find(text), overlap, by="local:bob")


def works(harness: IndexHarness, token: ApiToken) -> bool:
    """Whether a server that has read nothing yet accepts a token."""
    with suppress(Unauthenticated):
        return harness.opened(9).tokens.get(token) is not None
    return False


def test_the_new_token_is_as_the_old_one_and_both_work(
    harness: IndexHarness, caplog: pytest.LogCaptureFixture
) -> None:
    """The new token has the name, rights, owner and lifetime of the old one, and both work."""
    caplog.set_level(logging.INFO, "wheelyard.audit")
    old, record = create_token(harness.index)
    harness.clock.advance(days=20)

    done = rotated(harness.index)

    new = done.new
    for name in ("name", "actions", "projects", "owner", "owner_names", "lifetime"):
        assert getattr(new, name) == getattr(record, name)
    assert (new.created_by, new.created_at) == ("local:bob", harness.clock.now)
    assert works(harness, old)
    assert works(harness, done.token)
    assert f"token rotated by local:bob: {record.id}, name ci, successor {new.id}" in caplog.text
    harness.clock.advance(days=1)
    assert not works(harness, old)
    assert works(harness, done.token)


@given(st.timedeltas(timedelta(0), 400 * DAY), st.timedeltas(timedelta(0), 29 * DAY))
def test_old_token_ends_with_the_overlap_or_by_itself(overlap: timedelta, age: timedelta) -> None:
    """The old token ends when the overlap has passed, and never later than by itself."""
    harness = IndexHarness(Path())
    _, record = create_token(harness.index)
    harness.clock.now += age

    old = rotated(harness.index, record.id, overlap).old

    assert old.expires_at == min(record.expires_at, harness.clock.now + overlap)
    assert old.state(harness.clock.now) == ("active" if overlap else "revoked")


def test_a_rotated_token_is_not_rotated_again(harness: IndexHarness) -> None:
    """Within the overlap the name means the new token, and the old one is not rotated again."""
    _, record = create_token(harness.index)
    first = rotated(harness.index)

    with pytest.raises(Conflict) as refused:
        rotated(harness.index, record.id)
    assert f"'wheelyard token rotate {first.new.id}'" in in_terminal(refused.value)
    second = rotated(harness.index)

    assert second.old.id == first.new.id
    assert harness.index.tokens.find("ci") == second.new


@pytest.mark.parametrize(
    "lose",
    [
        lambda harness, new: harness.index.tokens.revoke(new.id, by="local:bob"),
        lambda harness, new: harness.store.delete(keys.token(new.id)),
    ],
    ids=["revoked", "lost by the store"],
)
def test_old_token_can_be_rotated_again_if_the_new_one_is_gone(
    harness: IndexHarness, lose: Callable[[IndexHarness, TokenRecord], object]
) -> None:
    """Where the new token is revoked or lost, as nobody saw it, the old one is rotated again."""
    _, record = create_token(harness.index)
    lose(harness, rotated(harness.index).new)

    again = rotated(harness.index)

    assert again.old.id == record.id
    assert again.new.lifetime == record.lifetime
    assert again.old.lifetime == record.lifetime


def test_a_circle_of_tokens_has_a_last_replacement(harness: IndexHarness) -> None:
    """The search for the last replacement ends, though a damaged store has a circle of tokens."""
    _, record = create_token(harness.index)
    chain = [
        replace(record, id=name, rotation=Rotation(to, START)) for name, to in ("ab", "bc", "cb")
    ]
    records = {each.id: each for each in chain}

    # each is looked up once: else the search would go on for ever
    found = active_replacement(chain[0], records.pop, START)

    assert found == chain[2]


HOURS = st.integers(0, 48)


@given(st.lists(st.tuples(st.sampled_from(["rotate", "lose", "wait"]), HOURS), max_size=8))
@example([("rotate", 24), ("rotate", 0)])
@example([("rotate", 24), ("rotate", 0), ("lose", 0)])
def test_one_name_means_one_token(steps: list[tuple[str, int]]) -> None:
    """However often a token is rotated, and new ones lost, its name means one token or none."""
    harness = IndexHarness(Path())
    create_token(harness.index)
    for step, hours in steps:
        if step == "wait":
            harness.clock.advance(hours=hours)
            continue
        try:
            done = rotated(harness.index, overlap=timedelta(hours=hours))
        except NotFound:
            now = harness.clock.now
            assert all(each.state(now) != "active" for each in harness.index.tokens.all())
            return
        assert done.new.lifetime == CI.lifetime
        if step == "lose":
            harness.index.tokens.revoke(done.new.id, by="local:bob")


def test_a_name_of_two_tokens_is_refused_with_both_ids(harness: IndexHarness) -> None:
    """A name of two active tokens is refused with both ids, and each id means one of them."""
    tokens = [create_token(harness.index)[1] for _ in range(2)]

    with pytest.raises(Conflict) as caught:
        rotated(harness.index)

    assert all(token.id in caught.value.message for token in tokens)
    assert rotated(harness.index, tokens[0].id).old.id == tokens[0].id


def test_ended_and_unknown_tokens_are_not_rotated(harness: IndexHarness) -> None:
    """Tokens that ended, of CI jobs, and unknown ones are refused, and no secret is repeated."""
    token, record = create_token(harness.index)
    _, other = create_token(harness.index)
    harness.index.tokens.revoke(other.id, by="local:eve")
    wrong = token.text[:-1]
    for text in ("other", "0123456789", wrong, token.text.replace(record.id, "0123456789")):
        with pytest.raises(NotFound) as caught:
            rotated(harness.index, text)
        assert token.text[14:46] not in caught.value.message

    harness.index.tokens.records.create(replace(record, id="9876543210", publishers=("ci",)))
    with pytest.raises(Conflict, match="is a CI job's"):
        rotated(harness.index, "9876543210")
    with pytest.raises(Conflict, match="is revoked"):
        rotated(harness.index, other.id)
    assert rotated(harness.index, token.text).old.id == record.id
    harness.clock.advance(days=365)
    with pytest.raises(Conflict, match="is expired"):
        rotated(harness.index, record.id)
    with pytest.raises(NotFound, match="no active token called 'ci'"):
        rotated(harness.index)


def test_the_new_token_obeys_the_limit_of_today(harness: IndexHarness) -> None:
    """A token lives no longer than the settings allow today."""
    _, record = create_token(harness.index, TokenRequest(name="ci", lifetime=365 * DAY))
    assert record.lifetime == 365 * DAY
    index = harness.opened(7, settings=Settings(tokens=TokenSettings(max_days=90)))

    assert rotated(index).new.lifetime == 90 * DAY


@pytest.mark.parametrize("overlap", [DAY, timedelta(0)])
def test_of_two_rotations_at_once_one_succeeds(harness: IndexHarness, overlap: timedelta) -> None:
    """Of two rotations at once one succeeds; the token of the other is revoked, and not shown."""
    _, record = create_token(harness.index)
    winners = list[RotatedToken]()

    def rotate_first() -> None:
        winners.append(rotated(harness.opened(3), record.id, overlap))

    store = FakeStore(harness.store, Before(rotate_first, "put", keys.token(record.id)))
    index = harness.opened(7, store)
    with pytest.raises(Conflict, match="by somebody else just now"):
        rotated(index)

    (winner,) = winners
    now = harness.clock.now
    active = {each.id for each in harness.opened(4).tokens.all() if each.state(now) == "active"}
    assert active == ({winner.new.id, record.id} if overlap else {winner.new.id})


def test_a_rotation_whose_answer_was_lost_has_succeeded(harness: IndexHarness) -> None:
    """A rotation that was written, though the answer of the store was lost, has succeeded."""
    _, record = create_token(harness.index)
    store = FakeStore(harness.store, Fault(FaultKind.DONE, "put", keys.token(record.id)))

    assert rotated(harness.opened(7, store)).old.id == record.id


def test_a_failed_rotation_names_both_ids_and_can_be_repeated(harness: IndexHarness) -> None:
    """A rotation that fails says so with both ids, and can be done again by the name."""
    old, record = create_token(harness.index)
    store = FakeStore(harness.store, Fault(FaultKind.NOT_DONE, "put", keys.token(record.id)))
    index = harness.opened(7, store)

    with pytest.raises(Unavailable) as caught:
        rotated(index)

    assert f"rotate {record.id} again" in caught.value.message
    assert works(harness, old)
    again = rotated(harness.opened(5))
    assert (again.old.id, again.new.lifetime) == (record.id, record.lifetime)


def test_a_token_that_cannot_be_revoked_is_named(harness: IndexHarness) -> None:
    """Where the new token could not be revoked either, it is named, and ids still work."""
    _, record = create_token(harness.index)
    faults = (Fault(FaultKind.NOT_DONE, "put", "*", nth=2, times=9),)
    with pytest.raises(Unavailable) as caught:
        rotated(harness.opened(7, FakeStore(harness.store, *faults)))

    (new,) = {each.id for each in harness.index.tokens.all()} - {record.id}
    assert f"'wheelyard token revoke {new}'" in in_terminal(caught.value)
    with pytest.raises(Conflict):
        rotated(harness.opened(5))
    assert rotated(harness.opened(5), record.id).old.id == record.id


@pytest.mark.parametrize("kind", [FaultKind.CRASH, FaultKind.CRASH_AFTER])
@pytest.mark.parametrize("nth", [1, 2])
def test_old_token_survives_a_crash(harness: IndexHarness, kind: FaultKind, nth: int) -> None:
    """Wherever a rotation dies, the old token still works, and can be rotated or has been."""
    old, record = create_token(harness.index)
    store = FakeStore(harness.store, Fault(kind, "put", f"{keys.TOKENS}*", nth=nth))
    with pytest.raises(ProcessCrash):
        rotated(harness.opened(7, store))

    assert works(harness, old)
    records = harness.opened(5).tokens.all()
    assert len(records) <= 2
    text = "ci" if any(each.rotation for each in records) else record.id
    assert works(harness, rotated(harness.opened(6), text).token)


def test_a_token_that_was_never_rotated_is_stored_as_before(harness: IndexHarness) -> None:
    """A token that was never rotated is stored as before."""
    _, record = create_token(harness.index)

    assert b"rotation" not in harness.bytes_at(keys.token(record.id))
