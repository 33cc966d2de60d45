"""Trusted publishing: a statement becomes a token, once, and the token dies soon."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.catalog.faulty import Crash, Fault, FaultyStore, Kind
from tests.model.jobs import (
    AUDIENCE,
    BUILDKITE_SAYS,
    GITHUB,
    GITHUB_SAYS,
    GITLAB,
    GITLAB_SAYS,
    GOOGLE,
    GOOGLE_SAYS,
    JOBS,
    MINUTES,
    NOON,
    OIDC,
    OIDC_SAYS,
    Table,
    publisher,
)
from tests.operations.making import make_wheel
from tests.operations.world import World, ambient_at, history
from wheelyard.catalog import keys
from wheelyard.catalog.claims import Claims, digest_of
from wheelyard.errors import Invalid, Unauthenticated, Unavailable
from wheelyard.index import Index, index_over
from wheelyard.model.access import Action, Caller, parse_pattern
from wheelyard.model.distribution import parse_name
from wheelyard.model.publisher import parse_publishers
from wheelyard.model.token import Token, TokenRecord, parse_token
from wheelyard.operations.publishing import (
    INVALID_PAYLOAD,
    INVALID_PUBLISHER,
    INVALID_REUSE,
    INVALID_TOKEN,
    NOT_ENABLED,
    REFUSALS,
    SWEPT_AT_ONCE,
    Publishing,
    PublishingRules,
    Verify,
)
from wheelyard.operations.reuses import REUSES, Reuses
from wheelyard.operations.tokens import TokenRequest
from wheelyard.settings.sections import Settings
from wheelyard.storage.base import Key, Store
from wheelyard.storage.local import LocalStore
from wheelyard.storage.spool import Spool

RULES = PublishingRules(
    publishers=parse_publishers([table for table, _ in JOBS]), audiences=(AUDIENCE,)
)
MOMENT = datetime.fromtimestamp(NOON + 1, UTC)
SINGLE_USE = [says for table, says in JOBS if table is not GOOGLE]


def signed(says: Mapping[str, object], signature: str = "c2lnbmVk") -> str:
    """Return a statement as a JWT; nothing here looks at its signature."""
    payload = urlsafe_b64encode(json.dumps(says).encode()).rstrip(b"=").decode()
    return f"eyJhbGciOiJSUzI1NiJ9.{payload}.{signature}"


def genuine(statement: str) -> Mapping[str, object]:
    """Return what a statement says, as a verifier does that finds nothing wrong with it."""
    payload = statement.split(".")[1]
    found = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert isinstance(found, dict)
    return found


def publishing(
    index: Index, rules: PublishingRules = RULES, verify: Verify = genuine
) -> Publishing:
    """Return the trusted publishing of an index, as one process has it."""
    return Publishing(
        rules=rules,
        tokens=index.tokens,
        claims=Claims(index.tokens.credentials.store),
        verify=verify,
        reuses=Reuses(index.ambient.monotonic),
    )


def over(store: Store, world: World, seed: int = 5) -> Index:
    """Return an index over a store, as another process has it."""
    return index_over(store, Spool(world.folder), Settings(), ambient_at(world.clock, seed))


def refusal(desk: Publishing, says: Mapping[str, object]) -> str:
    """Return the code with which a statement is refused, empty if there is a token for it."""
    try:
        desk.mint(signed(says))
    except Invalid as fault:
        return fault.code
    return ""


def bearer(desk: Publishing, token: Token) -> Caller:
    """Return what whoever bears a minted token may do now."""
    record = desk.tokens.credentials.current(token.id).value
    assert record is not None
    identity = desk.identity(record)
    return Caller(identity.principal, identity.scopes) if identity else Caller("", ())


@pytest.fixture
def noon(world: World) -> World:
    """A world in which every statement has just been made."""
    world.clock.now = MOMENT
    return world


@pytest.mark.parametrize(("table", "says"), JOBS, ids=lambda each: str(each.get("provider", "")))
def test_a_job_gets_a_token(noon: World, table: Table, says: Table) -> None:
    """The statement of a publisher's job becomes a token that may upload to its projects."""
    desk = publishing(noon.index)
    (project,) = publisher(table).projects

    minted = desk.mint(signed(says))

    who = bearer(publishing(noon.opened(2)), minted.token)
    assert who.principal == f"publisher:{table['id']}"
    assert who.may(Action.UPLOAD, project)
    assert who.may(Action.READ, project)
    assert not who.may(Action.MANAGE, project)
    assert not who.may_anywhere(Action.ADMIN)
    assert not who.may(Action.READ, parse_name("other"))
    assert not who.may(Action.READ, parse_name(f"{project}-more"))
    assert parse_token(minted.token.text) == minted.token


