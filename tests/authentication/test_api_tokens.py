"""API tokens: made, recognised, expired, revoked."""

import logging
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import FrameType

import pytest
from msgspec.structs import replace
from msgspec.structs import replace as changed

from tests.advice import texts_of
from tests.fake_store import Before, FakeStore, Fault, FaultKind
from tests.fake_time import Clock, fake_runtime
from tests.operations.in_memory_index import ALICE, IndexHarness
from tests.refused import refused
from wheelyard.authentication.api_tokens import (
    MAX_TOKENS_PER_OWNER,
    ApiTokens,
    TokenRequest,
    require_token_id,
)
from wheelyard.authentication.verifiers.verifier import CredentialRejected
from wheelyard.catalog import keys
from wheelyard.catalog.stored_tokens import SINGLE_READ_LIMIT, LastUses, StartThread
from wheelyard.errors import Conflict, Invalid, NotFound, Unauthenticated, Unavailable
from wheelyard.model.access import Action, Credential, parse_pattern
from wheelyard.model.api_token import (
    ID_LENGTH,
    NOBODY,
    ApiToken,
    TokenOwner,
    TokenRecord,
    parse_token,
)
from wheelyard.model.distribution_filename import parse_name
from wheelyard.settings.sections import Settings, StoreSettings
from wheelyard.storage.base import Key, Store, Stores
from wheelyard.storage.memory import MemoryStore
from wheelyard.storage.spool import Spool
from wheelyard.wiring.build import build_index, open_index


def test_the_length_of_an_id() -> None:
    """The message about a malformed token id says how many characters an id has."""
    with pytest.raises(NotFound, match=f"Give the {ID_LENGTH} characters after 'wyd_'"):
        require_token_id("x" * (ID_LENGTH - 1))
    assert keys.token_id_of_use(keys.last_use("x" * ID_LENGTH)) == "x" * ID_LENGTH
    assert keys.token_id_of_use(keys.last_use("x" * (ID_LENGTH - 1))) is None


def test_a_token_opens_what_it_was_made_for(harness: IndexHarness) -> None:
    """A token's bearer may do what was asked for, on the projects that were asked for."""
    patterns = (parse_pattern("acme-*"),)
    request = TokenRequest(name="ci", actions=Action.UPLOAD.with_implied, projects=patterns)
    token, record = harness.index.tokens.create(request, by="local:alice")

    caller = harness.opened(3).authenticator.authenticate(Credential("", token.text), "127.0.0.1")

    assert caller.principal == f"token:{record.id}"
    assert caller.may(Action.UPLOAD, parse_name("acme-core"))
    assert not caller.may(Action.UPLOAD, parse_name("demo"))
    assert not caller.may(Action.MANAGE, parse_name("acme-core"))
    assert (record.created_by, record.created_at) == ("local:alice", harness.clock.now)
    assert parse_token(token.text) == token


def test_a_token_opens_until_the_moment_it_expires(harness: IndexHarness) -> None:
    """A token opens until the moment it expires, and not from then on."""
    request = TokenRequest(name="ci", lifetime=timedelta(days=1))
    token, record = harness.index.tokens.create(request, by="local:alice")
    harness.clock.now = record.expires_at - timedelta(microseconds=1)
    harness.index.tokens.get(token)

    harness.clock.now = record.expires_at

    assert record.state(harness.clock.now) == "expired"
    assert not harness.index.tokens.any_active()
    with pytest.raises(Unauthenticated):
        harness.index.tokens.get(token)


def test_a_revoked_token_opens_nothing_in_any_process(harness: IndexHarness) -> None:
    """A token that is revoked, by its id or itself, opens nothing in any process, and stays so."""
    token, record = harness.index.tokens.create(TokenRequest(name="ci"), by="local:alice")
    other = harness.opened(3)
    other.tokens.get(token)

    revoked = harness.index.tokens.revoke(token.text, by="local:bob")

    for index in (harness.index, other):
        with pytest.raises(Unauthenticated):
            index.tokens.get(token)
    assert (revoked.revoked_by, revoked.revoked_at) == ("local:bob", harness.clock.now)
    harness.clock.advance(days=1)
    assert other.tokens.revoke(record.id, by="local:eve") == revoked


