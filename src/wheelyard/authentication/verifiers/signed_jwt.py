"""
Verification of signed JWTs (RFC 7519), with the public keys of their issuers (RFC 7517).

The checks that need only the token come first, so that a stranger's token causes no fetch of keys.
The key decides the algorithm. Fields of a token that name an algorithm or the place of keys (`jku`,
`x5u`, `jwk`) decide nothing: both have let attackers sign tokens for others (RFC 8725).
"""

import logging
from collections.abc import Mapping
from typing import Final, Protocol

import jwt
from jwt import PyJWK
from msgspec import Struct

from wheelyard.authentication.verifiers.issuer_keys import IssuerKeys
from wheelyard.authentication.verifiers.verifier import (
    SIGNATURE_REMOVED,
    CredentialRejected,
    VerificationCache,
    decode_segment,
    invalid_id_token,
)
from wheelyard.concurrency.runtime import Clock
from wheelyard.model.access import Credential, Identity
from wheelyard.model.claim_matchers import Claims

JWT_LIMIT_BYTES: Final = 8192
MAX_JWT_BYTES: Final = 65_536
"""The largest token of any issuer, which has the groups of a person."""
KID_LIMIT_CHARS: Final = 200
LEEWAY_SECONDS: Final = 30
"""The accepted difference between the clocks of issuer and index."""
MAX_LIFETIME_SECONDS: Final = 3700
"""The longest time from `iat` to `exp` of a JWT: an hour and a little."""
REMOVED_SIGNATURE: Final = "SIGNATURE_REMOVED_BY_GOOGLE"
"""The text that Cloud Run puts in place of a signature that it has checked itself."""
CACHE_SECONDS: Final = 300.0
"""The longest time for which a verified token is cached, which ends at its expiry."""

_REQUIRED_CLAIMS: Final = ("iss", "aud", "exp", "iat", "sub")
_REASON_BY_ERROR: Final[Mapping[type[jwt.PyJWTError], str]] = {
    jwt.InvalidSignatureError: "jwt_sig",
    jwt.InvalidKeyError: "jwt_sig",
    jwt.InvalidAlgorithmError: "jwt_alg",
    jwt.InvalidAudienceError: "jwt_aud",
    jwt.InvalidIssuerError: "jwt_iss",
}
"""The reason for the log, by the error of PyJWT."""

logger = logging.getLogger("wheelyard")


class IssuerConfig(Struct, frozen=True):
    """A trusted issuer, and the conditions that its tokens have to meet."""

    name: str
    """The exact `iss` of the tokens."""
    keys: IssuerKeys
    algorithms: frozenset[str]
    """The accepted signature algorithms, all of which have public keys."""
    audiences: frozenset[str]
    """The accepted `aud` values, exactly."""
    lifetime: int = MAX_LIFETIME_SECONDS
    """The most seconds that a token may live."""
    max_bytes: int = JWT_LIMIT_BYTES
    """The size of the largest accepted token."""
    lists_audience: bool = False
    """Whether `aud` may be a list with one member."""


class AccountRules(Protocol):
    """The rules by which the claims of a verified token name an account."""

    def identify(self, claims: Claims) -> Identity:
        """Return the identity for verified claims, or raise CredentialRejected."""
        ...


class IdTokenVerifier(Struct, frozen=True):
    """
    Verifies signed tokens (JWTs) of the given issuers, with a cache.

    Threads may share it.
    """

    issuers: Mapping[str, IssuerConfig]
    accounts: AccountRules
    now: Clock
    cache: VerificationCache[Identity]

    def cached_identity(self, credential: Credential) -> Identity | None:
        """Return the identity of a signed token if the cache has it, or None otherwise."""
        return self.cache.get(self.cache.key("signed", credential.secret))

    def verify(self, credential: Credential) -> Identity:
        """
        Return the identity of a signed token, cached or verified now.

        May wait for the keys of the issuer. Raises Unauthenticated, with a fixed message, if the
        token is invalid, and Unavailable if it cannot be verified now.
        """
        identity = self.cached_identity(credential)
        if identity is not None:
            return identity
        now = self.now()
        try:
            claims = verified_claims(credential.secret, self.issuers, now)
            identity = self.accounts.identify(claims)
        except CredentialRejected as rejected:
            raise invalid_id_token() from rejected
        # a rejection is not cached, as it is cheap to find an invalid signature
        seconds = min(_time_claim(claims, "exp") - now, CACHE_SECONDS)
        self.cache.put(self.cache.key("signed", credential.secret), identity, seconds)
        return identity


