"""
Verification of signed JWTs (RFC 7519), with the public keys of their issuers (RFC 7517).

`JsonClient` fetches the keys, and what Google says of access tokens. It follows no redirects,
connects to no private address unless that is allowed, and limits size and time. One timeout covers
a whole request. A connection serves one request: requests are rare here, and no response can be
mixed with the rest of another.
"""

import dataclasses
import json
import logging
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from http import HTTPStatus
from operator import attrgetter
from threading import Lock
from typing import Final, Generic, Protocol, TypeVar
from urllib.parse import urlencode

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK, PyJWKSet, PyJWTError
from msgspec import Struct, field

from wheelyard.authentication.verifiers.verifier import (
    SIGNATURE_REMOVED,
    CredentialRejected,
    VerificationCache,
    decode_segment,
    invalid_id_token,
    verification_unavailable,
)
from wheelyard.concurrency.runtime import Clock, Runtime
from wheelyard.http_client.client import Network, Requester
from wheelyard.http_client.hosts import AddressPolicy, FetchError, every_address
from wheelyard.http_client.urls import BadUrl, parse_url
from wheelyard.model.access import Credential, Identity
from wheelyard.model.claim_matchers import Claims

BODY_LIMIT_BYTES: Final = 256 * 1024

_HEADERS: Final = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "Connection": "close",
    "User-Agent": "wheelyard",  # GitHub answers nobody without one
}


@dataclasses.dataclass(frozen=True, slots=True)
class JsonResponse:
    """A response of any status, with its body in memory."""

    status: int
    body: bytes = dataclasses.field(repr=False)

    def value(self) -> object:
        """Return the JSON in a body of status 200, or raise FetchError without it."""
        if self.status != HTTPStatus.OK:
            raise FetchError(f"it answered {self.status}")
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise FetchError("its answer is not JSON") from error

    def document(self) -> dict[str, object]:
        """Return the JSON object in a body of status 200, or raise FetchError without one."""
        document = self.value()
        if not isinstance(document, dict):
            raise FetchError("its answer is not a JSON object")
        return document


NO_PRIVATE_HOST: Final = (
    "its host {host} has a private address. If that is meant, set allow_private, or for a "
    "publisher trusted_publishing.private_issuers"
)


class JsonClient:
    """
    Fetches JSON by HTTPS.

    With `allow_private` also from private hosts, and from this machine by plain HTTP.
    """

    def __init__(self, runtime: Runtime, *, allow_private: bool = False) -> None:
        policies = {"https": AddressPolicy(refusal=NO_PRIVATE_HOST)}
        if allow_private:
            policies["https"] = AddressPolicy(is_allowed=every_address)
            policies["http"] = AddressPolicy(is_allowed=attrgetter("is_loopback"))
        self._requester = Requester(runtime, Network(policies=policies))

    def fetch(
        self,
        url: str,
        *,
        timeout: float,
        authorization: str = "",
        form: Mapping[str, str] | None = None,
    ) -> JsonResponse:
        """
        Return the response to a GET request, or to a POST request with a form, of any status.

        `authorization` is the value of that header. `timeout` is in seconds. Raises FetchError if
        the URL or the address is not allowed, or if there is no complete response in time.
        """
        try:
            target = parse_url(url)
        except BadUrl as error:
            raise FetchError("its URL makes no sense") from error
        if target.login is not None or not (url.isascii() and url.isprintable()):
            raise FetchError("its URL makes no sense")
        headers, method, content = dict(_HEADERS), "GET", None
        if authorization:
            headers["Authorization"] = authorization
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            method, content = "POST", urlencode(form).encode()
        with (
            self._requester.deadline(timeout),
            closing(self._requester.send(method, target, headers, content)) as response,
        ):
            return JsonResponse(response.status, bytes(response.body(BODY_LIMIT_BYTES)))

    def close(self) -> None:
        """Close every connection, and stop the threads that resolve host names."""
        self._requester.close()


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

logger = logging.getLogger("wheelyard")


