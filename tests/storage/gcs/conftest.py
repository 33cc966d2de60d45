"""A stand-in of Cloud Storage with one bucket, and the store in it."""

from collections.abc import Iterator

import pytest

from tests.fake_gcs.objects import Bucket
from tests.fake_gcs.server import BucketServer, running_bucket_server
from tests.storage.gcs.opened import EMULATOR, Opened, Opener


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[BucketServer]:
    """Yield a running stand-in, to which the environment leads."""
    with running_bucket_server("wheels") as running:
        monkeypatch.setenv(EMULATOR, running.url)
        yield running


@pytest.fixture
def bucket(server: BucketServer) -> Bucket:
    """Return its bucket, past the wire."""
    return server.bucket("wheels")


@pytest.fixture
def opener() -> Iterator[Opener]:
    """Yield what opens a bucket."""
    opener = Opener()
    yield opener
    opener.close()


@pytest.fixture
def opened_bucket(server: BucketServer, opener: Opener) -> Opened:
    """Return the bucket as the index opens it."""
    del server
    return opener()
