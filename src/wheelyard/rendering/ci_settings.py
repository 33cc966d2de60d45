"""
Lines for CI services that use an API token: where to store it, and how a job uses it.

Each text begins with trusted publishing, which needs no stored token. None has the token itself.
"""

from textwrap import indent
from typing import Final

from msgspec import Struct

from wheelyard.model.access import Action, Scope

UNKNOWN_URL: Final = "https://YOUR-INDEX"
"""Stands for the URL of the index where the settings do not name it."""


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
        page="docs/trusted-publishing.md#github-actions",
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
        page="docs/trusted-publishing.md#gitlab-ci",
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
        page="docs/deploy/cloud-build.md#trusted-publishing",
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


def ci_lines(service: CiService, scope: Scope, url: str, *, serves_public: bool = False) -> str:
    """
    Return the text for a token with this scope on a CI service: trusted publishing, then the lines.

    `url` is that of the index, without a trailing slash; empty if nobody knows it. With
    `serves_public`, public packages come from this index, too, and no other index is asked.
    """
    uploads = scope.actions & Action.UPLOAD
    scheme, _, host = (url or UNKNOWN_URL).partition("://")
    names = (each for each in scope.projects if not each.endswith("*"))
    known = {
        "<URL>": url or UNKNOWN_URL,
        "<UV_INDEX>": "UV_DEFAULT_INDEX" if serves_public else "UV_INDEX",
        "<LOGIN>": f"{scheme}://__token__:",
        "<HOST>": host,
        "<NAME>": next(names, "NAME"),
    }
    job = service.opening + (service.publishing if uploads else "") + service.installing
    for placeholder, value in known.items():
        job = job.replace(placeholder, value)
    pages = f"to publish ({service.page})\nand " if uploads else ""
    rule = (
        "Both ask only this index there: it has the public packages, too."
        if serves_public
        else "pip asks only this index there, and fails where a package is missing here; "
        "uv does not:\ndocs/private-and-public.md."
    )
    hint = "" if url else "YOUR-INDEX stands for the host of the index: server.public_url.\n"
    return f"""\
{service.title} needs no stored token: trusted publishing gives each job one for minutes,
{pages}to install (docs/trusted-publishing.md#installing-in-ci).

To use this token all the same, store it:

{indent(service.storing, "  ")}
and add this to {service.place}:

{indent(job, "  ")}
{rule}
{hint}"""
