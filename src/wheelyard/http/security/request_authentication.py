"""
From an Authorization header to a caller.

A header that does not hold is a 401, even where anybody may read: a bad token must not look like a
missing package. RFC 7617 (Basic) and RFC 6750 (Bearer).
"""

import re
from base64 import b64decode
from collections.abc import Callable
from functools import partial
from hashlib import blake2b
from typing import Final, TypeVar

from wheelyard.authentication.api_tokens import invalid_credential
from wheelyard.authentication.authenticator import CredentialType, classify, rejection_reason
from wheelyard.authentication.verifiers.login_rate_limit import client_network, network_of
from wheelyard.authentication.verifiers.verifier import Verifier
from wheelyard.concurrency.caches import ExpiringCache
from wheelyard.errors import Invalid, Unauthenticated
from wheelyard.http.context import ServerContext
from wheelyard.http.protocol.error_responses import HEADERS_TOO_LARGE
from wheelyard.model.access import ANONYMOUS, Caller, Credential

C = TypeVar("C", bound=Caller | None)

AUTHORIZATION_LIMIT_BYTES: Final = 16_384
"""Bytes of an Authorization header."""
CACHED_CALLER_SECONDS: Final = 1.0
"""Seconds that a header which held is believed without a second look."""
MAX_CACHED_CALLERS: Final = 512
"""Callers in memory, of about 1 KiB each."""
CACHE_KEY_BYTES: Final = 16
"""Bytes of the mark that a header is remembered by: never the header itself."""

_PRINTABLE = re.compile(rb"[\x20-\x7e]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class RequestAuthenticator:
    """Recognises the callers of an index."""

    def __init__(self, context: ServerContext) -> None:
        index = context.index
        self.anonymous = Caller(ANONYMOUS, index.authenticator.policy.public)
        self._context = context
        self._key = index.runtime.random.randbytes(32)
        self._callers = ExpiringCache[bytes, Caller](index.runtime.monotonic, MAX_CACHED_CALLERS)
        """Who was recognised within the last second, by the mark of their header."""

    def mark(self, header: bytes | None, address: str) -> bytes:
        """Return what a header is remembered by, from where it comes; nothing for none."""
        if header is None:
            return b""
        marked = header + b"\0" + client_network(address).encode()
        return blake2b(marked, digest_size=CACHE_KEY_BYTES, key=self._key).digest()

    def recent(self, mark: bytes) -> Caller | None:
        """Return who was recognised by a header a moment ago, else None."""
        return self._callers.get(mark) if mark else self.anonymous

    async def caller(self, header: bytes | None, address: str, mark: bytes) -> Caller:
        """
        Return who sends a header, waiting for whatever can tell.

        Raises:
            Unauthenticated: The credential does not hold.
            Invalid: The header is no header.
            Unavailable: It cannot be told just now, or too many have failed.
        """
        found = self.recent(mark)
        if found is None and header is not None:
            credential = parse_authorization(header, client_network(address))
            found = await self._recognised(credential, address, mark)
        return found or self.anonymous

    async def person(self, login: Verifier, assertion: str) -> Caller:
        """
        Return who sits before a browser, by the word of the proxy that has let them through.

        Raises:
            Unauthenticated: There is no such word, or it does not hold.
            Unavailable: The proxy's keys cannot be had.
        """
        if not assertion:
            raise Unauthenticated(
                "This page is for people who come through Google's Identity-Aware Proxy, and this "
                "request has not. Open the address of the proxy.",
                short="Come through the proxy.",
            )
        authenticator, identity = (
            self._context.index.authenticator,
            login.cached_identity(assertion),
        )
        if identity is None:
            try:
                identity = await self._context.pools.run_in(
                    self._context.pools.tokens, lambda: login.verify(assertion)
                )
            except Unauthenticated as fault:
                authenticator.rejection_log.log(
                    rejection_reason(fault, otherwise=fault.code), "the proxy"
                )
                raise
        return authenticator.policy.authorize(identity)

    async def _recognised(self, credential: Credential, address: str, mark: bytes) -> Caller:
        context, authenticator = self._context, self._context.index.authenticator

        def known() -> Caller | None:
            return self._noted(mark, lambda: authenticator.authenticate_cached(credential))

        def verified() -> Caller:
            return self._noted(mark, lambda: authenticator.authenticate(credential, address))

        found = (
            await context.pools.run_read(known)
            if authenticator.needs_file_check(credential)
            else known()
        )
        if found is not None:
            return found
        subject = ("caller", mark)
        if authenticator.may_block(credential):
            in_turn = partial(self._in_turn, credential, verified)
            return await context.documents.in_flight.run(subject, in_turn)
        return await context.documents.coalesce(
            subject, verified, lambda: authenticator.authenticate_stale(credential)
        )

    def _noted(self, mark: bytes, look: Callable[[], C]) -> C:
        """Look who sends a header, and note it for a second from the beginning of the look."""
        now = self._context.index.runtime.monotonic
        began, found = now(), look()
        if found is not None:
            self._callers.put(mark, found, began + CACHED_CALLER_SECONDS - now())
        return found

    async def _in_turn(self, credential: Credential, verified: Callable[[], Caller]) -> Caller:
        """Verify a credential in a thread that nobody reads in; a password waits for its turn."""
        context = self._context
        if classify(credential) is not CredentialType.PASSWORD:
            return await context.pools.run_in(context.pools.tokens, verified)
        is_held = context.index.authenticator.verified_recently(credential)
        turns = context.known_password_limit if is_held else context.password_limit
        async with turns.acquire(network_of(credential.client_network)):
            return await context.pools.run_in(context.pools.passwords, verified)


def parse_authorization(header: bytes, origin: str = "") -> Credential:
    """
    Return what an Authorization header carries.

    Raises:
        Unauthenticated: It is of another scheme, or the pair is none.
        Invalid: It is too long, or not printable ASCII.
    """
    if len(header) > AUTHORIZATION_LIMIT_BYTES:
        raise Invalid(
            f"The Authorization header is longer than {AUTHORIZATION_LIMIT_BYTES} bytes, as no "
            "credential is.",
            code=HEADERS_TOO_LARGE,
            short="The Authorization header is too long.",
        )
    if not _PRINTABLE.fullmatch(header):
        raise Invalid(
            "The Authorization header is not printable ASCII. Send one with a credential.",
            short="Bad Authorization header.",
        )
    scheme, _, value = header.decode("ascii").partition(" ")
    if scheme.lower() == "bearer":
        return Credential("", value.strip(), is_bearer=True, client_network=origin)
    if scheme.lower() != "basic":
        raise invalid_credential()
    pair, is_unicode = _basic_pair(value.strip())
    user, _, password = pair.partition(":")
    return Credential(user, password, is_unicode=is_unicode, client_network=origin)


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
