"""
Requests to one upstream index: its pages, and the files that its pages name.

Nothing of a client's request is sent. The credential of the index goes to its scheme, host and port
alone. Every URL, of each redirect too, is compared with what the operator allows, and so is every
address. Pages are received whole, within limits of size and time.

Google's library finds the credentials itself: the file that GOOGLE_APPLICATION_CREDENTIALS names,
gcloud's login, or the metadata server. It is imported by the first request.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, closing
from functools import partial
from http import HTTPStatus
from importlib.metadata import version
from threading import BoundedSemaphore, Lock
from typing import Any, Final, TypeVar

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import NotFound
from wheelyard.http_client.client import (
    ClientResponse,
    Network,
    Requester,
    at_minimum_rate,
    is_number,
    tls_context,
    with_retries,
)
from wheelyard.http_client.hosts import AddressPolicy, FetchError, PublicOr
from wheelyard.http_client.urls import BadUrl, Url, parse_url
from wheelyard.sources.simple_page import ACCEPT, FetchedPage
from wheelyard.upstream.observation import SSRF, Kind, Observation, UpstreamRequest
from wheelyard.upstream.parsing import ROOT_LIMIT_BYTES, RootPage, check_final_url
from wheelyard.upstream.settings import UpstreamConfig, UpstreamServer, is_offline, unanswered

PAGE_LIMIT_BYTES: Final = 64 * 1024**2
"""Bytes of a decompressed page."""
LARGE_PAGE_BYTES: Final = 2 * 1024**2
"""Bytes of a page from which on only `MAX_LARGE_PAGES` are in memory at a time."""
MAX_LARGE_PAGES: Final = 2
PAGE_SECONDS: Final = 20.0
"""Seconds to receive a whole page, or the headers of a file, redirects included."""
MAX_ETAG_LENGTH: Final = 256
RETRIED_STATUSES: Final = frozenset({502, 503, 504})
MISSING_STATUSES: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
NO_PRIVATE_NETWORK: Final = (
    "its host has a private address, and its network is not in upstream.allow_private_networks"
)
NO_TLS: Final = (
    "its URL is http, which needs upstream.allow_insecure, or a host that is this machine"
)
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
    `on_circuit` is the `on_change` of the circuits of its hosts.
    """

    def __init__(
        self,
        server: UpstreamServer,
        config: UpstreamConfig,
        runtime: Runtime,
        google: Callable[[], str] | None = None,
        on_circuit: Callable[..., None] = lambda **_: None,
    ) -> None:
        self.server = server
        self._config = config
        self._runtime = runtime
        self._google = google
        agent = f"wheelyard/{version('wheelyard')}"  # takes a millisecond
        agent += f" (+{config.contact})" if config.contact else ""
        self._headers = {"User-Agent": agent, "Via": f"1.1 {config.via}"}
        self._requester = Requester(
            runtime, _network(config), self._authorization, self._refuses, on_circuit
        )
        self._large_pages = BoundedSemaphore(MAX_LARGE_PAGES)

    def close(self) -> None:
        """Close every connection."""
        self._requester.close()

    def page(
        self, name: NormalizedName, parse: Callable[[FetchedPage], T], etag: str = ""
    ) -> T | NotChanged | Missing:
        """
        Ask for the page of a project, and return what `parse` makes of it.

        `etag` is that of the page that is known. Raise FetchError if there is no answer, or none
        that can be used.
        """
        return with_retries(lambda: self._page(name, parse, etag), self._runtime, 2, _may_pass)

    def root(self) -> RootPage:
        """Return the start of what is at the URL of the index; raise FetchError as `page` does."""
        headers = {"Accept": ACCEPT, "Accept-Encoding": "identity"}
        with (
            self._requester.deadline(PAGE_SECONDS),
            closing(self._open(self.server.url, headers, {HTTPStatus.OK})) as response,
        ):
            body = response.body(ROOT_LIMIT_BYTES + 1, is_cut=True)
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
        with self._requester.deadline(PAGE_SECONDS):
            accepted = {HTTPStatus.OK, *MISSING_STATUSES}
            response = self._open(url, {"Accept-Encoding": "identity"}, accepted)
        if response.status == HTTPStatus.OK:
            return response
        response.close()
        return None

    def _page(
        self, name: NormalizedName, parse: Callable[[FetchedPage], T], etag: str
    ) -> T | NotChanged | Missing:
        headers = {"Accept": ACCEPT, "Accept-Encoding": "gzip"}
        accepted = {HTTPStatus.OK, *MISSING_STATUSES}
        if etag:
            headers["If-None-Match"] = etag
            accepted.add(HTTPStatus.NOT_MODIFIED)
        url = self.server.url.child_folder(name)
        end = self._runtime.monotonic() + PAGE_SECONDS
        with ExitStack() as stack:
            with self._requester.deadline(PAGE_SECONDS):
                response = stack.enter_context(closing(self._open(url, headers, accepted)))
                check_final_url(response.url, name)
                if response.status in MISSING_STATUSES:
                    return Missing()
                if response.status == HTTPStatus.NOT_MODIFIED:
                    return NotChanged()
                body = self._body(response, end, stack)
            page = FetchedPage(
                url=response.url,
                content_type=response.headers.get("content-type", ""),
                body=body,
                etag=_safe_etag(response.headers.get("etag", "")),
            )
            return parse(page)

    def _body(self, response: ClientResponse, end: float, stack: ExitStack) -> bytearray:
        """Return the whole body; that of a large page has a place until `stack` is closed."""
        body, has_place = bytearray(), False
        for chunk in response.decompressed():
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

    def _open(self, url: Url, headers: dict[str, str], accepted: Collection[int]) -> ClientResponse:
        if self._config.offline:
            raise FetchError("upstream.offline is set, so nothing is fetched")
        return self._requester.open(url, self._headers | headers, accepted)

    def _refuses(self, url: Url) -> str:
        if url.host.removesuffix(".") in METADATA_HOSTS:
            return "its host is that of the machine's metadata"
        return self.server.refuses(url)

    def _authorization(self, url: Url) -> str | None:
        if url.origin != self.server.url.origin:
            return None
        if self._google is not None:
            return self._google()
        return None if self.server.login is None else self.server.login.authorization


