"""
Google ID tokens and the signed assertions of Google's Identity-Aware Proxy (IAP): who somebody is.

Anybody with a Google account can get an ID token, so it proves an identity and gives no right. The
domain comes from the claim `hd` alone: an account may use any e-mail address without belonging to
the domain of that address.

IAP signs only the header `x-goog-iap-jwt-assertion`. The headers beside it that name a user are
never read. The expected audience comes from the settings, never from a request.
"""

import logging
import re
from collections.abc import Callable
from functools import partial
from typing import Final

from wheelyard.authentication.verifiers.issuer_keys import IssuerKeys
from wheelyard.authentication.verifiers.signed_jwt import IdTokenVerifier, IssuerConfig
from wheelyard.authentication.verifiers.verifier import CredentialRejected, VerificationCache
from wheelyard.errors import quoted
from wheelyard.model.access import ALL_AUTHENTICATED, ANONYMOUS, Identity
from wheelyard.model.claim_matchers import Claims

GOOGLE_ISSUERS: Final = ("https://accounts.google.com", "accounts.google.com")
"""The two forms of Google's `iss` claim in ID tokens."""
ALGORITHMS: Final = frozenset({"RS256"})
GCLOUD_CLIENT_ID: Final = "32555940559.apps.googleusercontent.com"
"""The OAuth client of gcloud. An ID token with this audience is not for any service."""
SERVICE_ACCOUNT_SUFFIX: Final = ".gserviceaccount.com"
"""The end of the e-mail addresses of service accounts."""

IAP_ISSUER: Final = "https://cloud.google.com/iap"
IAP_ALGORITHMS: Final = frozenset({"ES256"})
IAP_LIFETIME_SECONDS: Final = 660
"""The longest lifetime of an assertion: ten minutes, and the difference between two clocks."""

_EMAIL = re.compile(r"[!-?A-~]{1,64}@[A-Za-z0-9.-]{1,253}")
_DOMAIN = re.compile(r"[A-Za-z0-9.-]{1,253}")
_UNIQUE_ID = re.compile(r"[0-9]{1,40}")
_IAP_SUBJECT = re.compile(r"accounts\.google\.com:[0-9]{1,40}")

logger = logging.getLogger("wheelyard")


def google_verifier(
    keys: IssuerKeys,
    audiences: frozenset[str],
    allowed_domains: frozenset[str],
    now: Callable[[], float],
    verification_cache: VerificationCache[Identity],
) -> IdTokenVerifier:
    """
    Return a verifier of Google ID tokens.

    Users must belong to one of `allowed_domains` (lower case), unless that is empty. Service
    accounts have no domain, so it is not checked for them.
    """
    issuers = {name: IssuerConfig(name, keys, ALGORITHMS, audiences) for name in GOOGLE_ISSUERS}
    identify = partial(_identify, allowed_domains=allowed_domains)
    return IdTokenVerifier(issuers, identify, now, verification_cache)


def iap_verifier(
    keys: IssuerKeys,
    audiences: frozenset[str],
    now: Callable[[], float],
    verification_cache: VerificationCache[Identity],
) -> IdTokenVerifier:
    """Return a verifier for audiences such as `/projects/NUMBER/global/backendServices/ID`."""
    issuer = IssuerConfig(IAP_ISSUER, keys, IAP_ALGORITHMS, audiences, IAP_LIFETIME_SECONDS)
    return IdTokenVerifier({IAP_ISSUER: issuer}, _identify_assertion, now, verification_cache)


def _identify(claims: Claims, allowed_domains: frozenset[str]) -> Identity:
    if claims.get("azp") == GCLOUD_CLIENT_ID == claims.get("aud"):
        raise CredentialRejected("jwt_aud")
    if claims.get("email_verified") is not True:
        raise CredentialRejected("jwt_email")
    email, domain = _email_of(claims), _domain_of(claims)
    if email.endswith(SERVICE_ACCOUNT_SUFFIX):
        principal = f"serviceAccount:{email}"
        principals = [principal]
        if _UNIQUE_ID.fullmatch(str(claims["sub"])):
            principals.append(f"{principal}#{claims['sub']}")
    else:
        if allowed_domains and domain not in allowed_domains:
            raise CredentialRejected("jwt_hd")
        principal = f"user:{email}"
        principals = [principal]
    logger.debug("%s signs in by way of %s", principal, quoted(claims.get("azp")))
    return _identity(principal, principals, domain)


def _identify_assertion(claims: Claims) -> Identity:
    """
    Return the identity in an assertion; raise CredentialRejected unless it is a Google account.

    A service account gets no `serviceAccount:` principal for grants: it has ID tokens for that.
    """
    if "gcip" in claims or not _IAP_SUBJECT.fullmatch(str(claims["sub"])):
        raise CredentialRejected("jwt_email")
    email, domain = _email_of(claims), _domain_of(claims)
    if email.endswith(SERVICE_ACCOUNT_SUFFIX):
        return _identity(f"serviceAccount:{email}", [], domain)
    return _identity(f"user:{email}", [f"user:{email}"], domain)


def _identity(principal: str, principals: list[str], domain: str | None) -> Identity:
    domains = [] if domain is None else [f"domain:{domain}"]
    return Identity(principal, frozenset({ANONYMOUS, ALL_AUTHENTICATED, *principals, *domains}))


def _email_of(claims: Claims) -> str:
    email = claims.get("email")
    if not isinstance(email, str) or not _EMAIL.fullmatch(email):
        raise CredentialRejected("jwt_email")
    return email.lower()


def _domain_of(claims: Claims) -> str | None:
    domain = claims.get("hd")
    if domain is None:
        return None
    if not isinstance(domain, str) or not _DOMAIN.fullmatch(domain):
        raise CredentialRejected("jwt_hd")
    return domain.lower()
