"""What trusted publishing has used up is forgotten when it is long past, and not before."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.catalog.faulty import Fault, FaultyStore, Kind
from tests.model.jobs import (
    GITHUB_SAYS,
    GITLAB_SAYS,
    GOOGLE_SAYS,
    MINUTES,
    NOON,
)
from tests.operations.minting import MOMENT, RULES, over, publishing, refusal, signed
from tests.operations.world import World
from wheelyard.catalog import keys
from wheelyard.errors import Unavailable
from wheelyard.operations.publishing import (
    INVALID_PUBLISHER,
    INVALID_REUSE,
    SWEPT_AT_ONCE,
)
from wheelyard.operations.tokens import TokenRequest
from wheelyard.storage.base import Key


def test_sweeping(noon: World) -> None:
    """What is long past goes, statements and tokens; what lives, or somebody made, stays."""
    made, _ = noon.index.tokens.create(TokenRequest(name="ci"), by="local:alice")
    desk, rules = publishing(noon.index), replace(RULES, lifetime=timedelta(hours=6))
    long = publishing(noon.index, rules).mint(signed({**GITHUB_SAYS, "jti": "long"}))
    for says in (GITHUB_SAYS, GITLAB_SAYS, GOOGLE_SAYS):
        desk.mint(signed(says))
    noon.clock.advance(hours=2, minutes=16)
    assert desk.spent.sweep() == 0

    noon.clock.advance(minutes=1)

    assert desk.spent.sweep() == 3
    assert {each.id for each in noon.index.tokens.all()} == {made.id, long.record.id}
    assert len(noon.snapshot(keys.CLAIMS)) == 1
    assert desk.spent.sweep() == 0
    assert noon.check().problems == noon.check().notes == []


def test_no_statement_is_forgotten_too_early(noon: World) -> None:
    """As long as any clock would take a statement, it is known to have been used."""
    desk = publishing(noon.index)
    assert refusal(desk, GITHUB_SAYS) == ""
    noon.clock.now = datetime.fromtimestamp(NOON + MINUTES, UTC) + timedelta(minutes=10)

    desk.spent.sweep()

    assert refusal(desk, GITHUB_SAYS) == INVALID_REUSE


def test_a_mint_sweeps(noon: World) -> None:
    """Each mint forgets a few of what is long past, so that nothing piles up."""
    desk = publishing(noon.index)
    for turn in range(SWEPT_AT_ONCE + 2):
        desk.mint(signed({**GITHUB_SAYS, "jti": str(turn)}))

    noon.clock.advance(hours=3)
    left = list[int]()
    for turn in range(2):
        later = {"jti": f"later-{turn}", "iat": NOON + 10800, "exp": NOON + 11000}
        desk.mint(signed({**GITHUB_SAYS, **later}))
        left.append(len(noon.index.tokens.all()))

    assert left == [3, 2]
    assert len(noon.snapshot(keys.CLAIMS)) == 2


def test_what_a_mint_costs(noon: World) -> None:
    """A mint is two writes and one listing, and a refusal asks the store nothing."""
    store = FaultyStore(noon.store)
    desk = publishing(over(store, noon))
    store.calls.clear()

    assert refusal(desk, {**GITHUB_SAYS, "environment": "other"}) == INVALID_PUBLISHER
    assert store.calls == []
    assert refusal(desk, GITHUB_SAYS) == ""

    assert [verb for verb, _ in store.calls] == ["put", "put", "list"]


def test_sweeping_what_is_damaged(noon: World) -> None:
    """Sweeping takes what it cannot read for done with, and leaves what is not ours alone."""
    desk = publishing(noon.index)
    minted = desk.mint(signed(GITHUB_SAYS))
    (key,) = noon.snapshot(keys.CLAIMS)
    strange = [Key(f"{keys.CLAIMS}note.txt"), Key(f"{keys.CLAIMS}2026999999/{'0' * 64}.json")]
    for each in (*strange, keys.token(minted.token.id)):
        noon.store.put(each, b"?", None)
    damaged = keys.claim(MOMENT, "1" * 64)
    traversing = keys.claim(MOMENT, "2" * 64)
    noon.store.put(damaged, b"?", None)
    noon.store.put(traversing, b'{"token":"../../projects"}', None)
    noon.clock.advance(hours=3)

    assert desk.spent.sweep() == 3

    left = noon.snapshot("credentials/")
    assert set(left) == {*strange, keys.token(minted.token.id)}
    assert key not in left


def test_sweeping_never_fails_a_mint(noon: World) -> None:
    """A token is handed out although the store fails in sweeping."""
    publishing(noon.index).mint(signed(GITHUB_SAYS))
    noon.clock.advance(hours=3)
    faulty = FaultyStore(noon.store, (Fault(Kind.NOT_DONE, "delete", times=99),))

    later = {**GITHUB_SAYS, "jti": "later", "iat": NOON + 10800, "exp": NOON + 11000}

    assert refusal(publishing(over(faulty, noon)), later) == ""
    with pytest.raises(Unavailable):
        publishing(over(faulty, noon)).spent.sweep()


def test_when_nobody_publishes_so_any_more(noon: World) -> None:
    """A check that sweeps forgets what is long past, although no publisher is left."""
    publishing(noon.index).mint(signed(GITHUB_SAYS))
    noon.clock.advance(hours=3)
    assert noon.index.doors.publishing is None

    swept = noon.check(sweep=True).swept

    assert swept == 1
    assert (noon.snapshot(keys.CLAIMS), list(noon.index.tokens.all())) == ({}, [])
