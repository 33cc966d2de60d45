"""
Authentication of requests: by Authorization header, session cookie or Identity-Aware Proxy.

An invalid credential is answered 401 even if anonymous callers may read: otherwise a mistyped token
would look like a missing package. Header schemes: Basic (RFC 7617) and Bearer (RFC 6750).
"""

import re
from base64 import b64decode
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Final

from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.authentication.api_tokens import invalid_credential
from wheelyard.authentication.authenticator import Wait
from wheelyard.authentication.verifiers.login_rate_limit import client_network, network_of
from wheelyard.authentication.verifiers.verifier import decode_segment
from wheelyard.concurrency.caches import LruCache
from wheelyard.errors import Invalid, Unauthenticated
from wheelyard.http.context import ServerContext
from wheelyard.http.protocol.error_responses import HEADERS_TOO_LARGE
from wheelyard.http.protocol.messages import Request
from wheelyard.http.security.session_cookie import SessionCookie, session_of
from wheelyard.model.access import Action, Caller, Credential
from wheelyard.model.claim_matchers import numeric_date
from wheelyard.model.session import Session, decoded_session

IAP_ASSERTION_HEADER: Final = b"x-goog-iap-jwt-assertion"
"""The header with the signed assertion of Google's Identity-Aware Proxy."""
AUTHORIZATION_LIMIT_BYTES: Final = 16_384

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class RequestAuthenticator:
    """Authenticates callers; caches those with an Authorization header for a second."""

    def __init__(self, context: ServerContext) -> None:
        self.session_cookie = SessionCookie.of(context.index.settings)
        self._anonymous = context.read_policy.anonymous
        self._context = context
        self.recent = context.index.authenticator.callers
        self._last_callers = LruCache[bytes, Caller](512)

    def cache_key(self, header: bytes | None, address: str) -> bytes:
        """Return a keyed hash of an Authorization header and the client network; empty for None."""
        return b"" if header is None else self.recent.header_key(header, address)

    def session_cache_key(self, cookie: bytes) -> bytes:
        """Return a keyed hash of a session's cookie, which no Authorization header can have."""
        return self.recent.cookie_key(cookie)

    def cached_caller(self, cache_key: bytes) -> Caller | None:
        """
        Return the caller that was authenticated under `cache_key` in the last second, or None.

        The empty key is the anonymous caller's.
        """
        return self.recent.remembered(cache_key) if cache_key else self._anonymous

    def prefetch(self, request: Request, name: NormalizedName) -> None:
        """
        Begin to read a project's document if the caller has to be verified, and might read it.

        That is the caller that the header gave when it was last verified.
        """
        cache_key = self.cache_key(request.headers.get(b"authorization"), request.address)
        if not cache_key or self.recent.remembered(cache_key) is not None:
            return
        caller = self._last_callers.get(cache_key)
        if caller is not None and caller.may(Action.READ, name):
            self._context.documents.prefetch_project(name)

    async def with_caller(
        self, request: Request, *, accepts_iap: bool, accepts_session: bool
    ) -> Request:
        """
        Return a request with its caller, and with the session if a cookie says who it is.

        Where Identity-Aware Proxy is configured, nothing else counts for a request that
        `accepts_iap`. Raises as `authenticate`, and Unauthenticated without an assertion there.
        """
        verifier, headers = self._context.index.authenticator.iap, request.headers
        if verifier is not None and accepts_iap:
            assertion = headers.get(IAP_ASSERTION_HEADER, b"").decode("latin-1")
            caller = await self._authenticate_iap(assertion)
            # nobody has verified it, so that it must not count later either
            others = {name: value for name, value in headers.items() if name != b"authorization"}
            return replace(request, headers=others, caller=caller)
        cookie = session_of(headers, self.session_cookie) if accepts_session else b""
        if cookie:
            caller, session = await self._authenticate_session(cookie)
            return replace(request, caller=caller, session=session)
        caller = await self.authenticate(headers.get(b"authorization"), request.address)
        return replace(request, caller=caller)

    async def with_session(self, request: Request) -> Request:
        """Return a request with the session of its cookie, whatever other credential it has."""
        cookie = b""
        if self.session_cookie is not None:
            cookie = self.session_cookie.value_in(request.headers.get(b"cookie", b""))
        if not cookie:
            return replace(request, caller=self._anonymous, session=None)
        caller, session = await self._authenticate_session(cookie)
        return replace(request, caller=caller, session=session)

    async def authenticate(self, header: bytes | None, address: str) -> Caller:
        """Return the caller by a header, the anonymous one without it; raise if it is not valid."""
        cache_key = self.cache_key(header, address)
        caller = self.cached_caller(cache_key)
        if caller is None and header is not None:
            credential = parse_authorization(header, client_network(address))
            caller = await self._verify(credential, address, cache_key)
        return caller or self._anonymous

    async def _authenticate_session(self, cookie: bytes) -> tuple[Caller, Session | None]:
        """Return the caller of a cookie and its session, or the anonymous caller and None."""
        cache_key, text = self.session_cache_key(cookie), cookie.decode("ascii")
        caller = self.recent.remembered(cache_key)
        if caller is None:
            sessions = self._context.index.sessions

            def verify() -> tuple[Caller | None]:
                return (self.recent.verified(cache_key, partial(sessions.caller, text)),)

            (caller,) = await self._context.documents.coalesce(("caller", cache_key), verify)
        return (caller, decoded_session(text)) if caller else (self._anonymous, None)

    async def verify(self, credential: Credential, address: str) -> Caller:
        """Return the caller by a credential of a form, within the limits of one in a header."""
        typed = f"form\0{credential.user}\0{credential.secret}".encode("utf-8", "surrogatepass")
        return await self._verify(credential, address, self.recent.header_key(typed, address))

    async def _authenticate_iap(self, assertion: str) -> Caller:
        """Return the caller whom an assertion of Identity-Aware Proxy names; raise without one."""
        if not assertion:
            raise Unauthenticated(
                "This page is for people who come through Google's Identity-Aware Proxy, and this "
                "request has not. Open the address of the proxy.",
                short="Come through the proxy.",
            )
        authenticator, pools = self._context.index.authenticator, self._context.pools
        verify = partial(authenticator.authenticate_assertion, assertion)
        return await pools.run_in(pools.tokens, verify)

    async def _verify(self, credential: Credential, address: str, cache_key: bytes) -> Caller:
        context, authenticator = self._context, self._context.index.authenticator

        def verify() -> Caller:
            authenticate = partial(authenticator.authenticate, credential, address)
            try:
                caller = self.recent.verified(cache_key, authenticate)
            except Unauthenticated:
                self._last_callers.discard(cache_key)
                raise
            self._last_callers.put(cache_key, caller, 1)
            return caller

        key, wait = ("caller", cache_key), authenticator.waits_for(credential)
        if wait == "local":
            return await context.documents.coalesce(key, verify)
        verify_apart = partial(self._verify_apart, credential, verify, wait)
        return await context.documents.in_flight.run(key, verify_apart)

    async def _verify_apart(
        self, credential: Credential, verify: Callable[[], Caller], wait: Wait
    ) -> Caller:
        """Run `verify` in the pool for passwords or tokens; a password waits for a slot first."""
        context = self._context
        if wait == "remote":
            return await context.pools.run_in(context.pools.tokens, verify)
        is_known = context.index.authenticator.verified_recently(credential)
        limit = context.known_password_limit if is_known else context.password_limit
        # an office is one network, but who was right lately is a client of their own
        client = credential.user if is_known else network_of(credential.client_network)
        async with limit.acquire(client):
            return await context.pools.run_in(context.pools.passwords, verify)


