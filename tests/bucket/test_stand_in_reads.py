"""Reads of the stand-in: conditions, ranges, what is stored compressed, what is not there."""

import gzip
import os
from http.client import HTTPConnection

import pytest
from google.api_core import exceptions as gexc
from google.cloud.storage import Bucket as RemoteBucket

from tests.bucket.bodies import SMALL
from tests.bucket.clients import PATIENCE, ask
from tests.bucket.objects import Bucket
from tests.bucket.server import BucketServer


def test_reading_tells_the_generation(remote: RemoteBucket) -> None:
    """One download gives the bytes and the generation that they belong to."""
    written = remote.blob("a")
    written.upload_from_string(b"1")
    read = remote.blob("a")

    assert read.download_as_bytes() == b"1"
    assert read.generation == written.generation


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


def test_what_is_stored_compressed(server: BucketServer, bucket: Bucket) -> None:
    """An object that is stored compressed goes out as it is to who asks so, and unpacked if not."""
    packed = gzip.compress(b"page")
    found = bucket.put("a", packed, contentEncoding="gzip")
    path = "/download/storage/v1/b/wheels/o/a?alt=media"

    asked = ask(server.address, "GET", path, Accept_Encoding="gzip")
    unasked = ask(server.address, "GET", path, Accept_Encoding="identity")

    assert (asked.body, asked.headers["content-encoding"]) == (packed, "gzip")
    assert unasked.body == b"page"
    assert "content-encoding" not in unasked.headers
    assert f"crc32c={found.body.crc32c}" in unasked.headers["x-goog-hash"]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0, None, b"0123456789"),
        (2, 4, b"234"),
        (9, None, b"9"),
        (8, 100, b"89"),
        (-3, None, b"789"),
        (-30, None, b"0123456789"),
    ],
)
def test_ranges(
    remote: RemoteBucket, bucket: Bucket, start: int, end: int | None, expected: bytes
) -> None:
    """Part of an object can be read."""
    bucket.put("a", b"0123456789")

    assert remote.blob("a").download_as_bytes(start=start, end=end) == expected


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


def test_what_is_not_there(server: BucketServer, remote: RemoteBucket) -> None:
    """What is not there is 404: an object, and a bucket by its own sentence."""
    assert remote.get_blob("a") is None
    with pytest.raises(gexc.NotFound, match="No such object: wheels/a"):
        remote.blob("a").download_as_bytes()

    elsewhere = remote.client.bucket("nowhere")
    for call in (
        elsewhere.blob("a").download_as_bytes,
        elsewhere.reload,
        elsewhere.blob("a").delete,
    ):
        with pytest.raises(gexc.NotFound, match=r"The specified bucket does not exist\."):
            call()
    plain = ask(server.address, "GET", "/download/storage/v1/b/wheels/o/a?alt=media")
    assert (plain.status, plain.body) == (404, b"No such object: wheels/a")
    error = ask(server.address, "GET", "/storage/v1/b/wheels/o/a").json["error"]
    assert (error["code"], error["errors"][0]["reason"]) == (404, "notFound")


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
