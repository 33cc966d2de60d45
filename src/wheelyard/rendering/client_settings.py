"""
Settings of clients that use an index, as text to paste into a file.

The texts name the projects that come from this index. No client looks for these projects in another
index, also if only another project requires them: Poetry, PDM and Pipenv bind the names to this
index, uv asks this index first, and pip asks no other index. An index that serves public packages,
too, is the only index in the text. Any root URL gives a well-formed text.

The texts are the templates in the folder `clients`, whose README has their variables.
"""

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

from msgspec import Struct
from msgspec.structs import replace

if TYPE_CHECKING:
    from jinja2 import Environment

NAME: Final = "wheelyard"
"""The name of main in the configuration of a client."""
USER: Final = "__token__"
"""The user name that clients send with an API token, as on PyPI."""
VARIABLE: Final = "${WHEELYARD_TOKEN}"
"""The reference to the environment variable with the token, which PDM and Pipenv replace."""
LOCAL_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})
"""Hosts that pip trusts over plain http."""
_SAFE_URL_CHARACTERS: Final = "/%:!&'()*+,;=~[]"
"""Characters with no meaning in TOML, in INI and for a client that replaces variables."""

INSTALLERS: Final = {
    "uv": "uv.toml.jinja",
    "pip": "pip.conf.jinja",
    "poetry": "poetry.toml.jinja",
    "pdm": "pdm.toml.jinja",
    "pipenv": "Pipfile.jinja",
}
"""The template of each client that installs."""
PUBLISHERS: Final = {"twine": "pypirc.jinja", "hatch": "hatch.toml.jinja"}
"""The template of each client that only publishes."""
CLIENTS: Final = INSTALLERS | PUBLISHERS
INSTALL_CHOICES: Final = {
    "uv": "uv",
    "uv-pip": "uv pip",
    "pip": "pip",
    "poetry": "Poetry",
    "pdm": "PDM",
    "pipenv": "Pipenv",
}
"""The installers that people choose from on a page, which shows the commands of one at a time."""


class ClientSettings(Struct, frozen=True, kw_only=True):
    """The facts of an index that the configuration of a client is made from."""

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
    """Whether files can be published to the index."""
    is_static: bool = False
    """Whether the index is a static site, which answers no command."""

    @property
    def name(self) -> str:
        """The name of the index in the configuration of a client: `wheelyard-dev`."""
        if not self.index:
            return NAME
        # a name stands in names of sections and of variables, which have no slashes
        return f"{NAME}-{self.index.replace('/', '-')}"

    @property
    def variable(self) -> str:
        """The name of the index as a part of the name of a variable: `WHEELYARD_DEV`."""
        return self.name.upper().replace("-", "_")

    @property
    def plain_index_url(self) -> str:
        """The URL for installers without a credential."""
        return f"{self._quoted_root}/simple/"

    @property
    def index_url(self) -> str:
        """The URL for installers, with the token if there is one."""
        if not self.token:
            return self.plain_index_url
        return self.plain_index_url.replace("://", f"://{USER}:{self.token}@", 1)

    @property
    def url_with_variable(self) -> str:
        """
        The URL for installers with a variable in place of the token.

        Empty if the settings have the token itself, or if readers need no credential.
        """
        if self.token or not self.needs_credential:
            return ""
        return replace(self, token=VARIABLE).index_url

    @property
    def upload_url(self) -> str:
        """The URL that clients publish to."""
        return f"{self._quoted_root}/legacy/"

    @property
    def untrusted_host(self) -> str:
        """Host and port if pip refuses the index, which has no TLS, else an empty string."""
        url = urlsplit(self._quoted_root)
        if url.scheme == "https" or url.hostname in LOCAL_HOSTS:
            return ""
        return url.netloc

    def print_command(self, client: str) -> str:
        """Return the command that prints the text of a client, without the names of projects."""
        # the command asks a server or a store what each project requires; a static site is neither
        source = "--store STORE --url" if self.is_static else "--server"
        url = self.plain_index_url
        if self.index:
            main_url = self._quoted_root.removesuffix(f"/{self.index}")
            url = f"{main_url} --index {self.index}"
        return f"wheelyard print-settings {client} {source} {url}"

    @property
    def _quoted_root(self) -> str:
        """The root URL without characters that could end the quotes around it in a text."""
        return quote(self.root, safe=_SAFE_URL_CHARACTERS)


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
    """Return the Jinja environment of the texts, which compiles a template when it is needed."""
    # commands that print no settings do not wait for the import of Jinja
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415 - see above

    return Environment(
        loader=PackageLoader("wheelyard.rendering", "clients"),
        autoescape=False,  # noqa: S701 - it is no HTML
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