def test_only_the_publisher(noon: World) -> None:
    """A minted token is its publisher's and everybody's, and not that of a colleague."""
    minted = publishing(noon.index).mint(signed(GITHUB_SAYS))

    identity = publishing(noon.index).identity(minted.record)

    assert identity is not None
    assert identity.principals == {"publisher:gh-mylib", "anonymous"}


def test_a_quarter_of_an_hour(noon: World) -> None:
    """A minted token lives for fifteen minutes, rounded up to a second that clients are told."""
    noon.clock.advance(microseconds=1)
    desk = publishing(noon.index)
    minted = desk.mint(signed(GITHUB_SAYS))

    assert minted.expires == NOON + 1 + 900 + 1
    noon.clock.now = datetime.fromtimestamp(minted.expires, UTC) - timedelta(microseconds=1)
    noon.index.tokens.record(minted.token)
    noon.clock.advance(microseconds=1)
    with pytest.raises(Unauthenticated):
        noon.index.tokens.record(minted.token)


def test_a_longer_life(noon: World) -> None:
    """A setting can make minted tokens live longer."""
    rules = PublishingRules(
        publishers=RULES.publishers, audiences=RULES.audiences, lifetime=timedelta(hours=6)
    )

    assert publishing(noon.index, rules).mint(signed(GITHUB_SAYS)).expires == NOON + 1 + 21600


def test_a_project_that_does_not_exist_yet(noon: World) -> None:
    """A publisher's first upload makes the project, and the journal says who made it."""
    desk = publishing(noon.index)
    token = desk.mint(signed(GITHUB_SAYS)).token

    noon.upload(make_wheel("mylib"), bearer(desk, token))

    project = noon.index.projects.get(parse_name("mylib"))
    assert [file.filename for file in project.files] == ["mylib-1.0-py3-none-any.whl"]
    assert {
        event.by for commit in history(noon.index, project.name) for event in commit.events
    } == {"publisher:gh-mylib"}


def test_several_publishers_at_once(noon: World) -> None:
    """A job that is several publishers' gets one token for all their projects."""
    tables = [GITHUB, {**GITHUB, "id": "also", "projects": ["mylib", "other"]}]
    rules = PublishingRules(publishers=parse_publishers(tables), audiences=(AUDIENCE,))
    desk = publishing(noon.index, rules)

    minted = desk.mint(signed(GITHUB_SAYS))

    assert minted.record.projects == ("mylib", "other")
    assert bearer(desk, minted.token).principal == "publisher:gh-mylib,also"


def test_the_store_never_has_a_secret(noon: World) -> None:
    """Neither the token nor the statement can be read in the store, or in what is logged."""
    statement = signed(GITHUB_SAYS)
    desk = publishing(noon.index)
    minted = desk.mint(statement)

    everything = b"".join(key.encode() + body for key, body in noon.snapshot().items()).decode()
    for secret in (minted.token.text, minted.token.text[14:46], statement.split(".")[1]):
        assert secret not in everything
        assert secret not in str(minted.trace)
    assert minted.trace["run"].endswith("/octo-org/octo-repo/actions/runs/1234567890")


def test_a_record_that_somebody_made(noon: World) -> None:
    """The record of a token that a person made is stored as it was before there were publishers."""
    token, record = noon.index.tokens.create(TokenRequest(name="ci"), by="local:alice")

    assert b"publishers" not in noon.bytes_at(keys.token(token.id))
    assert record.publishers == ()
    assert publishing(noon.index).identity(record) is None


@pytest.mark.parametrize("says", SINGLE_USE, ids=lambda each: str(each["iss"]))
def test_replay(noon: World, says: Table) -> None:
    """A statement is good for one token, in whatever process it is shown again."""
    assert refusal(publishing(noon.index), says) == ""

    for index in (noon.index, noon.opened(2)):
        assert refusal(publishing(index), says) == INVALID_REUSE
    assert refusal(publishing(noon.index), {**says, "jti": "another"}) == ""


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