def _network(config: UpstreamConfig) -> Network:
    may_reach = PublicOr(config.allow_private_networks)
    secure = plain = AddressPolicy(is_allowed=may_reach, refusal=NO_PRIVATE_NETWORK)
    if not config.allow_insecure:
        plain = AddressPolicy(
            is_allowed=lambda address: address.is_loopback and may_reach(address), refusal=NO_TLS
        )
    return Network(
        policies={"https": secure, "http": plain},
        tls=partial(tls_context, config.ca_file),
        uses_proxies=config.trust_env,
        connect=3.0,
        idle=15.0,
        start=10.0,
        max_redirects=3,
        max_connections=96,  # for all threads that fetch pages and files
    )


def _may_pass(fault: FetchError) -> bool:
    """Return whether a page is asked for once more after a failure."""
    is_retried = fault.is_unreachable or fault.status in RETRIED_STATUSES
    return fault.is_transient and is_retried and not fault.wait


def _safe_etag(text: str) -> str:
    """Return an ETag if it can be sent back as it is, else an empty text."""
    is_fit = text.isascii() and text.isprintable() and len(text) <= MAX_ETAG_LENGTH
    return text if is_fit else ""


SCOPES: Final = ("https://www.googleapis.com/auth/cloud-platform",)


class GoogleToken:
    """The access token of this machine, fetched when it is needed; thread-safe."""

    def __init__(self) -> None:
        self._credentials: Any = None
        self._lock = Lock()

    def __call__(self) -> str:
        """Return an Authorization header; raise FetchError if there is no token."""
        try:  # 40 MB of memory, which only those need who have such an upstream
            import google.auth  # noqa: PLC0415 - ditto
            from google.auth import exceptions  # noqa: PLC0415 - ditto
            from google.auth.transport.requests import Request  # noqa: PLC0415 - ditto
        except ImportError:
            why = "google-auth, which upstream.google needs, is not installed"
            raise FetchError(why) from None
        try:
            with self._lock:
                if self._credentials is None:
                    self._credentials, _ = google.auth.default(scopes=SCOPES)
                if not self._credentials.valid:
                    self._credentials.refresh(Request())
                return f"Bearer {self._credentials.token}"
        except exceptions.TransportError:
            why = "Google gives no access token for it now"
            raise FetchError(why, is_transient=True) from None
        except (exceptions.GoogleAuthError, OSError, ValueError):
            # not chained: the text may quote a key file
            why = "this machine has no usable credentials of Google for it"
            raise FetchError(why) from None


