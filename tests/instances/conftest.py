"""A bucket for processes of an index, and a store in it."""

from pathlib import Path

import pytest

from tests.fake_gcs.server import FakeGcs
from tests.instances.bucket_cluster import BucketCluster, cluster_at
from tests.services.service import BucketView, Service


@pytest.fixture
def bucket(service: Service) -> BucketView:
    """The first bucket of the service, past the wire."""
    return service.bucket("wheels")


@pytest.fixture
def cluster(service: Service, tmp_path: Path) -> BucketCluster:
    """A new store in the bucket."""
    return cluster_at(service, tmp_path)


@pytest.fixture
def server(service: Service) -> FakeGcs:
    """The service, of a test that is about Google's."""
    assert isinstance(service, FakeGcs)
    return service
