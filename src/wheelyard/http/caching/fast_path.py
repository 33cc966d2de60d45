"""
The fast path: project pages answered from memory, without the router, a thread or a task.

A request takes the fast path if its caller was authenticated within the last second, has had the
same page at the same path before, and the page of the current document version is in the
`PageCache`. Every other request takes the normal path through `App`, which calls `remember` after
it has answered with such a page. Anonymous callers count as authenticated.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

from packaging.utils import NormalizedName

from wheelyard.concurrency.caches import LruCache
from wheelyard.errors import WheelyardError
from wheelyard.http.caching.page_cache import detail_page_key
from wheelyard.http.context import ServerContext
from wheelyard.http.protocol.content_encoding import best_encoding
from wheelyard.http.protocol.messages import AsgiScope, Header, Headers, Response
from wheelyard.http.protocol.negotiation import best_media_type
from wheelyard.http.protocol.request_headers import HOST
from wheelyard.http.security.request_authentication import RequestAuthenticator
from wheelyard.model.access import Action
from wheelyard.settings.sections import MIB

MAX_HEADERS: Final = 24
HEADER_LIMIT_BYTES: Final = 1024
"""The longest header (name and value) on the fast path, except Authorization."""
PATH_LIMIT_BYTES: Final = 256
"""The longest URL path that the fast path remembers."""

_NORMAL_PATH_ONLY: Final = frozenset(
    {b"content-length", b"content-type", b"transfer-encoding", b"if-match"}
)
_USED: Final = _NORMAL_PATH_ONLY | frozenset(
    {b"accept", b"accept-encoding", b"authorization", b"if-none-match", b"host"}
)

CheckHost = Callable[[AsgiScope], Response | None]


def fast_path_headers(headers: Sequence[Header]) -> dict[bytes, bytes] | None:
    """Return the headers that decide on a page, by name; None if only `App` can answer them."""
    if len(headers) > MAX_HEADERS:
        return None
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if len(name) + len(value) > HEADER_LIMIT_BYTES and name != b"authorization":
            return None
        if name in _USED:
            if name in found:
                return None
            found[name] = value
    host = found.get(b"host")
    if not host or not HOST.fullmatch(host) or not _NORMAL_PATH_ONLY.isdisjoint(found):
        return None
    return found


class FastPath:
    """Answers requests for project pages in memory, of callers that have had the page before."""

    def __init__(
        self, context: ServerContext, authenticator: RequestAuthenticator, check_host: CheckHost
    ) -> None:
        self._projects = context.index.projects
        self._pages = context.pages
        self._authenticator = authenticator
        self._check_host = check_host
        self._paths: LruCache[bytes, NormalizedName] = LruCache(4 * MIB)
        """Project names by caller (cache key) and raw path; only paths that the caller may read."""
        self._media_type_for = lru_cache(256)(best_media_type)
        self._encoding_for = lru_cache(256)(best_encoding)

    def remember(self, cache_key: bytes, raw_path: bytes, name: NormalizedName) -> None:
        """Record that a caller (by cache key) has got a project's page at a short URL path."""
        if len(raw_path) <= PATH_LIMIT_BYTES:
            self._paths.put(cache_key + raw_path, name, 256 + 2 * len(raw_path))

    def response(
        self, scope: AsgiScope, headers: Headers, cache_key: bytes
    ) -> tuple[Response, str] | None:
        """Return the response and the caller's principal; None if only `App` can answer."""
        if scope["method"] != "GET" or scope["query_string"]:
            return None
        name = self._paths.get(cache_key + scope["raw_path"])
        if name is None or self._check_host(scope):
            return None
        caller = self._authenticator.cached_caller(cache_key)
        if caller is None or not caller.may(Action.READ, name):
            return None
        try:
            response = self._cached_page(name, headers)
        except WheelyardError:
            return None
        return None if response is None else (response, caller.principal)

    def _cached_page(self, name: NormalizedName, headers: Headers) -> Response | None:
        snapshot = self._projects.peek(name)
        media_type = self._media_type_for(headers.get(b"accept", b""))
        if snapshot is None or media_type is None:
            return None
        page = self._pages.get(detail_page_key(name, media_type), snapshot.version)
        if page is None:
            return None
        encoding = self._encoding_for(headers.get(b"accept-encoding", b""))
        return page.response(media_type, encoding, headers.get(b"if-none-match"))