@pytest.mark.parametrize("somebody_revokes", [True, False])
def test_a_revocation_that_loses_a_race(
    harness: IndexHarness, caplog: pytest.LogCaptureFixture, *, somebody_revokes: bool
) -> None:
    """A token whose record changes while it is being revoked ends revoked, which is logged once."""
    caplog.set_level(logging.INFO, "wheelyard.audit")
    _, record = harness.index.tokens.create(TokenRequest(name="ci"), by="local:alice")
    key, bob = keys.token(record.id), harness.index

    def change_first() -> None:
        if somebody_revokes:
            bob.tokens.revoke(record.id, by="local:bob")
        else:  # the record says the same, and has another version
            harness.store.put(key, harness.bytes_at(key), None)

    index = harness.opened(5, FakeStore(harness.store, Before(change_first, "put")))

    revoked = index.tokens.revoke(record.id, by="local:eve")

    who = "local:bob" if somebody_revokes else "local:eve"
    assert revoked.write_id != record.write_id
    assert revoked == changed(
        record,
        revoked_at=harness.clock.now,
        revoked_by=who,
        revision=record.revision + 1,
        write_id=revoked.write_id,
    )
    assert harness.opened(4).tokens.all() == [revoked]
    (line,) = [message for message in caplog.messages if message.startswith("token revoked")]
    assert f"by {who}" in line


@pytest.mark.parametrize("token_id", ["", "0123456789", "../../wheelyard", "a//b", "x" * 5000])
def test_an_id_never_leaves_its_folder(tmp_path: Path, token_id: str) -> None:
    """A token that is not there is not found, whatever text is given as its id."""
    index = open_index(Settings(store=StoreSettings(location=str(tmp_path))))

    with pytest.raises(NotFound):
        index.tokens.revoke(token_id, by="local:alice")


def test_an_administrator_revokes_by_the_id_alone(harness: IndexHarness) -> None:
    """The API takes the id of a token from an administrator, and no secret in a URL."""
    token, record = harness.index.tokens.create(TokenRequest(name="ci"), by="local:bob")
    caller_tokens = harness.index.caller_tokens

    with pytest.raises(NotFound, match="There is no token with this id"):
        caller_tokens.revoke(ALICE, token.text)

    assert harness.index.tokens.all() == [record]
    assert caller_tokens.revoke(ALICE, record.id).revoked_by == ALICE.principal


def test_a_wrong_token_is_not_repeated(harness: IndexHarness) -> None:
    """The refusal of a malformed token does not repeat its secret."""
    token, _ = harness.index.tokens.create(TokenRequest(name="ci"), by="local:alice")
    for wrong in (token.text[:-1], token.text[4:], token.text[14:], f" {token.text}"):
        with pytest.raises(NotFound) as caught:
            harness.index.tokens.revoke(wrong, by="local:bob")
        assert token.text[14:46] not in caught.value.message


def rejection(harness: IndexHarness, token: ApiToken) -> tuple[str, str]:
    """Return the error message for a rejected token, and the reason in the log."""
    with pytest.raises(Unauthenticated) as caught:
        harness.opened(4).tokens.get(token)
    cause = caught.value.__cause__
    assert isinstance(cause, CredentialRejected)
    return caught.value.fact + caught.value.message, cause.reason


def test_only_the_owner_of_a_secret_is_told_why_it_is_refused(harness: IndexHarness) -> None:
    """Only who has the secret is told why a token is rejected; the log has the reason."""
    revoked, record = harness.index.tokens.create(TokenRequest(name="ci"), by="local:alice")
    expired, _ = harness.index.tokens.create(TokenRequest(name="ci"), by="local:alice")
    unknown = ApiToken("wyd_0123456789" + expired.text[14:])
    forged = ApiToken(revoked.text[:14] + expired.text[14:])
    harness.index.tokens.revoke(record.id, by="local:bob")
    harness.clock.advance(days=90)

    rejections = [rejection(harness, each) for each in (revoked, expired, unknown, forged)]

    (revoked_text, _), (expired_text, _), (unknown_text, _), (forged_text, _) = rejections
    assert unknown_text == forged_text
    assert f"The token ci ({record.id}) was revoked on 2026-01-01 00:00 UTC." in revoked_text
    assert f"The token ci ({expired.id}) has expired on 2026-04-01 00:00 UTC." in expired_text
    assert revoked.id not in forged_text
    reasons = ["token_revoked", "token_expired", "token_unknown", "token_secret"]
    assert [reason for _, reason in rejections] == reasons


