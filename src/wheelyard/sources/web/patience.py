"""
How long a server may take: until its answer has begun, and for each byte of a file.

A limit on silence alone is none: a server that sends a byte now and then would hold an import up
for days.
"""

import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import local
from typing import Final

import httpcore2

BEGINNING: Final = 60.0
"""Seconds until an answer has begun: to connect, to ask, and for all of its headers."""
GRACE: Final = 60.0
"""Seconds of waiting for a file in which it may come as slowly as it likes."""
SLOWEST: Final = 10_000
"""Bytes for each second of waiting after that, on average."""


@dataclass(slots=True)
class Pace:
    """
    How fast a file comes, over as many connections as it takes.

    Args:
        monotonic: The clock.
    """

    monotonic: Callable[[], float]
    waited: float = field(default=0.0, init=False)
    """Seconds, without those in which whoever takes the bytes was at work."""
    size: int = field(default=0, init=False)

    def timed(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Yield pieces, and take note of how long they took."""
        source = iter(pieces)
        while True:
            began = self.monotonic()
            try:
                piece = next(source, None)
            finally:
                self.waited += self.monotonic() - began
            if piece is None:
                return
            self.size += len(piece)
            yield piece

    @property
    def is_too_slow(self) -> bool:
        """Whether nobody should wait for the rest."""
        return self.size < SLOWEST * (self.waited - GRACE)


class Beginnings(local):
    """Until when the answer that a thread waits for has to have begun."""

    end: float | None = None


class TimedBackend(httpcore2.NetworkBackend):
    """
    Connects as usual; a thread that waits for the beginning of an answer does so within a limit.

    Args:
        monotonic: The clock.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._beginnings = Beginnings()
        self._sockets = httpcore2.SyncBackend()

    @contextmanager
    def beginning(self) -> Iterator[None]:
        """Wait for the beginning of an answer, in this thread."""
        self._beginnings.end = self._monotonic() + BEGINNING
        try:
            yield
        finally:
            self._beginnings.end = None

    def left(self, timeout: float | None) -> float | None:
        """
        Return the seconds that something may take.

        Raises:
            ReadTimeout: There are none left.
        """
        if self._beginnings.end is None:
            return timeout
        left = self._beginnings.end - self._monotonic()
        if left <= 0:
            raise httpcore2.ReadTimeout
        return left if timeout is None else min(left, timeout)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        """Connect."""
        stream = self._sockets.connect_tcp(
            host, port, self.left(timeout), local_address, socket_options
        )
        return _TimedStream(stream, self)


class _TimedStream(httpcore2.NetworkStream):
    """A connection that heeds the limit of the thread that uses it."""

    def __init__(self, stream: httpcore2.NetworkStream, backend: TimedBackend) -> None:
        self._stream = stream
        self._backend = backend

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what there is."""
        return self._stream.read(max_bytes, self._backend.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write everything."""
        self._stream.write(buffer, self._backend.left(timeout))

    def close(self) -> None:
        """Hang up."""
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.NetworkStream:
        """Go on encrypted."""
        left = self._backend.left(timeout)
        return _TimedStream(
            self._stream.start_tls(ssl_context, server_hostname, left), self._backend
        )

    def get_extra_info(self, info: str) -> object:
        """Return what the connection knows of itself."""
        return self._stream.get_extra_info(info)
