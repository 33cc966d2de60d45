"""
Settings of clients that use an index, and lines for CI services.

No client looks up a named project anywhere but in this index, also where only another project needs
it: Poetry, PDM and Pipenv by its name, uv as it asks this index first, pip as it asks no other. An
index that serves public packages, too, is the only one in the text. Any root URL gives a
well-formed text.

Each text begins with trusted publishing, which needs no stored token. None has the token itself.
"""

from collections.abc import Callable, Sequence
from textwrap import indent
from typing import Final
from urllib.parse import quote, urlsplit

from msgspec import Struct

from wheelyard.errors import DOCUMENTATION
from wheelyard.model.access import Action, Scope

NAME: Final = "wheelyard"
"""The name of main in the configuration of a client."""
USER: Final = "__token__"
LOCAL_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})
"""Hosts that pip trusts over plain http."""
_SAFE: Final = "/%:!&'()*+,;=~[]"
"""Characters of a URL that mean nothing to TOML, INI or a client that replaces variables."""


_ONE_INDEX: Final = """
# All packages come from this index, also the public ones. Never add {}
# beside it: a stranger who publishes a private name there replaces your package.
"""


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
    def upload_url(self) -> str:
        """The URL that clients publish to."""
        return f"{self._quoted}/legacy/"

    @property
    def untrusted_host(self) -> str:
        """Host and port if pip would refuse them, as they have no TLS, else an empty string."""
        parts = urlsplit(self._quoted)
        is_trusted = parts.scheme == "https" or parts.hostname in LOCAL_HOSTS
        return "" if is_trusted else parts.netloc

    def for_each(self, lines: str, head: str = "") -> str:
        """
        Return `head`, and then `lines` for each project, with its name in place of NAME.

        Without projects, both are a comment.
        """
        if self.projects:
            parts = (head, *(lines.replace("NAME", name) for name in self.projects))
            return "".join(f"\n{part}" for part in parts if part)
        comments = "".join(f"# {line}\n" for line in f"{head}{lines}".splitlines())
        return f"\n# For each project that comes from this index:\n{comments}"

    def next_step(self, client: str, command: str) -> str:
        """
        Return the comment that says to type `command`, which is safe once all are listed.

        Without projects, it says instead how to print the text with them.
        """
        if self.projects:
            return f"# Then: {command}\n"
        url = self.plain_index_url
        if self.index:
            url = f"{self._quoted.removesuffix(f'/{self.index}')} --index {self.index}"
        printing = f"wheelyard print-settings {client} {self.asked} {url}"
        return f"# This prints the text with all of them: {printing} --project NAME\n"

    @property
    def _quoted(self) -> str:
        return quote(self.root, safe=_SAFE)


Text = Callable[[ClientSettings], str]


def _uv(settings: ClientSettings) -> str:
    publishing = f'publish-url = "{settings.upload_url}"\n' if settings.takes_uploads else ""
    role = settings.for_each(f'[tool.uv.sources.NAME]\nindex = "{settings.name}"\n')
    hint = """ Other indexes go behind this one, or have "default = true".
# uv asks this index first for each name, also for one that only another package needs, and asks no
# other if it is here. A name with a source never comes from elsewhere.
"""
    if settings.serves_public:
        role, hint = "default = true\n", _ONE_INDEX.format("a second [[tool.uv.index]]")
    return f"""\
# pyproject.toml.{hint}\
# Credential: UV_INDEX_{settings.variable}_USERNAME={USER} and
# UV_INDEX_{settings.variable}_PASSWORD, or ~/.netrc.
[[tool.uv.index]]
name = "{settings.name}"
url = "{settings.index_url}"
{publishing}{role}"""


def _pip(settings: ClientSettings) -> str:
    host = settings.untrusted_host
    trusted = f"trusted-host = {host}\n" if host else ""
    hint = """
# pip takes all packages from this index then, and fails where one is missing here. Never add the
# public index as extra-index-url: a stranger who publishes a private name there, with a higher
# version, replaces your package. For packages that need public ones, use uv.
"""
    if settings.serves_public:
        hint = _ONE_INDEX.format("an extra-index-url")
    return f"""\
# pip.conf. If it has a section [global] already, put the lines into that section.{hint}\
# Credential: ~/.netrc or a keyring.
[global]
index-url = {settings.index_url}
{trusted}"""


