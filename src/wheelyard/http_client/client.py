"""
HTTP client: requests, redirects, retries, timeouts and the minimum transfer rate.

The credential is chosen for each URL again, so that no redirect receives one of another host.
Redirects from https to http are refused. Certificates are verified. A proxy is used only if one is
given, because a proxy hides which address is reached. There are no cookies.

Based on httpcore2, because httpx2 cannot connect to a chosen address, and logs URLs with secrets.
"""

import ssl
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, TypeVar

import httpcore2
from msgspec import Struct

from wheelyard.concurrency.runtime import Runtime, backoff_pauses
from wheelyard.http_client.address_policy import AddressPolicy, CheckedNetworkBackend, FetchError
from wheelyard.http_client.urls import BadUrl, Url

T = TypeVar("T")

MAX_CONNECTIONS: Final = 48
"""Open connections of one client."""
RESPONSE_START_TIMEOUT_SECONDS: Final = 60.0
"""Seconds to connect, to send the request, and to receive all response headers."""


class Timeouts(Struct, frozen=True):
    """How long a client waits, in seconds."""

    connect: float = 10.0
    """To connect to one address, and then for TLS."""
    idle: float = 60.0
    """Without data, before a response and in it."""


Content = bytes | Iterator[bytes] | None
"""The body of a request; chunks of a length that is unknown, unless Content-Length is sent."""
MAX_REDIRECTS: Final = 10
REDIRECT_STATUSES: Final = frozenset({301, 302, 303, 307, 308})
TRANSPORT_ERRORS: Final = (
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.ProxyError,
    httpcore2.TimeoutException,
    ssl.SSLError,
)
CONNECTION_ERRORS: Final = (httpcore2.ConnectError, httpcore2.ConnectTimeout)
PLAIN_TEXT_ERRORS: Final = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE")
"""What OpenSSL calls an answer without TLS, in older and in newer versions."""

DECOMPRESS_CHUNK_BYTES: Final = 1024**2
"""Bytes that are decompressed at a time, so that a small answer cannot fill the memory at once."""

MAX_ATTEMPTS: Final = 5
FIRST_PAUSE, MAX_PAUSE = 0.5, 8.0
"""Limits of the pauses between attempts, in seconds."""
MAX_RETRY_AFTER_SECONDS: Final = 60.0
"""Longest pause, in seconds, that a Retry-After header can ask for."""
TRANSIENT_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP statuses after which a request is retried."""

SLOW_GRACE_SECONDS: Final = 60.0
"""Seconds of waiting for a file before the minimum rate applies."""
MIN_BYTES_PER_SECOND: Final = 10_000
"""Average rate that is required after the grace period."""


@dataclass(slots=True)
class TransferRate:
    """Measures how fast a file comes, as an idle timeout would let a server send single bytes."""

    monotonic: Callable[[], float]
    waited: float = field(default=0.0, init=False)
    """Seconds spent waiting for the server, without the time the caller needs for each chunk."""
    size: int = field(default=0, init=False)

    def timed(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the chunks unchanged; add their sizes to `size`, and the waits to `waited`."""
        source = iter(chunks)
        while True:
            began = self.monotonic()
            try:
                chunk = next(source, None)
            finally:
                self.waited += self.monotonic() - began
            if chunk is None:
                return
            self.size += len(chunk)
            yield chunk

    @property
    def is_too_slow(self) -> bool:
        """Whether the file came more slowly than the minimum rate, after the grace period."""
        return self.size < MIN_BYTES_PER_SECOND * (self.waited - SLOW_GRACE_SECONDS)


