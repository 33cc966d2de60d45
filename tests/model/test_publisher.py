"""Trusted publishers: which statements are from whom."""

import reprlib

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tests.model.jobs import (
    BUILDKITE,
    BUILDKITE_SAYS,
    GITHUB,
    GITHUB_SAYS,
    GITLAB,
    GITLAB_SAYS,
    GOOGLE,
    GOOGLE_SAYS,
    JOBS,
    NOON,
    OIDC,
    OIDC_SAYS,
    Table,
    publisher,
)
from tests.model.statements import ANYTHING, PIPELINE, SHA, WORKFLOW, matches, wrong
from wheelyard.model.claim_matchers import find_claim
from wheelyard.model.publisher import nearest_mismatch, publishing_log_fields

MAY_BE_MISSING = {"job_namespace_id", "job_project_id", "job_project_path"}
"""Claims that older servers do not make."""


@pytest.mark.parametrize(("table", "says"), JOBS, ids=lambda value: str(value.get("provider", "")))
def test_a_publishers_own_job_may_publish(table: Table, says: Table) -> None:
    """The job that a publisher was written for may publish."""
    assert matches(publisher(table), says) is None


@pytest.mark.parametrize("table", [table for table, _ in JOBS], ids=lambda value: value["provider"])
def test_an_id_token_of_another_provider_is_refused(table: Table) -> None:
    """A statement of any other provider is not from this publisher."""
    for other, says in JOBS:
        if other is not table:
            assert wrong(table, says) == "iss"


@pytest.mark.parametrize(("table", "says"), JOBS, ids=lambda value: str(value.get("provider", "")))
def test_every_claim_is_needed(table: Table, says: Table) -> None:
    """A statement that lacks any claim which is looked at is refused, and the claim is named."""
    for check in publisher(table).checks(says):
        if check.claim not in MAY_BE_MISSING:
            for broken in ({**says, check.claim: None}, {**says, check.claim: {}}):
                words = matches(publisher(table), broken)
                assert words is not None
                assert check.claim in words


@given(st.sampled_from(JOBS), st.data())
def test_any_form_of_a_claim_is_answered(job: tuple[Table, Table], data: st.DataObject) -> None:
    """Whatever a signed claim holds, the answer is yes or no, and never a failure."""
    table, says = job
    who = publisher(table)
    claim = data.draw(st.sampled_from([check.claim for check in who.checks(says)]))
    value = data.draw(ANYTHING)

    words = matches(who, {**says, claim: value})

    if not isinstance(value, str | int | float) and claim not in MAY_BE_MISSING:
        assert words is not None
        assert words.isascii()
        assert len(words) < 200


@given(st.dictionaries(st.sampled_from(sorted(GITHUB_SAYS)), ANYTHING))
def test_a_stranger_learns_nothing(claims: dict[str, object]) -> None:
    """A job of another repository is not told the expected claims."""
    claims = {**GITHUB_SAYS, **claims, "repository_owner_id": "666"}

    words = matches(publisher(GITHUB, environment="vault"), claims)

    assert words is not None
    assert "123456" not in words
    assert "vault" not in words


@given(st.text(min_size=1, max_size=4), st.text(min_size=1, max_size=4))
@example("release", "ReLease")
@example("release", "relea\u017fe")
@example("k", "\u212a")
@example("\u0131", "I")
def test_only_the_case_of_a_to_z_is_ignored(wanted: str, environment: str) -> None:
    """Where a provider ignores case it is that of a-z alone: no look-alike folds into a letter."""
    assume(wanted.isprintable())
    is_same = wanted.encode().lower() == environment.encode("utf-8", "replace").lower()

    mismatch = wrong({**GITHUB, "environment": wanted}, GITHUB_SAYS, environment=environment)

    assert (mismatch == "") is is_same


def test_a_resurrected_repository_publishes_nothing() -> None:
    """A stranger's repository under a name that was deleted is not the one that was meant."""
    assert wrong(GITHUB, GITHUB_SAYS, repository_id="999") == "repository_id"
    assert wrong(GITHUB, GITHUB_SAYS, repository_owner_id="999") == "repository_owner_id"
    assert wrong(GITLAB, GITLAB_SAYS, project_id="999") == "project_id"
    assert wrong(GITLAB, GITLAB_SAYS, namespace_id="999") == "namespace_id"
    assert wrong(GOOGLE, GOOGLE_SAYS, sub="9" * 21) == "sub"
    named = {**BUILDKITE, "pipeline_id": BUILDKITE_SAYS["pipeline_id"]}
    assert wrong(named, BUILDKITE_SAYS) == ""
    assert wrong(named, BUILDKITE_SAYS, pipeline_id="other") == "pipeline_id"


