"""Trusted publishing: a statement becomes a token, and the token dies soon."""

import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace as changed

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
from wheelyard.model.token import Token, parse_token
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

    identity = desk.identity(minted.record)
    assert identity is not None
    assert identity.principals == {f"publisher:{table['id']}", "anonymous"}
    who = bearer(publishing(noon.opened(2)), minted.token)
    assert who.principal == f"publisher:{table['id']}"
    assert who.may(Action.UPLOAD, project)
    assert who.may(Action.READ, project)
    assert not who.may(Action.MANAGE, project)
    assert not who.may_anywhere(Action.ADMIN)
    assert not who.may(Action.READ, parse_name("other"))
    assert not who.may(Action.READ, parse_name(f"{project}-more"))
    assert parse_token(minted.token.text) == minted.token


def test_a_quarter_of_an_hour(noon: World) -> None:
    """A minted token lives for fifteen minutes, or longer if so set, up to a whole second."""
    rules = PublishingRules(
        publishers=RULES.publishers, audiences=RULES.audiences, lifetime=timedelta(hours=6)
    )
    later = {**GITHUB_SAYS, "jti": "later"}
    assert publishing(noon.index, rules).mint(signed(later)).expires == NOON + 1 + 21600
    noon.clock.advance(microseconds=1)
    desk = publishing(noon.index)
    minted = desk.mint(signed(GITHUB_SAYS))

    assert minted.expires == NOON + 1 + 900 + 1
    noon.clock.now = datetime.fromtimestamp(minted.expires, UTC) - timedelta(microseconds=1)
    noon.index.tokens.record(minted.token)
    noon.clock.advance(microseconds=1)
    with pytest.raises(Unauthenticated):
        noon.index.tokens.record(minted.token)


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


def test_an_id_that_is_taken(noon: World) -> None:
    """A token whose id is somebody else's is made again, and theirs stays what it was."""
    twin = publishing(over(noon.store, noon, seed=99))
    theirs, _ = over(noon.store, noon, seed=99).tokens.create(TokenRequest(name="ci"), by="bob")
    assert b"publishers" not in noon.bytes_at(keys.token(theirs.id))

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


def test_burning_what_is_not_ones_own(noon: World) -> None:
    """Only who has the whole of a minted token can have it revoked, and no token of a person."""
    desk = publishing(noon.index)
    token, other = (desk.mint(signed(says)).token for says in (GITHUB_SAYS, GITLAB_SAYS))
    persons, _ = over(noon.store, noon, seed=3).tokens.create(TokenRequest(name="x"), by="x")
    swapped = Token(token.text[:14] + other.text[14:])
    credentials = noon.opened(2).tokens.credentials
    held = credentials.latest(other.id)
    assert held.value is not None
    assert credentials.replace(changed(held.value, sha256="0" * 64), held)

    for text in ("", token.id, token.text[:-1], f" {token.text}", signed(GITHUB_SAYS)):
        assert not desk.burn(text)
    for each in (swapped, persons, other):
        assert not publishing(noon.opened(4)).burn(each.text)

    assert {each.revoked_at for each in noon.index.tokens.all()} == {None}


def test_a_publisher_that_is_taken_away(noon: World) -> None:
    """A token dies with its publishers; while one of several is left, it opens that one's."""
    also = {**GITHUB, "id": "also", "projects": ["other"]}
    both = parse_publishers([GITHUB, also])
    desk = publishing(noon.index, PublishingRules(publishers=both, audiences=(AUDIENCE,)))
    record = desk.mint(signed(GITHUB_SAYS)).record

    left = PublishingRules(publishers=both[1:], audiences=(AUDIENCE,))
    identity = publishing(noon.index, left).identity(record)

    assert record.projects == ("mylib", "other")
    assert record.created_by == "publisher:gh-mylib,also"
    assert identity is not None
    assert identity.principal == "publisher:also"
    assert [scope.projects for scope in identity.scopes] == [("other",)]
    none = PublishingRules(publishers=parse_publishers([GITLAB]), audiences=(AUDIENCE,))
    assert publishing(noon.index, none).identity(record) is None


def test_a_publisher_that_changes(noon: World) -> None:
    """A token opens what its publisher may do now, and never more than when it was minted."""
    record = publishing(noon.index).mint(signed(GITHUB_SAYS)).record

    def scopes(*projects: str) -> tuple[str, ...]:
        other = publisher(GITHUB, projects=list(projects))
        rules = PublishingRules(publishers=(other,), audiences=(AUDIENCE,))
        identity = publishing(noon.index, rules).identity(record)
        assert identity is not None
        (scope,) = identity.scopes
        return scope.projects

    assert scopes("mylib", "other") == (parse_pattern("mylib"),)
    assert scopes("other") == ()


def test_gitlab_of_ones_own(noon: World) -> None:
    """A mark that one instance has used is free for another."""
    ours = {**GITLAB, "id": "own", "issuer": "https://gitlab.acme.dev"}
    rules = PublishingRules(publishers=parse_publishers([GITLAB, ours]), audiences=(AUDIENCE,))
    desk = publishing(noon.index, rules)
    uri = "gitlab.acme.dev/group/tools//.gitlab-ci.yml@refs/heads/main"
    says = {**GITLAB_SAYS, "iss": "https://gitlab.acme.dev", "ci_config_ref_uri": uri}

    assert refusal(desk, GITLAB_SAYS) == ""
    assert refusal(desk, says) == ""