def verified_claims(token: str, issuers: Mapping[str, IssuerConfig], now: float) -> Claims:
    """
    Return the claims of a token, whose issuer, audience, signature and times were checked.

    `now` is in seconds since the epoch. A token may be used `LEEWAY_SECONDS` before it was issued
    and after it has expired, as clocks differ. It is rejected if it lives longer than the
    `lifetime` of its issuer, of which `issuers` has the configuration by its `iss`.

    The keys of the issuer may be fetched. Raises CredentialRejected if the token is invalid, its
    issuer unknown, or its key none of the issuer's. Raises Unavailable if its key is unknown and
    the keys cannot be fetched.
    """
    # issuer, algorithm and audience come before the key: a stranger's token causes no fetch
    header, unverified_claims = _decode_unverified(token)
    issuer_name = _text_claim(unverified_claims, "iss", "jwt_iss")
    issuer = issuers.get(issuer_name)
    if issuer is None:
        raise CredentialRejected("jwt_iss")
    if len(token) > issuer.max_bytes:
        raise CredentialRejected("auth_malformed")
    kid = _checked_kid(header, issuer)
    audience = _single_audience(unverified_claims, issuer)
    if audience not in issuer.audiences:
        raise CredentialRejected("jwt_aud")
    key = issuer.keys.key(kid)
    if key is None:
        raise CredentialRejected("jwt_kid")

    # the key decides: a token that names another algorithm must not choose how it is verified
    if key.algorithm_name != header["alg"]:
        raise CredentialRejected("jwt_alg")
    claims = _decode_verified(token, key, audience, issuer)
    _check_times(claims, issuer, now)
    return claims


def _decode_verified(token: str, key: PyJWK, audience: str, issuer: IssuerConfig) -> Claims:
    """
    Return the claims of a token, whose signature, audience and issuer PyJWT has checked.

    Raises CredentialRejected if a check fails.
    """
    try:
        claims: Claims = jwt.decode(
            token,
            key,
            algorithms=[key.algorithm_name],
            audience=audience,
            issuer=issuer.name,
            options={
                "require": list(_REQUIRED_CLAIMS),
                "strict_aud": not issuer.lists_audience,
                "enforce_minimum_key_length": True,
                # `_check_times` checks these, by the given clock and with a longest lifetime
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
    except jwt.PyJWTError as error:
        reason = _REASON_BY_ERROR.get(type(error), "auth_malformed")
        # not chained: the message of the cause may quote claims
        raise CredentialRejected(reason) from None
    except Exception as error:  # noqa: BLE001 - any failure of the library means: not verified
        logger.error("a signed token could not be judged: %s", type(error).__name__)  # noqa: TRY400 - a traceback may hold the token
        raise CredentialRejected("auth_malformed") from None
    return claims


def _decode_unverified(token: str) -> tuple[Claims, Claims]:
    """Return the unverified header and claims of a JWT, or raise CredentialRejected for others."""
    has_jwt_shape = token.isascii() and token.count(".") == 2  # noqa: PLR2004 - between the parts
    # anybody may send any text: its size limits the work of all further checks
    if len(token) > MAX_JWT_BYTES or not has_jwt_shape:
        raise CredentialRejected("auth_malformed")
    header, claims, signature = token.split(".")
    if signature == REMOVED_SIGNATURE:
        raise CredentialRejected(SIGNATURE_REMOVED)
    return decode_segment(header), decode_segment(claims)


def _single_audience(claims: Claims, issuer: IssuerConfig) -> str:
    """Return the only audience of a token, or raise CredentialRejected if it has several."""
    audience = claims.get("aud")
    # another audience of the token could send the token to this index
    if issuer.lists_audience and isinstance(audience, list) and len(audience) == 1:
        return _text_claim({"aud": audience[0]}, "aud", "jwt_aud")
    return _text_claim(claims, "aud", "jwt_aud")


def _checked_kid(header: Claims, issuer: IssuerConfig) -> str:
    """Return the id of the key that a valid header names, or raise CredentialRejected."""
    if _text_claim(header, "alg", "jwt_alg") not in issuer.algorithms:
        raise CredentialRejected("jwt_alg")
    # a verifier must reject a token with `crit` whose rules it does not know (RFC 7515, 4.1.11)
    has_unknown_rules = "crit" in header or "b64" in header
    if has_unknown_rules or header.get("typ", "JWT") != "JWT":
        raise CredentialRejected("auth_malformed")
    kid = _text_claim(header, "kid", "jwt_kid")
    if len(kid) > KID_LIMIT_CHARS:
        raise CredentialRejected("jwt_kid")
    return kid


def _check_times(claims: Claims, issuer: IssuerConfig, now: float) -> None:
    """Raise CredentialRejected unless a token is valid now, and lives no longer than allowed."""
    issued_at = _time_claim(claims, "iat")
    expires_at = _time_claim(claims, "exp")
    not_before = issued_at
    if "nbf" in claims:
        not_before = _time_claim(claims, "nbf")
    # The clock of the issuer may be a little ahead. A token that claims a long life is rejected, as
    # nobody can revoke it.
    is_current = (
        0 < expires_at - issued_at <= issuer.lifetime
        and now - issuer.lifetime <= issued_at <= now + LEEWAY_SECONDS
        and not_before <= now + LEEWAY_SECONDS
        and now < expires_at + LEEWAY_SECONDS
    )
    if not is_current:
        raise CredentialRejected("jwt_time")


def _time_claim(claims: Claims, name: str) -> int:
    """Return a claim in seconds since the epoch, or raise CredentialRejected if it is no int."""
    value = claims.get(name)
    # True is an int in Python
    if not isinstance(value, int) or isinstance(value, bool):
        raise CredentialRejected("jwt_time")
    return value


def _text_claim(claims: Claims, name: str, reason: str) -> str:
    """Return a claim that is a text, or raise CredentialRejected with `reason` if it is none."""
    value = claims.get(name)
    if not isinstance(value, str):
        raise CredentialRejected(reason)
    return value
