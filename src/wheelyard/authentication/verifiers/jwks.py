"""
The public keys of an issuer, kept and renewed.

A set that was fetched replaces the one before completely, so a key that its issuer takes back stops
working within the set's lifetime. A set that cannot be fetched again is used on for a day: a short
outage of an issuer is none of ours. A key id is a dictionary key and nothing else; one that nobody
knows makes us look again once a minute at most.
"""

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from threading import Lock
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from jwt.exceptions import PyJWTError

from wheelyard.authentication.verifiers.json_client import JsonClient
from wheelyard.authentication.verifiers.verifier import verification_unavailable
from wheelyard.concurrency.caches import ExpiringCache
from wheelyard.http_client.address_policy import FetchError
from wheelyard.http_client.urls import parse_url

FETCH_TIMEOUT_SECONDS: Final = 5.0
"""Seconds that one look for keys may take, and that others wait for it."""
MIN_LIFETIME_SECONDS: Final = 300.0
MAX_LIFETIME_SECONDS: Final = 3600.0
"""Seconds that a set is believed, whatever its issuer says."""
REFRESH_FRACTION: Final = (0.72, 0.88)
"""Parts of its lifetime after which a set is renewed while it still holds, drawn at random."""
REFRESH_INTERVAL_SECONDS: Final = 60.0
"""Seconds from one look to the next, and that an unknown key id is remembered."""
RETRY_INTERVAL_SECONDS: Final = 5.0
"""The same, as long as there are no keys and everybody is turned away."""
STALE_LIMIT_SECONDS: Final = 24 * 3600.0
"""Seconds after its last success that a set is used, if it cannot be renewed."""
MAX_KEYS: Final = 50
MAX_UNKNOWN_KEY_IDS: Final = 1000
"""Unknown key ids in memory."""
RSA_BITS: Final = range(2048, 8193)

_MAX_AGE = re.compile(r"\bmax-age=\"?(\d{1,9})")

