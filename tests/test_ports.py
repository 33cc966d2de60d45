"""Ports for the servers of tests."""

import socket
import subprocess
import sys

import pytest

from tests.ports import free_port

pytestmark = pytest.mark.integration

CHOOSE_ANEW = """
import sys
from tests import ports
taken, free = map(int, sys.argv[1:])
ports.PORTS = [taken] * 1000 + [free]
print(ports.free_port())
"""


def test_a_port_that_another_process_has_chosen() -> None:
    """Two test processes never choose one port, also if no server listens there yet."""
    taken = free_port()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]

    command = [sys.executable, "-c", CHOOSE_ANEW, str(taken), str(free)]
    chosen = subprocess.run(command, check=True, capture_output=True, text=True)

    assert int(chosen.stdout) == free