def signed_in_at(request: Request) -> datetime | None:
    """
    Return when the caller of a request, a person or a service account, has signed in.

    That is when its ID token was issued. None is now: Identity-Aware Proxy vouches for each request
    anew.
    """
    if request.session is not None:
        return datetime.fromtimestamp(request.session.issued_at, UTC)
    header = request.headers.get(b"authorization")
    if header is None:  # an assertion of the proxy, which expires after ten minutes
        return None
    id_token = parse_authorization(header).secret  # has been verified
    claims = decode_segment(id_token.split(".")[1])
    return datetime.fromtimestamp(numeric_date(claims.get("iat")) or 0.0, UTC)


def parse_authorization(header: bytes, network: str = "") -> Credential:
    """Return the credential in a header, unverified; raise Unauthenticated or Invalid."""
    if len(header) > AUTHORIZATION_LIMIT_BYTES:
        raise Invalid(
            f"The Authorization header is longer than {AUTHORIZATION_LIMIT_BYTES} bytes, as no "
            "credential is.",
            code=HEADERS_TOO_LARGE,
            short="The Authorization header is too long.",
        )
    if not (header.isascii() and header.decode().isprintable()):
        raise Invalid(
            "The Authorization header is not printable ASCII. Send one with a credential.",
            short="Bad Authorization header.",
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
    try:
        decoded = b64decode(value, validate=True)
    except ValueError as error:
        raise invalid_credential() from error
    try:
        pair, is_unicode = decoded.decode(), True
    except UnicodeDecodeError:  # clients built on requests send Latin-1
        pair, is_unicode = decoded.decode("latin-1"), False
    if ":" not in pair or _CONTROL.search(pair):
        raise invalid_credential()
    return pair, is_unicode
