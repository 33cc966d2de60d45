"""Fixtures for tests with real clients."""

import sys
from collections.abc import Iterator

import pytest

from tests.clients.projects import Builder, build_project
from tests.clients.servers import Server, running_server


@pytest.fixture(scope="session")
def build() -> Builder:
    """Build a project, or hand out what was built for the same arguments before."""
    return build_project


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that wants the token for reading too."""
    with running_server(tmp_path_factory.mktemp("private") / "server", "--private") as server:
        yield server


@pytest.fixture
def index(shared_server: Server) -> Iterator[Server]:
    """The same: a test publishes only projects that no other test changes."""
    before = len(shared_server.log)
    yield shared_server
    sys.stderr.write(shared_server.log[before:])  # which pytest shows if the test fails
