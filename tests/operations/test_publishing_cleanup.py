"""A statement is good for one token, and is forgotten when it is long past, and not before."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from tests.authentication.publishing_fixture import (
    MOMENT,
    RULES,
    SINGLE_USE,
    PublishingRules,
    publishing,
    refusal,
    signed,
)
from tests.fake_store import FakeStore, Fault, FaultKind
from tests.model.jobs import (
    AUDIENCE,
    GITHUB_SAYS,
    GITLAB_SAYS,
    GOOGLE_SAYS,
    MINUTES,
    NOON,
    OIDC,
    OIDC_SAYS,
    Table,
    publisher,
)
from tests.operations.in_memory_index import IndexHarness
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.authentication.trusted_publishing import (
    CLEANED_PER_MINT,
    INVALID_PAYLOAD,
    INVALID_TOKEN,
    MAX_USES,
)
from wheelyard.catalog import keys
from wheelyard.catalog.used_id_tokens import digest_of
from wheelyard.errors import INVALID_PUBLISHER, INVALID_REUSE, Unavailable
from wheelyard.storage.base import Key, Store
from wheelyard.storage.local import LocalStore


@pytest.mark.parametrize("says", SINGLE_USE, ids=lambda value: str(value["iss"]))
def test_an_id_token_is_good_for_one_token(noon: IndexHarness, says: Table) -> None:
    """A statement is good for one token, in whatever process it is shown again."""
    assert refusal(publishing(noon.index), says) == ""

    for index in (noon.index, noon.opened(2)):
        assert refusal(publishing(index), says) == INVALID_REUSE
    for each in SINGLE_USE:  # what one issuer has used says nothing of another's
        assert refusal(publishing(noon.index), {**each, "jti": "another"}) == ""


@pytest.mark.parametrize("kind", ["memory", "folder"])
def test_replay_at_the_same_moment(noon: IndexHarness, tmp_path: Path, kind: str) -> None:
    """Fifty that show one statement at once, to two processes, get one token between them."""
    folders = [tmp_path / "store"] * 2
    stores: list[Store] = [noon.store, noon.store]
    if kind == "folder":
        stores = [LocalStore(folder, Random(seed)) for seed, folder in enumerate(folders)]
    indexes = [noon.opened(seed, store) for seed, store in enumerate(stores, start=7)]
    services = [publishing(index) for index in indexes]

    with ThreadPoolExecutor(25) as pool:
        codes = Counter(
            pool.map(lambda turn: refusal(services[turn % 2], GITHUB_SAYS), range(50), timeout=60)
        )

    assert codes == {"": 1, INVALID_REUSE: 49}
    assert len(indexes[0].tokens.all()) == 1


@pytest.mark.parametrize("mark", ["../../wheelyard", "a/b", "\0", "a\nb", "x" * 5000, "é", ".json"])
def test_a_mark_of_any_form(noon: IndexHarness, mark: str) -> None:
    """Whatever an issuer marks its statements with, the mark is only ever a digest in the store."""
    says = {**GITHUB_SAYS, "jti": mark}
    service = publishing(noon.index)

    assert refusal(service, says) == ""
    assert refusal(service, says) == INVALID_REUSE

    (key,) = noon.snapshot(keys.USED_ID_TOKENS)
    assert keys.expiry_hour(Key(key)) == datetime(2026, 11, 18, 12, tzinfo=UTC)


@pytest.mark.parametrize("mark", [None, "", 7, ["a"], {}])
def test_an_id_token_without_an_id_is_refused(noon: IndexHarness, mark: object) -> None:
    """A statement that cannot be told from others is good for nothing."""
    for says in SINGLE_USE:
        assert refusal(publishing(noon.index), {**says, "jti": mark}) == INVALID_TOKEN
    assert noon.index.tokens.all() == []


def test_a_used_id_token_is_stored_as_a_digest() -> None:
    """A used statement is the SHA-256 of its issuer, a NUL and its mark."""
    digest = digest_of("https://token.actions.githubusercontent.com", "abc-jti")

    assert digest_of("https://a", "\ud800") != digest_of("https://a", "\udfff")
    assert digest == "e135cbc74a952000e26a68b66a4f2a481d5e0bb2ad94f87e59beb1d8c56d8638"
    assert (
        keys.used_id_token(MOMENT, digest) == f"credentials/used-id-tokens/2026111812/{digest}.json"
    )


def test_half_a_character(noon: IndexHarness) -> None:
    """A statement with half a character in it, which JSON can hold, is refused as none."""
    assert refusal(publishing(noon.index), {**GITHUB_SAYS, "jti": "\ud800"}) == INVALID_PAYLOAD


def test_google_hands_its_statements_out_again(noon: IndexHarness) -> None:
    """Google's statement, which has no mark, is good for twenty tokens an hour and no more."""
    service = publishing(noon.index)

    codes = [refusal(service, GOOGLE_SAYS) for _ in range(MAX_USES + 2)]

    assert codes == [""] * MAX_USES + [INVALID_REUSE] * 2
    assert refusal(service, {**GOOGLE_SAYS, "iat": NOON + 1}) == ""
    noon.clock.advance(hours=1)
    assert refusal(service, GOOGLE_SAYS) == ""


