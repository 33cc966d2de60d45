"""A stand-in of Cloud Storage with one bucket, the store in it, and a stand-in for IAM."""

from collections.abc import Iterator

import pytest

from tests.bucket.objects import Bucket
from tests.bucket.server import BucketServer, running_bucket_server
from tests.storage.cloud.iam import Iam, running_iam
from tests.storage.cloud.opened import EMULATOR, Opened, Opener


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


@pytest.fixture
def iam() -> Iterator[Iam]:
    """IAM, on a port of this machine."""
    with running_iam() as iam:
        yield iam


@pytest.fixture
def pauses() -> list[float]:
    """Return the seconds that were waited, none of which pass."""
    return []
