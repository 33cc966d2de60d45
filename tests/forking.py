"""
Programs of ours, forked from one process that has imported what most of them need.

Each is a process of its own, as if `wheelyard` had been started; only the time for the imports is
saved. It may be told to kill itself at some step of its work on a store.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from wheelyard.cli.main import main

FORKS = multiprocessing.get_context("forkserver")
IMPORTED = (
    "tests.forking",
    "wheelyard.cli.serve",
    "wheelyard.http.app",
    "wheelyard.http.web_server",
)
"""The modules that are there before the first fork."""
CHANGES = frozenset({"os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir"})
"""Audit events of Python that come before a change of a folder; opening a file is another."""


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


def fork(arguments: Sequence[str], dependencies: ProcessEnvironment) -> BaseProcess:
    """Start `wheelyard` with these arguments."""
    for file in (dependencies.output, dependencies.errors):
        file.touch(0o600)
    FORKS.set_forkserver_preload(list(IMPORTED))
    process = FORKS.Process(target=_run, args=(arguments, dependencies))
    process.start()
    return process


class ForkedProgram:
    """A program that was forked, with what one has that `subprocess` has started."""

    def __init__(self, process: BaseProcess) -> None:
        self._process = process

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
        assert self._process.exitcode is not None, f"{self.pid} has not ended in {timeout} s"
        return self._process.exitcode


def _run(arguments: Sequence[str], dependencies: ProcessEnvironment) -> None:
    os.setsid()  # as of a started one, signals of a terminal reach it by its group alone
    for descriptor, file in ((1, dependencies.output), (2, dependencies.errors)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_APPEND), descriptor)
    os.chdir(dependencies.folder)
    os.environ.clear()  # noqa: TID251 - it is a process of its own
    os.environ.update(dependencies.environment)  # noqa: TID251
    sys.argv = ["wheelyard", *arguments]
    if dependencies.steps:
        sys.addaudithook(kill_at(dependencies.steps, dependencies.store))
    main()


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