def test_a_signature_written_in_another_way(noon: IndexHarness) -> None:
    """The limit is of what was signed: other letters for the same signature do not renew it."""
    service = publishing(noon.index)
    for turn in range(MAX_USES):
        service.mint(signed(GOOGLE_SAYS, f"c2lnbmV{turn}"))

    assert refusal(service, GOOGLE_SAYS) == INVALID_REUSE


def test_an_issuer_without_marks(noon: IndexHarness) -> None:
    """Any other issuer may do without marks if its publisher says so, within the same limit."""
    rules = PublishingRules(publishers=(publisher(OIDC, require_jti=False),), audiences=(AUDIENCE,))
    service = publishing(noon.index, rules)

    codes = [refusal(service, {**OIDC_SAYS, "jti": None}) for _ in range(MAX_USES + 1)]

    assert codes == [""] * MAX_USES + [INVALID_REUSE]


def test_old_minted_tokens_are_swept(noon: IndexHarness) -> None:
    """Old used ID tokens and minted tokens are deleted; valid and user-made tokens stay."""
    made, _ = noon.index.tokens.create(TokenRequest(name="ci"), by="local:alice")
    service, rules = publishing(noon.index), replace(RULES, lifetime=timedelta(hours=6))
    long = publishing(noon.index, rules).mint(signed({**GITHUB_SAYS, "jti": "long"}))
    for says in (GITHUB_SAYS, GITLAB_SAYS, GOOGLE_SAYS):
        service.mint(signed(says))
    noon.clock.advance(hours=2, minutes=16)
    assert service.cleanup.run() == 0

    noon.clock.advance(minutes=1)

    assert service.cleanup.run() == 3
    assert {each.id for each in noon.index.tokens.all()} == {made.id, long.record.id}
    assert len(noon.snapshot(keys.USED_ID_TOKENS)) == 1
    assert service.cleanup.run() == 0
    assert (noon.check().problems, noon.check().notes) == ([], [])


def test_used_id_token_of_a_removed_token_is_swept(noon: IndexHarness) -> None:
    """The record of a used ID token is deleted although somebody has removed its token before."""
    service = publishing(noon.index)
    minted = service.mint(signed(GITHUB_SAYS))
    noon.store.delete(keys.token(minted.token.id))
    noon.clock.advance(hours=3)

    assert service.cleanup.run() == 1

    assert noon.snapshot(keys.USED_ID_TOKENS) == {}


