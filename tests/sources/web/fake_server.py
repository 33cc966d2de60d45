"""A fake HTTP server with canned responses, which breaks off where a test wants it to."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from threading import Lock
from urllib.parse import urlsplit

from tests.http_server import serving
from tests.in_process_network import NetworkOrPorts

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "text/html; charset=utf-8"


@dataclass(frozen=True)
class CannedResponse:
    """The response of the server on one path."""

    body: bytes = b""
    """Of which a range is answered, unless `headers` have a Content-Range of their own."""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    breaks_at: int | None = None
    """Bytes of the body before the connection is closed."""


@dataclass(frozen=True)
class ReceivedRequest:
    """A received request."""

    method: str
    path: str
    headers: Mapping[str, str]
    """Header names are in lower case."""


@dataclass
class FakeServer:
    """A running server."""

    url: str = ""
    """Its root, without a slash at its end."""
    answers: dict[str, list[CannedResponse]] = field(default_factory=dict)
    """By path: served in turn, the last one repeatedly."""
    seen: list[ReceivedRequest] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    @property
    def port(self) -> int:
        """The port."""
        return int(self.url.rpartition(":")[2])

    def serve(self, path: str, *answers: CannedResponse) -> None:
        """Answer on a path."""
        self.answers[path] = list(answers)

    def page(self, path: str, text: str, content_type: str = HTML) -> None:
        """Serve a page."""
        self.serve(path, CannedResponse(text.encode(), headers={"Content-Type": content_type}))

    def file(self, path: str, body: bytes, **headers: str) -> None:
        """Serve a file; in the names of headers, `_` stands for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.serve(path, CannedResponse(body, headers=named))

    def asked(self, path: str) -> list[ReceivedRequest]:
        """Return the requests for a path."""
        return [each for each in self.seen if urlsplit(each.path).path == path]

    def logins(self, path: str) -> list[str | None]:
        """Return the Authorization headers of the requests for a path."""
        return [each.headers.get("authorization") for each in self.asked(path)]

    def answer(self, request: ReceivedRequest) -> CannedResponse:
        """Return the response to a request."""
        with self._lock:
            self.seen.append(request)
            planned = self.answers.get(urlsplit(request.path).path, [CannedResponse(status=404)])
            return planned.pop(0) if len(planned) > 1 else planned[0]


@contextmanager
def running_fake_server(network: NetworkOrPorts = None) -> Iterator[FakeServer]:
    """Run a server on loopback, or in a network, until the block ends."""
    server = FakeServer()
    with serving(type("Handler", (_Handler,), {"fake": server}), network) as server.url:
        yield server


class _Handler(BaseHTTPRequestHandler):
    fake: FakeServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.fake.answer(ReceivedRequest(self.command, self.path, headers))
        body, first = answer.body, 0
        wanted = "" if "Content-Range" in answer.headers else headers.get("range", "")
        if wanted and headers.get("if-range") in (None, answer.headers.get("ETag")):
            first = int(wanted.removeprefix("bytes=").removesuffix("-"))
        self.send_response(206 if first else answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - first))
        self.end_headers()
        self.wfile.write(body[first : answer.breaks_at])
        if answer.breaks_at is not None:
            self.close_connection = True
