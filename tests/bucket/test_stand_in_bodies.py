"""Uploads in one request: checksums, multipart and chunked bodies, and names."""

import base64
import json
from hashlib import md5
from typing import Any

import google_crc32c

from tests.bucket.clients import Answer, ask
from tests.bucket.objects import Bucket
from tests.bucket.server import BucketServer


def test_a_checksum_that_is_wrong(server: BucketServer, bucket: Bucket) -> None:
    """Bytes that are not those which were announced are refused, and nothing is stored."""
    path = "/upload/storage/v1/b/wheels/o?uploadType=media&name=a"
    other = base64.b64encode(google_crc32c.value(b"other").to_bytes(4, "big")).decode()

    wrong = ask(server.address, "POST", path, b"bytes", X_Goog_Hash=f"crc32c={other}")
    digest = base64.b64encode(md5(b"bytes", usedforsecurity=False).digest()).decode()
    right = ask(server.address, "POST", path, b"bytes", X_Goog_Hash=f"md5={digest}")

    assert (wrong.status, right.status) == (400, 200)
    assert right.json["md5Hash"] == digest
    assert bucket.names() == ["a"]


def test_a_multipart_body(server: BucketServer, bucket: Bucket) -> None:
    """A multipart upload keeps the bytes as they are, and compares their checksum."""
    content = b'\r\n--other\r\n{"name": "no"}\r\n-B--'
    good = base64.b64encode(google_crc32c.value(content).to_bytes(4, "big")).decode()

    refused = multipart(server, {"name": "x", "crc32c": "AAAAAA=="}, content)
    taken = multipart(server, {"metadata": {"name": "no"}, "name": "a", "crc32c": good}, content)
    empty = multipart(server, {"name": "empty"}, b"")

    assert (refused.status, taken.status, empty.status) == (400, 200, 200)
    assert refused.json["error"]["errors"][0]["reason"] == "invalid"
    assert bucket.names() == ["a", "empty"]
    found = bucket.get("a")
    assert found
    assert (found.data, found.fields["contentType"]) == (content, "application/zip")
    assert [each.name for each in server.log.records("insert")] == ["x", "a", "empty"]


def test_a_name_has_limits(server: BucketServer) -> None:
    """A name has 1 to 1024 bytes, and no line in it."""
    path = "/upload/storage/v1/b/wheels/o?uploadType=media&name="

    statuses = [
        ask(server.address, "POST", path + name, b"1").status
        for name in ("", "..", "a%0Ab", 1025 * "x", 513 * "%C3%A9", 1024 * "x", 512 * "%C3%A9")
    ]

    assert statuses == [400, 400, 400, 400, 400, 200, 200]


def multipart(server: BucketServer, resource: dict[str, Any], content: bytes) -> Answer:
    """Upload in one request, as the client does, with whatever description."""
    head = b"--B\r\ncontent-type: application/json; charset=UTF-8\r\n\r\n"
    middle = b"\r\n--B\r\ncontent-type: application/zip\r\n\r\n"
    body = head + json.dumps(resource).encode() + middle + content + b"\r\n--B--"
    return ask(
        server.address,
        "POST",
        "/upload/storage/v1/b/wheels/o?uploadType=multipart",
        body,
        Content_Type='multipart/related; boundary="B"',
    )
