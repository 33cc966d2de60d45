"""A statement is good for one token, however it is written and whoever asks at once."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest

from tests.model.jobs import (
    AUDIENCE,
    GITHUB_SAYS,
    GOOGLE_SAYS,
    NOON,
    OIDC,
    OIDC_SAYS,
    Table,
    publisher,
)
from tests.operations.minting import MOMENT, SINGLE_USE, over, publishing, refusal, signed
from tests.operations.world import World
from wheelyard.catalog import keys
from wheelyard.catalog.credentials import digest_of
from wheelyard.operations.publishing import (
    INVALID_PAYLOAD,
    INVALID_REUSE,
    INVALID_TOKEN,
    PublishingRules,
)
from wheelyard.operations.spent import REUSES
from wheelyard.storage.base import Key, Store
from wheelyard.storage.local import LocalStore


@pytest.mark.parametrize("says", SINGLE_USE, ids=lambda each: str(each["iss"]))
def test_replay(noon: World, says: Table) -> None:
    """A statement is good for one token, in whatever process it is shown again."""
    assert refusal(publishing(noon.index), says) == ""

    for index in (noon.index, noon.opened(2)):
        assert refusal(publishing(index), says) == INVALID_REUSE
    for each in SINGLE_USE:  # what one issuer has used says nothing of another's
        assert refusal(publishing(noon.index), {**each, "jti": "another"}) == ""


@pytest.mark.parametrize("kind", ["memory", "folder"])
def test_replay_at_the_same_moment(noon: World, tmp_path: Path, kind: str) -> None:
    """Fifty that show one statement at once, to two processes, get one token between them."""
    folders = [tmp_path / "store"] * 2
    stores: list[Store] = [noon.store, noon.store]
    if kind == "folder":
        stores = [LocalStore(folder, Random(seed)) for seed, folder in enumerate(folders)]
    indexes = [over(store, noon, seed) for seed, store in enumerate(stores, start=7)]
    desks = [publishing(index) for index in indexes]

    with ThreadPoolExecutor(25) as pool:
        codes = Counter(
            pool.map(lambda turn: refusal(desks[turn % 2], GITHUB_SAYS), range(50), timeout=60)
        )

    assert codes == {"": 1, INVALID_REUSE: 49}
    assert len(indexes[0].tokens.all()) == 1


@pytest.mark.parametrize("mark", ["../../wheelyard", "a/b", "\0", "a\nb", "x" * 5000, "é", ".json"])
def test_a_mark_of_any_form(noon: World, mark: str) -> None:
    """Whatever an issuer marks its statements with, the mark is only ever a digest in the store."""
    says = {**GITHUB_SAYS, "jti": mark}
    desk = publishing(noon.index)

    assert refusal(desk, says) == ""
    assert refusal(desk, says) == INVALID_REUSE

    (key,) = noon.snapshot(keys.CLAIMS)
    assert keys.hour_of(Key(key)) == datetime(2026, 11, 18, 12, tzinfo=UTC)


@pytest.mark.parametrize("mark", [None, "", 7, ["a"], {}])
def test_no_mark(noon: World, mark: object) -> None:
    """A statement that cannot be told from others is good for nothing."""
    for says in SINGLE_USE:
        assert refusal(publishing(noon.index), {**says, "jti": mark}) == INVALID_TOKEN
    assert noon.index.tokens.all() == []


def test_digest() -> None:
    """A used statement is the SHA-256 of its issuer, a NUL and its mark."""
    digest = digest_of("https://token.actions.githubusercontent.com", "abc-jti")

    assert digest_of("https://a", "\ud800") != digest_of("https://a", "\udfff")
    assert digest == "e135cbc74a952000e26a68b66a4f2a481d5e0bb2ad94f87e59beb1d8c56d8638"
    assert keys.claim(MOMENT, digest) == f"credentials/claims/2026111812/{digest}.json"


def test_half_a_character(noon: World) -> None:
    """A statement with half a character in it, which JSON can hold, is refused as none."""
    assert refusal(publishing(noon.index), {**GITHUB_SAYS, "jti": "\ud800"}) == INVALID_PAYLOAD


def test_google_hands_its_statements_out_again(noon: World) -> None:
    """Google's statement, which has no mark, is good for twenty tokens an hour and no more."""
    desk = publishing(noon.index)

    codes = [refusal(desk, GOOGLE_SAYS) for _ in range(REUSES + 2)]

    assert codes == [""] * REUSES + [INVALID_REUSE] * 2
    assert refusal(desk, {**GOOGLE_SAYS, "iat": NOON + 1}) == ""
    noon.clock.advance(hours=1)
    assert refusal(desk, GOOGLE_SAYS) == ""


def test_a_signature_written_in_another_way(noon: World) -> None:
    """The limit is of what was signed: other letters for the same signature do not renew it."""
    desk = publishing(noon.index)
    for turn in range(REUSES):
        desk.mint(signed(GOOGLE_SAYS, f"c2lnbmV{turn}"))

    assert refusal(desk, GOOGLE_SAYS) == INVALID_REUSE


def test_an_issuer_without_marks(noon: World) -> None:
    """Any other issuer may do without marks if its publisher says so, within the same limit."""
    rules = PublishingRules(publishers=(publisher(OIDC, require_jti=False),), audiences=(AUDIENCE,))
    desk = publishing(noon.index, rules)

    codes = [refusal(desk, {**OIDC_SAYS, "jti": None}) for _ in range(REUSES + 1)]

    assert codes == [""] * REUSES + [INVALID_REUSE]
