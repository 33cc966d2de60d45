"""
Claim rules of the trusted publishing providers: GitHub Actions, GitLab CI, Google, Buildkite, OIDC.

Each provider has a class for its `[[publisher]]` table, and rules for the claims of its ID tokens.
Ids come before names: a stranger can register a name again, but not an id, and an error message
names the first wrong claim, so a stranger learns nothing about the others. `sub` is not checked for
GitHub and GitLab, where its form can be customized.
"""

import re
from collections.abc import Iterator
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from wheelyard.model.claim_matchers import (
    UNTRUSTED_EVENT_PREFIXES,
    ClaimRule,
    ClaimValue,
    equals,
    event_in,
    matches_pattern,
    max_lifetime,
    pipeline_file,
    reusable_workflow_in,
    workflow_file,
)

GITHUB_ISSUER: Final = "https://token.actions.githubusercontent.com"
GITLAB_ISSUER: Final = "https://gitlab.com"
GOOGLE_ISSUER: Final = "https://accounts.google.com"
BUILDKITE_ISSUER: Final = "https://agent.buildkite.com"

GITHUB_EVENTS: Final = (
    "create",
    "push",
    "release",
    "repository_dispatch",
    "schedule",
    "workflow_dispatch",
)
"""
Events that need write access to the repository.

Anybody can open an issue, write a comment, or star a public repository. A `workflow_run` follows
other workflows, also those of a stranger's pull request. The code of a `deployment` or of a
`merge_group` may be that of a pull request.
"""
GITLAB_EVENTS: Final = ("api", "chat", "pipeline", "push", "schedule", "trigger", "web", "webide")
"""
Sources that need the right to run pipelines in the project.

A `parent_pipeline` is left out, because its parent may be the pipeline of a merge request. Other
sources run jobs that are not in the pipeline file of the project.
"""

DEFAULT_MAX_LIFETIME_SECONDS: Final = 3700
"""Seconds that an ID token may live, by default."""

PATTERN_DESCRIPTION: Final = "a text, with at most one star, at its end"

Text = Annotated[str, Meta(min_length=1, max_length=500, pattern=r"\A[^\x00-\x1f\x7f]+\Z")]
NumericId = Annotated[
    Annotated[int, Meta(gt=0, le=2**63 - 1)]
    | Annotated[str, Meta(pattern=r"\A[1-9][0-9]{0,30}\Z")],
    Meta(title="a number"),
]
Seconds = Annotated[int, Meta(ge=60, le=86_400, title="60 to 86400 seconds")]
Id = Annotated[
    str, Meta(pattern=r"\A[a-z0-9-]{1,40}\Z", title="1 to 40 letters a-z, digits and '-'")
]
Events = Annotated[
    tuple[
        Annotated[
            str, Meta(pattern=rf"\A(?!{'|'.join(UNTRUSTED_EVENT_PREFIXES)})[a-z_]{{1,100}}\Z")
        ],
        ...,
    ],
    Meta(
        min_length=1,
        title="a list such as push and release; pull requests and merge requests get no token",
    ),
]
Projects = Annotated[tuple[Text, ...], Meta(min_length=1, title="a list of project names")]
Actions = Annotated[
    tuple[Literal["read", "upload"], ...],
    Meta(min_length=1, title='["upload"] (the default), ["read"], or both'),
]
Repository = Annotated[
    str, Meta(pattern=r"\A[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+\Z", title="OWNER/NAME")
]
WorkflowFile = Annotated[
    str,
    Meta(
        pattern=r"\A[^/*\x00-\x1f\x7f]+\.ya?ml\Z",
        title="the name of a file in .github/workflows, such as release.yml",
    ),
]
WorkflowRef = Annotated[
    str,
    Meta(
        pattern=r"\A[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+/\.github/workflows/[^/*\x00-\x1f\x7f]+"
        r"@(refs/[^*\x00-\x1f\x7f]*\*?|[0-9a-f]{40})\Z"
    ),
]
WorkflowRefs = Annotated[
    tuple[WorkflowRef, ...],
    Meta(title="a list of OWNER/NAME/.github/workflows/FILE@refs/..."),
]
ProjectPath = Annotated[str, Meta(pattern=r"\A[^/\s*]+(/[^/\s*]+)+\Z", title="GROUP/PROJECT")]
PipelineFile = Annotated[
    str,
    Meta(
        pattern=r"\A[^/*@\x00-\x1f\x7f][^*@\x00-\x1f\x7f]*\Z",
        title="the path of the pipeline's file, such as .gitlab-ci.yml",
    ),
]
PatternText = Annotated[str, Meta(pattern=r"\A[^*\x00-\x1f\x7f]+\*?\Z", title=PATTERN_DESCRIPTION)]
AccountId = Annotated[
    str,
    Meta(
        pattern=r"\A[0-9]{21}\Z",
        title="the 21 digits of the service account's unique id, in quotes",
    ),
]
Email = Annotated[
    str, Meta(pattern=r"\A[!-?A-~]+@[!-?A-~]+\Z", title="the service account's e-mail")
]
Algorithms = Annotated[
    tuple[Literal["RS256", "ES256"], ...],
    Meta(min_length=1, title="a list of RS256 and ES256"),
]
Match = Annotated[
    dict[Text, Text | bool],
    Meta(min_length=1, title="a table from claims to texts, and true or false"),
]


