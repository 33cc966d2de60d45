"""The metadata server of a build: it says, signed, who the build runs as."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Final
from urllib.parse import parse_qs, urlsplit

from tests.trust.issuer import rsa_key
from wheelyard.index import real_ambient

GOOGLE: Final = rsa_key("google")
UNIQUE_ID: Final = "104857600123456789012"
IDENTITY: Final = "/computeMetadata/v1/instance/service-accounts/default/identity"


@dataclass
class Metadata:
    """
    The server.

    Args:
        account: Whom it speaks for.
        may_identify: Whether the account may have ID tokens.
        given: Every token that it gave.
        issuers: By audience, who signs for that, if it is not Google.
    """

    account: str
    address: str = ""
    may_identify: bool = True
    given: list[str] = field(default_factory=list)
    issuers: dict[str, str] = field(default_factory=dict)

    def answer(self, path: str, flavor: str | None) -> tuple[int, str]:
        """Return status and body of an answer."""
        where = urlsplit(path)
        query = parse_qs(where.query)
        if flavor != "Google" or not self.may_identify:
            return 403, "Forbidden"
        if where.path != IDENTITY or query.get("format") != ["full"]:
            return 404, "Not Found"
        (audience,) = query["audience"]
        self.given.append(self.token(audience))
        return 200, self.given[-1]

    def token(self, audience: str) -> str:
        """Return an ID token, made out to somebody."""
        now = int(real_ambient().now().timestamp())
        issuer = self.issuers.get(audience, "https://accounts.google.com")
        claims = {"iss": issuer, "aud": audience, "sub": UNIQUE_ID}
        mail = {"email": self.account, "email_verified": True}
        return GOOGLE.token({**claims, **mail, "iat": now, "exp": now + 3600})


@contextmanager
def running_metadata(account: str) -> Iterator[Metadata]:
    """Run the server until the block ends."""
    metadata = Metadata(account)
    handler = type("Handler", (_Handler,), {"metadata": metadata})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        metadata.address = f"127.0.0.1:{server.server_address[1]}"
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield metadata
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    metadata: Metadata

    def do_GET(self) -> None:
        status, body = self.metadata.answer(self.path, self.headers.get("Metadata-Flavor"))
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Say nothing."""
