"""
The page for setting up a client in steps: choose a client, get a credential, paste a text, try.

The text to paste is the text of `print-settings` without its comment. The page shows the sentences
of the comment that no step says below the text. If the page was opened from a project, the text
names the project and all projects that it requires.
"""

from collections.abc import Iterable, Sequence
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
"""The URL of the home page, relative to this page."""
ANY_PROJECT: Final = "NAME"
"""The name in commands if the page was not opened from a project."""

_CLIENT_TITLES: Final = {
    "uv": "uv",
    "pip": "pip",
    "poetry": "Poetry",
    "pdm": "PDM",
    "pipenv": "Pipenv",
    "twine": "twine",
    "hatch": "Hatch",
}
_SETTINGS_FILES: Final = {
    "uv": "pyproject.toml",
    "pip": "pip.conf (pip.ini on Windows)",
    "poetry": "pyproject.toml",
    "pdm": "pyproject.toml",
    "pipenv": "Pipfile",
    "twine": "~/.pypirc",
    "hatch": "config.toml of Hatch (hatch config find)",
}
_NETRC_CLIENTS: Final = frozenset({"uv", "pip", "poetry"})
"""The clients that read ~/.netrc."""
_URL_CLIENTS: Final = frozenset({"pdm", "pipenv"})
"""The clients that take the credential in the URL, from a variable."""


class ClientSteps(Struct, frozen=True, kw_only=True):
    """The steps for one client."""

    name: str
    """The name that the command `print-settings` takes."""
    label: str
    file: str
    """The file that the text goes into."""
    text: Markup
    """The text to paste, without its comment."""
    comment: Markup
    """The sentences of the comment that no step says."""
    reads_netrc: bool
    takes_url: bool
    """Whether the credential stands in the URL."""
    trial_command: str
    """The command that shows whether the client is set up."""


class SetupContent(Struct, frozen=True, kw_only=True):
    """The facts from which the page is made, besides its viewer."""

    client: str = ""
    """The client to show, or an empty text for the first client."""
    projects: Sequence[str] = ()
    """The projects that the text names, first the project that the page was opened from."""
    asked: str = ""
    """The name of a project as the viewer has typed it."""
    error: str = ""
    """Why the typed name is refused, or an empty text."""
    needs_credential: bool = True
    """Whether installing needs a credential."""
    index: str = MAIN
    """The name of the index that a token is for."""
    contact: str = ""
    """Whom to ask for a token, as `[web] contact` says."""
    days_path: str = ""
    """The beginning of the paths of the views of days, or an empty text if there are none."""
    today: str = ""
    """The name of today's view, such as `as-of-2026-01-31`."""

    def render(self, environment: PageEnvironment, viewer: Viewer) -> bytes:
        """
        Return the bytes of the page.

        The first client is shown if the page does not offer the chosen one.
        """
        # the environment has the settings of the index, and this page those of its content
        settings = replace(
            environment.client_settings,
            projects=self.projects,
            needs_credential=self.needs_credential,
        )
        if settings.takes_uploads:
            offered_clients = tuple(client_settings.CLIENTS)
        else:
            offered_clients = tuple(client_settings.INSTALLERS)
        project = self.projects[0] if self.projects else ANY_PROJECT
        steps = [
            _client_steps(environment, settings, client, project) for client in offered_clients
        ]
        chosen = self.client
        # a link may name a client that publishes, also for an index that takes no uploads
        if chosen not in offered_clients:
            chosen = offered_clients[0]
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


def _client_steps(
    environment: PageEnvironment, settings: ClientSettings, client: str, project: str
) -> ClientSteps:
    """Return the steps for a client, with commands for a project."""
    comment, text = _split_comment(client_settings.client_text(client, settings))
    remaining_comment = _remaining_comment(client, settings, comment)
    return ClientSteps(
        name=client,
        label=_CLIENT_TITLES[client],
        file=_SETTINGS_FILES[client],
        text=environment.with_links(text, ROOT),
        comment=environment.with_links(remaining_comment, ROOT),
        reads_netrc=client in _NETRC_CLIENTS,
        takes_url=client in _URL_CLIENTS,
        trial_command=_trial_command(client, project, settings),
    )


def _split_comment(client_text: str) -> tuple[list[str], str]:
    """Return the lines of the comment at the beginning of a text, and the text behind them."""
    lines = client_text.splitlines(keepends=True)
    comment: list[str] = []
    for line in lines:
        if not line.startswith("#"):
            break
        comment.append(line)
    return comment, "".join(lines[len(comment) :])


def _remaining_comment(client: str, settings: ClientSettings, comment: Iterable[str]) -> str:
    """
    Return the sentences of the comment of a text that no step of the page says.

    The steps say the file that the text goes into, the credential, and the command to try.
    """
    step_beginnings = ["# Credential:", "# Then:"]
    if not settings.is_static:
        # the form of the page fills in the projects; a static site has no such form
        step_beginnings.append("# This prints")
    lines: list[str] = []
    for line in comment:
        if line.startswith(tuple(step_beginnings)):
            break
        lines.append(line.strip("# \n"))
    # the first line for a publisher, or the first sentence for an installer, names the file
    if client in client_settings.PUBLISHERS:
        return " ".join(lines[1:])
    _, _, other_sentences = " ".join(lines).partition(". ")
    return other_sentences


def _trial_command(client: str, project: str, settings: ClientSettings) -> str:
    """Return the command that shows whether a client is set up."""
    name = settings.name
    # beside the public index, Poetry has to be told the source of a project; the text of Pipenv
    # names the project, so that its command does not
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
