"""The fast path: repeats the answer to a request that is identical to an earlier one."""

from asyncio import CancelledError
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar
from weakref import ref

from msgspec import Struct

from wheelyard.concurrency.caches import LruCache
from wheelyard.errors import WheelyardError
from wheelyard.http.client_choice import chosen_client
from wheelyard.http.context import IndexContext
from wheelyard.http.forms import HostPolicy
from wheelyard.http.instrumentation import Instrumentation, Labels
from wheelyard.http.logs import log_request
from wheelyard.http.messages import (
    REQUEST,
    AsgiScope,
    Header,
    MadeFrom,
    Receive,
    Request,
    Response,
    Send,
)
from wheelyard.http.page_cache import GRANTS, CurrentVersions
from wheelyard.http.request_authentication import IAP_ASSERTION_HEADER, RequestAuthenticator
from wheelyard.http.requests import (
    HEADERS_LIMIT_BYTES,
    client_address,
    join_headers,
    size_of_headers,
)
from wheelyard.model.access import Caller

ENTRY_BYTES: Final = 832
"""The estimated memory of a remembered request, besides what it may share with others."""
VARIANT_PART_BYTES: Final = 64
"""The estimated memory of a part of a `Variant`, besides its text."""
SHARED_LIMIT_BYTES: Final = 512
"""The largest `Variant` that remembered requests share."""
MAX_SHARED: Final = 256
"""How many values are kept to be shared."""
PATH_LIMIT_BYTES: Final = 1024
"""The longest path of a remembered request: a page has many spellings, some of them long."""
MAX_HEADERS: Final = 24
HEADER_LIMIT_BYTES: Final = 1024
"""The longest header (name and value) on the fast path, except Authorization and Cookie."""
CREDENTIAL_LIMIT_BYTES: Final = 8 * 1024
"""The longest credential, beside which the other headers are below `HEADERS_LIMIT_BYTES`."""

_DECIDING_HEADERS: Final = frozenset(
    b"accept accept-encoding content-length content-type host if-match if-none-match if-range "
    b"range transfer-encoding via".split()
)
"""The headers that an answer to GET or HEAD may depend on, besides a credential and cookies."""
_BODY_HEADERS: Final = frozenset({b"content-length", b"transfer-encoding"})
"""Only the ordinary path reads bodies."""
_AUTHORIZATION: Final = b"authorization"
_IF_NONE_MATCH: Final = b"if-none-match"
_CACHE_CONTROL: Final = b"cache-control"
_COOKIE: Final = b"cookie"
_METHODS: Final = frozenset({"GET", "HEAD"})

FAULT: Final = "wheelyard.fault"
"""The key under which an ASGI scope has a `Fault`."""

Variant = tuple[str | bytes, ...]
"""What an answer may depend on besides path and caller. Many requests have the same variant."""
RequestKey = tuple[bytes, bytes, Variant]
"""The key of the remembered caller, the path, and the variant."""
V = TypeVar("V")
AsgiApp = Callable[[AsgiScope, Receive, Send], Any]


class Fault(Struct, frozen=True):
    """Why nobody can say which index a request is for, or what that index is."""

    error: Exception
    is_of_main: bool
    """Whether the request is for main, of which some routes are answered all the same."""


class RememberedRequest(Struct):
    """What is remembered of a request, to repeat its answer."""

    caller: Caller
    response: ref[Response]
    """The response with a cached page. The reference is dead once the page has left its cache."""
    made_from: MadeFrom
    deadline: float
    """Until when the answer may be repeated, on the monotonic clock."""
    labels: Labels


