"""A webhook and a mail server on this machine, which keep what they get."""

import socketserver
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
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


@dataclass
class MailServer:
    """A mail server without TLS, which takes everything unless it `refuses`."""

    port: int = 0
    refuses: bool = False
    mail: list[EmailMessage] = field(default_factory=list[EmailMessage])
    recipients: list[str] = field(default_factory=list[str])


@contextmanager
def running_mail_server() -> Iterator[MailServer]:
    """Run a mail server that knows as much of SMTP (RFC 5321) as a client needs."""
    kept = MailServer()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 here\r\n")
            for line in self.rfile:
                self.wfile.write(self.answer(line.strip().decode()))

        def answer(self, line: str) -> bytes:
            verb = line.partition(" ")[0].upper()
            if kept.refuses and verb == "MAIL":
                return b"451 later\r\n"
            if verb == "RCPT":
                kept.recipients.append(line)
            if verb == "DATA":
                self.wfile.write(b"354 go on\r\n")
                lines = [*iter(self.rfile.readline, b".\r\n")]
                message = message_from_bytes(b"".join(lines), policy=default)
                assert isinstance(message, EmailMessage)
                kept.mail.append(message)
            return b"221 bye\r\n" if verb == "QUIT" else b"250 fine\r\n"

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        kept.port = server.server_address[1]
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield kept
        finally:
            server.shutdown()
