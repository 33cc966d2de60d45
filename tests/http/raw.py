"""HTTP by hand over a socket, for what a client library refuses to send or hides."""

import socket
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from tests.http.servers import Site

PATIENCE = 30.0
NO_BODY = (204, 304)


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: tuple[tuple[str, str], ...]
    """Names in lower case."""
    body: bytes

    def header(self, name: str) -> str:
        """Return the value of a header that has to be there once."""
        (value,) = (value for each, value in self.headers if each == name)
        return value


class Wire:
    """One connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._incoming = connection.makefile("rb")

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.connection.sendall(data)

    def ask(self, line: str, *headers: str, body: bytes = b"") -> None:
        """Send a request with a Host header, and with a length if it has a body."""
        length = [f"Content-Length: {len(body)}"] if body else []
        head = "\r\n".join((line, "Host: index", *headers, *length, "", ""))
        self.send(head.encode("latin-1") + body)

    def reply(self, *, bodiless: bool = False) -> Reply | None:
        """Read the next answer; None where the server hung up instead."""
        line = self._line()
        if not line:
            return None
        status = int(line.split(b" ")[1])
        headers: list[tuple[str, str]] = []
        while text := self._line().decode("latin-1").rstrip("\r\n"):
            name, _, value = text.partition(":")
            headers.append((name.lower(), value.strip()))
        length = int(dict(headers).get("content-length", "0"))
        skipped = bodiless or status in NO_BODY
        body = b"" if skipped else self._incoming.read(length)
        return Reply(status, tuple(headers), body)

    def is_closed(self) -> bool:
        """Wait until the server sends something more or hangs up; return whether it hung up."""
        return not self._line()

    def close(self) -> None:
        """Hang up."""
        self._incoming.close()
        self.connection.close()

    def _line(self) -> bytes:
        try:
            return self._incoming.readline()
        except ConnectionError:
            return b""


@contextmanager
def wire(site: Site) -> Iterator[Wire]:
    """Open a connection to a server."""
    host, _, port = site.address.partition(":")
    line = Wire(socket.create_connection((host, int(port)), PATIENCE))
    try:
        yield line
    finally:
        line.close()


def ask(site: Site, line: str, *headers: str, body: bytes = b"") -> Reply:
    """Send one request, which has to be answered."""
    with wire(site) as connection:
        connection.ask(line, *headers, body=body)
        reply = connection.reply(bodiless=line.startswith("HEAD "))
        assert reply is not None, "the server hung up"
        return reply


def exchange(site: Site, data: bytes) -> int | None:
    """Send bytes; return the status of the answer, None where the server just hung up."""
    with wire(site) as connection:
        with suppress(ConnectionError):  # it may hang up before all has been sent
            connection.send(data)
        reply = connection.reply()
        return None if reply is None else reply.status


def basic(user: str, password: str) -> str:
    """Write an Authorization header."""
    return f"Authorization: Basic {b64encode(f'{user}:{password}'.encode()).decode()}"
