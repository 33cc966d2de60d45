"""HTTP/2 by hand over a socket: several requests on one connection, with any headers."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tests.http.raw import PATIENCE
from tests.http.servers import Site

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, PING, WINDOW_UPDATE = 0, 1, 3, 4, 6, 8
ACK = END_STREAM = 1
END_HEADERS = 4
FIRST_WINDOW = 65_535
"""Bytes that may be sent before the other side has said how many (RFC 9113, 6.9.2)."""
INITIAL_WINDOW_SIZE = 4
LARGEST = 16_384
"""Bytes of one frame."""


class Connection:
    """One connection; requests are known by the number of their stream."""

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
        """Send a whole body, waiting wherever the server has not made room for more."""
        while body:
            room = min(self._room(stream), LARGEST)
            if room:
                self._send(stream, body[:room], END_STREAM if room >= len(body) else 0)
                body = body[room:]
            else:
                self._read()

    def fill(self, stream: int) -> None:
        """Send as much of a body as the server has made room for, and nothing after it."""
        while room := min(self._room(stream), LARGEST):
            self._send(stream, bytes(room), 0)
            if room < LARGEST:
                self._catch_up()

    def answer(self, stream: int) -> bytes:
        """Return the body of an answer; nothing where the server refused the request itself."""
        while stream not in self._ended:
            self._read()
        return self._bodies[stream]

    def close(self) -> None:
        """Hang up."""
        self._incoming.close()
        self._connection.close()

    def _catch_up(self) -> None:
        """Read whatever the server has said by now."""
        pongs = self._pongs
        self._connection.sendall(_frame(PING, 0, 0, bytes(8)))
        while self._pongs == pongs:
            self._read()

    def _room(self, stream: int) -> int:
        return min(self._windows[0], self._windows[stream])

    def _send(self, stream: int, data: bytes, flags: int) -> None:
        self._connection.sendall(_frame(DATA, flags, stream, data))
        for each in (0, stream):
            self._windows[each] -= len(data)

    def _read(self) -> None:
        """Read the next frame."""
        head = self._exactly(9)
        kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big")
        payload = self._exactly(int.from_bytes(head[:3], "big"))
        if kind == SETTINGS and not flags & ACK:
            settings = [payload[at : at + 6] for at in range(0, len(payload), 6)]
            for each in settings:
                if int.from_bytes(each[:2], "big") == INITIAL_WINDOW_SIZE:
                    self._stream_window = int.from_bytes(each[2:], "big")
            self._connection.sendall(_frame(SETTINGS, ACK, 0))
        elif kind == PING and flags & ACK:
            self._pongs += 1
        elif kind == WINDOW_UPDATE:
            self._windows[stream] += int.from_bytes(payload, "big")
        elif kind == DATA:
            self._bodies[stream] += payload
        if kind == RESET or (kind in (DATA, HEADERS) and flags & END_STREAM):
            self._ended.add(stream)

    def _exactly(self, size: int) -> bytes:
        data = self._incoming.read(size)
        assert len(data) == size, "the server hung up"
        return data


@contextmanager
def connected(site: Site) -> Iterator[Connection]:
    """Open a connection to a server."""
    host, _, port = site.address.partition(":")
    opened = Connection(socket.create_connection((host, int(port)), PATIENCE))
    try:
        yield opened
    finally:
        opened.close()


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return (
        len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload
    )


def _text(text: str) -> bytes:
    """Write a name or a value as HPACK has it, as it is (RFC 7541, 5.2)."""
    size, data = bytearray(), text.encode("latin-1")
    if len(data) < 127:
        return bytes((len(data),)) + data
    rest = len(data) - 127
    size.append(127)
    while rest >= 128:
        size.append(rest % 128 + 128)
        rest //= 128
    size.append(rest)
    return bytes(size) + data
