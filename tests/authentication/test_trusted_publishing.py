"""Trusted publishing: a statement becomes a token, and the token dies soon."""

import logging
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from msgspec.structs import replace as changed

from tests.authentication.publishing_fixture import (
    RULES,
    PublishingRules,
    bearer,
    genuine,
    publishing,
    refusal,
    signed,
)
from tests.distributions import make_wheel
from tests.fake_store import FakeStore, Fault, FaultKind
from tests.model.jobs import (
    AUDIENCE,
    BUILDKITE_SAYS,
    GITHUB,
    GITHUB_SAYS,
    GITLAB,
    GITLAB_SAYS,
    GOOGLE_SAYS,
    JOBS,
    NOON,
    OIDC_SAYS,
    Table,
    publisher,
)
from tests.operations.in_memory_index import IndexHarness, history
from tests.refused import refused
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.authentication.trusted_publishing import (
    INVALID_PAYLOAD,
    INVALID_TOKEN,
)
from wheelyard.authentication.verifiers.verifier import CredentialRejected
from wheelyard.catalog import keys
from wheelyard.errors import INVALID_PUBLISHER, INVALID_REUSE, Invalid, Unauthenticated, Unavailable
from wheelyard.model.access import Action, Credential, Scope, parse_pattern
from wheelyard.model.api_token import ApiToken, parse_token
from wheelyard.model.distribution_filename import parse_name
from wheelyard.model.index_name import MAIN
from wheelyard.model.publisher import parse_publisher


@pytest.mark.parametrize(("table", "says"), JOBS, ids=lambda value: str(value.get("provider", "")))
def test_a_job_gets_a_token(noon: IndexHarness, table: Table, says: Table) -> None:
    """The statement of a publisher's job becomes a token that may upload to its projects."""
    service = publishing(noon.index)
    (project,) = map(parse_name, publisher(table).projects)

    minted = service.mint(signed(says))

    identity = service.identity(minted.record)
    assert identity is not None
    assert minted.record.scope.indexes == (MAIN,)
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


def test_a_minted_token_lives_for_fifteen_minutes(noon: IndexHarness) -> None:
    """A minted token lives for fifteen minutes, or longer if so set, up to a whole second."""
    rules = PublishingRules(
        publishers=RULES.publishers, audiences=RULES.audiences, lifetime=timedelta(hours=6)
    )
    later = {**GITHUB_SAYS, "jti": "later"}
    assert publishing(noon.index, rules).mint(signed(later)).expires == NOON + 1 + 21600
    noon.clock.advance(microseconds=1)
    service = publishing(noon.index)
    minted = service.mint(signed(GITHUB_SAYS))

    assert minted.expires == NOON + 1 + 900 + 1
    noon.clock.now = datetime.fromtimestamp(minted.expires, UTC) - timedelta(microseconds=1)
    noon.index.tokens.get(minted.token)
    noon.clock.advance(microseconds=1)
    with pytest.raises(Unauthenticated):
        noon.index.tokens.get(minted.token)


def test_the_first_upload_of_a_publisher_makes_the_project(noon: IndexHarness) -> None:
    """A publisher's first upload makes the project, and the journal says who made it."""
    service = publishing(noon.index)
    token = service.mint(signed(GITHUB_SAYS)).token

    noon.upload(make_wheel("mylib"), bearer(service, token))

    project = noon.index.projects.get(parse_name("mylib"))
    assert [file.filename for file in project.files] == ["mylib-1.0-py3-none-any.whl"]
    assert {
        event.by for commit in history(noon.index, project.name) for event in commit.events
    } == {"publisher:gh-mylib"}


def test_a_minted_token_opens_the_index_until_its_publisher_is_gone(noon: IndexHarness) -> None:
    """A minted token opens the index for its publisher, and nothing once that is gone."""
    service = publishing(noon.index)
    token = Credential("__token__", service.mint(signed(GITHUB_SAYS)).token.text)

    caller = structs.replace(noon.index.authenticator, trusted_publishing=service).authenticate(
        token, "192.0.2.7"
    )

    assert caller.principal == "publisher:gh-mylib"
    assert caller.may(Action.UPLOAD, parse_name("mylib"))
    assert not caller.may(Action.UPLOAD, parse_name("other"))
    others = replace(RULES, publishers=(parse_publisher(GITLAB),))
    for gone in (None, publishing(noon.index, others)):
        with pytest.raises(Unauthenticated) as caught:
            structs.replace(noon.index.authenticator, trusted_publishing=gone).authenticate(
                token, "192.0.2.7"
            )
        assert isinstance(caught.value.__cause__, CredentialRejected)
        assert caught.value.__cause__.reason == "publisher_gone"


