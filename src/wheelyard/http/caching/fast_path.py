"""
The fast path: answers a request that is identical to an earlier one, without the event loop.

`App` answers a request on the ordinary path, and gives the response to `remember`. An identical
request of the same caller gets that response again as long as its `Response.repeat` returns it. So
the fast path has no rules of its own: it only knows which parts of a request an answer may depend
on. A caller counts as the same if its credential was verified within the last second. Several
threads may use it.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

from msgspec import Struct

from wheelyard.concurrency.caches import LruCache
from wheelyard.errors import WheelyardError
from wheelyard.http.protocol.client_address import client_address
from wheelyard.http.protocol.messages import AsgiScope, Header, Response
from wheelyard.http.protocol.request_headers import HEADERS_LIMIT_BYTES, join_headers, size_of
from wheelyard.http.security.host_policy import HostPolicy
from wheelyard.http.security.request_authentication import (
    IAP_ASSERTION_HEADER,
    RequestAuthenticator,
)
from wheelyard.model.access import Caller

ENTRY_BYTES: Final = 832
"""The estimated memory of a remembered request, besides what it may share with others."""
SHARED_BYTES: Final = 512
"""The largest headers and query that remembered requests share."""
MAX_SHARED: Final = 256
"""How many such headers and queries are kept to be shared."""
PATH_LIMIT_BYTES: Final = 1024
"""The longest path of a remembered request: a page has many spellings, some of any length."""
MAX_HEADERS: Final = 24
HEADER_LIMIT_BYTES: Final = 1024
"""The longest header (name and value) on the fast path, except Authorization and Cookie."""
CREDENTIAL_LIMIT_BYTES: Final = 8 * 1024
"""The longest credential; with it, the other headers are together below `HEADERS_LIMIT_BYTES`."""

_DECIDING_HEADERS: Final = frozenset(
    b"accept accept-encoding content-length content-type host if-match if-none-match if-range "
    b"range transfer-encoding via".split()
)
"""The headers that an answer to GET or HEAD may depend on, besides those of the caller."""
_BODY_HEADERS: Final = frozenset({b"content-length", b"transfer-encoding"})
"""Only the ordinary path reads bodies."""
_AUTHORIZATION: Final = b"authorization"
_IF_NONE_MATCH: Final = b"if-none-match"
_CACHE_CONTROL: Final = b"cache-control"
_COOKIE: Final = b"cookie"
_METHODS: Final = frozenset({"GET", "HEAD"})

Variant = tuple[str | bytes, ...]
"""What an answer may depend on besides the path and the caller: many requests have it in common."""
RequestKey = tuple[bytes, bytes, Variant]
"""The key of the cached caller, the path, and the rest."""
V = TypeVar("V")
Labels = tuple[str, str, str]
"""Route, method and status, for the metrics."""


class Remembered(Struct):
    """What is remembered of a request."""

    caller: Caller
    repeat: Callable[[], Response | None]
    """See `Response.repeat`."""
    labels: Labels


class FastPath:
    """Remembers the responses to requests, and repeats them."""

    def __init__(
        self,
        authenticator: RequestAuthenticator,
        host_policy: HostPolicy | None,
        trusted_proxies: int,
        entries: LruCache[RequestKey, Remembered],
    ) -> None:
        self._authenticator = authenticator
        self._header_key = authenticator.recent.header_key
        self._session_cookie = authenticator.session_cookie
        self._host_policy = host_policy
        self._trusted_proxies = trusted_proxies
        self._entries = entries
        self._values: dict[Any, Any] = {}

    def key_of(self, scope: AsgiScope) -> RequestKey | None:
        """Return the key of a request; None if only the ordinary path can answer it."""
        headers, method = scope["headers"], scope["method"]
        if method not in _METHODS or len(headers) > MAX_HEADERS:
            return None
        caller_key = b""
        variant = [method, scope["http_version"], scope["query_string"]]
        for name, value in headers:
            if name == _AUTHORIZATION:
                if caller_key or len(value) > CREDENTIAL_LIMIT_BYTES:
                    return None
                address = client_address(scope, self._trusted_proxies)
                caller_key = self._header_key(value, address)
            elif (
                name == IAP_ASSERTION_HEADER
                or (name == _CACHE_CONTROL and b"no-cache" in value.lower())
                or (len(name) + len(value) > HEADER_LIMIT_BYTES and not _may_be_long(name, headers))
            ):
                return None  # the caller of an assertion is not cached
            elif name in _DECIDING_HEADERS:
                variant += (name, value)
        caller_key = caller_key or self._session_key(headers)
        return caller_key, scope["raw_path"], tuple(variant)

    def _session_key(self, headers: Iterable[Header]) -> bytes:
        """Return the key of the cached caller by a session's cookie; empty without one."""
        if self._session_cookie is None:
            return b""
        cookies = b""
        for name, value in headers:
            if name == _COOKIE:
                cookies += value + b";"
        cookie = self._session_cookie.value_in(cookies) if cookies else b""
        return self._authenticator.session_cache_key(cookie) if cookie else b""

    def response(self, key: RequestKey, scope: AsgiScope) -> tuple[Response, Remembered] | None:
        """Return the response to a request, and what is remembered of it; None if none is known."""
        found = self._entries.get(key)
        if found is None:
            return None
        current = self._authenticator.cached_caller(key[0])
        if current is not found.caller and current != found.caller:
            return None
        try:
            if self._host_policy is not None:
                self._host_policy.check(scope, join_headers(scope["headers"]))
            response = found.repeat()
        except WheelyardError:
            return None  # the ordinary path reports it
        return None if response is None else (response, found)

    def remember(self, key: RequestKey, caller: Caller, response: Response, route: str) -> None:
        """Remember the response of the ordinary path to a caller, if it may be repeated."""
        caller_key, path, variant = key
        is_long = len(path) > PATH_LIMIT_BYTES
        if response.repeat is not None and not is_long and _BODY_HEADERS.isdisjoint(variant):
            labels = self._shared((route, str(variant[0]), str(response.status)))
            size, length = ENTRY_BYTES + len(path), sum(map(len, variant))
            if variant not in self._values:
                size += 64 * len(variant) + length
            if length <= SHARED_BYTES and _IF_NONE_MATCH not in variant:
                variant = self._shared(variant)
            found = Remembered(caller, response.repeat, labels)
            self._entries.put((self._shared(caller_key), path, variant), found, size)

    def _shared(self, value: V) -> V:
        """Return an equal value that other remembered requests have, too."""
        if len(self._values) >= MAX_SHARED:
            self._values.clear()
        shared: V = self._values.setdefault(value, value)
        return shared


def _may_be_long(name: bytes, headers: Iterable[Header]) -> bool:
    """Return whether it is a Cookie, and the ordinary path takes so many bytes of headers."""
    return name == _COOKIE and size_of(headers) <= HEADERS_LIMIT_BYTES