def test_the_same_mark_of_two_issuers(noon: World) -> None:
    """What one issuer's statement is marked with says nothing of another issuer's."""
    desk = publishing(noon.index)

    for says in SINGLE_USE:
        assert refusal(desk, {**says, "jti": "same"}) == ""


def test_digest() -> None:
    """A used statement is the SHA-256 of its issuer, a NUL and its mark."""
    digest = digest_of("https://token.actions.githubusercontent.com", "abc-jti")

    assert digest == "e135cbc74a952000e26a68b66a4f2a481d5e0bb2ad94f87e59beb1d8c56d8638"
    assert keys.claim(MOMENT, digest) == f"credentials/claims/2026111812/{digest}.json"


def test_half_a_character(noon: World) -> None:
    """A statement with half a character in it, which JSON can hold, is refused as none."""
    assert refusal(publishing(noon.index), {**GITHUB_SAYS, "jti": "\ud800"}) == INVALID_PAYLOAD


@given(st.text(st.characters()), st.text(st.characters()))
@example("\ud800", "\udfff")
def test_digests_are_apart(one: str, two: str) -> None:
    """Two marks of an issuer are never taken for each other."""
    assert (digest_of("https://a", one) == digest_of("https://a", two)) is (one == two)


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


def test_a_mistake_does_not_cost_the_statement(noon: World) -> None:
    """A statement that was refused for its claims can be used once the publisher is right."""
    wrong = PublishingRules(
        publishers=(publisher(GITHUB, environment="other"),), audiences=(AUDIENCE,)
    )
    elsewhere = PublishingRules(publishers=RULES.publishers, audiences=("elsewhere",))

    assert refusal(publishing(noon.index, wrong), GITHUB_SAYS) == INVALID_PUBLISHER
    assert refusal(publishing(noon.index, elsewhere), GITHUB_SAYS) == INVALID_TOKEN
    assert noon.snapshot("credentials/") == {}
    assert refusal(publishing(noon.index), GITHUB_SAYS) == ""


@pytest.mark.parametrize(
    ("says", "claims", "code"),
    [
        (GITHUB_SAYS, {"repository_id": "666"}, INVALID_PUBLISHER),
        (GITHUB_SAYS, {"repository_owner_id": "666"}, INVALID_PUBLISHER),
        (GITHUB_SAYS, {"event_name": "pull_request_target"}, INVALID_PUBLISHER),
        (GITHUB_SAYS, {"workflow_ref": "evil/x/.github/workflows/release.yml@refs/heads/main"}, ""),
        (GITLAB_SAYS, {"pipeline_source": "merge_request_event"}, INVALID_PUBLISHER),
        (GITLAB_SAYS, {"iss": "https://gitlab.evil.example"}, INVALID_PAYLOAD),
        (GITLAB_SAYS, {"iss": "https://gitlab.com/"}, INVALID_PAYLOAD),
        (BUILDKITE_SAYS, {"build_branch": "x@main"}, INVALID_PUBLISHER),
        (GOOGLE_SAYS, {"sub": "9" * 21}, INVALID_PUBLISHER),
        (GOOGLE_SAYS, {"iss": "https://accounts.google.com.evil.example"}, INVALID_PAYLOAD),
        (OIDC_SAYS, {"sub": "system:serviceaccount:evil:publisher"}, INVALID_PUBLISHER),
        (GITHUB_SAYS, {"aud": "https://other.example"}, INVALID_TOKEN),
        (GITHUB_SAYS, {"aud": [AUDIENCE]}, INVALID_TOKEN),
        (GITHUB_SAYS, {"aud": None}, INVALID_TOKEN),
        (GITHUB_SAYS, {"exp": NOON + 10**6}, INVALID_PUBLISHER),
    ],
)
def test_nobodys_statement(noon: World, says: Table, claims: Table, code: str) -> None:
    """A statement of somebody else, or for something else, gets no token and leaves nothing."""
    assert refusal(publishing(noon.index), {**says, **claims}) == (code or INVALID_PUBLISHER)

    assert noon.snapshot("credentials/") == {}


def test_what_a_refusal_tells(noon: World) -> None:
    """A refusal names the claim and its value, and nothing of what the operator has written."""
    desk = publishing(noon.index)

    with pytest.raises(Invalid) as caught:
        desk.mint(signed({**GITHUB_SAYS, "environment": "staging"}))

    assert "environment is 'staging'" in caught.value.message
    assert "'release'" not in caught.value.message
    assert "mylib" not in caught.value.message


