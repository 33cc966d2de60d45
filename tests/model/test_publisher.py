"""Trusted publishers: what a table may say, and which statements are from whom."""

from collections.abc import Mapping
from contextlib import suppress

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
from wheelyard.errors import Invalid
from wheelyard.model.providers import Issuer
from wheelyard.model.publisher import (
    closest,
    issuers_of,
    matches,
    parse_publisher,
    parse_publishers,
    trace,
)
from wheelyard.model.statement import find

WORKFLOW = "octo-org/octo-repo/.github/workflows/release.yml"
PIPELINE = "gitlab.com/group/tools//.gitlab-ci.yml"
PUBLISH = "octo-org/ci/.github/workflows/publish.yml"
REUSABLE = f"{PUBLISH}@refs/tags/v2"
SHA = "9898863c7dcd844a6fc3c70191769b8d07567f57"

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
"""Whatever JSON may hold."""


def wrong(table: Table, says: Mapping[str, object], **claims: object) -> str:
    """Return which claim of a statement is wrong, with some claims changed; empty if none is."""
    found = publisher(table).mismatch({**says, **claims})
    return found.claim if found else ""


@pytest.mark.parametrize(("table", "says"), JOBS, ids=lambda each: str(each.get("provider", "")))
def test_its_own_job(table: Table, says: Table) -> None:
    """The job that a publisher was written for may publish."""
    assert matches(publisher(table), says) is None


@pytest.mark.parametrize("table", [table for table, _ in JOBS], ids=lambda each: each["provider"])
def test_nobody_elses_job(table: Table) -> None:
    """A statement of any other provider is not from this publisher."""
    for other, says in JOBS:
        if other is not table:
            assert wrong(table, says) == "iss"


@pytest.mark.parametrize(("table", "says"), JOBS, ids=lambda each: str(each.get("provider", "")))
def test_every_claim_is_needed(table: Table, says: Table) -> None:
    """A statement that lacks any claim which is looked at is refused, and the claim is named."""
    for rule in publisher(table).rules:
        if not getattr(rule, "may_be_missing", False):
            for broken in ({**says, rule.claim: None}, {**says, rule.claim: {}}):
                words = matches(publisher(table), broken)
                assert words is not None
                assert rule.claim in words


@given(st.sampled_from(JOBS), st.data())
def test_a_claim_of_any_other_form(job: tuple[Table, Table], data: st.DataObject) -> None:
    """Whatever a signed claim holds, the answer is yes or no, and never a failure."""
    table, says = job
    who = publisher(table)
    rule = data.draw(st.sampled_from(who.rules))
    value = data.draw(ANYTHING)

    words = matches(who, {**says, rule.claim: value})

    if not isinstance(value, str | int | float) and not getattr(rule, "may_be_missing", False):
        assert words is not None
        assert words.isascii()
        assert len(words) < 200


@given(st.dictionaries(st.sampled_from(sorted(GITHUB_SAYS)), ANYTHING))
def test_a_stranger_learns_nothing(claims: dict[str, object]) -> None:
    """Whoever is not the repository's own job is never told what is expected of it."""
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
def test_case_of_letters(wanted: str, environment: str) -> None:
    """Where a provider ignores case it is that of a-z alone: no look-alike folds into a letter."""
    assume(wanted.isprintable())
    is_same = wanted.encode().lower() == environment.encode("utf-8", "replace").lower()

    found = wrong({**GITHUB, "environment": wanted}, GITHUB_SAYS, environment=environment)

    assert (found == "") is is_same


