"""
Connections to addresses that were checked, on which nobody waits longer than a limit says.

The connection goes to the number that was checked, so that no second look-up can lead elsewhere.
What is said on it, the Host header and TLS included, names the host.
"""

import ssl
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import local
from typing import Final

import httpcore2

from wheelyard.outgoing.addresses import Reach
from wheelyard.outgoing.faults import WebFault

RESOLVERS: Final = 4
"""Names that are looked up at a time; a name server that is silent holds up no more threads."""


class Limit(local):
    """Until when a thread waits for the network at all."""

    end: float | None = None


class CheckedBackend(httpcore2.NetworkBackend):
    """
    Connects to the first address that may be reached and takes the connection.

    Args:
        monotonic: The clock.
        reach: What may be reached.
    """

    def __init__(self, monotonic: Callable[[], float], reach: Reach) -> None:
        self._monotonic = monotonic
        self._reach = reach
        self._limit = Limit()
        self._resolvers = ThreadPoolExecutor(RESOLVERS, "resolver")
        self._sockets = httpcore2.SyncBackend()

    def close(self) -> None:
        """Let go of the threads that look up names."""
        self._resolvers.shutdown(wait=False, cancel_futures=True)

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Let this thread wait so long for the network, or less if less is left of its time."""
        before = self._limit.end
        end = self._monotonic() + seconds
        self._limit.end = end if before is None else min(end, before)
        try:
            yield
        finally:
            self._limit.end = before

    def left(self, timeout: float | None) -> float | None:
        """
        Return the seconds that something may take.

        Raises:
            ReadTimeout: There are none left.
        """
        if self._limit.end is None:
            return timeout
        left = self._limit.end - self._monotonic()
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
        fault: Exception = httpcore2.ConnectError()
        for address in self._reach.usable(host, self._resolved(host, port)):
            left = self.left(timeout)
            try:
                stream = self._sockets.connect_tcp(
                    address, port, left, local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                fault = error
            else:
                return _TimedStream(stream, self)
        raise fault

    def _resolved(self, host: str, port: int) -> list[str]:
        look = self._resolvers.submit(self._reach.resolve, host, port)
        try:
            return look.result(self.left(None))
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout from error
        except OSError as error:
            raise WebFault("its name is not known", is_passing=True, is_away=True) from error
        except UnicodeError as error:
            raise WebFault("its name is not known") from error


class _TimedStream(httpcore2.NetworkStream):
    """A connection that heeds the limit of the thread that uses it."""

    def __init__(self, stream: httpcore2.NetworkStream, backend: CheckedBackend) -> None:
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