@pytest.mark.parametrize("issuer", ["http://169.254.169.254/", "file:///etc/passwd", "", "é"])
def test_an_issuer_that_nobody_configured(noon: World, issuer: str) -> None:
    """Nothing is verified, and so nothing fetched, for an issuer that a statement makes up."""
    asked = list[str]()

    def verify(statement: str) -> Mapping[str, object]:
        asked.append(statement)
        return genuine(statement)

    desk = publishing(noon.index, verify=verify)

    assert refusal(desk, {**GITHUB_SAYS, "iss": issuer}) == INVALID_PAYLOAD
    assert asked == []


@pytest.mark.parametrize(
    "statement",
    [
        "",
        ".",
        "..",
        "a.b",
        "a.b.c",
        "a.b.c.d",
        "a.b.c.d.e",
        "é.é.é",
        "wyd_" + "0" * 48,
        signed(GITHUB_SAYS).rpartition(".")[0] + ".",
        signed(GITHUB_SAYS).partition(".")[2],
        f"{signed(GITHUB_SAYS)}.x",
        signed({**GITHUB_SAYS, "jti": "x" * 2**20}),
        signed({**GITHUB_SAYS, "iss": None}),
        signed({**GITHUB_SAYS, "iss": ["https://gitlab.com"]}),
        "a." + urlsafe_b64encode(b"[" * 5000).decode() + ".c",
        "a." + urlsafe_b64encode(b'"text"').decode() + ".c",
        "a." + urlsafe_b64encode(b'{"iss":"\xff"}').decode() + ".c",
    ],
)
def test_no_statement_at_all(noon: World, statement: str) -> None:
    """What is no signed statement is refused as that, before anything else."""
    with pytest.raises(Invalid) as caught:
        publishing(noon.index).mint(statement)

    assert caught.value.code == INVALID_PAYLOAD


@given(st.text() | st.from_regex(r"[\w-]*\.[\w-]*\.[\w-]*", fullmatch=True))
def test_any_text(statement: str) -> None:
    """Whatever text is sent, it is refused as no statement."""
    desk = publishing(World(Path()).index)

    with pytest.raises(Invalid) as caught:
        desk.mint(statement)

    assert caught.value.code == INVALID_PAYLOAD


def test_a_statement_that_does_not_hold(noon: World) -> None:
    """A signature, a time or an audience that does not hold is an invalid token."""

    def verify(statement: str) -> Mapping[str, object]:
        raise Unauthenticated(f"No: {statement}")

    with pytest.raises(Invalid) as caught:
        publishing(noon.index, verify=verify).mint(signed(GITHUB_SAYS))

    assert caught.value.code == INVALID_TOKEN
    assert signed(GITHUB_SAYS) not in caught.value.message


def test_a_statement_that_changes(noon: World) -> None:
    """What is read before the signature is verified is believed by nobody."""

    def verify(_: str) -> Mapping[str, object]:
        return {**GITHUB_SAYS, "iss": "https://gitlab.com"}

    with pytest.raises(Invalid) as caught:
        publishing(noon.index, verify=verify).mint(signed(GITHUB_SAYS))

    assert caught.value.code == INVALID_PUBLISHER


def test_an_issuer_that_does_not_answer(noon: World) -> None:
    """Where the issuer's keys cannot be had, the job may try again with the same statement."""

    def verify(_: str) -> Mapping[str, object]:
        raise Unavailable("The issuer does not answer.")

    with pytest.raises(Unavailable):
        publishing(noon.index, verify=verify).mint(signed(GITHUB_SAYS))

    assert refusal(publishing(noon.index), GITHUB_SAYS) == ""


@pytest.mark.parametrize(
    "rules",
    [
        PublishingRules(),
        PublishingRules(publishers=RULES.publishers),
        PublishingRules(audiences=RULES.audiences),
    ],
)
def test_nobody_publishes_so(noon: World, rules: PublishingRules) -> None:
    """Without a publisher or an audience there is no trusted publishing, and it says so."""
    assert refusal(publishing(noon.index, rules), GITHUB_SAYS) == NOT_ENABLED


def test_codes() -> None:
    """A refusal has one of five codes, which clients know by these names."""
    assert sorted(REFUSALS) == [
        "invalid-payload",
        "invalid-publisher",
        "invalid-reuse-token",
        "invalid-token",
        "not-enabled",
    ]


