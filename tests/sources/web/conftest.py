"""Servers that a source is to read."""

from collections.abc import Iterator

import pytest

from tests.in_process_network import NetworkOrPorts
from tests.sources.web.fake_server import FakeServer, running_fake_server


@pytest.fixture
def server(network: NetworkOrPorts) -> Iterator[FakeServer]:
    """Run a server."""
    with running_fake_server(network) as running:
        yield running


@pytest.fixture
def other_server(network: NetworkOrPorts) -> Iterator[FakeServer]:
    """Run another server: another port is another origin."""
    with running_fake_server(network) as running:
        yield running
