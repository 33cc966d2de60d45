"""Free ports, for servers that a test starts; imports nothing of wheelyard, as plugins need it."""

import fcntl
import os
import secrets
import socket
from collections import deque
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import gettempdir
from typing import IO

PORTS = range(15_000, 30_000)
"""Ports below the range that systems assign automatically."""
MAX_RESERVED = 100
"""Ports that a process reserves at a time: at the older ones, a server listens by now."""


def free_port() -> int:
    """Return a port that stays free until it is used: no other test process chooses it, either."""
    reservations = _reservations()
    while True:
        port = secrets.choice(PORTS)
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            reservations.add(port)
            return port


class _Reservations:
    """The ports that this process has chosen, and no other test process of this machine may."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._own = deque[int]()
        """The oldest first."""

    def add(self, port: int) -> None:
        """Reserve a port, or raise OSError if it is."""
        if port in self._own:  # the system lets a process lock twice
            raise BlockingIOError
        fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        self._own.append(port)
        if len(self._own) > MAX_RESERVED:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, self._own.popleft())


@cache
def _reservations() -> _Reservations:
    path = Path(gettempdir(), f"wheelyard-test-ports-{os.getuid()}")
    return _Reservations(path.open("ab"))
