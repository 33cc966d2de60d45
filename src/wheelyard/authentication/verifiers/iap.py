"""
The signed assertions of Google's Identity-Aware Proxy (IAP).

Only the header `x-goog-iap-jwt-assertion` is signed. The headers beside it that name a user are
never read. The expected audience comes from the settings, never from a request.
"""

import re
from collections.abc import Callable
from typing import Final

from wheelyard.authentication.verifiers.google_id_tokens import (
    SERVICE_ACCOUNT_SUFFIX,
    domain_of,
    email_of,
    google_identity,
)
from wheelyard.authentication.verifiers.jwks import JwksCache, JwksDependencies
from wheelyard.authentication.verifiers.signed_jwt import IdTokenVerifier, IssuerConfig
from wheelyard.authentication.verifiers.verifier import CredentialRejected, VerificationCache
from wheelyard.model.access import Identity
from wheelyard.model.claim_matchers import Claims

IAP_ISSUER: Final = "https://cloud.google.com/iap"
IAP_ALGORITHMS: Final = frozenset({"ES256"})
IAP_LIFETIME_SECONDS: Final = 660
"""The longest lifetime of an assertion: ten minutes, and the difference between two clocks."""

_SUBJECT = re.compile(r"accounts\.google\.com:[0-9]{1,40}")


def iap_verifier(
    dependencies: JwksDependencies,
    keys_url: str,
    audiences: frozenset[str],
    now: Callable[[], float],
    verification_cache: VerificationCache[Identity],
) -> IdTokenVerifier:
    """Return a verifier for audiences such as `/projects/NUMBER/global/backendServices/ID`."""
    keys = JwksCache(IAP_ISSUER, IAP_ALGORITHMS, dependencies, keys_url)
    issuer = IssuerConfig(IAP_ISSUER, keys, IAP_ALGORITHMS, audiences, IAP_LIFETIME_SECONDS)
    return IdTokenVerifier({IAP_ISSUER: issuer}, _identify, now, verification_cache)


def _identify(claims: Claims) -> Identity:
    """
    Return the identity in an assertion; raise CredentialRejected unless it is a Google account.

    A service account gets no `serviceAccount:` principal for grants: it has ID tokens for that.
    """
    if "gcip" in claims or not _SUBJECT.fullmatch(str(claims["sub"])):
        raise CredentialRejected("jwt_email")
    email, domain = email_of(claims), domain_of(claims)
    if email.endswith(SERVICE_ACCOUNT_SUFFIX):
        return google_identity(f"serviceAccount:{email}", [], domain)
    return google_identity(f"user:{email}", [f"user:{email}"], domain)