class FastPath:
    """
    Remembers the answers of an ASGI application, and repeats them.

    Args:
        app: Answers all other requests.
        context: Has the memory for requests, which they share with cached pages.
        authenticator: Knows the callers of the last second.
        host_policy: Is checked for each request, unless it is None.
        instrumentation: Records each answer.
    """

    def __init__(
        self,
        app: AsgiApp,
        context: IndexContext,
        authenticator: RequestAuthenticator,
        host_policy: HostPolicy | None,
        instrumentation: Instrumentation,
    ) -> None:
        self._app = app
        self._authenticator = authenticator
        self._recent_caller = authenticator.recent.remembered
        self._header_key = authenticator.recent.header_key
        self._host_policy = host_policy
        self._current_version = CurrentVersions(context.index)
        self._depends_on_grants = context.read_policy.depends_on_grants
        """Whether grants change what anonymous callers may read, and so the headers of pages."""
        self._entries: LruCache[RequestKey, RememberedRequest] = context.page_memory
        self._instrumentation = instrumentation
        self._interned: dict[Any, Any] = {}
        """Parts of keys and entries, each by itself: equal parts of all are one object."""

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Answer a request: repeat the answer to an identical one, if that answer is current."""
        # until `await` nothing else runs in the event loop, so this needs no lock
        started_at = self._instrumentation.now()
        key = self._key_of(scope)
        try:
            if key is None:
                await self._app(scope, receive, send)
                return
            # before the application reads the grants: no answer is remembered if they change then
            grants_version = self._grants_version()
            entry = self._entries.get(key)
            response = None
            if entry is not None:
                response = self._current_response(key, entry, scope, started_at)
            if entry is not None and response is not None:
                await response(scope, receive, send)
                seconds = self._instrumentation.now() - started_at
                self._record(scope, receive, response, entry, seconds)
                return
            await self._app(scope, receive, send)
        except CancelledError:  # the server cancels a request whose client has gone
            return
        self._remember(key, scope, grants_version)

    def _grants_version(self) -> str | None:
        """Return the version of the grants, or None if it is not known, or no answer needs it."""
        if not self._depends_on_grants:
            return None
        try:
            return self._current_version(GRANTS)
        except WheelyardError:  # the application reports it
            return None

    def _key_of(self, scope: AsgiScope) -> RequestKey | None:
        """Return the key of a request, or None if only the application can answer it."""
        headers = scope["headers"]
        method = scope["method"]
        if method not in _METHODS or len(headers) > MAX_HEADERS or FAULT in scope:
            return None
        caller_key = b""
        variant = [method, scope["http_version"], scope["query_string"]]

        # bytes of strangers, before the application has checked anything: whatever is unusual here
        # takes the ordinary path, which knows how to refuse it
        for name, value in headers:
            if name == _AUTHORIZATION:
                if caller_key or len(value) > CREDENTIAL_LIMIT_BYTES:
                    return None
                # the credential itself is in no key: what memory keeps of it is a keyed hash
                address = client_address(scope, self._authenticator.trusted_proxies)
                caller_key = self._header_key(value, address)
                continue
            # no caller of an assertion is remembered
            if name == IAP_ASSERTION_HEADER:
                return None
            # whoever may upload can have upstream indexes asked now for a page
            if name == _CACHE_CONTROL and b"no-cache" in value.lower():
                return None
            if len(name) + len(value) > HEADER_LIMIT_BYTES and not _may_be_long(name, headers):
                return None
            if name in _DECIDING_HEADERS:
                variant += (name, value)
            elif name == _COOKIE:
                client = chosen_client(value)
                if client:
                    variant += (name, client)

        # a header wins over a cookie, as when the application authenticates a request
        if not caller_key:
            caller_key = self._session_key(headers)
        return caller_key, scope["raw_path"], tuple(variant)

    def _session_key(self, headers: Iterable[Header]) -> bytes:
        """Return the key of the caller by a session's cookie, or nothing without such a cookie."""
        session_cookie = self._authenticator.session_cookie
        if session_cookie is None:
            return b""
        cookies = b""
        for name, value in headers:
            if name == _COOKIE:
                cookies += value + b";"  # HTTP/2 repeats the header
        if not cookies:
            return b""
        session = session_cookie.value_in(cookies)
        if not session:
            return b""
        return self._authenticator.recent.cookie_key(session)

    def _current_response(
        self, key: RequestKey, entry: RememberedRequest, scope: AsgiScope, now: float
    ) -> Response | None:
        """Return the remembered response, or None if only the application can answer now."""
        caller_key, _, _ = key
        if caller_key:
            # None unless the credential was verified within the last second
            caller = self._recent_caller(caller_key)
            # identity first: mostly it is the same object, and to compare takes much longer
            if caller is not entry.caller and caller != entry.caller:
                return None
        response = entry.response()
        if response is None or now >= entry.deadline:
            return None
        try:
            # no key has the headers that say whether a client used HTTPS
            if self._host_policy is not None:
                self._host_policy.check(scope, join_headers(scope["headers"]))
            for document_key, version in entry.made_from:
                if self._current_version(document_key) != version:
                    return None
        except WheelyardError:
            return None  # the application reports it
        return response

    def _record(
        self,
        scope: AsgiScope,
        receive: Receive,
        response: Response,
        entry: RememberedRequest,
        seconds: float,
    ) -> None:
        """Record an answer that was repeated."""
        self._instrumentation.observe(entry.labels, seconds)
        if self._instrumentation.logs_requests:
            headers = join_headers(scope["headers"])
            address = client_address(scope, self._authenticator.trusted_proxies)
            request = Request(scope, receive, headers, entry.caller, address)
            request.route = entry.labels[0]
            request.response = response
            request.is_authenticated = True
            log_request(request, seconds)

    def _remember(self, key: RequestKey, scope: AsgiScope, grants_version: str | None) -> None:
        """
        Remember the answer that the application has just given, if it may be repeated.

        `grants_version` is that of the grants before the answer was made, or None if not known.
        """
        request: Request = scope[REQUEST]
        response = request.response

        # an entry refers to the page of a cache, and ends when the cache drops the page
        if response is None or response.made_from is None or response.cached_response is None:
            return
        made_from = response.made_from
        if self._depends_on_grants:
            if grants_version is None or grants_version != self._grants_version():
                return  # nobody knows by which version of the grants the answer was made
            made_from = (*made_from, (GRANTS, grants_version))
        caller_key, path, variant = key
        if len(path) > PATH_LIMIT_BYTES or not _BODY_HEADERS.isdisjoint(variant):
            return
        labels = self._intern((request.route, request.method, str(response.status_code)))
        size = ENTRY_BYTES + len(path)
        variant_bytes = sum(map(len, variant))
        if variant not in self._interned:
            size += VARIANT_PART_BYTES * len(variant) + variant_bytes

        # the ETag of one page would only take the place of a variant of many requests
        if variant_bytes <= SHARED_LIMIT_BYTES and _IF_NONE_MATCH not in variant:
            variant = self._intern(variant)
        entry = RememberedRequest(
            request.caller, ref(response.cached_response), made_from, response.deadline, labels
        )
        self._entries.put((self._intern(caller_key), path, variant), entry, size)

    def _intern(self, value: V) -> V:
        """Return the value, or an equal one that remembered requests have already."""
        if len(self._interned) >= MAX_SHARED:
            self._interned.clear()  # the entries keep their values, and later ones share others
        interned: V = self._interned.setdefault(value, value)
        return interned


def _may_be_long(name: bytes, headers: Iterable[Header]) -> bool:
    """Return whether a header is Cookie, and the ordinary path takes such long headers."""
    return name == _COOKIE and size_of_headers(headers) <= HEADERS_LIMIT_BYTES
