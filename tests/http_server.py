"""
The launcher of servers on this machine.

A server is a program of its own, an application in this process, or a handler whose answers a
test writes.
"""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from threading import Thread
from typing import Protocol

from starlette.types import ASGIApp

from tests.clients.harness import Sandbox
from tests.forking import ProcessEnvironment, fork
from tests.in_process_network import NetworkOrPorts
from tests.ports import free_port
from tests.waiting import START_SECONDS, TIMEOUT_SECONDS, Process, until
from wheelyard.http.web_server import embedded_server
from wheelyard.settings.sections import ServerSettings

WHEELYARD = (sys.executable, "-m", "wheelyard")
TOKEN = re.compile(r"wyd_[0-9A-Za-z]{48}")


class Program(Process, Protocol):
    """A program that was started, or forked."""

    @property
    def pid(self) -> int:
        """The number of the process, and of its group."""

    def wait(self, timeout: float) -> int:
        """Wait for its end; return its exit status."""

    def terminate(self) -> None:
        """Tell it to end."""

    def kill(self) -> None:
        """Kill it, unless it has ended."""


@dataclass(frozen=True)
class ServerProcess:
    """A server in a process group of its own."""

    process: Program
    log: Path
    """Its standard error, and what it prints unless that has a file of its own."""
    port: int

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self.process.pid

    def is_alive(self) -> bool:
        """Return whether it has not ended."""
        return self.process.poll() is None

    def wait_until_healthy(self) -> None:
        """Wait until it answers; where it ends or takes too long, fail with its log."""
        until_healthy(self.process, f"127.0.0.1:{self.port}", self.log)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the whole process group, as a terminal does."""
        os.killpg(self.pid, number)

    def join(self) -> int:
        """Wait for its end, and return its status."""
        return self.process.wait(TIMEOUT_SECONDS)

    def end(self) -> None:
        """End it as a service manager does, and assert a clean exit."""
        stop(self.process)

    def kill(self) -> None:
        """Kill the whole process group."""
        kill_group(self.process)


def launch_server(
    *options: str,
    folder: Path,
    environment: Mapping[str, str],
    log: Path,
    printed: Path | None = None,
    port: int | None = None,
    program: Sequence[str] = WHEELYARD,
    command: str = "serve",
) -> ServerProcess:
    """
    Start `wheelyard serve`, without waiting until it answers.

    `program` is what comes before the command; without `port`, a free one is chosen.
    """
    port = free_port() if port is None else port
    process = launch(
        [*program, command, "--port", str(port), *options],
        folder=folder,
        environment=environment,
        log=log,
        printed=printed,
    )
    return ServerProcess(process, log, port)


def launch(
    command: Sequence[str | Path],
    *,
    folder: Path,
    environment: Mapping[str, str],
    log: Path,
    printed: Path | None = None,
) -> "subprocess.Popen[bytes]":
    """Start a program; what it writes is added to `log`, its standard output to `printed`."""
    with log.open("ab") as errors, (printed or log).open("ab") as output:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            start_new_session=True,
        )


def fork_server(*options: str, port: int, dependencies: ProcessEnvironment) -> ServerProcess:
    """Fork `wheelyard serve`, without waiting until it answers."""
    process = fork(["serve", "--port", str(port), *options], dependencies)
    return ServerProcess(process, dependencies.errors, port)


def begin_server(*options: str, dependencies: ProcessEnvironment) -> ServerProcess:
    """
    Start `wheelyard serve` at a free port, without waiting until it answers.

    It is forked, but for several workers, which need the program itself to begin them.
    """
    port = free_port()
    if "--workers" not in options:
        return fork_server(*options, port=port, dependencies=dependencies)
    return launch_server(
        *options,
        folder=dependencies.folder,
        environment=dependencies.environment,
        log=dependencies.errors,
        printed=dependencies.output,
        port=port,
    )


@contextmanager
def running_program(
    sandbox: Sandbox,
    command: Sequence[str | Path],
    log: Path,
    is_up: Callable[[], bool],
    environment: Mapping[str, str],
    *,
    is_ours: bool = True,
    timeout: float = START_SECONDS,
) -> Iterator["subprocess.Popen[bytes]"]:
    """
    Run any server until the block ends; fail with its log if it does not start in time.

    Ours has to end in good order.
    """
    log.unlink(missing_ok=True)
    variables = {**sandbox.environment(), **environment}
    process = launch(command, folder=sandbox.folder, environment=variables, log=log)
    try:
        until(is_up, log.read_text, process, timeout)
        yield process
    finally:
        try:
            stop(process, in_order=is_ours)
        finally:
            sys.stderr.write(log.read_text())  # which pytest shows where a test has failed


@contextmanager
def serving_app(
    app: ASGIApp, certificate: Path | None = None, **options: object
) -> Iterator[ServerSettings]:
    """Serve an application from a thread of this process, with options of Granian."""
    settings = ServerSettings(host="127.0.0.1", port=free_port())
    loop, server = asyncio.new_event_loop(), embedded_server(app, settings, certificate, **options)
    thread = Thread(target=loop.run_until_complete, args=(server.serve(),))
    thread.start()
    try:
        until(lambda: is_listening(("127.0.0.1", settings.port)))
        yield settings
    finally:
        loop.call_soon_threadsafe(server.stop)
        thread.join()
        loop.close()


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler], network: NetworkOrPorts = None) -> Iterator[str]:
    """
    Serve by a handler until the block ends; yield the URL, without a slash at its end.

    It listens on a port of this machine, or in a network.
    """
    quiet = type("Handler", (handler,), {"log_message": lambda *_: None})
    if network is not None:
        port = network.free_port()
        network.listen(port, partial(_handle_in_thread, quiet))
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            network.refuse(port)
        return
    with _HandlerServer(("127.0.0.1", 0), quiet) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def _handle_in_thread(
    handler: Callable[[socket.socket, tuple[str, int], None], object], connection: socket.socket
) -> None:
    def handle() -> None:
        with connection, suppress(OSError):  # as of a client that has closed the connection
            handler(connection, ("127.0.0.1", 0), None)

    Thread(target=handle, daemon=True).start()


class _HandlerServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def server_bind(self) -> None:
        """Bind without resolving the name of this machine."""
        TCPServer.server_bind(self)
        self.server_port = self.server_address[1]

    def handle_error(self, *_: object) -> None:
        """Ignore clients that close the connection."""


def until_healthy(process: Process, address: str, log: Path) -> None:
    """Wait until a server answers; one that ends, or takes too long, fails the test by its log."""
    until(lambda: is_healthy(address), log.read_text, process, START_SECONDS)


def workers_of(manager: int) -> list[int]:
    """Return the processes that a server has begun, but for Python's own helper."""
    tasks = Path(f"/proc/{manager}/task").glob("*/children")
    children = [int(pid) for task in tasks for pid in task.read_text().split()]
    workers = list[int]()
    for pid in children:
        with suppress(OSError):  # it has ended meanwhile
            if b"resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_bytes():
                workers.append(pid)
    return workers


def count_listeners(port: int) -> int:
    """Return how many processes listen at a port."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(f":{port:04X}") and row[3] == "0A" for row in rows)


def is_healthy(address: str, path: str = "/health") -> bool:
    """Return whether a server answers its health probe with 200."""
    connection = HTTPConnection(address, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, HTTPException):  # not listening yet
        return False
    finally:
        connection.close()


def is_listening(address: tuple[str, int]) -> bool:
    """Return whether a server accepts connections."""
    with socket.socket() as client:
        return client.connect_ex(address) == 0


def kill_group(process: Program) -> None:
    """Kill a program and all that it has started, and wait for its own end."""
    with suppress(ProcessLookupError):  # a forked one may not have made its group yet
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait(TIMEOUT_SECONDS)


def stop(process: Program, *, in_order: bool = True) -> None:
    """End a server as a service manager does: it has to obey, and ours in good order."""
    process.terminate()
    try:
        status = process.wait(TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        kill_group(process)
        raise
    assert status == 0 or not in_order, f"the server ended with {status}"
