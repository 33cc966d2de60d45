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
from tests.clients.harness import SOURCE, Desk, new_desk, wheelyard
from tests.clients.servers import TOKEN, Server, free_port, is_healthy, running

BUCKET = "wheels"
STORE = f"gs://{BUCKET}/team a~1"
"""With what filenames cannot have, and signatures and URLs have to get right all the same."""
MANAGER = ("--can", "read,upload,manage")


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
    made = wheelyard(desk, "token", "create", "test", *MANAGER, *place, **environment)
    token = TOKEN.search(made)
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
    everything = {**SOURCE, **environment}
    with running(desk, line, log, lambda: is_healthy(address), everything) as process:
        yield address, process


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
