"""
The providers of trusted publishing: GitHub Actions, GitLab CI, Google, Buildkite, OIDC.

Each provider has a class for its `[[publisher]]` table, which checks the claims of its ID tokens.
Ids come before names: a stranger can register a name again, but not an id, and an error message
names the first wrong claim, so a stranger learns nothing about the others. `sub` is not checked for
GitHub and GitLab, where its form can be customized.
"""

from collections.abc import Collection, Iterator
from typing import Annotated, ClassVar, Final, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from wheelyard.model.claim_matchers import (
    UNTRUSTED_EVENT_PREFIXES,
    ClaimCheck,
    ClaimValue,
    JobClaims,
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

_CHARACTER: Final = r"[^*\x00-\x1f\x7f]"
_FILENAME: Final = r"[^/*\x00-\x1f\x7f]+"
_REPOSITORY: Final = r"[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+"
Text = Annotated[str, Meta(min_length=1, max_length=500, pattern=r"\A[^\x00-\x1f\x7f]+\Z")]
Seconds = Annotated[int, Meta(ge=60, le=86_400, title="60 to 86400 seconds")]
Projects = Annotated[tuple[Text, ...], Meta(min_length=1, title="a list of project names")]
Actions = Annotated[
    tuple[Literal["read", "upload"], ...],
    Meta(min_length=1, title='["upload"] (the default), ["read"], or both'),
]
_PATTERNS: Final = frozenset({"ref", "build_branch", "build_tag"})
"""The keys of tables whose value is a `PatternText` for the claim of the same name."""
Algorithms = Annotated[
    tuple[Literal["RS256", "ES256"], ...],
    Meta(min_length=1, title="a list of RS256 and ES256"),
]
PROVIDER_BY_ISSUER: Final = {
    GITHUB_ISSUER: "github",
    GITLAB_ISSUER: "gitlab",
    GOOGLE_ISSUER: "google",
    BUILDKITE_ISSUER: "buildkite",
}
"""The provider of each known issuer, which `oidc` is not allowed for."""


def _form(pattern: str, title: str) -> Meta:
    """Return the condition that a whole text matches a pattern. Messages call it `title`."""
    return Meta(pattern=rf"\A(?:{pattern})\Z", title=title)


NumericId = Annotated[
    Annotated[int, Meta(gt=0, le=2**63 - 1)] | Annotated[str, _form(r"[1-9][0-9]{0,30}", "")],
    Meta(title="a number"),
]
Id = Annotated[str, _form(r"[a-z0-9-]{1,40}", "1 to 40 letters a-z, digits and '-'")]
Event = Annotated[str, _form(rf"(?!{'|'.join(UNTRUSTED_EVENT_PREFIXES)})[a-z_]{{1,100}}", "")]
Events = Annotated[
    tuple[Event, ...],
    Meta(
        min_length=1,
        title="a list such as push and release; pull requests and merge requests get no token",
    ),
]
Repository = Annotated[str, _form(_REPOSITORY, "OWNER/NAME")]
WorkflowFile = Annotated[
    str,
    _form(rf"{_FILENAME}\.ya?ml", "the name of a file in .github/workflows, such as release.yml"),
]
WorkflowRefs = Annotated[
    tuple[
        Annotated[
            str,
            _form(
                rf"{_REPOSITORY}/\.github/workflows/{_FILENAME}@(refs/{_CHARACTER}*\*?|[0-9a-f]{{40}})",
                "",
            ),
        ],
        ...,
    ],
    Meta(title="a list of OWNER/NAME/.github/workflows/FILE@refs/..."),
]
ProjectPath = Annotated[str, _form(r"[^/\s*]+(/[^/\s*]+)+", "GROUP/PROJECT")]
PipelineFile = Annotated[
    str,
    _form(
        r"[^/*@\x00-\x1f\x7f][^*@\x00-\x1f\x7f]*",
        "the path of the pipeline's file, such as .gitlab-ci.yml",
    ),
]
PatternText = Annotated[
    str, _form(rf"{_CHARACTER}+\*?", "a text, with at most one star, at its end")
]
AccountId = Annotated[
    str, _form(r"[0-9]{21}", "the 21 digits of the service account's unique id, in quotes")
]
Email = Annotated[str, _form(r"[!-?A-~]+@[!-?A-~]+", "the service account's e-mail")]
Match = Annotated[
    dict[Text, Annotated[PatternText, Meta(max_length=500)] | bool],
    Meta(
        min_length=1,
        title="a table from claims to texts with at most one star, at the end, and true or false",
    ),
]


class ProviderIssuer(Struct, frozen=True):
    """The issuer of a provider's ID tokens, and the URL and the algorithms of its keys."""

    names: tuple[str, ...]
    """The accepted values of `iss`."""
    keys_url: str
    """The URL of the issuer's JWKS, or empty if the discovery document of the issuer has it."""
    algorithms: tuple[str, ...] = ("RS256",)

    def may_be_private(self, private_issuers: Collection[str]) -> bool:
        """
        Return whether a server may ask the issuer at a private address.

        `private_issuers` are the issuers in the settings of the server. The keys have to be on the
        same host: otherwise a person who adds a publisher could make the server ask any machine of
        the network.
        """
        listed_issuers = {issuer.rstrip("/") for issuer in private_issuers}
        is_listed = all(name.rstrip("/") in listed_issuers for name in self.names)
        has_keys_elsewhere = bool(self.keys_url) and _origin(self.keys_url) != _origin(
            self.names[0]
        )
        return is_listed and not has_keys_elsewhere


def _origin(url: str) -> tuple[str, str]:
    """Return the scheme of a URL, and its host with the port."""
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower()


class PublisherTable(
    Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    tag_field="provider",
    tag=str.lower,
):
    """The keys that all `[[publisher]]` tables have."""

    id: Id
    projects: Projects
    actions: Actions = ("upload",)
    index: Text | Literal[""] = ""
    """The indexes that the publisher is about, with commas between, or `*`. Empty for main."""
    max_lifetime: Seconds = DEFAULT_MAX_LIFETIME_SECONDS

    def _checks_of_keys(self, job: JobClaims, *claims: str) -> Iterator[ClaimCheck]:
        """Yield the check of each of `claims` for which the table has a key of the same name."""
        for claim in claims:
            expected: str | bool | None = getattr(self, claim)
            # providers write booleans as texts
            if isinstance(expected, bool):
                expected = str(expected).lower()
            if expected and claim in _PATTERNS:
                yield job.matches(claim, expected)
            elif expected:
                yield job.equals(claim, expected)


class GitHub(PublisherTable, frozen=True, kw_only=True):
    """A `[[publisher]]` table for GitHub Actions, on github.com or an Enterprise Server."""

    issuer: Text = GITHUB_ISSUER
    repository: Repository
    """The name is not checked, but the ids are, so that the repository may be renamed."""
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

    @property
    def provider_issuer(self) -> ProviderIssuer:
        """The issuer whose ID tokens the table accepts."""
        keys_url = f"{self.issuer}/.well-known/jwks"
        return ProviderIssuer((self.issuer,), keys_url)

    @property
    def run_url(self) -> str:
        """The URL of a CI run, with names of claims in braces."""
        host = "github.com"
        # an Enterprise Server has its pages on the host of the issuer
        if self.issuer != GITHUB_ISSUER:
            host = urlsplit(self.issuer).netloc
        return f"https://{host}/{{repository}}/actions/runs/{{run_id}}"

    def checks(self, job: JobClaims) -> Iterator[ClaimCheck]:
        """Yield the checks of the claims of an ID token but `iss` and `exp`, in order."""
        # ids come first, as somebody else can take a name that was given up
        yield job.equals("repository_owner_id", str(self.owner_id))
        yield job.equals("repository_id", str(self.repository_id))
        yield job.has_event("event_name", self.events)
        yield job.has_workflow("workflow_ref", self.workflow)
        yield job.has_reusable_workflow("job_workflow_ref", self.reusable_workflows)
        if self.environment:
            # at GitHub `Release` and `release` are one environment
            yield job.equals("environment", self.environment, ignores_case=True)
        yield from self._checks_of_keys(
            job, "ref", "ref_protected", "ref_type", "runner_environment"
        )


class GitLab(PublisherTable, frozen=True, kw_only=True):
    """A `[[publisher]]` table for GitLab CI, on gitlab.com or an instance with its own issuer."""

    issuer: Text = GITLAB_ISSUER
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

    @property
    def provider_issuer(self) -> ProviderIssuer:
        """The issuer whose ID tokens the table accepts."""
        keys_url = f"{self.issuer}/oauth/discovery/keys"
        return ProviderIssuer((self.issuer,), keys_url)

    @property
    def run_url(self) -> str:
        """The URL of a CI run, with names of claims in braces."""
        return f"{self.issuer}/{{project_path}}/-/jobs/{{job_id}}"

    def checks(self, job: JobClaims) -> Iterator[ClaimCheck]:
        """Yield the checks of the claims of an ID token but `iss` and `exp`, in order."""
        project = str(self.project_id)
        namespace = str(self.namespace_id)
        path = self.project_path
        yield job.equals("namespace_id", namespace)
        yield job.equals("project_id", project)
        yield job.equals("project_path", path, ignores_case=True)
        # a fork's merge request can run in the target, with `project_*` naming the fork
        yield job.equals("job_namespace_id", namespace, may_be_missing=True)
        yield job.equals("job_project_id", project, may_be_missing=True)
        yield job.equals("job_project_path", path, ignores_case=True, may_be_missing=True)
        yield job.has_event("pipeline_source", self.events)
        project_url = f"{urlsplit(self.issuer).netloc}/{path}"
        yield job.has_pipeline("ci_config_ref_uri", project_url, self.config)
        # anybody who may push a branch can run its pipeline file, unless the branch is protected
        if not self.allow_unprotected:
            yield job.equals("ref_protected", "true")
        yield from self._checks_of_keys(
            job, "environment_protected", "ref", "environment", "ref_type"
        )


class Google(PublisherTable, frozen=True, kw_only=True):
    """A `[[publisher]]` table for a Google service account, whose ID tokens have no `jti`."""

    email: Email
    sub: AccountId
    project_id: Text = ""
    """The project of the virtual machine, which only ID tokens with `format=full` have."""

    provider_issuer: ClassVar[ProviderIssuer] = ProviderIssuer(
        (GOOGLE_ISSUER, GOOGLE_ISSUER.removeprefix("https://")),
        "https://www.googleapis.com/oauth2/v3/certs",
    )
    run_url: ClassVar[str] = ""

    def checks(self, job: JobClaims) -> Iterator[ClaimCheck]:
        """Yield the checks of the claims of an ID token but `iss` and `exp`, in order."""
        yield job.equals("sub", self.sub)
        yield job.equals("email", self.email, ignores_case=True)
        yield job.equals("email_verified", expected=True)
        if self.project_id:
            yield job.equals("google.compute_engine.project_id", self.project_id)


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

    provider_issuer: ClassVar[ProviderIssuer] = ProviderIssuer(
        (BUILDKITE_ISSUER,), f"{BUILDKITE_ISSUER}/.well-known/jwks"
    )
    run_url: ClassVar[str] = (
        "https://buildkite.com/{organization_slug}/{pipeline_slug}/builds/{build_number}"
    )

    def checks(self, job: JobClaims) -> Iterator[ClaimCheck]:
        """Yield the checks of the claims of an ID token but `iss` and `exp`, in order."""
        yield from self._checks_of_keys(job, "organization_id", "pipeline_id")
        yield job.equals("organization_slug", self.organization)
        yield job.equals("pipeline_slug", self.pipeline)
        yield from self._checks_of_keys(
            job, "build_branch", "build_tag", "step_key", "build_source", "runner_environment"
        )


class Oidc(PublisherTable, frozen=True, kw_only=True):
    """A `[[publisher]]` table for any other OpenID Connect issuer, with the expected claims."""

    issuer: Text
    jwks_url: Text = ""
    algorithms: Algorithms = ("RS256",)
    match: Match
    require_jti: bool = True

    run_url: ClassVar[str] = ""

    @property
    def provider_issuer(self) -> ProviderIssuer:
        """The issuer whose ID tokens the table accepts."""
        return ProviderIssuer((self.issuer,), self.jwks_url, self.algorithms)

    def checks(self, job: JobClaims) -> Iterator[ClaimCheck]:
        """Yield the checks of the claims of an ID token but `iss` and `exp`, in order."""
        # exact values come first, so that only the right job learns about the claim of a pattern
        for claim, value in sorted(self.match.items(), key=lambda pair: not is_exact(pair[1])):
            if isinstance(value, str):
                yield job.has_match(claim, value)
            else:
                yield job.equals(claim, value)


AnyTable = GitHub | GitLab | Google | Buildkite | Oidc


def is_exact(value: ClaimValue) -> bool:
    """Return whether a value of `match` is a boolean, or a text without a star at its end."""
    return not (isinstance(value, str) and value.endswith("*"))
