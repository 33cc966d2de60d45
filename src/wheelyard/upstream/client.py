"""
Requests to one upstream index: its pages, and the files that its pages name.

Nothing of a client's request is sent. The credential of the index goes to its scheme, host and port
alone. Every URL, of each redirect too, is compared with what the operator allows, and so is every
address. Pages are received whole, within limits of size and time.
"""

import ssl
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from http import HTTPStatus
from importlib.metadata import version
from threading import BoundedSemaphore, Lock
from typing import Final, TypeVar

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.concurrency.runtime import Runtime
from wheelyard.http_client.address_policy import Address, AddressPolicy, FetchError, PublicOr
from wheelyard.http_client.client import (
    REDIRECT_STATUSES,
    ClientResponse,
    HttpClient,
    Timeouts,
    decompressed,
    followed,
    status_error,
    tls_context,
)
from wheelyard.http_client.proxies import proxy_for
from wheelyard.http_client.urls import Url
from wheelyard.sources.field_parsing import parse_http_date
from wheelyard.upstream.circuit import MAX_PAUSE_SECONDS, Circuit
from wheelyard.upstream.config import UpstreamConfig, UpstreamServer
from wheelyard.upstream.parsing import ReceivedPage, check_final_url
from wheelyard.upstream.root_page import ROOT_LIMIT_BYTES, RootPage

ACCEPT: Final = (
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, "
    "text/html;q=0.01"
)
PAGE_LIMIT_BYTES: Final = 64 * 1024**2
"""Bytes of a decompressed page."""
LARGE_PAGE_BYTES: Final = 2 * 1024**2
"""Bytes of a page from which on only `MAX_LARGE_PAGES` are in memory at a time."""
MAX_LARGE_PAGES: Final = 2
MAX_CONNECTIONS: Final = 96
"""Open connections to the hosts of an index: for all threads that fetch pages and files."""
HEADERS_LIMIT_CHARS: Final = 64 * 1024
"""Characters of all headers of a response."""
TIMEOUTS: Final = Timeouts(connect=3.0, idle=15.0)
RESPONSE_START_SECONDS: Final = 10.0
"""Seconds to connect, to send a request, and to receive the headers of the response."""
PAGE_SECONDS: Final = 20.0
"""Seconds to receive a whole page, or the headers of a file, redirects included."""
MAX_REDIRECTS: Final = 3
RETRY_PAUSE_SECONDS: Final = 0.5
"""Upper limit of the random pause before the one retry of a page."""
BUSY_SECONDS: Final = 5.0
"""Seconds without a request after a status 429 that does not say for how long."""
MAX_ETAG_LENGTH, MAX_SECONDS_DIGITS = 256, 18
RETRIED_STATUSES: Final = frozenset({502, 503, 504})
MISSING_STATUSES: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
ADVICE: Final = ", and its network is not in upstream.allow_private_networks"
METADATA_HOSTS: Final = frozenset({"metadata.google.internal", "metadata"})


T = TypeVar("T")


class NotChanged(Struct, frozen=True):
    """The answer that a page is still the one that is known."""


class Missing(Struct, frozen=True):
    """The answer that the index has no such project."""


