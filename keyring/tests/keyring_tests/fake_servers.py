"""
A fake index, another host, a fake metadata server and a fake gcloud, on this machine.

The index wants a user name and a password, and remembers every Authorization header. So does the
stranger, who refuses everybody.
"""

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.distributions import make_wheel
from tests.http_server import serving

IDENTITY = "/computeMetadata/v1/instance/service-accounts/default/identity"
ACCESS = "/computeMetadata/v1/instance/service-accounts/default/token"
WHEEL = make_wheel("acme_tool")


@dataclass(frozen=True)
class Seen:
    """A request as it came."""

    method: str
    path: str
    authorization: str


@dataclass(frozen=True)
class Reply:
    """A response."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass
class Listener:
    """
    A server on a port of its own.

    Args:
        address: Host and port.
        seen: Every request so far.
    """

    address: str = ""
    seen: list[Seen] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Scheme and address."""
        return f"http://{self.address}"

    @property
    def credentials(self) -> set[str]:
        """Every `user:password` that was sent."""
        sent = {each.authorization.partition(" ")[2] for each in self.seen if each.authorization}
        return {base64.b64decode(pair).decode() for pair in sent}

    def answer(self, seen: Seen, headers: dict[str, str]) -> Reply:
        """Answer 401 to every request, as a host does that collects credentials."""
        del seen, headers
        return Reply(401, headers=(("WWW-Authenticate", 'Basic realm="stranger"'),))


@dataclass
class Index(Listener):
    """
    An index with one project.

    Args:
        login: The user name and password that it wants.
        stranger: Where `/simple/acme-moved/` leads.
        uploads: How often a file was published.
    """

    login: str = ""
    stranger: str = ""
    uploads: int = 0

    def answer(self, seen: Seen, headers: dict[str, str]) -> Reply:
        """Serve requests with a valid login."""
        del headers
        expected = "Basic " + base64.b64encode(self.login.encode()).decode()
        if seen.authorization != expected:
            return Reply(401, headers=(("WWW-Authenticate", 'Basic realm="acme"'),))
        if seen.method == "POST":
            self.uploads += 1
            return Reply(200)
        if seen.path == "/simple/acme-tool/":
            name, digest = WHEEL.filename, hashlib.sha256(WHEEL.body).hexdigest()
            link = f'<a href="/files/{name}#sha256={digest}">{name}</a>'
            page = f"<!DOCTYPE html><html><body>{link}</body></html>"
            return Reply(200, page.encode(), (("Content-Type", "text/html"),))
        if seen.path == "/simple/acme-moved/":
            return Reply(302, headers=(("Location", f"{self.stranger}/simple/acme-moved/"),))
        if seen.path == f"/files/{WHEEL.filename}":
            return Reply(200, WHEEL.body, (("Content-Type", "application/octet-stream"),))
        return Reply(404)


@dataclass
class MetadataServer(Listener):
    """
    A metadata server.

    Args:
        id_token: Given for every audience; None where there is no service account.
        access_token: None where there is none.
        busy: How many requests are answered 503 first.
        flavored: Whether it says that it is one.
        audiences: Every audience so far.
    """

    id_token: str | None = None
    access_token: str | None = None
    busy: int = 0
    flavored: bool = True
    audiences: list[str] = field(default_factory=list)

    def answer(self, seen: Seen, headers: dict[str, str]) -> Reply:
        """Answer as Google documents it."""
        flavor = (("Metadata-Flavor", "Google"),) if self.flavored else ()
        if headers.get("Metadata-Flavor") != "Google":
            return Reply(403, b"Missing Metadata-Flavor:Google header.", flavor)
        if self.busy:
            self.busy -= 1
            return Reply(503, headers=flavor)
        url = urlsplit(seen.path)
        if url.path == IDENTITY and self.id_token:
            self.audiences += parse_qs(url.query)["audience"]
            return Reply(200, self.id_token.encode(), flavor)
        if url.path == ACCESS and self.access_token:
            answer = {"access_token": self.access_token, "expires_in": 3599, "token_type": "Bearer"}
            return Reply(200, json.dumps(answer).encode(), flavor)
        return Reply(404, headers=flavor)


@dataclass
class TokenEndpoint(Listener):
    """The endpoint where google-auth exchanges a signed assertion for an access token."""

    access_token: str = ""

    def answer(self, seen: Seen, headers: dict[str, str]) -> Reply:
        """Answer as OAuth 2.0 specifies."""
        del seen, headers
        answer = {"access_token": self.access_token, "expires_in": 3599, "token_type": "Bearer"}
        return Reply(200, json.dumps(answer).encode(), (("Content-Type", "application/json"),))


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Give a listener its port, as long as this lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            del body
            seen = Seen(self.command, self.path, self.headers.get("Authorization", ""))
            listener.seen.append(seen)
            reply = listener.answer(seen, dict(self.headers))
            self.send_response(reply.status)
            for name, value in reply.headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(reply.body)

        do_HEAD = do_GET  # noqa: N815 - the name that http.server looks for
        do_POST = do_GET  # noqa: N815 - ditto

    with serving(Handler) as url:
        listener.address = url.removeprefix("http://")
        yield


def program(folder: Path, name: str, *lines: str) -> Path:
    """Write a small program into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text("\n".join(("#!/bin/sh", *lines, "")))
    file.chmod(0o755)
    return file
