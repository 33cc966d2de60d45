"""The forms for trusted publishers, one for each provider, with the fields of that provider."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from msgspec import Struct

from wheelyard.model.stored_publishers import PublisherKeys
from wheelyard.rendering.web.admin.form_fields import FormField

# an empty value leaves the key out, so that jobs with either claim may publish
YES_OR_NO: Final = (("", "not looked at"), ("true", "yes"), ("false", "no"))

# fields that the forms of several providers have
_ENVIRONMENT: Final = FormField(
    "environment",
    "Environment",
    "The environment of the job. Protect it with reviewers: else whoever can push may publish.",
)
_LIFETIME: Final = FormField(
    "max_lifetime",
    "Longest life of an ID token, in seconds",
    "60 to 86400; 3700 if it is empty.",
    is_rare=True,
)
_REF: Final = FormField(
    "ref", "Ref", "Such as refs/tags/v*; a star at the end matches the rest.", is_rare=True
)
_REF_TYPE: Final = FormField("ref_type", "Type of the ref", "branch or tag.", is_rare=True)
_RUNNER: Final = FormField(
    "runner_environment", "Runner", "github-hosted or self-hosted.", is_rare=True
)
NAME_FIELD: Final = FormField(
    "id",
    "Id",
    "A name for it in journals: letters a-z, digits and hyphens, such as release-of-mylib.",
    is_required=True,
    limit=40,
)
COMMON: Final = (
    FormField(
        "projects",
        "Projects",
        "Names, with commas. They need not exist yet: the first upload makes them. A star at the "
        "end of a name only where jobs read.",
        is_required=True,
    ),
    FormField(
        "actions",
        "Jobs may",
        control="list",
        choices=(("", "upload to these projects, and read them"), ("read", "only read them")),
    ),
    FormField("index", "Index", control="index"),
)
"""The fields of each form, before those of its provider."""


class ProviderForm(Struct, frozen=True):
    """The form for publishers of a provider of CI jobs."""

    name: str
    label: str
    fields: tuple[FormField, ...]
    subject: tuple[str, ...]
    """The keys whose values say in a list which jobs a publisher is for."""

    def subject_of(self, keys: PublisherKeys) -> str:
        """Return which jobs the publisher with these keys is for, as a line of a list."""
        return ", ".join(str(keys[key]) for key in self.subject if keys.get(key))


_FORMS: Final = (
    ProviderForm(
        "github",
        "GitHub Actions",
        (
            FormField("repository", "Repository", "OWNER/NAME.", is_required=True),
            # somebody else can take the name once the repository is renamed or deleted
            FormField(
                "repository_id",
                "Id of the repository",
                "A number, which stays if the repository is renamed: the first id at "
                "https://api.github.com/repos/OWNER/NAME. If that is private: gh api "
                "repos/OWNER/NAME --jq .id",
                is_required=True,
            ),
            FormField(
                "owner_id",
                "Id of the owner",
                "The id below owner at the same address. If that is private: gh api "
                "repos/OWNER/NAME --jq .owner.id",
                is_required=True,
            ),
            FormField(
                "workflow",
                "Workflow",
                "The file below .github/workflows, such as release.yml.",
                is_required=True,
            ),
            _ENVIRONMENT,
            FormField(
                "events",
                "Events",
                "What may start the workflow, with commas. If it is empty: create, push, "
                "release, repository_dispatch, schedule, workflow_dispatch.",
                is_rare=True,
            ),
            FormField(
                "reusable_workflows",
                "Workflows of other repositories",
                "That it may call, with commas: OWNER/NAME/.github/workflows/FILE@REF.",
                is_rare=True,
            ),
            _REF,
            _REF_TYPE,
            FormField(
                "ref_protected",
                "The ref is protected",
                control="list",
                choices=YES_OR_NO,
                is_rare=True,
            ),
            _RUNNER,
            FormField(
                "issuer",
                "Issuer",
                "Of an Enterprise Server: https://HOST/_services/token.",
                is_rare=True,
            ),
            _LIFETIME,
        ),
        ("repository", "workflow", "environment"),
    ),
    ProviderForm(
        "gitlab",
        "GitLab CI",
        (
            FormField("project_path", "Project", "GROUP/PROJECT.", is_required=True),
            FormField(
                "project_id",
                "Id of the project",
                "A number on the settings page of the project.",
                is_required=True,
            ),
            FormField(
                "namespace_id",
                "Id of the group",
                "A number on the settings page of the group.",
                is_required=True,
            ),
            _ENVIRONMENT,
            FormField(
                "issuer",
                "URL of GitLab",
                "https://gitlab.com if it is empty, else that of your instance.",
            ),
            FormField(
                "config",
                "File of the pipeline",
                ".gitlab-ci.yml if it is empty.",
                is_rare=True,
            ),
            FormField(
                "events",
                "Sources",
                "What may start the pipeline, with commas. If it is empty: api, chat, "
                "pipeline, push, schedule, trigger, web, webide.",
                is_rare=True,
            ),
            FormField(
                "environment_protected",
                "The environment is protected",
                control="list",
                choices=YES_OR_NO,
                is_rare=True,
            ),
            FormField(
                "allow_unprotected",
                "Unprotected branches and tags",
                "Whoever may push one can then publish.",
                control="list",
                choices=(("", "get no token"), ("true", "get a token, too")),
                is_rare=True,
            ),
            FormField("ref", "Branch or tag", "Such as main.", is_rare=True),
            _REF_TYPE,
            _LIFETIME,
        ),
        ("project_path", "environment", "issuer"),
    ),
    ProviderForm(
        "google",
        "Google service account",
        (
            FormField("email", "E-mail of the account", is_required=True),
            FormField(
                "sub",
                "Unique id of the account",
                "21 digits: gcloud iam service-accounts describe EMAIL --format='value(uniqueId)'",
                is_required=True,
            ),
            FormField(
                "project_id",
                "Project of the virtual machine",
                "Only ID tokens with format=full have it.",
                is_rare=True,
            ),
            _LIFETIME,
        ),
        ("email",),
    ),
    ProviderForm(
        "buildkite",
        "Buildkite",
        (
            FormField("organization", "Organization", "Its slug.", is_required=True),
            FormField("pipeline", "Pipeline", "Its slug.", is_required=True),
            FormField(
                "build_branch",
                "Branch",
                "Such as main. Give a branch or a tag: builds of pull requests cannot be "
                "told apart.",
            ),
            FormField("build_tag", "Tag", "Such as v*; a star at the end matches the rest."),
            FormField("organization_id", "Id of the organization", is_rare=True),
            FormField("pipeline_id", "Id of the pipeline", is_rare=True),
            FormField("step_key", "Key of the step", is_rare=True),
            FormField("build_source", "Source of the build", is_rare=True),
            FormField("runner_environment", "Agent", is_rare=True),
            _LIFETIME,
        ),
        ("organization", "pipeline", "build_branch", "build_tag"),
    ),
    ProviderForm(
        "oidc",
        "Another OpenID Connect issuer",
        (
            FormField("issuer", "Issuer", "Its URL, as the claim iss has it.", is_required=True),
            FormField(
                "match",
                "Claims",
                "On each line CLAIM = VALUE; a star at the end matches the rest. sub, or "
                "two other claims, have to be exact.",
                is_required=True,
                control="lines",
            ),
            FormField(
                "require_jti",
                "ID tokens",
                "Each has a jti, and is good for one token, unless the issuer gives none.",
                control="list",
                choices=(
                    ("", "have a jti"),
                    ("false", "have none: 20 tokens an hour for each"),
                ),
                is_rare=True,
            ),
            FormField(
                "jwks_url",
                "URL of the keys",
                "If the discovery document of the issuer does not name them.",
                is_rare=True,
            ),
            FormField(
                "algorithms",
                "Algorithms",
                "RS256 if it is empty; RS256, ES256.",
                is_rare=True,
            ),
            _LIFETIME,
        ),
        ("issuer",),
    ),
)
PROVIDERS: Final[Mapping[str, ProviderForm]] = MappingProxyType(
    {form.name: form for form in _FORMS}
)
"""The form of each provider, by the value of `provider` in a `[[publisher]]` table."""
