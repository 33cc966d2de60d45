"""CI jobs of five providers: the configuration of each, and the claims of its ID token."""

from typing import Final

from wheelyard.model.publisher import Publisher, parse_publisher

AUDIENCE: Final = "pypi.acme.dev"
NOON: Final = 1795003200
"""The time of issue of all ID tokens: seconds since the epoch, 2026-11-18 12:00 UTC."""
MINUTES: Final = 300

Table = dict[str, object]

TIMES: Final = {"aud": AUDIENCE, "iat": NOON, "nbf": NOON, "exp": NOON + MINUTES}

GITHUB: Final[Table] = {
    "id": "gh-mylib",
    "provider": "github",
    "repository": "octo-org/octo-repo",
    "repository_id": 456789,
    "owner_id": 123456,
    "workflow": "release.yml",
    "environment": "release",
    "reusable_workflows": [],
    "projects": ["mylib"],
    "actions": ["upload"],
}
GITHUB_SAYS: Final[Table] = {
    **TIMES,
    "iss": "https://token.actions.githubusercontent.com",
    "jti": "a5b1e3a4-0f0a-4a3e-9d2c-6b1f8f6f2f10",
    "sub": "repo:octo-org@123456/octo-repo@456789:environment:release",
    "repository": "octo-org/octo-repo",
    "repository_id": "456789",
    "repository_owner": "octo-org",
    "repository_owner_id": "123456",
    "workflow_ref": "octo-org/octo-repo/.github/workflows/release.yml@refs/tags/v1",
    "job_workflow_ref": "octo-org/octo-repo/.github/workflows/release.yml@refs/tags/v1",
    "environment": "release",
    "ref": "refs/tags/v1",
    "ref_type": "tag",
    "ref_protected": "true",
    "event_name": "push",
    "runner_environment": "github-hosted",
    "actor": "octocat",
    "run_id": "1234567890",
    "run_attempt": "1",
    "sha": "9898863c7dcd844a6fc3c70191769b8d07567f57",
}

GITLAB: Final[Table] = {
    "id": "gl-tools",
    "provider": "gitlab",
    "issuer": "https://gitlab.com",
    "project_path": "group/tools",
    "project_id": 46573356,
    "namespace_id": 68413579,
    "config": ".gitlab-ci.yml",
    "environment": "release",
    "projects": ["tools"],
}
GITLAB_SAYS: Final[Table] = {
    **TIMES,
    "iss": "https://gitlab.com",
    "jti": "3a8b958c-0117-4d61-8d84-90b186efc4e7",
    "sub": "project_path:group/tools:ref_type:branch:ref:main",
    "project_id": "46573356",
    "project_path": "group/tools",
    "namespace_id": "68413579",
    "namespace_path": "group",
    "job_project_id": "46573356",
    "job_project_path": "group/tools",
    "job_namespace_id": "68413579",
    "ci_config_ref_uri": "gitlab.com/group/tools//.gitlab-ci.yml@refs/heads/main",
    "ref": "main",
    "ref_path": "refs/heads/main",
    "ref_type": "branch",
    "ref_protected": "true",
    "environment": "release",
    "environment_protected": "true",
    "pipeline_source": "push",
    "user_login": "ana",
    "job_id": "4711",
    "sha": "9898863c7dcd844a6fc3c70191769b8d07567f57",
}

GOOGLE: Final[Table] = {
    "id": "gcb-pay",
    "provider": "google",
    "email": "pay-build@acme-pay.iam.gserviceaccount.com",
    "sub": "104857600123456789012",
    "projects": ["pay-core"],
}
GOOGLE_SAYS: Final[Table] = {
    **TIMES,
    "iss": "https://accounts.google.com",
    "sub": "104857600123456789012",
    "azp": "104857600123456789012",
    "email": "pay-build@acme-pay.iam.gserviceaccount.com",
    "email_verified": True,
    "google": {"compute_engine": {"project_id": "acme-pay", "zone": "europe-west1-b"}},
}

BUILDKITE: Final[Table] = {
    "id": "bk-ml",
    "provider": "buildkite",
    "organization": "acme",
    "pipeline": "ml-release",
    "build_branch": "main",
    "projects": ["ml-core"],
}
BUILDKITE_SAYS: Final[Table] = {
    **TIMES,
    "iss": "https://agent.buildkite.com",
    "jti": "0184990a-477b-4fa8-9968-496074483cee",
    "sub": "organization:acme:pipeline:ml-release:ref:refs/heads/main:commit:9898863c:step:publish",
    "organization_slug": "acme",
    "organization_id": "0184990a-477b-4fa8-9968-496074483cee",
    "pipeline_slug": "ml-release",
    "pipeline_id": "0184990a-4782-42b5-afc1-16715b10b8ff",
    "build_branch": "main",
    "build_tag": None,
    "build_number": 175,
    "build_commit": "9898863c7dcd844a6fc3c70191769b8d07567f57",
    "build_source": "webhook",
    "step_key": "publish",
    "runner_environment": "self-hosted",
}

OIDC: Final[Table] = {
    "id": "k8s-batch",
    "provider": "oidc",
    "issuer": "https://oidc.eks.eu-west-1.amazonaws.com/id/ABC",
    "match": {"sub": "system:serviceaccount:release:publisher"},
    "projects": ["batch-lib"],
}
OIDC_SAYS: Final[Table] = {
    **TIMES,
    "iss": "https://oidc.eks.eu-west-1.amazonaws.com/id/ABC",
    "jti": "b5a3e6a0-96b8-4d8e-b4f6-2f4b0c9f1d11",
    "sub": "system:serviceaccount:release:publisher",
    "kubernetes.io": {"namespace": "release", "serviceaccount": {"name": "publisher"}},
    "groups": ["builders", "publishers"],
    "trusted": True,
}

JOBS: Final = (
    (GITHUB, GITHUB_SAYS),
    (GITLAB, GITLAB_SAYS),
    (GOOGLE, GOOGLE_SAYS),
    (BUILDKITE, BUILDKITE_SAYS),
    (OIDC, OIDC_SAYS),
)


def publisher(table: Table, **changes: object) -> Publisher:
    """Return a publisher as a table describes it, with some keys changed; None takes one out."""
    changed = {**table, **changes}
    return parse_publisher({key: value for key, value in changed.items() if value is not None})