def test_no_statement_is_forgotten_too_early(noon: IndexHarness) -> None:
    """As long as any clock would take a statement, it is known to have been used."""
    service = publishing(noon.index)
    assert refusal(service, GITHUB_SAYS) == ""
    noon.clock.now = datetime.fromtimestamp(NOON + MINUTES, UTC) + timedelta(minutes=10)

    service.cleanup.run()

    assert refusal(service, GITHUB_SAYS) == INVALID_REUSE


def test_a_mint_sweeps(noon: IndexHarness) -> None:
    """Each mint forgets a few of what is long past, so that nothing piles up."""
    service = publishing(noon.index)
    for turn in range(CLEANED_PER_MINT + 2):
        service.mint(signed({**GITHUB_SAYS, "jti": str(turn)}))

    noon.clock.advance(hours=3)
    left = list[int]()
    for turn in range(2):
        later = {"jti": f"later-{turn}", "iat": NOON + 10800, "exp": NOON + 11000}
        service.mint(signed({**GITHUB_SAYS, **later}))
        left.append(len(noon.index.tokens.all()))

    assert left == [3, 2]
    assert len(noon.snapshot(keys.USED_ID_TOKENS)) == 2


def test_what_a_mint_costs(noon: IndexHarness) -> None:
    """A mint is two writes and one listing, and a refusal asks the store nothing."""
    store = FakeStore(noon.store)
    service = publishing(noon.opened(5, store))
    store.calls.clear()

    assert refusal(service, {**GITHUB_SAYS, "environment": "other"}) == INVALID_PUBLISHER
    assert store.calls == []
    assert refusal(service, GITHUB_SAYS) == ""

    assert [verb for verb, _ in store.calls] == ["put", "put", "list"]


def test_sweeping_what_is_damaged(noon: IndexHarness) -> None:
    """Sweeping takes what it cannot read for done with, and leaves what is not ours alone."""
    service = publishing(noon.index)
    minted = service.mint(signed(GITHUB_SAYS))
    (key,) = noon.snapshot(keys.USED_ID_TOKENS)
    strange = [
        Key(f"{keys.USED_ID_TOKENS}note.txt"),
        Key(f"{keys.USED_ID_TOKENS}2026999999/{'0' * 64}.json"),
    ]
    for each in (*strange, keys.token(minted.token.id)):
        noon.store.put(each, b"?", None)
    damaged = keys.used_id_token(MOMENT, "1" * 64)
    traversing = keys.used_id_token(MOMENT, "2" * 64)
    noon.store.put(damaged, b"?", None)
    noon.store.put(traversing, b'{"token":"../../projects"}', None)
    noon.clock.advance(hours=3)

    assert service.cleanup.run() == 3

    left = noon.snapshot("credentials/")
    assert set(left) == {*strange, keys.token(minted.token.id)}
    assert key not in left


def test_sweeping_never_fails_a_mint(noon: IndexHarness) -> None:
    """A token is handed out although the store fails in sweeping."""
    publishing(noon.index).mint(signed(GITHUB_SAYS))
    noon.clock.advance(hours=3)
    faulty = FakeStore(noon.store, Fault(FaultKind.NOT_DONE, "delete", times=99))

    later = {**GITHUB_SAYS, "jti": "later", "iat": NOON + 10800, "exp": NOON + 11000}

    assert refusal(publishing(noon.opened(5, faulty)), later) == ""
    with pytest.raises(Unavailable):
        publishing(noon.opened(5, faulty)).cleanup.run()


def test_when_nobody_publishes_so_any_more(noon: IndexHarness) -> None:
    """A check that sweeps forgets what is long past, although no publisher is left."""
    publishing(noon.index).mint(signed(GITHUB_SAYS))
    noon.clock.advance(hours=3)
    assert noon.index.authenticator.trusted_publishing is None

    swept = noon.check(sweep=True).swept

    assert swept == 1
    assert (noon.snapshot(keys.USED_ID_TOKENS), list(noon.index.tokens.all())) == ({}, [])
