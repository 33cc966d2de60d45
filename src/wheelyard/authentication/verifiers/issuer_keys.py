"""
The public keys of issuers (RFC 7517), and what keeps such a document of another server.

A request with a signed token may cause a fetch. So a document is fetched at most once a minute, or
every five seconds while there is none, whatever tokens strangers send. While its server does not
answer, the last one serves for a day.
"""

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from threading import Lock
from typing import Final, Generic, TypeVar

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK, PyJWKSet, PyJWTError
from msgspec import Struct, field

from wheelyard.authentication.verifiers.verifier import verification_unavailable
from wheelyard.concurrency.runtime import Clock
from wheelyard.http_client.hosts import FetchError
from wheelyard.http_client.json_client import JsonClient
from wheelyard.http_client.urls import parse_url

FETCH_TIMEOUT_SECONDS: Final = 5.0
LIFETIME_SECONDS: Final = 300.0
"""The age at which a document is fetched again."""
STALE_LIMIT_SECONDS: Final = 24 * 3600.0
"""The age until which a document is used if it cannot be fetched again."""
FETCH_INTERVAL_SECONDS: Final = 60.0
"""The shortest time between two fetches."""
RETRY_INTERVAL_SECONDS: Final = 5.0
"""The same while there is no document at all."""
RSA_BITS: Final = range(2048, 8193)

T = TypeVar("T")

logger = logging.getLogger("wheelyard")


class RemoteDocument(Struct, Generic[T]):
    """
    A document of another server, fetched when it is first needed, and again when it is old.

    Threads may share it.
    """

    name: str
    """What it is, for the log."""
    fetch: Callable[[], T]
    """Returns it, or raises FetchError."""
    monotonic: Clock
    has_failed: bool = False
    """Whether the last fetch failed."""
    _value: T | None = None
    _fetched_at: float = 0.0
    _attempted_at: float | None = None
    _fetching: Lock = field(default_factory=Lock)

    def get(self, is_enough: Callable[[T], bool]) -> T | None:
        """
        Return the document, or None if it cannot be had.

        Fetches it if it is old, or not enough. It may still not be enough then, or be as old as a
        day. A fetch that fails is logged. A caller for whom the document is enough does not wait
        while another one fetches.
        """
        value = self._usable()
        has_enough = value is not None and is_enough(value)
        # without the lock: nearly every request ends here
        if has_enough and self.monotonic() < self._fetched_at + LIFETIME_SECONDS:
            return value
        # without enough, wait for the caller that fetches: `_fetch_if_due` then fetches no more
        if self._fetching.acquire(blocking=not has_enough):
            try:
                self._fetch_if_due()
            finally:
                self._fetching.release()
        return self._usable()

    def _usable(self) -> T | None:
        """Return the document unless it is too old to be used at all."""
        if self.monotonic() >= self._fetched_at + STALE_LIMIT_SECONDS:
            return None
        return self._value

    def _fetch_if_due(self) -> None:
        """Fetch the document unless that was tried a moment ago, perhaps by a caller before."""
        interval = FETCH_INTERVAL_SECONDS
        if self._usable() is None:
            interval = RETRY_INTERVAL_SECONDS
        attempted_at = self._attempted_at
        if attempted_at is not None and self.monotonic() < attempted_at + interval:
            return
        # the caller holds `_fetching`; readers see either the old document or the new one
        try:
            self._value = self.fetch()
            self.has_failed = False
            self._fetched_at = self.monotonic()
        except FetchError as fault:
            self.has_failed = True
            logger.warning("%s cannot be fetched: %s", self.name, fault.why)
        finally:
            # after the fetch, which may have taken seconds: the interval is one of rest
            self._attempted_at = self.monotonic()


class IssuerKeys:
    """
    The public keys of one issuer.

    Threads may share it. Without `url`, the issuer's discovery document says where they are.
    """

    def __init__(
        self,
        issuer: str,
        algorithms: frozenset[str],
        client: JsonClient,
        monotonic: Clock,
        url: str = "",
    ) -> None:
        self._issuer = issuer
        self._algorithms = algorithms
        self._client = client
        self._monotonic = monotonic
        self._url = url
        self._keys = RemoteDocument(f"the keys of {issuer}", self._fetch, monotonic)

    def key(self, kid: str) -> PyJWK | None:
        """
        Return the public key with an id, or None if the issuer has no such key.

        Fetches the keys if they are old, or if the id is unknown. A caller whose key is known does
        not wait while another one fetches. Raises Unavailable if the fetch fails, and the key is
        not known.
        """
        keys = self._keys.get(lambda keys: kid in keys) or {}
        if kid not in keys and self._keys.has_failed:
            raise verification_unavailable("The issuer of this token")
        return keys.get(kid)

    def _fetch(self) -> Mapping[str, PyJWK]:
        """Return the usable keys by their ids, or raise FetchError if there are none."""
        # one deadline for both documents, as a request waits for the sum
        deadline = self._monotonic() + FETCH_TIMEOUT_SECONDS
        if not self._url:
            self._url = self._discover_url()
        document = self._client.fetch(self._url, timeout=deadline - self._monotonic()).document()
        try:
            keys = [key for key in PyJWKSet.from_dict(document) if self._accepts(key)]
        # PyJWT takes the types of fields for granted, so a malformed key raises any of these
        except (PyJWTError, ValueError, TypeError, OverflowError):
            keys = []
        if not keys:
            raise FetchError("none of its keys can be used")
        return {str(key.key_id): key for key in keys}

    def _discover_url(self) -> str:
        """
        Return the `jwks_uri` of the discovery document.

        Raises FetchError if the document is of another issuer, or names another origin.
        """
        url = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
        document = self._client.fetch(url, timeout=FETCH_TIMEOUT_SECONDS).document()
        # the document is asked of the issuer: it may not hand the keys over to another host
        keys_url = document.get("jwks_uri")
        if document.get("issuer") != self._issuer or not isinstance(keys_url, str):
            raise FetchError("its discovery document is not about it")
        with suppress(ValueError):
            if parse_url(keys_url).origin == parse_url(self._issuer).origin:
                return keys_url
        raise FetchError("its discovery document points to another host")

    def _accepts(self, key: PyJWK) -> bool:
        """Return whether a key is a public one for signatures, of a size and a curve that hold."""
        public = key.key
        # A set may hold private and symmetric keys, which are of other classes. A signature by a
        # huge RSA key takes long to check.
        if isinstance(public, RSAPublicKey):
            is_strong = public.key_size in RSA_BITS
        elif isinstance(public, EllipticCurvePublicKey):
            is_strong = isinstance(public.curve, SECP256R1)
        else:
            is_strong = False
        is_named = isinstance(key.key_id, str) and key.public_key_use in {"sig", None}
        return is_strong and is_named and key.algorithm_name in self._algorithms
