"""Free ports, for servers that a test starts; imports nothing of wheelyard, as plugins need it."""

import secrets
import socket
from contextlib import suppress

PORTS = range(15_000, 30_000)
"""Ports below the range that systems assign automatically."""


def free_port() -> int:
    """Return a port that stays free until it is used."""
    while True:
        port = secrets.choice(PORTS)
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
