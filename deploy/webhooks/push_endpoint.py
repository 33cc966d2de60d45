"""
Takes messages of a push subscription of Pub/Sub, after verifying who sends them.

The subscription sends an ID token of its service account. Its signature, issuer, audience, time and
e-mail address are verified here. For Cloud Run or any other place that Google reaches, with
`pyjwt[crypto]` installed. docs/webhook-recipes.md says how it is deployed. It reads

    AUDIENCE   the audience of the subscription
    ACCOUNT    the e-mail address of its service account
    PORT       where it listens, 8080
    KEYS_URL   other keys than those of Google, for tests

Write into `handle` what is to be done.
"""

import json
import os
import signal
import sys
from base64 import b64decode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import jwt

ISSUER = "https://accounts.google.com"
KEYS_URL = "https://www.googleapis.com/oauth2/v3/certs"
LARGEST_BODY = 20_000_000
"""Bytes. A message has up to 10 MB, in base64."""
REQUIRED = ["exp", "iat", "iss", "aud", "email"]


class Refused(Exception):
    """A request that is not from the subscription."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Senders:
    """Knows the service account that may send. Threads may share it."""

    def __init__(self, audience: str, account: str, keys_url: str) -> None:
        if not audience or not account:
            message = "AUDIENCE and ACCOUNT must not be empty"
            raise ValueError(message)
        self._audience = audience
        self._account = account
        self._keys = jwt.PyJWKClient(keys_url, lifespan=3600, timeout=5)

    def require(self, authorization: str) -> None:
        """Raise Refused unless a request has an ID token of the account for this audience."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Refused(401, "there is no token")
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._keys.get_signing_key_from_jwt(token),
                algorithms=["RS256"],
                audience=self._audience,
                issuer=ISSUER,
                leeway=30,
                options={"require": REQUIRED},
            )
        except jwt.PyJWKClientConnectionError as error:
            raise Refused(503, f"the keys of Google cannot be read: {error}") from None
        except jwt.PyJWTError as error:
            raise Refused(401, f"the token is wrong: {error}") from None
        if claims["email"] != self._account or claims.get("email_verified") is not True:
            raise Refused(403, "the token is of another account")


def handle(message_id: str, message: dict[str, Any]) -> None:
    """
    Do what is to be done about a message of wheelyard.

    It may come more than once, always with the same id. Pub/Sub sends it again if this raises.
    """
    about = f"{message['type']} {message.get('project', '')} {message.get('release', '')}".rstrip()
    print(json.dumps({"severity": "INFO", "message": about, "id": message_id}), flush=True)


class PushEndpoint(BaseHTTPRequestHandler):
    """Verifies who sends a message, and handles it."""

    protocol_version = "HTTP/1.1"
    timeout: ClassVar[float | None] = 30
    """Seconds that a client may send nothing."""
    senders: Senders

    def do_POST(self) -> None:
        """Answer 204 once a message is handled."""
        try:
            self.senders.require(self.headers.get("Authorization", ""))
            message_id, message = _unwrapped(self._body())
        except Refused as refused:
            self._answer(refused.status, str(refused))
            return
        try:
            handle(message_id, message)
        except Exception as error:  # noqa: BLE001 - whatever it is, the message has to come again
            self._answer(500, f"{message_id} is not handled: {error!r}")
            return
        self._answer(204, "")

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()) or int(length) > LARGEST_BODY:
            raise Refused(413, "the body is too large, or has no length")
        return self.rfile.read(int(length))

    def _answer(self, status: int, why: str) -> None:
        if why:
            print(json.dumps({"severity": "WARNING", "message": why}), flush=True)
            self.close_connection = True  # the body may be unread
        self.send_response(status)
        if why:
            self.send_header("Content-Length", "0")
            self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log nothing: Cloud Run has a line for each request."""


def _unwrapped(body: bytes) -> tuple[str, dict[str, Any]]:
    """Return the id and the message of wheelyard in what a push subscription sends."""
    try:
        message = json.loads(body)["message"]
        inner = json.loads(b64decode(message["data"]))
        return str(message["attributes"]["webhook-id"]), dict(inner, type=str(inner["type"]))
    except (ValueError, KeyError, TypeError):
        raise Refused(400, "this is no message of relay.py") from None


def main() -> None:
    """Serve until SIGTERM."""
    # the first process of a container passes it over otherwise
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    PushEndpoint.senders = Senders(
        os.environ["AUDIENCE"], os.environ["ACCOUNT"], os.environ.get("KEYS_URL", KEYS_URL)
    )
    ThreadingHTTPServer(("", int(os.environ.get("PORT", "8080"))), PushEndpoint).serve_forever()


if __name__ == "__main__":
    main()
