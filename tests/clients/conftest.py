"""Fixtures for tests with real clients."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.harness import Desk, new_desk
from tests.clients.projects import Builder, Built, build_project
from tests.clients.servers import Server, running_server


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A clean place to run programs at."""
    return new_desk(tmp_path)


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    """Build a project, or hand out what was built for the same arguments before."""
    shelf: dict[tuple[object, ...], Built] = {}

    def build(backend: str, name: str, version: str = "1.0", *dependencies: str) -> Built:
        wanted = (backend, name, version, dependencies)
        if wanted not in shelf:
            folder = tmp_path_factory.mktemp("project")
            shelf[wanted] = build_project(folder, backend, name, version, dependencies)
        return shelf[wanted]

    return build


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server that anyone may read, on an empty store."""
    with running_server(tmp_path / "open") as server:
        yield server


@pytest.fixture
def private_server(tmp_path: Path) -> Iterator[Server]:
    """A server that wants the token for reading too, on an empty store."""
    with running_server(tmp_path / "private", "--private") as server:
        yield server


@pytest.fixture(params=["open", "private"])
def index(request: pytest.FixtureRequest) -> Server:
    """Both kinds of server, one after the other: the test runs twice."""
    name = "private_server" if request.param == "private" else "server"
    server = request.getfixturevalue(name)
    assert isinstance(server, Server)
    return server