class ProviderIssuer(Struct, frozen=True):
    """The issuer of a provider's ID tokens, and the URL and the algorithms of its keys."""

    names: tuple[str, ...]
    """The accepted values of `iss`."""
    keys_url: str
    """The URL of its JWKS; empty if the discovery document has it."""
    algorithms: tuple[str, ...] = ("RS256",)
    may_be_private: bool = False
    """Whether it may have a private address."""


class PublisherTable(
    Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="provider",
    tag=str.lower,
):
    """The keys that all `[[publisher]]` tables have."""

    id: Id
    projects: Projects
    actions: Actions = ("upload",)
    max_lifetime: Seconds = DEFAULT_MAX_LIFETIME_SECONDS


class GitHub(PublisherTable, frozen=True, kw_only=True):
    """A `[[publisher]]` table for GitHub Actions, on github.com or an Enterprise Server."""

    issuer: Text = GITHUB_ISSUER
    allow_private_issuer: bool = False
    repository: Repository
    """Not checked: the ids are, so that the repository may be renamed."""
    repository_id: NumericId
    owner_id: NumericId
    workflow: WorkflowFile
    events: Events = GITHUB_EVENTS
    reusable_workflows: WorkflowRefs = ()
    environment: Text = ""
    ref: PatternText = ""
    ref_type: Text = ""
    ref_protected: bool | None = None
    runner_environment: Text = ""


class GitLab(PublisherTable, frozen=True, kw_only=True):
    """A `[[publisher]]` table for GitLab CI, on gitlab.com or an instance with its own issuer."""

    issuer: Text = GITLAB_ISSUER
    allow_private_issuer: bool = False
    project_path: ProjectPath
    project_id: NumericId
    namespace_id: NumericId
    config: PipelineFile = ".gitlab-ci.yml"
    events: Events = GITLAB_EVENTS
    environment: Text = ""
    environment_protected: bool | None = None
    allow_unprotected: bool = False
    ref: PatternText = ""
    ref_type: Text = ""


class Google(PublisherTable, frozen=True, kw_only=True):
    """A `[[publisher]]` table for a Google service account, whose ID tokens have no `jti`."""

    email: Email
    sub: AccountId
    project_id: Text = ""
    """The project of the virtual machine; only in ID tokens with `format=full`."""


class Buildkite(PublisherTable, frozen=True, kw_only=True):
    """A `[[publisher]]` table for Buildkite, which builds forks, too: a branch or tag is needed."""

    organization: Text
    pipeline: Text
    organization_id: Text = ""
    pipeline_id: Text = ""
    build_branch: PatternText = ""
    build_tag: PatternText = ""
    step_key: Text = ""
    build_source: Text = ""
    runner_environment: Text = ""


class Oidc(PublisherTable, frozen=True, kw_only=True):
    """A `[[publisher]]` table for any other OpenID Connect issuer, with the expected claims."""

    issuer: Text
    allow_private_issuer: bool = False
    jwks_url: Text = ""
    algorithms: Algorithms = ("RS256",)
    match: Match
    require_jti: bool = True


AnyTable = GitHub | GitLab | Google | Buildkite | Oidc

PROVIDER_BY_ISSUER: Final = {
    GITHUB_ISSUER: "github",
    GITLAB_ISSUER: "gitlab",
    GOOGLE_ISSUER: "google",
    BUILDKITE_ISSUER: "buildkite",
}
"""The provider of each known issuer, which `oidc` is not allowed for."""

_PATTERN: Final = re.compile(r"[^*]+\*?")


def issuer_of(table: AnyTable) -> ProviderIssuer:
    """Return the issuer whose ID tokens a `[[publisher]]` table accepts."""
    match table:
        case Google():
            names = (GOOGLE_ISSUER, GOOGLE_ISSUER.removeprefix("https://"))
            return ProviderIssuer(names, "https://www.googleapis.com/oauth2/v3/certs")
        case Buildkite():
            return ProviderIssuer((BUILDKITE_ISSUER,), f"{BUILDKITE_ISSUER}/.well-known/jwks")
        case Oidc():
            url, algorithms = table.jwks_url, table.algorithms
        case GitHub():
            url, algorithms = f"{table.issuer}/.well-known/jwks", ("RS256",)
        case _:
            url, algorithms = f"{table.issuer}/oauth/discovery/keys", ("RS256",)
    return ProviderIssuer((table.issuer,), url, algorithms, table.allow_private_issuer)


