"""
The lines after a login: a command for each client that does not find the stored token by itself.

No line has the token. Where a client wants the token, its command reads the netrc file or the
keyring.
"""

from collections.abc import Iterator
from shlex import quote
from typing import Final

from msgspec import Struct

from wheelyard.rendering.client_settings import USER

_PUBLISH_COMMANDS: Final = {
    "twine": (
        "TWINE_USERNAME={user} TWINE_PASSWORD={token} twine upload --repository-url {upload} dist/*"
    ),
    "PDM": (
        "PDM_PUBLISH_USERNAME={user} PDM_PUBLISH_PASSWORD={token} pdm publish --no-build "
        "--repository {upload}"
    ),
    "Hatch": "HATCH_INDEX_USER={user} HATCH_INDEX_AUTH={token} hatch publish --repo {upload}",
    "Flit": ("FLIT_USERNAME={user} FLIT_PASSWORD={token} FLIT_INDEX_URL={upload} flit publish"),
}
"""The command of each client that publishes and does not read a netrc file."""


class StoredToken(Struct, frozen=True, kw_only=True):
    """Where the token of an index is stored, and what it may do."""

    root: str
    """The root URL of the index, without a slash at its end."""
    host: str
    """The host of `root`, as a netrc file writes it."""
    netrc: str = ""
    """The path of the netrc file, which may begin with `~/`, or empty for the keyring."""
    may_upload: bool
    is_windows: bool = False

    @property
    def index_url(self) -> str:
        """The URL for installers."""
        return f"{self.root}/simple/"

    @property
    def index_url_with_user(self) -> str:
        """The URL for installers, with the user name of tokens."""
        return self.index_url.replace("://", f"://{USER}@", 1)

    @property
    def upload_url(self) -> str:
        """The URL for clients that publish."""
        return f"{self.root}/legacy/"

    @property
    def reading_command(self) -> str:
        """The command that prints the stored token."""
        if not self.netrc:
            return f"keyring get {self.index_url} {USER}"
        sed_script = f"s/^machine {self.host} login {USER} password //p"
        path = quote(self.netrc)
        if self.netrc.startswith("~/"):
            # a shell replaces ~ by the home folder only if ~ is not quoted
            path_in_home = self.netrc.removeprefix("~/")
            path = f"~/{quote(path_in_home)}"
        return f"sed -n {quote(sed_script)} {path}"


def login_lines(stored: StoredToken) -> Iterator[str]:
    """Yield the lines that say how each client gets the stored token."""
    if stored.netrc:
        yield "uv, pip, Poetry and PDM read it. Nothing else is needed to install."
    else:
        yield (
            "pip, PDM and twine ask the keyring if it is installed beside them; write the user "
            "name into the URL:"
        )
        yield f"  {stored.index_url_with_user}"
    command_by_client = dict(_client_commands(stored))

    # the commands are for a POSIX shell, which Windows does not have
    if stored.is_windows and command_by_client:
        clients = ", ".join(command_by_client)
        yield f"{clients}: give them {USER} and the token, which is the password there."
    elif command_by_client:
        yield "Other clients need one command each:"
        width = max(map(len, command_by_client))
        for client, command in command_by_client.items():
            yield f"  {client.ljust(width)}  {command}"
        if not stored.netrc:
            yield (
                "With subprocess, pip asks a keyring on PATH that is outside its own environment. "
                "For one beside pip, write import in place of subprocess."
            )


def _client_commands(stored: StoredToken) -> Iterator[tuple[str, str]]:
    """Yield each client that does not find the stored token, and its command with the token."""
    token = f'"$({stored.reading_command})"'
    if not stored.netrc:
        yield "pip", "pip config set global.keyring-provider subprocess"
        login = f"uv auth login {stored.root}/ --username {USER} --password -"
        yield "uv", f"{stored.reading_command} | {login}"
        yield "Poetry", f"poetry config http-basic.NAME {USER} {token}"
    if not stored.may_upload:
        return
    for client, command in _PUBLISH_COMMANDS.items():
        # all clients but Hatch ask the keyring themselves
        if stored.netrc or client == "Hatch":
            yield client, command.format(user=USER, token=token, upload=stored.upload_url)
