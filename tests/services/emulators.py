"""
Emulators that others made, each a process of its own that keeps everything in memory.

A test worker starts one of a kind and keeps it: a test has a bucket of its own in it.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from tests.clients.harness import program
from tests.npm import node, npm_package
from tests.ports import free_port
from tests.services import azure
from tests.waiting import TIMEOUT_SECONDS, until

Command = list[str | Path]


@contextmanager
def running_moto(log: Path, **environment: str) -> Iterator[str]:
    """Yield the address of an S3 service: moto's server, with more variables of its environment."""
    port = free_port()
    command: Command = [program("moto", "moto_server"), "--host", "127.0.0.1", "--port", str(port)]
    # it knows what AWS would ask of credentials, and takes any
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    with running(command, port, log, **keys, **environment):
        yield f"127.0.0.1:{port}"


@contextmanager
def running_azurite(log: Path) -> Iterator[str]:
    """Yield the address of Azure's blobs: Azurite."""
    port = free_port()
    main = npm_package("azurite") / "dist" / "src" / "blob" / "main.js"
    options = ["--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck", "--silent"]
    place = ["--blobHost", "127.0.0.1", "--blobPort", str(port)]
    command: Command = [node(), main, *options, *place]
    with running(command, port, log, AZURITE_ACCOUNTS=f"{azure.ACCOUNT}:{azure.KEY}"):
        yield f"127.0.0.1:{port}"


@contextmanager
def running(command: list[str | Path], port: int, log: Path, **environment: str) -> Iterator[None]:
    """Run a service until the block ends; wait until it answers on a port, unless that is 0."""
    with log.open("w") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env=environment, cwd=log.parent
        )
    try:
        until(lambda: not port or _answers(port), log.read_text, process)
        yield
    finally:
        process.kill()  # it has nothing to keep
        process.wait()


def _answers(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/")
        connection.getresponse().read()
    except (OSError, HTTPException):  # not listening yet
        return False
    finally:
        connection.close()
    return True
