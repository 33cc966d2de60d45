"""A bucket for processes of an index, and a store in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fake_gcs.objects import Bucket
from tests.fake_gcs.server import FakeGcs, running_fake_gcs
from tests.instances.bucket_cluster import BucketCluster, cluster_at


@pytest.fixture
def server() -> Iterator[FakeGcs]:
    """A bucket, and one for what belongs apart."""
    with running_fake_gcs("wheels", "apart") as server:
        yield server


@pytest.fixture
def bucket(server: FakeGcs) -> Bucket:
    """The first one, past the wire."""
    return server.bucket("wheels")


@pytest.fixture
def cluster(server: FakeGcs, tmp_path: Path) -> BucketCluster:
    """A new store in it."""
    return cluster_at(server, tmp_path)