def test_resurrected_repository() -> None:
    """A stranger's repository under a name that was deleted is not the one that was meant."""
    assert wrong(GITHUB, GITHUB_SAYS, repository_id="999") == "repository_id"
    assert wrong(GITHUB, GITHUB_SAYS, repository_owner_id="999") == "repository_owner_id"
    assert wrong(GITLAB, GITLAB_SAYS, project_id="999") == "project_id"
    assert wrong(GITLAB, GITLAB_SAYS, namespace_id="999") == "namespace_id"
    assert wrong(GOOGLE, GOOGLE_SAYS, sub="9" * 21) == "sub"
    named = {**BUILDKITE, "pipeline_id": BUILDKITE_SAYS["pipeline_id"]}
    assert wrong(named, BUILDKITE_SAYS) == ""
    assert wrong(named, BUILDKITE_SAYS, pipeline_id="other") == "pipeline_id"


def test_renamed_repository() -> None:
    """A repository keeps its publisher when it is renamed: the ids stay, and so does the file."""
    renamed = {
        "repository": "Octo-Org/new-name",
        "workflow_ref": "octo-org/new-name/.github/workflows/release.yml@refs/tags/v1",
        "job_workflow_ref": "octo-org/new-name/.github/workflows/release.yml@refs/tags/v1",
    }
    assert wrong(GITHUB, GITHUB_SAYS, **renamed) == ""


def test_customised_subject() -> None:
    """GitHub's and GitLab's owners may write the subject as they like; it is not looked at."""
    assert wrong(GITHUB, GITHUB_SAYS, sub="repo:octo-org/octo-repo:ref:refs/heads/main") == ""
    assert wrong(GITLAB, GITLAB_SAYS, sub=None) == ""


@pytest.mark.parametrize(
    "event", ["pull_request", "pull_request_target", "pull_request_review", "", None]
)
def test_pull_request(event: str | None) -> None:
    """Nothing is published from a pull request, which a stranger may have written."""
    assert wrong(GITHUB, GITHUB_SAYS, event_name=event) == "event_name"


@pytest.mark.parametrize("source", ["merge_request_event", "external_pull_request_event", None])
def test_merge_request(source: str | None) -> None:
    """Nothing is published from a merge request either."""
    assert wrong(GITLAB, GITLAB_SAYS, pipeline_source=source) == "pipeline_source"


def test_merge_request_of_a_fork() -> None:
    """A fork's pipeline in the target project is told by the project of its job."""
    assert wrong(GITLAB, GITLAB_SAYS, job_project_id="999") == "job_project_id"
    assert wrong(GITLAB, GITLAB_SAYS, job_project_path="fork/tools") == "job_project_path"
    assert wrong(GITLAB, GITLAB_SAYS, job_namespace_id="999") == "job_namespace_id"
    older = {"job_project_id": None, "job_project_path": None, "job_namespace_id": None}
    assert wrong(GITLAB, GITLAB_SAYS, **older) == ""


@pytest.mark.parametrize(
    "ref",
    [
        "octo-org/other/.github/workflows/release.yml@refs/tags/v1",
        "octo-org/octo-repo/.github/workflows/other.yml@refs/tags/v1",
        "octo-org/octo-repo/.github/workflows/Release.yml@refs/tags/v1",
        "octo-org/octo-repo/.github/workflows/sub/release.yml@refs/tags/v1",
        f"x{WORKFLOW}@refs/tags/v1",
        f"{WORKFLOW}",
        f"{WORKFLOW}@",
        f"{WORKFLOW}@evil.yml@refs/heads/main",
        f"{WORKFLOW}.yml@refs/heads/main",
        "",
        None,
        7,
    ],
)
def test_other_workflow(ref: object) -> None:
    """Only the workflow's own file publishes, and no file whose name begins in the same way."""
    claims = {"workflow_ref": ref, "job_workflow_ref": ref}

    assert wrong(GITHUB, GITHUB_SAYS, **claims) == "workflow_ref"


@pytest.mark.parametrize("revision", ["refs/heads/main", "refs/heads/x@refs/tags/v1", SHA])
def test_workflow_at_any_revision(revision: str) -> None:
    """The workflow may be of any branch or tag, or of a commit, if the publisher names none."""
    ref = f"OCTO-org/octo-repo/.github/workflows/release.yml@{revision}"

    assert wrong(GITHUB, GITHUB_SAYS, workflow_ref=ref, job_workflow_ref=ref) == ""


