"""The fake server writes and copies as documented, seen by Google's own client."""

import io
import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from google.api_core import exceptions as gexc
from google.cloud.storage import Bucket as RemoteBucket

from tests.fake_gcs.clients import storage_client
from tests.fake_gcs.objects import Bucket
from tests.fake_gcs.server import FakeGcs

UNIT = 256 << 10
SMALL = 8 << 20
"""Bytes up to which an upload is one request."""
INTERVAL = 3600.0
"""Seconds between two changes of one object: more than a slow machine takes for a test."""


@pytest.mark.parametrize("size", [10, SMALL + UNIT + 1])
def test_create_only(remote: RemoteBucket, bucket: Bucket, size: int) -> None:
    """A creation of what exists fails, in one request or in chunks, and changes nothing."""
    bucket.put("a", b"first")

    with pytest.raises(gexc.PreconditionFailed):
        upload(remote, "a", os.urandom(size), if_generation_match=0)

    found = bucket.get("a")
    assert found
    assert found.data == b"first"


@pytest.mark.parametrize("size", [10, SMALL + UNIT + 1])
def test_compare_and_swap(remote: RemoteBucket, bucket: Bucket, size: int) -> None:
    """A replacement succeeds over the generation that it names, and over no other."""
    old = bucket.put("a", b"first").generation
    body = os.urandom(size)

    upload(remote, "a", body, if_generation_match=old)
    with pytest.raises(gexc.PreconditionFailed):
        upload(remote, "a", b"late", if_generation_match=old)
    with pytest.raises(gexc.PreconditionFailed):
        upload(remote, "gone", b"late", if_generation_match=old)

    found = bucket.get("a")
    assert found
    assert found.data == body


def test_one_of_many_racing_creations_wins(server: FakeGcs, bucket: Bucket) -> None:
    """Of many creations at once, one succeeds."""

    def create(name: str) -> bool:
        with storage_client(server.url) as client:
            try:
                client.bucket("wheels").blob(name).upload_from_string(b"1", if_generation_match=0)
            except gexc.PreconditionFailed:
                return False
            return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(create, ["a", "b"] * 12))

    assert sum(won) == 2
    assert bucket.names() == ["a", "b"]


def test_one_write_an_interval(server: FakeGcs, remote: RemoteBucket, bucket: Bucket) -> None:
    """A second change of one object within its interval is 429, and changes nothing."""
    bucket.write_interval = INTERVAL
    blob = remote.blob("a")
    blob.upload_from_string(b"1")

    for change in (
        lambda: blob.upload_from_string(b"2", retry=None),
        lambda: blob.delete(retry=None),
        lambda: upload(remote, "a", bytes(SMALL + 1), retry=None),
        lambda: blob.rewrite(blob, retry=None),
    ):
        with pytest.raises(gexc.TooManyRequests, match="rate limit"):
            change()
    with pytest.raises(gexc.PreconditionFailed):
        blob.upload_from_string(b"2", if_generation_match=0, retry=None)
    remote.blob("b").upload_from_string(b"1")
    server.clock.advance(INTERVAL)
    blob.upload_from_string(b"2", retry=None)

    found = bucket.get("a")
    assert found
    assert found.data == b"2"
    remote.blob("c").upload_from_string(b"1")
    server.clock.advance(INTERVAL)
    remote.blob("c").delete()
    with pytest.raises(gexc.TooManyRequests):
        remote.blob("c").upload_from_string(b"2", retry=None)


def upload(remote: RemoteBucket, name: str, body: bytes, **options: object) -> None:
    """Upload, above 8 MiB in chunks."""
    blob = remote.blob(name)
    blob.chunk_size = 8 * UNIT
    blob.upload_from_file(io.BytesIO(body), size=len(body), **options)
