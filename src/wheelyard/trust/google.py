"""
Google's ID tokens: who somebody is, by Google's word, said to this index.

Anybody with a Google account can get one, so it proves a name and no right. A domain comes from
`hd` alone: an account may be registered on any e-mail address without belonging to its domain.
"""

import logging
import re
from collections.abc import Callable
from functools import partial
from typing import Final

from wheelyard.errors import quoted
from wheelyard.model.identity import AUTHENTICATED, EVERYBODY, Identity
from wheelyard.model.statement import Claims
from wheelyard.trust.keysets import KeySet, Means
from wheelyard.trust.logins import Login
from wheelyard.trust.refusals import Refused
from wheelyard.trust.statements import Issuer
from wheelyard.trust.verdicts import Verdicts

ISSUERS: Final = ("https://accounts.google.com", "accounts.google.com")
"""Both occur."""
ALGORITHMS: Final = frozenset({"RS256"})
GCLOUD: Final = "32555940559.apps.googleusercontent.com"
"""The client that gcloud is; a token made out to it was made out to nobody in particular."""
ROBOTS: Final = ".gserviceaccount.com"
"""How the e-mail addresses of service accounts end."""

_EMAIL = re.compile(r"[!-?A-~]{1,64}@[A-Za-z0-9.-]{1,253}")
_DOMAIN = re.compile(r"[A-Za-z0-9.-]{1,253}")
_UID = re.compile(r"[0-9]{1,40}")

logger = logging.getLogger("wheelyard")


def google_keys(means: Means, url: str) -> KeySet:
    """Return the keys that Google signs ID tokens with."""
    return KeySet(ISSUERS[0], ALGORITHMS, means, url)


def google_login(
    keys: KeySet,
    audiences: frozenset[str],
    allowed_domains: frozenset[str],
    now: Callable[[], float],
    verdicts: Verdicts[Identity],
) -> Login:
    """
    Return what recognises the senders of ID tokens.

    Args:
        keys: Google's.
        audiences: What this index is called in tokens; exactly, as a token has one of them.
        allowed_domains: Of people's accounts, in lower case; none for every account there is.
            Service accounts have no domain, and are not asked for one.
        now: Tells the seconds since the epoch.
        verdicts: What is remembered; for this login alone.
    """
    issuers = {name: Issuer(name, keys, ALGORITHMS, audiences) for name in ISSUERS}
    return Login(issuers, partial(identified, allowed_domains=allowed_domains), now, verdicts)


def identified(claims: Claims, allowed_domains: frozenset[str]) -> Identity:
    """
    Return who an ID token is about.

    Raises:
        Refused: It is about nobody who could be named, or not about one of the domains.
    """
    if claims.get("azp") == GCLOUD == claims.get("aud"):
        raise Refused("jwt_aud")
    if claims.get("email_verified") is not True:
        raise Refused("jwt_email")
    email, domain = email_of(claims), domain_of(claims)
    if email.endswith(ROBOTS):
        named = {f"serviceAccount:{email}"}
        if _UID.fullmatch(str(claims["sub"])):
            named.add(f"serviceAccount:{email}#{claims['sub']}")
    else:
        if allowed_domains and domain not in allowed_domains:
            raise Refused("jwt_hd")
        named = {f"user:{email}"}
    principal = min(named, key=len)
    logger.debug("%s signs in by way of %s", principal, quoted(claims.get("azp")))
    return Identity(principal, frozenset({EVERYBODY, AUTHENTICATED, *named, *_of_domain(domain)}))


def email_of(claims: Claims) -> str:
    """
    Return the e-mail address, in lower case.

    Raises:
        Refused: There is none, or it is not plain ASCII.
    """
    found = claims.get("email")
    if not isinstance(found, str) or not _EMAIL.fullmatch(found):
        raise Refused("jwt_email")
    return found.lower()


def domain_of(claims: Claims) -> str | None:
    """
    Return the domain that an account belongs to, in lower case, or None.

    Raises:
        Refused: It is not a plain domain.
    """
    found = claims.get("hd")
    if found is None:
        return None
    if not isinstance(found, str) or not _DOMAIN.fullmatch(found):
        raise Refused("jwt_hd")
    return found.lower()


def _of_domain(domain: str | None) -> tuple[str, ...]:
    return () if domain is None else (f"domain:{domain}",)
