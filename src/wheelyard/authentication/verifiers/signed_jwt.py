"""
Verification of signed JWTs (RFC 7519): issuer, signature, audience and times.

The `iss` claim only selects one of the configured issuers; no URL is ever made from a token. PyJWT
checks the signature. The times are checked here: PyJWT reads the clock itself, has no limit on the
lifetime, and accepts times that are strings or fractions.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Final

import jwt
from msgspec import Struct

from wheelyard.authentication.verifiers.issuer_keys import IssuerKeys
from wheelyard.authentication.verifiers.verifier import (
    SIGNATURE_REMOVED,
    CredentialRejected,
    VerificationCache,
    decode_segment,
    invalid_id_token,
)
from wheelyard.model.access import Credential, Identity
from wheelyard.model.claim_matchers import Claims

logger = logging.getLogger("wheelyard")

JWT_LIMIT_BYTES: Final = 8192
KID_LIMIT_CHARS: Final = 200
LEEWAY_SECONDS: Final = 30
"""The accepted difference between the clocks of issuer and index."""
MAX_LIFETIME_SECONDS: Final = 3700
"""The longest time from `iat` to `exp` of a JWT: an hour and a little."""
REMOVED_SIGNATURE: Final = "SIGNATURE_REMOVED_BY_GOOGLE"
"""What Cloud Run puts in place of a signature that it has checked itself."""
CACHE_SECONDS: Final = 300.0
"""The longest time that a verified token is not verified again; never beyond its expiry."""

_REQUIRED: Final = ("iss", "aud", "exp", "iat", "sub")
_REASONS: Final[Mapping[type[jwt.PyJWTError], str]] = {
    jwt.InvalidSignatureError: "jwt_sig",
    jwt.InvalidKeyError: "jwt_sig",
    jwt.InvalidAlgorithmError: "jwt_alg",
    jwt.InvalidAudienceError: "jwt_aud",
    jwt.InvalidIssuerError: "jwt_iss",
}


class IssuerConfig(Struct, frozen=True):
    """A trusted issuer, and the conditions on its tokens."""

    name: str
    """The exact `iss` of its tokens."""
    keys: IssuerKeys
    algorithms: frozenset[str]
    """Signature algorithms; only those with public keys."""
    audiences: frozenset[str]
    """The accepted `aud` values, exactly."""
    lifetime: int = MAX_LIFETIME_SECONDS
    """Seconds that its tokens may live."""


class IdTokenVerifier(Struct, frozen=True):
    """Verifies signed tokens (JWTs) of the given issuers, with a cache; thread-safe."""

    issuers: Mapping[str, IssuerConfig]
    identify: Callable[[Claims], Identity]
    """Returns the identity for verified claims, or raises CredentialRejected."""
    now: Callable[[], float]
    cache: VerificationCache[Identity]

    def cached_identity(self, credential: Credential) -> Identity | None:
        """Return the identity of a signed token if it is cached, else None."""
        return self.cache.get(self.cache.key("signed", credential.secret))

    def verify(self, credential: Credential) -> Identity:
        """Return the identity of a signed token, cached or verified now; see `Verifier.verify`."""
        identity = self.cached_identity(credential)
        if identity is not None:
            return identity
        now = self.now()
        try:
            claims = verified_claims(credential.secret, self.issuers, now)
            identity = self.identify(claims)
        except CredentialRejected as rejected:
            raise invalid_id_token() from rejected
        seconds = min(_time(claims, "exp") - now, CACHE_SECONDS)
        self.cache.put(self.cache.key("signed", credential.secret), identity, seconds)
        return identity


def verified_claims(token: str, issuers: Mapping[str, IssuerConfig], now: float) -> Claims:
    """
    Return the claims of a token after checks of its issuer, audience, signature and times.

    `now` is in seconds since the epoch. Raise CredentialRejected if the token is invalid,
    Unavailable if the issuer's keys cannot be fetched.
    """
    header, unverified = _decode_unverified(token)
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
    if key.algorithm_name != header["alg"]:
        raise CredentialRejected("jwt_alg")
    try:
        claims = jwt.decode(
            token,
            key,
            algorithms=[key.algorithm_name],
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
    except Exception as error:  # noqa: BLE001 - any failure of the library means: not verified
        logger.error("a signed token could not be judged: %s", type(error).__name__)  # noqa: TRY400 - a traceback may hold the token
        raise CredentialRejected("auth_malformed") from None
    _check_times(claims, issuer, now)
    return claims


def _decode_unverified(token: str) -> tuple[Claims, Claims]:
    """Return unverified header and claims; raise CredentialRejected if nothing can be verified."""
    is_jwt = token.isascii() and token.count(".") == 2  # noqa: PLR2004 - between the three parts
    if len(token) > JWT_LIMIT_BYTES or not is_jwt:
        raise CredentialRejected("auth_malformed")
    header, claims, signature = token.split(".")
    if signature == REMOVED_SIGNATURE:
        raise CredentialRejected(SIGNATURE_REMOVED)
    return decode_segment(header), decode_segment(claims)


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
    issued_at, expires_at = _time(claims, "iat"), _time(claims, "exp")
    not_before = _time(claims, "nbf") if "nbf" in claims else issued_at
    is_current = (
        0 < expires_at - issued_at <= issuer.lifetime
        and now - issuer.lifetime <= issued_at <= now + LEEWAY_SECONDS
        and not_before <= now + LEEWAY_SECONDS
        and now < expires_at + LEEWAY_SECONDS
    )
    if not is_current:
        raise CredentialRejected("jwt_time")


def _time(claims: Claims, name: str) -> int:
    value = claims.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise CredentialRejected("jwt_time")
    return value


def _text(claims: Claims, name: str, reason: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str):
        raise CredentialRejected(reason)
    return value
