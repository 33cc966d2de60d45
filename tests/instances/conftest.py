"""A bucket for processes of an index, and a store in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fake_gcs.objects import Bucket
from tests.fake_gcs.server import BucketServer, running_bucket_server
from tests.instances.bucket_cluster import BucketCluster, cluster_at


@pytest.fixture
def server() -> Iterator[BucketServer]:
    """A bucket, and one for what belongs apart."""
    with running_bucket_server("wheels", "apart") as server:
        yield server


@pytest.fixture
def bucket(server: BucketServer) -> Bucket:
    """The first one, past the wire."""
    return server.bucket("wheels")


@pytest.fixture
def cluster(server: BucketServer, tmp_path: Path) -> BucketCluster:
    """A new store in it."""
    return cluster_at(server, tmp_path)
