"""
Requests to upstream indexes: for pages, and for the files that the pages name.

Nothing of a client's request is sent. The credential of an index goes to its scheme, host and port
alone. Every URL, of each redirect too, is compared with what the operator allows, and so is every
address. Pages are received whole, within limits of size and time.
"""

from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from copy import copy
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from importlib.metadata import version
from threading import BoundedSemaphore
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import NotFound
from wheelyard.http_client.client import (
    GATEWAY_STATUSES,
    ClientResponse,
    Network,
    Requester,
    RequestRules,
    Retries,
    at_minimum_rate,
    is_number,
    tls_context,
)
from wheelyard.http_client.hosts import AddressPolicy, FetchError, PublicOr
from wheelyard.http_client.urls import BadUrl, Url, parse_url
from wheelyard.sources.simple_page import ACCEPT, FetchedPage
from wheelyard.upstream.answering_hosts import AnsweringHosts
from wheelyard.upstream.google_token import GoogleToken
from wheelyard.upstream.index_slots import IndexSlots
from wheelyard.upstream.observation import SSRF, Kind, Observation, UpstreamRequest
from wheelyard.upstream.parsing import ROOT_LIMIT_BYTES, RootPage, check_final_url, why_no_index
from wheelyard.upstream.refusal_reason import REASON_BYTES, reason_in
from wheelyard.upstream.settings import (
    UpstreamConfig,
    UpstreamServer,
    offline_error,
    unanswered_error,
)

PAGE_LIMIT_BYTES: Final = 64 * 1024**2
"""Bytes of a decompressed page."""
LARGE_PAGE_BYTES: Final = 2 * 1024**2
"""Bytes of a large page. Only `MAX_LARGE_PAGES` of an index are in memory at a time."""
MAX_LARGE_PAGES: Final = 2
MAX_ETAG_LENGTH: Final = 256
"""Characters of an ETag that is stored, and sent back in each request."""
MISSING_STATUSES: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
NO_PRIVATE_NETWORK: Final = (
    "its host {host} has the private address {address}, whose network has to be in "
    "upstream.allow_private_networks, or in WHEELYARD_UPSTREAM_ALLOW_PRIVATE_NETWORKS"
)
NO_TLS: Final = (
    "its URL at {host} is http, which needs upstream.allow_insecure, or a host that is this machine"
)
REFUSAL_STATUSES: Final = frozenset(
    {HTTPStatus.FORBIDDEN, HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS}
)
COMMON_PROJECT: Final = NormalizedName("pip")
"""A project that nearly every index has, and whose page is small."""
METADATA_HOSTS: Final = frozenset({"metadata.google.internal", "metadata"})
"""Names by which a machine of Google reaches its own credentials."""


class NotChanged(Struct, frozen=True):
    """The answer that the page still has the ETag that was sent."""


class Missing(Struct, frozen=True):
    """The answer that the index has no such project."""