def test_who_uses_a_rotated_token_is_told_its_successor(harness: IndexHarness) -> None:
    """Whoever goes on with the old one of two tokens is told which one has replaced it."""
    old, record = harness.index.tokens.create(TokenRequest(name="ci"), by="local:alice")
    rotated = harness.index.tokens.rotate(record, timedelta(hours=1), "local:alice")
    harness.clock.advance(hours=2)

    text, reason = rejection(harness, old)

    assert f"{rotated.new.id} has replaced it." in text
    assert reason == "token_expired"


def work(harness: IndexHarness, token: ApiToken) -> Counter[str]:
    """Return how often each function of C is called to reject a token whose record is cached."""
    tokens, calls = harness.opened(4).tokens, Counter[str]()
    with suppress(Unauthenticated):
        tokens.get(token)

    def count(_: FrameType, event: str, function: object) -> None:
        if event == "c_call":
            calls[getattr(function, "__name__", "")] += 1

    sys.setprofile(count)
    try:
        with suppress(Unauthenticated):
            tokens.get(token)
    finally:
        sys.setprofile(None)
    return calls


def test_unknown_tokens_are_compared_too(harness: IndexHarness) -> None:
    """An id that nobody has is rejected by the same work as one that somebody has."""
    token, _ = harness.index.tokens.create(TokenRequest(name="ci"), by="local:alice")
    other, _ = harness.index.tokens.create(TokenRequest(name="ci"), by="local:alice")
    unknown = ApiToken("wyd_0123456789" + other.text[14:])
    forged = ApiToken(token.text[:14] + other.text[14:])

    both = [work(harness, each) for each in (unknown, forged)]

    assert [(each["compare_digest"], each["openssl_sha256"]) for each in both] == [(1, 1)] * 2


def test_a_list_reads_only_tokens_that_have_changed(harness: IndexHarness) -> None:
    """The list has every token, oldest first, and reads only those that have changed."""
    for name in ("first", "second", "third"):
        harness.index.tokens.create(TokenRequest(name=name), by="local:alice")
        harness.clock.advance(seconds=1)
    harness.clock.advance(seconds=20)  # a listing shows whole seconds
    store = FakeStore(harness.store)
    tokens = harness.opened(5, store).tokens
    records = tokens.all()
    assert [each.name for each in records] == ["first", "second", "third"]
    assert tokens.any_active()
    assert len([verb for verb, _ in store.calls if verb == "get"]) >= 3
    harness.index.tokens.revoke(records[1].id, by="local:alice")
    store.calls.clear()

    assert [each.state(harness.clock.now) for each in tokens.all()] == [
        "active",
        "revoked",
        "active",
    ]

    assert store.calls == [("list", keys.TOKENS), ("get", keys.token(records[1].id))]


def test_an_account_made_anew_does_not_own_the_tokens_of_the_old_one(harness: IndexHarness) -> None:
    """An account that was made anew under an old e-mail does not own what the old one has made."""
    robot = "serviceAccount:ci@p.iam.gserviceaccount.com"
    old, new = frozenset({robot, f"{robot}#1"}), frozenset({robot, f"{robot}#2"})

    def owned(owner: str, *names: str) -> TokenRequest:
        return TokenRequest(name="ci", owner=TokenOwner(owner, frozenset(names)))

    tokens = harness.index.tokens
    _, numbered = tokens.create(owned(robot, *old), by=robot)
    _, plain = tokens.create(owned(robot, robot), by="local:alice")
    _, nobodys = tokens.create(TokenRequest(name="ci"), by="local:alice")

    assert numbered.is_owned_by(TokenOwner(robot, old))
    assert not numbered.is_owned_by(TokenOwner(robot, new))
    assert not numbered.is_owned_by(TokenOwner(robot, frozenset({robot})))
    assert not numbered.is_owned_by(TokenOwner("user:ana@acme.dev", old))
    assert plain.is_owned_by(TokenOwner(robot, new))
    assert not nobodys.is_owned_by(NOBODY)


