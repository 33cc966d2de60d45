"""What a client sees of a project, through a server before an upstream."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

from tests.http.in_process import InProcessServer
from tests.http.servers import RunningServer
from tests.upstream.fake_pages import JSON

SOURCE = "x-wheelyard-source"
"""The header that says where a page comes from."""


@dataclass(frozen=True)
class ReadResponse:
    """A response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def page(self) -> dict[str, Any]:
        """The page, of a project that is there."""
        assert self.status == 200, (self.status, self.body)
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def files(self) -> dict[str, dict[str, Any]]:
        """The files of a page, by filename."""
        return {file["filename"]: file for file in self.page["files"]}


Look = Callable[..., ReadResponse]


def look(server: InProcessServer | RunningServer, target: str, **headers: str) -> ReadResponse:
    """Ask for a path; `_` in the name of a header stands for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if isinstance(server, InProcessServer):
        answer = server.get(target, *named.items())
        return ReadResponse(answer.status, answer.headers, answer.body)
    response = server.client.get(target, headers=named)
    return ReadResponse(response.status_code, dict(response.headers), response.content)


def page_of(server: InProcessServer | RunningServer, name: str, **headers: str) -> ReadResponse:
    """Ask for the JSON page of a project."""
    return look(server, f"/simple/{name}/", **{"accept": JSON, **headers})


def file_of(
    server: InProcessServer | RunningServer, name: str, filename: str, suffix: str = "", **more: str
) -> ReadResponse:
    """Ask for a file as its project's page links it."""
    return look(server, link_of(server, name, filename) + suffix, **more)


def link_of(server: InProcessServer | RunningServer, name: str, filename: str) -> str:
    """Return the path of a file, as the page of its project links it."""
    url: str = page_of(server, name).files[filename]["url"]
    return urljoin(f"/simple/{name}/", url)
