"""
Who somebody is by Google's word: ID tokens, and the assertions of Identity-Aware Proxy.

Anybody with a Google account can get an ID token, so it proves a name and no right. A domain comes
from `hd` alone: an account may be registered on any e-mail address without belonging to its domain.

Of what the proxy sends, only `x-goog-iap-jwt-assertion` is signed; the headers beside it that name
a person are not, and are never read. Its audience is the operator's to say, and never made from a
request.
"""

import logging
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from wheelyard.authentication.verifiers.jwks import JwksCache, JwksDependencies
from wheelyard.authentication.verifiers.signed_jwt import (
    JWT_LIMIT_BYTES,
    IssuerConfig,
    verified_claims,
)
from wheelyard.authentication.verifiers.verifier import (
    CredentialRejected,
    VerificationCache,
    invalid_id_token,
)
from wheelyard.errors import quoted
from wheelyard.model.access import ALL_AUTHENTICATED, ANONYMOUS, Identity
from wheelyard.model.claim_matchers import Claims

GOOGLE_ISSUERS: Final = ("https://accounts.google.com", "accounts.google.com")
"""Both occur in ID tokens."""
ALGORITHMS: Final = frozenset({"RS256"})
GCLOUD_CLIENT_ID: Final = "32555940559.apps.googleusercontent.com"
"""The client that gcloud is; a token made out to it was made out to nobody in particular."""
SERVICE_ACCOUNT_SUFFIX: Final = ".gserviceaccount.com"
"""How the e-mail addresses of service accounts end."""
CACHE_SECONDS: Final = 300.0
"""Seconds that a token is not verified again, at most; never beyond its expiry."""
IAP_ISSUER: Final = "https://cloud.google.com/iap"
IAP_ALGORITHMS: Final = frozenset({"ES256"})
IAP_LIFETIME_SECONDS: Final = 660
"""Seconds of an assertion: ten minutes, and what two clocks may differ by."""

_EMAIL = re.compile(r"[!-?A-~]{1,64}@[A-Za-z0-9.-]{1,253}")
_DOMAIN = re.compile(r"[A-Za-z0-9.-]{1,253}")
_UID = re.compile(r"[0-9]{1,40}")
_IAP_SUBJECT = re.compile(r"accounts\.google\.com:[0-9]{1,40}")

logger = logging.getLogger("wheelyard")


class IdTokenVerifier:
    """
    Recognises who sends the signed tokens of one kind; safe to share between threads.

    `identify` makes an identity of what was signed, or raises Refused.
    """

    def __init__(
        self,
        issuers: Mapping[str, IssuerConfig],
        identify: Callable[[Claims], Identity],
        now: Callable[[], float],
        verification_cache: VerificationCache[Identity],
    ) -> None:
        self._issuers = issuers
        self._identify = identify
        self._now = now
        self._verification_cache = verification_cache

    def cached_identity(self, token: str) -> Identity | None:
        """Return who sends a token if that needs no work and no waiting, else None."""
        is_fit = len(token) <= JWT_LIMIT_BYTES and token.isascii()
        return (
            self._verification_cache.get(self._verification_cache.key("signed", token))
            if is_fit
            else None
        )

    def verify(self, token: str) -> Identity:
        """
        Return who sends a token; this may wait for the issuer's keys.

        Raises:
            Unauthenticated: The token does not hold; always the same text.
            Unavailable: The issuer's keys cannot be had just now.
        """
        found = self.cached_identity(token)
        if found is not None:
            return found
        now = self._now()
        try:
            claims = verified_claims(token, self._issuers, now)
            found = self._identify(claims)
        except CredentialRejected as refused:
            raise invalid_id_token() from refused
        expires = claims["exp"]
        if isinstance(expires, int):
            lasts = min(expires - now, CACHE_SECONDS)
            self._verification_cache.put(
                self._verification_cache.key("signed", token), found, lasts
            )
        return found


