"""What a bucket is asked for with, and what of the answer counts."""

from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO

import google_crc32c
import pytest
import requests
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client
from urllib3 import HTTPResponse

from tests.fake_time import Clock
from wheelyard.storage.base import ObjectVersion, Stored, WebType
from wheelyard.storage.failures import Failure, FailureKind
from wheelyard.storage.gcs.store import MAX_FRUITLESS_RESUMES, Credentials, GcsStore
from wheelyard.storage.location import parse_location

nobody: Callable[[], Credentials] = AnonymousCredentials
BODY = b'{"name": "demo"}'
DIGEST = google_crc32c.value(BODY).to_bytes(4, "big")
MANY = 100
"""More requests than any call sends."""
HASHES = f"crc32c={b64encode(DIGEST).decode()},md5=AAAA"


class BrokenStream(BytesIO):
    """A body that breaks off at once."""

    def read(self, size: int | None = -1) -> bytes:
        """Break off."""
        del size
        raise ConnectionResetError


@dataclass
class Session:
    """Answers every request with one document, or with an error."""

    hashes: str = HASHES
    """The header with the checksums."""
    status: int = 200
    body: bytes = BODY
    breaks: int = 0
    """How many of the next answers break off before their first byte."""
    sent: int = 0
    """How many answers it has given."""
    is_mtls: bool = False
    """Google's library asks for it."""
    asked: list[dict[str, str]] = field(default_factory=list)
    """The queries so far."""

    def get(self, url: str, *, params: dict[str, str], **_: object) -> requests.Response:
        """Return the document."""
        self.asked.append(params)
        return self.request("GET", url)

    def request(self, method: str, url: str, **_: object) -> requests.Response:
        """Return the document, whatever Google's library asks for."""
        self.sent += 1
        assert self.sent < MANY, "who asks goes on for ever"
        response = requests.Response()
        response.request = requests.Request(method, url).prepare()
        response.url = url
        response.status_code = self.status
        response.headers.update({"X-Goog-Generation": "7", "X-Goog-Hash": self.hashes})
        stream = BytesIO(self.body)
        if self.breaks:
            self.breaks -= 1
            stream = BrokenStream()
        response.raw = HTTPResponse(stream, preload_content=False)
        return response


def store_of(session: Session) -> GcsStore:
    """Return the store whose bucket a session answers for."""
    client = Client(project="p", credentials=nobody(), _http=session)
    client._bucket_metadata_cache = None  # noqa: SLF001 - else a thread of it asks, again and again
    return GcsStore(client, parse_location("gs://wheels"), Clock().runtime(), None, "")


@pytest.mark.parametrize(
    ("unless", "condition"), [(None, {}), (ObjectVersion("6"), {"ifGenerationNotMatch": "6"})]
)
def test_a_document_comes_with_its_version(
    unless: ObjectVersion | None, condition: dict[str, str]
) -> None:
    """A document comes with its version, also to who knows another one."""
    session = Session(HASHES)

    assert store_of(session).get_once("a", unless) == Stored(BODY, ObjectVersion("7"))
    assert session.asked == [{"alt": "media"} | condition]


def test_a_known_document_is_unchanged() -> None:
    """A document is unchanged for who knows its version."""
    session = Session(HASHES)

    with pytest.raises(Failure) as caught:
        store_of(session).get_once("a", ObjectVersion("7"))

    assert caught.value.kind is FailureKind.UNCHANGED
    assert session.asked == [{"alt": "media", "ifGenerationNotMatch": "7"}]


REQUESTS: dict[str, Callable[[GcsStore], object]] = {
    "get": lambda store: store.get_once("a", None),
    "stream": lambda store: store.stream_once("a", 0, None),
    "put": lambda store: store.put_once("a", b"", ObjectVersion("7"), WebType("", "")),
    "delete": lambda store: store.delete_once("a"),
    "list": lambda store: list(store.entries("", "")),
}


@pytest.mark.parametrize(
    ("status", "kind"), [(403, FailureKind.DENIED), (412, FailureKind.CONFLICT)]
)
@pytest.mark.parametrize("verb", REQUESTS)
def test_an_answer_with_an_error_is_none(verb: str, status: int, kind: FailureKind) -> None:
    """What a bucket answers with an error is no document, and has not happened."""
    with pytest.raises(Failure) as caught:
        REQUESTS[verb](store_of(Session(status=status)))

    assert caught.value.kind is kind


@pytest.mark.parametrize(
    ("expect", "kind"),
    [(ObjectVersion("7"), FailureKind.CONFLICT), (None, FailureKind.THROTTLED)],
    ids=["a version", "any"],
)
def test_a_write_too_many(expect: ObjectVersion | None, kind: FailureKind) -> None:
    """Who is refused for too many writes reads again if it expects a version, and else waits."""
    with pytest.raises(Failure) as caught:
        store_of(Session(status=429)).put_once("a", b"", expect, WebType("", ""))

    assert caught.value.kind is kind


@pytest.mark.parametrize(
    "body",
    [b'{"items": [{"name": "a", "size": "1"}]}', b'{"nextPageToken": "again"}'],
    ids=["no time", "no end"],
)
def test_a_listing_that_no_bucket_sends(body: bytes) -> None:
    """A listing that lacks what each one has, or repeats itself, is an error, and ends."""
    with pytest.raises(Failure) as caught:
        list(store_of(Session(body=body)).entries("", ""))

    assert caught.value.kind is FailureKind.REFUSED


def test_a_stream_that_always_breaks_off() -> None:
    """A download that breaks off again and again, without a further byte, is given up."""
    session = Session(breaks=2 * MAX_FRUITLESS_RESUMES)
    chunks = store_of(session).stream_once("a", 0, None)

    with pytest.raises(Failure):
        list(chunks)
    assert len(session.asked) == 1 + MAX_FRUITLESS_RESUMES


def test_damaged_bytes_are_asked_for_again() -> None:
    """Bytes with another checksum than the bucket says are damaged, and not returned."""
    with pytest.raises(Failure) as caught:
        store_of(Session("crc32c=AAAAAA==")).get_once("a", None)

    assert caught.value.kind is FailureKind.UNCLEAR
