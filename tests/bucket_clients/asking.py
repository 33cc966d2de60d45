"""What an index in a bucket answers to a plain request, and small packages for it."""

import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

from tests.bucket_clients.yard import Yard
from tests.clients.reading import page
from tests.http.packages import Package, form

PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, and how long that took; the names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float


def ask(yard: Yard, target: str, method: str = "GET", **headers: str) -> Answer:
    """Send one request with the token; an underscore in a header's name stands for a dash."""
    begun = time.monotonic()
    with asking(yard, target, method, body=b"", **headers) as answer:
        body = answer.read()
    found = {name.lower(): value for name, value in answer.getheaders()}
    return Answer(answer.status, found, body, time.monotonic() - begun)


@contextmanager
def asking(
    yard: Yard, target: str, method: str = "GET", *, body: bytes = b"", **headers: str
) -> Iterator[HTTPResponse]:
    """Send one request with the token, and let the caller read the answer."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection = HTTPConnection(yard.server.address, timeout=PATIENCE)
    try:
        connection.request(method, target, body or None, {"Authorization": _token(yard)} | named)
        with connection.getresponse() as answer:
            yield answer
    finally:
        connection.close()


def upload(yard: Yard, package: Package) -> Answer:
    """Upload a package, whatever comes of it."""
    begun = time.monotonic()
    kind = "multipart/form-data; boundary=frontier"
    with asking(yard, "/legacy/", "POST", body=form(package), Content_Type=kind) as answer:
        said = answer.read()
    found = {name.lower(): value for name, value in answer.getheaders()}
    return Answer(answer.status, found, said, time.monotonic() - begun)


def publish(yard: Yard, *packages: Package) -> None:
    """Upload packages, all of which have to be taken."""
    for package in packages:
        answer = upload(yard, package)
        assert answer.status == 200, answer.body


def path_of(yard: Yard, package: Package) -> str:
    """Return the path that the page of a project gives for a package."""
    name = package.filename.partition("-")[0].replace("_", "-")
    urls = {Path(urlsplit(each.url).path).name: each.url for each in page(yard.server, name)}
    filename = package.filename.replace("+", "%2B").replace("!", "%21")
    return urlsplit(urls[filename]).path


def is_whole(answer: Answer, package: Package) -> bool:
    """Return whether an answer is a package, all of it."""
    return answer.status == 200 and answer.body == package.data


def _token(yard: Yard) -> str:
    pair = f"__token__:{yard.server.token}".encode()
    return f"Basic {b64encode(pair).decode()}"