def google_verifier(
    means: JwksDependencies,
    url: str,
    audiences: frozenset[str],
    allowed_domains: frozenset[str],
    now: Callable[[], float],
    verification_cache: VerificationCache[Identity],
) -> IdTokenVerifier:
    """
    Return what recognises the senders of ID tokens, which are made out to one of the audiences.

    Google's keys are at `url`. The domains, in lower case, are those of people's accounts; none
    stands for every account there is. Service accounts have no domain, and are not asked for one.
    """
    keys = JwksCache(GOOGLE_ISSUERS[0], ALGORITHMS, means, url)
    issuers = {name: IssuerConfig(name, keys, ALGORITHMS, audiences) for name in GOOGLE_ISSUERS}
    return IdTokenVerifier(
        issuers, partial(_of_id_token, allowed_domains=allowed_domains), now, verification_cache
    )


def iap_verifier(
    means: JwksDependencies,
    url: str,
    audiences: frozenset[str],
    now: Callable[[], float],
    verification_cache: VerificationCache[Identity],
) -> IdTokenVerifier:
    """
    Return what recognises the people behind the assertions of the proxy, whose keys are at `url`.

    Its audiences are `/projects/NUMBER/global/backendServices/ID` and the like.
    """
    keys = JwksCache(IAP_ISSUER, IAP_ALGORITHMS, means, url)
    issuer = IssuerConfig(IAP_ISSUER, keys, IAP_ALGORITHMS, audiences, IAP_LIFETIME_SECONDS)
    return IdTokenVerifier({IAP_ISSUER: issuer}, _of_assertion, now, verification_cache)


def _of_id_token(claims: Claims, allowed_domains: frozenset[str]) -> Identity:
    """Return who an ID token is about; raise Refused for nobody, and for other domains."""
    if claims.get("azp") == GCLOUD_CLIENT_ID == claims.get("aud"):
        raise CredentialRejected("jwt_aud")
    if claims.get("email_verified") is not True:
        raise CredentialRejected("jwt_email")
    email, domain = email_of(claims), domain_of(claims)
    if email.endswith(SERVICE_ACCOUNT_SUFFIX):
        principal = f"serviceAccount:{email}"
        is_numbered = _UID.fullmatch(str(claims["sub"]))
        named = [principal, f"{principal}#{claims['sub']}"] if is_numbered else [principal]
    else:
        if allowed_domains and domain not in allowed_domains:
            raise CredentialRejected("jwt_hd")
        principal = f"user:{email}"
        named = [principal]
    logger.debug("%s signs in by way of %s", principal, quoted(claims.get("azp")))
    return _identity(principal, named, domain)


def _of_assertion(claims: Claims) -> Identity:
    """
    Return who an assertion is about; raise Refused for nobody, and for what is not Google's own.

    A service account gets no name that a grant could call it by: it has its ID token for that.
    """
    if "gcip" in claims or not _IAP_SUBJECT.fullmatch(str(claims["sub"])):
        raise CredentialRejected("jwt_email")
    email, domain = email_of(claims), domain_of(claims)
    if email.endswith(SERVICE_ACCOUNT_SUFFIX):
        return _identity(f"serviceAccount:{email}", [], domain)
    return _identity(f"user:{email}", [f"user:{email}"], domain)


def _identity(principal: str, named: list[str], domain: str | None) -> Identity:
    of_domain = [] if domain is None else [f"domain:{domain}"]
    return Identity(principal, frozenset({ANONYMOUS, ALL_AUTHENTICATED, *named, *of_domain}))


def email_of(claims: Claims) -> str:
    """Return the e-mail address, in lower case; raise Refused for one that is not plain ASCII."""
    found = claims.get("email")
    if not isinstance(found, str) or not _EMAIL.fullmatch(found):
        raise CredentialRejected("jwt_email")
    return found.lower()


def domain_of(claims: Claims) -> str | None:
    """Return the domain of an account, in lower case, or None; raise Refused for an odd one."""
    found = claims.get("hd")
    if found is None:
        return None
    if not isinstance(found, str) or not _DOMAIN.fullmatch(found):
        raise CredentialRejected("jwt_hd")
    return found.lower()