def test_reusable_workflow() -> None:
    """A workflow of another repository may do the publishing if it is listed, at its revision."""
    table = {**GITHUB, "reusable_workflows": [REUSABLE]}

    assert wrong(table, GITHUB_SAYS) == ""
    assert wrong(table, GITHUB_SAYS, job_workflow_ref=REUSABLE) == ""
    assert wrong(GITHUB, GITHUB_SAYS, job_workflow_ref=REUSABLE) == "job_workflow_ref"
    for other in (f"{REUSABLE}.1", REUSABLE.replace("tags", "heads"), REUSABLE[:-1], ""):
        assert wrong(table, GITHUB_SAYS, job_workflow_ref=other) == "job_workflow_ref"


def test_reusable_workflow_at_many_revisions() -> None:
    """A listed workflow may end with a star, for all tags of a form."""
    table = {**GITHUB, "reusable_workflows": [REUSABLE.replace("v2", "v2*")]}

    assert wrong(table, GITHUB_SAYS, job_workflow_ref=f"{REUSABLE}.7") == ""
    confused = REUSABLE.replace("refs/tags/v2", "refs/heads/x@refs/tags/v2")
    assert wrong(table, GITHUB_SAYS, job_workflow_ref=confused) == "job_workflow_ref"


def test_somebody_else_calls_our_reusable_workflow() -> None:
    """Another repository that calls our workflow publishes nothing of ours."""
    stranger = {
        "repository": "evil/repo",
        "repository_id": "666",
        "repository_owner_id": "667",
        "workflow_ref": "evil/repo/.github/workflows/release.yml@refs/heads/main",
    }
    assert wrong(GITHUB, GITHUB_SAYS, **stranger) == "repository_owner_id"
    caller = {"workflow_ref": stranger["workflow_ref"]}
    assert wrong(GITHUB, GITHUB_SAYS, **caller) == "workflow_ref"


def test_a_branch_that_looks_like_a_tag() -> None:
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


@pytest.mark.parametrize(
    ("key", "value", "claims"),
    [
        ("environment", "prod", {}),
        ("ref", "refs/tags/w*", {}),
        ("ref", "refs/tags/v*", {"ref": ""}),
        ("ref_type", "branch", {}),
        ("ref_protected", True, {"ref_protected": "false"}),
        ("ref_protected", True, {"ref_protected": True}),
        ("ref_protected", False, {}),
        ("runner_environment", "self-hosted", {}),
    ],
)
def test_what_else_a_github_publisher_may_ask(key: str, value: object, claims: Table) -> None:
    """Environment, ref, protection and runner count if the publisher names them."""
    assert wrong({**GITHUB, key: value}, GITHUB_SAYS, **claims) == key


def test_enterprise_server() -> None:
    """GitHub Enterprise Server is an issuer of its own, which signs for nobody else."""
    ours = {**GITHUB, "issuer": "https://github.acme.dev/_services/token"}

    assert publisher(ours).issuer.keys_url == (
        "https://github.acme.dev/_services/token/.well-known/jwks"
    )
    assert wrong(ours, GITHUB_SAYS) == "iss"
    assert wrong(ours, GITHUB_SAYS, iss=ours["issuer"]) == ""
    run = trace(publisher(ours), GITHUB_SAYS)["run"]
    assert run == "https://github.acme.dev/octo-org/octo-repo/actions/runs/1234567890"


