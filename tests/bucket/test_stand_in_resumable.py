"""Uploads in chunks: what the stand-in keeps, passes over and refuses."""

import os
from contextlib import closing
from http.client import HTTPConnection

import pytest

from tests.bucket.bodies import SMALL
from tests.bucket.clients import PATIENCE, Answer, ask
from tests.bucket.objects import Bucket
from tests.bucket.server import BucketServer

UNIT = 256 << 10
START = "/upload/storage/v1/b/wheels/o?uploadType=resumable&name=a"


class Upload:
    """A resumable upload, request by request."""

    def __init__(self, server: BucketServer, query: str = "", **headers: str) -> None:
        headers = {"Content_Type": "application/json", **headers}
        answer = ask(server.address, "POST", START + query, b"{}", **headers)
        assert answer.status == 200
        self.address = server.address
        self.target = answer.headers["location"].removeprefix(server.url)

    def send(self, data: bytes, start: int, total: str, **headers: str) -> Answer:
        """Send a chunk."""
        span = f"bytes {start}-{start + len(data) - 1}/{total}"
        return ask(self.address, "PUT", self.target, data, Content_Range=span, **headers)

    def ask(self, total: str = "*") -> Answer:
        """Ask how far it is, or end it with no more bytes."""
        return ask(self.address, "PUT", self.target, b"", Content_Range=f"bytes */{total}")


def reached(answer: Answer) -> tuple[int, str]:
    """Return the status, and how far the upload is."""
    return answer.status, answer.headers.get("range", "")


@pytest.mark.parametrize("units", [2, 2 * SMALL // UNIT])
def test_a_chunk_that_is_repeated(server: BucketServer, bucket: Bucket, units: int) -> None:
    """Bytes that arrive again are passed over, few or many, whole chunks or parts of them."""
    half = units * UNIT
    body = os.urandom(2 * half + 5)
    upload = Upload(server)
    assert reached(upload.ask()) == (308, "")

    assert reached(upload.send(body[:half], 0, "*")) == (308, f"bytes=0-{half - 1}")
    assert reached(upload.send(body[:half], 0, "*")) == (308, f"bytes=0-{half - 1}")
    longer = upload.send(body[UNIT : 2 * half], UNIT, "*")
    assert reached(longer) == (308, f"bytes=0-{2 * half - 1}")
    assert reached(upload.ask(f"{len(body)}")) == (308, f"bytes=0-{2 * half - 1}")
    finished = upload.send(body[2 * half :], 2 * half, f"{len(body)}")

    assert finished.status == 200
    assert finished.json["size"] == f"{len(body)}"
    found = bucket.get("a")
    assert found
    assert found.data == body
    assert found.body.crc32c == bucket.put("b", body).body.crc32c
    for again in (upload.ask(), upload.send(body[2 * half :], 2 * half, f"{len(body)}")):
        assert (again.status, again.json["generation"]) == (200, finished.json["generation"])
    assert bucket.get("a") == found


def test_the_loser_learns_it_at_the_end(server: BucketServer, bucket: Bucket) -> None:
    """A precondition is judged when the upload finishes, not when it starts, and stays judged."""
    bucket.put("a", b"there")
    lucky = Upload(server, "&ifGenerationMatch=0")
    bucket.remove("a")
    assert lucky.send(b"1", 0, "1").status == 200

    late = Upload(server, "&ifGenerationMatch=0")
    assert late.send(bytes(UNIT), 0, "*").status == 308
    assert late.send(b"x", UNIT, f"{UNIT + 1}").status == 412
    assert late.ask().status == 412


@pytest.mark.parametrize("total", [0, UNIT])
def test_an_end_without_bytes(server: BucketServer, bucket: Bucket, total: int) -> None:
    """An upload of unknown size is ended by telling its size, be it nothing."""
    upload = Upload(server)
    if total:
        upload.send(bytes(total), 0, "*")

    assert upload.ask(f"{total}").status == 200

    found = bucket.get("a")
    assert found
    assert found.data == bytes(total)


def test_what_is_refused(server: BucketServer, bucket: Bucket) -> None:
    """Gaps, crooked chunks, wrong totals and wrong checksums are 400, and store nothing."""
    gap = Upload(server)
    assert gap.send(bytes(UNIT), UNIT, "*").status == 400
    assert reached(gap.ask()) == (308, "")
    assert Upload(server).send(bytes(UNIT - 1), 0, "*").status == 400
    assert Upload(server, X_Upload_Content_Length="3").send(b"12", 0, "2").status == 400
    wrong = Upload(server).send(b"12", 0, "2", X_Goog_Hash="crc32c=AAAAAA==")
    assert (wrong.status, b"CRC32C" in wrong.body) == (400, True)
    assert ask(server.address, "PUT", f"{START}&upload_id=none", b"1").status == 404

    assert bucket.names() == []


def test_an_upload_is_given_up(server: BucketServer, bucket: Bucket) -> None:
    """A cancelled upload answers 499 and is gone; one that has expired is not found."""
    upload, expired = Upload(server), Upload(server)

    assert ask(server.address, "DELETE", upload.target).status == 499
    assert upload.send(b"1", 0, "1").status == 410
    server.expire_uploads()
    assert expired.send(b"1", 0, "1").status == 404

    assert bucket.names() == []


@pytest.mark.parametrize("units", [16, 2 * SMALL // UNIT])
def test_a_chunk_that_breaks_off(server: BucketServer, bucket: Bucket, units: int) -> None:
    """Of a chunk whose connection breaks off, nothing is kept, and the upload goes on."""
    body = os.urandom(units * UNIT)
    upload = Upload(server)
    upload.send(body[:UNIT], 0, "*")
    with closing(HTTPConnection(server.address, timeout=PATIENCE)) as connection:
        connection.putrequest("PUT", upload.target)
        connection.putheader("Content-Length", f"{len(body) - UNIT}")
        connection.putheader("Content-Range", f"bytes {UNIT}-{len(body) - 1}/{len(body)}")
        connection.endheaders(body[UNIT : -UNIT // 2])

    assert reached(upload.ask()) == (308, f"bytes=0-{UNIT - 1}")
    assert upload.send(body[UNIT:], UNIT, f"{len(body)}").status == 200

    found = bucket.get("a")
    assert found
    assert found.data == body
