"""A bucket for servers that tell webhooks."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fake_gcs.server import running_fake_gcs
from tests.instances.bucket_cluster import BucketCluster, cluster_at
from tests.services.service import BucketView


@pytest.fixture
def bucket_and_cluster(tmp_path: Path) -> Iterator[tuple[BucketView, BucketCluster]]:
    """A bucket, and the processes over the store in it."""
    with running_fake_gcs("wheels") as service:
        yield service.bucket("wheels"), cluster_at(service, tmp_path)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the test that waits for a lease of half a minute, while others run beside it."""
    items.sort(key=lambda item: item.path.name != "test_two_servers.py")
