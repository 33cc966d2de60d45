"""A bucket that stands in for one that serves a site, and the site in it."""

from collections.abc import Iterator

import pytest

from tests.bucket.objects import Bucket
from tests.bucket.server import BucketServer, running_bucket_server
from tests.storage.cloud.opened import EMULATOR


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[BucketServer]:
    """Yield a running stand-in, to which the environment leads."""
    with running_bucket_server("site", "wheels") as running:
        monkeypatch.setenv(EMULATOR, running.url)
        yield running


@pytest.fixture
def bucket(server: BucketServer) -> Bucket:
    """Return the site's bucket, past the wire."""
    return server.bucket("site")
