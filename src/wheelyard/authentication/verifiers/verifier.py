"""
What all verifiers of credentials have in common: what they do, how they refuse, what they remember.

The person at the other end gets one fixed text for each kind of credential, whatever was wrong with
it. Why it was refused is a code for the operator's log, and travels in `CredentialRejected`, which
is never seen above this package.
"""

import hmac
from base64 import urlsafe_b64decode
from collections.abc import Callable
from typing import Final, Protocol, TypeVar

from msgspec import MsgspecError
from msgspec.json import decode

from wheelyard.concurrency.caches import ExpiringCache
from wheelyard.errors import Unauthenticated, Unavailable
from wheelyard.model.access import Identity
from wheelyard.model.claim_matchers import Claims

SIGNATURE_REMOVED: Final = "sig_removed_by_google"
"""The reason for a token whose signature Cloud Run has cut off."""
MAX_CACHED_VERDICTS: Final = 10_000
"""Verdicts in memory, of each kind of credential."""

V = TypeVar("V")


class Verifier(Protocol):
    """Recognises who sends a secret of one kind; safe to share between threads."""

    def cached_identity(self, token: str) -> Identity | None:
        """Return who sends it if that needs no waiting, else None."""
        ...

    def verify(self, token: str) -> Identity:
        """
        Return who sends it; this may wait.

        Raises:
            Unauthenticated: It does not hold; always the same text.
            Unavailable: That cannot be told just now.
        """
        ...


class CredentialRejected(Exception):
    """
    A credential does not hold.

    Args:
        reason: A code for the log: `jwt_sig`, `gat_rejected`. Never anything of the credential.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class VerificationCache(ExpiringCache[bytes, V]):
    """
    Verdicts on credentials, each under an HMAC with a key of this process.

    So nothing in memory can be replayed, and no two kinds of credential can meet under one name.

    Args:
        process_key: 32 random bytes of this process.
        monotonic: Seconds that never jump.
        capacity: How many are kept.
    """

    def __init__(
        self,
        process_key: bytes,
        monotonic: Callable[[], float],
        capacity: int = MAX_CACHED_VERDICTS,
    ) -> None:
        super().__init__(monotonic, capacity)
        self._process_key = process_key

    def key(self, *parts: str) -> bytes:
        """Return what a credential is known by: the HMAC of its kind, context and secret."""
        return hmac.digest(self._process_key, "\0".join(parts).encode(), "sha256")


def decode_segment(segment: str) -> Claims:
    """
    Return the JSON object that a segment of an unverified JWT holds: its header, or its claims.

    Raises:
        Refused: It holds none, or text with half a character in it.
    """
    try:
        padded = urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
        return decode(padded, type=dict[str, object])
    except (ValueError, MsgspecError, RecursionError):
        raise CredentialRejected("auth_malformed") from None


def invalid_id_token() -> Unauthenticated:
    """Return the one fault for every signed token that does not hold; raised from its Refused."""
    return Unauthenticated(
        "This signed token is not valid here. Get a new one, and have it made out to this index "
        "as its audience.",
        short="Invalid signed token.",
    )


def invalid_access_token() -> Unauthenticated:
    """Return the one fault for every Google access token that does not hold, likewise."""
    return Unauthenticated(
        "This Google access token is not valid. Get a new one: 'gcloud auth print-access-token'.",
        short="Invalid Google access token.",
    )


def invalid_password(reason: str) -> Unauthenticated:
    """Return the one fault for a name and a password that do not hold, with its Refused."""
    fault = Unauthenticated(
        "Wrong name or password. Send those that the operator of this index gave you.",
        short="Wrong name or password.",
    )
    fault.__cause__ = CredentialRejected(reason)
    return fault


def verification_unavailable(who: str) -> Unavailable:
    """
    Return the fault for a credential that nobody can judge just now; it may be a good one.

    Args:
        who: Whose answer is missing: "Google", "The issuer of this token".
    """
    return Unavailable(
        f"{who} does not answer, so this credential cannot be verified. Try again in a moment.",
        code="identity_unavailable",
        short="The credential cannot be verified just now.",
    )


def too_many_logins() -> Unavailable:
    """Return the fault for a credential that is not looked at, because too many others are."""
    return Unavailable(
        "Too many logins are being checked. Try again in a moment.",
        code="overloaded",
        short="Too many logins.",
    )