def test_an_owner_has_at_most_a_hundred_active_tokens(harness: IndexHarness) -> None:
    """An owner with a hundred active tokens gets no more until one expires or is revoked."""
    ana, tokens = "user:ana@acme.dev", harness.index.tokens
    owner = TokenOwner(ana, frozenset({ana}))
    request = TokenRequest(name="laptop", owner=owner)
    records = [tokens.create(request, by=ana)[1] for _ in range(MAX_TOKENS_PER_OWNER - 1)]
    tokens.create(TokenRequest(name="ci"), by="local:alice")
    tokens.check_quota(owner)
    tokens.create(request, by=ana)

    with refused(Conflict, "too_many_tokens", match="Revoke"):
        tokens.check_quota(owner)

    tokens.check_quota(TokenOwner("user:eve@acme.dev", frozenset({"user:eve@acme.dev"})))
    tokens.revoke(records[0].id, by=ana)
    tokens.check_quota(owner)


@pytest.mark.parametrize(
    "request_",
    [
        TokenRequest(name=""),
        TokenRequest(name="  "),
        TokenRequest(name="x" * 101),
        TokenRequest(name="a\nb"),
        TokenRequest(name="a\udcff"),
        TokenRequest(name="\u202eb"),
        TokenRequest(name="ci", lifetime=timedelta(0)),
        TokenRequest(name="ci", lifetime=timedelta(days=-1)),
        TokenRequest(name="ci", lifetime=timedelta(days=366)),
    ],
)
def test_tokens_have_limits_of_name_and_life(harness: IndexHarness, request_: TokenRequest) -> None:
    """A token has a name of one short line, and a life of more than nothing and at most a year."""
    with pytest.raises(Invalid):
        harness.index.tokens.create(request_, by="local:alice")

    assert harness.index.tokens.all() == []


def test_creating_gives_up_if_the_store_takes_no_token(tmp_path: Path) -> None:
    """If the store rejects every new token, creating one fails within a minute."""
    pauses = list[float]()
    seconds = 0.0

    def pause(of: float) -> None:
        nonlocal seconds
        pauses.append(of)
        seconds += of

    store = FakeStore(MemoryStore(lambda: 0.0), Fault(FaultKind.LOST_RACE, "put", times=10_000))
    runtime = replace(fake_runtime(Clock(), 1), monotonic=lambda: seconds, pause=pause)
    store.inner.put(keys.FORMAT, b'{"format":3}', None)
    index = build_index(Stores.of(store), Spool(tmp_path), Settings(), runtime)

    with pytest.raises(Unavailable):
        index.tokens.create(TokenRequest(name="ci"), by="local:alice")

    assert 30 < seconds < 50
    assert max(pauses[:3]) < 0.1 < max(pauses) <= 2


FIRST = date(2026, 1, 1)
"""On which the clock of a test stands."""


def at_once(work: Callable[[], None]) -> None:
    """Do some work here and now."""
    work()


def tokens_over(
    harness: IndexHarness, store: Store | None = None, start: StartThread = at_once
) -> ApiTokens:
    """Return the API tokens of a second process, whose background work runs at once."""
    tokens = harness.opened(5, store).tokens
    last_uses = LastUses(tokens.records.store, tokens.runtime, start)
    return replace(tokens, records=replace(tokens.records, last_uses=last_uses))


def create_token(harness: IndexHarness, name: str = "ci") -> tuple[ApiToken, TokenRecord]:
    """Return a new token."""
    return harness.index.tokens.create(TokenRequest(name=name), by="local:alice")


