"""Looking at an index with no client at all, and getting a project back from it."""

import base64
import hashlib
import json
import urllib.parse
import urllib.request
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.error import HTTPError
from uuid import uuid4

from uv import find_uv_bin

from tests.clients.harness import Desk
from tests.clients.projects import Built, sha256
from tests.clients.servers import Server

JSON = "application/vnd.pypi.simple.v1+json"


@dataclass(frozen=True)
class Listed:
    """One file of a project's page."""

    filename: str
    url: str
    sha256: str


class Refused(Exception):
    """An answer that is not 200."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status


def assert_published(server: Server, desk: Desk, project: Built) -> None:
    """Wheel and sdist come back as they were sent, and the wheel installs as it was built."""
    sent = {file.name: sha256(file) for file in (project.wheel, project.sdist)}
    files = page(server, project.name)
    assert {file.filename: file.sha256 for file in files} == sent
    assert {file.filename: hashlib.sha256(fetch(file.url)).hexdigest() for file in files} == sent

    python = desk.python("published")
    desk.run(
        *(find_uv_bin(), "pip", "install", "--quiet", "--no-deps", "--python", python),
        *("--default-index", server.index_url, project.requirement),
    )
    project.assert_installed(python)


def listed(server: Server, name: str) -> dict[str, str]:
    """Filenames and digests of a project's page; empty if there is no such project."""
    return {file.filename: file.sha256 for file in page(server, name)}


def page(server: Server, name: str) -> list[Listed]:
    """Read the page of a project; no files if there is no such project."""
    url = f"{server.trusted_url}/simple/{name}/"
    try:
        document = json.loads(fetch(url, accept=JSON))
    except Refused as refused:
        if refused.status == HTTPStatus.NOT_FOUND:
            return []
        raise
    return [
        Listed(file["filename"], urllib.parse.urljoin(url, file["url"]), file["hashes"]["sha256"])
        for file in document["files"]
    ]


def fetch(url: str, body: bytes | None = None, kind: str = "", *, accept: str = "*/*") -> bytes:
    """Ask for a URL whose user name and password, if any, are sent as they are; or post to it."""
    parts = urllib.parse.urlsplit(url)
    headers = {"Accept": accept} | ({"Content-Type": kind} if kind else {})
    if parts.username:
        pair = f"{parts.username}:{parts.password or ''}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
    plain = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    request = urllib.request.Request(plain, body, headers)  # noqa: S310  # our own server
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310
            content: bytes = answer.read()
            return content
    except HTTPError as error:
        raise Refused(error.code, error.read().decode()) from None


def publish(server: Server, *projects: Built) -> None:
    """Send wheels and sdists to a server, with no client at all."""
    for project in projects:
        for file in (project.wheel, project.sdist):
            post(server, file)


def post(server: Server, file: Path) -> bytes:
    """Send one file in the smallest form there is: the file, and nothing else."""
    boundary = uuid4().hex
    head = (
        f"--{boundary}\r\n"
        f'Content-Disposition: form-data; name="content"; filename="{file.name}"\r\n\r\n'
    )
    body = head.encode() + file.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
    return fetch(f"{server.trusted_url}/legacy/", body, f"multipart/form-data; boundary={boundary}")