@dataclass(frozen=True, slots=True)
class ClientResponse:
    """A response whose body is still to be read; the caller must close it."""

    url: Url
    """The URL after all redirects."""
    status: int
    headers: Mapping[str, str] = field(repr=False)
    """Names in lower case."""
    response: httpcore2.Response = field(repr=False)
    cleanup: ExitStack = field(repr=False)

    def chunks(self, transfer_rate: TransferRate | None = None) -> Iterator[bytes]:
        """
        Yield the body in chunks; raise FetchError if the connection breaks off.

        With `transfer_rate`, raise it, too, if the body comes too slowly.
        """
        body = self.response.iter_stream()
        try:
            for chunk in body if transfer_rate is None else transfer_rate.timed(body):
                if transfer_rate is not None and transfer_rate.is_too_slow:
                    raise FetchError("it comes too slowly")
                yield chunk
        except TRANSPORT_ERRORS as error:
            why = _timeout_or(error, "the connection broke off")
            raise FetchError(why, is_transient=True) from error

    def close(self) -> None:
        """End the response, and release its connection."""
        self.cleanup.close()


class HttpClient:
    """
    HTTP client that connects to the addresses of `policy`; safe to share between threads.

    `monotonic` is a clock in seconds; `tls` by default trusts the authorities of this machine. With
    `proxy`, every connection goes through that proxy, and `policy` decides about its address alone.
    """

    def __init__(
        self,
        monotonic: Callable[[], float],
        policy: AddressPolicy,
        tls: ssl.SSLContext | None = None,
        proxy: Url | None = None,
        timeouts: Timeouts | None = None,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self._timeouts = timeouts or Timeouts()
        self.tls = tls or httpcore2.default_ssl_context()
        self._backend = CheckedNetworkBackend(monotonic, policy)
        self._pool = httpcore2.ConnectionPool(
            network_backend=self._backend,
            ssl_context=self.tls,
            proxy=None if proxy is None else _core_proxy(proxy),
            max_connections=max_connections,
            keepalive_expiry=30.0,
        )

    def close(self) -> None:
        """Close every connection of the client, and stop its threads that look up names."""
        self._pool.close()
        self._backend.close()

    def deadline(self, seconds: float) -> AbstractContextManager[None]:
        """Return a context manager that ends this thread's network calls after `seconds`."""
        return self._backend.deadline(seconds)

    def send(
        self,
        method: str,
        url: Url,
        headers: Mapping[str, str],
        content: Content = None,
        seconds: float = RESPONSE_START_TIMEOUT_SECONDS,
    ) -> ClientResponse:
        """
        Send one request; return the response, of any status, once its headers are there.

        Redirects are not followed. A credential in the URL is not used. Host is added to `headers`.
        `seconds` is the time limit until the headers of the response are there.

        Raises:
            FetchError: There is no response, or the address is not allowed.
        """
        with ExitStack() as stack:
            try:
                with self._backend.deadline(seconds):
                    request = self._request(method, url, headers, content)
                    response = stack.enter_context(request)
            except TRANSPORT_ERRORS as error:
                raise _unanswered(error) from None  # its text may quote what was sent
            known = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in response.headers}
            return ClientResponse(url, response.status, known, response, stack.pop_all())

    def follow_redirects(
        self,
        method: str,
        url: Url,
        headers: Mapping[str, str],
        authorization: Callable[[Url], str | None],
    ) -> ClientResponse:
        """
        Send a request without a body, follow redirects, and return the final response.

        `headers` are sent to every server, so they have no credential; `authorization` returns the
        Authorization header for a URL, or None.

        Raises:
            FetchError: As for `send`; or there are more than MAX_REDIRECTS redirects, or one leads
                from https to http or to no URL.
        """
        for _ in range(MAX_REDIRECTS + 1):
            login = authorization(url)
            sent = headers if login is None else {**headers, "Authorization": login}
            response = self.send(method, url, sent)
            if response.status not in REDIRECT_STATUSES or "location" not in response.headers:
                return response
            response.close()
            url = followed(url, response.headers["location"])
        raise FetchError("it leads round in circles")

    def _request(
        self, method: str, url: Url, headers: Mapping[str, str], content: Content
    ) -> AbstractContextManager[httpcore2.Response]:
        host = url.host.strip("[]")
        core_url = httpcore2.URL(scheme=url.scheme, host=host, port=url.port, target=url.target)
        times = {
            "connect": self._timeouts.connect,
            "read": self._timeouts.idle,
            "write": self._timeouts.idle,
            "pool": self._backend.remaining_seconds(None),
        }
        sent, timeout = [("Host", url.authority), *headers.items()], {"timeout": times}
        return self._pool.stream(
            method, core_url, headers=sent, content=content, extensions=timeout
        )


