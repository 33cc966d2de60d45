"""
From an Authorization header to a caller.

A header that does not hold is a 401, even where anybody may read: a bad token must not look like a
missing package. RFC 7617 (Basic) and RFC 6750 (Bearer).
"""

import re
from base64 import b64decode
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

from wheelyard.catalog.cache import WeighedCache
from wheelyard.errors import Invalid
from wheelyard.http.errors import HEADERS_TOO_LARGE
from wheelyard.index import Index
from wheelyard.model.access import ANONYMOUS, Caller
from wheelyard.model.credential import Credential
from wheelyard.operations.doors import Ground
from wheelyard.operations.tokens import bad_credential
from wheelyard.trust.throttle import origin_of

HEADER_LIMIT: Final = 16_384
"""Bytes of an Authorization header."""
REMEMBERED: Final = 512 * 1024
"""Bytes of memory for who was recognised by a header of late."""
WEIGHT: Final = 1024
"""Bytes of memory that one of them takes, about."""
MARK: Final = 16
"""Bytes of the mark that a header is remembered by: never the header itself."""

_PRINTABLE = re.compile(rb"[\x20-\x7e]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Authenticator:
    """Recognises the callers of an index."""

    index: Index
    anonymous: Caller
    key: bytes = field(repr=False)
    recent: WeighedCache[bytes, tuple[Caller, Ground]]

    @classmethod
    def of(cls, index: Index) -> "Authenticator":
        """Return the authenticator of `index`."""
        anonymous = Caller(ANONYMOUS, index.public_scopes)
        key = index.ambient.random.randbytes(32)
        return cls(index, anonymous, key, WeighedCache(REMEMBERED))

    def mark(self, header: bytes | None, address: str) -> bytes:
        """Return what a header is remembered by, from where it comes; nothing for none."""
        if header is None:
            return b""
        marked = header + b"\0" + origin_of(address).encode()
        return blake2b(marked, digest_size=MARK, key=self.key).digest()

    def fresh(self, header: bytes | None, address: str, mark: bytes) -> Caller | None:
        """
        Return the caller if that needs no waiting, else None.

        Raises:
            Unauthenticated: The credential does not hold.
            Invalid: The header is no header.
        """
        if header is None:
            return self.anonymous
        doors = self.index.doors
        known = self.recent.get(mark)
        if known is not None and doors.holds(known[1]):
            return known[0]
        known = doors.fresh(self.credential(header, address))
        if known is None:
            return None
        self.recent.put(mark, known, WEIGHT)
        return known[0]

    def credential(self, header: bytes, address: str) -> Credential:
        """
        Return what a header carries.

        Raises:
            Unauthenticated: It is of another scheme, or the pair is none.
            Invalid: It is too long, or not printable ASCII.
        """
        return credential_in(header, origin_of(address))


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
