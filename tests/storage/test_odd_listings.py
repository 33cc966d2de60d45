"""Listings that no service sends, and a proxy or an emulator may."""

import json
from http.server import BaseHTTPRequestHandler

import pytest

from tests.http_server import serving
from tests.refused import refused
from tests.storage.gcs.opened import EMULATOR
from wheelyard.errors import Unavailable
from wheelyard.wiring.stores import open_single_store

TIME = "2026-01-01T00:00:00Z"
ITEM = {"name": "a", "size": "1", "timeCreated": TIME}
AGAIN = {"nextPageToken": "again"}
KEYS = "".join(
    f"<Contents><Key>{number}</Key><Size>1</Size><LastModified>{TIME}</LastModified></Contents>"
    for number in range(100, 1100)
)
XML = (
    f"<ListBucketResult><IsTruncated>true</IsTruncated>{KEYS}"
    "<NextContinuationToken>again</NextContinuationToken></ListBucketResult>"
)
GOOGLE = [
    {"items": [{"name": "a", "size": "1"}]},
    {"items": [ITEM], **AGAIN},
    {"items": [ITEM, ITEM]},
    AGAIN,
]


def answering(body: bytes) -> type[BaseHTTPRequestHandler]:
    """Return a handler that always answers the same."""

    class Handler(BaseHTTPRequestHandler):
        """It."""

        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            """Answer."""
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler


@pytest.mark.integration
@pytest.mark.parametrize("listing", GOOGLE, ids=["no time", "page", "name", "empty"])
def test_a_listing_of_google(monkeypatch: pytest.MonkeyPatch, listing: object) -> None:
    """A listing without a time, or one that repeats itself, fails each time that it is read."""
    with serving(answering(json.dumps(listing).encode())) as url:
        monkeypatch.setenv(EMULATOR, url)
        store = open_single_store("gs://wheels")
        for _ in range(2):
            with pytest.raises(Unavailable, match="with status 200 a"):
                list(store.list(""))


@pytest.mark.integration
def test_an_empty_object_has_no_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """A listing that leaves out the size of an empty object, as Google's testbench does, is one."""
    listing = {"items": [{"name": "a", "timeCreated": TIME}, ITEM | {"name": "b"}]}
    with serving(answering(json.dumps(listing).encode())) as url:
        monkeypatch.setenv(EMULATOR, url)
        entries = list(open_single_store("gs://wheels").list(""))

    assert [(entry.key, entry.size) for entry in entries] == [("a", 0), ("b", 1)]


@pytest.mark.integration
@pytest.mark.parametrize("after", ["", "z"])
def test_a_listing_of_s3(monkeypatch: pytest.MonkeyPatch, after: str) -> None:
    """A listing that repeats itself ends with one sentence, whatever part of it is wanted."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with serving(answering(XML.encode())) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with refused(Unavailable, "storage_refused", match="status 200 and a listing that"):
            list(open_single_store("s3://wheels").list("", after))
