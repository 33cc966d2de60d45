"""
A network without sockets: who connects to one of its ports is answered in their own thread.

It stands where the HTTP client connects to an address, so whatever checks addresses, reads
responses, follows redirects, and leaves a host alone is the same as with sockets. Time does not
pass here: a test of an index that is slow, or does not answer at all, needs sockets.
"""

from dataclasses import dataclass, field
from io import BufferedReader, BytesIO
from threading import Event

import httpcore2

from tests.fake_gcs.listener import Answer
from tests.fake_gcs.wire import DisconnectedError, read_request, send


@dataclass
class InProcessListener:
    """Answers requests to a port, once it has been started."""

    port: int
    answer: Answer
    is_open: bool = False

    def start(self) -> None:
        """Accept connections."""
        self.is_open = True

    def stop(self) -> None:
        """Break off every connection; new ones are refused."""
        self.is_open = False


@dataclass
class InProcessNetwork:
    """What can be reached at 127.0.0.1."""

    listeners: dict[int, InProcessListener] = field(default_factory=dict)

    def new_listener(self, answer: Answer, _closing: Event) -> InProcessListener:
        """Return a listener at a port of its own."""
        listener = InProcessListener(len(self.listeners) + 1, answer)
        self.listeners[listener.port] = listener
        return listener

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: object = None,
    ) -> httpcore2.NetworkStream:
        """See `httpcore2.SyncBackend.connect_tcp`, in whose place this is."""
        del timeout, local_address, socket_options
        listener = self.listeners.get(port)
        if host != "127.0.0.1" or listener is None or not listener.is_open:
            raise httpcore2.ConnectError
        return _Connection(listener)


@dataclass
class _Connection(httpcore2.NetworkStream):
    """A connection, which takes a request and then has the bytes of its response."""

    listener: InProcessListener
    _request: bytearray = field(default_factory=bytearray)
    _response: bytearray = field(default_factory=bytearray)
    _is_closed: bool = False
    _is_reset: bool = False

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Take a part of a request."""
        del timeout
        self._request += buffer

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return a part of the response, none at the end of the connection."""
        del timeout
        if self._request:
            self._respond()
        if self._is_reset and not self._response:
            raise httpcore2.ReadError
        received = bytes(self._response[:max_bytes])
        del self._response[:max_bytes]
        return received

    def _respond(self) -> None:
        """Answer the request, or close the connection if the listener has been stopped."""
        request = read_request(BufferedReader(BytesIO(self._request)))
        self._request.clear()
        if request is None or not self.listener.is_open:
            self._is_closed = True
            return
        try:
            send(self, self.listener.answer(request))
        except DisconnectedError:
            self._is_closed = True

    def sendall(self, data: bytes | memoryview, /) -> None:
        """Take a part of the response."""
        self._response += data

    def setsockopt(self, _level: int, _option: int, _value: bytes, /) -> None:
        """Break the connection off, rather than end it, after the bytes that were sent."""
        self._is_reset = True

    def close(self) -> None:
        """Close the connection."""
        self._is_closed = True

    def get_extra_info(self, info: str) -> object:
        """Return whether the other side has closed the connection, which makes it readable."""
        return self._is_closed or not self.listener.is_open if info == "is_readable" else None