@pytest.mark.parametrize(
    "uri",
    [
        "gitlab.com/group/tools//other.yml@refs/heads/main",
        "gitlab.com/group/other//.gitlab-ci.yml@refs/heads/main",
        "gitlab.evil/group/tools//.gitlab-ci.yml@refs/heads/main",
        "gitlab.com/group/tools/.gitlab-ci.yml@refs/heads/main",
        f"{PIPELINE}@refs/heads/other",
        f"{PIPELINE}@x@refs/heads/main",
        f"{PIPELINE}@",
        PIPELINE,
        "",
        None,
    ],
)
def test_other_pipeline_file(uri: str | None) -> None:
    """A GitLab job publishes with the project's own pipeline file, as it is at its revision."""
    assert wrong(GITLAB, GITLAB_SAYS, ci_config_ref_uri=uri) == "ci_config_ref_uri"


def test_pipeline_file_without_a_revision() -> None:
    """Where the statement does not tell its revision, no pipeline file is at it."""
    claims = {"ci_config_ref_uri": f"{PIPELINE}@", "ref_path": "", "sha": ""}

    assert wrong(GITLAB, GITLAB_SAYS, **claims) == "ci_config_ref_uri"


def test_pipeline_file_of_a_commit() -> None:
    """The revision may be the commit, and the project may be written in any case."""
    uri = f"gitlab.com/Group/Tools//.gitlab-ci.yml@{SHA}"

    assert wrong(GITLAB, GITLAB_SAYS, ci_config_ref_uri=uri, project_path="Group/TOOLS") == ""


def test_unprotected_branch() -> None:
    """Who may push to any branch may not publish, unless the publisher says so."""
    assert wrong(GITLAB, GITLAB_SAYS, ref_protected="false") == "ref_protected"
    allowed = {**GITLAB, "allow_unprotected": True}
    assert wrong(allowed, GITLAB_SAYS, ref_protected="false") == ""


def test_gitlab_environment() -> None:
    """GitLab's environments are compared letter for letter, and may have to be protected."""
    assert wrong(GITLAB, GITLAB_SAYS, environment="Release") == "environment"
    protected = {**GITLAB, "environment_protected": True, "ref": "main", "ref_type": "branch"}
    assert wrong(protected, GITLAB_SAYS) == ""
    claims = {"environment_protected": "false"}
    assert wrong(protected, GITLAB_SAYS, **claims) == "environment_protected"


def test_another_gitlab_claims_our_project() -> None:
    """An instance that somebody else runs cannot speak for a project on gitlab.com."""
    assert wrong(GITLAB, GITLAB_SAYS, iss="https://gitlab.evil.example") == "iss"
    ours = {**GITLAB, "issuer": "https://gitlab.acme.dev:8443"}
    uri = "gitlab.acme.dev:8443/group/tools//.gitlab-ci.yml@refs/heads/main"
    assert wrong(ours, GITLAB_SAYS, iss=ours["issuer"], ci_config_ref_uri=uri) == ""
    assert wrong(ours, GITLAB_SAYS, iss=ours["issuer"]) == "ci_config_ref_uri"


def test_google() -> None:
    """Google's service account is its id and its e-mail, which Google has to have verified."""
    assert wrong(GOOGLE, GOOGLE_SAYS, iss="accounts.google.com") == ""
    assert wrong(GOOGLE, GOOGLE_SAYS, email="other@acme-pay.iam.gserviceaccount.com") == "email"
    for verified in ("true", 1, False, None):
        assert wrong(GOOGLE, GOOGLE_SAYS, email_verified=verified) == "email_verified"
    on_a_machine = {**GOOGLE, "project_id": "acme-pay"}
    assert wrong(on_a_machine, GOOGLE_SAYS) == ""
    assert wrong(on_a_machine, GOOGLE_SAYS, google={}) == "google.compute_engine.project_id"
    assert not publisher(GOOGLE).is_single_use


def test_buildkite() -> None:
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
)
def test_any_other_issuer(match: Table, *, fits: bool) -> None:
    """Texts, beginnings of texts, truth, lists and nested claims can be asked for."""
    assert (wrong({**OIDC, "match": match}, OIDC_SAYS) == "") is fits


