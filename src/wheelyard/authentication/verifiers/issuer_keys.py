"""
The public keys of issuers (RFC 7517), and a cache for such documents of other servers.

A request with a signed token may cause a fetch. So a document is fetched at most once a minute, or
every five seconds while there is no document, whatever tokens strangers send. While the server of a
document does not answer, the last document is used for a day.
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
"""The shortest time between two fetches while there is no document at all."""
RSA_BITS: Final = range(2048, 8193)
"""The accepted sizes of RSA keys."""

DocumentT = TypeVar("DocumentT")

logger = logging.getLogger("wheelyard")


class RemoteDocument(Struct, Generic[DocumentT]):
    """
    A document of another server, which is fetched when first needed, and again when it is old.

    Threads may share it.
    """

    name: str
    """The words by which the log names the document."""
    fetch: Callable[[], DocumentT]
    """Fetches and returns the document, or raises FetchError."""
    monotonic: Clock
    has_failed: bool = False
    """Whether the last fetch failed."""
    _value: DocumentT | None = None
    _fetched_at: float = 0.0
    _attempted_at: float | None = None
    _fetching: Lock = field(default_factory=Lock)

    def get(self, is_enough: Callable[[DocumentT], bool]) -> DocumentT | None:
        """
        Return the document, or None if there is none that is younger than a day.

        The document is fetched if it is old, or if `is_enough` says that it lacks something. A
        fetch that fails is logged. The old document is returned then, also if `is_enough` does not
        accept it. A caller for whom the document is enough does not wait while another caller
        fetches.
        """
        value = self._usable()
        has_enough = value is not None and is_enough(value)
        # nearly every request ends here, without the lock
        if has_enough and self.monotonic() < self._fetched_at + LIFETIME_SECONDS:
            return value
        # A caller without enough waits for the caller that fetches. After that, `_fetch_if_due`
        # does not fetch again.
        if self._fetching.acquire(blocking=not has_enough):
            try:
                self._fetch_if_due()
            finally:
                self._fetching.release()
        return self._usable()

    def _usable(self) -> DocumentT | None:
        """Return the document, or None if there is none or it is too old to be used."""
        if self.monotonic() >= self._fetched_at + STALE_LIMIT_SECONDS:
            return None
        return self._value

    def _fetch_if_due(self) -> None:
        """Fetch the document, unless this or another caller has tried a moment ago."""
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
            # counted from the end of the fetch, which may have taken seconds
            self._attempted_at = self.monotonic()


class IssuerKeys:
    """
    The public keys of one issuer.

    Threads may share it. Without `url`, the issuer's discovery document has the URL of the keys.
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

        The keys are fetched if they are old, or if the id is unknown. A caller whose key is known
        does not wait while another caller fetches. Raises Unavailable if the key is unknown after a
        fetch that has failed.
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
        # keys on another host could be under the control of somebody else than the issuer
        keys_url = document.get("jwks_uri")
        if document.get("issuer") != self._issuer or not isinstance(keys_url, str):
            raise FetchError("its discovery document is not about it")
        with suppress(ValueError):
            if parse_url(keys_url).origin == parse_url(self._issuer).origin:
                return keys_url
        raise FetchError("its discovery document points to another host")

    def _accepts(self, key: PyJWK) -> bool:
        """Return whether a key is a public key for signatures, with an accepted size or curve."""
        public_key = key.key
        # A set may have private and symmetric keys, which are of other classes. A signature by a
        # huge RSA key takes long to check.
        if isinstance(public_key, RSAPublicKey):
            is_strong = public_key.key_size in RSA_BITS
        elif isinstance(public_key, EllipticCurvePublicKey):
            is_strong = isinstance(public_key.curve, SECP256R1)
        else:
            is_strong = False
        is_named = isinstance(key.key_id, str) and key.public_key_use in {"sig", None}
        return is_strong and is_named and key.algorithm_name in self._algorithms