def test_the_subject_is_not_looked_at() -> None:
    """GitHub's and GitLab's owners may write the subject as they like; it is not looked at."""
    assert wrong(GITHUB, GITHUB_SAYS, sub="repo:octo-org/octo-repo:ref:refs/heads/main") == ""
    assert wrong(GITLAB, GITLAB_SAYS, sub=None) == ""


def test_a_branch_that_looks_like_a_tag_is_refused() -> None:
    """A branch named x@refs/tags/v1 is a branch, wherever an @ stands."""
    branch = "refs/heads/x@refs/tags/v1"
    ref = f"{WORKFLOW}@{branch}"
    claims = {"workflow_ref": ref, "job_workflow_ref": ref, "ref": branch, "ref_type": "branch"}

    assert wrong({**GITHUB, "ref": "refs/tags/v*"}, GITHUB_SAYS) == ""
    assert wrong({**GITHUB, "ref": "refs/tags/v*"}, GITHUB_SAYS, **claims) == "ref"
    assert wrong({**GITHUB, "ref_type": "tag"}, GITHUB_SAYS, **claims) == "ref_type"
    confused = {"ci_config_ref_uri": f"{PIPELINE}@{branch}"}
    assert wrong(GITLAB, GITLAB_SAYS, **confused) == "ci_config_ref_uri"
    tagged = {**confused, "ref_path": "refs/tags/v1"}
    assert wrong(GITLAB, GITLAB_SAYS, **tagged) == "ci_config_ref_uri"


def test_a_google_account_is_its_id_and_verified_address() -> None:
    """Google's service account is its id and its e-mail, which Google has to have verified."""
    assert wrong(GOOGLE, GOOGLE_SAYS, iss="accounts.google.com") == ""
    assert wrong(GOOGLE, GOOGLE_SAYS, email="other@acme-pay.iam.gserviceaccount.com") == "email"
    for verified in ("true", 1, False, None):
        assert wrong(GOOGLE, GOOGLE_SAYS, email_verified=verified) == "email_verified"
    on_a_machine = {**GOOGLE, "project_id": "acme-pay"}
    assert wrong(on_a_machine, GOOGLE_SAYS) == ""
    assert wrong(on_a_machine, GOOGLE_SAYS, google={}) == "google.compute_engine.project_id"
    assert not publisher(GOOGLE).is_single_use


def test_a_buildkite_job_is_its_organisation_pipeline_and_branch() -> None:
    """A Buildkite job is its organisation, its pipeline, and a branch or a tag."""
    assert wrong(BUILDKITE, BUILDKITE_SAYS, organization_slug="evil") == "organization_slug"
    assert wrong(BUILDKITE, BUILDKITE_SAYS, pipeline_slug="other") == "pipeline_slug"
    assert wrong(BUILDKITE, BUILDKITE_SAYS, build_branch="feature") == "build_branch"
    tagged = {**BUILDKITE, "build_tag": "v*"}
    assert wrong(tagged, BUILDKITE_SAYS) == "build_tag"
    assert wrong(tagged, BUILDKITE_SAYS, build_tag="v1.0") == ""
    for key in ("step_key", "build_source", "runner_environment", "organization_id"):
        assert wrong({**BUILDKITE, key: "other"}, BUILDKITE_SAYS) == key
    sub = "organization:acme:pipeline:ml-release:ref:refs/heads/x:commit:y:step:z"
    assert wrong(BUILDKITE, BUILDKITE_SAYS, sub=sub) == ""


