"""Reads of the stand-in: conditions, ranges, what is stored compressed, what is not there."""

import os
from http.client import HTTPConnection

import pytest
from google.api_core import exceptions as gexc
from google.cloud.storage import Bucket as RemoteBucket

from tests.bucket.bodies import SMALL
from tests.bucket.clients import PATIENCE, ask
from tests.bucket.objects import Bucket
from tests.bucket.server import BucketServer


def test_preconditions_of_reads(remote: RemoteBucket, bucket: Bucket) -> None:
    """A reader who has the object is told so; one who wants another generation is refused."""
    known = bucket.put("a", b"1").generation
    blob = remote.blob("a")

    for read in (blob.download_as_bytes, blob.reload):
        with pytest.raises(gexc.NotModified):
            read(if_generation_not_match=known)
        with pytest.raises(gexc.PreconditionFailed):
            read(if_generation_match=known - 1)
        read(if_generation_match=known, if_metageneration_match=1)
    with pytest.raises(gexc.NotFound):
        remote.blob("a", generation=known - 1).download_as_bytes()


def test_what_a_range_answers(server: BucketServer, bucket: Bucket) -> None:
    """A range says what it is; one behind the end is refused, in plain text."""
    found = bucket.put("a", b"0123456789")
    path = "/storage/v1/b/wheels/o/a?alt=media"

    part = ask(server.address, "GET", path, Range="bytes=2-4")
    behind = ask(server.address, "GET", path, Range="bytes=10-")

    assert (part.status, part.body) == (206, b"234")
    assert part.headers["content-range"] == "bytes 2-4/10"
    assert part.headers["x-goog-generation"] == str(found.generation)
    assert part.headers["x-goog-hash"] == f"crc32c={found.body.crc32c},md5={found.body.md5}"
    assert (behind.status, behind.headers["content-range"]) == (416, "bytes */10")
    assert behind.headers["content-type"].startswith("text/")


@pytest.mark.parametrize("size", [SMALL, 3 * SMALL])
def test_a_read_goes_on_over_a_change(server: BucketServer, bucket: Bucket, size: int) -> None:
    """Who has begun to read reads the old bytes to their end, replaced or deleted meanwhile."""
    body = os.urandom(size)
    ask(server.address, "POST", "/upload/storage/v1/b/wheels/o?uploadType=media&name=a", body)
    for change in (lambda: bucket.put("a", b"new"), lambda: bucket.remove("a")):
        connection = HTTPConnection(server.address, timeout=PATIENCE)
        connection.request("GET", "/storage/v1/b/wheels/o/a?alt=media")
        answer = connection.getresponse()
        begun = answer.read(1000)

        change()

        assert begun + answer.read() == body
        connection.close()
        ask(server.address, "POST", "/upload/storage/v1/b/wheels/o?uploadType=media&name=a", body)
