"""`wheelyard serve`, started as an operator starts it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.clients.harness import SOURCE, Sandbox, new_sandbox, wheelyard
from tests.http_server import TOKEN, WHEELYARD, free_port, is_healthy, running_program

PROMPT = "poetry publish"
"""The end of the start message of a server."""


@dataclass(frozen=True)
class Server:
    """A running server, and the token that it printed when it first started."""

    address: str  # host and port
    token: str
    store: Path
    private: bool  # whether reading, too, needs the token

    @property
    def url(self) -> str:
        """The root, without credentials."""
        return f"http://{self.address}"

    @property
    def trusted_url(self) -> str:
        """The root, with the token as the password of any user."""
        return f"http://__token__:{self.token}@{self.address}"

    @property
    def index_url(self) -> str:
        """The index URL for readers, with the token if the index is private."""
        return f"{self.trusted_url if self.private else self.url}/simple/"

    @property
    def upload_url(self) -> str:
        """The upload URL."""
        return f"{self.url}/legacy/"

    @property
    def log(self) -> str:
        """The standard error of the server."""
        return (self.store.parent / "log.txt").read_text()


@contextmanager
def running_server(folder: Path, *options: str) -> Iterator[Server]:
    """Start a server on a new store in a folder, wait until it answers, and end it afterwards."""
    sandbox = new_sandbox(folder)
    address = f"127.0.0.1:{free_port()}"
    store, log = folder / "store", folder / "log.txt"
    command = [*WHEELYARD, "serve", "--port", address.split(":")[1]]

    def is_up() -> bool:
        return is_healthy(address) and PROMPT in log.read_text()

    with running_program(sandbox, [*command, "--store", str(store), *options], log, is_up, SOURCE):
        found = TOKEN.search(log.read_text())
        # where grants or passwords are, a server makes none
        token = found[0] if found else _token(sandbox, store)
        yield Server(address, token, store, "--private" in options)


def _token(sandbox: Sandbox, store: Path) -> str:
    """Make a token as good as the first one."""
    options = ("--can", "read,upload,manage", "--store", store)
    found = TOKEN.search(wheelyard(sandbox, "token", "create", "tests", *options))
    assert found is not None
    return found[0]
