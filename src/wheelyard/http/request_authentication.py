"""
Authentication of requests: by Authorization header, session cookie or Identity-Aware Proxy.

An invalid credential is answered 401 even if anonymous callers may read: otherwise a mistyped token
would look like a missing package. Header schemes: Basic (RFC 7617) and Bearer (RFC 6750).

The name of the cookie ends in a digest of the port and the path of the index: a browser sends the
cookies of a host to all its ports, and those that begin with `__Host-` to all paths, so that two
indexes of one host would overwrite each other's cookies. On https the name begins with `__Host-`: a
browser then takes the cookie from this host over https alone, so that no other host of the domain
can plant one. With `SameSite=Strict`, a browser sends no cookie with requests that pages of other
sites make. So whoever follows a link of another site arrives as if signed out.
"""

import re
from base64 import b64decode
from datetime import UTC, datetime
from functools import partial
from hashlib import blake2b
from typing import Final, Literal
from urllib.parse import urlsplit

from msgspec import Struct

from wheelyard.authentication.api_tokens import invalid_credential
from wheelyard.authentication.authenticator import Wait
from wheelyard.authentication.confirmation import ConfirmationNeeded
from wheelyard.authentication.verifiers.login_rate_limit import client_network, network_of
from wheelyard.authentication.verifiers.verifier import decode_segment
from wheelyard.errors import Invalid, Unauthenticated, Unavailable
from wheelyard.http.context import IndexContext
from wheelyard.http.error_responses import HEADERS_TOO_LARGE
from wheelyard.http.messages import Header, Headers, Request
from wheelyard.http.work_limits import SingleFlight
from wheelyard.model.access import ANONYMOUS, PASSWORD, Caller, Credential
from wheelyard.model.api_token import MAX_COOKIE_CHARS, decoded_session
from wheelyard.model.claim_matchers import numeric_date
from wheelyard.model.index_name import MAIN
from wheelyard.settings.sections import Settings
from wheelyard.wiring.index import Index

IAP_ASSERTION_HEADER: Final = b"x-goog-iap-jwt-assertion"
"""The header with the signed assertion of Google's Identity-Aware Proxy."""
AUTHORIZATION_LIMIT_BYTES: Final = 16_384
CALLER: Final = "caller"
"""The first part of the key under which a request waits until a credential is verified."""
SESSION: Final = "session"
"""The first part of the key under which a request waits for the provider of a session."""

UNAUTHENTICATED: Final = Caller(ANONYMOUS, ())
"""The caller of a request until it is authenticated: nobody, who may do nothing."""

_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")

SESSION_COOKIE: Final = "wheelyard-session"
"""The beginning of the name of the cookie of sessions."""
_COOKIE_VALUE: Final = re.compile(rb"[A-Za-z0-9_.-]{1,%d}" % MAX_COOKIE_CHARS)


