"""
Is this signed statement (JWT, RFC 7519) one of an issuer that we know, to us, and of now?

The issuer that a token names only picks one of those that are configured; no URL is ever made from
a token. The signature is PyJWT's work. The times are ours: PyJWT reads the clock itself, knows no
longest lifetime, and takes a time that is a string or a fraction.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import jwt

from wheelyard.authentication.verifiers.jwks import JwksCache
from wheelyard.authentication.verifiers.verifier import (
    SIGNATURE_REMOVED,
    CredentialRejected,
    decode_segment,
    invalid_id_token,
)
from wheelyard.model.claim_matchers import Claims

logger = logging.getLogger("wheelyard")

JWT_LIMIT_BYTES: Final = 8192
"""Bytes of a token."""
KID_LIMIT_CHARS: Final = 200
LEEWAY_SECONDS: Final = 30
"""Seconds that a clock of an issuer may differ from ours."""
MAX_LIFETIME_SECONDS: Final = 3700
"""Seconds from `iat` to `exp`, at most: an hour and a little."""
REMOVED_SIGNATURE: Final = "SIGNATURE_REMOVED_BY_GOOGLE"
"""What Cloud Run leaves of a signature that it has checked itself."""

_REQUIRED: Final = ("iss", "aud", "exp", "iat", "sub")
_REASONS: Final[Mapping[type[jwt.PyJWTError], str]] = {
    jwt.InvalidSignatureError: "jwt_sig",
    jwt.InvalidKeyError: "jwt_sig",
    jwt.InvalidAlgorithmError: "jwt_alg",
    jwt.InvalidAudienceError: "jwt_aud",
    jwt.InvalidIssuerError: "jwt_iss",
}


@dataclass(frozen=True, slots=True)
class IssuerConfig:
    """Whose statements are believed, and on which conditions."""

    name: str
    """The `iss` of its tokens, exactly."""
    keys: JwksCache
    algorithms: frozenset[str]
    """What it signs with; never one that is not of public keys."""
    audiences: frozenset[str]
    """Who a token may be made out to, exactly."""
    lifetime: int = MAX_LIFETIME_SECONDS
    """Seconds that its tokens may live."""


def verify_jwt(token: str, issuers: Mapping[str, IssuerConfig], now: float) -> Claims:
    """Return what a token states; raise Unauthenticated where `claims_of` refuses it."""
    try:
        return verified_claims(token, issuers, now)
    except CredentialRejected as refused:
        raise invalid_id_token() from refused


def verified_claims(token: str, issuers: Mapping[str, IssuerConfig], now: float) -> Claims:
    """
    Return what a token states, for those who answer a refusal in their own way.

    Issuers are known by name; `now` is in seconds since the epoch.

    Raises:
        Refused: It does not hold, and why.
        Unavailable: The issuer's keys cannot be had just now.
    """
    header, unverified = _opened(token)
    issuer = issuers.get(_text(unverified, "iss", "jwt_iss"))
    if issuer is None:
        raise CredentialRejected("jwt_iss")
    kid = _checked_kid(header, issuer)
    audience = _text(unverified, "aud", "jwt_aud")
    if audience not in issuer.audiences:
        raise CredentialRejected("jwt_aud")
    key = issuer.keys.key(kid)
    if key is None:
        raise CredentialRejected("jwt_kid")
    if key.algorithm != header["alg"]:
        raise CredentialRejected("jwt_alg")
    try:
        claims = jwt.decode(
            token,
            key.public,
            algorithms=[key.algorithm],
            audience=audience,
            issuer=issuer.name,
            options={
                "require": list(_REQUIRED),
                "strict_aud": True,
                "enforce_minimum_key_length": True,
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
    except jwt.PyJWTError as error:
        raise CredentialRejected(_REASONS.get(type(error), "auth_malformed")) from None
    except Exception as error:  # noqa: BLE001 - whatever a library makes of a hostile token: no
        logger.error("a signed token could not be judged: %s", type(error).__name__)  # noqa: TRY400 - a traceback may hold the token
        raise CredentialRejected("auth_malformed") from None
    _check_times(claims, issuer, now)
    return claims


def _opened(token: str) -> tuple[Claims, Claims]:
    """Return header and claims of a token, as anybody could have written them."""
    if len(token) > JWT_LIMIT_BYTES or not token.isascii():
        raise CredentialRejected("auth_malformed")
    if token.count(".") != 2:  # noqa: PLR2004 - between header, claims and signature
        raise CredentialRejected("auth_malformed")
    head, body, signature = token.split(".")
    if signature == REMOVED_SIGNATURE:
        raise CredentialRejected(SIGNATURE_REMOVED)
    return decode_segment(head), decode_segment(body)


def _checked_kid(header: Claims, issuer: IssuerConfig) -> str:
    if _text(header, "alg", "jwt_alg") not in issuer.algorithms:
        raise CredentialRejected("jwt_alg")
    if "crit" in header or "b64" in header or header.get("typ", "JWT") != "JWT":
        raise CredentialRejected("auth_malformed")
    kid = _text(header, "kid", "jwt_kid")
    if len(kid) > KID_LIMIT_CHARS:
        raise CredentialRejected("jwt_kid")
    return kid


def _check_times(claims: Claims, issuer: IssuerConfig, now: float) -> None:
    issued, expires = _time(claims, "iat"), _time(claims, "exp")
    begins = _time(claims, "nbf") if "nbf" in claims else issued
    is_current = (
        0 < expires - issued <= issuer.lifetime
        and now - issuer.lifetime <= issued <= now + LEEWAY_SECONDS
        and begins <= now + LEEWAY_SECONDS
        and now < expires + LEEWAY_SECONDS
    )
    if not is_current:
        raise CredentialRejected("jwt_time")


def _time(claims: Claims, name: str) -> int:
    found = claims.get(name)
    if not isinstance(found, int) or isinstance(found, bool):
        raise CredentialRejected("jwt_time")
    return found


def _text(found: Claims, name: str, reason: str) -> str:
    value = found.get(name)
    if not isinstance(value, str):
        raise CredentialRejected(reason)
    return value
