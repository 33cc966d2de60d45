"""HTTP/1.1 and HTTP/2 by hand over a socket: what a client library refuses to send, or hides."""

import socket
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass

from tests.http.servers import RunningServer
from tests.waiting import TIMEOUT_SECONDS

NO_BODY = (204, 304)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, PING, WINDOW_UPDATE = 0, 1, 3, 4, 6, 8
ACK = END_STREAM = 1
END_HEADERS = 4
FIRST_WINDOW = 65_535
"""The initial flow-control window in bytes (RFC 9113, 6.9.2)."""
INITIAL_WINDOW_SIZE = 4
LARGEST = 16_384
"""Bytes of one frame."""


@dataclass(frozen=True)
class RawResponse:
    """A response."""

    status: int
    headers: tuple[tuple[str, str], ...]
    """Header names are in lower case."""
    body: bytes

    def header(self, name: str) -> str:
        """Return the value of a header that has to be there once."""
        (value,) = (value for each, value in self.headers if each == name)
        return value


class RawConnection:
    """A connection over HTTP/1.1."""

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

    def reply(self, *, bodiless: bool = False) -> RawResponse | None:
        """Read the next response; None if the server closed the connection."""
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
        return RawResponse(status, tuple(headers), body)

    def is_closed(self) -> bool:
        """Wait for data or the end of the connection; return whether it ended."""
        return not self._line()

    def close(self) -> None:
        """Close the connection."""
        self._incoming.close()
        self.connection.close()

    def _line(self) -> bytes:
        try:
            return self._incoming.readline()
        except ConnectionError:
            return b""


class Http2Connection:
    """A connection over HTTP/2; requests are identified by their stream number."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._incoming = connection.makefile("rb")
        self._stream_window = 0
        self._windows = {0: FIRST_WINDOW}
        self._bodies: dict[int, bytes] = {}
        self._ended = set[int]()
        self._pongs = 0
        connection.sendall(PREFACE + _frame(SETTINGS, 0, 0))
        while not self._stream_window:
            self._read()

    def begin(self, *headers: tuple[str, str], has_body: bool = False) -> int:
        """Send the head of a request; return its stream."""
        stream = 2 * len(self._bodies) + 1
        self._bodies[stream], self._windows[stream] = b"", self._stream_window
        flags = END_HEADERS | (0 if has_body else END_STREAM)
        block = b"".join(b"\0" + _text(name) + _text(value) for name, value in headers)
        self._connection.sendall(_frame(HEADERS, flags, stream, block))
        return stream

    def send(self, stream: int, body: bytes) -> None:
        """Send a whole body, waiting for window updates."""
        while body:
            room = self._room(stream)
            if room:
                self._send(stream, body[:room], END_STREAM if room >= len(body) else 0)
                body = body[room:]
            else:
                self._read()

    def fill(self, stream: int) -> None:
        """Send as much of a body as the flow-control window allows."""
        while room := self._room(stream):
            self._send(stream, bytes(room), 0)
            if room < LARGEST:  # the server may have made more room by now
                pongs = self._pongs
                self._connection.sendall(_frame(PING, 0, 0, bytes(8)))
                while self._pongs == pongs:
                    self._read()

    def answer(self, stream: int) -> bytes:
        """Return the body of a response; empty if the server reset the stream."""
        while stream not in self._ended:
            self._read()
        return self._bodies[stream]

    def close(self) -> None:
        """Close the connection."""
        self._incoming.close()
        self._connection.close()

    def _room(self, stream: int) -> int:
        return min(self._windows[0], self._windows[stream], LARGEST)

    def _send(self, stream: int, data: bytes, flags: int) -> None:
        self._connection.sendall(_frame(DATA, flags, stream, data))
        for each in (0, stream):
            self._windows[each] -= len(data)

    def _read(self) -> None:
        head = self._incoming.read(9)
        assert len(head) == 9, "the server hung up"
        kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big")
        payload = self._incoming.read(int.from_bytes(head[:3], "big"))
        if kind == SETTINGS and not flags & ACK:
            for at in range(0, len(payload), 6):
                if int.from_bytes(payload[at : at + 2], "big") == INITIAL_WINDOW_SIZE:
                    self._stream_window = int.from_bytes(payload[at + 2 : at + 6], "big")
            self._connection.sendall(_frame(SETTINGS, ACK, 0))
        elif kind == PING and flags & ACK:
            self._pongs += 1
        elif kind == WINDOW_UPDATE:
            self._windows[stream] += int.from_bytes(payload, "big")
        elif kind == DATA:
            self._bodies[stream] += payload
        if kind == RESET or (kind in (DATA, HEADERS) and flags & END_STREAM):
            self._ended.add(stream)


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    size = len(payload).to_bytes(3, "big")
    return size + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def _text(text: str) -> bytes:
    """Write a short name or value as HPACK has it, as it is (RFC 7541, 5.2)."""
    data = text.encode("latin-1")
    assert len(data) < 127
    return bytes((len(data),)) + data


@contextmanager
def raw_connection(server: RunningServer) -> Iterator[RawConnection]:
    """Open a connection to a server."""
    with closing(RawConnection(_dialled(server))) as line:
        yield line


@contextmanager
def http2_connection(server: RunningServer) -> Iterator[Http2Connection]:
    """Open a connection of HTTP/2 to a server."""
    with closing(Http2Connection(_dialled(server))) as opened:
        yield opened


def _dialled(server: RunningServer) -> socket.socket:
    host, _, port = server.address.partition(":")
    return socket.create_connection((host, int(port)), TIMEOUT_SECONDS)


def raw_answer(server: RunningServer, line: str, *headers: str, body: bytes = b"") -> RawResponse:
    """Send one request and return its response."""
    with raw_connection(server) as connection:
        connection.ask(line, *headers, body=body)
        reply = connection.reply(bodiless=line.startswith("HEAD "))
        assert reply is not None, "the server hung up"
        return reply


def exchange(server: RunningServer, data: bytes) -> int | None:
    """Send bytes; return the status, None if the server closed the connection."""
    with raw_connection(server) as connection:
        with suppress(ConnectionError):  # it may hang up before all has been sent
            connection.send(data)
        reply = connection.reply()
        return None if reply is None else reply.status


def basic(user: str, password: str) -> str:
    """Write an Authorization header."""
    return f"Authorization: Basic {b64encode(f'{user}:{password}'.encode()).decode()}"
