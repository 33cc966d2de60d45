"""From a signed token to who sent it, remembered for a while."""

from collections.abc import Callable, Mapping
from typing import Final

from wheelyard.model.identity import Identity
from wheelyard.model.statement import Claims
from wheelyard.trust.refusals import Refused, bad_statement
from wheelyard.trust.statements import LENGTH, Issuer, claims_of
from wheelyard.trust.verdicts import Verdicts

REMEMBERED: Final = 300.0
"""Seconds that a token is not verified again, at most; never beyond its expiry."""


class Login:
    """
    Recognises who sends the signed tokens of one kind; safe to share between threads.

    Args:
        issuers: By the `iss` of their tokens.
        identify: Makes an identity of what was signed, or raises Refused.
        now: Tells the seconds since the epoch.
        verdicts: What is remembered; for this login alone.
    """

    def __init__(
        self,
        issuers: Mapping[str, Issuer],
        identify: Callable[[Claims], Identity],
        now: Callable[[], float],
        verdicts: Verdicts[Identity],
    ) -> None:
        self._issuers = issuers
        self._identify = identify
        self._now = now
        self._verdicts = verdicts

    def known(self, token: str) -> Identity | None:
        """Return who sends a token if that needs no work and no waiting, else None."""
        return self._verdicts.get(self._mark(token)) if _is_short(token) else None

    def identity(self, token: str) -> Identity:
        """
        Return who sends a token; this may wait for the issuer's keys.

        Raises:
            Unauthenticated: The token does not hold; always the same text.
            Unavailable: The issuer's keys cannot be had just now.
        """
        found = self.known(token)
        if found is not None:
            return found
        now = self._now()
        try:
            claims = claims_of(token, self._issuers, now)
            found = self._identify(claims)
        except Refused as refused:
            raise bad_statement() from refused
        expires = claims["exp"]
        if isinstance(expires, int):
            self._verdicts.put(self._mark(token), found, min(expires - now, REMEMBERED))
        return found

    def _mark(self, token: str) -> bytes:
        return self._verdicts.mark("signed", token)


def _is_short(token: str) -> bool:
    return len(token) <= LENGTH and token.isascii()
