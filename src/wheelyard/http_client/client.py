"""
HTTP client: requests, redirects, retries, time limits and the minimum transfer rate.

The credential is chosen for each URL again, so that no redirect receives one of another host.
Redirects from https to http are refused. Certificates are verified. A proxy is used only if that is
wanted, because a proxy hides which address is reached. There are no cookies.

Based on httpcore2, because httpx2 cannot connect to a chosen address, and logs URLs with secrets.
"""

import ssl
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from itertools import islice
from operator import attrgetter
from threading import Lock
from typing import Final, ParamSpec, TypeVar

import httpcore2
from msgspec import Struct

from wheelyard.concurrency.runtime import Runtime, backoff_pauses
from wheelyard.http_client.hosts import (
    MAX_PAUSE_SECONDS,
    AddressPolicy,
    CheckedNetworkBackend,
    Circuit,
    FetchError,
    NetworkDeadline,
)
from wheelyard.http_client.urls import BadUrl, Url, proxy_for

P = ParamSpec("P")
T = TypeVar("T")

Content = bytes | Iterator[bytes] | None
"""The body of a request. The length of chunks is unknown, unless Content-Length is sent."""
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

GZIP_CODINGS: Final = ("gzip", "x-gzip")
GZIP_WBITS: Final = 16 + zlib.MAX_WBITS
"""Makes zlib read a member of a gzip stream."""
GZIP_MAGIC: Final = b"\x1f\x8b"
"""The first bytes of each member of a gzip stream."""
DECOMPRESS_CHUNK_BYTES: Final = 1024**2
"""Bytes that are decompressed at a time, so that a small answer cannot fill the memory at once."""

MAX_ATTEMPTS: Final = 5
FIRST_PAUSE: Final = 0.5
"""Upper limit of the first pause between two attempts, in seconds. It doubles each time."""
MAX_PAUSE: Final = 8.0
"""Upper limit of every pause between two attempts, in seconds."""
MAX_RETRY_AFTER_SECONDS: Final = 60.0
"""Longest pause, in seconds, that a Retry-After header can ask for."""
BUSY_SECONDS: Final = 5.0
"""Seconds to wait after a status 429 that does not say for how long."""
MAX_DIGITS: Final = 18
"""Digits of a number in a header."""
GATEWAY_STATUSES: Final = frozenset({502, 503, 504})
"""HTTP statuses of a server, or of a proxy before it, that is not there for a moment."""
TRANSIENT_STATUSES: Final = GATEWAY_STATUSES | {408, 425, 429, 500}
"""HTTP statuses after which a request is retried."""

PATIENCE_SECONDS: Final = 60.0
"""Seconds that a file may be behind the minimum rate."""
MIN_BYTES_PER_SECOND: Final = 10_000


class Network(Struct, frozen=True, kw_only=True):
    """What a requester may connect to, and how. Times are in seconds."""

    policies: Mapping[str, AddressPolicy]
    """The policy of each scheme of URLs. No other scheme is asked for."""
    tls: Callable[[], ssl.SSLContext] = httpcore2.default_ssl_context
    """Returns the TLS context of new connections. It may raise OSError."""
    uses_proxies: bool = False
    """Whether connections go through the proxies of the environment, whatever `policies` say."""
    connect: float = 10.0
    """How long a connection to one address may take, and then its TLS handshake."""
    idle: float = 60.0
    """How long no data may come, before a response and in it."""
    start: float = 60.0
    """How long it may take to connect, to send a request, and to receive all response headers."""
    max_redirects: int = 10
    max_connections: int = 48


def at_minimum_rate(
    chunks: Iterator[bytes],
    monotonic: Callable[[], float],
    patience: float = PATIENCE_SECONDS,
) -> Iterator[bytes]:
    """
    Yield the chunks of a file that comes at the minimum rate.

    An idle timeout alone would let a server send single bytes. The time that the caller needs for a
    chunk is not counted, and a fast beginning is no credit for later. Raises FetchError if the file
    is more than `patience` seconds behind that rate.
    """
    seconds_left = patience
    while True:
        began_at = monotonic()
        chunk = next(chunks, None)
        seconds_left -= monotonic() - began_at
        if chunk is None:
            return
        if seconds_left < 0:
            raise FetchError("it comes too slowly")
        # each chunk earns the time that it may take at the minimum rate
        seconds_left = min(patience, seconds_left + len(chunk) / MIN_BYTES_PER_SECOND)
        yield chunk


