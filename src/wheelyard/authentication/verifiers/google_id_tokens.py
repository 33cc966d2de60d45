"""Google's signed tokens: ID tokens, and assertions of Identity-Aware Proxy (IAP)."""

import logging
import re
from typing import Final

from msgspec import Struct

from wheelyard.authentication.verifiers.issuer_keys import IssuerKeys
from wheelyard.authentication.verifiers.signed_jwt import IdTokenVerifier, IssuerConfig
from wheelyard.authentication.verifiers.verifier import CredentialRejected, VerificationCache
from wheelyard.concurrency.runtime import Clock
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
    now: Clock,
    verification_cache: VerificationCache[Identity],
) -> IdTokenVerifier:
    """
    Return a verifier of Google ID tokens.

    Users must belong to one of `allowed_domains` (lower case), unless that is empty. Service
    accounts have no domain, and so may have any address.
    """
    issuers = {name: IssuerConfig(name, keys, ALGORITHMS, audiences) for name in GOOGLE_ISSUERS}
    return IdTokenVerifier(issuers, GoogleAccounts(allowed_domains), now, verification_cache)


def iap_verifier(
    keys: IssuerKeys,
    audiences: frozenset[str],
    now: Clock,
    verification_cache: VerificationCache[Identity],
) -> IdTokenVerifier:
    """
    Return a verifier of assertions of Identity-Aware Proxy.

    An audience is a text such as `/projects/NUMBER/global/backendServices/ID`.
    """
    issuer = IssuerConfig(IAP_ISSUER, keys, IAP_ALGORITHMS, audiences, IAP_LIFETIME_SECONDS)
    return IdTokenVerifier({IAP_ISSUER: issuer}, IapAccounts(), now, verification_cache)


class GoogleAccounts(Struct, frozen=True):
    """The accounts that ID tokens of Google name: users of some domains, and service accounts."""

    allowed_domains: frozenset[str]

    def identify(self, claims: Claims) -> Identity:
        """
        Return the identity for verified claims.

        Raises CredentialRejected if the address is malformed or not verified, if the domain of a
        user is not allowed, or if the token is for gcloud itself, and so for no service.
        """
        # `gcloud auth print-identity-token` prints such a token without further options; any
        # service that gets the token could send it to any other service
        if claims.get("azp") == GCLOUD_CLIENT_ID and claims.get("aud") == GCLOUD_CLIENT_ID:
            raise CredentialRejected("jwt_aud")
        if claims.get("email_verified") is not True:
            raise CredentialRejected("jwt_email")
        email = _email_of(claims)
        domain = _domain_of(claims)
        if email.endswith(SERVICE_ACCOUNT_SUFFIX):
            principal = f"serviceAccount:{email}"
            principals = [principal]
            # another account may get the e-mail of a deleted account, but never its id
            if _UNIQUE_ID.fullmatch(str(claims["sub"])):
                principals.append(f"{principal}#{claims['sub']}")
        else:
            if self.allowed_domains and domain not in self.allowed_domains:
                raise CredentialRejected("jwt_hd")
            principal = f"user:{email}"
            principals = [principal]
        logger.debug("%s signs in by way of %s", principal, quoted(claims.get("azp")))
        return _identity(principal, principals, domain)


class IapAccounts(Struct, frozen=True):
    """The Google accounts that assertions of Identity-Aware Proxy name."""

    def identify(self, claims: Claims) -> Identity:
        """
        Return the identity for verified claims.

        The identity of a service account has no principal for grants. Raises CredentialRejected if
        the claims name no account of Google's, or if the address or the domain is malformed.
        """
        if "gcip" in claims or not _IAP_SUBJECT.fullmatch(str(claims["sub"])):
            raise CredentialRejected("jwt_email")
        email = _email_of(claims)
        domain = _domain_of(claims)
        if email.endswith(SERVICE_ACCOUNT_SUFFIX):
            # a service account that needs rights by grants sends an ID token
            return _identity(f"serviceAccount:{email}", [], domain)
        return _identity(f"user:{email}", [f"user:{email}"], domain)


def _identity(principal: str, principals: list[str], domain: str | None) -> Identity:
    """Return the identity of an account, with the principals by which grants can name it."""
    names = {ANONYMOUS, ALL_AUTHENTICATED}
    names.update(principals)
    if domain is not None:
        names.add(f"domain:{domain}")
    return Identity(principal, frozenset(names))


def _email_of(claims: Claims) -> str:
    """Return the e-mail address in claims, in lower case, or raise CredentialRejected."""
    email = claims.get("email")
    # the address becomes a part of a principal and of log lines: printable ASCII without blanks
    if not isinstance(email, str) or not _EMAIL.fullmatch(email):
        raise CredentialRejected("jwt_email")
    return email.lower()


def _domain_of(claims: Claims) -> str | None:
    """
    Return the Workspace domain in claims, or None if the claims have no domain.

    Raises CredentialRejected if the domain is malformed.
    """
    # not by the address, which may be that of a private account with an address of the domain
    domain = claims.get("hd")
    if domain is None:
        return None
    if not isinstance(domain, str) or not _DOMAIN.fullmatch(domain):
        raise CredentialRejected("jwt_hd")
    return domain.lower()