class UpstreamClient:
    """Sends requests to one upstream index. Threads may share it."""

    def __init__(
        self,
        server: UpstreamServer,
        config: UpstreamConfig,
        runtime: Runtime,
        google: GoogleToken | None = None,
        observation: Observation | None = None,
    ) -> None:
        self._config = config
        self._runtime = runtime
        self._retries = Retries(runtime, 2, _is_worth_a_retry)
        user_agent = f"wheelyard/{version('wheelyard')}"  # takes a millisecond
        if config.contact:
            user_agent += f" (+{config.contact})"
        # by `Via`, an index notices that it is its own upstream index (RFC 9110, section 7.6.3)
        self._headers = {"User-Agent": user_agent, "Via": f"1.1 {config.via}"}
        self._rules = _UpstreamRules(server, google, observation)
        self._network = _network(config, server.timeout)
        self._requester = Requester(runtime, self._network, self._rules)
        self._large_pages = BoundedSemaphore(MAX_LARGE_PAGES)
        self.slots = IndexSlots(runtime.monotonic, server.timeout)
        self._answering = AnsweringHosts(runtime.monotonic)

    @property
    def server(self) -> UpstreamServer:
        """The settings of the index, with the hosts of its files once they are known."""
        return self._rules.server

    def set_file_hosts(self, hosts: Iterable[str]) -> None:
        """Set the hosts of files, which stay for as long as the process runs."""
        self._rules.server = replace(self.server, file_hosts=tuple(hosts))

    def may_ask_for(self, name: NormalizedName) -> bool:
        """Return whether the index may be asked for a name, by the settings."""
        return self.server.names.accepts(name) and not self._config.private.match(name)

    def require_no_pause(self) -> None:
        """Raise FetchError if the index is left alone now, and send nothing."""
        self._requester.require_no_pause(self.server.url)

    def require_address(self, url: Url) -> None:
        """
        Raise FetchError if the host of a URL has no address that may be connected to.

        A host whose name cannot be resolved now passes. Proxies check addresses themselves.
        """
        if not self._config.trust_env:
            # UnicodeError: the codec for international names raises it for a malformed name
            with suppress(OSError, UnicodeError):
                self._network.policies[url.scheme].addresses_of(url.host, url.port)

    def close(self) -> None:
        """Close every connection."""
        self._requester.close()

    @contextmanager
    def page(
        self, name: NormalizedName, etag: str = "", *, has_slot: bool = False
    ) -> Iterator[FetchedPage | NotChanged | Missing]:
        """
        Ask for the page of a project, which is to be parsed within the block.

        `etag` is that of the last page, or empty. With `has_slot`, the request takes one of the
        `slots`. Raises FetchError if no slot is free, or the index does not answer in time, refuses
        the page, or answers with another status, with too many bytes, or from the URL of another
        project.
        """
        slot = self.slots.hold() if has_slot else nullcontext()
        with slot:
            answer, memory_place = self._retries.run(self._request_page, name, etag)
        # parsing needs no slot, as it does not wait for the index, but the place in memory
        with memory_place:
            yield answer

    def root(self) -> RootPage:
        """
        Request the URL of the index, and return the start of the answer, whatever its content is.

        The caller looks whether the content is a list of projects. Raises FetchError if the index
        does not answer in time with the status 200, if its address is refused, or if
        `upstream.offline` is set.
        """
        # not compressed: the list may have tens of megabytes, and is cut after its start
        headers = {"Accept": ACCEPT, "Accept-Encoding": "identity"}
        limit = self._requester.deadline(self.server.patience)
        with limit, closing(self._open(self.server.url, headers, {HTTPStatus.OK})) as response:
            body = response.body(ROOT_LIMIT_BYTES + 1, is_cut=True)
            return RootPage(
                requested_url=self.server.url,
                url=response.url,
                content_type=response.headers.get("content-type", ""),
                body=bytes(body[:ROOT_LIMIT_BYTES]),
                is_cut=len(body) > ROOT_LIMIT_BYTES,
            )

    def open_file(self, url: Url) -> ClientResponse | None:
        """
        Request a file at a URL that a page has named, and return the open response.

        Return None if no file is there. The caller closes the response. Its body is the bytes of
        the file as they are: of an sdist, some servers say that its own compression is the coding
        of the response. Raises FetchError if the host does not answer in time, refuses the file, or
        answers with another status.
        """
        accepted = MISSING_STATUSES | {HTTPStatus.OK}
        response = self._open_if_allowed(url, {"Accept-Encoding": "identity"}, accepted)
        if response.status != HTTPStatus.OK:
            response.close()
            return None
        # a recorded page of the index stays: to ask for it again costs less than for a file
        is_recorded = self._answering.last_answered_url(response.url) is not None
        if not (is_recorded and self.server.is_own(response.url)):
            self._answering.record(response.url, url)
        return response

    def _request_page(
        self, name: NormalizedName, etag: str
    ) -> tuple[FetchedPage | NotChanged | Missing, ExitStack]:
        """
        Send one request for a page, and return the answer with its place in memory.

        The caller closes the place. Raises FetchError if there is no answer that can be used.
        """
        headers = {"Accept": ACCEPT, "Accept-Encoding": "gzip"}
        accepted = set(MISSING_STATUSES)
        accepted.add(HTTPStatus.OK)
        if etag:
            headers["If-None-Match"] = etag
            accepted.add(HTTPStatus.NOT_MODIFIED)
        url = self.server.url.child_folder(name)
        with ExitStack() as stack:
            response = stack.enter_context(closing(self._open_if_allowed(url, headers, accepted)))
            # also before a 404 counts: a redirect may have led to the page of another project
            check_final_url(response.url, name)
            if response.status in MISSING_STATUSES:
                return Missing(), ExitStack()
            self._answering.record(response.url, url)
            if response.status == HTTPStatus.NOT_MODIFIED:
                return NotChanged(), ExitStack()
            # a stranger's bytes: received within limits here, and parsed by the caller
            body = self._receive_body(response, stack)
            page = FetchedPage(
                url=response.url,
                content_type=response.headers.get("content-type", ""),
                body=body,
                etag=_safe_etag(response.headers.get("etag", "")),
            )
            return page, stack.pop_all()

    def _receive_body(self, response: ClientResponse, stack: ExitStack) -> bytearray:
        """
        Return the whole body of a response, decompressed.

        A large page has a place in memory until `stack` is closed. Raises FetchError if the body is
        too large, or too slow, or no place is free in time.
        """
        body = bytearray()
        has_place = False
        # counted after decompression: a small body may become a huge one
        chunks = response.decompressed()
        for chunk in at_minimum_rate(chunks, self._runtime.monotonic, self.server.patience):
            body += chunk
            if len(body) > LARGE_PAGE_BYTES and not has_place:
                has_place = self._large_pages.acquire(timeout=self.server.timeout)
                if not has_place:
                    raise FetchError("other large pages come first", is_transient=True)
                stack.callback(self._large_pages.release)
            if len(body) > PAGE_LIMIT_BYTES:
                raise FetchError(f"its page is larger than {PAGE_LIMIT_BYTES >> 20} MiB")
        return body

    def _open_if_allowed(
        self, url: Url, headers: dict[str, str], accepted: Collection[int]
    ) -> ClientResponse:
        """
        Return the open response of a URL.

        Raises FetchError if there is no answer, or its status is not accepted. If the host refuses
        the URL, the error has the reason, and it `is_denied` if the host answers other URLs.
        """
        all_accepted = REFUSAL_STATUSES.union(accepted)
        response = self._open(url, headers, all_accepted)
        if response.status not in REFUSAL_STATUSES:
            return response
        fault = self._requester.status_error(response)
        limit = self._requester.deadline(self.server.timeout)
        # the reason is for people: the refusal counts without it, too
        with closing(response), suppress(FetchError), limit:
            body = response.body(REASON_BYTES, is_cut=True)
            reason = reason_in(self._without_password(body))
            if reason:
                fault.why += f', and says "{reason}"'
        fault.is_denied = self._answers_others(response.url, url)
        raise fault

    def _without_password(self, body: bytearray) -> bytes:
        """Return an answer without the password, which the index may have repeated."""
        login = self.server.login
        if login is None:
            return bytes(body)
        # as it is, and as the header has it: with the user, in base64
        encoded_login = login.authorization.split()[-1]
        for secret in (login.password, encoded_login):
            if secret:
                body = body.replace(secret.encode(), b"***")
        return bytes(body)

    def _answers_others(self, refused_url: Url, request_url: Url) -> bool:
        """
        Return whether the host of a URL that was refused answers other requests now.

        `request_url` is the URL that led there. If the host answers nothing, our credentials may be
        wrong, or it is out of order. A request or two may be sent.
        """
        is_answering = self._answering.is_answering(refused_url, request_url)
        if is_answering is not None:
            return is_answering
        for url, name in self._urls_to_try(refused_url, request_url):
            if self._answers(url, name):
                return True
        # remembered, so that a host which refuses everything is not asked twice for each request
        self._answering.record_refusal(refused_url)
        return False

    def _urls_to_try(
        self, refused_url: Url, request_url: Url
    ) -> Iterator[tuple[Url, NormalizedName | None]]:
        """Yield URLs that may show that a host answers, and for a page the project."""
        last_answered_url = self._answering.last_answered_url(refused_url)
        if last_answered_url is not None and last_answered_url != request_url:
            yield last_answered_url, None
        if refused_url.origin == self.server.url.origin:
            page_url = self.server.url.child_folder(COMMON_PROJECT)
            if page_url != request_url and self.may_ask_for(COMMON_PROJECT):
                yield page_url, COMMON_PROJECT
            yield self.server.url, None

    def _answers(self, url: Url, name: NormalizedName | None) -> bool:
        """Return whether a URL is answered. `name` is the project if it is the URL of a page."""
        try:
            if url == self.server.url:
                return not why_no_index(self.root())
            headers = {"Accept": ACCEPT, "Accept-Encoding": "identity"}
            with closing(self._open(url, headers, {HTTPStatus.OK})) as response:
                if name is not None:
                    check_final_url(response.url, name)
                self._answering.record(response.url, url)
                return True
        except FetchError:
            return False

    def _open(self, url: Url, headers: dict[str, str], accepted: Collection[int]) -> ClientResponse:
        """
        Send a request, and return the open response.

        Raises FetchError if there is no answer, or its status is not accepted.
        """
        # before the host is looked up: the name of a host is a message to the network, too
        if self._config.offline:
            raise FetchError("upstream.offline is set, so nothing is fetched")
        with self._requester.deadline(self.server.timeout):  # of all redirects together
            return self._requester.open(url, self._headers | headers, accepted)


