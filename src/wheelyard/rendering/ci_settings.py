"""
Lines for a job of a CI service that installs from an index or publishes to it.

Each text begins with trusted publishing, which needs no stored token. None has the token itself.
"""

from textwrap import indent
from typing import Final

from msgspec import Struct

from wheelyard.errors import DOCUMENTATION
from wheelyard.model.access import Action, Scope
from wheelyard.rendering.client_settings import USER

UNKNOWN_URL: Final = "https://YOUR-INDEX"
"""Stands for the URL of the index where the settings do not name it."""
_PUBLIC_RULE: Final = "Both ask only this index there: it has the public packages, too."
_PRIVATE_RULE: Final = f"""\
pip asks only this index there, and fails where a package is missing here; uv does not:
{DOCUMENTATION}/private-and-public.md."""


class CiService(Struct, frozen=True, kw_only=True):
    """
    The lines for one CI service.

    In them, `<URL>` is the URL of the index without a trailing slash, `<LOGIN>` and `<HOST>` are
    what comes before and after its credentials, `<UV_INDEX>` is the variable that makes uv ask it,
    and `<NAME>` is a project.
    """

    title: str
    page: str
    """The documentation of trusted publishing on this service."""
    storing: str
    place: str
    """Where the lines of the job go."""
    publishing: str
    installing: str
    opening: str = ""
    """The lines before those."""


SERVICES: Final = {
    "github": CiService(
        title="GitHub Actions",
        page=f"{DOCUMENTATION}/trusted-publishing.md#github-actions",
        storing="gh secret set WHEELYARD_TOKEN     # asks for the token\n",
        place="the steps of a job in .github/workflows",
        publishing="""\
- run: uv publish --publish-url <URL>/legacy/ dist/*
  env:
    UV_PUBLISH_TOKEN: ${{ secrets.WHEELYARD_TOKEN }}
""",
        installing="""\
- run: uv venv && uv pip install <NAME>     # or: pip install <NAME>
  env:
    <UV_INDEX>: <LOGIN>${{ secrets.WHEELYARD_TOKEN }}@<HOST>/simple/
    PIP_INDEX_URL: <LOGIN>${{ secrets.WHEELYARD_TOKEN }}@<HOST>/simple/
""",
    ),
    "gitlab": CiService(
        title="GitLab CI",
        page=f"{DOCUMENTATION}/trusted-publishing.md#gitlab-ci",
        storing="""\
Settings, CI/CD, Variables, Add variable: the key WHEELYARD_TOKEN, "Masked and hidden",
and "Protect variable" if only protected branches and tags need it
""",
        place=".gitlab-ci.yml",
        publishing="""\
publish:
  image: ghcr.io/astral-sh/uv:python3.13-bookworm-slim
  script:
    - UV_PUBLISH_TOKEN=$WHEELYARD_TOKEN uv publish --publish-url <URL>/legacy/ dist/*
""",
        installing="""\
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
        page=f"{DOCUMENTATION}/deploy/cloud-build.md#trusted-publishing",
        storing="""\
printf %s "$TOKEN" | gcloud secrets create wheelyard-token --data-file=-
gcloud secrets add-iam-policy-binding wheelyard-token \\
    --member=serviceAccount:ACCOUNT --role=roles/secretmanager.secretAccessor
""",
        place="cloudbuild.yaml",
        publishing="""\
- name: ghcr.io/astral-sh/uv:python3.13-bookworm-slim
  script: UV_PUBLISH_TOKEN=$WHEELYARD_TOKEN uv publish --publish-url <URL>/legacy/ dist/*
  secretEnv: [WHEELYARD_TOKEN]
""",
        installing="""\
- name: ghcr.io/astral-sh/uv:python3.13-bookworm-slim
  script: |
    export <UV_INDEX>="<LOGIN>$WHEELYARD_TOKEN@<HOST>/simple/" PIP_INDEX_URL="$<UV_INDEX>"
    uv venv && uv pip install <NAME>     # or: pip install <NAME>
  secretEnv: [WHEELYARD_TOKEN]
""",
        opening="""\
availableSecrets:
  secretManager:
  - versionName: projects/$PROJECT_ID/secrets/wheelyard-token/versions/latest
    env: WHEELYARD_TOKEN
steps:
""",
    ),
}
"""By the value of `token create --for-ci`."""


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

    `url` is that of the index, without a trailing slash. Empty if nobody knows it, and then `index`
    is its path. With `serves_public`, public packages come from this index, too, and no other index
    is asked. Without `takes_uploads`, there are no lines that publish.
    """
    publishes = takes_uploads and Action.UPLOAD in scope.actions
    root = url
    hint = ""
    if not url:
        root = f"{UNKNOWN_URL}/{index}".rstrip("/")
        hint = "YOUR-INDEX stands for the host of the index: server.public_url.\n"
    publishing = f"to publish ({service.page})\nand " if publishes else ""
    job = _job_lines(service, scope, root, publishes=publishes, serves_public=serves_public)
    rule = _PUBLIC_RULE if serves_public else _PRIVATE_RULE
    return f"""\
{service.title} needs no stored token: trusted publishing gives each job one for minutes,
{publishing}to install ({DOCUMENTATION}/trusted-publishing.md#installing-in-ci).

To use this token all the same, store it:

{indent(service.storing, "  ")}
and add this to {service.place}:

{indent(job, "  ")}
{rule}
{hint}"""


def _job_lines(
    service: CiService, scope: Scope, root: str, *, publishes: bool, serves_public: bool
) -> str:
    """Return the lines of a job for the index at `root`."""
    lines = service.opening
    if publishes:
        lines += service.publishing
    lines += service.installing
    scheme, _, host = root.partition("://")
    # a pattern such as acme-* is nothing that one can install
    names = (project for project in scope.projects if not project.endswith("*"))
    values = {
        "<URL>": root,
        # the first one takes the place of the public index, the second is asked before it
        "<UV_INDEX>": "UV_DEFAULT_INDEX" if serves_public else "UV_INDEX",
        "<LOGIN>": f"{scheme}://{USER}:",
        "<HOST>": host,
        "<NAME>": next(names, "NAME"),
    }
    # not by `format`, as YAML and shells have braces of their own
    for placeholder, value in values.items():
        lines = lines.replace(placeholder, value)
    return lines
