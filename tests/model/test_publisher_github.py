"""Publishers on GitHub: events, workflows and those that they call, environments and refs."""

import pytest

from tests.model.jobs import GITHUB, GITHUB_SAYS, Table, publisher
from tests.model.statements import PUBLISH, SHA, WORKFLOW, matches, wrong
from wheelyard.errors import Invalid
from wheelyard.model.publisher import publishing_log_fields

REUSABLE = f"{PUBLISH}@refs/tags/v2"


def test_a_renamed_repository_keeps_its_publisher() -> None:
    """A repository keeps its publisher when it is renamed: the ids stay, and so does the file."""
    renamed = {
        "repository": "Octo-Org/new-name",
        "workflow_ref": "octo-org/new-name/.github/workflows/release.yml@refs/tags/v1",
        "job_workflow_ref": "octo-org/new-name/.github/workflows/release.yml@refs/tags/v1",
    }
    assert wrong(GITHUB, GITHUB_SAYS, **renamed) == ""


PULL_REQUESTS = [
    "pull_request",
    "pull_request_comment",
    "pull_request_review",
    "pull_request_review_comment",
    "pull_request_target",
]


@pytest.mark.parametrize("event", [*PULL_REQUESTS, "", None, ["push"]])
def test_a_pull_request_publishes_nothing(event: object) -> None:
    """Nothing is published from a pull request, which a stranger may have written."""
    assert wrong(GITHUB, GITHUB_SAYS, event_name=event) == "event_name"


@pytest.mark.parametrize("event", PULL_REQUESTS)
def test_pull_requests_cannot_be_registered(event: str) -> None:
    """No publisher can be made for pull requests, alone or among other events."""
    for events in ([event], ["push", event]):
        with pytest.raises(Invalid, match="'gh-mylib': events: expected a list such as push"):
            publisher(GITHUB, events=events)


@pytest.mark.parametrize(
    "event", ["create", "push", "release", "repository_dispatch", "schedule", "workflow_dispatch"]
)
def test_events_of_those_who_may_write(event: str) -> None:
    """What only people with write access set off may publish, unless the publisher is narrower."""
    assert wrong(GITHUB, GITHUB_SAYS, event_name=event) == ""
    assert wrong({**GITHUB, "events": ["other"]}, GITHUB_SAYS, event_name=event) == "event_name"


@pytest.mark.parametrize(
    "event",
    [
        *("check_run", "check_suite", "deployment", "deployment_status", "discussion"),
        *("discussion_comment", "dynamic", "fork", "gollum", "issue_comment", "issues"),
        *("merge_group", "status", "watch", "workflow_run", "an_event_of_next_year"),
    ],
)
def test_events_of_outsiders(event: str) -> None:
    """Unknown events, and those of outsiders, publish only if the publisher lists them."""
    assert wrong(GITHUB, GITHUB_SAYS, event_name=event) == "event_name"
    assert wrong({**GITHUB, "events": ["push", event]}, GITHUB_SAYS, event_name=event) == ""
    for look_alike in (event.upper(), f" {event}", f"{event}_target"):
        listed = {**GITHUB, "events": [event]}
        assert wrong(listed, GITHUB_SAYS, event_name=look_alike) == "event_name"


def test_what_to_do_about_an_event() -> None:
    """A job of the wrong event is told how it could publish."""
    ours = publisher(GITHUB)
    assert matches(ours, {**GITHUB_SAYS, "event_name": "workflow_run"}) == (
        "the claim event_name is 'workflow_run', which the [[publisher]] does not list. Run the "
        "job for a push, or ask the operator of this index to add it to events of the [[publisher]]"
    )
    assert matches(ours, {**GITHUB_SAYS, "event_name": "pull_request_target"}) == (
        "the claim event_name is 'pull_request_target', and its jobs get no token. Run the job for "
        "a push instead"
    )


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
def test_only_the_named_workflow_publishes(ref: object) -> None:
    """Only the workflow's own file publishes, and no file whose name begins in the same way."""
    claims = {"workflow_ref": ref, "job_workflow_ref": ref}

    assert wrong(GITHUB, GITHUB_SAYS, **claims) == "workflow_ref"


@pytest.mark.parametrize("revision", ["refs/heads/main", "refs/heads/x@refs/tags/v1", SHA])
def test_workflow_at_any_revision(revision: str) -> None:
    """The workflow may be of any branch or tag, or of a commit, if the publisher names none."""
    ref = f"OCTO-org/octo-repo/.github/workflows/release.yml@{revision}"

    assert wrong(GITHUB, GITHUB_SAYS, workflow_ref=ref, job_workflow_ref=ref) == ""


def test_a_listed_reusable_workflow_may_publish() -> None:
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


def test_an_enterprise_server_is_an_issuer_of_its_own() -> None:
    """GitHub Enterprise Server is a separate issuer, and valid for its own repositories only."""
    ours = {**GITHUB, "issuer": "https://github.acme.dev/_services/token"}

    assert publisher(ours).issuer.keys_url == (
        "https://github.acme.dev/_services/token/.well-known/jwks"
    )
    assert wrong(ours, GITHUB_SAYS) == "iss"
    assert wrong(ours, GITHUB_SAYS, iss=ours["issuer"]) == ""
    run = publishing_log_fields(publisher(ours), GITHUB_SAYS)["run"]
    assert run == "https://github.acme.dev/octo-org/octo-repo/actions/runs/1234567890"