class _UpstreamRules(RequestRules):
    """The rules of the operator for one upstream index."""

    has_circuits = True

    def __init__(
        self,
        server: UpstreamServer,
        google: GoogleToken | None,
        observation: Observation | None,
    ) -> None:
        self.server = server
        self._google = google
        self._observation = observation

    def authorization(self, url: Url) -> str | None:
        """
        Return the header for a URL of the index itself, else None.

        Raises FetchError if Google gives no access token.
        """
        # asked for each redirect too, so that no other host gets the credential
        if url.origin != self.server.url.origin:
            return None
        if self._google is not None:
            return self._google.authorization()
        if self.server.login is not None:
            return self.server.login.authorization
        return None

    def refusal(self, url: Url) -> str:
        """Return why nothing may be fetched from a URL, or an empty text."""
        # a stranger's page must not have us read the machine's own credentials
        if url.host.removesuffix(".") in METADATA_HOSTS:
            return "its host is that of the machine's metadata"
        return self.server.refusal(url)

    def circuit_changed(self, *, is_open: bool) -> None:
        """Count and log that requests to the index are stopped, or allowed again."""
        if self._observation is not None:
            self._observation.breaker(self.server.label, is_open=is_open)


def _network(config: UpstreamConfig, timeout: float) -> Network:
    """Return how connections are made: to which addresses, by which TLS, within which times."""
    networks = config.allow_private_networks
    secure = AddressPolicy(is_allowed=PublicOr(networks), refusal=NO_PRIVATE_NETWORK)
    plain = secure
    if not config.allow_insecure:
        # without TLS, a request must not leave this machine
        loopback = PublicOr(networks, only_loopback=True)
        plain = AddressPolicy(is_allowed=loopback, refusal=NO_TLS)
    return Network(
        policies={"https": secure, "http": plain},
        tls=partial(tls_context, config.ca_file),
        uses_proxies=config.trust_env,
        connect=3.0,
        idle=timeout,
        start=timeout,
        max_redirects=3,
        max_connections=192,  # for all threads that fetch pages and files
    )


