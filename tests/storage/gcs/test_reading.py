"""What a document of a bucket is asked for with, and what of the answer counts."""

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
from wheelyard.storage.base import ObjectVersion, Stored
from wheelyard.storage.failures import Failure, FailureKind
from wheelyard.storage.gcs.store import Credentials, GcsStore
from wheelyard.storage.location import parse_location

nobody: Callable[[], Credentials] = AnonymousCredentials
BODY = b'{"name": "demo"}'
DIGEST = google_crc32c.value(BODY).to_bytes(4, "big")
HASHES = f"crc32c={b64encode(DIGEST).decode()},md5=AAAA"


@dataclass
class Session:
    """Answers every request with one document."""

    hashes: str
    """The header with the checksums."""
    asked: list[dict[str, str]] = field(default_factory=list)
    """The queries so far."""

    def get(self, url: str, *, params: dict[str, str], **_: object) -> requests.Response:
        """Return the document."""
        self.asked.append(params)
        response = requests.Response()
        response.url = url
        response.status_code = 200
        response.headers.update({"X-Goog-Generation": "7", "X-Goog-Hash": self.hashes})
        response.raw = HTTPResponse(BytesIO(BODY), preload_content=False)
        return response


def store_of(session: Session) -> GcsStore:
    """Return the store whose bucket a session answers for."""
    client = Client(project="p", credentials=nobody(), _http=session)
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


def test_damaged_bytes_are_asked_for_again() -> None:
    """Bytes with another checksum than the bucket says are damaged, and not returned."""
    with pytest.raises(Failure) as caught:
        store_of(Session("crc32c=AAAAAA==")).get_once("a", None)

    assert caught.value.kind is FailureKind.UNCLEAR
