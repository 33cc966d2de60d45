"""
The five kinds of `[[publisher]]` table, and what each asks of a statement.

Ids come before names, because a name can be registered again by a stranger and an id cannot, and
because whoever is refused learns which claim did it: a stranger never gets past the ids. `sub` is
not looked at where its form is not one: GitHub's and GitLab's can be customised.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from wheelyard.model.statement import (
    NEVER,
    Is,
    IsCalledWorkflow,
    IsEvent,
    IsLike,
    IsPipelineFile,
    IsWorkflow,
    LivesAtMost,
    Rule,
)

GITHUB: Final = "https://token.actions.githubusercontent.com"
GITLAB: Final = "https://gitlab.com"
GOOGLE: Final = "https://accounts.google.com"
BUILDKITE: Final = "https://agent.buildkite.com"

GITHUB_EVENTS: Final = (
    "create",
    "push",
    "release",
    "repository_dispatch",
    "schedule",
    "workflow_dispatch",
)
"""
Events that only somebody with write access to the repository sets off.

Anybody can open an issue, write a comment, or star a public repository. A `workflow_run` follows
other workflows, also those of a stranger's pull request. The code of a `deployment` or of a
`merge_group` may be that of a pull request.
"""
GITLAB_EVENTS: Final = ("api", "chat", "pipeline", "push", "schedule", "trigger", "web", "webide")
"""
Sources that only somebody sets off who may run pipelines in the project.

A `parent_pipeline` is left out, because its parent may be the pipeline of a merge request. The
others that GitLab has run jobs that do not stand in the project's own pipeline file.
"""

Wanted = str | bool
"""What `match` may want of a claim."""

LONGEST: Final = 3700
"""Seconds that a statement may live, unless its publisher says otherwise."""

Text = Annotated[str, Meta(min_length=1, max_length=500, pattern=r"\A[^\x00-\x1f\x7f]+\Z")]
Number = Annotated[int, Meta(gt=0)] | Annotated[str, Meta(pattern=r"\A[1-9][0-9]{0,30}\Z")]
Seconds = Annotated[int, Meta(ge=60, le=86_400)]
Id = Annotated[str, Meta(pattern=r"\A[a-z0-9-]{1,40}\Z")]
Events = Annotated[
    tuple[Annotated[str, Meta(pattern=rf"\A(?!{'|'.join(NEVER)})[a-z_]{{1,100}}\Z")], ...],
    Meta(min_length=1),
]
Texts = Annotated[tuple[Text, ...], Meta(min_length=1)]
Repository = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+\Z")]
WorkflowFile = Annotated[str, Meta(pattern=r"\A[^/*\x00-\x1f\x7f]+\.ya?ml\Z")]
WorkflowRef = Annotated[
    str,
    Meta(
        pattern=r"\A[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+/\.github/workflows/[^/*\x00-\x1f\x7f]+"
        r"@(refs/[^*\x00-\x1f\x7f]*\*?|[0-9a-f]{40})\Z"
    ),
]
ProjectPath = Annotated[str, Meta(pattern=r"\A[^/\s*]+(/[^/\s*]+)+\Z")]
PipelineFile = Annotated[str, Meta(pattern=r"\A[^/*@\x00-\x1f\x7f][^*@\x00-\x1f\x7f]*\Z")]
Like = Annotated[str, Meta(pattern=r"\A[^*\x00-\x1f\x7f]+\*?\Z")]
AccountId = Annotated[str, Meta(pattern=r"\A[0-9]{21}\Z")]
Email = Annotated[str, Meta(pattern=r"\A[!-?A-~]+@[!-?A-~]+\Z")]


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who signs statements, and with what."""

    names: tuple[str, ...]
    """What `iss` may say."""
    keys_url: str
    """Where its keys are; empty if its discovery document has to be asked."""
    algorithms: tuple[str, ...] = ("RS256",)
    may_be_private: bool = False
    """Whether it may have an address that only this network reaches."""


class Table(
    Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="provider",
    tag=str.lower,
):
    """What every publisher has."""

    id: Id
    projects: Texts
    actions: tuple[Literal["upload"]] = ("upload",)
    max_lifetime: Seconds = LONGEST

    @property
    def is_single_use(self) -> bool:
        """Whether each statement is good for one token."""
        return True


