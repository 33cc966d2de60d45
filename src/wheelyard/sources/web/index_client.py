"""
Requests to an index, with patience, and with the credentials that are for it.

What fails in passing is asked again, after a pause.

What stands in the URL of the index, or was handed over beside it, is for that scheme, host and port
alone. What stands in a link or a redirect is for nobody: a stranger has written it. An entry of the
netrc file names a host and no port, so it is for https on the usual port there, and for the index
itself. Its `default` is not used, because it would go to whatever host a page or a redirect names.
"""

import zlib
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import Final, TypeVar

from wheelyard.concurrency.runtime import Runtime, backoff_pauses
from wheelyard.http_client.address_policy import AddressPolicy, FetchError
from wheelyard.http_client.client import ClientResponse, HttpClient, TransferRate
from wheelyard.http_client.urls import DEFAULT_PORTS, Url, UserPassword

MAX_ATTEMPTS: Final = 5
FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.5, 8.0
MAX_RETRY_AFTER_SECONDS: Final = 60.0
"""Seconds that a server is left alone for at most, however long it asks for."""
PAGE_LIMIT_BYTES: Final = 64 * 1024**2
"""Bytes of a page, unpacked."""
PAGE_TIMEOUT_SECONDS: Final = 600.0
"""Seconds that a page may take."""
DECOMPRESS_CHUNK_BYTES: Final = 1024**2
"""Bytes that are unpacked at a time."""

OK, PARTIAL, NOT_FOUND, GONE = 200, 206, 404, 410
DENIED_STATUSES: Final = frozenset({401, 403, 407})
TRANSIENT_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that may be another one a moment later."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SourceCredentials:
    """Everything that may be shown to servers."""

    index: Url
    """The URL that the operator has named."""
    login: UserPassword | None = None
    """What the operator has given beside it; only a password is enough."""
    known: Mapping[str, UserPassword] = field(default_factory=dict, repr=False)
    """By host, what the netrc file has."""

    def header_for(self, url: Url) -> str | None:
        """Return what the Authorization header of a request to `url` says."""
        is_index = url.origin == self.index.origin
        is_usual = url.is_secure and url.port == DEFAULT_PORTS["https"]
        known = self.known.get(url.host.strip("[]")) if is_index or is_usual else None
        login = self._completed(known) if is_index else known
        if login is None:
            return None
        pair = f"{login.username}:{login.password}".encode()
        return f"Basic {b64encode(pair).decode()}"

    def _completed(self, known: UserPassword | None) -> UserPassword | None:
        """Return what the index's URL says of a credential, with a password found elsewhere."""
        written = self.index.login
        if written is not None and written.password:
            return written
        if self.login is not None:
            return self.login if written is None else replace(self.login, username=written.username)
        if written is None or (known is not None and known.username == written.username):
            return known
        return written


def read_netrc(path: Path) -> dict[str, UserPassword]:
    """Return what a netrc file has for each host; nothing if there is no such file, as for pip."""
    try:
        hosts = netrc(str(path)).hosts
    except (OSError, NetrcParseError, UnicodeError):
        return {}
    return {
        host.lower(): UserPassword(entry[0], entry[2] or "")
        for host, entry in hosts.items()
        if host != "default"
    }


@dataclass(frozen=True, slots=True)
class FetchedPage:
    """A whole body."""

    url: Url
    """Where it came from, in the end."""
    content_type: str
    body: bytes = field(repr=False)


class IndexClient:
    """Asks servers by the credentials for them, with patience; safe to share between threads."""

    def __init__(
        self, credentials: SourceCredentials, runtime: Runtime, policy: AddressPolicy
    ) -> None:
        self._credentials = credentials
        self._runtime = runtime
        self._client = HttpClient(runtime.monotonic, policy)

    def close(self) -> None:
        """Close every connection."""
        self._client.close()

    def transfer_rate(self) -> TransferRate:
        """Return the pace of a file that has not begun yet."""
        return TransferRate(self._runtime.monotonic)

    def page(self, url: Url, accept: str) -> FetchedPage:
        """Return a page; raise FetchError if it cannot be had."""
        headers = {"Accept": accept, "Accept-Encoding": "gzip"}
        return self._patiently(lambda: self._page(url, headers))

    def open(self, url: Url, headers: Mapping[str, str], method: str = "GET") -> ClientResponse:
        """Return an answer as soon as it begins; raise FetchError if there is none."""
        return self._patiently(lambda: self._send(url, headers, method))

    def _patiently(self, call: Callable[[], T]) -> T:
        waits = backoff_pauses(
            self._runtime.random, FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS, at_least=0.5
        )
        waits = islice(waits, MAX_ATTEMPTS - 1)
        while True:
            try:
                return call()
            except FetchError as fault:
                drawn = next(waits, None)
                if drawn is None or not fault.is_transient:
                    raise
                self._runtime.pause(max(min(fault.wait, MAX_RETRY_AFTER_SECONDS), drawn))

    def _send(self, url: Url, headers: Mapping[str, str], method: str = "GET") -> ClientResponse:
        sent = {"User-Agent": "wheelyard", **headers}
        answer = self._client.follow_redirects(method, url, sent, self._credentials.header_for)
        if answer.status == OK or (answer.status == PARTIAL and "Range" in headers):
            return answer
        answer.close()
        raise _refused(answer)

    def _page(self, url: Url, headers: Mapping[str, str]) -> FetchedPage:
        end = self._runtime.monotonic() + PAGE_TIMEOUT_SECONDS
        answer = self._send(url, headers)
        found = bytearray()
        try:
            for chunk in _unpacked(answer):
                found += chunk
                if len(found) > PAGE_LIMIT_BYTES:
                    raise FetchError(f"the page is larger than {PAGE_LIMIT_BYTES >> 20} MiB")
                if self._runtime.monotonic() > end:
                    raise FetchError("the page comes too slowly")
        finally:
            answer.close()
        return FetchedPage(answer.url, answer.headers.get("content-type", ""), bytes(found))


def _refused(answer: ClientResponse) -> FetchError:
    text = answer.headers.get("retry-after", "")
    wait = float(text) if text.isascii() and text.isdigit() and text else 0.0
    return FetchError(
        f"it answers with status {answer.status}",
        status=answer.status,
        is_transient=answer.status in TRANSIENT_STATUSES,
        wait=wait,
    )


def _unpacked(answer: ClientResponse) -> Iterator[bytes]:
    coding = answer.headers.get("content-encoding", "identity").strip().lower()
    if coding == "identity":
        yield from answer.chunks()
        return
    if coding not in ("gzip", "x-gzip"):
        raise FetchError("its answer is packed in a way that nobody asked for")
    unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        for chunk in answer.chunks():
            rest = chunk
            while rest:
                yield unpacker.decompress(rest, DECOMPRESS_CHUNK_BYTES)
                rest = unpacker.unconsumed_tail
    except zlib.error as error:
        raise FetchError("its answer is damaged", is_transient=True) from error
    if not unpacker.eof:
        raise FetchError("its answer is cut off", is_transient=True)
