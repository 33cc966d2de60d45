"""
The public keys of an issuer (a JWKS, RFC 7517): cached, refreshed, and used while it is down.

A fetched set replaces the one before completely, so a withdrawn key stops working within the
lifetime of the set. A set that cannot be refreshed is used for a day, so that a short outage of an
issuer has no effect. An unknown key id causes a refresh, at most once a minute.
"""

import logging
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from random import Random
from threading import Lock
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from jwt.exceptions import PyJWTError
from msgspec import Struct

from wheelyard.authentication.verifiers.json_client import JsonClient
from wheelyard.authentication.verifiers.verifier import verification_unavailable
from wheelyard.concurrency.caches import ExpiringCache
from wheelyard.http_client.address_policy import FetchError
from wheelyard.http_client.urls import parse_url

FETCH_TIMEOUT_SECONDS: Final = 5.0
"""Timeout of one refresh of the keys, and of threads that wait for it."""
MIN_LIFETIME_SECONDS: Final = 300.0
MAX_LIFETIME_SECONDS: Final = 3600.0
"""Bounds of the lifetime of a key set, whatever `max-age` the issuer sends."""
REFRESH_FRACTION: Final = (0.72, 0.88)
"""The part of its lifetime after which a set is refreshed in the background, drawn at random."""
REFRESH_INTERVAL_SECONDS: Final = 60.0
"""The shortest time between refreshes; an unknown key id is cached for as long."""
RETRY_INTERVAL_SECONDS: Final = 5.0
"""The shortest time between refreshes of a key set while there are no keys at all."""
STALE_LIMIT_SECONDS: Final = 24 * 3600.0
"""How long after its fetch a key set is used if it cannot be refreshed."""
MAX_KEYS: Final = 50
MAX_UNKNOWN_KEY_IDS: Final = 1000
RSA_BITS: Final = range(2048, 8193)

_MAX_AGE = re.compile(r"\bmax-age=\"?(\d{1,9})")

logger = logging.getLogger("wheelyard")


class PublicKey(Struct, frozen=True):
    """A public key, and the only algorithm that it may be used with."""

    algorithm: str
    public: RSAPublicKey | EllipticCurvePublicKey


class JwksDependencies(Struct, frozen=True):
    """The HTTP client, clock, randomness and background threads that a `JwksCache` uses."""

    json_client: JsonClient
    monotonic: Callable[[], float]
    random: Random
    spawn: Callable[[Callable[[], None]], object]
    """Runs a function in the background; returns at once."""


class _KeySet(Struct, frozen=True):
    keys: Mapping[str, PublicKey]
    fetched_at: float
    refresh_at: float
    expires_at: float