class UpstreamClient:
    """
    Sends requests to one upstream index; safe to share between threads.

    `google` returns an Authorization header with an access token, or raises FetchError.
    `on_circuit` is called with True when a host is left alone because it does not answer, and with
    False when it answers again.
    """

    def __init__(
        self,
        server: UpstreamServer,
        config: UpstreamConfig,
        runtime: Runtime,
        google: Callable[[], str] | None = None,
        on_circuit: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self.server = server
        self._config = config
        self._runtime = runtime
        self._google = google
        self._on_circuit = on_circuit
        agent = f"wheelyard/{version('wheelyard')}"  # takes a millisecond
        agent += f" (+{config.contact})" if config.contact else ""
        self._headers = {"User-Agent": agent, "Via": f"1.1 {config.via}"}
        self._clients: dict[tuple[bool, Url | None], HttpClient] = {}
        self._circuits: dict[tuple[str, str, int], Circuit] = {}
        self._large_pages = BoundedSemaphore(MAX_LARGE_PAGES)
        self._lock, self._client_lock = Lock(), Lock()

    def close(self) -> None:
        """Close every connection."""
        for client in self._clients.values():
            client.close()

    def page(
        self, name: NormalizedName, parse: Callable[[ReceivedPage], T], etag: str = ""
    ) -> T | NotChanged | Missing:
        """
        Ask for the page of a project, and return what `parse` makes of it.

        `etag` is that of the page that is known. Raise FetchError if there is no answer, or none
        that can be used.
        """
        try:
            return self._page(name, parse, etag)
        except FetchError as fault:
            is_retried = fault.is_unreachable or fault.status in RETRIED_STATUSES
            if fault.wait or not (fault.is_transient and is_retried):
                raise
            pause = self._runtime.random.uniform(0.1, 1.0) * RETRY_PAUSE_SECONDS
            self._runtime.pause(pause)
            try:
                return self._page(name, parse, etag)
            except FetchError as second:  # perhaps as no more requests are sent, but one was
                raise replace(second, is_asked=True) from None

    def root(self) -> RootPage:
        """Return the start of what is at the URL of the index; raise FetchError as `page` does."""
        headers = {"Accept": ACCEPT, "Accept-Encoding": "identity"}
        end = self._runtime.monotonic() + PAGE_SECONDS
        with closing(self._send(self.server.url, headers, end)) as response:
            if response.status != HTTPStatus.OK:
                raise status_error(response)
            body = bytearray()
            with self._client(response.url).deadline(end - self._runtime.monotonic()):
                for chunk in decompressed(response):
                    body += chunk
                    if len(body) > ROOT_LIMIT_BYTES:
                        break
            return RootPage(
                asked=self.server.url,
                url=response.url,
                content_type=response.headers.get("content-type", ""),
                body=bytes(body[:ROOT_LIMIT_BYTES]),
                is_cut=len(body) > ROOT_LIMIT_BYTES,
            )

    def open_file(self, url: Url) -> ClientResponse | None:
        """
        Request what is at a URL that a page has named; return the open response, None if missing.

        Its body is the bytes of the file: of an sdist, some servers say that its own compression is
        the coding of the response. Raise FetchError as `page` does.
        """
        end = self._runtime.monotonic() + PAGE_SECONDS
        response = self._send(url, {"Accept-Encoding": "identity"}, end)
        if response.status == HTTPStatus.OK:
            return response
        response.close()
        if response.status in MISSING_STATUSES:
            return None
        raise self._status_error(response)

    def _page(
        self, name: NormalizedName, parse: Callable[[ReceivedPage], T], etag: str
    ) -> T | NotChanged | Missing:
        headers = {"Accept": ACCEPT, "Accept-Encoding": "gzip"}
        if etag:
            headers["If-None-Match"] = etag
        end = self._runtime.monotonic() + PAGE_SECONDS
        url = self.server.url.child_folder(name)
        with ExitStack() as stack:
            response = stack.enter_context(closing(self._send(url, headers, end)))
            check_final_url(response.url, name)
            if response.status in MISSING_STATUSES:
                return Missing()
            if response.status == HTTPStatus.NOT_MODIFIED and etag:
                return NotChanged()
            if response.status != HTTPStatus.OK:
                raise self._status_error(response)
            received = response.headers
            page = ReceivedPage(
                name=name,
                url=response.url,
                content_type=received.get("content-type", ""),
                body=self._body(response, end, stack),
                etag=_safe_etag(received.get("etag", "")),
            )
            return parse(page)

    def _body(self, response: ClientResponse, end: float, stack: ExitStack) -> bytearray:
        """Return the whole body; that of a large page has a place until `stack` is closed."""
        body, has_place = bytearray(), False
        with self._client(response.url).deadline(end - self._runtime.monotonic()):
            for chunk in decompressed(response):
                body += chunk
                if len(body) > LARGE_PAGE_BYTES and not has_place:
                    left = max(0.0, end - self._runtime.monotonic())
                    has_place = self._large_pages.acquire(timeout=left)
                    if not has_place:
                        raise FetchError("other large pages come first", is_transient=True)
                    stack.callback(self._large_pages.release)
                if len(body) > PAGE_LIMIT_BYTES:
                    raise FetchError(f"its page is larger than {PAGE_LIMIT_BYTES >> 20} MiB")
        return body

    def _send(self, url: Url, headers: Mapping[str, str], end: float) -> ClientResponse:
        """
        Return the response to a GET request, after at most MAX_REDIRECTS checked redirects.

        Its headers have to be there at the monotonic time `end`.
        """
        if self._config.offline:
            raise FetchError("upstream.offline is set, so nothing is fetched")
        sent = {**self._headers, **headers}
        for _ in range(MAX_REDIRECTS + 1):
            why = self.server.refuses(url)
            if why or url.host.removesuffix(".") in METADATA_HOSTS:
                why = why or "its host is that of the machine's metadata"
                raise FetchError(why, is_refused=True)
            response = self._send_once(url, sent, end)
            if response.status not in REDIRECT_STATUSES or "location" not in response.headers:
                return response
            response.close()
            url = followed(url, response.headers["location"])
        raise FetchError(f"it leads on more than {MAX_REDIRECTS} times")

    def _send_once(self, url: Url, headers: Mapping[str, str], end: float) -> ClientResponse:
        circuit = self._circuit(url)
        circuit.check()
        login = self._authorization() if url.origin == self.server.url.origin else None
        sent = headers if login is None else {**headers, "Authorization": login}
        client = self._client(url)
        try:
            seconds = min(RESPONSE_START_SECONDS, end - self._runtime.monotonic())
            response = client.send("GET", url, sent, seconds=seconds)
        except FetchError as fault:
            if fault.is_transient or fault.is_unreachable:
                circuit.record_failure(fault.why)
            raise
        if response.status == HTTPStatus.TOO_MANY_REQUESTS:
            response.close()
            seconds = self._retry_after(response, BUSY_SECONDS)
            circuit.pause(seconds)
            raise FetchError(
                "it has had too many requests", HTTPStatus.TOO_MANY_REQUESTS, wait=seconds
            )
        if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            circuit.record_failure(status_error(response).why, url.target)
        else:
            circuit.record_answer()
        size = sum(len(name) + len(value) for name, value in response.headers.items())
        if size > HEADERS_LIMIT_CHARS:
            response.close()
            raise FetchError("its headers are too large")
        return response

    def _status_error(self, response: ClientResponse) -> FetchError:
        """Return the FetchError for a response whose status is an error, with the pause it asks."""
        return replace(status_error(response), wait=self._retry_after(response, 0.0))

    def _retry_after(self, response: ClientResponse, default: float) -> float:
        """Return the seconds that a response asks to wait; `default` if it says nothing of it."""
        text = response.headers.get("retry-after", "")
        if text.isascii() and text.isdigit() and len(text) <= MAX_SECONDS_DIGITS:
            return min(float(text), MAX_PAUSE_SECONDS)
        until = parse_http_date(text)
        if until is None:
            return default
        return min(max((until - self._runtime.now()).total_seconds(), 1.0), MAX_PAUSE_SECONDS)

    def _authorization(self) -> str | None:
        if self._google is not None:
            return self._google()
        return None if self.server.login is None else self.server.login.authorization

    def _circuit(self, url: Url) -> Circuit:
        with self._lock:
            circuit = self._circuits.get(url.origin)
            if circuit is None:
                circuit = self._circuits[url.origin] = Circuit(
                    self._runtime.monotonic, self._on_circuit
                )
            return circuit

    def _client(self, url: Url) -> HttpClient:
        proxy = proxy_for(url) if self._config.trust_env else None
        client = self._clients.get((url.is_secure, proxy))
        if client is not None:
            return client
        with self._client_lock:  # of its own, because a new client takes 20 ms
            client = self._clients.get((url.is_secure, proxy))
            if client is None:
                client = self._new_client(proxy, is_secure=url.is_secure)
                self._clients[(url.is_secure, proxy)] = client
            return client

    def _new_client(self, proxy: Url | None, *, is_secure: bool) -> HttpClient:
        is_fit = PublicOr(self._config.allow_private_networks)
        if proxy is not None:  # the operator has named it, and it alone is connected to
            policy = AddressPolicy(named_hosts=(proxy.host,))
        elif is_secure or self._config.allow_insecure:
            policy = AddressPolicy(is_allowed=is_fit, advice=ADVICE)
        else:
            policy = AddressPolicy(is_allowed=lambda each: _is_here(each) and is_fit(each))
        needs_tls = is_secure or (proxy is not None and proxy.is_secure)
        ca_file = self._config.ca_file
        # to load the authorities of the machine takes 20 ms
        try:
            tls = tls_context(ca_file) if needs_tls else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        except OSError as error:
            raise FetchError("upstream.ca_file cannot be used") from error
        monotonic = self._runtime.monotonic
        return HttpClient(monotonic, policy, tls, proxy, TIMEOUTS, MAX_CONNECTIONS)


def _is_here(address: Address) -> bool:
    if address.is_loopback:
        return True
    why = "its URL is http, which needs upstream.allow_insecure"
    raise FetchError(why, is_refused=True)


def _safe_etag(text: str) -> str:
    """Return an ETag if it can be sent back as it is, else an empty text."""
    is_fit = text.isascii() and text.isprintable() and len(text) <= MAX_ETAG_LENGTH
    return text if is_fit else ""