@dataclass(frozen=True, slots=True)
class ClientResponse:
    """A response whose body is still to be read. The caller must close it."""

    url: Url
    """The URL after all redirects."""
    status: int
    headers: Mapping[str, str] = field(repr=False)
    """The headers of the response, with names in lower case."""
    core_response: httpcore2.Response = field(repr=False)
    cleanup: ExitStack = field(repr=False)

    def chunks(self) -> Iterator[bytes]:
        """
        Yield the body in chunks.

        Raises FetchError if the connection breaks off, or nothing comes in time.
        """
        try:
            yield from self.core_response.iter_stream()
        except TRANSPORT_ERRORS as error:
            why = _timeout_reason(error) or "the connection broke off"
            raise FetchError(why, is_transient=True) from error

    def decompressed(self) -> Iterator[bytes]:
        """
        Yield the body, decompressed.

        The caller limits the size of the body. Raises FetchError if the body has another coding
        than gzip, is damaged or cut off, breaks off, or does not come in time.
        """
        coding = self.headers.get("content-encoding", "identity").strip().lower()
        if coding == "identity":
            yield from self.chunks()
        elif coding in GZIP_CODINGS:
            yield from _gunzipped(self.chunks())
        else:
            raise FetchError("its answer is packed in a way that nobody asked for")

    def body(self, limit: int, *, is_cut: bool = False) -> bytearray:
        """
        Return the body, decompressed.

        With `is_cut`, return the first `limit` bytes of a longer body. Raises FetchError if the
        body is longer and not to be cut, if it has another coding than gzip, is damaged or breaks
        off, or does not come in time.
        """
        body = bytearray()
        for chunk in self.decompressed():
            body += chunk
            if len(body) > limit:
                if is_cut:
                    del body[limit:]
                    break
                raise FetchError(f"its answer is larger than {limit / 1024**2:g} MiB")
        return body

    def close(self) -> None:
        """End the response, and release its connection."""
        self.cleanup.close()


