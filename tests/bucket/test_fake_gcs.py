"""The real emulator starts, and each test has a bucket of its own in it."""

from tests.bucket.clients import storage_client
from tests.bucket.fake_gcs import new_bucket, running_fake_gcs


def test_fake_gcs() -> None:
    """Two buckets of one emulator have nothing of each other's."""
    with running_fake_gcs() as url, storage_client(url) as client:
        one, other = (client.bucket(new_bucket(url)) for _ in range(2))

        one.blob("a").upload_from_string(b"1", if_generation_match=0)

        assert [each.name for each in one.list_blobs()] == ["a"]
        assert list(other.list_blobs()) == []
