"""
Servers forked from one process, so that a hundred of them import the program once.

Each is a process of its own, as if `wheelyard serve` had been started. It may be told to kill
itself at some step of its work on the store.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests.durability.serving import environment
from wheelyard.cli.main import main

FORKS = multiprocessing.get_context("forkserver")
IMPORTED = (
    "granian.server.embed",
    "tests.durability.forking",
    "wheelyard.cli.serve",
    "wheelyard.http.app",
)
"""The modules that are there before the first fork."""
CHANGES = frozenset({"os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir"})
"""Audit events of Python that come before a change of a folder; opening a file is another."""


def fork_server(port: int, store: Path, log: Path, steps: int = 0) -> BaseProcess:
    """
    Start a server; its output goes to the end of `log`.

    Args:
        port: Where it listens.
        store: Its store.
        log: A file.
        steps: Where not 0, it kills itself before this change of the store.
    """
    FORKS.set_forkserver_preload(list(IMPORTED))
    process = FORKS.Process(target=_serve, args=(port, str(store), str(log), steps))
    process.start()
    return process


def _serve(port: int, store: str, log: str, steps: int) -> None:
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.clear()  # noqa: TID251 - it is a process of its own
    os.environ.update(environment())  # noqa: TID251
    sys.argv = ["wheelyard", "serve", "--port", str(port), "--store", store]
    if steps:
        sys.addaudithook(_kill_at(steps, store))
    main()


def _kill_at(steps: int, store: str) -> Callable[[str, tuple[object, ...]], None]:
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
