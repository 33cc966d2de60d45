"""Which statements are refused, and what a job is told."""

from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.catalog.faulty import Fault, FaultyStore, Kind
from tests.model.jobs import (
    AUDIENCE,
    BUILDKITE_SAYS,
    GITHUB,
    GITHUB_SAYS,
    GITLAB_SAYS,
    GOOGLE_SAYS,
    NOON,
    OIDC_SAYS,
    Table,
    publisher,
)
from tests.operations.minting import RULES, genuine, over, publishing, refusal, signed
from tests.operations.world import World
from wheelyard.catalog import keys
from wheelyard.errors import Invalid, Unauthenticated, Unavailable
from wheelyard.operations.publishing import (
    INVALID_PAYLOAD,
    INVALID_PUBLISHER,
    INVALID_REUSE,
    INVALID_TOKEN,
    PublishingRules,
)


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
        (GITHUB_SAYS, {"event_name": "workflow_run"}, INVALID_PUBLISHER),
        (GITHUB_SAYS, {"workflow_ref": "evil/x/.github/workflows/release.yml@refs/heads/main"}, ""),
        (GITLAB_SAYS, {"pipeline_source": "merge_request_event"}, INVALID_PUBLISHER),
        (GITLAB_SAYS, {"pipeline_source": "parent_pipeline"}, INVALID_PUBLISHER),
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
