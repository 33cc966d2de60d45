"""Google's client and a plain HTTP client, connected to the fake server."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection

from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from tests.waiting import TIMEOUT_SECONDS


@contextmanager
def storage_client(url: str) -> Iterator[storage.Client]:
    """Yield a client that sends every request to `url`, without credentials."""
    client = storage.Client(
        project="stand-in",
        credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call] # half typed
        client_options={"api_endpoint": url},
    )
    client._bucket_metadata_cache = None  # noqa: SLF001 - else it looks at the bucket by itself
    try:
        yield client
    finally:
        client.close()


@dataclass(frozen=True, slots=True)
class PlainResponse:
    """The response to a plain request; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def ask(
    address: str, method: str, target: str, body: bytes | None = None, **headers: str
) -> PlainResponse:
    """Send one plain request; an underscore in a header's name stands for a dash."""
    connection = HTTPConnection(address, timeout=TIMEOUT_SECONDS)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request(method, target, body, named)
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return PlainResponse(answer.status, found, answer.read())
    finally:
        connection.close()
