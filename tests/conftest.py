"""Fixtures of all tests."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.clients.harness import Sandbox, new_sandbox
from tests.in_process_network import NetworkOrPorts, in_process_network


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    """A sandbox for programs."""
    return new_sandbox(tmp_path)


@pytest.fixture(scope="module")
def network(request: pytest.FixtureRequest) -> Iterator[NetworkOrPorts]:
    """Where servers listen, unless the whole module has the marker `integration`."""
    with ExitStack() as stack:
        if request.node.get_closest_marker("integration"):
            yield None
        else:
            yield stack.enter_context(in_process_network())