def run_url_template_of(table: AnyTable) -> str:
    """Return the URL of a CI run with names of claims in braces; empty for Google and OIDC."""
    match table:
        case GitHub():
            host = "github.com" if table.issuer == GITHUB_ISSUER else urlsplit(table.issuer).netloc
            return f"https://{host}/{{repository}}/actions/runs/{{run_id}}"
        case GitLab():
            return f"{table.issuer}/{{project_path}}/-/jobs/{{job_id}}"
        case Buildkite():
            return "https://buildkite.com/{organization_slug}/{pipeline_slug}/builds/{build_number}"
        case _:
            return ""


def claim_rules_of(table: AnyTable) -> Iterator[ClaimRule]:
    """Yield the claim rules of a `[[publisher]]` table, in order of checking; none for `iss`."""
    match table:
        case GitHub():
            yield from _github_rules(table)
        case GitLab():
            yield from _gitlab_rules(table)
        case Google():
            yield from _google_rules(table)
        case Buildkite():
            yield from _buildkite_rules(table)
        case Oidc():
            # exact values come first
            for claim, value in sorted(table.match.items(), key=lambda it: not is_exact(it[1])):
                if isinstance(value, str):
                    yield matches_pattern(claim, value, looks_into_lists=True)
                else:
                    yield equals(claim, value)
    yield max_lifetime(table.max_lifetime)


def _github_rules(table: GitHub) -> Iterator[ClaimRule]:
    yield equals("repository_owner_id", str(table.owner_id))
    yield equals("repository_id", str(table.repository_id))
    yield event_in("event_name", table.events)
    yield workflow_file("workflow_ref", table.workflow)
    yield reusable_workflow_in("job_workflow_ref", table.reusable_workflows)
    if table.environment:
        yield equals("environment", table.environment, ignores_case=True)
    yield from _matching(table, "ref")
    yield from _boolean_text(table, "ref_protected")
    yield from _optional(table, "ref_type", "runner_environment")


def _gitlab_rules(table: GitLab) -> Iterator[ClaimRule]:
    project, namespace, path = str(table.project_id), str(table.namespace_id), table.project_path
    yield equals("namespace_id", namespace)
    yield equals("project_id", project)
    yield equals("project_path", path, ignores_case=True)
    # a fork's merge request can run in the target, with `project_*` naming the fork
    yield equals("job_namespace_id", namespace, may_be_missing=True)
    yield equals("job_project_id", project, may_be_missing=True)
    yield equals("job_project_path", path, ignores_case=True, may_be_missing=True)
    yield event_in("pipeline_source", table.events)
    project_url = f"{urlsplit(table.issuer).netloc}/{path}"
    yield pipeline_file("ci_config_ref_uri", project_url, table.config)
    if not table.allow_unprotected:
        yield equals("ref_protected", "true")
    yield from _boolean_text(table, "environment_protected")
    yield from _matching(table, "ref")
    yield from _optional(table, "environment", "ref_type")


def _google_rules(table: Google) -> Iterator[ClaimRule]:
    yield equals("sub", table.sub)
    yield equals("email", table.email, ignores_case=True)
    yield equals("email_verified", expected=True)
    if table.project_id:
        yield equals("google.compute_engine.project_id", table.project_id)


def _buildkite_rules(table: Buildkite) -> Iterator[ClaimRule]:
    yield from _optional(table, "organization_id", "pipeline_id")
    yield equals("organization_slug", table.organization)
    yield equals("pipeline_slug", table.pipeline)
    yield from _matching(table, "build_branch", "build_tag")
    yield from _optional(table, "step_key", "build_source", "runner_environment")


def _optional(table: PublisherTable, *claims: str) -> Iterator[ClaimRule]:
    """Yield, for each of `claims` that is set in the table, the rule that it has that value."""
    return (equals(claim, expected) for claim in claims if (expected := getattr(table, claim)))


def _matching(table: PublisherTable, *claims: str) -> Iterator[ClaimRule]:
    return (
        matches_pattern(claim, pattern) for claim in claims if (pattern := getattr(table, claim))
    )


def _boolean_text(table: PublisherTable, claim: str) -> Iterator[ClaimRule]:
    """Yield the rule that `claim` is the table's boolean as a text; nothing if it is not set."""
    expected: bool | None = getattr(table, claim)
    if expected is not None:
        yield equals(claim, "true" if expected else "false")


def is_exact(value: ClaimValue) -> bool:
    """Return whether a value of `match` has no star at its end; booleans have none."""
    return not (isinstance(value, str) and value.endswith("*"))


def is_pattern(value: ClaimValue) -> bool:
    """Return whether a value of `match` is a boolean, or a text with a star at most at its end."""
    return not isinstance(value, str) or _PATTERN.fullmatch(value) is not None
