"""
Connections between clients and servers of one process, without a port.

The clients of wheelyard make each connection by `socket.create_connection`. A test that has a
network gets there one end of a pair of sockets, and the server that it has started gets the other.
So `--fast` may run it, which allows no test to open a port.
"""

import socket
from collections.abc import Callable
from itertools import cycle
from threading import Lock

HOSTS = frozenset({"127.0.0.1", "::1"})
PORTS = range(1_000, 15_000)
"""Ports at which no server of another test listens, see `tests/ports.py`."""

Accept = Callable[[socket.socket], object]


class InProcessNetwork:
    """
    The servers of tests by their ports, which no socket has.

    There is one for all tests of a process, so that a client that a test left behind is refused.
    """

    def __init__(self) -> None:
        self._servers: dict[int, Accept | None] = {}
        self._ports = cycle(PORTS)
        self._lock = Lock()
        self._connect = socket.create_connection

    def free_port(self) -> int:
        """Return a port at which connections are refused until a server listens."""
        with self._lock:
            port = next(self._ports)
            self._servers[port] = None
        return port

    def listen(self, port: int, accept: Accept) -> None:
        """Hand each new connection to a server; `accept` must not wait."""
        self._servers[port] = accept

    def refuse(self, port: int) -> None:
        """Refuse new connections."""
        self._servers[port] = None

    def connect(
        self, address: tuple[str, int], *arguments: object, **options: object
    ) -> socket.socket:
        """See `socket.create_connection`, which makes the connections to everybody else."""
        host, port = address
        if host not in HOSTS or port not in self._servers:
            return self._connect(address, *arguments, **options)  # type: ignore[arg-type]
        accept = self._servers[port]
        if accept is None:
            raise ConnectionRefusedError
        client, server = socket.socketpair()
        accept(_Connection(fileno=server.detach()))
        return _Connection(fileno=client.detach())


NetworkOrPorts = InProcessNetwork | None
"""Where servers listen: None stands for the ports of this machine."""


class _Connection(socket.socket):
    """One end of a pair, which takes the options of TCP."""

    def setsockopt(self, *_: object) -> None:
        """Ignore an option."""