@pytest.mark.parametrize("kind", [Kind.NOT_DONE, Kind.DONE])
@pytest.mark.parametrize("key", [f"{keys.CLAIMS}*", f"{keys.TOKENS}*"])
def test_a_store_that_does_not_answer(noon: World, kind: Kind, key: str) -> None:
    """Where the store fails there is no token, and never two for one statement."""
    faulty = FaultyStore(noon.store, (Fault(kind, "put", key),))
    with pytest.raises(Unavailable):
        publishing(over(faulty, noon)).mint(signed(GITHUB_SAYS))

    was_used = kind is Kind.DONE or key.startswith(keys.TOKENS)
    assert refusal(publishing(noon.index), GITHUB_SAYS) == (INVALID_REUSE if was_used else "")
    assert refusal(publishing(noon.index), {**GITHUB_SAYS, "jti": "another"}) == ""


def test_a_process_that_dies(noon: World) -> None:
    """If the process dies between the two writes, the job needs another statement, and gets on."""
    faulty = FaultyStore(noon.store, (Fault(Kind.CRASH, "put", f"{keys.TOKENS}*"),))
    with pytest.raises(Crash):
        publishing(over(faulty, noon)).mint(signed(GITHUB_SAYS))

    assert refusal(publishing(noon.index), GITHUB_SAYS) == INVALID_REUSE
    assert refusal(publishing(noon.index), {**GITHUB_SAYS, "jti": "another"}) == ""
    assert len(noon.index.tokens.all()) == 1


def test_an_id_that_is_taken(noon: World) -> None:
    """A token whose id is somebody else's is made again, and theirs stays what it was."""
    twin = publishing(over(noon.store, noon, seed=99))
    theirs, _ = over(noon.store, noon, seed=99).tokens.create(TokenRequest(name="ci"), by="bob")

    ours = twin.mint(signed(GITHUB_SAYS)).token

    assert ours.id != theirs.id
    (used,) = noon.snapshot(keys.CLAIMS).values()
    assert theirs.id.encode() in used
    noon.index.tokens.record(theirs)
    noon.clock.advance(days=100)
    twin.sweep()
    assert {each.name for each in noon.index.tokens.all()} == {"ci", "publisher:gh-mylib"}


def test_burning(noon: World) -> None:
    """A job can have its token revoked when it is done, and again, in any process."""
    token = publishing(noon.index).mint(signed(GITHUB_SAYS)).token
    other = publishing(noon.opened(2))

    assert other.burn(token.text)
    assert other.burn(token.text)

    with pytest.raises(Unauthenticated):
        noon.index.tokens.record(token)
    assert noon.index.tokens.all()[0].revoked_by == "publisher:gh-mylib"
    assert refusal(other, GITHUB_SAYS) == INVALID_REUSE


def test_burning_what_a_person_made(noon: World) -> None:
    """Nobody can have a long-lived token revoked, not even with the whole token in hand."""
    token, _ = noon.index.tokens.create(TokenRequest(name="ci"), by="local:alice")

    assert not publishing(noon.index).burn(token.text)

    noon.index.tokens.record(token)


def test_burning_what_is_not_ones_own(noon: World) -> None:
    """The id of a minted token is not enough to have it revoked, and nothing else either."""
    desk = publishing(noon.index)
    token = desk.mint(signed(GITHUB_SAYS)).token
    other = desk.mint(signed(GITLAB_SAYS)).token
    forged = over(noon.store, noon, seed=3).tokens.create(TokenRequest(name="x"), by="x")[0]

    for text in ("", token.id, token.text[:-1], f" {token.text}", signed(GITHUB_SAYS)):
        assert not desk.burn(text)
    assert not desk.burn(token.text[:14] + other.text[14:])
    assert not desk.burn(forged.text)

    noon.index.tokens.record(token)


def test_burning_with_the_wrong_secret(noon: World) -> None:
    """A well-formed token with a minted token's id and another secret burns nothing."""
    token = publishing(noon.index).mint(signed(GITHUB_SAYS)).token
    record = noon.index.tokens.all()[0]
    swapped = TokenRecord(
        id=record.id,
        sha256="0" * 64,
        name=record.name,
        actions=record.actions,
        projects=record.projects,
        created_at=record.created_at,
        created_by=record.created_by,
        expires_at=record.expires_at,
        publishers=record.publishers,
    )
    store = noon.opened(2).tokens.credentials
    assert store.replace(swapped, store.latest(record.id))

    assert not publishing(noon.opened(3)).burn(token.text)

    assert noon.index.tokens.all()[0].revoked_at is None