def test_a_claim_that_can_be_read_in_two_ways() -> None:
    """A claim whose name leads to two places is taken for missing: nobody may choose between."""
    assert find({"a.b": "x"}, "a.b") == "x"
    assert find({"a": {"b": "x"}}, "a.b") == "x"
    assert find({"a": {"b": "x"}, "a.b": "y"}, "a.b") is None
    assert find({"a": "x"}, "a.b") is None
    assert find({"a": {"b.c": 1}, "a.b": {"c": 2}}, "a.b.c") is None


def test_a_statement_that_lives_too_long() -> None:
    """A statement for more than an hour is refused, unless its publisher allows more."""
    long = {"exp": NOON + 7200}

    assert wrong(GITLAB, GITLAB_SAYS, **long) == "exp"
    assert wrong({**GITLAB, "max_lifetime": 7200}, GITLAB_SAYS, **long) == ""
    for broken in ("soon", True, -1, 1e300, float("nan"), 10**400):
        assert wrong(GITLAB, GITLAB_SAYS, exp=broken) == "exp"
        assert wrong(GITLAB, GITLAB_SAYS, iat=broken) == "exp"


def test_words() -> None:
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


def test_the_closest_of_many() -> None:
    """Of several publishers, the one that fits best says what is wrong."""
    others = [publisher(GITHUB, id=f"gh-{number}", repository_id=number) for number in (1, 2)]
    ours = publisher(GITHUB, id="ours")

    assert closest([*others, ours, *others], {**GITHUB_SAYS, "environment": "staging"}) == (
        "the claim environment is 'staging'"
    )


def test_trace() -> None:
    """What the log has of a statement leads to the run, and can hide nothing in a terminal."""
    assert trace(publisher(GITHUB), GITHUB_SAYS) == {
        "issuer": "https://token.actions.githubusercontent.com",
        "subject": "repo:octo-org@123456/octo-repo@456789:environment:release",
        "commit": SHA,
        "run": "https://github.com/octo-org/octo-repo/actions/runs/1234567890",
    }
    assert trace(publisher(GITLAB), GITLAB_SAYS)["run"] == (
        "https://gitlab.com/group/tools/-/jobs/4711"
    )
    assert trace(publisher(BUILDKITE), BUILDKITE_SAYS)["run"] == (
        "https://buildkite.com/acme/ml-release/builds/175"
    )
    assert "run" not in trace(publisher(GITLAB), {**GITLAB_SAYS, "job_id": None})
    assert trace(publisher(OIDC), {"sub": "a\n\x1b" + "b" * 999})["subject"].isprintable()


def test_issuers() -> None:
    """Each issuer is asked for once, with the longest life that one of its publishers allows."""
    tables = [
        GITLAB,
        {**GITLAB, "id": "long", "max_lifetime": 7200},
        {**GITLAB, "id": "own", "issuer": "https://gitlab.acme.dev", "allow_private_issuer": True},
        GOOGLE,
    ]

    assert issuers_of(parse_publishers(tables)) == {
        Issuer(("https://gitlab.com",), "https://gitlab.com/oauth/discovery/keys"): 7200,
        Issuer(
            ("https://gitlab.acme.dev",),
            "https://gitlab.acme.dev/oauth/discovery/keys",
            may_be_private=True,
        ): 3700,
        Issuer(
            ("https://accounts.google.com", "accounts.google.com"),
            "https://www.googleapis.com/oauth2/v3/certs",
        ): 3700,
    }


def test_projects() -> None:
    """Projects are named exactly, in any spelling, and each counts once."""
    assert publisher(GITHUB, projects=["My_Lib", "my.lib", "other"]).projects == ("my-lib", "other")