def _gunzipped(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """
    Yield the content of a gzip stream.

    Raises FetchError if the stream is damaged or cut off, and what `chunks` raises.
    """
    decompressor = zlib.decompressobj(GZIP_WBITS)
    try:
        # each step gives at most `DECOMPRESS_CHUNK_BYTES`, so the caller can stop in time
        for chunk in chunks:
            remaining = chunk
            while remaining:
                if decompressor.eof:
                    # what follows is another member (RFC 1952), or padding that clients ignore
                    if not GZIP_MAGIC.startswith(remaining[: len(GZIP_MAGIC)]):
                        return
                    decompressor = zlib.decompressobj(GZIP_WBITS)
                yield decompressor.decompress(remaining, DECOMPRESS_CHUNK_BYTES)
                remaining = decompressor.unconsumed_tail or decompressor.unused_data
    except zlib.error as error:
        raise FetchError("its answer is damaged", is_transient=True) from error
    if not decompressor.eof:
        raise FetchError("its answer is cut off", is_transient=True)


class RequestRules:
    """
    Which URLs are asked for, and with what credential.

    Any thread calls the methods. The rules of this class allow every URL, and send no credential.
    Subclasses have other rules.
    """

    has_circuits = False
    """Whether a host that does not answer, or asks for a pause, is left alone for a while."""

    def authorization(self, url: Url) -> str | None:  # noqa: ARG002 - for subclasses
        """
        Return the Authorization header for a URL, or None to send no such header.

        Raises FetchError if the URL needs a credential, and nobody can get that now.
        """
        return None

    def refusal(self, url: Url) -> str:  # noqa: ARG002 - for subclasses
        """Return why a URL must not be asked for, or an empty text if it may be."""
        return ""

    def circuit_changed(self, *, is_open: bool) -> None:
        """Note that no more requests are sent to a host (`is_open`), or that it answers again."""


ANY_URL: Final = RequestRules()


class Requester:
    """
    Sends requests to the addresses that `network` allows.

    Threads may share the requester. `rules` are asked for each redirect, too.
    """

    def __init__(
        self,
        runtime: Runtime,
        network: Network,
        rules: RequestRules = ANY_URL,
    ) -> None:
        self._runtime = runtime
        self._network = network
        self._rules = rules
        self._deadline = NetworkDeadline(runtime)
        self._pools: dict[tuple[str, Url | None], httpcore2.ConnectionPool] = {}
        self._circuits: dict[tuple[str, str, int], Circuit] = {}
        self._cleanup = ExitStack()
        # guards pools and circuits, and is held for a look-up, never during a request
        self._lock = Lock()

    def close(self) -> None:
        """Close every connection, and stop the threads that look up names."""
        self._cleanup.close()

    def require_no_pause(self, url: Url) -> None:
        """Raise FetchError if the host of a URL is left alone now, and send nothing."""
        with self._lock:
            circuit = self._circuits.get(url.origin)
        if circuit is not None:
            circuit.require_no_pause()

    def deadline(self, seconds: float) -> AbstractContextManager[None]:
        """
        Return a context manager that ends this thread's network calls after `seconds`.

        From then on, each network call of the thread raises FetchError.
        """
        return self._deadline.within(seconds)

    def open(
        self,
        url: Url,
        headers: Mapping[str, str],
        accepted: Collection[int] = (HTTPStatus.OK,),
    ) -> ClientResponse:
        """
        Return the response to a GET at the end of all redirects.

        `headers` are sent to every server, so they have no credential. Raises FetchError if there
        is no response, if a URL is refused, or its credential cannot be had, if a redirect must not
        be followed, or if the status is not one of `accepted`.
        """
        response = self.follow("GET", url, headers)
        if response.status in accepted:
            return response
        response.close()
        raise self.status_error(response)

    def follow(self, method: str, url: Url, headers: Mapping[str, str]) -> ClientResponse:
        """
        Send a request without a body, follow redirects, and return the final response.

        `headers` are sent to every server, so they have no credential. Raises FetchError if there
        is no response, if a URL is refused, or its credential cannot be had, if there are too many
        redirects, or if a redirect leads from https to http or to no URL.
        """
        for _ in range(self._network.max_redirects + 1):
            why = self._rules.refusal(url)
            if why:
                raise FetchError(why, is_refused=True)
            # for each URL anew: a redirect to another host must not take the credential along
            authorization = self._rules.authorization(url)
            sent_headers = dict(headers)
            if authorization is not None:
                sent_headers["Authorization"] = authorization
            response = self.send(method, url, sent_headers)
            is_redirect = response.status in REDIRECT_STATUSES
            if not is_redirect or "location" not in response.headers:
                return response
            response.close()
            url = _redirect_target(url, response.headers["location"])
        raise FetchError(f"it leads on more than {self._network.max_redirects} times")

    def send(
        self,
        method: str,
        url: Url,
        headers: Mapping[str, str],
        content: Content = None,
        seconds: float | None = None,
    ) -> ClientResponse:
        """
        Send one request, and return the response, of any status, once its headers are there.

        Redirects are not followed, and no credential is added. Host is added to `headers`.
        `seconds` is the time limit until the headers of the response are there, or None for the
        limit of the network. If the rules have circuits, the outcome of the request is noted in the
        circuit of its host. Raises FetchError if there is no response, the scheme or the address is
        not allowed, or the host is left alone for a while. Raises what an iterator of `content`
        raises.
        """
        if not self._rules.has_circuits:
            return self._exchange(method, url, headers, content, seconds)
        circuit = self._circuit_of(url)
        circuit.check()
        began_at = self._runtime.monotonic()
        try:
            response = self._exchange(method, url, headers, content, seconds)
        except FetchError as fault:
            if fault.is_transient or fault.is_unreachable:
                # a page that comes late may alone be slow; else the host itself is to blame
                slow_url = url.target if fault.is_late else ""
                circuit.record_failure(fault.why, slow_url, began_at)
            raise
        if response.status == HTTPStatus.TOO_MANY_REQUESTS:
            circuit.pause(self.status_error(response).wait)
        elif response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            why = self.status_error(response).why
            circuit.record_failure(why, url.target, began_at)
        else:
            # redirects and errors of the client show, too, that the host answers
            circuit.record_answer()
        return response

    def _circuit_of(self, url: Url) -> Circuit:
        """Return the circuit of the host of a URL, which is made for the first request."""
        new_circuit = Circuit(self._runtime.monotonic, self._rules.circuit_changed)
        with self._lock:
            return self._circuits.setdefault(url.origin, new_circuit)

    def status_error(self, response: ClientResponse) -> FetchError:
        """
        Return the FetchError for the status of a response, with the pause that it asks for.

        If the response asks for no pause, that is `BUSY_SECONDS` after a status 429, and else 0.
        """
        status = response.status
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            why = "it has had too many requests"
            wait = self._retry_after(response, BUSY_SECONDS)
        else:
            why = f"it answers with status {status}"
            wait = self._retry_after(response, 0.0)
        return FetchError(why, status, is_transient=status in TRANSIENT_STATUSES, wait=wait)

    def _retry_after(self, response: ClientResponse, default: float) -> float:
        """Return the seconds that a response asks to wait, or `default` if it asks for none."""
        # seconds or a date (RFC 9110), of which neither may stop all requests for long
        text = response.headers.get("retry-after", "")
        if is_number(text):
            return min(float(text), MAX_PAUSE_SECONDS)
        try:
            until = parsedate_to_datetime(text).timestamp()
        except (ValueError, OverflowError, OSError):
            return default
        return min(max(until - self._runtime.seconds(), 1.0), MAX_PAUSE_SECONDS)

    def _exchange(
        self,
        method: str,
        url: Url,
        headers: Mapping[str, str],
        content: Content,
        seconds: float | None,
    ) -> ClientResponse:
        """Send one request, and return its response once the headers are there."""
        if seconds is None:
            seconds = self._network.start
        pool = self._pool(url)
        host = url.host.strip("[]")
        core_url = httpcore2.URL(scheme=url.scheme, host=host, port=url.port, target=url.target)
        with ExitStack() as stack:
            try:
                with self.deadline(seconds):
                    timeouts = {
                        "connect": self._network.connect,
                        "read": self._network.idle,
                        "write": self._network.idle,
                        "pool": self._deadline.remaining_seconds(None),
                    }
                    request = pool.stream(
                        method,
                        core_url,
                        headers=[("Host", url.authority), *headers.items()],
                        content=content,
                        extensions={"timeout": timeouts},
                    )
                    response = stack.enter_context(request)
            except TRANSPORT_ERRORS as error:
                # without the cause, whose text may quote what was sent
                raise _error_without_response(error) from None
            # latin-1 has a character for each byte, so that no stranger's header fails to decode
            received_headers = {}
            for name, value in response.headers:
                received_headers[name.decode("latin-1").lower()] = value.decode("latin-1")
            # from here on the response holds the connection, and its `close` gives that back
            cleanup = stack.pop_all()
            return ClientResponse(url, response.status, received_headers, response, cleanup)

    def _pool(self, url: Url) -> httpcore2.ConnectionPool:
        """
        Return the pool of connections for a URL.

        Raises FetchError if the scheme is not allowed, or the authorities of TLS cannot be used.
        """
        if url.scheme not in self._network.policies:
            raise FetchError("its URL is not https")
        proxy = proxy_for(url) if self._network.uses_proxies else None
        with self._lock:
            pool = self._pools.get((url.scheme, proxy))
            if pool is None:
                pool = self._new_pool(url, proxy)
                self._pools[url.scheme, proxy] = pool
            return pool

    def _new_pool(self, url: Url, proxy: Url | None) -> httpcore2.ConnectionPool:
        """
        Return a pool for the scheme of a URL, whose connections go to allowed addresses alone.

        Raises FetchError if the authorities of TLS cannot be used.
        """
        try:
            tls = self._network.tls() if url.is_secure else None  # takes 20 ms
        except OSError as error:
            raise FetchError("the list of certificate authorities cannot be used") from error
        policy = self._network.policies[url.scheme]
        core_proxy = None
        if proxy is not None:  # the operator has named the proxy: connections go to it alone
            policy = AddressPolicy((proxy.host,))
            core_proxy = _core_proxy(proxy)
        backend = CheckedNetworkBackend(policy, self._deadline)
        pool = httpcore2.ConnectionPool(
            network_backend=backend,
            ssl_context=tls,
            proxy=core_proxy,
            max_connections=self._network.max_connections,
            keepalive_expiry=30.0,
        )

        # the last callback is called first: no connection is made while the pool is closed
        self._cleanup.callback(pool.close)
        self._cleanup.callback(backend.close)
        return pool


def tls_context(ca_file: str = "") -> ssl.SSLContext:
    """
    Return a TLS context that trusts this machine's authorities, and those of a PEM file if named.

    Raises OSError if the file cannot be used.
    """
    context = httpcore2.default_ssl_context()
    if ca_file:
        context.load_verify_locations(ca_file)
    return context


def ca_file_fault(error: OSError) -> str:
    """Return in words why a file of certificate authorities cannot be used."""
    # the errors of the TLS library have no text for people
    if isinstance(error, ssl.SSLError):
        return "there is no certificate in it"
    return error.strerror or type(error).__name__


def _redirect_target(url: Url, location: str) -> Url:
    """
    Return the URL that a redirect leads to.

    Raises FetchError if `location` is no URL, or leads from https to http.
    """
    try:
        target = url.resolved(location)
    except BadUrl as error:
        raise FetchError("it leads to what is no URL", is_refused=True) from error
    if url.is_secure and not target.is_secure:
        raise FetchError("it leads from https to http", is_refused=True)
    return target


def is_number(text: str) -> bool:
    """Return whether the value of a header is a number of at most `MAX_DIGITS` digits."""
    return text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS


class Retries(Struct, frozen=True):
    """Repeats requests that have failed, after growing random pauses."""

    runtime: Runtime
    attempts: int = MAX_ATTEMPTS
    is_worth_retry: Callable[[FetchError], bool] = attrgetter("is_transient")
    """Returns whether a request may succeed after an error."""

    def run(self, request: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """
        Return the result of a function that sends a request, after a pause before each new attempt.

        Raises the FetchError of the last attempt. Its `is_asked` is true if any attempt has sent a
        request. Any other exception of the function ends the attempts.
        """
        pauses = backoff_pauses(self.runtime.random, FIRST_PAUSE, MAX_PAUSE, at_least=0.5)
        pauses = islice(pauses, self.attempts - 1)
        is_asked = False
        while True:
            try:
                return request(*args, **kwargs)
            except FetchError as fault:
                is_asked |= fault.is_asked
                fault.is_asked = is_asked
                pause = next(pauses, None)
                if pause is None or not self.is_worth_retry(fault):
                    raise
                # a server that asks for an hour would hold the thread for as long
                requested_pause = min(fault.wait, MAX_RETRY_AFTER_SECONDS)
                self.runtime.pause(max(requested_pause, pause))


def _core_proxy(proxy: Url) -> httpcore2.Proxy:
    """Return a proxy as httpcore2 takes it, with its credential."""
    auth = None
    if proxy.login is not None:
        auth = (proxy.login.username.encode(), proxy.login.password.encode())
    url = httpcore2.URL(scheme=proxy.scheme, host=proxy.host.strip("[]"), port=proxy.port)
    return httpcore2.Proxy(url, auth)


def _error_without_response(error: Exception) -> FetchError:
    """Return the FetchError for an exchange without a response, which quotes no request."""
    if isinstance(error, httpcore2.ProxyError):
        return FetchError("the proxy of the environment does not connect to it")
    # httpcore2 turns errors of TLS into its own, and only the text of OpenSSL tells them apart
    if isinstance(error, ssl.SSLError) or "certificate" in str(error).lower():
        return FetchError("its certificate is not trusted", is_unreachable=True)
    is_plain_text = any(text in str(error) for text in PLAIN_TEXT_ERRORS)
    if is_plain_text:
        return FetchError("there is no TLS at its port", is_unreachable=True)
    if isinstance(error, CONNECTION_ERRORS):
        return FetchError("it cannot be reached", is_transient=True, is_unreachable=True)
    why = _timeout_reason(error) or "it does not answer"
    is_late = isinstance(error, httpcore2.TimeoutException)
    if isinstance(error, httpcore2.RemoteProtocolError):
        why = "its answer is no HTTP, or breaks off"
    return FetchError(why, is_transient=True, is_late=is_late)


def _timeout_reason(error: Exception) -> str:
    """Return the reason of an error that is a timeout, or an empty text for another error."""
    if isinstance(error, httpcore2.TimeoutException):
        return "it does not answer in time"
    return ""