class JwksCache:
    """The cached key set of one issuer; thread-safe. Without `url`, its place is discovered."""

    def __init__(
        self,
        issuer: str,
        algorithms: frozenset[str],
        dependencies: JwksDependencies,
        url: str | None = None,
    ) -> None:
        self._issuer = issuer
        self._algorithms = algorithms
        self._client = dependencies.json_client
        self._monotonic = dependencies.monotonic
        self._random = dependencies.random
        self._spawn = dependencies.spawn
        self._url = url
        self._key_set: _KeySet | None = None
        self._attempted_at: float | None = None
        self._has_failed = False
        """Whether the last refresh failed."""
        self._unknown_ids = ExpiringCache[str, bool](self._monotonic, MAX_UNKNOWN_KEY_IDS)
        self._refreshing = Lock()

    def key(self, kid: str) -> PublicKey | None:
        """
        Return the public key with an id, or None if the issuer has no such key.

        Waits for the issuer if no set can be used as it is, or if the id is new to the cache. Raise
        Unavailable if that refresh fails and no usable set has the key.
        """
        now, key_set = self._monotonic(), self._key_set
        serves_stale = self._has_failed and self._is_usable(now)
        if key_set is None or (now >= key_set.expires_at and not serves_stale):
            key_set = self._refreshed(now)
        elif now >= key_set.refresh_at:
            self._refresh_in_background()
        return key_set.keys.get(kid) or self._find_unknown(kid)

    def _refreshed(self, now: float) -> _KeySet:
        usable = self._is_usable(now)
        self._refresh(REFRESH_INTERVAL_SECONDS if usable else RETRY_INTERVAL_SECONDS)
        key_set = self._key_set
        if key_set is None or not self._is_usable(now):
            raise verification_unavailable("The issuer of this token")
        return key_set

    def _is_usable(self, now: float) -> bool:
        key_set = self._key_set
        return key_set is not None and now < key_set.fetched_at + STALE_LIMIT_SECONDS

    def _refresh_in_background(self) -> None:
        interval = REFRESH_INTERVAL_SECONDS
        if not self._may_fetch(interval) or not self._refreshing.acquire(blocking=False):
            return
        try:
            self._spawn(lambda: self._fetch_and_unlock(interval))
        except RuntimeError:  # no more threads
            self._fetch_and_unlock(interval)

    def _find_unknown(self, kid: str) -> PublicKey | None:
        """Return a key that is not in the cached set, after a refresh if it is due; else None."""
        if self._unknown_ids.get(kid):
            return None
        has_refreshed = self._refresh(REFRESH_INTERVAL_SECONDS)
        key = self._key_set.keys.get(kid) if self._key_set else None
        if key is not None:
            return key
        if self._has_failed or not has_refreshed:
            raise verification_unavailable("The issuer of this token")
        self._unknown_ids.put(kid, value=True, seconds=REFRESH_INTERVAL_SECONDS)
        return None

    def _refresh(self, interval: float) -> bool:
        """
        Fetch the keys unless the last attempt is too recent, first waiting for a running refresh.

        Return False if that wait timed out; True even if the fetch failed.
        """
        has_lock = self._refreshing.acquire(timeout=FETCH_TIMEOUT_SECONDS)
        if has_lock:
            self._fetch_and_unlock(interval)
        return has_lock

    def _fetch_and_unlock(self, interval: float) -> None:
        try:
            if self._may_fetch(interval):
                self._key_set = self._fetch()
                self._has_failed = False
        except FetchError as fault:
            self._has_failed = True
            logger.warning("the keys of %s cannot be fetched: %s", self._issuer, fault.why)
        finally:
            self._refreshing.release()

    def _may_fetch(self, interval: float) -> bool:
        attempted_at = self._attempted_at
        return attempted_at is None or self._monotonic() >= attempted_at + interval

    def _fetch(self) -> _KeySet:
        try:
            deadline = self._monotonic() + FETCH_TIMEOUT_SECONDS
            if self._url is None:
                self._url = self._discover_url()
            response = self._client.get(self._url, timeout=deadline - self._monotonic())
            keys = self._parse(response.document())
        finally:
            self._attempted_at = self._monotonic()
        age = _MAX_AGE.search(response.headers.get("cache-control", ""))
        lifetime = float(age[1]) if age else MAX_LIFETIME_SECONDS
        lifetime = min(max(lifetime, MIN_LIFETIME_SECONDS), MAX_LIFETIME_SECONDS)
        now = self._monotonic()
        refresh_at = now + lifetime * self._random.uniform(*REFRESH_FRACTION)
        return _KeySet(keys, now, refresh_at, now + lifetime)

    def _discover_url(self) -> str:
        """Return the `jwks_uri` of the discovery document; raise FetchError for another origin."""
        url = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
        document = self._client.get(url, timeout=FETCH_TIMEOUT_SECONDS).document()
        keys_url = document.get("jwks_uri")
        if document.get("issuer") != self._issuer or not isinstance(keys_url, str):
            raise FetchError("its discovery document is not about it")
        with suppress(ValueError):
            if parse_url(keys_url).origin == parse_url(self._issuer).origin:
                return keys_url
        raise FetchError("its discovery document points to another host")

    def _parse(self, document: Mapping[str, object]) -> dict[str, PublicKey]:
        jwks = document.get("keys")
        if not isinstance(jwks, list) or not 1 <= len(jwks) <= MAX_KEYS:
            raise FetchError(f"its answer is not a list of 1 to {MAX_KEYS} keys")
        keys = dict[str, PublicKey]()
        for jwk in jwks:
            key = parse_key(jwk)
            if key is not None and key.algorithm in self._algorithms:
                keys[jwk["kid"]] = key
        if not keys:
            raise FetchError("none of its keys can be used")
        return keys


def parse_key(jwk: object) -> PublicKey | None:
    """Return the key of a JWK (RFC 7517), or None unless it is a supported signature key."""
    if not isinstance(jwk, dict) or not isinstance(jwk.get("kid"), str):
        return None
    if jwk.get("use", "sig") != "sig":
        return None
    try:
        key = _public_key(jwk)
    except (PyJWTError, ValueError, TypeError, OverflowError):
        return None
    return key if key and jwk.get("alg", key.algorithm) == key.algorithm else None


def _public_key(jwk: Mapping[str, str]) -> PublicKey | None:
    """Return the RSA or P-256 public key of a JWK, or None; its private parts are ignored."""
    public = {name: jwk.get(name) for name in ("kty", "crv", "n", "e", "x", "y")}
    if jwk.get("kty") == "RSA":
        rsa = RSAAlgorithm.from_jwk(public)
        is_usable = isinstance(rsa, RSAPublicKey) and rsa.key_size in RSA_BITS
        return PublicKey("RS256", rsa) if isinstance(rsa, RSAPublicKey) and is_usable else None
    if jwk.get("kty") == "EC" and jwk.get("crv") == "P-256":
        curve = ECAlgorithm.from_jwk(public)
        return PublicKey("ES256", curve) if isinstance(curve, EllipticCurvePublicKey) else None
    return None
