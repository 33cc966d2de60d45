"""
What all verifiers share: the interface, the cache of results, and the errors with fixed texts.

A client gets one fixed message for each type of credential, whatever is wrong with the credential.
The reason is a code for the operator's log. `CredentialRejected` carries the reason, and never
leaves the authentication package.
"""

import hmac
from base64 import urlsafe_b64decode
from typing import Final, Protocol, TypeVar

from msgspec import MsgspecError
from msgspec.json import decode

from wheelyard.concurrency.caches import ExpiringCache
from wheelyard.concurrency.runtime import Clock
from wheelyard.errors import IDENTITY_UNAVAILABLE, RETRY_AFTER_SECONDS, Unauthenticated, Unavailable
from wheelyard.model.access import ALL_AUTHENTICATED, ANONYMOUS, Credential, Identity, Scope
from wheelyard.model.claim_matchers import Claims

SIGNATURE_REMOVED: Final = "sig_removed_by_google"
"""The reason for rejecting a token whose signature Cloud Run has removed."""
MAX_CACHED_VERDICTS: Final = 10_000
"""The most results of verification in a cache."""

VerdictT = TypeVar("VerdictT")


class Verifier(Protocol):
    """
    Verifies credentials of one type.

    Threads may share it.
    """

    def cached_identity(self, credential: Credential) -> Identity | None:
        """
        Return the identity of a credential if the cache has it, or None otherwise.

        Sends no request and computes no hash. Raises Unauthenticated, as `verify` does, if the
        cache or the shape of the credential says that the credential is invalid.
        """
        ...

    def verify(self, credential: Credential) -> Identity:
        """
        Return the identity of a credential, from the cache or verified now.

        May wait. Raises Unauthenticated, with a fixed message, if the credential is invalid, and
        Unavailable if it cannot be verified now.
        """
        ...


class CredentialRejected(Exception):
    """Raised for an invalid credential, with a code for the log that has no secret."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class VerificationCache(ExpiringCache[bytes, VerdictT]):
    """
    Results of verification, each under an HMAC of the credential with a key of this process.

    So no credential can be read from the cache, and different types cannot share an entry.
    """

    def __init__(
        self,
        process_key: bytes,
        monotonic: Clock,
        capacity: int = MAX_CACHED_VERDICTS,
    ) -> None:
        super().__init__(monotonic, capacity)
        self._process_key = process_key

    def key(self, *parts: str) -> bytes:
        """Return the cache key of a credential: the HMAC of its parts (type, context, secret)."""
        # a lone surrogate cannot be written as UTF-8, and a text with one needs a key all the same
        text = "\0".join(parts).encode(errors="surrogatepass")
        return hmac.digest(self._process_key, text, "sha256")


def known_identity(principal: str, *scopes: Scope) -> Identity:
    """Return the identity of a password's user, or of a static token with its scopes."""
    return Identity(principal, frozenset({principal, ALL_AUTHENTICATED, ANONYMOUS}), scopes)


def decode_segment(segment: str) -> Claims:
    """Return the JSON object in a segment of an unverified JWT, or raise CredentialRejected."""
    # the Base64 of a JWT has no padding (RFC 7515, 2), and Python's decoder needs padding
    padding = "=" * (-len(segment) % 4)
    try:
        content = urlsafe_b64decode(segment + padding)
        return decode(content, type=dict[str, object])
    # anybody may send any bytes here; deep nesting raises RecursionError
    except (ValueError, MsgspecError, RecursionError):
        # not chained: the message of the cause may quote the token
        raise CredentialRejected("auth_malformed") from None


def invalid_id_token() -> Unauthenticated:
    """Return the error for a rejected signed token: an ID token, or an assertion of IAP."""
    return Unauthenticated(
        "This signed token is not valid here. Get a new one, and have it made out to this index "
        "as its audience."
    )


def invalid_access_token() -> Unauthenticated:
    """Return the error for a rejected Google access token."""
    return Unauthenticated(
        "This Google access token is not valid. Get a new one: 'gcloud auth print-access-token'."
    )


def invalid_password(reason: str) -> Unauthenticated:
    """Return the error for a rejected password. `reason` is the code for the log."""
    fault = Unauthenticated(
        "Wrong name or password. Send those that the operator of this index gave you."
    )
    fault.__cause__ = CredentialRejected(reason)
    return fault


def verification_unavailable(who: str) -> Unavailable:
    """Return the error for a credential that waits for `who`, a server that does not answer."""
    return Unavailable(
        f"{who} does not answer, so this credential cannot be verified.",
        code=IDENTITY_UNAVAILABLE,
        retry_after=RETRY_AFTER_SECONDS,
    )
