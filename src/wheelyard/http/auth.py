"""
From an Authorization header to a caller.

A header that does not hold is a 401, even where anybody may read: a bad token must not look like a
missing package. RFC 7617 (Basic) and RFC 6750 (Bearer).
"""

import re
from base64 import b64decode
from dataclasses import dataclass
from typing import Final

from wheelyard.catalog.cache import WeighedCache
from wheelyard.errors import Invalid
from wheelyard.index import Index
from wheelyard.model.access import ANONYMOUS, Caller
from wheelyard.model.token import Token, looks_like_token, parse_token
from wheelyard.operations.tokens import bad_credential

HEADER_LIMIT: Final = 16_384
"""Bytes of an Authorization header."""
REMEMBERED: Final = 512 * 1024
"""Bytes of the headers whose token is remembered, to spare the decoding."""

_PRINTABLE = re.compile(rb"[\x20-\x7e]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Authenticator:
    """Recognises the callers of an index."""

    index: Index
    anonymous: Caller
    remembered: WeighedCache[bytes, Token]

    @classmethod
    def of(cls, index: Index) -> "Authenticator":
        """Return the authenticator of `index`."""
        return cls(index, Caller(ANONYMOUS, index.public_scopes), WeighedCache(REMEMBERED))

    def fresh(self, header: bytes | None) -> Caller | None:
        """
        Return the caller if that needs no waiting, else None.

        Raises:
            Unauthenticated: The credential does not hold.
            Invalid: The header is no header.
        """
        if header is None:
            return self.anonymous
        return self.index.tokens.fresh_caller(self._token(header))

    def excused(self, header: bytes | None) -> Caller | None:
        """
        Return the caller as far as a store that does not answer has told before, else None.

        Raises:
            Unauthenticated: The credential does not hold.
            Invalid: The header is no header.
        """
        if header is None:
            return self.anonymous
        return self.index.tokens.excused_caller(self._token(header))

    def caller(self, header: bytes | None) -> Caller:
        """
        Return the caller, waiting for the store if need be.

        Raises:
            Unauthenticated: The credential does not hold.
            Unavailable: The store does not answer.
        """
        return self.anonymous if header is None else self.index.tokens.caller(self._token(header))

    def _token(self, header: bytes) -> Token:
        token = self.remembered.get(header)
        if token is None:
            token = token_in(header)
            self.remembered.put(header, token, len(header))
        return token


def token_in(header: bytes) -> Token:
    """
    Return the token that an Authorization header carries.

    In a Basic pair it is the half that has a token's form, whichever that is.

    Raises:
        Unauthenticated: There is none in it.
        Invalid: The header is too long, or is not printable ASCII.
    """
    for candidate in secrets_in(header):
        if looks_like_token(candidate) and (token := parse_token(candidate)):
            return token
    raise bad_credential()


def secrets_in(header: bytes) -> tuple[str, ...]:
    """
    Return what an Authorization header carries: what follows Bearer, or both halves of a pair.

    Raises:
        Unauthenticated: It is of another scheme, or the pair is none.
        Invalid: The header is too long, or is not printable ASCII.
    """
    if len(header) > HEADER_LIMIT or not _PRINTABLE.fullmatch(header):
        raise Invalid(
            "The Authorization header is too long or not printable. Send a token of this index.",
            short="Bad Authorization header.",
        )
    scheme, _, value = header.decode("ascii").partition(" ")
    if scheme.lower() == "bearer":
        return (value.strip(),)
    if scheme.lower() != "basic":
        raise bad_credential()
    user, _, password = _basic_pair(value.strip()).partition(":")
    return password, user


def _basic_pair(value: str) -> str:
    try:
        pair = b64decode(value, validate=True).decode()
    except ValueError as error:
        raise bad_credential() from error
    if ":" not in pair or _CONTROL.search(pair):
        raise bad_credential()
    return pair