logger = logging.getLogger("wheelyard")


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key, and the one algorithm that it is for."""

    algorithm: str
    public: RSAPublicKey | EllipticCurvePublicKey


@dataclass(frozen=True, slots=True)
class JwksDependencies:
    """What every key set works with."""

    json_client: JsonClient
    monotonic: Callable[[], float]
    random: Random
    spawn: Callable[[Callable[[], None]], object]
    """Runs something beside what is being done; returns without waiting for it."""


@dataclass(frozen=True, slots=True)
class _Known:
    keys: Mapping[str, PublicKey]
    fetched: float
    renew: float
    expires: float


class JwksCache:
    """
    The keys of one issuer; safe to share between threads.

    Without a URL of its keys the issuer's discovery document is asked for it, once.
    """

    def __init__(
        self,
        issuer: str,
        algorithms: frozenset[str],
        means: JwksDependencies,
        url: str | None = None,
    ) -> None:
        self._issuer = issuer
        self._algorithms = algorithms
        self._means = means
        self._url = url
        self._known: _Known | None = None
        self._tried: float | None = None
        self._has_failed = False
        """Whether the keys could not be fetched when they were last asked for."""
        self._refused: ExpiringCache[str, bool] = ExpiringCache(
            means.monotonic, MAX_UNKNOWN_KEY_IDS
        )
        self._looking = Lock()
        """Held by whoever looks for keys."""

    def key(self, kid: str) -> PublicKey | None:
        """
        Return the key with an id, or None if the issuer has none such.

        It may wait for the issuer: the first time, when the set has run out, for an unknown id.

        Raises:
            Unavailable: There are no keys that may be believed, or the one could be a new one.
        """
        now = self._means.monotonic()
        known = self._known
        if known is None or (now >= known.expires and not self._makes_do(now)):
            known = self._renewed(now)
        elif now >= known.renew:
            self._renew_beside()
        return known.keys.get(kid) or self._sought(kid)

    def _renewed(self, now: float) -> _Known:
        self._look(REFRESH_INTERVAL_SECONDS if self._is_usable(now) else RETRY_INTERVAL_SECONDS)
        known = self._known
        if known is None or not self._is_usable(now):
            raise verification_unavailable("The issuer of this token")
        return known

    def _makes_do(self, now: float) -> bool:
        """Return whether an old set has to do, for the issuer has just failed somebody."""
        return self._has_failed and self._is_usable(now)

    def _is_usable(self, now: float) -> bool:
        return self._known is not None and now < self._known.fetched + STALE_LIMIT_SECONDS

    def _renew_beside(self) -> None:
        if not self._is_time(REFRESH_INTERVAL_SECONDS) or not self._looking.acquire(blocking=False):
            return
        try:
            self._means.spawn(lambda: self._renew(REFRESH_INTERVAL_SECONDS))
        except RuntimeError:  # no more threads
            self._renew(REFRESH_INTERVAL_SECONDS)

    def _sought(self, kid: str) -> PublicKey | None:
        if self._refused.get(kid):
            return None
        is_settled = self._look(REFRESH_INTERVAL_SECONDS)
        key = self._known.keys.get(kid) if self._known else None
        if key is not None:
            return key
        if self._has_failed or not is_settled:
            raise verification_unavailable("The issuer of this token")
        self._refused.put(kid, value=True, seconds=REFRESH_INTERVAL_SECONDS)
        return None

    def _look(self, pause: float) -> bool:
        """Look for keys unless that was done just now; return whether no look is under way."""
        is_settled = self._looking.acquire(timeout=FETCH_TIMEOUT_SECONDS)
        if is_settled:
            self._renew(pause)
        return is_settled

    def _renew(self, pause: float) -> None:
        """Fetch the keys unless that was done just now, and let others look for them again."""
        try:
            if self._is_time(pause):
                self._fetch()
        finally:
            self._looking.release()

    def _is_time(self, pause: float) -> bool:
        return self._tried is None or self._means.monotonic() >= self._tried + pause

    def _fetch(self) -> None:
        try:
            self._known = self._fetched()
            self._has_failed = False
        except FetchError as fault:
            self._has_failed = True
            logger.warning("the keys of %s cannot be fetched: %s", self._issuer, fault.why)
        finally:
            self._tried = self._means.monotonic()

    def _fetched(self) -> _Known:
        end = self._means.monotonic() + FETCH_TIMEOUT_SECONDS
        if self._url is None:
            self._url = self._discovered()
        left = end - self._means.monotonic()
        response = self._means.json_client.get(self._url, timeout=left)
        keys = self._parsed(response.document())
        age = _MAX_AGE.search(response.headers.get("cache-control", ""))
        lifetime = (
            min(max(float(age[1]), MIN_LIFETIME_SECONDS), MAX_LIFETIME_SECONDS)
            if age
            else MAX_LIFETIME_SECONDS
        )
        now = self._means.monotonic()
        renew = now + lifetime * self._means.random.uniform(*REFRESH_FRACTION)
        return _Known(keys, now, renew, now + lifetime)

    def _discovered(self) -> str:
        """Return where the issuer says that its keys are: on its own origin, nowhere else."""
        url = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
        document = self._means.json_client.get(url, timeout=FETCH_TIMEOUT_SECONDS).document()
        found = document.get("jwks_uri")
        if document.get("issuer") != self._issuer or not isinstance(found, str):
            raise FetchError("its discovery document is not about it")
        try:
            is_there = parse_url(found).origin == parse_url(self._issuer).origin
        except ValueError:
            is_there = False
        if not is_there:
            raise FetchError("its discovery document points to another host")
        return found

    def _parsed(self, document: Mapping[str, object]) -> dict[str, PublicKey]:
        found = document.get("keys")
        if not isinstance(found, list) or not 1 <= len(found) <= MAX_KEYS:
            raise FetchError(f"its answer is not a list of 1 to {MAX_KEYS} keys")
        keys = dict[str, PublicKey]()
        for each in found:
            key = parse_key(each)
            if key is not None and key.algorithm in self._algorithms:
                keys[each["kid"]] = key
        if not keys:
            raise FetchError("none of its keys can be used")
        return keys


def parse_key(found: object) -> PublicKey | None:
    """Return a key of a JWK set (RFC 7517), or None if it is of no use for signatures here."""
    if not isinstance(found, dict) or not isinstance(found.get("kid"), str):
        return None
    if found.get("use", "sig") != "sig":
        return None
    try:
        key = _public_key(found)
    except (PyJWTError, ValueError, TypeError, OverflowError):
        return None
    return key if key and found.get("alg", key.algorithm) == key.algorithm else None


def _public_key(found: Mapping[str, str]) -> PublicKey | None:
    """Return the public part: whoever publishes a private key does not make it one of ours."""
    public = {name: found.get(name) for name in ("kty", "crv", "n", "e", "x", "y")}
    if found.get("kty") == "RSA":
        rsa = RSAAlgorithm.from_jwk(public)
        is_fit = isinstance(rsa, RSAPublicKey) and rsa.key_size in RSA_BITS
        return PublicKey("RS256", rsa) if isinstance(rsa, RSAPublicKey) and is_fit else None
    if found.get("kty") == "EC" and found.get("crv") == "P-256":
        curve = ECAlgorithm.from_jwk(public)
        return PublicKey("ES256", curve) if isinstance(curve, EllipticCurvePublicKey) else None
    return None
