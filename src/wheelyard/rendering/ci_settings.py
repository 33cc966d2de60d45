"""
Lines for a job of a CI service that installs from an index or publishes to it.

Each text begins with trusted publishing, which needs no stored token. No text has the token itself.
"""

from textwrap import indent
from typing import Final

from msgspec import Struct

from wheelyard.errors import DOCUMENTATION
from wheelyard.model.access import Action, Scope
from wheelyard.rendering.client_settings import USER

UNKNOWN_URL: Final = "https://YOUR-INDEX"
"""The root URL in the lines if the settings do not name the URL of the index."""
_PUBLIC_RULE: Final = "Both ask only this index there: it has the public packages, too."
_PRIVATE_RULE: Final = f"""\
pip asks only this index there, and fails where a package is missing here; uv does not:
{DOCUMENTATION}/private-and-public.md."""


class CiService(Struct, frozen=True, kw_only=True):
    """
    The texts for one CI service.

    In its lines, `<URL>` is the URL of the index without a trailing slash, `<LOGIN>` and `<HOST>`
    are the parts of that URL before and after the token, `<UV_INDEX>` is the variable that makes uv
    ask the index, and `<NAME>` is a project.
    """

    title: str
    documentation_url: str
    """The URL of the page about trusted publishing on this service."""
    storing_lines: str
    """How a person stores the token at the service."""
    job_place: str
    """The file, or the part of a file, that gets the lines of the job."""
    publishing_lines: str
    """The step of the job that publishes."""
    installing_lines: str
    """The step of the job that installs."""
    opening_lines: str = ""
    """The lines before the steps."""


SERVICES: Final = {
    "github": CiService(
        title="GitHub Actions",
        documentation_url=f"{DOCUMENTATION}/trusted-publishing.md#github-actions",
        storing_lines="gh secret set WHEELYARD_TOKEN     # asks for the token\n",
        job_place="the steps of a job in .github/workflows",
        publishing_lines="""\
- run: uv publish --publish-url <URL>/legacy/ dist/*
  env:
    UV_PUBLISH_TOKEN: ${{ secrets.WHEELYARD_TOKEN }}
""",
        installing_lines="""\
- run: uv venv && uv pip install <NAME>     # or: pip install <NAME>
  env:
    <UV_INDEX>: <LOGIN>${{ secrets.WHEELYARD_TOKEN }}@<HOST>/simple/
    PIP_INDEX_URL: <LOGIN>${{ secrets.WHEELYARD_TOKEN }}@<HOST>/simple/
""",
    ),
    "gitlab": CiService(
        title="GitLab CI",
        documentation_url=f"{DOCUMENTATION}/trusted-publishing.md#gitlab-ci",
        storing_lines="""\
Settings, CI/CD, Variables, Add variable: the key WHEELYARD_TOKEN, "Masked and hidden",
and "Protect variable" if only protected branches and tags need it
""",
        job_place=".gitlab-ci.yml",
        publishing_lines="""\
publish:
  image: ghcr.io/astral-sh/uv:python3.13-bookworm-slim
  script:
    - UV_PUBLISH_TOKEN=$WHEELYARD_TOKEN uv publish --publish-url <URL>/legacy/ dist/*
""",
        installing_lines="""\
install:
  image: ghcr.io/astral-sh/uv:python3.13-bookworm-slim
  variables:
    <UV_INDEX>: <LOGIN>$WHEELYARD_TOKEN@<HOST>/simple/
    PIP_INDEX_URL: <LOGIN>$WHEELYARD_TOKEN@<HOST>/simple/
  script:
    - uv venv && uv pip install <NAME>     # or: pip install <NAME>
""",
    ),
    "cloud-build": CiService(
        title="Cloud Build",
        documentation_url=f"{DOCUMENTATION}/deploy/cloud-build.md#trusted-publishing",
        storing_lines="""\
printf %s "$TOKEN" | gcloud secrets create wheelyard-token --data-file=-
gcloud secrets add-iam-policy-binding wheelyard-token \\
    --member=serviceAccount:ACCOUNT --role=roles/secretmanager.secretAccessor
""",
        job_place="cloudbuild.yaml",
        publishing_lines="""\
- name: ghcr.io/astral-sh/uv:python3.13-bookworm-slim
  script: UV_PUBLISH_TOKEN=$WHEELYARD_TOKEN uv publish --publish-url <URL>/legacy/ dist/*
  secretEnv: [WHEELYARD_TOKEN]
""",
        installing_lines="""\
- name: ghcr.io/astral-sh/uv:python3.13-bookworm-slim
  script: |
    export <UV_INDEX>="<LOGIN>$WHEELYARD_TOKEN@<HOST>/simple/" PIP_INDEX_URL="$<UV_INDEX>"
    uv venv && uv pip install <NAME>     # or: pip install <NAME>
  secretEnv: [WHEELYARD_TOKEN]
""",
        opening_lines="""\
availableSecrets:
  secretManager:
  - versionName: projects/$PROJECT_ID/secrets/wheelyard-token/versions/latest
    env: WHEELYARD_TOKEN
steps:
""",
    ),
}
"""The texts for each service, by the value of `token create --for-ci`."""


