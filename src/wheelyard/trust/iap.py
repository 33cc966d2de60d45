"""
Assertions of Google's Identity-Aware Proxy: who a person before a browser is.

Only `x-goog-iap-jwt-assertion` is signed; the headers beside it that name a person are not, and
are never read. Its audience is the operator's to say, and never made from a request.
"""

import re
from collections.abc import Callable
from typing import Final

from wheelyard.model.identity import AUTHENTICATED, EVERYBODY, Identity
from wheelyard.model.statement import Claims
from wheelyard.trust.google import ROBOTS, domain_of, email_of
from wheelyard.trust.keysets import KeySet, Means
from wheelyard.trust.logins import Login
from wheelyard.trust.refusals import Refused
from wheelyard.trust.statements import Issuer
from wheelyard.trust.verdicts import Verdicts

ISSUER: Final = "https://cloud.google.com/iap"
ALGORITHMS: Final = frozenset({"ES256"})
LIFETIME: Final = 660
"""Seconds: ten minutes, and what two clocks may differ by."""

_SUBJECT = re.compile(r"accounts\.google\.com:[0-9]{1,40}")


def iap_keys(means: Means, url: str) -> KeySet:
    """Return the keys that the proxy signs with."""
    return KeySet(ISSUER, ALGORITHMS, means, url)


def iap_login(
    keys: KeySet,
    audiences: frozenset[str],
    now: Callable[[], float],
    verdicts: Verdicts[Identity],
) -> Login:
    """
    Return what recognises the people behind assertions.

    Args:
        keys: The proxy's.
        audiences: `/projects/NUMBER/global/backendServices/ID` and the like.
        now: Tells the seconds since the epoch.
        verdicts: What is remembered; for this login alone.
    """
    issuer = Issuer(ISSUER, keys, ALGORITHMS, audiences, LIFETIME)
    return Login({ISSUER: issuer}, identified, now, verdicts)


def identified(claims: Claims) -> Identity:
    """
    Return who an assertion is about.

    A service account gets no name that a grant could call it by: it has its ID token for that.

    Raises:
        Refused: It is about an identity that is not Google's own, or about nobody.
    """
    if "gcip" in claims or not _SUBJECT.fullmatch(str(claims["sub"])):
        raise Refused("jwt_email")
    email, domain = email_of(claims), domain_of(claims)
    named = {EVERYBODY, AUTHENTICATED}
    if domain is not None:
        named.add(f"domain:{domain}")
    if email.endswith(ROBOTS):
        return Identity(f"serviceAccount:{email}", frozenset(named))
    return Identity(f"user:{email}", frozenset({*named, f"user:{email}"}))
