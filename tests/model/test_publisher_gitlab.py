"""Publishers on GitLab: merge requests, pipeline files, protection and instances."""

import pytest

from tests.model.jobs import GITLAB, GITLAB_SAYS, publisher
from tests.model.statements import PIPELINE, SHA, wrong
from wheelyard.errors import Invalid

MERGE_REQUESTS = ["merge_request_event", "external_pull_request_event"]


@pytest.mark.parametrize("source", [*MERGE_REQUESTS, "", None])
def test_a_merge_request_publishes_nothing(source: str | None) -> None:
    """Nothing is published from a merge request, which a stranger may have written."""
    assert wrong(GITLAB, GITLAB_SAYS, pipeline_source=source) == "pipeline_source"


@pytest.mark.parametrize("source", MERGE_REQUESTS)
def test_merge_requests_cannot_be_registered(source: str) -> None:
    """No publisher can be made for merge requests."""
    with pytest.raises(Invalid, match="events: expected a list such as push"):
        publisher(GITLAB, events=["push", source])


@pytest.mark.parametrize(
    "source", ["api", "chat", "pipeline", "push", "schedule", "trigger", "web", "webide"]
)
def test_sources_of_those_who_may_run_pipelines(source: str) -> None:
    """What only people start who may run pipelines in the project may publish."""
    assert wrong(GITLAB, GITLAB_SAYS, pipeline_source=source) == ""


@pytest.mark.parametrize(
    "source",
    [
        *("container_registry_push", "duo_workflow", "external", "ondemand_dast_scan"),
        *("ondemand_dast_validation", "parent_pipeline", "pipeline_execution_policy_schedule"),
        *("security_orchestration_policy", "unknown"),
    ],
)
def test_other_pipeline_sources_have_to_be_listed(source: str) -> None:
    """A pipeline below that of a merge request, or of no file of the project, has to be listed."""
    open_to_all = {**GITLAB, "allow_unprotected": True}
    assert wrong(open_to_all, GITLAB_SAYS, pipeline_source=source) == "pipeline_source"
    assert wrong({**GITLAB, "events": [source]}, GITLAB_SAYS, pipeline_source=source) == ""


def test_merge_request_of_a_fork() -> None:
    """A fork's pipeline in the target project is told by the project of its job."""
    assert wrong(GITLAB, GITLAB_SAYS, job_project_id="999") == "job_project_id"
    assert wrong(GITLAB, GITLAB_SAYS, job_project_path="fork/tools") == "job_project_path"
    assert wrong(GITLAB, GITLAB_SAYS, job_namespace_id="999") == "job_namespace_id"
    older = {"job_project_id": None, "job_project_path": None, "job_namespace_id": None}
    assert wrong(GITLAB, GITLAB_SAYS, **older) == ""


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


def test_an_unprotected_branch_publishes_nothing() -> None:
    """Who may push to any branch may not publish, unless the publisher says so."""
    assert wrong(GITLAB, GITLAB_SAYS, ref_protected="false") == "ref_protected"
    allowed = {**GITLAB, "allow_unprotected": True}
    assert wrong(allowed, GITLAB_SAYS, ref_protected="false") == ""


def test_environments_are_compared_letter_for_letter() -> None:
    """GitLab's environments are compared letter for letter, and may have to be protected."""
    assert wrong(GITLAB, GITLAB_SAYS, environment="Release") == "environment"
    protected = {**GITLAB, "environment_protected": True, "ref": "main", "ref_type": "branch"}
    assert wrong(protected, GITLAB_SAYS) == ""
    claims = {"environment_protected": "false"}
    assert wrong(protected, GITLAB_SAYS, **claims) == "environment_protected"


def test_another_gitlab_claims_our_project() -> None:
    """A self-hosted GitLab cannot issue tokens for a project on gitlab.com."""
    assert wrong(GITLAB, GITLAB_SAYS, iss="https://gitlab.evil.example") == "iss"
    ours = {**GITLAB, "issuer": "https://gitlab.acme.dev:8443"}
    uri = "gitlab.acme.dev:8443/group/tools//.gitlab-ci.yml@refs/heads/main"
    assert wrong(ours, GITLAB_SAYS, iss=ours["issuer"], ci_config_ref_uri=uri) == ""
    assert wrong(ours, GITLAB_SAYS, iss=ours["issuer"]) == "ci_config_ref_uri"
