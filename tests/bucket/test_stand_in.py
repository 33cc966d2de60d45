"""The stand-in writes and copies as is documented, as Google's own client sees it."""

import io
import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from google.api_core import exceptions as gexc
from google.cloud.storage import Bucket as RemoteBucket

from tests.bucket.bodies import SMALL
from tests.bucket.clients import storage_client
from tests.bucket.objects import Bucket
from tests.bucket.server import BucketServer

UNIT = 256 << 10
INTERVAL = 3600.0
"""Seconds between two changes of one object: more than a slow machine takes for a test."""


def test_generations_rise(remote: RemoteBucket) -> None:
    """Every write has a higher generation than the last, over a deletion too."""
    seen = []
    for _ in range(20):
        blob = remote.blob("a")
        blob.upload_from_string(b"same")
        seen.append(blob.generation)
        blob.delete()

    assert seen == sorted(set(seen))


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


def test_preconditions_of_deletions(remote: RemoteBucket, bucket: Bucket) -> None:
    """A deletion holds to the generation that it names."""
    known = bucket.put("a", b"1").generation
    blob = remote.blob("a")
    with pytest.raises(gexc.PreconditionFailed):
        blob.delete(if_generation_match=known - 1)

    blob.delete(if_generation_match=known)

    with pytest.raises(gexc.NotFound):
        blob.delete(if_generation_match=known)


def test_a_copy_in_steps(remote: RemoteBucket, bucket: Bucket) -> None:
    """A copy between places far apart takes several requests, and is there after the last."""
    bucket.put("a", bytes(25))
    bucket.rewrite_piece = 10
    blob, source = remote.blob("b"), remote.blob("a")

    token, *done = blob.rewrite(source)
    assert (done, bucket.get("b")) == ([10, 25], None)
    token, *_ = blob.rewrite(source, token=token)
    token, *done = blob.rewrite(source, token=token)

    assert (token, done) == (None, [25, 25])
    assert bucket.names() == ["a", "b"]


def test_one_of_many_racing_creations_wins(server: BucketServer, bucket: Bucket) -> None:
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


def test_one_write_an_interval(server: BucketServer, remote: RemoteBucket, bucket: Bucket) -> None:
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


def test_what_a_request_costs(server: BucketServer, remote: RemoteBucket) -> None:
    """Requests are counted by the classes of the price list; an upload in chunks is one."""
    upload(remote, "a", bytes(SMALL + 1))
    remote.blob("b").upload_from_string(b"1")
    remote.get_blob("b")
    remote.blob("b").download_as_bytes()
    list(remote.list_blobs())
    remote.blob("c").rewrite(remote.blob("b"))
    remote.blob("c").delete()

    log = server.log
    assert (log.count("A"), log.count("B"), log.count("free", "delete")) == (4, 2, 1)
    assert log.kinds("a") == ["resumable-start", *["resumable-chunk"] * 5]
    assert [each.status for each in log.records("resumable-*")] == [200, *[308] * 4, 200]
    assert log.records("delete")[0].target == "/storage/v1/b/wheels/o/c?prettyPrint=false"
    log.clear()
    assert log.count() == 0


def upload(remote: RemoteBucket, name: str, body: bytes, **options: object) -> None:
    """Upload, above 8 MiB in chunks."""
    blob = remote.blob(name)
    blob.chunk_size = 8 * UNIT
    blob.upload_from_file(io.BytesIO(body), size=len(body), **options)
