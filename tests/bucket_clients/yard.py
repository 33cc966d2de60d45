"""`wheelyard serve` on a bucket of the stand-in, started as an operator starts it."""

import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bucket.server import BucketServer
from tests.clients.harness import REPOSITORY, Desk, new_desk
from tests.clients.servers import TOKEN, Server, free_port, stop, until_healthy

BUCKET = "wheels"
STORE = f"gs://{BUCKET}/team a~1"
"""With what filenames cannot have, and signatures and URLs have to get right all the same."""
MANAGER = ("--can", "read,upload,manage")
SOURCE = {"PYTHONPATH": str(REPOSITORY / "src")}


@dataclass(frozen=True)
class Yard:
    """
    A running index in a bucket.

    Args:
        server: How clients reach it.
        cloud: Where its bucket is.
        pid: Of its process.
        folder: Where its log is.
    """

    server: Server
    cloud: BucketServer
    pid: int
    folder: Path

    @property
    def log(self) -> str:
        """What the server has logged so far."""
        return (self.folder / "log.txt").read_text()

    def warnings(self, pattern: str) -> int:
        """Return how many lines of the log match."""
        return len(re.findall(pattern, self.log))


def as_nobody(cloud: BucketServer) -> dict[str, str]:
    """Return what leads a process to the stand-in as to an emulator: nothing can sign."""
    return cloud.environment()


def as_account(cloud: BucketServer, folder: Path) -> dict[str, str]:
    """Return what leads a process to the stand-in with the key of a service account."""
    return {
        "API_ENDPOINT_OVERRIDE": cloud.url,
        "GOOGLE_APPLICATION_CREDENTIALS": str(cloud.write_key_file(folder)),
    }


def as_machine(cloud: BucketServer, iam: str) -> dict[str, str]:
    """
    Return what leads a process to the stand-in as one in the cloud, without a key.

    Args:
        cloud: The stand-in.
        iam: Where the way to Google's IAM leads, which is nowhere: host and port.
    """
    way = {"API_ENDPOINT_OVERRIDE": cloud.url, "HTTPS_PROXY": f"http://{iam}"}
    return way | cloud.environment(metadata=True)


@contextmanager
def running_yard(
    folder: Path,
    cloud: BucketServer,
    environment: Mapping[str, str],
    *options: str,
    config: str = "",
) -> Iterator[Yard]:
    """
    Start a server, with a token made beforehand, and end it afterwards.

    Args:
        folder: New; where its home, its settings and its log are.
        cloud: The stand-in.
        environment: One of `as_nobody` and its like, and what else it finds.
        options: More of its command line.
        config: Its settings file.
    """
    desk = new_desk(folder)
    settings = folder / "wheelyard.toml"
    settings.write_text(config)
    place = ("--store", STORE, "--config", str(settings))
    token = TOKEN.search(command(desk, environment, "token", "create", "test", *MANAGER, *place))
    assert token
    with serving(desk, environment, *place, *options) as (address, process):
        server = Server(address, token[0], folder, "--private" in options)
        yield Yard(server, cloud, process.pid, folder)


@contextmanager
def serving(
    desk: Desk, environment: Mapping[str, str], *options: str
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run `wheelyard serve` until the block ends; yield its address and its process."""
    # the bucket's stand-in is at 127.0.0.1: as in the world, its host has another name
    address = f"localhost:{free_port()}"
    line = [sys.executable, "-m", "wheelyard", "serve", "--port", address.split(":")[1], *options]
    log = desk.folder.parent / "log.txt"
    with log.open("w") as written:
        process = subprocess.Popen(
            line,
            cwd=desk.folder,
            env={**desk.environment(), **SOURCE, **environment},
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=written,
        )
    try:
        until_healthy(process, address, log)
        yield address, process
    finally:
        try:
            stop(process)
        finally:
            sys.stderr.write(log.read_text())  # which pytest shows where a test has failed


def command(desk: Desk, environment: Mapping[str, str], *arguments: str) -> str:
    """Run the product's command line, which has to succeed."""
    return desk.run(sys.executable, "-m", "wheelyard", *arguments, **SOURCE, **environment)


def attempt(
    desk: Desk, environment: Mapping[str, str], *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run the product's command line, which may fail."""
    return desk.attempt(sys.executable, "-m", "wheelyard", *arguments, **SOURCE, **environment)


@contextmanager
def silent_address(*, accepts: bool) -> Iterator[str]:
    """
    Yield an address where nothing is ever said.

    Args:
        accepts: Whether connections are accepted there; if not, they are refused.
    """
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        if accepts:
            listening.listen(100)
        yield f"127.0.0.1:{listening.getsockname()[1]}"
