"""`wheelyard serve`, as an operator starts it, but forked: see `tests/forking.py`."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.clients.harness import SOURCE, Sandbox, new_sandbox, wheelyard
from tests.forking import ProcessEnvironment
from tests.http_server import TOKEN, fork_server, is_healthy
from tests.ports import free_port
from tests.waiting import until

PROMPT = "\nInstall "
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
def serving(
    sandbox: Sandbox, environment: Mapping[str, str], *options: str, host: str = "127.0.0.1"
) -> Iterator[str]:
    """Run `wheelyard serve` until the block ends; yield its address."""
    port = free_port()
    address, log = f"{host}:{port}", sandbox.folder.parent / "log.txt"
    log.unlink(missing_ok=True)
    variables = {**sandbox.environment(), **SOURCE, **environment}
    dependencies = ProcessEnvironment(
        folder=sandbox.folder, environment=variables, output=log, errors=log
    )
    process = fork_server(*options, port=port, dependencies=dependencies)

    def is_up() -> bool:
        return not process.is_alive() or (is_healthy(address) and PROMPT in log.read_text())

    try:
        until(is_up, log.read_text)
        assert process.is_alive(), log.read_text()
        yield address
    finally:
        try:
            process.end()
        finally:
            sys.stderr.write(log.read_text())  # which pytest shows where a test has failed


@contextmanager
def running_server(folder: Path, *options: str) -> Iterator[Server]:
    """Start a server on a new store in a folder, wait until it answers, and end it afterwards."""
    sandbox, store = new_sandbox(folder), folder / "store"
    with serving(sandbox, {}, "--store", str(store), *options) as address:
        found = TOKEN.search((folder / "log.txt").read_text())
        # where grants or passwords are, a server makes none
        token = found[0] if found else make_token(sandbox, "--store", store)
        yield Server(address, token, store, "--private" in options)


def make_token(sandbox: Sandbox, *place: str | Path, **environment: str) -> str:
    """Make a token as good as the first one."""
    rights = ("--can", "read,upload,manage")
    found = TOKEN.search(
        wheelyard(sandbox, "token", "create", "tests", *rights, *place, **environment)
    )
    assert found is not None
    return found[0]
