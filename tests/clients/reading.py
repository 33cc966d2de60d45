"""Looking at an index with no client at all, and getting a project back from it."""

import hashlib
import json
import urllib.parse
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx2
from uv import find_uv_bin

from tests.clients.harness import Sandbox
from tests.clients.projects import Built, sha256
from tests.clients.servers import Server
from tests.plain_http import LOCALLY

ALONE: dict[str, Any] = {"timeout": 120, "follow_redirects": True, **LOCALLY}
"""The HTTP client for servers on this machine."""
JSON = "application/vnd.pypi.simple.v1+json"


@dataclass(frozen=True)
class ListedFile:
    """One file of a project's page."""

    filename: str
    url: str
    sha256: str


class ErrorResponse(Exception):
    """A response other than 200: its status and body."""


def assert_published(server: Server, sandbox: Sandbox, project: Built) -> None:
    """Wheel and sdist come back as they were sent, and the wheel installs as it was built."""
    sent = {file.name: sha256(file) for file in (project.wheel, project.sdist)}
    files = page(server, project.name)
    assert {file.filename: file.sha256 for file in files} == sent
    assert {file.filename: hashlib.sha256(fetch(file.url)).hexdigest() for file in files} == sent

    python = sandbox.python("published")
    sandbox.run(
        *(find_uv_bin(), "pip", "install", "--quiet", "--no-deps", "--python", python),
        *("--default-index", server.index_url, project.requirement),
    )
    project.assert_installed(python)


def listed(server: Server, name: str) -> dict[str, str]:
    """Filenames and digests of a project's page; empty if there is no such project."""
    return {file.filename: file.sha256 for file in page(server, name)}


def page(server: Server, name: str) -> list[ListedFile]:
    """Read the page of a project; no files if there is no such project."""
    url = f"{server.trusted_url}/simple/{name}/"
    try:
        document = json.loads(fetch(url, accept=JSON))
    except ErrorResponse as refused:
        if refused.args[0] == HTTPStatus.NOT_FOUND:
            return []
        raise
    return [
        ListedFile(
            file["filename"], urllib.parse.urljoin(url, file["url"]), file["hashes"]["sha256"]
        )
        for file in document["files"]
    ]


def fetch(url: str, *, accept: str = "*/*") -> bytes:
    """Ask for a URL, which may have a user name and a password in it."""
    return _content(httpx2.get(url, headers={"Accept": accept}, **ALONE))


def publish(server: Server, *projects: Built) -> None:
    """Send wheels and sdists to a server, with no client at all."""
    for project in projects:
        for file in (project.wheel, project.sdist):
            post(server, file)


def post(server: Server, file: Path) -> bytes:
    """Send one file in the smallest form there is: the file, and nothing else."""
    form = {"content": (file.name, file.read_bytes())}
    return _content(httpx2.post(f"{server.trusted_url}/legacy/", files=form, **ALONE))


def _content(answer: httpx2.Response) -> bytes:
    if answer.status_code != HTTPStatus.OK:
        raise ErrorResponse(answer.status_code, answer.text)
    return answer.content
