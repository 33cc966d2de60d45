"""What Cloud Storage's documentation says is refused is refused by every bucket of the tests."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

import pytest

from tests.bucket.bodies import body_of
from tests.bucket.clients import Answer, ask
from tests.bucket.fake_gcs import new_bucket, running_fake_gcs
from tests.bucket.server import running_bucket_server
from tests.bucket.strict import UNIT

BYTES = b"the bytes"
CRC32C, MD5 = body_of(BYTES).crc32c, body_of(BYTES).md5
OTHER = body_of(b"other bytes")
MULTIPART = "multipart/related; boundary=here"


@dataclass(frozen=True, slots=True)
class Place:
    """A bucket on some port of this machine."""

    address: str
    bucket: str

    @property
    def uploads(self) -> str:
        """The path that objects are uploaded to."""
        return f"/upload/storage/v1/b/{self.bucket}/o"

    @property
    def objects(self) -> str:
        """The path of all objects."""
        return f"/storage/v1/b/{self.bucket}/o"

    def names(self) -> list[str]:
        """Return what is in the bucket."""
        answer = ask(self.address, "GET", self.objects)
        return [each["name"] for each in answer.json.get("items", [])]

    def multipart(
        self,
        resource: dict[str, object],
        query: str = "",
        kind: str = "application/json",
        **headers: str,
    ) -> Answer:
        """Upload in two parts, the second of which is of type `kind`."""
        parts = [
            b"Content-Type: application/json; charset=UTF-8\r\n\r\n"
            + json.dumps(resource).encode(),
            f"Content-Type: {kind}\r\n\r\n".encode() + BYTES,
        ]
        return self.send_parts(parts, query, **headers)

    def send_parts(self, parts: list[bytes], query: str = "", **headers: str) -> Answer:
        """Upload in these parts."""
        body = b"".join(b"--here\r\n" + part + b"\r\n" for part in parts) + b"--here--"
        target = f"{self.uploads}?uploadType=multipart{query}"
        return ask(self.address, "POST", target, body, Content_Type=MULTIPART, **headers)

    def simple(self, name: str, **headers: str) -> Answer:
        """Upload the bytes alone."""
        target = f"{self.uploads}?uploadType=media&name={quote(name, safe='')}"
        return ask(self.address, "POST", target, BYTES, **headers)

    def begin(self, resource: dict[str, object], **headers: str) -> Answer:
        """Begin a resumable upload."""
        target = f"{self.uploads}?uploadType=resumable"
        body, headers = (
            json.dumps(resource).encode(),
            {"Content_Type": "application/json", **headers},
        )
        return ask(self.address, "POST", target, body, **headers)

    def piece(self, begun: Answer, data: bytes, span: str, **headers: str) -> Answer:
        """Send a piece of one."""
        target = begun.headers["location"].removeprefix(f"http://{self.address}")
        return ask(self.address, "PUT", target, data, Content_Range=span, **headers)


@pytest.fixture(scope="module", params=["stand-in", "fake-gcs-server"])
def running(request: pytest.FixtureRequest) -> Iterator[Place]:
    """Yield the host and port of each kind of bucket that the tests use."""
    if request.param == "stand-in":
        with running_bucket_server("wheels") as server:
            yield Place(server.address, "wheels")
    else:
        with running_fake_gcs() as url:
            yield Place(url.removeprefix("http://"), "")


@pytest.fixture
def place(running: Place) -> Place:
    """Return a bucket that is empty, and stays so where everything is refused."""
    return (
        running
        if running.bucket
        else Place(running.address, new_bucket(f"http://{running.address}"))
    )


def test_what_is_right(place: Place) -> None:
    """Each way of uploading is carried out where everything agrees."""
    digests = f"crc32c={CRC32C},md5={MD5}"
    said: dict[str, object] = {"contentType": "application/json", "crc32c": CRC32C, "md5Hash": MD5}
    own = {"metadata": {"k" * 1024: "v" * 4096}}

    assert place.multipart({"name": "a", **said, **own}, X_Goog_Hash=digests).status == 200
    assert place.multipart({"name": "b"}, "&ifGenerationMatch=0").status == 200
    begun = place.begin({"name": "d", **said}, X_Upload_Content_Type="application/json")
    ended = place.piece(begun, BYTES, f"bytes 0-8/{len(BYTES)}", X_Goog_Hash=digests)
    assert (begun.status, ended.status) == (200, 200)
    begun = place.begin({"name": "e"})
    assert place.piece(begun, bytes(UNIT), f"bytes 0-{UNIT - 1}/*").status == 308
    assert place.piece(begun, b"x", f"bytes {UNIT}-{UNIT}/{UNIT + 1}").status == 200
    assert place.names() == ["a", "b", "d", "e"]
    for name in place.names():
        assert ask(place.address, "DELETE", f"{place.objects}/{name}").status in {200, 204}


def test_content_types_that_differ(place: Place) -> None:
    """The bytes come with the content type that the description names, however they come."""
    said: dict[str, object] = {"name": "a", "contentType": "application/json"}

    answer = place.multipart(said, kind="text/plain")
    assert answer.status == 400
    assert b"(text/plain) does not match" in answer.body
    assert place.begin(said, X_Upload_Content_Type="text/plain").status == 400
    assert place.multipart({"name": "a", "contentType": "no type"}, kind="no type").status == 400
    assert place.names() == []


@pytest.mark.parametrize("kind", ["", "text/plain"])
def test_parts_that_are_none(place: Place, kind: str) -> None:
    """A multipart body has two parts, each with its type, of which the first one is JSON."""
    description = b'Content-Type: application/json\r\n\r\n{"name": "a"}'
    content = b"Content-Type: text/plain\r\n\r\n1"
    wrong = f"Content-Type: {kind}".encode() if kind else b"X-No-Type: 1"

    assert place.send_parts([wrong + b'\r\n\r\n{"name": "a"}', content]).status == 400
    assert place.send_parts([description]).status == 400
    assert place.send_parts([description, content, content]).status == 400
    assert place.send_parts([description, b"X-No-Type: 1\r\n\r\n1"]).status == 400
    assert place.names() == []


@pytest.mark.parametrize(
    "given",
    [
        f"crc32c={OTHER.crc32c}",
        f"md5={OTHER.md5}",
        f"crc32c={CRC32C},md5={OTHER.md5}",
        f"md5={MD5}, crc32c={OTHER.crc32c}",
        "crc32c=AAAA",
        "crc32c=no!",
        f"md5={CRC32C}",
        "sha256=AAAA",
        f"crc32c={CRC32C},crc32c={CRC32C}",
    ],
)
def test_digests_that_are_wrong(place: Place, given: str) -> None:
    """Bytes are kept only if they have the digests that come with them."""
    assert place.multipart({"name": "a"}, X_Goog_Hash=given).status == 400
    assert place.simple("a", X_Goog_Hash=given).status == 400
    begun = place.begin({"name": "a"})
    assert place.piece(begun, BYTES, "bytes 0-8/9", X_Goog_Hash=given).status == 400
    assert place.names() == []


@pytest.mark.parametrize("said", [{"crc32c": OTHER.crc32c}, {"md5Hash": OTHER.md5}])
def test_digests_in_a_description(place: Place, said: dict[str, object]) -> None:
    """The same holds for digests that the description has."""
    assert place.multipart({"name": "a", **said}, X_Goog_Hash=f"crc32c={CRC32C}").status == 400
    begun = place.begin({"name": "a", **said})
    assert place.piece(begun, BYTES, "bytes 0-8/9").status == 400
    assert place.names() == []


@pytest.mark.parametrize(
    ("size", "span"),
    [
        (UNIT - 1, f"bytes 0-{UNIT - 2}/*"),
        (UNIT + 1, f"bytes 0-{UNIT}/{UNIT * 2}"),
        (UNIT, f"bytes 0-{UNIT}/*"),
        (UNIT, f"bytes {UNIT}-0/*"),
        (UNIT, f"bytes 0-{UNIT - 1}/{UNIT - 1}"),
        (UNIT, f"0-{UNIT - 1}/*"),
        (UNIT, f"bytes 0-{UNIT - 1}"),
    ],
)
def test_pieces_that_do_not_fit(place: Place, size: int, span: str) -> None:
    """A piece is a multiple of 256 KiB unless it is the last, and as long as its range."""
    begun = place.begin({"name": "a"})

    assert place.piece(begun, bytes(size), span).status == 400
    assert place.names() == []


def test_a_total_that_changes(place: Place) -> None:
    """An upload has as many bytes as were announced."""
    begun = place.begin({"name": "a"}, X_Upload_Content_Length="10")

    assert place.piece(begun, BYTES, "bytes 0-8/9").status == 400
    assert place.names() == []


@pytest.mark.parametrize(
    "asked",
    [
        "ifGenerationMatch=0&ifGenerationNotMatch=0",
        "ifGenerationMatch=1&ifGenerationNotMatch=2",
        "ifMetagenerationMatch=1&ifMetagenerationNotMatch=1",
        "ifGenerationMatch=0&ifMetagenerationMatch=1",
        "ifGenerationMatch=-1",
        "ifGenerationMatch=",
        "ifGenerationMatch=x",
        "ifGenerationMatch=9223372036854775808",
    ],
)
def test_preconditions_that_contradict_each_other(place: Place, asked: str) -> None:
    """A precondition is a number that an object may have, and no other one excludes it."""
    assert place.multipart({"name": "a"}, f"&{asked}").status == 400
    assert ask(place.address, "DELETE", f"{place.objects}/a?{asked}").status == 400
    assert ask(place.address, "GET", f"{place.objects}/a?{asked}").status == 400
    target = f"{place.objects}/a/rewriteTo/b/{place.bucket}/o/b"
    for each in (asked, asked.replace("if", "ifSource")):
        assert ask(place.address, "POST", f"{target}?{each}", b"").status == 400
    assert place.names() == []


@pytest.mark.parametrize(
    "name",
    ["", "n" * 1025, "\u00e9" * 513, "a\nb", "a\rb", ".", "..", ".well-known/acme-challenge/a"],
)
def test_names_that_no_object_has(place: Place, name: str) -> None:
    """A name has 1 to 1,024 bytes, no line breaks, and is none of those that are reserved."""
    assert place.multipart({"name": name}).status == 400
    assert place.simple(name).status == 400
    assert place.begin({"name": name}).status == 400
    assert place.names() == []


@pytest.mark.parametrize(
    "metadata",
    [
        {f"{number}": "v" * 4095 for number in range(3)},
        {"k": "v" * 4097},
        {"k" * 1025: "v"},
        {"": "v"},
        {"k": 1},
        ["k"],
    ],
)
def test_metadata_over_its_limits(place: Place, metadata: object) -> None:
    """Custom metadata is of texts, each within its limit and all of them within 8 KiB."""
    said: dict[str, object] = {"name": "a", "metadata": metadata}

    assert place.multipart(said).status == 400
    assert place.begin(said).status == 400
    assert place.names() == []


@pytest.mark.parametrize(
    "said",
    [{"cacheControl": "a\r\nb"}, {"contentEncoding": 1}, {"acl": []}, {"contentType": "x"}],
)
def test_descriptions_that_make_no_sense(place: Place, said: dict[str, object]) -> None:
    """What is said of an object can be said in a header; rights are the bucket's alone."""
    assert place.multipart({"name": "a", **said}, kind="x").status == 400
    assert place.begin({"name": "a", **said}).status == 400
    assert place.names() == []


def test_requests_that_make_no_sense(place: Place) -> None:
    """Unknown ways of uploading, and parameters out of their range, are refused."""
    address, document = place.address, {"Content_Type": "application/json"}
    for query in ("", "?uploadType=other&name=a", "?name=a"):
        assert ask(address, "POST", f"{place.uploads}{query}", b"1").status == 400
    assert ask(address, "POST", place.objects, b'{"name": "a"}', **document).status == 400
    assert ask(address, "GET", f"{place.objects}?projection=all").status == 400
    for fields in ("item(name)", "items(name,generaton)", "items(name"):
        target = f"{place.objects}?fields={quote(fields)}"
        assert ask(address, "GET", target).status == 400
    target = f"{place.objects}/a/rewriteTo/b/{place.bucket}/o/b"
    for size in (1, (1 << 20) + 1):
        wrong = f"{target}?maxBytesRewrittenPerCall={size}"
        assert ask(address, "POST", wrong, b"{}", **document).status == 400
    assert ask(address, "POST", target, b"{}", Content_Type="text/plain").status == 400
    assert place.multipart({"name": "a"}, "&predefinedAcl=publicRead").status == 400
    assert place.names() == []
