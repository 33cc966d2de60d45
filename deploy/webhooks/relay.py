"""
Publishes what a webhook of wheelyard sends to a topic of Pub/Sub, after verifying its signature.

For Cloud Run, with `standardwebhooks` installed. docs/webhook-recipes.md says how it is deployed.
It reads

    WEBHOOK_SECRET         the secret of the webhook, whsec_...
    TOPIC                  projects/PROJECT/topics/NAME
    PORT                   where it listens, 8080
    GCE_METADATA_HOST      another metadata server, for tests
    PUBSUB_EMULATOR_HOST   another Pub/Sub, for tests

It answers 2xx only when Pub/Sub has taken the message. Otherwise wheelyard tries again.
"""

import json
import os
import signal
import sys
import time
from base64 import b64encode
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any, ClassVar
from urllib.request import ProxyHandler, Request, build_opener

from standardwebhooks import Webhook, WebhookVerificationError

LARGEST_BODY = 5_000_000
"""Bytes. Pub/Sub takes messages of up to 10 MB."""
METADATA_SECONDS, PUBLISH_SECONDS = 2.0, 5.0
"""Together less than the 10 seconds after which wheelyard gives up a try."""
METADATA_PATH = "/computeMetadata/v1/instance/service-accounts/default/token"
OPENER = build_opener(ProxyHandler({}))


class Topic:
    """Publishes to a topic as the service account of this machine. Threads may share it."""

    def __init__(self, name: str) -> None:
        metadata = os.environ.get("GCE_METADATA_HOST", "metadata.google.internal")
        emulator = os.environ.get("PUBSUB_EMULATOR_HOST")
        host = f"http://{emulator}" if emulator else "https://pubsub.googleapis.com"
        self._token_url = f"http://{metadata}{METADATA_PATH}"
        self._url = f"{host}/v1/{name}:publish"
        self._lock = Lock()
        self._token = ""
        self._ends = 0.0

    def publish(self, message: dict[str, Any]) -> None:
        """Publish a message. Raises OSError, HTTPException or ValueError if that fails."""
        headers = {
            "Authorization": f"Bearer {self._access_token()}",
            "Content-Type": "application/json",
        }
        body = json.dumps({"messages": [message]}).encode()
        with OPENER.open(Request(self._url, body, headers), timeout=PUBLISH_SECONDS) as answer:  # noqa: S310
            answer.read()

    def _access_token(self) -> str:
        with self._lock:
            if time.monotonic() >= self._ends:
                request = Request(self._token_url, headers={"Metadata-Flavor": "Google"})  # noqa: S310
                with OPENER.open(request, timeout=METADATA_SECONDS) as answer:
                    given = json.load(answer)
                self._token = str(given["access_token"])
                self._ends = time.monotonic() + float(given["expires_in"]) - 60
            return self._token


class Relay(BaseHTTPRequestHandler):
    """Verifies a message, and publishes it."""

    protocol_version = "HTTP/1.1"
    timeout: ClassVar[float | None] = 30
    """Seconds that a client may send nothing."""
    webhook: Webhook
    topic: Topic

    def do_POST(self) -> None:
        """Answer 204 once a message is published."""
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()) or int(length) > LARGEST_BODY:
            self._answer(413, "the body is too large, or has no length")
            return
        body = self.rfile.read(int(length))
        try:
            # ValueError: what is no base64, no UTF-8 or no JSON
            message = self.webhook.verify(body, dict(self.headers.items()))
        except (WebhookVerificationError, ValueError) as error:
            self._answer(401, f"the signature is wrong: {error}")
            return
        try:
            self.topic.publish(_published(self.headers["webhook-id"], message, body))
        except (OSError, HTTPException, ValueError, KeyError) as error:
            self._answer(502, f"nothing is published: {type(error).__name__}: {error}")
            return
        self._answer(204, "")

    def _answer(self, status: int, why: str) -> None:
        if why:
            print(json.dumps({"severity": "WARNING", "message": why}), flush=True)
            self.close_connection = True  # the body may be unread
        text = f"{why}\n".encode() if why else b""
        self.send_response(status)
        if text:
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(text)))
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log nothing: Cloud Run has a line for each request."""


def _published(message_id: str, message: dict[str, Any], body: bytes) -> dict[str, Any]:
    """Return the message for Pub/Sub: the body as it came, and by what subscriptions filter."""
    names = ("type", "index", "project", "release")
    attributes = {name: str(message[name]) for name in names if message.get(name)}
    published: dict[str, Any] = {
        "data": b64encode(body).decode(),
        "attributes": {"webhook-id": message_id, **attributes},
    }
    if "project" in attributes:
        # a subscription with message ordering keeps the order of each project
        published["orderingKey"] = f"{message.get('index')}/{message['project']}"
    return published


def main() -> None:
    """Serve until SIGTERM."""
    # the first process of a container passes it over otherwise
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    Relay.webhook = Webhook(os.environ["WEBHOOK_SECRET"].strip())
    Relay.topic = Topic(os.environ["TOPIC"])
    ThreadingHTTPServer(("", int(os.environ.get("PORT", "8080"))), Relay).serve_forever()


if __name__ == "__main__":
    main()
