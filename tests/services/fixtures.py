"""Fixtures that any test may ask for: the services, one emulator of a kind for each worker."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest

from tests.fake_gcs.server import running_fake_gcs
from tests.services.emulators import running_azurite, running_moto
from tests.services.service import DIALECTS, Service, proxied

ALL = ("google", "s3", "azure")
"""Parameters of `service` for a test that each run has on all services."""
RARELY = tuple(
    pytest.param(name, marks=pytest.mark.services if name in DIALECTS else ()) for name in ALL
)
"""Parameters for a test that has Google in each run, and the others only in `nox -s services`."""


class Emulators:
    """The emulators that this worker has started."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running = ExitStack()
        self._addresses: dict[str, str] = {}

    def serving(self, name: str, *buckets: str) -> AbstractContextManager[Service]:
        """Return a service of a test's own that has these buckets."""
        if name == "google":
            return running_fake_gcs(*buckets)
        return proxied(DIALECTS[name], self._address(name), *buckets)

    def close(self) -> None:
        """End them."""
        self._running.close()

    def _address(self, name: str) -> str:
        if name not in self._addresses:
            starts: dict[str, Callable[[Path], AbstractContextManager[str]]] = {
                "s3": running_moto,
                "azure": running_azurite,
            }
            starting = starts[name](self._folder / f"{name}.log")
            self._addresses[name] = self._running.enter_context(starting)
        return self._addresses[name]


@pytest.fixture(scope="session")
def emulators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulators]:
    """The emulators, each of which starts when it is first asked for."""
    emulators = Emulators(tmp_path_factory.mktemp("emulators"))
    yield emulators
    emulators.close()


@pytest.fixture(params=RARELY)
def service(request: pytest.FixtureRequest, emulators: Emulators) -> Iterator[Service]:
    """A service with a bucket `wheels`, and one for what belongs apart."""
    with emulators.serving(request.param, "wheels", "apart") as service:
        yield service
