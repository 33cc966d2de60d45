"""
Programs of ours, forked from one process that has imported what most of them need.

Each is a process of its own, as if `wheelyard` had been started; only the time for the imports is
saved. It may be told to kill itself at some step of its work on a store.
"""

import atexit
import json
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import DupFd
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingUnixStreamServer
from tempfile import TemporaryDirectory, mkdtemp
from threading import Thread
from typing import Any

from tests.waiting import TIMEOUT_SECONDS
from wheelyard.cli.main import main

FORKS = multiprocessing.get_context("forkserver")
IMPORTED = (
    "tests.forking",
    "wheelyard.cli.apply_commands",
    "wheelyard.cli.serve",
    "wheelyard.cli.store_commands",
    "wheelyard.cli.upload_command",
    "wheelyard.http.app",
    "wheelyard.http.web_server",
    "wheelyard.storage.objects.connect",
)
"""
The modules that are there before the first fork.

Google's library is not among them, as it reads the environment when it is imported.
"""
# here, as the first process may be any function
FORKS.set_forkserver_preload(list(IMPORTED))
CHANGES = frozenset({"os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir"})
"""Audit events of Python that come before a change of a folder; opening a file is another."""
PROGRAM = """\
#!{python} -IS
import json, os, socket, sys

with socket.socket(socket.AF_UNIX) as asking:
    asking.connect({address!r})
    asked = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(asking, [len(asked).to_bytes(8, "big")], [0, 1, 2])
    asking.sendall(asked)
    sys.exit(int(asking.recv(8)))
"""
"""A program that hands all that it got to `_Forker`, and exits as the process forked for it did."""


@dataclass(frozen=True, kw_only=True)
class ProcessEnvironment:
    """
    The environment of a forked program.

    Args:
        folder: The folder that it is started in.
        environment: All that it finds in its environment.
        output: The file that what it prints is added to.
        errors: The same for standard error.
        store: The folder that `steps` speaks of.
        steps: Where not 0, it kills itself before this change of the store.
    """

    folder: Path
    environment: Mapping[str, str]
    output: Path
    errors: Path
    store: str = ""
    steps: int = 0


class ForkedProgram:
    """A program that was forked, with what one has that `subprocess` has started."""

    def __init__(
        self, command: Sequence[str], process: BaseProcess, dependencies: ProcessEnvironment
    ) -> None:
        self._command = command
        self._process = process
        self._dependencies = dependencies

    @property
    def pid(self) -> int:
        """The number of the process, and of its group."""
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        """Return its exit status, or None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float) -> int:
        """Wait for its end; return its exit status."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self._command, timeout)
        return self._process.exitcode

    def terminate(self) -> None:
        """Tell it to end."""
        self._process.terminate()

    def kill(self) -> None:
        """Kill it at once, unless it has ended."""
        self._process.kill()
        self._process.join()

    def finish(self) -> subprocess.CompletedProcess[str]:
        """Wait for its end, and return what it printed; kill it if it goes on."""
        self._process.join(TIMEOUT_SECONDS)
        self.kill()
        output = self._dependencies.output.read_text()
        errors = self._dependencies.errors.read_text()
        return subprocess.CompletedProcess(self._command, self.wait(0), output, errors)


def fork(arguments: Sequence[str | Path], dependencies: ProcessEnvironment) -> ForkedProgram:
    """Start `wheelyard` with these arguments."""
    for file in (dependencies.output, dependencies.errors):
        file.touch(0o600)
    words = [str(argument) for argument in arguments]
    process = FORKS.Process(target=_run, args=(words, dependencies))
    process.start()
    return ForkedProgram(("wheelyard", *words), process, dependencies)


def run_forked(
    arguments: Sequence[str | Path], folder: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run `wheelyard` in a folder to its end, and return what it printed."""
    with TemporaryDirectory() as files:
        output = Path(files, "output")
        errors = Path(files, "errors")
        dependencies = ProcessEnvironment(
            folder=folder, environment=environment, output=output, errors=errors
        )
        return fork(arguments, dependencies).finish()


def _run(arguments: Sequence[str], dependencies: ProcessEnvironment) -> None:
    os.setsid()  # as of a started one, signals of a terminal reach it by its group alone
    for descriptor, file in ((1, dependencies.output), (2, dependencies.errors)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_APPEND), descriptor)
    if dependencies.steps:
        sys.addaudithook(kill_at(dependencies.steps, dependencies.store))
    _become(arguments, dependencies.folder, dependencies.environment)


def _become(arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
    os.chdir(folder)
    os.environ.clear()  # noqa: TID251 - it is a process of its own
    os.environ.update(environment)  # noqa: TID251
    sys.argv = ["wheelyard", *arguments]
    main()


def _run_with(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str], streams: list[int]
) -> None:
    for descriptor, given in enumerate(streams):
        os.dup2(given, descriptor)
        os.close(given)
    sys.stdin = os.fdopen(0, closefd=False)  # multiprocessing has put the null device there
    _become(arguments, folder, environment)


class _Descriptor:
    """A descriptor that, as an argument of a forked process, is a copy of it there: an integer."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __reduce__(self) -> tuple[Callable[[Any], int], tuple[Any]]:
        return _taken, (DupFd(self._number),)


def _taken(copy: Any) -> int:  # noqa: ANN401 - multiprocessing does not say its type
    number = copy.detach()
    assert isinstance(number, int)
    return number


@cache
def forking_program() -> Path:
    """
    Make a program `wheelyard` that starts in no time, and works until this process ends.

    Returns:
        Its file, which is alone in its folder.
    """
    folder = Path(mkdtemp())  # as the address of a socket has to be short
    atexit.register(shutil.rmtree, folder)
    address, program = str(folder / "socket"), folder / "bin" / "wheelyard"
    program.parent.mkdir()
    program.write_text(PROGRAM.format(python=sys.executable, address=address))
    program.chmod(0o755)
    server = ThreadingUnixStreamServer(address, _Forker)
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    return program


class _Forker(StreamRequestHandler):
    """Runs what one start of the program asks for."""

    def handle(self) -> None:
        """Fork, and answer with the exit status."""
        size, streams, _, _ = socket.recv_fds(self.connection, 8, 3)
        try:
            asked = json.loads(self.rfile.read(int.from_bytes(size, "big")))
            given = [_Descriptor(stream) for stream in streams]
            process = FORKS.Process(target=_run_with, args=(*asked, given))
            process.start()
            process.join()
        finally:
            for each in streams:
                os.close(each)
        with suppress(OSError):  # whoever asked has been killed
            self.wfile.write(str(process.exitcode).encode())


def kill_at(steps: int, store: str) -> Callable[[str, tuple[object, ...]], None]:
    """Return an audit hook that kills this process before a change of the store."""
    left = iter(range(steps - 1))

    def hear(event: str, arguments: tuple[object, ...]) -> None:
        if _changes(event, arguments, store) and next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    return hear


def _changes(event: str, arguments: tuple[object, ...], store: str) -> bool:
    """Return whether an audit event comes before a change of the store."""
    if event == "open":
        flags = arguments[2]
        return (
            str(arguments[0]).startswith(store)
            and isinstance(flags, int)
            and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        )
    return event in CHANGES and any(str(each).startswith(store) for each in arguments)
