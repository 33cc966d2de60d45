"""A fake GCS server with one bucket, and the store in it."""

from collections.abc import Iterator

import pytest

from tests.fake_gcs.objects import Bucket
from tests.fake_gcs.server import FakeGcs, running_fake_gcs
from tests.storage.gcs.opened import EMULATOR, Opened, Opener


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGcs]:
    """Yield a fake GCS server, and set the environment for it."""
    with running_fake_gcs("wheels") as running:
        monkeypatch.setenv(EMULATOR, running.url)
        yield running


@pytest.fixture
def bucket(server: FakeGcs) -> Bucket:
    """Return the bucket of the server, past the wire."""
    return server.bucket("wheels")


@pytest.fixture
def opener() -> Iterator[Opener]:
    """Yield what opens a bucket."""
    opener = Opener()
    yield opener
    opener.close()


@pytest.fixture
def opened_bucket(server: FakeGcs, opener: Opener) -> Opened:
    """Return the bucket as the index opens it."""
    del server
    return opener()
