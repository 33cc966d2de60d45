"""
HTTP/1.1 of the fake server: requests whose bodies are read on demand, and responses.

Written by hand over a socket, for three reasons: path and query are needed byte for byte as they
came, a body of any size has to pass in pieces, and a fault must be able to break off anywhere.
"""

import re
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from http import HTTPStatus
from io import BufferedReader
from typing import Protocol
from urllib.parse import parse_qsl

from tests.fake_gcs.objects import Body

PIECE = 1 << 20
"""Bytes that are read or sent at once."""
LONGEST_LINE = 64 << 10

Header = tuple[str, str]
Pause = Callable[[float], bool]
"""Waits so many seconds, or until the server goes: then it returns True at once."""


class Connection(Protocol):
    """What an answer needs of a socket."""

    def sendall(self, data: bytes | memoryview, /) -> None:
        """Send all bytes."""

    def setsockopt(self, level: int, option: int, value: bytes, /) -> None:
        """Set an option."""


class DisconnectedError(Exception):
    """The other side is gone, or this side is to go."""


@dataclass(slots=True)
class RateLimit:
    """A bound of so many bytes a second."""

    rate: int
    pause: Pause

    @property
    def piece(self) -> int:
        """Bytes to move at once: a tenth of a second's."""
        return max(1, self.rate // 10)

    def wait(self, size: int) -> None:
        """Wait as long as so many bytes take."""
        if self.pause(size / self.rate):
            raise DisconnectedError


class BodyReader:
    """The body of one request of so many bytes, read as it is wanted."""

    def __init__(self, file: BufferedReader, length: int) -> None:
        self.pace: RateLimit | None = None
        self._file = file
        self._left = length
        self._returned = b""

    def read(self, most: int = PIECE) -> bytes:
        """Return the next bytes, none at the end; DisconnectedError if the client is gone."""
        if self._returned:
            data, self._returned = self._returned[:most], self._returned[most:]
            return data
        if self.pace:
            most = min(most, self.pace.piece)
        wanted = min(most, self._left)
        data = self._file.read(wanted) if wanted else b""
        if len(data) < wanted:
            raise DisconnectedError
        self._left -= wanted
        if self.pace and wanted:
            self.pace.wait(wanted)
        return data

    def read_all(self) -> bytes:
        """Return all that is left."""
        pieces = []
        while piece := self.read():
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def unread(self, data: bytes) -> None:
        """Put back what was read, to be read again."""
        self._returned = data + self._returned

    def drain(self) -> None:
        """Read what is left, so that the connection can go on."""
        while self.read():
            pass


@dataclass
class Request:
    """One request; `path` and `query` are as they came, and so are the names of `headers`."""

    method: str
    path: str
    query: str
    headers: list[Header]
    body: BodyReader

    @property
    def target(self) -> str:
        """Path and query."""
        return f"{self.path}?{self.query}" if self.query else self.path

    @cached_property
    def _fields(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for name, value in self.headers:
            lower = name.lower()
            found[lower] = f"{found[lower]},{value}" if lower in found else value
        return found

    @cached_property
    def parameters(self) -> list[Header]:
        """The parameters of the query, decoded."""
        return parse_qsl(self.query, keep_blank_values=True)

    def header(self, name: str) -> str | None:
        """Return a header by its lower-case name, None if it is not there."""
        return self._fields.get(name)

    def parameter(self, name: str) -> str | None:
        """Return the last parameter of that name, None if there is none."""
        return next((value for key, value in reversed(self.parameters) if key == name), None)

    def with_range(self, asked: str) -> "Request":
        """Return the same request for another part of the object, for all of it if empty."""
        kept = [each for each in self.headers if each[0].lower() != "range"]
        return replace(self, headers=[*kept, ("Range", asked)] if asked else kept)

    @property
    def root(self) -> str:
        """The server's URL, as this client knows it."""
        return f"http://{self.header('host')}"


@dataclass(frozen=True, slots=True)
class Slice:
    """Part of an object."""

    body: Body
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """Faults in sending a response; positions count the bytes of its body."""

    stop_at: int | None = None
    reset: bool = False
    flip_at: int | None = None
    pace: RateLimit | None = None
    chunked: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer; `bare` leaves the body out, as HEAD wants it."""

    status: int
    headers: list[Header] = field(default_factory=list)
    content: bytes | Slice = b""
    bare: bool = False
    delivery: Delivery = Delivery()

    @property
    def size(self) -> int:
        """Bytes of the body."""
        if isinstance(self.content, bytes):
            return len(self.content)
        return self.content.stop - self.content.start

    def piece(self, start: int, stop: int) -> memoryview:
        """Return part of the body."""
        if isinstance(self.content, bytes):
            return memoryview(self.content)[start:stop]
        begin = self.content.start
        return self.content.body.piece(begin + start, begin + stop)


_REQUEST = re.compile(r"([A-Z]+) (\S+) HTTP/1\.[01]")


def read_request(file: BufferedReader) -> Request | None:
    """Return the next request of a connection, None at its end."""
    line = file.readline(LONGEST_LINE)
    if not line:
        return None
    match = _REQUEST.fullmatch(line.decode("latin-1").rstrip("\r\n"))
    if match is None:
        raise DisconnectedError
    method, target = match.groups()
    path, _, query = target.partition("?")
    headers = _headers(file)
    length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
    return Request(method, path, query, headers, BodyReader(file, length))


def _headers(file: BufferedReader) -> list[Header]:
    found: list[Header] = []
    while True:
        line = file.readline(LONGEST_LINE)
        if line in {b"\r\n", b"\n"}:
            return found
        if not line.endswith(b"\n"):
            raise DisconnectedError
        name, _, value = line.decode("latin-1").partition(":")
        found.append((name.strip(), value.strip()))


def send(connection: Connection, reply: Reply) -> None:
    """Send an answer; DisconnectedError if it breaks off here, as planned."""
    head = _head(reply)
    if reply.bare:
        connection.sendall(head)
    elif reply.delivery == Delivery() and reply.size <= PIECE:
        connection.sendall(head + reply.piece(0, reply.size))
    else:
        connection.sendall(head)
        _send_body(connection, reply)


def _head(reply: Reply) -> bytes:
    try:
        phrase = HTTPStatus(reply.status).phrase
    except ValueError:
        phrase = "Client Closed Request"
    lines = [f"HTTP/1.1 {reply.status} {phrase}"]
    lines += [f"{name}: {value}" for name, value in reply.headers]
    if reply.delivery.chunked:
        lines.append("Transfer-Encoding: chunked")
    elif reply.status not in {204, 304}:
        lines.append(f"Content-Length: {reply.size}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def _send_body(connection: Connection, reply: Reply) -> None:
    delivery, size = reply.delivery, reply.size
    end = size if delivery.stop_at is None else min(delivery.stop_at, size)
    step = delivery.pace.piece if delivery.pace else PIECE
    for start in range(0, end, step):
        piece = reply.piece(start, min(start + step, end))
        if delivery.flip_at is not None and start <= delivery.flip_at < start + len(piece):
            spoilt = bytearray(piece)
            spoilt[delivery.flip_at - start] ^= 1
            piece = memoryview(bytes(spoilt))
        if delivery.pace:
            delivery.pace.wait(len(piece))
        connection.sendall(_chunk(piece) if delivery.chunked else piece)
    if delivery.stop_at is not None:
        if delivery.reset:
            reset_on_close(connection)
        raise DisconnectedError
    if delivery.chunked:
        connection.sendall(_chunk(b""))


def _chunk(piece: bytes | memoryview) -> bytes:
    return f"{len(piece):x}\r\n".encode() + bytes(piece) + b"\r\n"


def reset_on_close(connection: Connection) -> None:
    """Make the close of a connection a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
