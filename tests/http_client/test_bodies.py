"""Bodies of responses, which may be packed."""

import gzip
from contextlib import ExitStack

import httpcore2
import pytest

from wheelyard.http_client.client import ClientResponse
from wheelyard.http_client.hosts import FetchError
from wheelyard.http_client.urls import parse_url


def packed(body: bytes) -> ClientResponse:
    """Return a response whose body is packed."""
    url, headers = parse_url("https://acme.dev/a"), {"content-encoding": "gzip"}
    return ClientResponse(url, 200, headers, httpcore2.Response(200, content=body), ExitStack())


@pytest.mark.parametrize(
    ("body", "read"),
    [
        (gzip.compress(b"one ") + gzip.compress(b"two"), b"one two"),
        (gzip.compress(b"one") + b"\0" * 9, b"one"),
        (gzip.compress(b"") * 9 + gzip.compress(b"one"), b"one"),
    ],
    ids=["two members", "padding", "empty members"],
)
def test_what_follows_a_packed_body(body: bytes, read: bytes) -> None:
    """Each member of a packed body is read, and padding after the last one is passed over."""
    assert packed(body).body(100) == read


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"\x1f\x8b" + bytes(20), "its answer is damaged"),
        (gzip.compress(b"one")[:-9], "its answer is cut off"),
    ],
    ids=["damaged", "cut off"],
)
def test_a_packed_body_that_did_not_come_whole(body: bytes, why: str) -> None:
    """A packed body with wrong or missing bytes is told as what it is, and worth another try."""
    with pytest.raises(FetchError, match=why) as caught:
        packed(body).body(100)
    assert caught.value.is_transient


def test_a_packed_body_of_many_members_is_limited() -> None:
    """All members of a packed body count for the limit of its size."""
    with pytest.raises(FetchError, match="is larger than"):
        packed(gzip.compress(b"x" * 60) * 2).body(100)