WRONG_TABLES = [
    (GITHUB, {"projct": ["mylib"]}, "projct"),
    (GITHUB, {"project_path": "group/tools"}, "project_path"),
    (GITHUB, {"id": None}, "id"),
    (GITHUB, {"id": "GH"}, "id"),
    (GITHUB, {"id": "x" * 41}, "id"),
    (GITHUB, {"id": "gh\n"}, "id"),
    (GITHUB, {"id": 7}, "id"),
    (GITHUB, {"provider": "gihub"}, "provider"),
    (GITHUB, {"provider": None}, "provider"),
    (GITHUB, {"projects": None}, "projects"),
    (GITHUB, {"projects": []}, "projects"),
    (GITHUB, {"projects": "mylib"}, "projects"),
    (GITHUB, {"projects": ["acme-*"]}, "projects"),
    (GITHUB, {"projects": ["*"]}, "projects"),
    (GITHUB, {"projects": ["a/b"]}, "projects"),
    (GITHUB, {"actions": ["manage"]}, "actions"),
    (GITHUB, {"actions": []}, "actions"),
    (GITHUB, {"repository": "octo-repo"}, "repository"),
    (GITHUB, {"repository_id": None}, "repository_id"),
    (GITHUB, {"repository_id": 0}, "repository_id"),
    (GITHUB, {"repository_id": True}, "repository_id"),
    (GITHUB, {"repository_id": "456x"}, "repository_id"),
    (GITHUB, {"owner_id": None}, "owner_id"),
    (GITHUB, {"owner_id": 1.5}, "owner_id"),
    (GITHUB, {"workflow": None}, "workflow"),
    (GITHUB, {"workflow": ".github/workflows/release.yml"}, "workflow"),
    (GITHUB, {"workflow": "release*.yml"}, "workflow"),
    (GITHUB, {"workflow": "release.yml\n"}, "workflow"),
    (GITHUB, {"environment": ""}, "environment"),
    (GITHUB, {"environment": "a\0"}, "environment"),
    (GITHUB, {"ref": "refs/*/v1"}, "ref"),
    (GITHUB, {"ref": "*"}, "ref"),
    (GITHUB, {"ref_protected": "true"}, "ref_protected"),
    (GITHUB, {"reusable_workflows": ["publish.yml"]}, "reusable_workflows"),
    (GITHUB, {"reusable_workflows": [PUBLISH]}, "reusable_workflows"),
    (GITHUB, {"reusable_workflows": [f"{PUBLISH}@*"]}, "reusable_workflows"),
    (GITHUB, {"max_lifetime": 0}, "max_lifetime"),
    (GITHUB, {"max_lifetime": 10**6}, "max_lifetime"),
    (GITHUB, {"issuer": "http://github.acme.dev"}, "issuer"),
    (GITHUB, {"issuer": "http://github.acme.dev", "allow_private_issuer": True}, "issuer"),
    (GITHUB, {"issuer": "https://github.acme.dev/"}, "issuer"),
    (GITHUB, {"issuer": "https://a:b@github.acme.dev"}, "issuer"),
    (GITHUB, {"issuer": "https://github.acme.dev?x"}, "issuer"),
    (GITHUB, {"issuer": "https://[x"}, "issuer"),
    (GITHUB, {"issuer": "https://:443"}, "issuer"),
    (GITHUB, {"issuer": "file:///etc/passwd"}, "issuer"),
    (GITHUB, {"issuer": "https://gitlab.com"}, "issuer"),
    (GITLAB, {"project_id": None}, "project_id"),
    (GITLAB, {"namespace_id": None}, "namespace_id"),
    (GITLAB, {"project_path": "tools"}, "project_path"),
    (GITLAB, {"project_path": "/group/tools"}, "project_path"),
    (GITLAB, {"config": "/ci.yml"}, "config"),
    (GITLAB, {"config": "ci.yml@other/project"}, "config"),
    (GITLAB, {"issuer": "https://accounts.google.com"}, "issuer"),
    (GOOGLE, {"sub": None}, "sub"),
    (GOOGLE, {"sub": "1234"}, "sub"),
    (GOOGLE, {"sub": 104857600123456789012}, "sub"),
    (GOOGLE, {"email": "pay-build"}, "email"),
    (GOOGLE, {"email": "päy@acme-pay.iam.gserviceaccount.com"}, "email"),
    (GOOGLE, {"issuer": "https://accounts.google.com"}, "issuer"),
    (BUILDKITE, {"organization": None}, "organization"),
    (BUILDKITE, {"build_branch": None}, "build_branch"),
    (OIDC, {"issuer": None}, "issuer"),
    (OIDC, {"issuer": "http://169.254.169.254/"}, "issuer"),
    (OIDC, {"issuer": "https://token.actions.githubusercontent.com"}, "issuer"),
    (OIDC, {"issuer": "https://gitlab.com/"}, "issuer"),
    (OIDC, {"jwks_url": "file:///etc/passwd"}, "jwks_url"),
    (OIDC, {"jwks_url": "http://keys.acme.dev"}, "jwks_url"),
    (OIDC, {"algorithms": ["HS256"]}, "algorithms"),
    (OIDC, {"algorithms": ["none"]}, "algorithms"),
    (OIDC, {"algorithms": []}, "algorithms"),
    (OIDC, {"match": None}, "match"),
    (OIDC, {"match": {}}, "match"),
    (OIDC, {"match": {"sub": "system:*"}}, "match"),
    (OIDC, {"match": {"sub": "*", "team": "a*"}}, "match"),
    (OIDC, {"match": {"sub": "a*b"}}, "match"),
    (OIDC, {"match": {"sub": "a", "team": "*"}}, "match"),
    (OIDC, {"match": {"team": "a"}}, "match"),
    (OIDC, {"match": {"team": "a", "sub": "b*"}}, "match"),
    (OIDC, {"match": {"trusted": True, "paid": False}}, "match"),
    (OIDC, {"match": {"sub": "a", "aud": "pypi.acme.dev"}}, "match"),
    (OIDC, {"match": {"sub": 7}}, "match"),
    (OIDC, {"match": {"sub": ""}}, "match"),
]