class RequestAuthenticator:
    """Authenticates the callers of requests, and remembers each for a second."""

    def __init__(self, context: IndexContext) -> None:
        self.session_cookie = SessionCookie.of(context.index.server.settings)
        self.trusted_proxies = context.index.settings.server.trusted_proxies
        self.recent = context.index.authenticator.callers
        self._context = context
        self._index = context.index
        self._pools = context.process.pools
        self._verifications = SingleFlight()

    def authenticate(self, request: Request, *, accepts_iap: bool, accepts_session: bool) -> None:
        """
        Give a request its caller, and the session if a cookie says who it is.

        Where Identity-Aware Proxy is configured, nothing else counts for a request that
        `accepts_iap`, and its Authorization header is taken away. Else a session cookie counts
        before that header, but no cookie unless `accepts_session`. A cookie that is not valid
        counts as no cookie. If the provider of a session does not confirm the person, the request
        gets its name as `silent_provider`. A rejected credential is logged, and may count for the
        rate limit.

        Raises Waiting while a credential is verified elsewhere. Raises Unauthenticated if the
        credential is not valid, Invalid if its header is too long or malformed, and Unavailable if
        nobody can say now whether it is valid, or (code `rate_limited`) after too many failures.
        May block.
        """
        headers = request.joined_headers
        if self._index.authenticator.iap is not None and accepts_iap:
            request.caller = self._iap_caller(request)
            # nobody has verified the header, so that it must not count later either
            remaining_headers = dict(headers)
            remaining_headers.pop(b"authorization", None)
            request.joined_headers = remaining_headers
        else:
            cookie = b""
            if accepts_session:
                cookie = session_of(headers, self.session_cookie)
            if cookie:
                self._use_session(request, cookie)
            elif b"authorization" in headers:
                request.caller = self._header_caller(request, headers[b"authorization"])
        if request.caller is UNAUTHENTICATED:
            request.caller = self._context.read_policy.anonymous()
        request.is_authenticated = True

    def use_session(self, request: Request) -> None:
        """
        Give a request the caller of its cookie, whatever other credential it has.

        Without a valid session the caller is anonymous. If the provider of the session does not
        confirm the person, the request gets its name as `silent_provider`. Raises Waiting while a
        provider is asked, and Unavailable if the store does not answer.
        """
        request.caller = self._context.read_policy.anonymous()
        request.browser_session = None
        cookies = request.joined_headers.get(b"cookie", b"")
        if self.session_cookie is None:
            return
        cookie = self.session_cookie.value_in(cookies)
        if cookie:
            self._use_session(request, cookie)

    def verify(self, request: Request, credential: Credential) -> Caller:
        """
        Return the caller by a credential of a form, within the limits of one in a header.

        A rejection is logged, and may count for the rate limit. Raises Waiting while the credential
        is verified elsewhere. Raises Unauthenticated if the credential is not valid, and
        Unavailable if nobody can say now whether it is valid, or (code `rate_limited`) after too
        many failures. May block.
        """
        typed_text = f"form\0{credential.user}\0{credential.secret}"
        typed_bytes = typed_text.encode("utf-8", "surrogatepass")
        cache_key = self.recent.header_key(typed_bytes, request.address)
        return self._verify(request, credential, cache_key)

    def _header_caller(self, request: Request, header: bytes) -> Caller:
        """Return the caller by an Authorization header, verified at most a second ago."""
        cache_key = self.recent.header_key(header, request.address)
        caller = self.recent.remembered(cache_key)
        if caller is not None:
            return caller
        credential = parse_authorization(header, client_network(request.address))
        return self._verify(request, credential, cache_key)

    def _use_session(self, request: Request, cookie: bytes) -> None:
        """Give a request the caller and the session of a cookie, if the session is valid."""
        cache_key = self.recent.cookie_key(cookie)
        text = cookie.decode("ascii")
        caller = self.recent.remembered(cache_key)
        if caller is None:
            verify = partial(self._index.sessions.caller, text)
            try:
                caller = self.recent.verified(cache_key, verify)
            except ConfirmationNeeded as needed:
                # this returns if the provider was asked, and has not confirmed the person
                request.wait((SESSION, cache_key), self._confirm, cache_key, needed)
                request.silent_provider = needed.title
        if caller is not None:
            request.caller = caller
            request.browser_session = decoded_session(text)

    async def _confirm(self, cache_key: bytes, needed: ConfirmationNeeded) -> None:
        """Ask the provider of a session, once for all requests that have its cookie."""
        threads = self._pools.providers[needed.provider]
        key = (SESSION, cache_key)
        await self._verifications.run(key, threads.run, cache_key.hex(), needed.confirm)

    def _iap_caller(self, request: Request) -> Caller:
        """
        Return the caller whom an assertion of Identity-Aware Proxy names.

        Raises Unauthenticated without a valid assertion, and Waiting until it is verified.
        """
        assertion = request.joined_headers.get(IAP_ASSERTION_HEADER, b"").decode("latin-1")
        if not assertion:
            raise Unauthenticated(
                "This page is for people who come through Google's Identity-Aware Proxy, and this "
                "request has not. Open the address of the proxy."
            )
        verify = self._index.authenticator.authenticate_assertion
        return request.wait("iap", self._pools.run_in, self._pools.tokens, verify, assertion)

    def _verify(self, request: Request, credential: Credential, cache_key: bytes) -> Caller:
        """
        Return the caller by a credential, which is verified now.

        Raises Waiting if the verification takes long, and is done in another thread.
        """
        attempt = _Attempt(credential, request.address, cache_key)
        key = (CALLER, cache_key)  # a form may have another credential than the header
        wait = self._index.authenticator.waits_for(credential)
        # after a wait, the credential may count as one to verify here, and its result is there
        if wait == "local" and not request.has_result(key):
            return self._verify_here(attempt)
        return request.wait(key, self._verify_once, attempt, wait)

    def _verify_here(self, attempt: "_Attempt") -> Caller:
        """Return the caller by a credential, verified in this thread, and remember it."""
        authenticate = self._index.authenticator.authenticate
        return self.recent.verified(
            attempt.cache_key,
            partial(authenticate, attempt.credential, attempt.address),
        )

    async def _verify_once(self, attempt: "_Attempt", wait: Wait) -> Caller:
        """Return the caller by a credential, verified once for all requests that have it."""
        return await self._verifications.run(attempt.cache_key, self._verify_in_pool, attempt, wait)

    async def _verify_in_pool(self, attempt: "_Attempt", wait: Wait) -> Caller:
        """Verify a token in the pool for tokens, or a password, with a slot, in its pool."""
        pools = self._pools
        if wait != "password":
            return await pools.run_in(pools.tokens, self._verify_here, attempt)
        limit = self._context.process.password_limit
        client = network_of(attempt.credential.client_network)
        if self._index.authenticator.verified_recently(attempt.credential):
            # by user: many people of an office may come from one network
            limit = self._context.process.known_password_limit
            client = attempt.credential.user
        async with limit.acquire(client):
            return await pools.run_in(pools.passwords, self._verify_here, attempt)


