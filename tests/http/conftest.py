"""Servers for the HTTP tests: one of each kind for each module."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace

from tests.distributions import make_sdist, make_wheel
from tests.http.google_users import GoogleUsersServer, running_google_server
from tests.http.in_process import InProcessServer, in_process
from tests.http.jobs import Ci, running_ci
from tests.http.packages import PYTHON, publish
from tests.http.servers import RunningServer, running_server
from wheelyard.settings.sections import AccessSettings, ServerSettings, Settings
from wheelyard.storage.local import LocalStore
from wheelyard.wiring.stores import system_runtime

STOCK = (
    make_wheel("demo", "1.0", f"Requires-Python: {PYTHON}", "Summary: A demo of <b>it</b>"),
    make_sdist("demo", "1.0", f"Requires-Python: {PYTHON}"),
    make_wheel("demo", "1.1", "Requires-Python: >=3.10", "Summary: A demo of <b>it</b>"),
    make_wheel("epoch", "2!1.0"),
    make_wheel("local", "1.0+cu121"),
)
"""Wheels and an sdist of demo, and the projects epoch and local."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that anyone may read, with a root of its own called acme, and nothing in it."""
    config = '[server]\nroots = ["acme"]\n'
    with running_server(tmp_path_factory.mktemp("open"), config=config) as server:
        yield server


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server where reading needs a token, with a secret family of names and a secret name."""
    config = '[access]\nprivate_names = ["secret-*", "hidden"]\n'
    with running_server(tmp_path_factory.mktemp("private"), "--private", config=config) as server:
        publish(server, make_wheel("demo"), make_wheel("acme-core"), make_wheel("secret-plan"))
        yield server


@pytest.fixture(scope="module")
def stocked_server(server: RunningServer) -> RunningServer:
    """The open server with the projects demo (wheels and an sdist), epoch and local."""
    publish(server, *STOCK)
    return server


@pytest.fixture(scope="module")
def stocked_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessServer]:
    """The application of `stocked_server`, without a server."""
    folder = tmp_path_factory.mktemp("open")
    settings = Settings(server=ServerSettings(roots=("acme",)))
    with in_process(folder, settings, store=LocalStore(folder / "store", Random(1))) as app:
        app.publish(*STOCK)
        yield app


@pytest.fixture(scope="module")
def private_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessServer]:
    """The application of `private`, without a server."""
    folder = tmp_path_factory.mktemp("private")
    settings = Settings(access=AccessSettings(private=True, private_names=("secret-*", "hidden")))
    with in_process(folder, settings, store=LocalStore(folder / "store", Random(1))) as app:
        app.publish(*map(make_wheel, ("demo", "acme-core", "secret-plan")))
        yield app


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GoogleUsersServer]:
    """A server that every kind of credential opens."""
    with running_google_server(tmp_path_factory.mktemp("server")) as users:
        yield users


@pytest.fixture(scope="module")
def ci(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ci]:
    """A server to which the jobs of one issuer may publish."""
    server = ServerSettings(public_url="https://packages.example.com")
    folder = tmp_path_factory.mktemp("ci")
    with running_ci(folder, Settings(server=server)) as ci:
        yield ci


@pytest.fixture
def fresh_ci(tmp_path: Path) -> Iterator[Ci]:
    """Serve a new index for one test alone, whose clock stands still, so that no limit resets."""
    runtime = replace(system_runtime(), monotonic=lambda: 1000.0)
    with running_ci(tmp_path / "fresh", runtime=runtime) as ci:
        yield ci
