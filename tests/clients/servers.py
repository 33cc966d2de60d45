"""`wheelyard serve`, started as an operator starts it."""

import re
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clients.harness import REPOSITORY, Desk, new_desk, wheelyard

TOKEN = re.compile(r"wyd_[0-9A-Za-z]{48}")
PROMPT = "poetry publish"
"""Of what a server prints, the end."""
PATIENCE = 45.0
"""
Seconds until a server that has not answered is given up; a loaded machine may need some.

Less than the minute that a server gives to what is under way when it ends, so that one which waits
for nothing does not pass for one that ends.
"""
PORTS = range(15_000, 30_000)
"""From here no system takes the ports for connections, or for whoever listens on any."""


@dataclass(frozen=True)
class Server:
    """
    A running server, and the token that it printed when it first started.

    Args:
        address: Host and port.
        private: Whether reading, too, needs the token.
    """

    address: str
    token: str
    store: Path
    private: bool

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
        """The index as a reader's client is told of it: with the token only if it needs one."""
        return f"{self.trusted_url if self.private else self.url}/simple/"

    @property
    def upload_url(self) -> str:
        """Where clients publish."""
        return f"{self.url}/legacy/"

    @property
    def log(self) -> str:
        """Everything that the server has said on standard error."""
        return (self.store.parent / "log.txt").read_text()


@contextmanager
def running_server(folder: Path, *options: str) -> Iterator[Server]:
    """Start a server on a new store in a folder, wait until it answers, and end it afterwards."""
    desk = new_desk(folder)
    address = f"127.0.0.1:{free_port()}"
    store, printed, log = folder / "store", folder / "printed.txt", folder / "log.txt"
    command = [sys.executable, "-m", "wheelyard", "serve", "--port", address.split(":")[1]]
    with printed.open("w") as output, log.open("w") as errors:
        process = subprocess.Popen(
            [*command, "--store", str(store), *options],
            cwd=desk.folder,
            env=desk.environment() | {"PYTHONPATH": str(REPOSITORY / "src")},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
        )
    try:
        end = time.monotonic() + PATIENCE
        while not (is_healthy(address) and PROMPT in printed.read_text()):
            if process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"the server did not come up:\n{printed.read_text()}{log.read_text()}")
            time.sleep(0.02)
        found = TOKEN.search(printed.read_text())
        # where grants or passwords are, a server makes none
        token = found[0] if found else _token(desk, store)
        yield Server(address, token, store, "--private" in options)
    finally:
        try:
            stop(process)
        finally:
            sys.stderr.write(log.read_text())  # which pytest shows where a test has failed


def _token(desk: Desk, store: Path) -> str:
    """Make a token as good as the first one."""
    options = ("--can", "read,upload,manage", "--store", store)
    found = TOKEN.search(wheelyard(desk, "token", "create", "tests", *options))
    assert found is not None
    return found[0]


def until_healthy(process: "subprocess.Popen[bytes]", address: str, log: Path) -> None:
    """Wait until a server answers; one that ends, or takes too long, fails the test by its log."""
    end = time.monotonic() + PATIENCE
    while not is_healthy(address):
        if process.poll() is not None or time.monotonic() > end:
            pytest.fail(f"the server did not come up:\n{log.read_text()}")
        time.sleep(0.02)


def is_healthy(address: str) -> bool:
    """Whether `/health` answers 200."""
    try:
        with urllib.request.urlopen(f"http://{address}/health", timeout=5):
            return True
    except OSError:  # not listening yet, or not answering 200
        return False


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a server as a service manager does: it has to obey, and in good order."""
    process.terminate()
    try:
        status = process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert status == 0, f"the server ended with {status}"


def free_port() -> int:
    """Find a port that nobody listens on, nor will before it is used."""
    while True:
        port = secrets.choice(PORTS)
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
