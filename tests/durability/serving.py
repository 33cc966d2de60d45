"""A server in a process group of its own, and clients that need nothing but a socket."""

import os
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from threading import Event, Lock

from tests.distributions import Distribution
from tests.forking import ProcessEnvironment, run_forked
from tests.http_server import TOKEN, ServerProcess, begin_server
from tests.waiting import TIMEOUT_SECONDS

SOURCE = Path(__file__).parents[2] / "src"
BOUNDARY = "a-boundary-that-no-archive-has"
HEEDING = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "from wheelyard.cli.main import main; main()"
)
"""The command, also where the tests run in the background of a shell, which ignores Ctrl-C."""


def environment() -> dict[str, str]:
    """Return the environment for a process of ours."""
    return {"PATH": os.defpath, "PYTHONPATH": str(SOURCE), "HOME": os.sep}


def wheelyard(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return run_forked(arguments, Path.cwd(), environment())


def start(store: Path, log: Path, *options: str) -> ServerProcess:
    """Start a server, and wait until it answers."""
    dependencies = ProcessEnvironment(
        folder=Path.cwd(), environment=environment(), output=log, errors=log
    )
    server = begin_server("--store", str(store), *options, dependencies=dependencies)
    server.wait_until_healthy()
    return server


@contextmanager
def server(store: Path, log: Path, *options: str) -> Iterator[ServerProcess]:
    """Run a server, and kill it afterwards."""
    running = start(store, log, *options)
    try:
        yield running
    finally:
        running.kill()


def first_token(log: Path) -> str:
    """Return the token that a server printed when it first started."""
    match = TOKEN.search(log.read_text())
    assert match is not None
    return match[0]


def get(port: int, path: str) -> tuple[int, bytes]:
    """Return status and body; status 0 if there is no response."""
    connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", path, headers={"Accept": "application/vnd.pypi.simple.v1+json"})
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, HTTPException):
        return 0, b""
    finally:
        connection.close()


def post(
    port: int, token: str, distribution: Distribution, halfway: Callable[[], object] = lambda: None
) -> int:
    """
    Upload a distribution; return the status, 0 if there is no response.

    `halfway` is called when half of the body has been sent.
    """
    disposition = f'form-data; name="content"; filename="{distribution.filename}"'
    head = f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\n\r\n".encode()
    body = head + distribution.body + f"\r\n--{BOUNDARY}--\r\n".encode()
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
        "Content-Length": str(len(body)),
    }

    def pieces() -> Iterator[bytes]:
        yield body[: len(body) // 2]
        halfway()
        yield body[len(body) // 2 :]

    connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("POST", "/legacy/", pieces(), headers)
        response = connection.getresponse()
        response.read()
    except (OSError, HTTPException):
        return 0
    else:
        return response.status
    finally:
        connection.close()


@dataclass
class Crowd:
    """Clients that publish one distribution after the other, until their server is gone."""

    port: int
    token: str
    distributions: Iterator[Distribution]
    answered: list[Distribution] = field(default_factory=list)
    """The uploads that were answered 200."""
    _is_over: Event = field(default_factory=Event)
    _lock: Lock = field(default_factory=Lock)

    def has_answered(self, least: int) -> bool:
        """Return whether at least so many uploads were answered."""
        return len(self.answered) >= least

    @contextmanager
    def publishing(self, clients: int) -> Iterator[None]:
        """Publish by so many at a time until the block ends."""
        with ThreadPoolExecutor(clients) as pool:
            working = [pool.submit(self._publish) for _ in range(clients)]
            try:
                yield
            finally:
                self._is_over.set()
        for future in working:
            future.result()

    def _publish(self) -> None:
        while not self._is_over.is_set():
            with self._lock:
                distribution = next(self.distributions)
            status = post(self.port, self.token, distribution)
            assert status in {0, 200}
            if status != 200:
                return
            self.answered.append(distribution)