class GitHub(Table, frozen=True, kw_only=True):
    """GitHub Actions, on github.com or an Enterprise Server."""

    issuer: Text = GITHUB
    allow_private_issuer: bool = False
    repository: Repository
    """For people: the ids decide, so that it may be renamed."""
    repository_id: Number
    owner_id: Number
    workflow: WorkflowFile
    events: Events = GITHUB_EVENTS
    reusable_workflows: tuple[WorkflowRef, ...] = ()
    environment: Text = ""
    ref: Like = ""
    ref_type: Text = ""
    ref_protected: bool | None = None
    runner_environment: Text = ""

    def signer(self) -> Issuer:
        """Return who signs."""
        url = f"{self.issuer}/.well-known/jwks"
        return Issuer((self.issuer,), url, may_be_private=self.allow_private_issuer)

    def run(self) -> str:
        """Return the form of a run's URL."""
        host = "github.com" if self.issuer == GITHUB else urlsplit(self.issuer).netloc
        return f"https://{host}/{{repository}}/actions/runs/{{run_id}}"

    def rules(self) -> Iterator[Rule]:
        """Yield what a statement has to say."""
        yield Is("repository_owner_id", str(self.owner_id))
        yield Is("repository_id", str(self.repository_id))
        yield IsEvent("event_name", self.events)
        yield IsWorkflow("workflow_ref", self.workflow)
        yield IsCalledWorkflow("job_workflow_ref", self.reusable_workflows)
        if self.environment:
            yield Is("environment", self.environment, ignores_case=True)
        if self.ref:
            yield IsLike("ref", self.ref)
        if self.ref_protected is not None:
            yield Is("ref_protected", _word(self.ref_protected))
        yield from _optional(self, "ref_type", "runner_environment")
        yield LivesAtMost(self.max_lifetime)


class GitLab(Table, frozen=True, kw_only=True):
    """GitLab CI, on gitlab.com or an instance of one's own, which is an issuer of its own."""

    issuer: Text = GITLAB
    allow_private_issuer: bool = False
    project_path: ProjectPath
    project_id: Number
    namespace_id: Number
    config: PipelineFile = ".gitlab-ci.yml"
    events: Events = GITLAB_EVENTS
    environment: Text = ""
    environment_protected: bool | None = None
    allow_unprotected: bool = False
    ref: Like = ""
    ref_type: Text = ""

    def signer(self) -> Issuer:
        """Return who signs."""
        url = f"{self.issuer}/oauth/discovery/keys"
        return Issuer((self.issuer,), url, may_be_private=self.allow_private_issuer)

    def run(self) -> str:
        """Return the form of a run's URL."""
        return f"{self.issuer}/{{project_path}}/-/jobs/{{job_id}}"

    def rules(self) -> Iterator[Rule]:
        """Yield what a statement has to say."""
        project, namespace, path = str(self.project_id), str(self.namespace_id), self.project_path
        yield Is("namespace_id", namespace)
        yield Is("project_id", project)
        yield Is("project_path", path, ignores_case=True)
        # a fork's merge request can run in the target, with `project_*` naming the fork
        yield Is("job_namespace_id", namespace, may_be_missing=True)
        yield Is("job_project_id", project, may_be_missing=True)
        yield Is("job_project_path", path, ignores_case=True, may_be_missing=True)
        yield IsEvent("pipeline_source", self.events)
        place = f"{urlsplit(self.issuer).netloc}/{path}"
        yield IsPipelineFile("ci_config_ref_uri", place, self.config)
        if not self.allow_unprotected:
            yield Is("ref_protected", "true")
        if self.environment_protected is not None:
            yield Is("environment_protected", _word(self.environment_protected))
        if self.ref:
            yield IsLike("ref", self.ref)
        yield from _optional(self, "environment", "ref_type")
        yield LivesAtMost(self.max_lifetime)


class Google(Table, frozen=True, kw_only=True):
    """A service account of Google Cloud; its tokens have no `jti`, and are handed out twice."""

    email: Email
    sub: AccountId
    project_id: Text = ""
    """Of the virtual machine, which only tokens with `format=full` tell."""

    @property
    def is_single_use(self) -> bool:
        """Whether each statement is good for one token: the metadata server gives it out again."""
        return False

    def signer(self) -> Issuer:
        """Return who signs."""
        names = (GOOGLE, GOOGLE.removeprefix("https://"))
        return Issuer(names, "https://www.googleapis.com/oauth2/v3/certs")

    def run(self) -> str:
        """Return nothing: the account says nothing of what runs as it."""
        return ""

    def rules(self) -> Iterator[Rule]:
        """Yield what a statement has to say."""
        yield Is("sub", self.sub)
        yield Is("email", self.email, ignores_case=True)
        yield Is("email_verified", expected=True)
        if self.project_id:
            yield Is("google.compute_engine.project_id", self.project_id)
        yield LivesAtMost(self.max_lifetime)