def tls_context(ca_file: str = "") -> ssl.SSLContext:
    """Return TLS that trusts this machine's authorities and a PEM file's; may raise OSError."""
    context = httpcore2.default_ssl_context()
    if ca_file:
        context.load_verify_locations(ca_file)
    return context


def followed(url: Url, location: str) -> Url:
    """Return where a redirect leads; raise FetchError for no URL, or from https to http."""
    try:
        target = url.resolved(location)
    except BadUrl as error:
        raise FetchError("it leads to what is no URL", is_refused=True) from error
    if url.is_secure and not target.is_secure:
        raise FetchError("it leads from https to http", is_refused=True)
    return target


def decompressed(response: ClientResponse) -> Iterator[bytes]:
    """
    Yield the body of a response, decompressed; the caller limits its size.

    Raise FetchError if it has another coding, is damaged or cut off, or breaks off.
    """
    coding = response.headers.get("content-encoding", "identity").strip().lower()
    if coding == "identity":
        yield from response.chunks()
        return
    if coding not in ("gzip", "x-gzip"):
        raise FetchError("its answer is packed in a way that nobody asked for")
    decompressor = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        for chunk in response.chunks():
            rest = chunk
            while rest:
                yield decompressor.decompress(rest, DECOMPRESS_CHUNK_BYTES)
                rest = decompressor.unconsumed_tail
    except zlib.error as error:
        raise FetchError("its answer is damaged", is_transient=True) from error
    if not decompressor.eof:
        raise FetchError("its answer is cut off", is_transient=True)


def with_retries(call: Callable[[], T], runtime: Runtime, attempts: int = MAX_ATTEMPTS) -> T:
    """Return the result of `call`; after a transient FetchError, pause and call it again."""
    waits = backoff_pauses(runtime.random, FIRST_PAUSE, MAX_PAUSE, at_least=0.5)
    waits = islice(waits, attempts - 1)
    while True:
        try:
            return call()
        except FetchError as fault:
            pause = next(waits, None)
            if pause is None or not fault.is_transient:
                raise
            runtime.pause(max(min(fault.wait, MAX_RETRY_AFTER_SECONDS), pause))


def status_error(response: ClientResponse) -> FetchError:
    """Return the FetchError for a response whose status is an error."""
    text = response.headers.get("retry-after", "")
    wait = float(text) if text.isascii() and text.isdigit() and text else 0.0
    return FetchError(
        f"it answers with status {response.status}",
        status=response.status,
        is_transient=response.status in TRANSIENT_STATUSES,
        wait=wait,
    )


def _core_proxy(proxy: Url) -> httpcore2.Proxy:
    login = proxy.login
    auth = None if login is None else (login.username.encode(), login.password.encode())
    url = httpcore2.URL(scheme=proxy.scheme, host=proxy.host.strip("[]"), port=proxy.port)
    return httpcore2.Proxy(url, auth)


def _unanswered(error: Exception) -> FetchError:
    if isinstance(error, httpcore2.ProxyError):
        return FetchError("the proxy of the environment does not connect to it")
    if isinstance(error, ssl.SSLError) or "certificate" in str(error).lower():
        return FetchError("its certificate is not trusted", is_unreachable=True)
    if any(each in str(error) for each in PLAIN_TEXT_ERRORS):
        return FetchError("there is no TLS at its port", is_unreachable=True)
    if isinstance(error, CONNECTION_ERRORS):
        return FetchError("it cannot be reached", is_transient=True, is_unreachable=True)
    is_foreign = isinstance(error, httpcore2.RemoteProtocolError)
    why = "its answer is no HTTP, or breaks off" if is_foreign else "it does not answer"
    is_late = isinstance(error, httpcore2.TimeoutException)
    return FetchError(_timeout_or(error, why), is_transient=True, is_late=is_late)


def _timeout_or(error: Exception, why: str) -> str:
    is_timeout = isinstance(error, httpcore2.TimeoutException)
    return "it does not answer in time" if is_timeout else why