class _Attempt(Struct, frozen=True):
    """A credential that somebody tries, and the client that has sent it."""

    credential: Credential
    address: str
    """The IP address of the client."""
    cache_key: bytes
    """The key under which the caller is remembered for a second."""


class CallerElsewhere(Struct, frozen=True):
    """Returns the caller of an authenticated request as other indexes of the store know it."""

    request: Request
    index: Index
    """The index that the request is for."""

    def __call__(self, index: Index) -> Caller:
        """
        Return the caller with the rights in another index.

        The credential was verified a moment ago, and the indexes share the memory of that. The
        caller of a session that has ended is anonymous. Raises Unauthenticated if the credential is
        not valid any more. Raises Unavailable if nobody can say that now, such as if a provider has
        to confirm the person of a session first.
        """
        if self.request.browser_session is not None:
            caller = self._session_caller(index)
        elif self.request.caller.is_anonymous:
            caller = None
        else:
            caller = self._verified_caller(index)

        # a session that has ended meanwhile has no caller
        return caller or Caller(ANONYMOUS, index.authenticator.policy.public())

    def _verified_caller(self, index: Index) -> Caller:
        """Return the caller by the header or the assertion of the request in another index."""
        request = self.request
        header = request.joined_headers.get(b"authorization")
        if header is None:
            assertion = request.joined_headers.get(IAP_ASSERTION_HEADER, b"").decode("latin-1")
            return index.authenticator.authenticate_assertion(assertion)
        credential = parse_authorization(header, client_network(request.address))
        return index.authenticator.authenticate(credential, request.address)

    def _session_caller(self, index: Index) -> Caller | None:
        """
        Return the caller of the request's session in another index, or None if it has ended.

        Raises Unavailable if a provider has to confirm the person first.
        """
        # of main: one cookie is for all indexes of the store
        session_cookie = SessionCookie.of(self.index.named(MAIN).settings)
        cookie = b""
        if session_cookie is not None:
            cookie = session_cookie.value_in(self.request.joined_headers.get(b"cookie", b""))
        try:
            return index.sessions.caller(cookie.decode("ascii"))
        except ConfirmationNeeded as needed:
            # only in the second in which the last confirmation becomes too old: before, this
            # request was authenticated, and afterwards each request waits for the provider
            raise Unavailable(
                f"{needed.title} has to confirm first who you are.", retry_after=1
            ) from None


def signed_in_at(request: Request) -> datetime | None:
    """
    Return when the caller of a request, a person or a service account, has signed in.

    That is the time when the session began, or the ID token was issued. None means now: a password
    is sent with the request, and Identity-Aware Proxy vouches for each request anew. The caller
    must be one whose `can_own_tokens` is true: any other may have no ID token.
    """
    if request.browser_session is not None:
        return datetime.fromtimestamp(request.browser_session.issued_at, UTC)
    header = request.joined_headers.get(b"authorization")
    # a request without the header has an assertion of the proxy, which expires after ten minutes
    if header is None or request.caller.principal.startswith(PASSWORD):
        return None
    id_token = parse_authorization(header).secret  # was verified before
    _header_segment, claims_segment, *_ = id_token.split(".")
    claims = decode_segment(claims_segment)
    issued_at = numeric_date(claims.get("iat")) or 0.0
    return datetime.fromtimestamp(issued_at, UTC)