def ci_lines(
    service: CiService,
    scope: Scope,
    url: str,
    index: str = "",
    *,
    serves_public: bool = False,
    takes_uploads: bool = True,
) -> str:
    """
    Return the text for a token with this scope on a CI service: trusted publishing, then the lines.

    `url` is the URL of the index without a trailing slash, or empty if nobody knows it; then the
    lines have `UNKNOWN_URL` with `index` as its path. With `serves_public`, public packages come
    from this index, too, and clients ask no other index. Without `takes_uploads`, there are no
    lines that publish.
    """
    publishes = takes_uploads and Action.UPLOAD in scope.actions
    root = url
    hint = ""
    if not url:
        root = f"{UNKNOWN_URL}/{index}".rstrip("/")
        hint = "YOUR-INDEX stands for the host of the index: server.public_url.\n"
    publishing = f"to publish ({service.documentation_url})\nand " if publishes else ""
    job = _job_lines(service, scope, root, publishes=publishes, serves_public=serves_public)
    index_rule = _PUBLIC_RULE if serves_public else _PRIVATE_RULE
    return f"""\
{service.title} needs no stored token: trusted publishing gives each job one for minutes,
{publishing}to install ({DOCUMENTATION}/trusted-publishing.md#installing-in-ci).

To use this token all the same, store it:

{indent(service.storing_lines, "  ")}
and add this to {service.job_place}:

{indent(job, "  ")}
{index_rule}
{hint}"""


def _job_lines(
    service: CiService, scope: Scope, root: str, *, publishes: bool, serves_public: bool
) -> str:
    """Return the lines of a job that installs from the index at `root`, and may publish to it."""
    lines = service.opening_lines
    if publishes:
        lines += service.publishing_lines
    lines += service.installing_lines
    scheme, _, host = root.partition("://")
    values = {
        "<URL>": root,
        # UV_DEFAULT_INDEX replaces the public index, UV_INDEX is asked before the public index
        "<UV_INDEX>": "UV_DEFAULT_INDEX" if serves_public else "UV_INDEX",
        "<LOGIN>": f"{scheme}://{USER}:",
        "<HOST>": host,
        "<NAME>": _first_project(scope),
    }
    # not by `format`, as YAML and shells have braces of their own
    for placeholder, value in values.items():
        lines = lines.replace(placeholder, value)
    return lines


def _first_project(scope: Scope) -> str:
    """Return the first project that a scope names, or `NAME` if the scope has only patterns."""
    for pattern in scope.projects:
        # a pattern such as acme-* cannot be installed
        if not pattern.endswith("*"):
            return pattern
    return "NAME"