@pytest.mark.parametrize(
    ("match", "fits"),
    [
        ({"sub": "system:serviceaccount:release:publisher"}, True),
        ({"sub": "system:serviceaccount:release:other"}, False),
        ({"kubernetes.io.namespace": "release", "groups": "publishers"}, True),
        ({"kubernetes.io.serviceaccount.name": "publisher", "trusted": True}, True),
        ({"kubernetes.io.namespace": "release", "trusted": False}, False),
        ({"kubernetes.io.namespace": "release", "groups": "admins"}, False),
        ({"kubernetes.io.namespace": "release", "trusted": True, "sub": "system:*"}, True),
        ({"kubernetes.io.namespace": "release", "trusted": True, "sub": "other:*"}, False),
        ({"kubernetes.io.namespace": "release", "trusted": True, "team": "a*"}, False),
        ({"sub": "system:serviceaccount:release:publisher", "groups": "pub*"}, True),
    ],
    ids=reprlib.repr,
)
def test_nested_claims_of_any_issuer_can_be_asked_for(match: Table, *, fits: bool) -> None:
    """Texts, beginnings of texts, truth, lists and nested claims can be asked for."""
    assert (wrong({**OIDC, "match": match}, OIDC_SAYS) == "") is fits


def test_an_ambiguous_claim_is_missing() -> None:
    """A claim whose name is ambiguous counts as missing."""
    assert find_claim({"a.b": "x"}, "a.b") == "x"
    assert find_claim({"a": {"b": "x"}}, "a.b") == "x"
    assert find_claim({"a": {"b": "x"}, "a.b": "y"}, "a.b") is None
    assert find_claim({"a": "x"}, "a.b") is None
    assert find_claim({"a": {"b.c": 1}, "a.b": {"c": 2}}, "a.b.c") is None


def test_an_id_token_that_lives_too_long_is_refused() -> None:
    """A statement for more than an hour is refused, unless its publisher allows more."""
    long = {"exp": NOON + 7200}

    assert wrong(GITLAB, GITLAB_SAYS, **long) == "exp"
    assert wrong({**GITLAB, "max_lifetime": 7200}, GITLAB_SAYS, **long) == ""
    for broken in ("soon", True, -1, 1e300, float("nan"), 10**400):
        assert wrong(GITLAB, GITLAB_SAYS, exp=broken) == "exp"
        assert wrong(GITLAB, GITLAB_SAYS, iat=broken) == "exp"


def test_a_refusal_names_the_claim_and_its_value() -> None:
    """A refusal names the claim and what it was, shortened, and nothing else."""
    who = publisher(GITHUB)

    assert matches(who, {**GITHUB_SAYS, "environment": "staging"}) == (
        "the claim environment is 'staging'"
    )
    assert matches(who, {**GITHUB_SAYS, "environment": None}) == (
        "the claim environment is not there"
    )
    long = matches(who, {**GITHUB_SAYS, "environment": "\x1b[31m" + "é" * 5000})
    assert long is not None
    assert len(long) < 300
    assert long.isascii()


def test_the_closest_publisher_says_what_is_wrong() -> None:
    """Of several publishers, the one that fits best says what is wrong."""
    others = [publisher(GITHUB, id=f"gh-{number}", repository_id=number) for number in (1, 2)]
    ours = publisher(GITHUB, id="ours")

    assert nearest_mismatch(
        [*others, ours, *others], {**GITHUB_SAYS, "environment": "staging"}
    ) == ("the claim environment is 'staging'")


def test_the_log_leads_to_the_run() -> None:
    """What the log has of a statement leads to the run, and can hide nothing in a terminal."""
    assert publishing_log_fields(publisher(GITHUB), GITHUB_SAYS) == {
        "issuer": "https://token.actions.githubusercontent.com",
        "subject": "repo:octo-org@123456/octo-repo@456789:environment:release",
        "commit": SHA,
        "run": "https://github.com/octo-org/octo-repo/actions/runs/1234567890",
    }
    assert publishing_log_fields(publisher(GITLAB), GITLAB_SAYS)["run"] == (
        "https://gitlab.com/group/tools/-/jobs/4711"
    )
    assert publishing_log_fields(publisher(BUILDKITE), BUILDKITE_SAYS)["run"] == (
        "https://buildkite.com/acme/ml-release/builds/175"
    )
    assert "run" not in publishing_log_fields(publisher(GITLAB), {**GITLAB_SAYS, "job_id": None})
    assert publishing_log_fields(publisher(OIDC), {"sub": "a\n\x1b" + "b" * 999})[
        "subject"
    ].isprintable()
