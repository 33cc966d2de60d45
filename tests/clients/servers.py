"""`wheelyard serve`, started as an operator starts it."""

import re
import secrets
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.clients.harness import SOURCE, Sandbox, new_sandbox, wheelyard
from tests.waiting import TIMEOUT_SECONDS, until

TOKEN = re.compile(r"wyd_[0-9A-Za-z]{48}")
PROMPT = "poetry publish"
"""The end of the start message of a server."""
PORTS = range(15_000, 30_000)
"""Ports below the range that systems assign automatically."""


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
def running(
    sandbox: Sandbox,
    command: Sequence[str | Path],
    log: Path,
    is_up: Callable[[], bool],
    environment: Mapping[str, str],
    *,
    is_ours: bool = True,
    timeout: float = TIMEOUT_SECONDS,
) -> Iterator["subprocess.Popen[bytes]"]:
    """
    Run a server until the block ends; fail with its log if it does not start in time.

    What it says goes to `log`. Ours has to end in good order.
    """
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            cwd=sandbox.folder,
            env={**sandbox.environment(), **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        until(is_up, log.read_text, process, timeout)
        yield process
    finally:
        try:
            stop(process, in_order=is_ours)
        finally:
            sys.stderr.write(log.read_text())  # which pytest shows where a test has failed


@contextmanager
def running_server(folder: Path, *options: str) -> Iterator[Server]:
    """Start a server on a new store in a folder, wait until it answers, and end it afterwards."""
    sandbox = new_sandbox(folder)
    address = f"127.0.0.1:{free_port()}"
    store, log = folder / "store", folder / "log.txt"
    command = [sys.executable, "-m", "wheelyard", "serve", "--port", address.split(":")[1]]

    def is_up() -> bool:
        return is_healthy(address) and PROMPT in log.read_text()

    with running(sandbox, [*command, "--store", str(store), *options], log, is_up, SOURCE):
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


def until_healthy(process: "subprocess.Popen[bytes]", address: str, log: Path) -> None:
    """Wait until a server answers; one that ends, or takes too long, fails the test by its log."""
    until(lambda: is_healthy(address), log.read_text, process, TIMEOUT_SECONDS)


def is_healthy(address: str) -> bool:
    """Whether `/health` answers 200."""
    try:
        with urllib.request.urlopen(f"http://{address}/health", timeout=5):
            return True
    except OSError:  # not listening yet, or not answering 200
        return False


def is_listening(address: tuple[str, int]) -> bool:
    """Return whether a server accepts connections."""
    with socket.socket() as client:
        return client.connect_ex(address) == 0


def stop(process: "subprocess.Popen[bytes]", *, in_order: bool = True) -> None:
    """End a server as a service manager does: it has to obey, and ours in good order."""
    process.terminate()
    try:
        status = process.wait(TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise
    assert status == 0 or not in_order, f"the server ended with {status}"


def free_port() -> int:
    """Return a port that stays free until it is used."""
    while True:
        port = secrets.choice(PORTS)
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