class Buildkite(Table, frozen=True, kw_only=True):
    """A Buildkite pipeline; builds of forks run in it too, so a branch or a tag is asked for."""

    organization: Text
    pipeline: Text
    organization_id: Text = ""
    pipeline_id: Text = ""
    build_branch: Like = ""
    build_tag: Like = ""
    step_key: Text = ""
    build_source: Text = ""
    runner_environment: Text = ""

    def signer(self) -> Issuer:
        """Return who signs."""
        return Issuer((BUILDKITE,), f"{BUILDKITE}/.well-known/jwks")

    def run(self) -> str:
        """Return the form of a run's URL."""
        return "https://buildkite.com/{organization_slug}/{pipeline_slug}/builds/{build_number}"

    def rules(self) -> Iterator[Rule]:
        """Yield what a statement has to say."""
        yield from _optional(self, "organization_id", "pipeline_id")
        yield Is("organization_slug", self.organization)
        yield Is("pipeline_slug", self.pipeline)
        if self.build_branch:
            yield IsLike("build_branch", self.build_branch)
        if self.build_tag:
            yield IsLike("build_tag", self.build_tag)
        yield from _optional(self, "step_key", "build_source", "runner_environment")
        yield LivesAtMost(self.max_lifetime)


class Oidc(Table, frozen=True, kw_only=True):
    """Any other issuer of OpenID Connect, with a table of claims that have to be just so."""

    issuer: Text
    allow_private_issuer: bool = False
    jwks_url: Text = ""
    algorithms: Annotated[tuple[Literal["RS256", "ES256"], ...], Meta(min_length=1)] = ("RS256",)
    match: Annotated[dict[Text, Text | bool], Meta(min_length=1)]
    require_jti: bool = True

    @property
    def is_single_use(self) -> bool:
        """Whether each statement is good for one token."""
        return self.require_jti

    def signer(self) -> Issuer:
        """Return who signs."""
        return Issuer(
            (self.issuer,), self.jwks_url, self.algorithms, may_be_private=self.allow_private_issuer
        )

    def run(self) -> str:
        """Return nothing: nobody knows."""
        return ""

    def rules(self) -> Iterator[Rule]:
        """Yield what a statement has to say; what is compared letter for letter comes first."""
        for claim, value in sorted(self.match.items(), key=lambda each: not is_exact(each[1])):
            if isinstance(value, str):
                yield IsLike(claim, value, looks_into_lists=True)
            else:
                yield Is(claim, value)
        yield LivesAtMost(self.max_lifetime)


AnyTable = GitHub | GitLab | Google | Buildkite | Oidc

KNOWN: Final = {GITHUB: "github", GITLAB: "gitlab", GOOGLE: "google", BUILDKITE: "buildkite"}
"""Whose rules an issuer's statements are judged by; `oidc` knows none of them."""

LIKE: Final = "a text, with at most one star, at its end"
EXPECTED: Final = {
    "actions": '["upload"], which it is anyway',
    "allow_private_issuer": "true or false",
    "allow_unprotected": "true or false",
    "algorithms": "a list of RS256 and ES256",
    "build_branch": LIKE,
    "build_tag": LIKE,
    "config": "the path of the pipeline's file, such as .gitlab-ci.yml",
    "email": "the service account's e-mail",
    "environment_protected": "true or false",
    "events": "a list such as push and release; pull requests and merge requests never publish",
    "id": "1 to 40 letters a-z, digits and '-'",
    "match": "a table from claims to texts, and true or false",
    "max_lifetime": "60 to 86400 seconds",
    "namespace_id": "the namespace's number",
    "owner_id": "the number of the repository's owner",
    "project_id": "the project's id",
    "project_path": "GROUP/PROJECT",
    "projects": "a list of project names",
    "provider": "github, gitlab, google, buildkite or oidc",
    "ref": LIKE,
    "ref_protected": "true or false",
    "repository": "OWNER/NAME",
    "repository_id": "the repository's number",
    "require_jti": "true or false",
    "reusable_workflows": "a list of OWNER/NAME/.github/workflows/FILE@refs/...",
    "sub": "the 21 digits of the service account's unique id, in quotes",
    "workflow": "the name of a file in .github/workflows, such as release.yml",
}
"""What a key may hold, where that is not just a text."""

_STARLESS: Final = re.compile(r"[^*]+\*?")


def is_exact(value: Wanted) -> bool:
    """Return whether a value of `match` leaves no choice."""
    return not (isinstance(value, str) and value.endswith("*"))


def is_pattern(value: Wanted) -> bool:
    """Return whether a value of `match` has no star but one at its end."""
    return not isinstance(value, str) or _STARLESS.fullmatch(value) is not None


def _optional(table: Table, *claims: str) -> Iterator[Rule]:
    """Yield rules for claims that have to be the table's key of that name, if it has it."""
    return (Is(claim, expected) for claim in claims if (expected := getattr(table, claim)))


def _word(truth: bool) -> str:  # noqa: FBT001 - the one thing that it is about
    return "true" if truth else "false"