def used_on(harness: IndexHarness, *records: TokenRecord) -> list[date | None]:
    """Return on which days tokens were last used, as a process finds it that has seen nothing."""
    days = harness.opened(seed=6).tokens.last_uses(records)
    return [days.get(record.id) for record in records]


def writes(store: FakeStore) -> list[str]:
    """Return every key of an attempted write."""
    return [key for verb, key in store.calls if verb == "put"]


def test_the_list_has_the_day_of_the_last_use(harness: IndexHarness) -> None:
    """The list tells on which day a token was last used, and its record stays as it is."""
    (token, record), (_, other) = create_token(harness), create_token(harness)
    before = harness.bytes_at(keys.token(record.id))
    assert used_on(harness, record, other) == [None, None]

    tokens_over(harness).get(token)

    assert used_on(harness, record, other) == [FIRST, None]
    assert harness.bytes_at(keys.token(record.id)) == before
    assert harness.bytes_at(keys.last_use(record.id)) == b'{"day":"2026-01-01"}\n'


def test_a_use_is_noted_once_for_each_day(harness: IndexHarness) -> None:
    """A token in use is noted anew once its day in UTC is over, and not looked up before."""
    token, record = create_token(harness)
    store = FakeStore(harness.store)
    tokens = tokens_over(harness, store)
    tokens.get(token)
    harness.clock.now = datetime(2026, 1, 1, 23, 59, 59, tzinfo=UTC)
    tokens.get(token)
    assert writes(store) == [keys.last_use(record.id)]
    assert store.calls.count(("get", keys.last_use(record.id))) == 1

    harness.clock.advance(seconds=1)
    tokens.get(token)
    assert used_on(harness, record) == [date(2026, 1, 2)]
    assert len(writes(store)) == 2


@pytest.mark.parametrize("note", [b'{"day":"2099-01-01"}', b"?"])
def test_a_day_in_the_future_is_written_over(harness: IndexHarness, note: bytes) -> None:
    """A last use in the future, or a damaged one, is written over by the next use."""
    token, record = create_token(harness)
    harness.store.put(keys.last_use(record.id), note, None)

    tokens_over(harness).get(token)

    assert used_on(harness, record) == [FIRST]


def test_a_refused_token_is_not_used(harness: IndexHarness) -> None:
    """Requests with a token's id alone, or with an expired token, do not count as its use."""
    (token, record), (other, _) = create_token(harness), create_token(harness)
    tokens = tokens_over(harness)
    forged = ApiToken(token.text[:14] + other.text[14:])
    with pytest.raises(Unauthenticated):
        tokens.get(forged)
    harness.clock.advance(days=91)
    with pytest.raises(Unauthenticated):
        tokens.get(token)

    assert used_on(harness, record) == [None]


def test_a_token_of_a_job_costs_no_note(harness: IndexHarness) -> None:
    """The use of a token that was made for a CI job is not noted."""
    token, record = create_token(harness)
    credentials = harness.index.tokens.records
    minted = changed(record, publishers=("ci",))
    assert credentials.replace(minted, credentials.get_for_update(record.id))

    tokens_over(harness).get(token)

    assert harness.snapshot(keys.LAST_USES) == {}


@pytest.mark.parametrize("verb", ["get", "put"])
def test_tokens_work_while_their_use_cannot_be_stored(harness: IndexHarness, verb: str) -> None:
    """If the last use cannot be stored, tokens still work; it is tried again after an hour."""
    (token, record), (later, second) = create_token(harness), create_token(harness)
    store = FakeStore(harness.store, Fault(FaultKind.NOT_DONE, verb, f"{keys.LAST_USES}*"))
    tokens = tokens_over(harness, store)
    assert tokens.get(token) == record
    asked = [call for call in store.calls if call[1].startswith(keys.LAST_USES)]

    harness.clock.advance(minutes=59)
    for each in (token, later):
        tokens.get(each)
    assert [call for call in store.calls if call[1].startswith(keys.LAST_USES)] == asked
    harness.clock.advance(minutes=1)
    for each in (token, later):
        tokens.get(each)

    assert used_on(harness, record, second) == [FIRST, FIRST]