def test_the_store_never_has_a_secret(noon: IndexHarness, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the token nor the statement can be read in the store, or in what is logged."""
    caplog.set_level(logging.DEBUG)
    statement = signed(GITHUB_SAYS)
    service = publishing(noon.index)
    minted = service.mint(statement)

    everything = b"".join(key.encode() + body for key, body in noon.snapshot().items()).decode()
    for secret in (minted.token.text, minted.token.text[14:46], statement.split(".")[1]):
        assert secret not in everything
        assert secret not in caplog.text
    assert "/octo-org/octo-repo/actions/runs/1234567890" in caplog.text


def test_a_taken_token_id_is_replaced_by_another(noon: IndexHarness) -> None:
    """A token whose id is taken is created with another id; the existing token is unchanged."""
    twin = publishing(noon.opened(99))
    existing, _ = noon.opened(99).tokens.create(TokenRequest(name="ci"), by="bob")
    assert b"publishers" not in noon.bytes_at(keys.token(existing.id))

    minted = twin.mint(signed(GITHUB_SAYS)).token

    assert minted.id != existing.id
    (used,) = noon.snapshot(keys.USED_ID_TOKENS).values()
    assert existing.id.encode() in used
    noon.index.tokens.get(existing)
    noon.clock.advance(days=100)
    twin.cleanup.run()
    assert {each.name for each in noon.index.tokens.all()} == {
        *("ci", "https://github.com/octo-org/octo-repo/actions/runs/1234567890")
    }


def test_a_job_can_revoke_its_token(noon: IndexHarness) -> None:
    """A job can have its token revoked when it is done, and again, in any process."""
    token = publishing(noon.index).mint(signed(GITHUB_SAYS)).token
    other = publishing(noon.opened(2))

    assert other.revoke(token.text)
    assert other.revoke(token.text)

    with pytest.raises(Unauthenticated):
        noon.index.tokens.get(token)
    assert noon.index.tokens.all()[0].revoked_by == "publisher:gh-mylib"
    assert refusal(other, GITHUB_SAYS) == INVALID_REUSE


def test_only_the_bearer_of_a_minted_token_can_revoke_it(noon: IndexHarness) -> None:
    """Only who has the whole of a minted token can have it revoked, and no token of a person."""
    service = publishing(noon.index)
    token, other = (service.mint(signed(says)).token for says in (GITHUB_SAYS, GITLAB_SAYS))
    persons, _ = noon.opened(3).tokens.create(TokenRequest(name="x"), by="x")
    swapped = ApiToken(token.text[:14] + other.text[14:])
    credentials = noon.opened(2).tokens.records
    held = credentials.get_for_update(other.id)
    assert held.value is not None
    assert credentials.replace(changed(held.value, sha256="0" * 64), held)

    for text in ("", token.id, token.text[:-1], f" {token.text}", signed(GITHUB_SAYS)):
        assert not service.revoke(text)
    for each in (swapped, persons, other):
        assert not publishing(noon.opened(4)).revoke(each.text)

    assert {each.revoked_at for each in noon.index.tokens.all()} == {None}


def test_a_token_loses_the_rights_of_a_removed_publisher(noon: IndexHarness) -> None:
    """A token dies with its publishers; while one of several is left, it opens that one's."""
    also = {**GITHUB, "id": "also", "projects": ["other"]}
    both = (
        parse_publisher(GITHUB),
        parse_publisher(also),
    )
    service = publishing(noon.index, PublishingRules(publishers=both, audiences=(AUDIENCE,)))
    record = service.mint(signed(GITHUB_SAYS)).record

    left = PublishingRules(publishers=both[1:], audiences=(AUDIENCE,))
    identity = publishing(noon.index, left).identity(record)

    assert record.projects == ("mylib", "other")
    assert record.created_by == "publisher:gh-mylib,also"
    assert identity is not None
    assert identity.principal == "publisher:also"
    assert [scope.projects for scope in identity.scopes] == [("other",)]
    none = PublishingRules(publishers=(parse_publisher(GITLAB),), audiences=(AUDIENCE,))
    assert publishing(noon.index, none).identity(record) is None


def test_a_token_has_the_rights_of_its_publisher_now_and_never_more(noon: IndexHarness) -> None:
    """A token opens what its publisher may do now, and never more than when it was minted."""
    record = publishing(noon.index).mint(signed(GITHUB_SAYS)).record

    def scopes(*projects: str, actions: tuple[str, ...] = ("upload",)) -> tuple[Scope, ...]:
        other = publisher(GITHUB, projects=list(projects), actions=actions)
        rules = PublishingRules(publishers=(other,), audiences=(AUDIENCE,))
        identity = publishing(noon.index, rules).identity(record)
        assert identity is not None
        return identity.scopes

    mylib = (parse_pattern("mylib"),)
    assert scopes("mylib", "other") == (Scope(Action.UPLOAD.with_implied, mylib, (MAIN,)),)
    assert scopes("*", actions=("read",)) == (Scope(Action.READ, mylib, (MAIN,)),)
    assert scopes("other") == ()


@pytest.mark.parametrize("index", [MAIN, "dev"])
def test_a_job_goes_on_while_a_server_is_upgraded(noon: IndexHarness, index: str) -> None:
    """A job's token that names no index, as of an earlier version, is for that of its publisher."""
    record = publishing(noon.index).mint(signed(GITHUB_SAYS)).record
    rules = PublishingRules(publishers=(publisher(GITHUB, index=index),), audiences=(AUDIENCE,))

    identity = publishing(noon.index, rules).identity(structs.replace(record, in_index=None))

    assert identity is not None
    assert [scope.indexes for scope in identity.scopes] == [(index,)]


READER: Table = {**GITHUB, "id": "reader", "actions": ["read"], "projects": ["acme-*"]}


def test_a_publisher_that_reads_gives_tokens_that_only_read(noon: IndexHarness) -> None:
    """A publisher with the action read gives its jobs a token that reads, and does no more."""
    rules = PublishingRules(publishers=(parse_publisher(READER),), audiences=(AUDIENCE,))
    service = publishing(noon.index, rules)
    token = service.mint(signed(GITHUB_SAYS)).token

    who = bearer(service, token)

    assert who.principal == "publisher:reader"
    assert who.may(Action.READ, parse_name("acme-core"))
    assert not who.may_anywhere(Action.UPLOAD)
    assert not who.may(Action.READ, parse_name("mylib"))
    wider = PublishingRules(
        publishers=(publisher(READER, actions=["upload"], projects=["acme-core"]),),
        audiences=(AUDIENCE,),
    )
    assert not bearer(publishing(noon.index, wider), token).may_anywhere(Action.UPLOAD)


def test_a_job_of_two_publishers_has_the_rights_of_both(noon: IndexHarness) -> None:
    """A job of two publishers uploads to the projects of the one, and reads those of the other."""
    both = PublishingRules(
        publishers=(
            parse_publisher(GITHUB),
            parse_publisher(READER),
        ),
        audiences=(AUDIENCE,),
    )
    service = publishing(noon.index, both)

    who = bearer(service, service.mint(signed(GITHUB_SAYS)).token)

    assert who.principal == "publisher:gh-mylib,reader"
    assert who.may(Action.UPLOAD, parse_name("mylib"))
    assert who.may(Action.READ, parse_name("acme-core"))
    assert not who.may(Action.UPLOAD, parse_name("acme-core"))
    assert not who.may(Action.READ, parse_name("other"))


def test_two_issuers_may_use_one_token_id(noon: IndexHarness) -> None:
    """Two issuers may each have used one token id, and both jobs get a token."""
    own_gitlab = {**GITLAB, "id": "own", "issuer": "https://gitlab.acme.dev"}
    rules = PublishingRules(
        publishers=(
            parse_publisher(GITLAB),
            parse_publisher(own_gitlab),
        ),
        audiences=(AUDIENCE,),
    )
    service = publishing(noon.index, rules)
    uri = "gitlab.acme.dev/group/tools//.gitlab-ci.yml@refs/heads/main"
    says = {**GITLAB_SAYS, "iss": "https://gitlab.acme.dev", "ci_config_ref_uri": uri}

    assert refusal(service, GITLAB_SAYS) == ""
    assert refusal(service, says) == ""


def test_a_refused_id_token_can_be_used_once_the_publisher_is_right(noon: IndexHarness) -> None:
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
    ],
)
def test_other_jobs_get_no_token(noon: IndexHarness, says: Table, claims: Table, code: str) -> None:
    """An ID token of another job or audience gets no token, and nothing is stored for it."""
    assert refusal(publishing(noon.index), {**says, **claims}) == (code or INVALID_PUBLISHER)

    assert noon.snapshot("credentials/") == {}


