"""
Sessions of browsers: the value that is in a cookie, and its signature.

    <session in JSON, base64url>.<HMAC-SHA256 of that text, base64url>

The signature is compared as text, so that no other spelling of the same bytes is accepted. There is
no credential in a session, only a keyed fingerprint of it: the session ends when the credential is
changed.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from typing import Final, Literal

from msgspec import MsgspecError, Struct
from msgspec.json import decode, encode

SESSION_SECONDS: Final = 12 * 3600
"""The longest life of a session."""
MAX_COOKIE_CHARS: Final = 3072
"""The longest signed session: of two e-mail addresses and a domain, each as long as they may be."""

CredentialKind = Literal["password", "api_token", "static_token", "id_token"]
"""The type of the credential that a session began with."""


class Session(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A session of a browser: whom it stands for, by which credential, and until when."""

    id: str
    """32 hexadecimal digits."""
    kind: CredentialKind
    subject: str
    """The user name, the id of the API token, or the principal."""
    proof: str
    """The fingerprint of what has to be unchanged: the password's hash, or the token's digest."""
    issued_at: int
    """When the person signed in, or the ID token was issued; seconds since the epoch."""
    expires_at: int
    principals: tuple[str, ...] = ()
    """All principals of a Google account; empty for credentials that this index can look up."""

    @property
    def expiry(self) -> datetime:
        """The moment from which the session is not valid."""
        return datetime.fromtimestamp(self.expires_at, UTC)


def sign_session(session: Session, key: bytes) -> str:
    """Return a session and its signature as the text of a cookie."""
    payload = urlsafe_b64encode(encode(session)).decode().rstrip("=")
    return f"{payload}.{_signature(payload, key)}"


def verified_session(cookie: str, key: bytes, now: float) -> Session | None:
    """
    Return the session in the text of a cookie.

    Return None if its form or its signature is wrong, or it has expired at `now`, in seconds since
    the epoch.
    """
    payload, _, signature = cookie.partition(".")
    if len(cookie) > MAX_COOKIE_CHARS or not cookie.isascii():
        return None
    if not hmac.compare_digest(signature, _signature(payload, key)):
        return None
    session = decoded_session(cookie)
    return session if session is not None and now < session.expires_at else None


def decoded_session(cookie: str) -> Session | None:
    """Return the session in the text of a cookie, whose signature is not checked; or None."""
    payload = cookie.partition(".")[0]
    try:
        return decode(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)), type=Session)
    except (ValueError, MsgspecError, RecursionError):
        return None


def fingerprint(evidence: str, kind: CredentialKind, key: bytes) -> str:
    """Return the keyed hash of a credential's stored hash or digest, for `Session.proof`."""
    text = f"proof\0{kind}\0{evidence}".encode("utf-8", "surrogatepass")
    return hmac.digest(key, text, "sha256").hex()[:32]


def _signature(payload: str, key: bytes) -> str:
    signed = hmac.digest(key, f"session\0{payload}".encode(), "sha256")
    return urlsafe_b64encode(signed).decode().rstrip("=")
