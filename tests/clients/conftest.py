"""Fixtures for tests with real clients."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.harness import Desk, new_desk
from tests.clients.projects import Builder, build_project
from tests.clients.servers import Server, running_server


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A clean place to run programs at."""
    return new_desk(tmp_path)


@pytest.fixture(scope="session")
def build() -> Builder:
    """Build a project, or hand out what was built for the same arguments before."""
    return build_project


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that anyone may read."""
    with running_server(tmp_path_factory.mktemp("open") / "server") as server:
        yield server


@pytest.fixture(scope="session")
def shared_private_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that wants the token for reading too."""
    with running_server(tmp_path_factory.mktemp("private") / "server", "--private") as server:
        yield server


@pytest.fixture
def server(shared_server: Server) -> Iterator[Server]:
    """A server that anyone may read: a test publishes only projects that no other test changes."""
    yield from _heard(shared_server)


@pytest.fixture
def private_server(shared_private_server: Server) -> Iterator[Server]:
    """A server that wants the token for reading too, to be used in the same way."""
    yield from _heard(shared_private_server)


@pytest.fixture
def index(request: pytest.FixtureRequest) -> Server:
    """The private server; `on_both` runs a test on the open one, too."""
    kind = getattr(request, "param", "private")
    server = request.getfixturevalue("private_server" if kind == "private" else "server")
    assert isinstance(server, Server)
    return server


def _heard(server: Server) -> Iterator[Server]:
    """Write what the server logs during a test where pytest shows it, if the test fails."""
    before = len(server.log)
    yield server
    sys.stderr.write(server.log[before:])
