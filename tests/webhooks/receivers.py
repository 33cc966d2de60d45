"""A webhook on this machine, which keeps what it gets."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from msgspec.json import decode


@dataclass
class Webhook:
    """A chat that takes messages at a URL, or answers with another status."""

    port: int = 0
    status: int = 200
    texts: list[str] = field(default_factory=list[str])
    asked: int = 0

    @property
    def url(self) -> str:
        """The URL, whose path is a secret."""
        return f"http://127.0.0.1:{self.port}/hooks/T0PS3CRET"


@contextmanager
def running_webhook() -> Iterator[Webhook]:
    """Run a webhook."""
    webhook = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            webhook.asked += 1
            if webhook.status == 200:
                webhook.texts.append(decode(body, type=dict[str, str])["text"])
            self.send_response(webhook.status)
            self.send_header("Content-Length", "0")
            if webhook.status in {301, 302, 307}:
                self.send_header("Location", "http://127.0.0.1:1/")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        webhook.port = server.server_port
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield webhook
        finally:
            server.shutdown()
