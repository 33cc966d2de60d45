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

from wheelyard.concurrency.caches import TimedCache
from wheelyard.errors import Invalid, Unauthenticated
from wheelyard.http.desk import Desk
from wheelyard.http.errors import HEADERS_TOO_LARGE
from wheelyard.model.access import ANONYMOUS, Caller, Credential
from wheelyard.operations.doors import Kind, kind_of, reason_of
from wheelyard.operations.tokens import bad_credential
from wheelyard.trust.throttle import network_of, origin_of
from wheelyard.trust.verifier import Verifier

C = TypeVar("C", bound=Caller | None)

HEADER_LIMIT: Final = 16_384
"""Bytes of an Authorization header."""
RECENT: Final = 1.0
"""Seconds that a header which held is believed without a second look."""
REMEMBERED: Final = 512
"""Callers in memory, of about 1 KiB each."""
MARK: Final = 16
"""Bytes of the mark that a header is remembered by: never the header itself."""

_PRINTABLE = re.compile(rb"[\x20-\x7e]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Authenticator:
    """Recognises the callers of an index."""

    def __init__(self, desk: Desk) -> None:
        index = desk.index
        self.anonymous = Caller(ANONYMOUS, index.doors.rights.public)
        self._desk = desk
        self._key = index.ambient.random.randbytes(32)
        self._callers = TimedCache[bytes, Caller](index.ambient.monotonic, REMEMBERED)
        """Who was recognised within the last second, by the mark of their header."""

    def mark(self, header: bytes | None, address: str) -> bytes:
        """Return what a header is remembered by, from where it comes; nothing for none."""
        if header is None:
            return b""
        marked = header + b"\0" + origin_of(address).encode()
        return blake2b(marked, digest_size=MARK, key=self._key).digest()

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
            credential = credential_in(header, origin_of(address))
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
        doors, identity = self._desk.index.doors, login.known(assertion)
        if identity is None:
            try:
                identity = await self._desk.threads.run(
                    self._desk.threads.verifiers, lambda: login.identity(assertion)
                )
            except Unauthenticated as fault:
                doors.log.note(reason_of(fault, otherwise=fault.code), "the proxy")
                raise
        return doors.rights.caller(identity)

    async def _recognised(self, credential: Credential, address: str, mark: bytes) -> Caller:
        desk, doors = self._desk, self._desk.index.doors

        def known() -> Caller | None:
            return self._noted(mark, lambda: doors.known(credential))

        def verified() -> Caller:
            return self._noted(mark, lambda: doors.caller(credential, address))

        found = await desk.threads.read(known) if doors.is_due(credential) else known()
        if found is not None:
            return found
        subject = ("caller", mark)
        if doors.may_be_slow(credential):
            in_turn = partial(self._in_turn, credential, verified)
            return await desk.reads.flights.join(subject, in_turn)
        return await desk.reads.shared(subject, verified, lambda: doors.excused(credential))

    def _noted(self, mark: bytes, look: Callable[[], C]) -> C:
        """Look who sends a header, and note it for a second from the beginning of the look."""
        now = self._desk.index.ambient.monotonic
        began, found = now(), look()
        if found is not None:
            self._callers.put(mark, found, began + RECENT - now())
        return found

    async def _in_turn(self, credential: Credential, verified: Callable[[], Caller]) -> Caller:
        """Verify a credential in a thread that nobody reads in; a password waits for its turn."""
        desk = self._desk
        if kind_of(credential) is not Kind.PASSWORD:
            return await desk.threads.run(desk.threads.verifiers, verified)
        is_held = desk.index.doors.has_held(credential)
        turns = desk.known_logins if is_held else desk.logins
        async with turns.one(network_of(credential.origin)):
            return await desk.threads.run(desk.threads.hashers, verified)


def credential_in(header: bytes, origin: str = "") -> Credential:
    """
    Return what an Authorization header carries.

    Raises:
        Unauthenticated: It is of another scheme, or the pair is none.
        Invalid: It is too long, or not printable ASCII.
    """
    if len(header) > HEADER_LIMIT:
        raise Invalid(
            f"The Authorization header is longer than {HEADER_LIMIT} bytes, as no credential is.",
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
        return Credential("", value.strip(), is_bearer=True, origin=origin)
    if scheme.lower() != "basic":
        raise bad_credential()
    pair, is_unicode = _basic_pair(value.strip())
    user, _, password = pair.partition(":")
    return Credential(user, password, is_unicode=is_unicode, origin=origin)


def _basic_pair(value: str) -> tuple[str, bool]:
    try:
        decoded = b64decode(value, validate=True)
    except ValueError as error:
        raise bad_credential() from error
    try:
        pair, is_unicode = decoded.decode(), True
    except UnicodeDecodeError:  # clients built on requests send Latin-1
        pair, is_unicode = decoded.decode("latin-1"), False
    if ":" not in pair or _CONTROL.search(pair):
        raise bad_credential()
    return pair, is_unicode
