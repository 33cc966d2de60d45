"""On which day a token was last used."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from msgspec.structs import replace as changed

from tests.catalog.faulty import Fault, FaultyStore, Kind
from tests.operations.world import World
from wheelyard.catalog import keys
from wheelyard.catalog.credentials import FEW, Start
from wheelyard.errors import Unauthenticated
from wheelyard.model.token import Token, TokenRecord
from wheelyard.operations.tokens import TokenRequest, Tokens
from wheelyard.storage.base import Key, Store

FIRST = date(2026, 1, 1)
"""On which the clock of a test stands."""


def at_once(work: Callable[[], None]) -> None:
    """Do some work here and now."""
    work()


def tokens_over(world: World, store: Store | None = None, start: Start = at_once) -> Tokens:
    """Return the tokens of a world as another process has them that does all its work at once."""
    whole = World(world.folder, clock=world.clock)
    whole.store = store or world.store
    tokens = whole.opened(seed=5).tokens
    return replace(tokens, credentials=replace(tokens.credentials, start=start))


def made(world: World, name: str = "ci") -> tuple[Token, TokenRecord]:
    """Return a new token."""
    return world.index.tokens.create(TokenRequest(name=name), by="local:alice")


def used_on(world: World, *records: TokenRecord) -> list[date | None]:
    """Return on which days tokens were last used, as a process finds it that has seen nothing."""
    days = world.opened(seed=6).tokens.last_uses(records)
    return [days.get(record.id) for record in records]


def writes(store: FaultyStore) -> list[str]:
    """Return every key that somebody has tried to write."""
    return [key for verb, key in store.calls if verb == "put"]


def test_the_day_of_use(world: World) -> None:
    """The list tells on which day a token was last used, and its record stays as it is."""
    (token, record), (_, other) = made(world), made(world)
    before = world.bytes_at(keys.token(record.id))
    assert used_on(world, record, other) == [None, None]

    tokens_over(world).record(token)

    assert used_on(world, record, other) == [FIRST, None]
    assert world.bytes_at(keys.token(record.id)) == before
    assert world.bytes_at(keys.last_use(record.id)) == b'{"day":"2026-01-01"}\n'


def test_another_day(world: World) -> None:
    """A token that stays in use is noted anew once its day in UTC is over, and not before."""
    token, record = made(world)
    store = FaultyStore(world.store)
    tokens = tokens_over(world, store)
    tokens.record(token)
    world.clock.now = datetime(2026, 1, 1, 23, 59, 59, tzinfo=UTC)
    tokens.record(token)
    assert writes(store) == [keys.last_use(record.id)]

    world.clock.advance(seconds=1)
    assert tokens.peek(token) is not None
    assert used_on(world, record) == [date(2026, 1, 2)]
    assert len(writes(store)) == 2


@pytest.mark.parametrize("note", [b'{"day":"2099-01-01"}', b"?"])
def test_a_clock_that_was_wrong(world: World, note: bytes) -> None:
    """A day that a wrong clock has noted far in the future, or none, does not stay there."""
    token, record = made(world)
    world.store.put(keys.last_use(record.id), note, None)

    tokens_over(world).record(token)

    assert used_on(world, record) == [FIRST]


def test_what_is_no_use(world: World) -> None:
    """Neither somebody who knows an id alone, nor a token that is dead, is a use."""
    (token, record), (other, _) = made(world), made(world)
    tokens = tokens_over(world)
    forged = Token(token.text[:14] + other.text[14:])
    with pytest.raises(Unauthenticated):
        tokens.record(forged)
    world.clock.advance(days=91)
    with pytest.raises(Unauthenticated):
        tokens.record(token)

    assert used_on(world, record) == [None]


def test_tokens_of_jobs(world: World) -> None:
    """A token that was made for a job, and lives for minutes, costs no such note."""
    token, record = made(world)
    credentials = world.index.tokens.credentials
    minted = changed(record, publishers=("ci",))
    assert credentials.replace(minted, credentials.latest(record.id))

    tokens_over(world).record(token)

    assert world.snapshot(keys.USES) == {}


@pytest.mark.parametrize("verb", ["get", "put"])
def test_a_store_that_is_away(world: World, verb: str) -> None:
    """A store that takes no notes keeps nobody out, and is asked again after an hour."""
    (token, record), (later, second) = made(world), made(world)
    store = FaultyStore(world.store, (Fault(Kind.NOT_DONE, verb, f"{keys.USES}*"),))
    tokens = tokens_over(world, store)
    assert tokens.record(token) == record
    asked = [call for call in store.calls if call[1].startswith(keys.USES)]

    world.clock.advance(minutes=59)
    for each in (token, later):
        tokens.record(each)
    assert [call for call in store.calls if call[1].startswith(keys.USES)] == asked
    world.clock.advance(minutes=1)
    for each in (token, later):
        tokens.record(each)

    assert used_on(world, record, second) == [FIRST, FIRST]


def test_one_writer_at_a_time(world: World) -> None:
    """However many tokens come at once, one thread writes for all, and nobody waits for it."""
    both = [made(world), made(world)]
    begun = list[Callable[[], None]]()
    tokens = tokens_over(world, start=begun.append)
    for token, _ in both:
        tokens.record(token)
    assert used_on(world, both[0][1]) == [None]

    (work,) = begun
    work()

    assert used_on(world, *(record for _, record in both)) == [FIRST, FIRST]
    third, record = made(world)
    tokens.record(third)
    begun[1]()
    assert used_on(world, record) == [FIRST]


def test_a_long_list(world: World) -> None:
    """For many tokens the days are listed, and those that have not changed are not read again."""
    every = [made(world, f"ci {number}") for number in range(FEW + 2)]
    users, store = tokens_over(world), FaultyStore(world.store)
    for token, _ in every[1:]:
        users.record(token)
    world.store.put(Key(f"{keys.USES}note.txt"), b"?", None)
    records = [record for _, record in every]
    lister = tokens_over(world, store)
    assert len(lister.last_uses(records)) == FEW + 1
    world.clock.advance(days=1)
    users.record(every[1][0])
    store.calls.clear()

    days = lister.last_uses(records)

    assert store.calls == [("list", keys.USES), ("get", keys.last_use(records[1].id))]
    assert days == {each.id: FIRST for each in records[2:]} | {records[1].id: date(2026, 1, 2)}


def test_the_check_knows_the_notes(world: World) -> None:
    """`check` finds nothing wrong with notes of uses, and sweeps those of tokens that are gone."""
    (token, record), (gone, other) = made(world), made(world)
    tokens = tokens_over(world)
    for each in (token, gone):
        tokens.record(each)
    assert (world.check().problems, world.check().notes) == ([], [])
    world.store.delete(keys.token(other.id), None)
    stray = Key(f"{keys.USES}note.txt")
    world.store.put(stray, b"?", None)

    assert world.check().notes == [
        f"{stray} is no object of wheelyard's",
        f"1 object under {keys.USES} belong to no token",
    ]
    assert world.check(sweep=True).swept == 1

    assert set(world.snapshot(keys.USES)) == {keys.last_use(record.id), stray}
    assert used_on(world, record) == [FIRST]