def test_a_refusal_names_the_claim_and_no_setting(noon: IndexHarness) -> None:
    """A refusal names the claim and its value, and nothing of what the operator has written."""
    service = publishing(noon.index)

    with pytest.raises(Invalid) as caught:
        service.mint(signed({**GITHUB_SAYS, "environment": "staging"}))

    assert "environment is 'staging'" in caught.value.message
    assert "'release'" not in caught.value.message
    assert "mylib" not in caught.value.message


@pytest.mark.parametrize("issuer", ["http://169.254.169.254/", "file:///etc/passwd", "", "é"])
def test_nothing_is_verified_for_an_unknown_issuer(noon: IndexHarness, issuer: str) -> None:
    """Nothing is verified, and so nothing fetched, for an issuer that a statement makes up."""
    asked = list[str]()

    def verify(statement: str, _publishers: object) -> Mapping[str, object]:
        asked.append(statement)
        return genuine(statement)

    service = publishing(noon.index, verify=verify)

    assert refusal(service, {**GITHUB_SAYS, "iss": issuer}) == INVALID_PAYLOAD
    assert asked == []


@pytest.mark.parametrize(
    "statement",
    [
        *("", "..", "a.b.c", "a.b.c.d", "é.é.é"),
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
def test_what_is_no_signed_id_token_is_refused(noon: IndexHarness, statement: str) -> None:
    """A text that is no signed ID token is refused as an invalid payload."""
    with refused(Invalid, INVALID_PAYLOAD, match="This is no ID token: a signed JWT"):
        publishing(noon.index).mint(statement)


@given(st.text() | st.from_regex(r"[\w-]*\.[\w-]*\.[\w-]*", fullmatch=True))
def test_any_text_is_refused_as_no_id_token(statement: str) -> None:
    """Any text that is no ID token of an issuer is refused as an invalid payload."""
    service = publishing(IndexHarness(Path()).index)

    with refused(Invalid, INVALID_PAYLOAD):
        service.mint(statement)


def test_an_id_token_that_is_not_verified_is_refused(noon: IndexHarness) -> None:
    """An ID token that the verifier rejects is refused, and not repeated."""

    def verify(statement: str, _publishers: object) -> Mapping[str, object]:
        raise CredentialRejected(f"No: {statement}")

    with refused(Invalid, INVALID_TOKEN) as caught:
        publishing(noon.index, verify=verify).mint(signed(GITHUB_SAYS))

    assert signed(GITHUB_SAYS) not in caught.value.message


def test_claims_read_before_the_signature_are_not_trusted(noon: IndexHarness) -> None:
    """Claims that are read before the signature is verified are not trusted."""

    def verify(_: str, _publishers: object) -> Mapping[str, object]:
        return {**GITHUB_SAYS, "iss": "https://gitlab.com"}

    with refused(Invalid, INVALID_PUBLISHER):
        publishing(noon.index, verify=verify).mint(signed(GITHUB_SAYS))


def test_an_id_token_can_be_sent_again_after_an_outage_of_its_issuer(noon: IndexHarness) -> None:
    """Where the issuer's keys cannot be had, the job may try again with the same statement."""

    def verify(_: str, _publishers: object) -> Mapping[str, object]:
        raise Unavailable("The issuer does not answer.")

    with pytest.raises(Unavailable):
        publishing(noon.index, verify=verify).mint(signed(GITHUB_SAYS))

    assert refusal(publishing(noon.index), GITHUB_SAYS) == ""


@pytest.mark.parametrize("kind", [FaultKind.NOT_DONE, FaultKind.DONE])
@pytest.mark.parametrize("key", [f"{keys.USED_ID_TOKENS}*", f"{keys.TOKENS}*"])
def test_outage_never_gives_two_tokens(noon: IndexHarness, kind: FaultKind, key: str) -> None:
    """Where the store fails there is no token, and never two for one statement."""
    faulty = FakeStore(noon.store, Fault(kind, "put", key))
    with pytest.raises(Unavailable):
        publishing(noon.opened(5, faulty)).mint(signed(GITHUB_SAYS))

    was_used = kind is FaultKind.DONE or key.startswith(keys.TOKENS)
    assert refusal(publishing(noon.index), GITHUB_SAYS) == (INVALID_REUSE if was_used else "")
    assert refusal(publishing(noon.index), {**GITHUB_SAYS, "jti": "another"}) == ""
