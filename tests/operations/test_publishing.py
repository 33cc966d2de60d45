"""Trusted publishing: a statement becomes a token, and the token dies soon."""

import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.catalog.faulty import Crash, Fault, FaultyStore, Kind
from tests.model.jobs import (
    AUDIENCE,
    GITHUB,
    GITHUB_SAYS,
    GITLAB,
    GITLAB_SAYS,
    JOBS,
    NOON,
    Table,
    publisher,
)
from tests.operations.making import make_wheel
from tests.operations.minting import RULES, bearer, over, publishing, refusal, signed
from tests.operations.world import World, history
from wheelyard.catalog import keys
from wheelyard.errors import Unauthenticated
from wheelyard.model.access import Action, Credential, parse_pattern
from wheelyard.model.distribution import parse_name
from wheelyard.model.publisher import parse_publishers
from wheelyard.model.token import TokenRecord, parse_token
from wheelyard.operations.publishing import (
    INVALID_REUSE,
    PublishingRules,
)
from wheelyard.operations.tokens import TokenRequest
from wheelyard.trust.verifier import Refused


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


def test_a_minted_token_as_a_password(noon: World) -> None:
    """A minted token opens the index for its publisher, and nothing once that is gone."""
    desk = publishing(noon.index)
    token = Credential("__token__", desk.mint(signed(GITHUB_SAYS)).token.text)

    caller = replace(noon.index.doors, publishing=desk).caller(token, "192.0.2.7")

    assert caller.principal == "publisher:gh-mylib"
    assert caller.may(Action.UPLOAD, parse_name("mylib"))
    assert not caller.may(Action.UPLOAD, parse_name("other"))
    others = replace(RULES, publishers=parse_publishers([GITLAB]))
    for gone in (None, publishing(noon.index, others)):
        with pytest.raises(Unauthenticated) as caught:
            replace(noon.index.doors, publishing=gone).caller(token, "192.0.2.7")
        assert isinstance(caught.value.__cause__, Refused)
        assert caught.value.__cause__.reason == "publisher_gone"


def test_several_publishers_at_once(noon: World) -> None:
    """A job that is several publishers' gets one token for all their projects."""
    tables = [GITHUB, {**GITHUB, "id": "also", "projects": ["mylib", "other"]}]
    rules = PublishingRules(publishers=parse_publishers(tables), audiences=(AUDIENCE,))
    desk = publishing(noon.index, rules)

    minted = desk.mint(signed(GITHUB_SAYS))

    assert minted.record.projects == ("mylib", "other")
    assert bearer(desk, minted.token).principal == "publisher:gh-mylib,also"


def test_the_store_never_has_a_secret(noon: World, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the token nor the statement can be read in the store, or in what is logged."""
    caplog.set_level(logging.DEBUG)
    statement = signed(GITHUB_SAYS)
    desk = publishing(noon.index)
    minted = desk.mint(statement)

    everything = b"".join(key.encode() + body for key, body in noon.snapshot().items()).decode()
    for secret in (minted.token.text, minted.token.text[14:46], statement.split(".")[1]):
        assert secret not in everything
        assert secret not in caplog.text
    assert "/octo-org/octo-repo/actions/runs/1234567890" in caplog.text


def test_a_record_that_somebody_made(noon: World) -> None:
    """The record of a token that a person made is stored as it was before there were publishers."""
    token, record = noon.index.tokens.create(TokenRequest(name="ci"), by="local:alice")

    assert b"publishers" not in noon.bytes_at(keys.token(token.id))
    assert record.publishers == ()
    assert publishing(noon.index).identity(record) is None


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
    twin.spent.sweep()
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


def test_gitlab_of_ones_own(noon: World) -> None:
    """A mark that one instance has used is free for another."""
    ours = {**GITLAB, "id": "own", "issuer": "https://gitlab.acme.dev"}
    rules = PublishingRules(publishers=parse_publishers([GITLAB, ours]), audiences=(AUDIENCE,))
    desk = publishing(noon.index, rules)
    uri = "gitlab.acme.dev/group/tools//.gitlab-ci.yml@refs/heads/main"
    says = {**GITLAB_SAYS, "iss": "https://gitlab.acme.dev", "ci_config_ref_uri": uri}

    assert refusal(desk, GITLAB_SAYS) == ""
    assert refusal(desk, says) == ""