WINDOW_SECONDS: Final = 30.0
"""Seconds of waiting for a file in which the minimum rate has to be reached."""


class FileDownload(Struct, frozen=True):
    """The response with a file, whose body is still to be read; the caller closes it."""

    size: int | None
    """Bytes of the body; None if the response does not say."""
    _label: str
    _name: NormalizedName
    _chunks: Iterator[bytes]
    _request: UpstreamRequest
    _cleanup: ExitStack

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes; raise Unavailable if they break off, or come too slowly."""
        try:
            for chunk in self._chunks:
                self._request.size += len(chunk)
                yield chunk
        except FetchError as fault:
            self._request.fail(fault)
            raise unanswered(self._label, self._name, fault) from None

    def close(self) -> None:
        """End the response, and release its connection."""
        self._cleanup.close()


class UpstreamClients:
    """The clients of the upstream indexes, in their order; safe to share between threads."""

    def __init__(self, config: UpstreamConfig, runtime: Runtime, observation: Observation) -> None:
        self.in_order = tuple(
            UpstreamClient(
                server,
                config,
                runtime,
                GoogleToken() if server.google else None,
                partial(observation.breaker, server.label),
            )
            for server in config.servers
        )
        self._is_offline = config.offline
        self._by_id = {client.server.id: client for client in self.in_order}
        self._runtime = runtime
        self._observation = observation

    def __getitem__(self, upstream: str) -> UpstreamClient:
        return self._by_id[upstream]

    def asked_for(self, name: NormalizedName) -> tuple[UpstreamClient, ...]:
        """
        Return the clients of the indexes that are asked for a name, in their order.

        They are all if the settings exclude it from each of them: then no page of it is shown, so
        only an upload asks.
        """
        accepting = tuple(each for each in self.in_order if each.server.names.accepts(name))
        return accepting or self.in_order

    def open_file(self, upstream: str, name: NormalizedName, url: str, kind: Kind) -> FileDownload:
        """
        Ask for a file of the upstream with the id `upstream`; return its answer, once it begins.

        Raises:
            NotFound: The upstream has no such file.
            Unavailable: It does not answer (code `upstream_unavailable`), or with what cannot be
                used, or nothing may be fetched from this URL (code `bad_upstream`).
        """
        client = self._by_id[upstream]
        if self._is_offline:
            raise is_offline(f"this file of {name}")
        label = client.server.label
        with ExitStack() as stack:
            request = stack.enter_context(self._observation.request(kind, name, label))
            try:
                response = client.open_file(parse_url(url))
            except (FetchError, BadUrl) as error:
                fault = error if isinstance(error, FetchError) else FetchError("its URL is none")
                if fault.is_refused:
                    self._observation.blocked(SSRF)
                request.fail(fault)
                raise unanswered(label, name, fault) from None
            if response is None:
                request.status = "404"
                raise NotFound(
                    f"The upstream index {label} lists a file of {name} that it does not have. Try "
                    "again later, or use another version."
                )
            stack.callback(response.close)
            request.status = "200"
            length = response.headers.get("content-length", "")
            chunks = at_minimum_rate(response.chunks(), self._runtime.monotonic, WINDOW_SECONDS)
            return FileDownload(
                int(length) if is_number(length) else None,
                label,
                name,
                chunks,
                request,
                stack.pop_all(),
            )

    def close(self) -> None:
        """Close every connection."""
        for client in self.in_order:
            client.close()
