"""
Requests to another index, with retries, and with its credentials.

Transient failures are retried after a pause.

The credential in the URL of the index, or given beside it, is only sent to that scheme, host and
port. Credentials in links and redirects are ignored, because a stranger has written them. A netrc
entry has a host and no port, so it is sent to https on the default port, and to the index itself.
The `default` entry of netrc is ignored, because it would be sent to any host that a page names.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from wheelyard.concurrency.runtime import Runtime
from wheelyard.http_client.address_policy import AddressPolicy, FetchError
from wheelyard.http_client.client import (
    ClientResponse,
    HttpClient,
    TransferRate,
    decompressed,
    status_error,
    with_retries,
)
from wheelyard.http_client.urls import DEFAULT_PORTS, Url, UserPassword

PAGE_LIMIT_BYTES: Final = 64 * 1024**2
"""Bytes of a decompressed page."""
PAGE_TIMEOUT_SECONDS: Final = 600.0
"""Seconds to read a whole page."""

OK, PARTIAL, NOT_FOUND, GONE = 200, 206, 404, 410
DENIED_STATUSES: Final = frozenset({401, 403, 407})


@dataclass(frozen=True, slots=True)
class SourceCredentials:
    """The credentials of an import, and the servers that they may be sent to."""

    index: Url
    """The URL of the index, as the operator gave it."""
    login: UserPassword | None = None
    """Credentials from the environment; the user name may be empty."""
    known: Mapping[str, UserPassword] = field(default_factory=dict, repr=False)
    """Netrc entries by host."""

    def header_for(self, url: Url) -> str | None:
        """
        Return the Authorization header for a request to `url`.

        None if no credential is known for its host, or it is neither the index nor https on 443.
        """
        is_index = url.origin == self.index.origin
        is_usual = url.is_secure and url.port == DEFAULT_PORTS["https"]
        known = self.known.get(url.host.strip("[]")) if is_index or is_usual else None
        login = self._completed(known) if is_index else known
        return None if login is None else login.authorization

    def _completed(self, known: UserPassword | None) -> UserPassword | None:
        """
        Return the credential for the index: from its URL, else the environment, else netrc.

        A user name without password in the URL is completed from the other two. `known` is the
        netrc entry of the host.
        """
        written = self.index.login
        if written is not None and written.password:
            return written
        if self.login is not None:
            return self.login if written is None else replace(self.login, username=written.username)
        if written is None or (known is not None and known.username == written.username):
            return known
        return written


@dataclass(frozen=True, slots=True)
class FetchedPage:
    """A page with its whole body, decompressed."""

    url: Url
    """The URL after all redirects."""
    content_type: str
    body: bytes = field(repr=False)


class IndexClient:
    """HTTP client with credentials and retries; safe to share between threads."""

    def __init__(
        self, credentials: SourceCredentials, runtime: Runtime, policy: AddressPolicy
    ) -> None:
        self._credentials = credentials
        self._runtime = runtime
        self._client = HttpClient(runtime.monotonic, policy)

    def close(self) -> None:
        """Close every connection of the client."""
        self._client.close()

    def transfer_rate(self) -> TransferRate:
        """Return a new `TransferRate`, to measure the download of one file."""
        return TransferRate(self._runtime.monotonic)

    def page(self, url: Url, accept: str) -> FetchedPage:
        """Fetch a page with retries, and return it; raise FetchError if that fails."""
        headers = {"Accept": accept, "Accept-Encoding": "gzip"}
        return with_retries(lambda: self._page(url, headers), self._runtime)

    def open(self, url: Url, headers: Mapping[str, str], method: str = "GET") -> ClientResponse:
        """
        Send a request with retries, and return the open response once its headers are there.

        Raise FetchError unless its status is 200, or 206 for a Range request.
        """
        return with_retries(lambda: self._send(url, headers, method), self._runtime)

    def _send(self, url: Url, headers: Mapping[str, str], method: str = "GET") -> ClientResponse:
        sent = {"User-Agent": "wheelyard", **headers}
        response = self._client.follow_redirects(method, url, sent, self._credentials.header_for)
        if response.status == OK or (response.status == PARTIAL and "Range" in headers):
            return response
        response.close()
        raise status_error(response)

    def _page(self, url: Url, headers: Mapping[str, str]) -> FetchedPage:
        end = self._runtime.monotonic() + PAGE_TIMEOUT_SECONDS
        response = self._send(url, headers)
        found = bytearray()
        try:
            for chunk in decompressed(response):
                found += chunk
                if len(found) > PAGE_LIMIT_BYTES:
                    raise FetchError(f"the page is larger than {PAGE_LIMIT_BYTES >> 20} MiB")
                if self._runtime.monotonic() > end:
                    raise FetchError("the page comes too slowly")
        finally:
            response.close()
        return FetchedPage(response.url, response.headers.get("content-type", ""), bytes(found))