def test_one_thread_writes_all_uses_and_nobody_waits(harness: IndexHarness) -> None:
    """One background thread writes the last uses of all tokens; no request waits for it."""
    both = [create_token(harness), create_token(harness)]
    begun = list[Callable[[], None]]()
    tokens = tokens_over(harness, start=begun.append)
    for token, _ in both:
        tokens.get(token)
    assert used_on(harness, both[0][1]) == [None]

    (work,) = begun
    work()

    assert used_on(harness, *(record for _, record in both)) == [FIRST, FIRST]
    third, record = create_token(harness)
    tokens.get(third)
    begun[1]()
    assert used_on(harness, record) == [FIRST]


def test_a_token_works_where_no_thread_can_be_started(harness: IndexHarness) -> None:
    """Where no thread can be started, a token works, and its next use is noted."""
    token, record = create_token(harness)
    starts = iter([False, True])

    def start(work: Callable[[], None]) -> None:
        if not next(starts):
            raise RuntimeError("can't start new thread")
        work()

    tokens = tokens_over(harness, start=start)
    tokens.get(token)
    assert used_on(harness, record) == [None]
    tokens.get(token)

    assert used_on(harness, record) == [FIRST]


def test_a_list_leaves_out_a_damaged_token_and_fails_in_an_outage(
    harness: IndexHarness,
) -> None:
    """A list of tokens leaves out a damaged one, and is an error if one cannot be read."""
    (_, intact), (_, damaged) = create_token(harness), create_token(harness)
    harness.store.put(keys.token(damaged.id), b"?", None)
    assert tokens_over(harness).all() == [intact]
    fault = Fault(FaultKind.NOT_DONE, "get", keys.token(intact.id), times=2)
    tokens = tokens_over(harness, FakeStore(harness.store, fault))

    for list_them in (tokens.all, tokens.any_active):
        with pytest.raises(Unavailable):
            list_them()


def test_uses_of_many_tokens_are_listed_and_read_once(harness: IndexHarness) -> None:
    """For many tokens the days are listed, and those that have not changed are not read again."""
    every = [create_token(harness, f"ci {number}") for number in range(SINGLE_READ_LIMIT + 2)]
    users, store = tokens_over(harness), FakeStore(harness.store)
    for token, _ in every[1:]:
        users.get(token)
    harness.store.put(Key(f"{keys.LAST_USES}note.txt"), b"?", None)
    records = [record for _, record in every]
    harness.clock.advance(seconds=20)  # a listing shows whole seconds
    lister = tokens_over(harness, store)
    assert len(lister.last_uses(records)) == SINGLE_READ_LIMIT + 1
    harness.clock.advance(days=1)
    users.get(every[1][0])
    store.calls.clear()

    days = lister.last_uses(records)

    assert store.calls == [("list", keys.LAST_USES), ("get", keys.last_use(records[1].id))]
    assert days == {record.id: FIRST for record in records[2:]} | {records[1].id: date(2026, 1, 2)}


def test_the_sweep_removes_uses_of_tokens_that_are_gone(harness: IndexHarness) -> None:
    """`check` finds nothing wrong with notes of uses, and sweeps those of tokens that are gone."""
    (token, record), (gone, other) = create_token(harness), create_token(harness)
    tokens = tokens_over(harness)
    for each in (token, gone):
        tokens.get(each)
    assert (harness.check().problems, harness.check().notes) == ([], [])
    harness.store.delete(keys.token(other.id))
    stray = Key(f"{keys.LAST_USES}note.txt")
    harness.store.put(stray, b"?", None)

    assert texts_of(harness.check().notes) == [
        f"{stray} is no object of wheelyard's",
        f"1 object under {keys.LAST_USES} belong to no token",
    ]
    assert harness.check(sweep=True).swept == 1

    assert set(harness.snapshot(keys.LAST_USES)) == {keys.last_use(record.id), stray}
    assert used_on(harness, record) == [FIRST]