T = TypeVar("T")


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

        Fetches it if it is old, or not enough. A caller for whom it is enough does not wait while
        another one fetches.
        """
        value = self._usable()
        has_enough = value is not None and is_enough(value)
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
        is_usable = self.monotonic() < self._fetched_at + STALE_LIMIT_SECONDS
        return self._value if is_usable else None

    def _fetch_if_due(self) -> None:
        """Fetch the document unless that was tried a moment ago, perhaps by a caller before."""
        interval = RETRY_INTERVAL_SECONDS if self._usable() is None else FETCH_INTERVAL_SECONDS
        attempted_at = self._attempted_at
        if attempted_at is not None and self.monotonic() < attempted_at + interval:
            return
        # the caller holds `_fetching`; readers see either the old document or the new one
        try:
            self._value, self.has_failed = self.fetch(), False
            self._fetched_at = self.monotonic()
        except FetchError as fault:
            self.has_failed = True
            logger.warning("%s cannot be fetched: %s", self.name, fault.why)
        finally:
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
        deadline = self._monotonic() + FETCH_TIMEOUT_SECONDS
        if not self._url:
            self._url = self._discover_url()
        document = self._client.fetch(self._url, timeout=deadline - self._monotonic()).document()
        try:
            keys = [key for key in PyJWKSet.from_dict(document) if self._accepts(key)]
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
        is_strong = (isinstance(public, RSAPublicKey) and public.key_size in RSA_BITS) or (
            isinstance(public, EllipticCurvePublicKey) and isinstance(public.curve, SECP256R1)
        )
        is_named = isinstance(key.key_id, str) and key.public_key_use in {"sig", None}
        return is_strong and is_named and key.algorithm_name in self._algorithms


JWT_LIMIT_BYTES: Final = 8192
MAX_JWT_BYTES: Final = 65_536
"""The limit for any issuer: of tokens with the groups of a person."""
KID_LIMIT_CHARS: Final = 200
LEEWAY_SECONDS: Final = 30
"""The accepted difference between the clocks of issuer and index."""
MAX_LIFETIME_SECONDS: Final = 3700
"""The longest time from `iat` to `exp` of a JWT: an hour and a little."""
REMOVED_SIGNATURE: Final = "SIGNATURE_REMOVED_BY_GOOGLE"
"""What Cloud Run puts in place of a signature that it has checked itself."""
CACHE_SECONDS: Final = 300.0
"""The longest time that a verified token is not verified again; never beyond its expiry."""

_REQUIRED: Final = ("iss", "aud", "exp", "iat", "sub")
_REASONS: Final[Mapping[type[jwt.PyJWTError], str]] = {
    jwt.InvalidSignatureError: "jwt_sig",
    jwt.InvalidKeyError: "jwt_sig",
    jwt.InvalidAlgorithmError: "jwt_alg",
    jwt.InvalidAudienceError: "jwt_aud",
    jwt.InvalidIssuerError: "jwt_iss",
}


class IssuerConfig(Struct, frozen=True):
    """A trusted issuer, and the conditions on its tokens."""

    name: str
    """The exact `iss` of its tokens."""
    keys: IssuerKeys
    algorithms: frozenset[str]
    """Signature algorithms; only those with public keys."""
    audiences: frozenset[str]
    """The accepted `aud` values, exactly."""
    lifetime: int = MAX_LIFETIME_SECONDS
    """Seconds that its tokens may live."""
    max_bytes: int = JWT_LIMIT_BYTES
    """The size of its largest token."""
    lists_audience: bool = False
    """Whether `aud` may be a list, which has one member."""


class AccountRules(Protocol):
    """Whose account the claims of a verified token name."""

    def identify(self, claims: Claims) -> Identity:
        """Return the identity for verified claims, or raise CredentialRejected."""
        ...


class IdTokenVerifier(Struct, frozen=True):
    """
    Verifies signed tokens (JWTs) of the given issuers, with a cache.

    Threads may share it.
    """

    issuers: Mapping[str, IssuerConfig]
    accounts: AccountRules
    now: Clock
    cache: VerificationCache[Identity]

    def cached_identity(self, credential: Credential) -> Identity | None:
        """Return the identity of a signed token if it is cached, else None."""
        return self.cache.get(self.cache.key("signed", credential.secret))

    def verify(self, credential: Credential) -> Identity:
        """Return the identity of a signed token, cached or verified now (see `Verifier.verify`)."""
        identity = self.cached_identity(credential)
        if identity is not None:
            return identity
        now = self.now()
        try:
            claims = verified_claims(credential.secret, self.issuers, now)
            identity = self.accounts.identify(claims)
        except CredentialRejected as rejected:
            raise invalid_id_token() from rejected
        # a rejection is not cached: to find an invalid signature is cheap
        seconds = min(_time(claims, "exp") - now, CACHE_SECONDS)
        self.cache.put(self.cache.key("signed", credential.secret), identity, seconds)
        return identity


def verified_claims(token: str, issuers: Mapping[str, IssuerConfig], now: float) -> Claims:
    """
    Return the claims of a token after checks of its issuer, audience, signature and times.

    `now` is in seconds since the epoch. Raises CredentialRejected if the token is invalid, and
    Unavailable if the issuer's keys cannot be fetched.
    """
    # issuer, algorithm and audience come before the key: a stranger's token causes no fetch
    header, unverified = _decode_unverified(token)
    issuer = issuers.get(_text(unverified, "iss", "jwt_iss"))
    if issuer is None:
        raise CredentialRejected("jwt_iss")
    if len(token) > issuer.max_bytes:
        raise CredentialRejected("auth_malformed")
    kid = _checked_kid(header, issuer)
    audience = _audience(unverified, issuer)
    if audience not in issuer.audiences:
        raise CredentialRejected("jwt_aud")
    key = issuer.keys.key(kid)
    if key is None:
        raise CredentialRejected("jwt_kid")
    # by the key alone: a token that names another algorithm must not choose how it is verified
    if key.algorithm_name != header["alg"]:
        raise CredentialRejected("jwt_alg")
    try:
        claims = jwt.decode(
            token,
            key,
            algorithms=[key.algorithm_name],
            audience=audience,
            issuer=issuer.name,
            options={
                "require": list(_REQUIRED),
                "strict_aud": not issuer.lists_audience,
                "enforce_minimum_key_length": True,
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
    except jwt.PyJWTError as error:
        raise CredentialRejected(_REASONS.get(type(error), "auth_malformed")) from None
    except Exception as error:  # noqa: BLE001 - any failure of the library means: not verified
        logger.error("a signed token could not be judged: %s", type(error).__name__)  # noqa: TRY400 - a traceback may hold the token
        raise CredentialRejected("auth_malformed") from None
    _check_times(claims, issuer, now)
    return claims


def _decode_unverified(token: str) -> tuple[Claims, Claims]:
    """Return the unverified header and claims, or raise CredentialRejected if it is no JWT."""
    is_jwt = token.isascii() and token.count(".") == 2  # noqa: PLR2004 - between the three parts
    if len(token) > MAX_JWT_BYTES or not is_jwt:
        raise CredentialRejected("auth_malformed")
    header, claims, signature = token.split(".")
    if signature == REMOVED_SIGNATURE:
        raise CredentialRejected(SIGNATURE_REMOVED)
    return decode_segment(header), decode_segment(claims)


def _audience(claims: Claims, issuer: IssuerConfig) -> str:
    audience = claims.get("aud")
    if issuer.lists_audience and isinstance(audience, list) and len(audience) == 1:
        return _text({"aud": audience[0]}, "aud", "jwt_aud")
    return _text(claims, "aud", "jwt_aud")


def _checked_kid(header: Claims, issuer: IssuerConfig) -> str:
    if _text(header, "alg", "jwt_alg") not in issuer.algorithms:
        raise CredentialRejected("jwt_alg")
    if "crit" in header or "b64" in header or header.get("typ", "JWT") != "JWT":
        raise CredentialRejected("auth_malformed")
    kid = _text(header, "kid", "jwt_kid")
    if len(kid) > KID_LIMIT_CHARS:
        raise CredentialRejected("jwt_kid")
    return kid


def _check_times(claims: Claims, issuer: IssuerConfig, now: float) -> None:
    issued_at, expires_at = _time(claims, "iat"), _time(claims, "exp")
    not_before = _time(claims, "nbf") if "nbf" in claims else issued_at
    is_current = (
        0 < expires_at - issued_at <= issuer.lifetime
        and now - issuer.lifetime <= issued_at <= now + LEEWAY_SECONDS
        and not_before <= now + LEEWAY_SECONDS
        and now < expires_at + LEEWAY_SECONDS
    )
    if not is_current:
        raise CredentialRejected("jwt_time")


def _time(claims: Claims, name: str) -> int:
    value = claims.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise CredentialRejected("jwt_time")
    return value


def _text(claims: Claims, name: str, reason: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str):
        raise CredentialRejected(reason)
    return value
