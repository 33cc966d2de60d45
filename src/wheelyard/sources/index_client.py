"""
Requests of an import to another index, with retries, and with the credentials of that index.

Transient failures are retried after a pause.

The credential in the URL of the index, or given beside it, is only sent to that scheme, host and
port. Credentials in links and redirects are ignored, because a stranger has written them. A netrc
entry has a host and no port, so it is sent to https on the default port, and to the index itself.
The `default` entry of netrc is ignored, because it would be sent to any host that a page names.
"""

from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from http import HTTPStatus
from itertools import count
from typing import Final

from wheelyard.concurrency.runtime import Runtime
from wheelyard.http_client.client import (
    MIN_BYTES_PER_SECOND,
    ClientResponse,
    Network,
    Requester,
    RequestRules,
    Retries,
    at_minimum_rate,
)
from wheelyard.http_client.hosts import AddressPolicy, FetchError
from wheelyard.http_client.urls import DEFAULT_PORTS, Url, UserPassword
from wheelyard.sources.candidate import Candidate, parse_http_date, unavailable, unreadable
from wheelyard.sources.simple_page import ACCEPT, FetchedPage

PAGE_LIMIT_BYTES: Final = 64 * 1024**2
"""Bytes of a decompressed page."""
PAGE_TIMEOUT_SECONDS: Final = 600.0
"""Seconds to read a whole page, with all attempts."""
MAX_SLOW_RESUMES: Final = 4
"""Resumes in a row that may end with less than the minimum rate, or without a new byte."""
MAX_RESUMES: Final = 50
"""Resumes of one file."""
IDENTITY_ENCODING: Final = {"Accept-Encoding": "identity"}
"""Asks for a file without the coding that a server may add, as its digest is of its own bytes."""


@dataclass(frozen=True, slots=True)
class SourceCredentials(RequestRules):
    """The credentials of an import, and the servers that they may be sent to."""

    index: Url
    """The URL of the index, as the operator gave it."""
    login: UserPassword | None = None
    """Credentials from the environment. The user name may be empty."""
    netrc: Mapping[str, UserPassword] = field(default_factory=dict, repr=False)
    """Netrc entries by host."""

    def authorization(self, url: Url) -> str | None:
        """
        Return the Authorization header for a request to `url`.

        Return None if there is no credential for the host of `url`, or if `url` is neither at the
        index nor by https on port 443.
        """
        is_index = url.origin == self.index.origin
        # an entry of netrc has no port, so it is for https on the default port
        is_default_https = url.is_secure and url.port == DEFAULT_PORTS["https"]
        may_use_netrc = is_index or is_default_https
        login: UserPassword | None = None
        if may_use_netrc:
            login = self.netrc.get(url.host.strip("[]"))
        if is_index:
            login = self._login_for_index(login)
        if login is None:
            return None
        return login.authorization

    def _login_for_index(self, netrc_login: UserPassword | None) -> UserPassword | None:
        """
        Return the credential for the index: from its URL, else the environment, else netrc.

        A user name without password in the URL is completed from the environment or netrc.
        `netrc_login` is the netrc entry of the host.
        """
        in_url = self.index.login
        if in_url is not None and in_url.password:
            return in_url
        if self.login is not None:
            if in_url is None:
                return self.login
            return replace(self.login, username=in_url.username)
        if in_url is None:
            return netrc_login
        # the password of another user does not belong to this one
        if netrc_login is not None and netrc_login.username == in_url.username:
            return netrc_login
        return in_url


class IndexClient:
    """The HTTP client of an import, with credentials and retries. Threads may share it."""

    def __init__(
        self, credentials: SourceCredentials, runtime: Runtime, policy: AddressPolicy
    ) -> None:
        self.runtime = runtime
        self._retries = Retries(runtime)
        network = Network(policies=dict.fromkeys(DEFAULT_PORTS, policy))
        self._requester = Requester(runtime, network, credentials)

    def close(self) -> None:
        """Close every connection of the client."""
        self._requester.close()

    def page(self, url: Url) -> FetchedPage:
        """
        Fetch a page with retries, and return it.

        Raises FetchError if the page cannot be fetched.
        """
        with self._requester.deadline(PAGE_TIMEOUT_SECONDS):
            return self._retries.run(self._page, url)

    def open(self, url: Url, headers: Mapping[str, str]) -> ClientResponse:
        """
        Send a request with retries, and return the open response once its headers are there.

        Raises FetchError if there is no response, or its status is not 200, or 206 for a Range
        request.
        """
        return self._retries.run(self._open, url, headers)

    def _page(self, url: Url) -> FetchedPage:
        """Fetch a page, without retries."""
        headers = {"Accept": ACCEPT, "Accept-Encoding": "gzip"}
        with closing(self._open(url, headers)) as response:
            kind = response.headers.get("content-type", "")
            return FetchedPage(response.url, kind, response.body(PAGE_LIMIT_BYTES))

    def _open(self, url: Url, headers: Mapping[str, str]) -> ClientResponse:
        """Send a request without retries, and return the open response."""
        accepted = {HTTPStatus.OK}
        if "Range" in headers:
            accepted.add(HTTPStatus.PARTIAL_CONTENT)
        all_headers = {"User-Agent": "wheelyard", **headers}
        return self._requester.open(url, all_headers, accepted)