def parse_authorization(header: bytes, network: str = "") -> Credential:
    """
    Return the credential in an Authorization header, unverified.

    `network` is the network of the client, which is noted in the credential. Raises Unauthenticated
    if the header has another scheme than Basic and Bearer, or is malformed. Raises Invalid if the
    header is too long, or not printable ASCII.
    """
    if len(header) > AUTHORIZATION_LIMIT_BYTES:
        raise Invalid(
            f"The Authorization header is longer than {AUTHORIZATION_LIMIT_BYTES} bytes, as no "
            "credential is.",
            code=HEADERS_TOO_LARGE,
        )
    if not (header.isascii() and header.decode().isprintable()):
        raise Invalid(
            "The Authorization header is not printable ASCII. Send one with a credential."
        )
    scheme, _, value = header.decode("ascii").partition(" ")
    if scheme.lower() == "bearer":
        return Credential("", value.strip(), is_bearer=True, client_network=network)
    if scheme.lower() != "basic":
        raise invalid_credential()
    pair, is_unicode = _basic_pair(value.strip())
    user, _, password = pair.partition(":")
    return Credential(user, password, is_unicode=is_unicode, client_network=network)


def _basic_pair(value: str) -> tuple[str, bool]:
    """
    Return `USER:PASSWORD` of a Basic credential, and whether its bytes are UTF-8.

    Raises Unauthenticated if the credential is malformed.
    """
    try:
        decoded = b64decode(value, validate=True)
    except ValueError as error:
        raise invalid_credential() from error
    try:
        pair = decoded.decode()
        is_unicode = True
    except UnicodeDecodeError:  # clients built on requests send Latin-1
        pair = decoded.decode("latin-1")
        is_unicode = False
    if ":" not in pair or _CONTROL_CHARACTER.search(pair):
        raise invalid_credential()
    return pair, is_unicode


class SessionCookie(Struct, frozen=True):
    """The name and the attributes of a cookie of an index: the one of sessions, or another one."""

    name: str
    attributes: str
    pattern: re.Pattern[bytes]
    """Finds each value of the cookie in a Cookie header."""

    @classmethod
    def of(cls, settings: Settings) -> "SessionCookie | None":
        """Return the cookie of sessions by the settings, or None if `cookie_login` is off."""
        if not settings.access.cookie_login:
            return None
        return cls.named(SESSION_COOKIE, "Strict", settings)

    @classmethod
    def named(
        cls, beginning: str, same_site: Literal["Lax", "Strict"], settings: Settings
    ) -> "SessionCookie":
        """Return the cookie of an index whose name has a beginning, and a digest of the index."""
        attributes = f"HttpOnly; SameSite={same_site}"
        url = urlsplit(settings.base_url)
        is_secure = url.scheme == "https"
        default_port = 443 if is_secure else 80
        index = f"{url.port or default_port}{url.path}"
        if url.path and not is_secure:
            # another name than older servers gave: where a proxy takes the path away, they set the
            # cookie for the whole host, and two cookies of one name count as none
            index += "/"
        digest = blake2b(index.encode(), digest_size=4).hexdigest()
        name = f"{beginning}-{digest}"
        if is_secure:
            # browsers take a name that begins so only with this path, and over https
            name = f"__Host-{name}"
            scope = "Path=/; Secure"
        else:
            scope = f"Path={settings.server.public_path}/"
        pattern = re.compile(rb"(?:^|;)[ \t]*%s=([^;]*)" % name.encode())
        return cls(name, f"{scope}; {attributes}", pattern)

    def value_in(self, header: bytes) -> bytes:
        """
        Return the value of the cookie in a Cookie header, or nothing without a valid one.

        The result is also empty if there are several values, of which one may be planted.
        """
        values = self.pattern.findall(header)
        if len(values) != 1 or not _COOKIE_VALUE.fullmatch(values[0]):
            return b""
        value: bytes = values[0]
        return value

    def header(self, value: str, seconds: int) -> Header:
        """Return the header that gives a browser the cookie for so many seconds."""
        text = f"{self.name}={value}; Max-Age={seconds}; {self.attributes}"
        return (b"set-cookie", text.encode("ascii"))

    def removal(self) -> Header:
        """Return the header that takes the cookie from a browser."""
        return self.header("", 0)


def session_of(headers: Headers, cookie: SessionCookie | None) -> bytes:
    """Return the value of the session's cookie, or nothing without one or beside Authorization."""
    if cookie is None or b"authorization" in headers:
        return b""
    return cookie.value_in(headers.get(b"cookie", b""))
