"""What tests have to know of the protocol of a service that an emulator speaks."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import unquote

from tests.fake_gcs.faults import StatusAfter, StatusBefore
from tests.fake_gcs.log import Price
from tests.fake_gcs.wire import Header, Reply, Request

PART = "resumable-chunk"
"""The kind of a request for a part of a large object; "resumable-end" puts the parts together."""
PRICES: Mapping[str, Price] = {
    "insert": "A",
    "resumable-start": "A",
    PART: "A",
    "resumable-end": "A",
    "list": "A",
    "get": "B",
    "media": "B",
    "signed": "B",
    "delete": "free",
    "unknown": "free",
}
"""What each kind of request costs, in the words of Google's price list."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks: its kind, and the object, or the prefix of a listing."""

    kind: str
    bucket: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """The names on a page of a listing, and where the next one begins: "" after the last."""

    names: list[str]
    following: str = ""


class Dialect(Protocol):
    """
    One service: its requests, its refusals, and how a client in another process finds it.

    Attributes:
        scheme: Of a location, as `s3`.
        metadata_prefix: Of the headers that are custom metadata of an object.
    """

    scheme: str
    metadata_prefix: str

    def asked(self, request: Request) -> Asked:
        """Return what a request asks; `request.body` is as it was."""
        ...

    def refusal(self, fault: StatusBefore | StatusAfter) -> Reply:
        """Return the answer by which the service says no, as planned."""
        ...

    def environment(self, url: str) -> dict[str, str]:
        """Return variables that lead a client to the service at a URL, with credentials."""
        ...

    def creation(self, bucket: str) -> tuple[str, str]:
        """Return the method and target of the request that makes a bucket."""
        ...

    def target(self, bucket: str, name: str) -> str:
        """Return the target of requests for an object."""
        ...

    def listing(self, bucket: str, prefix: str, begin: str) -> str:
        """Return the target of the request for a page of a listing."""
        ...

    def page(self, body: bytes) -> Page:
        """Return the answer to that."""
        ...

    def headers(self) -> list[Header]:
        """Return the headers of every request that a test makes itself."""
        ...


def xml_error(fault: StatusBefore | StatusAfter, code: str, *headers: Header) -> Reply:
    """Return an error as S3 and Azure write it."""
    text = f"<Code>{code}</Code><Message>As planned by the test.</Message>"
    body = f'<?xml version="1.0" encoding="UTF-8"?><Error>{text}</Error>'.encode()
    wait = [("Retry-After", fault.retry_after)] if fault.retry_after else []
    return Reply(fault.status, [("Content-Type", "application/xml"), *headers, *wait], body)


def deleted_name(request: Request, pattern: re.Pattern[bytes]) -> str:
    """Return the first name in the body of a request that deletes several, "" if it has none."""
    body = request.body.read_all()
    request.body.unread(body)
    found = pattern.search(body)
    return unquote(found[1].decode()) if found else ""
