"""
The public keys of an issuer (a JWKS, RFC 7517): read and chosen by PyJWT, fetched by our client.

A fetched set replaces the one before completely, so a withdrawn key stops working within the
lifetime of the set. While an issuer cannot be reached, the keys that are known are used for a day,
so that a short outage has no effect. An unknown key id causes a fetch, at most once a minute.
"""

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from threading import Lock
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK, PyJWKSet, PyJWTError
from msgspec import Struct, field

from wheelyard.authentication.verifiers.json_client import JsonClient
from wheelyard.authentication.verifiers.verifier import verification_unavailable
from wheelyard.http_client.address_policy import FetchError
from wheelyard.http_client.urls import parse_url

FETCH_TIMEOUT_SECONDS: Final = 5.0
LIFETIME_SECONDS: Final = 300.0
"""The age at which a key set is fetched again."""
STALE_LIMIT_SECONDS: Final = 24 * 3600.0
"""The age until which a key set is used if it cannot be fetched again."""
FETCH_INTERVAL_SECONDS: Final = 60.0
"""The shortest time between two fetches."""
RETRY_INTERVAL_SECONDS: Final = 5.0
"""The same while there are no keys at all."""
RSA_BITS: Final = range(2048, 8193)

logger = logging.getLogger("wheelyard")


class IssuerKeys(Struct):
    """The public keys of one issuer; thread-safe. Without `url`, their place is discovered."""

    issuer: str
    algorithms: frozenset[str]
    client: JsonClient
    monotonic: Callable[[], float]
    url: str = ""
    _keys: Mapping[str, PyJWK] = {}
    _fetched_at: float = 0.0
    _attempted_at: float | None = None
    _has_failed: bool = False
    """Whether the last fetch failed."""
    _fetching: Lock = field(default_factory=Lock)

    def key(self, kid: str) -> PyJWK | None:
        """
        Return the public key with an id, or None if the issuer has no such key.

        Fetches the keys if they are old, or if the id is unknown; a caller whose key is known does
        not wait for the fetch of another. Raise Unavailable if that fails and the key is not known.
        """
        key = self._usable().get(kid)
        if key is not None and self.monotonic() < self._fetched_at + LIFETIME_SECONDS:
            return key
        if self._fetching.acquire(blocking=key is None):
            try:
                self._fetch_if_due()
            finally:
                self._fetching.release()
        key = self._usable().get(kid)
        if key is None and self._has_failed:
            raise verification_unavailable("The issuer of this token")
        return key

    def _usable(self) -> Mapping[str, PyJWK]:
        """Return the keys unless they are too old to be used at all."""
        is_usable = self.monotonic() < self._fetched_at + STALE_LIMIT_SECONDS
        return self._keys if is_usable else {}

    def _fetch_if_due(self) -> None:
        """Fetch the keys unless that was tried a moment ago, perhaps by a caller before this."""
        interval = FETCH_INTERVAL_SECONDS if self._usable() else RETRY_INTERVAL_SECONDS
        attempted_at = self._attempted_at
        if attempted_at is not None and self.monotonic() < attempted_at + interval:
            return
        try:
            self._keys, self._has_failed = self._fetch(), False
            self._fetched_at = self.monotonic()
        except FetchError as fault:
            self._has_failed = True
            logger.warning("the keys of %s cannot be fetched: %s", self.issuer, fault.why)
        finally:
            self._attempted_at = self.monotonic()

    def _fetch(self) -> Mapping[str, PyJWK]:
        deadline = self.monotonic() + FETCH_TIMEOUT_SECONDS
        if not self.url:
            self.url = self._discover_url()
        document = self.client.fetch(self.url, timeout=deadline - self.monotonic()).document()
        try:
            keys = [key for key in PyJWKSet.from_dict(document) if self._accepts(key)]
        except (PyJWTError, ValueError, TypeError, OverflowError):
            keys = []
        if not keys:
            raise FetchError("none of its keys can be used")
        return {str(key.key_id): key for key in keys}

    def _discover_url(self) -> str:
        """Return the `jwks_uri` of the discovery document; raise FetchError for another origin."""
        url = f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
        document = self.client.fetch(url, timeout=FETCH_TIMEOUT_SECONDS).document()
        keys_url = document.get("jwks_uri")
        if document.get("issuer") != self.issuer or not isinstance(keys_url, str):
            raise FetchError("its discovery document is not about it")
        with suppress(ValueError):
            if parse_url(keys_url).origin == parse_url(self.issuer).origin:
                return keys_url
        raise FetchError("its discovery document points to another host")

    def _accepts(self, key: PyJWK) -> bool:
        """Return whether a key is a public one for signatures, of a size and a curve that hold."""
        public = key.key
        is_strong = (isinstance(public, RSAPublicKey) and public.key_size in RSA_BITS) or (
            isinstance(public, EllipticCurvePublicKey) and isinstance(public.curve, SECP256R1)
        )
        is_named = isinstance(key.key_id, str) and key.public_key_use in {"sig", None}
        return is_strong and is_named and key.algorithm_name in self.algorithms
