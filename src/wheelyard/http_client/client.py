"""
The one client: exchanges with servers, and the way through redirects.

A credential is given for each URL anew, so that a redirect takes none along. Nothing leads from
https to http. Certificates are verified. The environment's proxies are not used, for with one
nobody knows which address is reached. There are no cookies.

This is the lower half of httpx2, which lets us say which address to connect to; the upper half
cannot be told, and writes URLs to the log, with what is secret in them.
"""

import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import Final

import httpcore2

from wheelyard.http_client.address_policy import AddressPolicy, CheckedNetworkBackend, FetchError
from wheelyard.http_client.urls import BadUrl, Url

MAX_CONNECTIONS: Final = 48
"""Open at a time, whatever they are for."""
CONNECT_TIMEOUT_SECONDS, IDLE_TIMEOUT_SECONDS = 10.0, 60.0
"""Seconds: to connect to one address, and of silence before an answer and in it."""
RESPONSE_START_TIMEOUT_SECONDS: Final = 60.0
"""Seconds until an answer has begun: to connect, to ask, and for all of its headers."""
MAX_REDIRECTS: Final = 10
REDIRECT_STATUSES: Final = frozenset({301, 302, 303, 307, 308})
TRANSPORT_ERRORS: Final = (
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.TimeoutException,
    ssl.SSLError,
)
CONNECTION_ERRORS: Final = (httpcore2.ConnectError, httpcore2.ConnectTimeout)
LATE: Final = httpcore2.TimeoutException
TIMEOUT_REASON: Final = "it does not answer in time"

SLOW_GRACE_SECONDS: Final = 60.0
"""Seconds of waiting for a file in which it may come as slowly as it likes."""
MIN_BYTES_PER_SECOND: Final = 10_000
"""Bytes for each second of waiting after that, on average."""


@dataclass(slots=True)
class TransferRate:
    """
    How fast a file comes, over as many connections as it takes.

    A limit on silence alone is none: a server that sends a byte now and then would hold an import
    up for days.
    """

    monotonic: Callable[[], float]
    waited: float = field(default=0.0, init=False)
    """Seconds, without those in which whoever takes the bytes was at work."""
    size: int = field(default=0, init=False)

    def timed(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield pieces, and take note of how long they took."""
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
        """Whether nobody should wait for the rest."""
        return self.size < MIN_BYTES_PER_SECOND * (self.waited - SLOW_GRACE_SECONDS)


@dataclass(frozen=True, slots=True)
class ClientResponse:
    """What a server answers, while it comes; to be closed."""

    url: Url
    """Where it came from, in the end."""
    status: int
    headers: Mapping[str, str] = field(repr=False)
    """Names in lower case."""
    response: httpcore2.Response = field(repr=False)
    held: ExitStack = field(repr=False)

    def chunks(self, transfer_rate: TransferRate | None = None) -> Iterator[bytes]:
        """Yield the body as it comes; raise FetchError if it breaks off, or is too slow."""
        body = self.response.iter_stream()
        try:
            for chunk in body if transfer_rate is None else transfer_rate.timed(body):
                if transfer_rate is not None and transfer_rate.is_too_slow:
                    raise FetchError("it comes too slowly")
                yield chunk
        except TRANSPORT_ERRORS as error:
            why = TIMEOUT_REASON if isinstance(error, LATE) else "the connection broke off"
            raise FetchError(why, is_transient=True) from error

    def close(self) -> None:
        """Let go of the connection."""
        self.held.close()


class HttpClient:
    """
    Asks servers; safe to share between threads.

    Args:
        monotonic: Seconds that never jump.
        reach: Which addresses may be connected to.
        tls: What proves a server; by default the authorities that this machine trusts.
    """

    def __init__(
        self,
        monotonic: Callable[[], float],
        policy: AddressPolicy,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.tls = tls or httpcore2.default_ssl_context()
        self._backend = CheckedNetworkBackend(monotonic, policy)
        self._pool = httpcore2.ConnectionPool(
            network_backend=self._backend,
            ssl_context=self.tls,
            max_connections=MAX_CONNECTIONS,
            keepalive_expiry=30.0,
        )

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()
        self._backend.close()

    def deadline(self, seconds: float) -> AbstractContextManager[None]:
        """Return a context in which this thread waits no longer than so for servers."""
        return self._backend.deadline(seconds)

    def send(
        self, method: str, url: Url, headers: Mapping[str, str], content: bytes | None = None
    ) -> ClientResponse:
        """
        Return an answer of any status, as soon as it begins. One try; nothing is followed.

        A credential in the URL is not used; `headers` are all but Host.

        Raises:
            FetchError: There is no answer, or the address is refused.
        """
        with ExitStack() as stack:
            try:
                with self._backend.deadline(RESPONSE_START_TIMEOUT_SECONDS):
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
        Return the answer that redirects lead to, as soon as it begins.

        Args:
            method: Of each request.
            url: Where the way begins.
            headers: For each server on the way, so without a credential.
            authorization: Returns what the Authorization header of a request to a URL says.

        Raises:
            FetchError: As for `ask`, or the way leads nowhere.
        """
        for _ in range(MAX_REDIRECTS + 1):
            login = authorization(url)
            sent = headers if login is None else {**headers, "Authorization": login}
            answer = self.send(method, url, sent)
            if answer.status not in REDIRECT_STATUSES or "location" not in answer.headers:
                return answer
            answer.close()
            url = _followed(url, answer.headers["location"])
        raise FetchError("it leads round in circles")

    def _request(
        self, method: str, url: Url, headers: Mapping[str, str], content: bytes | None
    ) -> AbstractContextManager[httpcore2.Response]:
        where = httpcore2.URL(
            scheme=url.scheme, host=url.host.strip("[]"), port=url.port, target=url.target
        )
        times = {
            "connect": CONNECT_TIMEOUT_SECONDS,
            "read": IDLE_TIMEOUT_SECONDS,
            "write": IDLE_TIMEOUT_SECONDS,
            "pool": self._backend.remaining_seconds(None),
        }
        sent = [("Host", url.authority), *headers.items()]
        return self._pool.stream(
            method, where, headers=sent, content=content, extensions={"timeout": times}
        )


def _followed(url: Url, location: str) -> Url:
    try:
        target = url.resolved(location)
    except BadUrl as error:
        raise FetchError("it leads to what is no URL") from error
    if url.is_secure and not target.is_secure:
        raise FetchError("it leads from https to http")
    return target


def _unanswered(error: Exception) -> FetchError:
    if isinstance(error, ssl.SSLError) or "certificate" in str(error).lower():
        return FetchError("its certificate is not trusted", is_unreachable=True)
    if isinstance(error, CONNECTION_ERRORS):
        return FetchError("it cannot be reached", is_transient=True, is_unreachable=True)
    return FetchError(
        TIMEOUT_REASON if isinstance(error, LATE) else "it does not answer", is_transient=True
    )