def _poetry(settings: ClientSettings) -> str:
    group = f"tool.poetry.group.{settings.name}"
    lines = f'[{group}.dependencies.NAME]\nversion = "*"\nsource = "{settings.name}"\n'
    sources = settings.for_each(lines, f"[{group}]\noptional = true\n")
    first = " ".join(settings.projects[:1])
    role = f'priority = "explicit"\n{sources}'
    hint = f""" List every private project here, also one that only another private project needs:
# Poetry looks up all other names in the other sources. The group is not installed. It says for the
# whole project where its names come from.
{settings.next_step("poetry", f"poetry add --source {settings.name} {first}")}"""
    if settings.serves_public:
        role, hint = 'priority = "primary"\n', _ONE_INDEX.format("a second [[tool.poetry.source]]")
    return f"""\
# pyproject.toml.{hint}\
# Credential: POETRY_HTTP_BASIC_{settings.variable}_USERNAME={USER} and
# POETRY_HTTP_BASIC_{settings.variable}_PASSWORD, or ~/.netrc.
[[tool.poetry.source]]
name = "{settings.name}"
url = "{settings.index_url}"
{role}"""


def _pdm(settings: ClientSettings) -> str:
    names = ", ".join(f'"{name}"' for name in settings.projects)
    name, role = settings.name, f'include_packages = [{names}]\nexclude_packages = ["*"]\n'
    hint = f"""\
List every private project in include_packages, also one that only another private
# project needs; "acme-*" is allowed. PDM looks up all other names in the other sources.
{settings.next_step("pdm", f"pdm add {' '.join(settings.projects[:1])}")}"""
    if settings.serves_public:
        name, role, rule = "pypi", "", _ONE_INDEX.format("a second [[tool.pdm.source]]")
        hint = f"By this name, the source takes the place of the public index.{rule}"
    return f"""\
# pyproject.toml. {hint}\
# Credential: {USER}:${{WHEELYARD_TOKEN}}@ before the host.
[[tool.pdm.source]]
name = "{name}"
url = "{settings.index_url}"
verify_ssl = {_verifies(settings)}
{role}"""


def _pipenv(settings: ClientSettings) -> str:
    packages = settings.for_each(f'[packages.NAME]\nversion = "*"\nindex = "{settings.name}"\n')
    hint = f"""\
after the [[source]] of public packages. List every private project here, also one that
# only another private project needs. Pipenv looks up all other names in the first source.
# Never name one in "pipenv install NAME": Pipenv removes its index here then.
{settings.next_step("pipenv", "pipenv install")}"""
    if settings.serves_public:
        packages = ""
        hint = f"in place of its [[source]].{_ONE_INDEX.format('a second [[source]]')}"
    return f"""\
# Pipfile, {hint}\
# Credential: {USER}:${{WHEELYARD_TOKEN}}@ before the host.
[[source]]
name = "{settings.name}"
url = "{settings.index_url.removesuffix("/")}"
verify_ssl = {_verifies(settings)}
{packages}"""


def _twine(settings: ClientSettings) -> str:
    password = f"password = {settings.token}\n" if settings.token else ""
    return f"""\
# ~/.pypirc, for: twine upload --repository {settings.name} dist/*
# If the file has a section [distutils] already, add the name to its index-servers instead.
[distutils]
index-servers =
    {settings.name}

[{settings.name}]
repository = {settings.upload_url}
username = {USER}
{password}"""


def _hatch(settings: ClientSettings) -> str:
    token = f'auth = "{settings.token}"\n' if settings.token else ""
    return f"""\
# config.toml of Hatch (`hatch config find`), for: hatch publish --repo {settings.name}
# Hatch installs with pip or uv, by their settings.
[publish.index.repos.{settings.name}]
url = "{settings.upload_url}"
user = "{USER}"
{token}"""


def _verifies(settings: ClientSettings) -> str:
    return "false" if settings.untrusted_host else "true"


INSTALLERS: Final[dict[str, Text]] = {
    "uv": _uv,
    "pip": _pip,
    "poetry": _poetry,
    "pdm": _pdm,
    "pipenv": _pipenv,
}
PUBLISHERS: Final[dict[str, Text]] = {"twine": _twine, "hatch": _hatch}
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
