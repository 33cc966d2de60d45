"""
The page with which people set up a client, step by step: choose it, get a credential, paste, try.

The text to paste is that of `print-settings`. What its comment says besides the steps stands below
it. If the page was opened from a project, the text has its name, and all others that it needs.
"""

from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import Final

from markupsafe import Markup
from msgspec import Struct
from msgspec.structs import replace

from wheelyard.model.index_name import MAIN
from wheelyard.rendering import client_settings
from wheelyard.rendering.client_settings import ClientSettings
from wheelyard.rendering.web.environment import PageEnvironment
from wheelyard.rendering.web.viewer import Viewer

ROOT: Final = "../"
"""The home page, relative to this one."""
ANY_PROJECT: Final = "NAME"
"""Stands for the name of a project."""

_LABELS: Final = {
    "uv": "uv",
    "pip": "pip",
    "poetry": "Poetry",
    "pdm": "PDM",
    "pipenv": "Pipenv",
    "twine": "twine",
    "hatch": "Hatch",
}
_FILES: Final = {
    "uv": "pyproject.toml",
    "pip": "pip.conf (pip.ini on Windows)",
    "poetry": "pyproject.toml",
    "pdm": "pyproject.toml",
    "pipenv": "Pipfile",
    "twine": "~/.pypirc",
    "hatch": "config.toml of Hatch (hatch config find)",
}
_NETRC: Final = frozenset({"uv", "pip", "poetry"})
"""The clients that read ~/.netrc."""
_IN_URL: Final = frozenset({"pdm", "pipenv"})
"""Those that take the credential in the URL, from a variable."""


class ClientSteps(Struct, frozen=True, kw_only=True):
    """What to do for one client."""

    name: str
    """The name that the command `print-settings` takes."""
    label: str
    file: str
    """Where the text goes."""
    text: Markup
    """The text to paste, without its comment."""
    comment: Markup
    """What else is to be known of it."""
    reads_netrc: bool
    takes_url: bool
    """Whether the credential stands in the URL."""
    tried: str
    """The command that shows whether it works."""


class SetupContent(Struct, frozen=True, kw_only=True):
    """What the page depends on, besides its viewer."""

    client: str = ""
    """The client to show, or an empty text for the first."""
    projects: Sequence[str] = ()
    """The projects that the text has to name, first the one that the page was opened from."""
    asked: str = ""
    """The text that was typed as the name of a project."""
    error: str = ""
    """What is wrong with that text."""
    needs_credential: bool = True
    """Whether one needs a credential to install anything."""
    index: str = MAIN
    """The name of the index that a token is for."""
    contact: str = ""
    """Whom to ask for one, as `[web] contact` says."""
    days_path: str = ""
    """The beginning of the paths of the views of days, or an empty text if there are none."""
    today: str = ""
    """The name of today's view, such as `as-of-2026-01-31`."""

    def render(self, environment: PageEnvironment, viewer: Viewer) -> bytes:
        """
        Return the bytes of the page.

        If the index has no use for the client, or does not know it, the first one is shown.
        """
        # all pages of an index share its settings, and only this one knows these
        settings = replace(
            environment.client_settings,
            projects=self.projects,
            needs_credential=self.needs_credential,
        )
        offered = client_settings.CLIENTS if settings.takes_uploads else client_settings.INSTALLERS
        project = self.projects[0] if self.projects else ANY_PROJECT
        steps = [self._steps(environment, settings, client, project) for client in offered]
        chosen = self.client
        if chosen not in offered:  # a link may name a client that this index has no use for
            chosen = next(iter(offered))
        return environment.render(
            "setup.html",
            viewer,
            ROOT,
            content=self,
            steps=steps,
            chosen=chosen,
            host=environment.host,
            login=environment.login_command(ROOT, self.index),
            project=project if self.projects else "",
        )

    def _steps(
        self, environment: PageEnvironment, settings: ClientSettings, client: str, project: str
    ) -> ClientSteps:
        lines = client_settings.client_text(client, settings).splitlines(keepends=True)
        # a comment says where the text goes and what to type, which the page has as its steps
        comment = list(takewhile(lambda line: line.startswith("#"), lines))
        return ClientSteps(
            name=client,
            label=_LABELS[client],
            file=_FILES[client],
            text=environment.with_links("".join(lines[len(comment) :]), ROOT),
            comment=environment.with_links(_besides_steps(client, settings, comment), ROOT),
            reads_netrc=client in _NETRC,
            takes_url=client in _IN_URL,
            tried=_tried(client, project, settings),
        )


def _besides_steps(client: str, settings: ClientSettings, comment: Iterable[str]) -> str:
    """Return what the comment of a text says besides where it goes, the credential, and to try."""
    steps = ["# Credential:", "# Then:"]
    if not settings.is_static:
        # the form of the page fills in the projects, and a static site has none
        steps.append("# This prints")
    before_steps = takewhile(lambda line: not line.startswith(tuple(steps)), comment)
    lines = [line.strip("# \n") for line in before_steps]
    # the first line of a publisher, and the first sentence of others, says where the text goes
    if client in client_settings.PUBLISHERS:
        return " ".join(lines[1:])
    return " ".join(lines).partition(". ")[2]


def _tried(client: str, project: str, settings: ClientSettings) -> str:
    """Return the command that shows whether a client is set up."""
    name = settings.name
    # beside the public index, Poetry needs the source of a project, and the text names it to Pipenv
    poetry = f"poetry add --source {name} {project}"
    pipenv = "pipenv install"
    if settings.serves_public:
        poetry = f"poetry add {project}"
        pipenv = f"pipenv install {project}"
    commands = {
        "uv": f"uv add {project}",
        "pip": f"pip install {project}",
        "poetry": poetry,
        "pdm": f"pdm add {project}",
        "pipenv": pipenv,
        "twine": f"twine upload --repository {name} dist/*",
        "hatch": f"hatch publish --repo {name}",
    }
    return commands[client]