def test_a_publisher_that_is_taken_away(noon: World) -> None:
    """A token dies with its publisher, and when nobody publishes so any more."""
    record = publishing(noon.index).mint(signed(GITHUB_SAYS)).record
    others = PublishingRules(publishers=RULES.publishers[1:], audiences=RULES.audiences)

    assert publishing(noon.index).identity(record) is not None
    assert publishing(noon.index, others).identity(record) is None
    assert publishing(noon.index, PublishingRules()).identity(record) is None


def test_a_publisher_that_changes(noon: World) -> None:
    """A token opens what its publisher may do now, and never more than when it was minted."""
    record = publishing(noon.index).mint(signed(GITHUB_SAYS)).record

    def scopes(*projects: str) -> tuple[str, ...]:
        changed = publisher(GITHUB, projects=list(projects))
        rules = PublishingRules(publishers=(changed,), audiences=(AUDIENCE,))
        identity = publishing(noon.index, rules).identity(record)
        assert identity is not None
        (scope,) = identity.scopes
        return scope.projects

    assert scopes("mylib", "other") == (parse_pattern("mylib"),)
    assert scopes("other") == ()


def test_one_of_several_publishers_is_taken_away(noon: World) -> None:
    """A token of two publishers opens the other's projects when one of them is taken away."""
    tables = [GITHUB, {**GITHUB, "id": "also", "projects": ["other"]}]
    both = parse_publishers(tables)
    desk = publishing(noon.index, PublishingRules(publishers=both, audiences=(AUDIENCE,)))
    record = desk.mint(signed(GITHUB_SAYS)).record

    left = PublishingRules(publishers=both[1:], audiences=(AUDIENCE,))
    identity = publishing(noon.index, left).identity(record)

    assert identity is not None
    assert identity.principal == "publisher:also"
    assert [scope.projects for scope in identity.scopes] == [("other",)]


def test_sweeping(noon: World) -> None:
    """What is long past goes, statements and tokens; what somebody made stays."""
    made, _ = noon.index.tokens.create(TokenRequest(name="ci"), by="local:alice")
    desk = publishing(noon.index)
    for says in (GITHUB_SAYS, GITLAB_SAYS, GOOGLE_SAYS):
        desk.mint(signed(says))
    noon.clock.advance(hours=2, minutes=16)
    assert desk.sweep() == 0

    noon.clock.advance(minutes=1)

    assert desk.sweep() == 3
    assert [record.id for record in noon.index.tokens.all()] == [made.id]
    assert noon.snapshot(keys.CLAIMS) == {}
    assert desk.sweep() == 0
    assert noon.check().problems == noon.check().notes == []


def test_no_statement_is_forgotten_too_early(noon: World) -> None:
    """As long as any clock would take a statement, it is known to have been used."""
    desk = publishing(noon.index)
    assert refusal(desk, GITHUB_SAYS) == ""
    noon.clock.now = datetime.fromtimestamp(NOON + MINUTES, UTC) + timedelta(minutes=10)

    desk.sweep()

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

    assert desk.sweep() == 3

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
        publishing(over(faulty, noon)).sweep()


def test_a_life_that_is_made_shorter(noon: World) -> None:
    """A token that was minted for hours is not swept before it is dead."""
    long = PublishingRules(
        publishers=RULES.publishers, audiences=RULES.audiences, lifetime=timedelta(hours=6)
    )
    token = publishing(noon.index, long).mint(signed(GITHUB_SAYS)).token
    noon.clock.advance(hours=3)

    assert publishing(noon.index).sweep() == 0

    noon.index.tokens.record(token)


def test_gitlab_of_ones_own(noon: World) -> None:
    """A mark that one instance has used is free for another."""
    ours = {**GITLAB, "id": "own", "issuer": "https://gitlab.acme.dev"}
    rules = PublishingRules(publishers=parse_publishers([GITLAB, ours]), audiences=(AUDIENCE,))
    desk = publishing(noon.index, rules)
    uri = "gitlab.acme.dev/group/tools//.gitlab-ci.yml@refs/heads/main"
    says = {**GITLAB_SAYS, "iss": "https://gitlab.acme.dev", "ci_config_ref_uri": uri}

    assert refusal(desk, GITLAB_SAYS) == ""
    assert refusal(desk, says) == ""
