"""
Small JSON documents over https, from hosts that an operator has named.

Nothing is followed, nothing private is reached, nothing large or slow is read to its end: an
address is checked after the name was resolved, and the connection goes to the address that was
checked. One deadline covers a whole exchange, however the time is spent. A connection serves one
request: calls are rare here, and none can be handed the remains of another. The environment's
proxies are not used, for with one nobody knows which address is reached.

This is the lower half of httpx2, which hands over its sockets; the upper half cannot be told which
address to connect to, and writes URLs to the log.
"""

import json
import ssl
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from socket import IPPROTO_TCP, getaddrinfo
from typing import Final
from urllib.parse import urlencode, urlsplit

import httpcore2

BODY_LIMIT: Final = 256 * 1024
"""Bytes of a reply."""
RESOLVERS: Final = 4
"""Names that are looked up at a time; a name server that is silent holds up no more threads."""

_HEADERS: Final = (
    ("Accept", "application/json"),
    ("Accept-Encoding", "identity"),
    ("Connection", "close"),
)
_NAT64: Final = IPv6Network("64:ff9b::/96")
_UNICAST: Final = IPv6Network("2000::/3")
_FAULTS: Final = (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException)

Address = IPv4Address | IPv6Address


class FetchFault(Exception):
    """There is no usable reply; says why in a few words, without URL, header or body."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered, whatever its status."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    """Names in lower case."""
    body: bytes = field(repr=False)

    def document(self) -> dict[str, object]:
        """
        Return the body as a JSON object.

        Raises:
            FetchFault: It is none.
        """
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise FetchFault("its answer is not JSON") from error
        if not isinstance(found, dict):
            raise FetchFault("its answer is not a JSON object")
        return found


class Fetcher:
    """
    Fetches documents; safe to share between threads.

    Args:
        monotonic: Seconds that never jump.
        allow_private: Whether private addresses may be reached, and loopback by plain http too.
        tls: What proves a server; by default the authorities that this machine trusts.
    """

    def __init__(
        self,
        monotonic: Callable[[], float],
        *,
        allow_private: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._monotonic = monotonic
        self._allow_private = allow_private
        self._tls = tls or httpcore2.default_ssl_context()
        self._resolvers = ThreadPoolExecutor(RESOLVERS, "resolver")

    def get(self, url: str, *, timeout: float, bearer: str | None = None) -> Reply:
        """
        Return what the server answers to a GET.

        Args:
            url: Of https; of http only where private addresses are allowed.
            timeout: Seconds for everything together.
            bearer: A token for the Authorization header, printable ASCII.

        Raises:
            FetchFault: The URL or the address is refused, or there is no whole answer in time.
        """
        headers = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
        return self._exchange("GET", url, headers, None, timeout)

    def post_form(self, url: str, form: Mapping[str, str], *, timeout: float) -> Reply:
        """
        Return what the server answers to a form; everything else is as for `get`.

        Args:
            url: As for `get`.
            form: Fields; they go into the body, never into the URL.
            timeout: Seconds for everything together.

        Raises:
            FetchFault: As for `get`.
        """
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._exchange("POST", url, headers, urlencode(form).encode(), timeout)

    def close(self) -> None:
        """Let go of the threads that look up names."""
        self._resolvers.shutdown(wait=False, cancel_futures=True)

    def _exchange(
        self, method: str, url: str, headers: dict[str, str], content: bytes | None, timeout: float
    ) -> Reply:
        is_plain = self._checked(url)
        deadline = _Deadline(self._monotonic, self._monotonic() + timeout)
        backend = _CheckedBackend(deadline, partial(self._addresses, deadline, is_plain=is_plain))
        sent = [*_HEADERS, *headers.items()]
        try:
            with (
                httpcore2.ConnectionPool(ssl_context=self._tls, network_backend=backend) as pool,
                pool.stream(method, url, headers=sent, content=content) as reply,
            ):
                known = {k.decode().lower(): v.decode("latin-1") for k, v in reply.headers}
                return Reply(reply.status, known, _body(known, reply.iter_stream()))
        except httpcore2.TimeoutException as error:
            raise FetchFault("it does not answer in time") from error
        except _FAULTS as error:
            raise FetchFault("it cannot be reached, or breaks off") from error

    def _checked(self, url: str) -> bool:
        """Return whether a URL is of plain http; refuse it if it may not be asked for at all."""
        try:
            where = urlsplit(url)
            is_usable = bool(where.hostname) and where.username is None and where.port != 0
        except ValueError as error:
            raise FetchFault("its URL makes no sense") from error
        if not (is_usable and url.isascii() and url.isprintable()):
            raise FetchFault("its URL makes no sense")
        schemes = ("https", "http") if self._allow_private else ("https",)
        if where.scheme not in schemes:
            raise FetchFault("its URL is not https")
        return where.scheme == "http"

    def _addresses(
        self, deadline: "_Deadline", host: str, port: int, *, is_plain: bool
    ) -> list[str]:
        look = self._resolvers.submit(getaddrinfo, host, port, proto=IPPROTO_TCP)
        try:
            found = [str(each[4][0]) for each in look.result(deadline.left())]
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout from error
        except (OSError, UnicodeError) as error:
            raise FetchFault("its name is not known") from error
        usable = [each for each in found if self._may_reach(ip_address(each), is_plain=is_plain)]
        if not usable:
            raise FetchFault("its address is a private one, which is not allowed")
        return usable

    def _may_reach(self, address: Address, *, is_plain: bool) -> bool:
        if is_plain:
            return self._allow_private and address.is_loopback
        return self._allow_private or is_public(address)


def is_public(address: Address) -> bool:
    """Return whether an address belongs to the open internet, also one that wraps another."""
    if isinstance(address, IPv6Address):
        wrapped = address.ipv4_mapped or address.sixtofour
        if wrapped is None and address in _NAT64:
            wrapped = IPv4Address(int(address) & 0xFFFFFFFF)
        if wrapped is not None:
            return is_public(wrapped)
        if address not in _UNICAST:  # of the others, Python takes some for global
            return False
    return address.is_global and not address.is_multicast


def _body(headers: Mapping[str, str], chunks: Iterable[bytes]) -> bytes:
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise FetchFault("its answer is packed, which nobody asked for")
    found = bytearray()
    for chunk in chunks:
        found += chunk
        if len(found) > BODY_LIMIT:
            raise FetchFault("its answer is too large")
    return bytes(found)


@dataclass(frozen=True, slots=True)
class _Deadline:
    monotonic: Callable[[], float]
    end: float

    def left(self) -> float:
        """Return the seconds that are left, more than none."""
        left = self.end - self.monotonic()
        if left <= 0:
            raise httpcore2.ReadTimeout
        return left


class _CheckedBackend(httpcore2.NetworkBackend):
    """Connects to addresses that were checked, until a deadline."""

    def __init__(self, deadline: _Deadline, addresses: Callable[[str, int], list[str]]) -> None:
        self._deadline = deadline
        self._addresses = addresses
        self._sockets = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - the deadline knows better
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        """Connect to the first address that takes the connection."""
        fault: httpcore2.ConnectError | None = None
        for address in self._addresses(host, port):
            try:
                stream = self._sockets.connect_tcp(
                    address, port, self._deadline.left(), local_address, socket_options
                )
            except httpcore2.ConnectError as error:
                fault = error
            else:
                return _TimedStream(stream, self._deadline)
        raise fault or httpcore2.ConnectError


class _TimedStream(httpcore2.NetworkStream):
    """A connection on which nothing is waited for beyond a deadline."""

    def __init__(self, stream: httpcore2.NetworkStream, deadline: _Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - ditto
        """Read what there is."""
        return self._stream.read(max_bytes, self._deadline.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - ditto
        """Write everything."""
        self._stream.write(buffer, self._deadline.left())

    def close(self) -> None:
        """Hang up."""
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002 - ditto
    ) -> httpcore2.NetworkStream:
        """Go on encrypted."""
        secure = self._stream.start_tls(ssl_context, server_hostname, self._deadline.left())
        return _TimedStream(secure, self._deadline)

    def get_extra_info(self, info: str) -> object:
        """Return what the connection knows of itself."""
        return self._stream.get_extra_info(info)