@dataclass(slots=True)
class ResumableDownload:
    """
    The download of one file at a URL.

    `open` may be called again, and then begins anew.
    """

    client: IndexClient
    url: Url
    _last_modified_header: str = field(default="", init=False)
    """The header of the latest response, empty if that had none, or before any response."""

    def candidate(self, filename: str) -> Candidate:
        """Return an import candidate named `filename` for the file, without a request."""
        return Candidate(
            filename=filename,
            location=self.url.redacted,
            read=self.open,
            last_modified=self.last_modified,
        )

    @contextmanager
    def open(self) -> Iterator[Iterator[bytes]]:
        """
        Request the file, and yield, for a `with` block, an iterator over its chunks.

        If the connection breaks off, the rest of the file is requested. Raises OSError if the file
        cannot be requested or read. Raises Unavailable (code `source_unavailable`) if the server is
        unreachable.
        """
        with _translated_errors(self.url):
            response = self.client.open(self.url, IDENTITY_ENCODING)
        self._last_modified_header = response.headers.get("last-modified", "")
        chunks = self._chunks(response)
        try:
            yield chunks
        finally:
            response.close()
            chunks.close()

    def last_modified(self) -> datetime | None:
        """Return the Last-Modified date of the latest response, or None if it is unknown."""
        return parse_http_date(self._last_modified_header)

    def _chunks(self, response: ClientResponse) -> Generator[bytes]:
        """Yield the bytes of the file, received over one connection or several in turn."""
        monotonic = self.client.runtime.monotonic
        position = 0
        slow_in_a_row = 0  # connections that gave less than the minimum rate
        with _translated_errors(self.url):
            for resumes in count():
                began_at = monotonic()
                first_position = position
                with closing(response):
                    try:
                        for chunk in at_minimum_rate(response.chunks(), monotonic):
                            position += len(chunk)
                            yield chunk
                    except FetchError as fault:
                        minimum_bytes = MIN_BYTES_PER_SECOND * (monotonic() - began_at)
                        if position - first_position <= minimum_bytes:
                            slow_in_a_row += 1
                        else:
                            slow_in_a_row = 0
                        is_over = slow_in_a_row > MAX_SLOW_RESUMES or resumes == MAX_RESUMES
                        # without a validator, the rest could be of another file
                        if is_over or not fault.is_transient or not _validator(response):
                            raise
                    else:
                        return
                response = self._resume(position, _validator(response))

    def _resume(self, position: int, validator: str) -> ClientResponse:
        """
        Request the file from a position on, and return the open response.

        Raises FetchError if the server does not go on from there.
        """
        range_headers = {"Range": f"bytes={position}-", "If-Range": validator}
        response = self.client.open(self.url, IDENTITY_ENCODING | range_headers)
        content_range = response.headers.get("content-range", "")
        is_continued = content_range.startswith(f"bytes {position}-")
        # 200: the file has changed, and the bytes so far are of the earlier one (RFC 9110, 13.1.5)
        if response.status == HTTPStatus.OK or not is_continued:
            response.close()
            raise FetchError("the connection broke off, and the server does not go on from there")
        return response


def _validator(response: ClientResponse) -> str:
    """Return the value for If-Range: a strong ETag, else the date, else an empty text."""
    etag = response.headers.get("etag", "")
    if etag.startswith('"'):  # a weak ETag, `W/"..."`, does not say that the bytes are the same
        return etag
    return response.headers.get("last-modified", "")


@contextmanager
def _translated_errors(url: Url) -> Iterator[None]:
    """Raise the errors of requests as OSError, or as Unavailable if the server is unreachable."""
    try:
        yield
    except FetchError as fault:
        if fault.is_unreachable:
            why = f"{url.host} does not answer: {fault.why}. Try again later."
            raise unavailable(why) from fault
        raise unreadable(fault.why) from fault
