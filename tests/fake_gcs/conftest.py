"""A fake GCS server with one bucket, and Google's client for it."""

from collections.abc import Iterator

import pytest
from google.cloud.storage import Bucket as RemoteBucket

from tests.fake_gcs.clients import storage_client
from tests.fake_gcs.objects import Bucket
from tests.fake_gcs.server import FakeGcs, running_fake_gcs


@pytest.fixture
def server() -> Iterator[FakeGcs]:
    """Yield a running fake GCS server."""
    with running_fake_gcs("wheels") as running:
        yield running


@pytest.fixture
def bucket(server: FakeGcs) -> Bucket:
    """Return its bucket, past the wire."""
    return server.bucket("wheels")


@pytest.fixture
def remote(server: FakeGcs) -> Iterator[RemoteBucket]:
    """Yield the bucket as Google's client sees it."""
    with storage_client(server.url) as client:
        yield client.bucket("wheels")