def _is_worth_a_retry(fault: FetchError) -> bool:
    """Return whether a page is asked for once more after a failure."""
    is_broken_connection = fault.is_unreachable or fault.status in GATEWAY_STATUSES
    return fault.is_transient and is_broken_connection and not fault.wait


def _safe_etag(text: str) -> str:
    """Return an ETag that can be sent back as it is, or an empty text."""
    # a line break in it would begin another header of our next request
    is_safe = text.isascii() and text.isprintable() and len(text) <= MAX_ETAG_LENGTH
    return text if is_safe else ""


class FileDownload(Struct, frozen=True):
    """The open response with a file, whose body is still to be read. The caller closes it."""

    size: int | None
    """Bytes of the body, or None if the response does not say."""
    _label: str
    _name: NormalizedName
    _chunks: Iterator[bytes]
    _request: UpstreamRequest
    _cleanup: ExitStack

    def chunks(self) -> Iterator[bytes]:
        """
        Yield the bytes of the file.

        Raises Unavailable (a code of `UPSTREAM_CODES`) if the bytes break off, or are too slow.
        """
        try:
            for chunk in self._chunks:
                self._request.size += len(chunk)
                yield chunk
        except FetchError as fault:
            self._request.fail(fault)
            raise unanswered_error(self._label, self._name, fault) from None

    def close(self) -> None:
        """End the response, and release its connection."""
        self._cleanup.close()


