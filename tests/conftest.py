"""Fixtures of all tests."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.harness import Sandbox, new_sandbox
from tests.in_process_network import InProcessNetwork, NetworkOrPorts


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    """A sandbox for programs."""
    return new_sandbox(tmp_path)


@pytest.fixture(scope="session")
def process_network() -> Iterator[InProcessNetwork]:
    """What connects clients of this process with its servers."""
    network = InProcessNetwork()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "create_connection", network.connect)
        yield network


@pytest.fixture
def network(request: pytest.FixtureRequest) -> NetworkOrPorts:
    """Where servers listen: on ports only for a test with the marker `integration`."""
    if request.node.get_closest_marker("integration"):
        return None
    network = request.getfixturevalue("process_network")
    assert isinstance(network, InProcessNetwork)
    return network
