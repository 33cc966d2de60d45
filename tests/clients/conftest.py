"""Fixtures for tests with real clients."""

import sys
from collections.abc import Iterator

import pytest

from tests.clients.harness import new_sandbox, wheelyard
from tests.clients.projects import Builder, Built, build_project
from tests.clients.public_index import PublicIndex, public_index
from tests.clients.reading import publish
from tests.clients.servers import Server, running_server
from tests.distributions import make_wheel
from wheelyard.model.api_token import token_id_in


@pytest.fixture(scope="session")
def build() -> Builder:
    """Build a project, or hand out what was built for the same arguments before."""
    return build_project


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that wants the token for reading too, and has a namespace: its JSON is 1.5."""
    folder = tmp_path_factory.mktemp("private")
    with running_server(folder / "server", "--private") as server:
        token = token_id_in(server.token)
        owner = ("--owner", f"token:{token}", "--store", server.store)
        wheelyard(new_sandbox(folder / "sandbox"), "namespace", "grant", "acme", *owner)
        yield server


@pytest.fixture
def index(shared_server: Server) -> Iterator[Server]:
    """The shared server, to which a test publishes only projects that no other test changes."""
    before = len(shared_server.log)
    yield shared_server
    sys.stderr.write(shared_server.log[before:])  # which pytest shows if the test fails


@pytest.fixture(scope="session")
def tool(build: Builder) -> Built:
    """A project that depends on another one; its version has a `+`."""
    return build("hatchling", "acme-tool", "1.5+cpu.1", "yard-base>=2")


@pytest.fixture(scope="session")
def base(build: Builder) -> Built:
    """The project that it depends on; its version has a `!`."""
    return build("flit-core", "yard-base", "1!2.0")


@pytest.fixture(scope="session")
def projects(build: Builder, tool: Built, base: Built) -> list[Built]:
    """What an index has: both, and an older version."""
    return [base, build("hatchling", "acme-tool", "1.4", "yard-base>=2"), tool]


@pytest.fixture
def stocked_server(index: Server, projects: list[Built]) -> Server:
    """The server with these projects."""
    publish(index, *projects)
    return index


@pytest.fixture
def public(tool: Built, base: Built) -> Iterator[PublicIndex]:
    """A public index with that dependency, and with a stranger's files under our name."""
    strangers = (make_wheel("acme-tool", "9.9"), make_wheel("acme-tool", tool.version))
    files = {each.filename: each.body for each in strangers}
    with public_index({base.wheel.name: base.wheel.read_bytes(), **files}) as public:
        yield public