class UpstreamClients:
    """
    The clients of upstream indexes, in the order of the indexes. Threads may share this.

    Raises Invalid (code `bad_setting`) if an index needs a token of Google's, and the library for
    it is not installed.
    """

    def __init__(self, config: UpstreamConfig, runtime: Runtime, observation: Observation) -> None:
        clients = list[UpstreamClient]()
        for server in config.servers:
            google = GoogleToken() if server.google else None
            clients.append(UpstreamClient(server, config, runtime, google, observation))
        self.in_order = tuple(clients)
        self._is_offline = config.offline
        self._by_id = {client.server.id: client for client in self.in_order}
        self._runtime = runtime
        self._observation = observation

    def of_labels(self, labels: Iterable[str]) -> "UpstreamClients":
        """
        Return the clients of the indexes with these labels, in this order.

        Raises KeyError for a label that no index has.
        """
        by_label = {client.server.label: client for client in self.in_order}
        clients = copy(self)
        clients.in_order = tuple(by_label[label] for label in labels)
        return clients

    def __getitem__(self, upstream: str) -> UpstreamClient:
        return self._by_id[upstream]

    def asked_for(self, name: NormalizedName) -> tuple[UpstreamClient, ...]:
        """
        Return the clients of the indexes that are asked for a name, in their order.

        If the settings exclude the name from every index, they are all: no page of such a name is
        shown, so only an upload asks for it.
        """
        accepting = tuple(client for client in self.in_order if client.server.names.accepts(name))
        return accepting or self.in_order

    def require_no_pause(self, name: NormalizedName) -> None:
        """
        Raise an error if an index that would be asked for a name is left alone now.

        The error is Unavailable (a code of `UPSTREAM_CODES`). No index is asked.
        """
        for client in self.asked_for(name):
            try:
                client.require_no_pause()
            except FetchError as fault:
                raise unanswered_error(client.server.label, name, fault) from None

    def open_file(self, upstream: str, name: NormalizedName, url: str, kind: Kind) -> FileDownload:
        """
        Ask an upstream index for a file of a project, and return its answer, once it begins.

        `upstream` is the id of the index. Raises NotFound if the index has no such file. Raises
        Unavailable (code `upstream_unavailable`) if the index does not answer, or the settings
        forbid connections. Raises Unavailable (code `upstream_refused`) if the index refuses this
        file, and answers other requests. Raises Unavailable (code `bad_upstream`) if the answer
        cannot be used, or nothing may be fetched from this URL.
        """
        client = self._by_id[upstream]
        if self._is_offline:
            raise offline_error(f"this file of {name}")
        label = client.server.label
        with ExitStack() as stack:
            request = stack.enter_context(self._observation.request(kind, name, label))
            try:
                response = client.open_file(parse_url(url))
            except (FetchError, BadUrl) as error:
                fault = FetchError("its URL is none")
                if isinstance(error, FetchError):
                    fault = error
                if fault.is_refused:
                    self._observation.blocked(SSRF)
                request.fail(fault)
                raise unanswered_error(label, name, fault) from None
            if response is None:
                request.status = "404"
                raise NotFound(
                    f"The upstream index {label} lists a file of {name} that it does not have. Try "
                    "again later, or use another version."
                )
            stack.callback(response.close)
            request.status = "200"
            stated_length = response.headers.get("content-length", "")
            size = int(stated_length) if is_number(stated_length) else None
            patience = client.server.patience
            chunks = at_minimum_rate(response.chunks(), self._runtime.monotonic, patience)
            # `close` of the download ends the response, and the observation of the request
            return FileDownload(size, label, name, chunks, request, stack.pop_all())

    def limit_threads(self, number: int) -> None:
        """Let at most `number` threads wait for the pages of one index at a time."""
        for client in self.in_order:
            client.slots.limit(number)

    def close(self) -> None:
        """Close every connection."""
        for client in self.in_order:
            client.close()