@pytest.mark.parametrize(("table", "changes", "key"), WRONG_TABLES)
def test_wrong_table(table: Table, changes: Table, key: str) -> None:
    """A table that is wrong is refused at the start, by its id and the key that is wrong."""
    name = changes.get("id", table["id"])

    with pytest.raises(Invalid) as caught:
        publisher(table, **changes)

    assert caught.value.code == "bad_setting"
    assert f": {key}: " in caught.value.message
    assert (repr(name) if isinstance(name, str) else "without an id") in caught.value.message


@given(
    st.sampled_from([table for table, _ in JOBS]),
    st.dictionaries(st.sampled_from(sorted({*GITHUB, *GITLAB, *OIDC})), ANYTHING),
)
def test_any_table(table: Table, changes: dict[str, object]) -> None:
    """Whatever a table holds, it is read or refused."""
    with suppress(Invalid):
        parse_publisher({**table, **changes})


def test_publishers_that_disagree() -> None:
    """No two publishers have one id, or say different things of one issuer's keys."""
    with pytest.raises(Invalid, match=r"'gh-mylib': id: another"):
        parse_publishers([GITHUB, {**GITLAB, "id": "gh-mylib"}])
    with pytest.raises(Invalid, match=r"'two': issuer: another"):
        parse_publishers([OIDC, {**OIDC, "id": "two", "algorithms": ["ES256"]}])


def test_an_issuer_on_this_machine() -> None:
    """Plain http is for an issuer on this very machine, and has to be asked for."""
    table = {**OIDC, "issuer": "http://127.0.0.1:8123"}

    with pytest.raises(Invalid):
        publisher(table)

    assert publisher(table, allow_private_issuer=True).issuer.may_be_private
