"""
Settings of clients that use an index, and lines for CI services.

No client looks up a named project anywhere but in this index, also where only another project needs
it: Poetry, PDM and Pipenv by its name, uv as it asks this index first, pip as it asks no other. An
index that serves public packages, too, is the only one in the text. Any root URL gives a
well-formed text.

Each text begins with trusted publishing, which needs no stored token. None has the token itself.
"""

from collections.abc import Sequence
from functools import cache
from textwrap import indent
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

from msgspec import Struct
from msgspec.structs import replace

from wheelyard.errors import DOCUMENTATION
from wheelyard.model.access import Action, Scope

if TYPE_CHECKING:
    from jinja2 import Environment

NAME: Final = "wheelyard"
"""The name of main in the configuration of a client."""
USER: Final = "__token__"
VARIABLE: Final = "${WHEELYARD_TOKEN}"
"""What PDM and Pipenv replace by the value of the variable."""
LOCAL_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})
"""Hosts that pip trusts over plain http."""
_SAFE: Final = "/%:!&'()*+,;=~[]"
"""Characters of a URL that mean nothing to TOML, INI or a client that replaces variables."""

INSTALLERS: Final = {
    "uv": "uv.toml.jinja",
    "pip": "pip.conf.jinja",
    "poetry": "poetry.toml.jinja",
    "pdm": "pdm.toml.jinja",
    "pipenv": "Pipfile.jinja",
}
"""The template of each client that installs, in the folder `clients`."""
PUBLISHERS: Final = {"twine": "pypirc.jinja", "hatch": "hatch.toml.jinja"}
CLIENTS: Final = {**INSTALLERS, **PUBLISHERS}
INSTALL_CHOICES: Final = {
    "uv": "uv",
    "uv-pip": "uv pip",
    "pip": "pip",
    "poetry": "Poetry",
    "pdm": "PDM",
    "pipenv": "Pipenv",
}
"""What people choose from on pages, who see the commands of one at a time."""
UNKNOWN_URL: Final = "https://YOUR-INDEX"
"""Stands for the URL of the index where the settings do not name it."""


class ClientSettings(Struct, frozen=True, kw_only=True):
    """What the configuration of a client is made from."""

    root: str
    """The URL of the index without a slash at its end."""
    index: str = ""
    """The path of the index with its day if it has one, or empty for main."""
    projects: Sequence[str] = ()
    """Normalised names, without duplicates, of the projects that come from this index."""
    token: str = ""
    """A secret of letters, digits and `-._~`, or an empty text to leave credentials out."""
    needs_credential: bool = False
    """Whether nobody installs anything without one, as far as that is known."""
    serves_public: bool = False
    """Whether public packages come from this index, too, by an upstream index."""
    takes_uploads: bool = True
    is_static: bool = False
    """Whether it is a static site, of which no command can ask."""

    @property
    def name(self) -> str:
        """The name of the index in the configuration of a client."""
        return f"{NAME}-{self.index.replace('/', '-')}" if self.index else NAME

    @property
    def variable(self) -> str:
        """The same as a part of the name of a variable."""
        return self.name.upper().replace("-", "_")

    @property
    def asked(self) -> str:
        """The options of commands that ask what projects need, up to the URL of the index."""
        return "--store STORE --url" if self.is_static else "--server"

    @property
    def plain_index_url(self) -> str:
        """The URL for installers without a credential."""
        return f"{self._quoted}/simple/"

    @property
    def index_url(self) -> str:
        """The URL for installers, with the credential if there is one."""
        login = f"://{USER}:{self.token}@" if self.token else "://"
        return self.plain_index_url.replace("://", login, 1)

    @property
    def url_with_variable(self) -> str:
        """The same with a variable for the token, if the text needs one, else an empty text."""
        if self.token or not self.needs_credential:
            return ""
        return replace(self, token=VARIABLE).index_url

    @property
    def upload_url(self) -> str:
        """The URL that clients publish to."""
        return f"{self._quoted}/legacy/"

    @property
    def untrusted_host(self) -> str:
        """Host and port if pip would refuse them, as they have no TLS, else an empty string."""
        parts = urlsplit(self._quoted)
        is_trusted = parts.scheme == "https" or parts.hostname in LOCAL_HOSTS
        return "" if is_trusted else parts.netloc

    def print_command(self, client: str) -> str:
        """Return the command that prints the text of a client, up to the names of projects."""
        url = self.plain_index_url
        if self.index:
            url = f"{self._quoted.removesuffix(f'/{self.index}')} --index {self.index}"
        return f"wheelyard print-settings {client} {self.asked} {url}"

    @property
    def _quoted(self) -> str:
        return quote(self.root, safe=_SAFE)


def client_text(client: str, settings: ClientSettings) -> str:
    """Return the text of one of `CLIENTS`, which `clients/README.md` describes."""
    template = _templates().get_template(CLIENTS[client])
    return template.render(
        name=settings.name,
        variable=settings.variable,
        user=USER,
        token=settings.token,
        index_url=settings.index_url,
        url_with_variable=settings.url_with_variable,
        upload_url=settings.upload_url,
        projects=settings.projects,
        serves_public=settings.serves_public,
        takes_uploads=settings.takes_uploads,
        untrusted_host=settings.untrusted_host,
        print_command=settings.print_command(client),
    )


@cache
def _templates() -> "Environment":
    """Return the templates, which are compiled when they are needed."""
    # commands that print no settings do not wait for it
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415 - see above

    return Environment(
        loader=PackageLoader("wheelyard.rendering", "clients"),
        autoescape=False,  # noqa: S701 - it is no HTML
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


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

    `url` is that of the index, without a trailing slash; empty if nobody knows it, and then `index`
    is its path. With `serves_public`, public packages come from this index, too, and no other index
    is asked. Without `takes_uploads`, there are no lines that publish.
    """
    uploads = takes_uploads and scope.actions & Action.UPLOAD
    root = url or "/".join(filter(None, (UNKNOWN_URL, index)))
    scheme, _, host = root.partition("://")
    # the first project that has a name, and is no pattern
    names = (project for project in scope.projects if not project.endswith("*"))
    values = {
        "<URL>": root,
        "<UV_INDEX>": "UV_DEFAULT_INDEX" if serves_public else "UV_INDEX",
        "<LOGIN>": f"{scheme}://__token__:",
        "<HOST>": host,
        "<NAME>": next(names, "NAME"),
    }
    job = service.opening + (service.publishing if uploads else "") + service.installing
    for placeholder, value in values.items():
        job = job.replace(placeholder, value)
    pages = f"to publish ({service.page})\nand " if uploads else ""
    rule = (
        "Both ask only this index there: it has the public packages, too."
        if serves_public
        else "pip asks only this index there, and fails where a package is missing here; "
        f"uv does not:\n{DOCUMENTATION}/private-and-public.md."
    )
    hint = "" if url else "YOUR-INDEX stands for the host of the index: server.public_url.\n"
    return f"""\
{service.title} needs no stored token: trusted publishing gives each job one for minutes,
{pages}to install ({DOCUMENTATION}/trusted-publishing.md#installing-in-ci).

To use this token all the same, store it:

{indent(service.storing, "  ")}
and add this to {service.place}:

{indent(job, "  ")}
{rule}
{hint}"""
