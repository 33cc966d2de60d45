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


@pytest.mark.parametrize("unless", [None, "6", "7"])
def test_a_document_is_asked_for_unless_it_is_known(unless: str | None) -> None:
    """A document comes with its version, and with a known version only if it has another one."""
    session = Session(f"crc32c={b64encode(DIGEST).decode()},md5=AAAA")
    store, version = store_of(session), ObjectVersion(unless) if unless else None

    if unless == "7":
        with pytest.raises(Failure) as caught:
            store.get_once("a", version)
        assert caught.value.kind is FailureKind.UNCHANGED
    else:
        assert store.get_once("a", version) == Stored(BODY, ObjectVersion("7"))

    condition = {"ifGenerationNotMatch": unless} if unless else {}
    assert session.asked == [{"alt": "media"} | condition]


def test_damaged_bytes_are_asked_for_again() -> None:
    """Bytes with another checksum than the bucket says are damaged, and not returned."""
    with pytest.raises(Failure) as caught:
        store_of(Session("crc32c=AAAAAA==")).get_once("a", None)

    assert caught.value.kind is FailureKind.UNCLEAR
