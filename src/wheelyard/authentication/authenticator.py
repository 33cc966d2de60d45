"""
Authentication of credentials: from a credential to a caller.

The order of the checks is part of the contract:

1. What begins as an API token is an API token, or invalid.
2. What has the digest of a static token is that token.
3. User name and shape tell the type (`classify`). Only the verifier of this type gets the
   credential, so Google gets only what is sent as a Google access token.

A client sends its credential with each of many requests at once. For a second it is not verified
again (`RecentCallers`), so a revoked credential works that much longer.
"""

import logging
import re
from base64 import b64decode
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from hashlib import blake2b
from math import ceil
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from msgspec import Struct

from wheelyard.authentication.api_tokens import ApiTokens, invalid_credential
from wheelyard.authentication.authorization import AuthorizationPolicy
from wheelyard.authentication.token_owners import TokenOwners
from wheelyard.authentication.verifiers.static_tokens import StaticTokens
from wheelyard.authentication.verifiers.verifier import (
    NETWORK_SIGN_IN,
    SIGN_IN,
    UNKNOWN_TOKEN,
    CredentialRejected,
    LoginRateLimit,
    ReloadingFile,
    Verifier,
    address_key,
    client_network,
    decode_segment,
    network_of,
)
from wheelyard.concurrency.caches import ExpiringCache
from wheelyard.concurrency.runtime import Clock, LogRateLimit
from wheelyard.errors import RATE_LIMITED, Unauthenticated, Unavailable, WheelyardError
from wheelyard.model.access import ANONYMOUS, Caller, Credential, Identity, intersection
from wheelyard.model.api_token import ApiToken, TokenRecord, has_token_prefix, parse_token
from wheelyard.model.decoding import escaped
from wheelyard.model.person import counted_as

if TYPE_CHECKING:
    from wheelyard.authentication.trusted_publishing import TrustedPublishing
    from wheelyard.authentication.verifiers.google import AccessTokenVerifier
    from wheelyard.authentication.verifiers.htpasswd import HtpasswdVerifier

GOOGLE_USER: Final = "oauth2accesstoken"
TOKEN_USERS: Final = frozenset({GOOGLE_USER, "oidc", "__token__"})
"""User names that mean: the password is a token."""
ACCESS_TOKEN_PREFIX: Final = "ya29."  # noqa: S105 - the beginning that all of them have

_JWT: Final = re.compile(r"([A-Za-z0-9_-]{4,2048})\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")


class CredentialType(Enum):
    """
    The type of a credential that is neither an API token nor a static token.

    The logged reasons for rejections begin with its value.
    """

    ID_TOKEN = "jwt"  # noqa: S105 - a kind
    ACCESS_TOKEN = "gat"  # noqa: S105 - a kind
    PASSWORD = "htpasswd"  # noqa: S105 - a kind


def api_token_in(credential: Credential) -> ApiToken | None:
    """
    Return the API token in a credential, or None.

    Raises Unauthenticated for a malformed API token.
    """
    # clients differ in whether they send a token as the user name or as the password
    for half in credential.halves:
        if has_token_prefix(half):
            token = parse_token(half)
            if token is None:
                raise invalid_credential() from CredentialRejected("token_shape")
            return token
    return None


def classify(credential: Credential) -> CredentialType:
    """Return the type that user name and shape of a credential show, PASSWORD if they show none."""
    is_token = credential.is_bearer or credential.user in TOKEN_USERS
    if is_token and _is_jwt(credential.secret):
        return CredentialType.ID_TOKEN
    # a secret that was sent by mistake must not be shown to Google
    has_prefix = is_token and credential.secret.startswith(ACCESS_TOKEN_PREFIX)
    if credential.user == GOOGLE_USER or has_prefix:
        return CredentialType.ACCESS_TOKEN
    return CredentialType.PASSWORD


def is_service_account_key(credential: Credential) -> bool:
    """Return whether it is a Google service account's key file, plain or Base64, by its looks."""
    secret = credential.secret
    with suppress(ValueError):
        if secret[:1] == "e":  # Base64 of {
            altchars = b"-_" if "_" in secret or "-" in secret else None
            secret = b64decode(secret, altchars).decode("latin-1")
    return credential.user.startswith("_json_key") or (
        secret.startswith("{") and "private_key" in secret
    )


def _is_jwt(secret: str) -> bool:
    match = _JWT.fullmatch(secret)
    try:
        return match is not None and decode_segment(match[1]) is not None
    except CredentialRejected:
        return False


C = TypeVar("C", bound=Caller | None)

REMEMBERED_SECONDS: Final = 1.0
"""How long a caller is remembered, counted from the beginning of the verification."""
MAX_REMEMBERED: Final = 512
"""Callers in memory, of about 1 KiB each."""


class RecentCallers:
    """
    The callers that were verified in the last second, by a keyed hash of what they sent.

    Threads may share it.
    """

    def __init__(self, process_key: bytes, monotonic: Clock) -> None:
        self._process_key = process_key
        # to copy it takes half as long as to begin with a key
        self._keyed_hash = blake2b(digest_size=16, key=process_key)
        self._monotonic = monotonic
        self._callers = ExpiringCache[bytes, Caller](monotonic, MAX_REMEMBERED)
        self.remembered = self._callers.get
        """Returns the caller that was verified under a key in the last second; never blocks."""

    def header_key(self, header: bytes, address: str) -> bytes:
        """Return the key, which is never empty, of an Authorization header from an address."""
        hashed = self._keyed_hash.copy()
        hashed.update(header + b"\0" + client_network(address).encode())
        return hashed.digest()

    def cookie_key(self, cookie: bytes) -> bytes:
        """Return the key of a session's cookie, which no Authorization header can have."""
        return blake2b(cookie, digest_size=16, key=self._process_key, person=b"cookie").digest()

    def of_another_index(self) -> "RecentCallers":
        """Return an empty memory for another index, where a credential has other rights."""
        return RecentCallers(self._process_key, self._monotonic)

    def verified(self, key: bytes, verify: Callable[[], C]) -> C:
        """
        Return the caller that `verify` returns, and remember it.

        Raises what `verify` raises. Neither an error nor None is remembered.
        """
        # from the beginning: what was revoked while `verify` ran must not count for longer
        started_at = self._monotonic()
        caller = verify()
        if caller is not None:
            self._callers.put(key, caller, started_at + REMEMBERED_SECONDS - self._monotonic())
        return caller


Wait = Literal["local", "password", "remote"]
"""
What the verification of a credential waits for: nothing or the store; the hash of a password, of
which `MAX_PASSWORD_CHECKS` may run at once; or Google, or the keys of an issuer.
"""
MAX_PASSWORD_CHECKS: Final = 4
"""The most passwords that a process hashes at once: the size of the pool for them."""
ANONYMOUS_IDENTITY: Final = Identity(ANONYMOUS, frozenset({ANONYMOUS}))
REJECTIONS_LOGGED_PER_MINUTE: Final = 60

logger = logging.getLogger("wheelyard")


class RejectionLog:
    """
    Writes log lines about rejected credentials, with a rate limit.

    Threads may share it. A line has no secret, and a principal only if it exists: people type
    passwords into the field for the user name, so the caller of `log` checks that first.
    """

    def __init__(self, monotonic: Clock) -> None:
        self._rejections = LogRateLimit(REJECTIONS_LOGGED_PER_MINUTE, monotonic)

    def log(self, reason: str, network: str, name: str = "") -> None:
        """
        Log a rejection with its reason code and client network, up to a limit for each minute.

        `name` is the principal, or empty if it does not exist.
        """
        left_out = self._rejections.acquire()
        if left_out is None:
            return
        if left_out:
            logger.info("%d more credentials were refused, without a line each", left_out)
        subject = f" for {escaped(name)}" if name else ""
        logger.info("a credential was refused: %s%s, from %s", reason, subject, network)


class Authenticator(Struct, frozen=True, kw_only=True):
    """
    Authenticates credentials.

    Threads may share it. A verifier is None if its type is not enabled.
    """

    tokens: ApiTokens
    owners: TokenOwners
    trusted_publishing: "TrustedPublishing | None"
    static_tokens: StaticTokens
    htpasswd: "HtpasswdVerifier | None"
    id_tokens: Verifier | None
    access_tokens: "AccessTokenVerifier | None"
    iap: Verifier | None
    rate_limit: LoginRateLimit
    policy: AuthorizationPolicy
    rejection_log: RejectionLog
    callers: RecentCallers

    @property
    def files(self) -> tuple[ReloadingFile[Any], ...]:
        """The configured credential files: of htpasswd users and of static tokens."""
        files = (self.htpasswd.file if self.htpasswd else None, self.static_tokens.file)
        return tuple(file for file in files if file is not None)

    def waits_for(self, credential: Credential) -> Wait:
        """
        Return what `authenticate` would wait for, so that the caller can choose a pool of threads.

        A credential is `local`, too, if its result is cached, or if it cannot be valid. Hashes and
        asks nothing.
        """
        if any(map(has_token_prefix, credential.halves)):
            return "local"
        verifier = self._verifier_of(credential)
        try:
            if verifier is None or self._cached_identity(credential) is not None:
                return "local"
        except Unauthenticated:
            return "local"
        return "password" if verifier is self.htpasswd else "remote"

    def authenticate(self, credential: Credential, address: str) -> Caller:
        """
        Return the caller whom a credential identifies.

        May wait for the store, for Google, or for a password hash. Rejections are logged. Wrong
        passwords, rejected access tokens and unknown API tokens count for the rate limit of the
        network of `address`.

        Raises Unauthenticated if the credential is invalid. Raises Unavailable if it cannot be
        verified now, or (code `rate_limited`) after too many failures.
        """
        try:
            token = api_token_in(credential)
            if token is not None:
                return self.caller_for_token(self._token_record(token, address))
            identity = self._cached_identity(credential)
            if identity is None:
                identity = self._verified_identity(credential, address)
            return self.policy.authorize(identity)
        except (Unauthenticated, Unavailable) as fault:
            self._log_rejection(fault, credential, network_of(address))
            raise

    def authenticate_assertion(self, assertion: str) -> Caller:
        """
        Return the caller whom an assertion of Identity-Aware Proxy names.

        Raises Unauthenticated if it is invalid, or if the index is not behind such a proxy. Raises
        Unavailable if it cannot be verified now.
        """
        if self.iap is None:
            raise invalid_credential()
        try:
            identity = self.iap.verify(Credential("", assertion, is_bearer=True))
        except Unauthenticated as fault:
            self.rejection_log.log(rejection_reason(fault, otherwise=fault.code), "the proxy")
            raise
        return self.policy.authorize(identity)

    def caller_for_token(self, record: TokenRecord) -> Caller:
        """
        Return the caller for the record of an API token, with its present scopes.

        The state of the token is not checked. Raises Unauthenticated if it is of a CI job, and none
        of its publishers is in force any more, or as `TokenOwners.principals`. Raises Unavailable
        if its owner, or the grants of its owner or of everybody, cannot be read.
        """
        if record.publishers:
            service = self.trusted_publishing
            minted = service.identity(record) if service else None
            if minted is None:  # its publisher was removed
                raise invalid_credential() from CredentialRejected("publisher_gone")
            principal, principals = minted.principal, minted.principals
            scopes = self.policy.holding(minted.scopes)
        else:
            principal = f"token:{record.id}"
            scopes = self.policy.holding((record.scope,), names_index=record.names_index)
            principals = frozenset({principal})
        public = self.policy.public()
        if record.owner:
            # cut down at each use: what the owner may not do any more, the token may not do either
            own = self.policy.own_scopes(record.owner, self.owners.principals(record))
            limits = (*own, *public)
            scopes = tuple(both for scope in scopes for both in intersection(scope, limits))
        scopes = (*scopes, *public)
        return Caller(
            principal,
            scopes,
            principals,
            record.name,
            record.owner,
            record.token_owner.names,
            self.policy.index,
        )

    def verified_recently(self, credential: Credential) -> bool:
        """Return whether it is a password, right today for its user and client network."""
        return self.htpasswd is not None and self.htpasswd.verified_recently(credential)

    def count_sign_in(self, caller: Caller, address: str) -> None:
        """Count a sign-in in a browser, or raise Unavailable (code `rate_limited`) for too many."""
        keys = (f"{SIGN_IN}:{counted_as(caller)}", address_key(address, NETWORK_SIGN_IN))
        wait = ceil(self.rate_limit.seconds_until(keys))
        if wait:
            self.rejection_log.log("sign_in_rate", network_of(address), caller.principal)
            raise Unavailable("There were too many sign-ins.", code=RATE_LIMITED, retry_after=wait)
        self.rate_limit.record_failure(keys)

    def _token_record(self, token: ApiToken, address: str) -> TokenRecord:
        # 190 bits cannot be guessed: neither existing tokens are limited, nor is a mistake repeated
        if self.tokens.records.peek(token.id, "any") is not None:
            return self.tokens.get(token)
        key = address_key(address, UNKNOWN_TOKEN)
        self._require_try(key, "token")
        try:
            return self.tokens.get(token)
        except Unauthenticated:
            if not self._is_cached(token):  # there is no token with this id
                self.rate_limit.record_failure((key,))
            raise

    def _is_cached(self, token: ApiToken) -> bool:
        snapshot = self.tokens.records.peek(token.id, "any")
        return snapshot is not None and snapshot.value is not None

    def _log_rejection(self, fault: WheelyardError, credential: Credential, network: str) -> None:
        """Log why a credential is rejected, unless it is a user name without a password."""
        # uv asks with a name alone before it asks with the password
        is_probe = not credential.secret and not has_token_prefix(credential.user)
        is_rejection = isinstance(fault, Unauthenticated) or fault.code == RATE_LIMITED
        if is_probe or not is_rejection:
            return
        name = ""
        reason = rejection_reason(fault, f"{classify(credential).value}_rejected")
        if reason.startswith("htpasswd_") and self.htpasswd:
            name = f"htpasswd:{credential.user}" if self.htpasswd.has_user(credential.user) else ""
        token = next(filter(None, map(parse_token, credential.halves)), None)
        if token is not None and self._is_cached(token):
            name = f"token:{token.id}"
        self.rejection_log.log(reason, network, name)

    def _verifier_of(self, credential: Credential) -> Verifier | None:
        """Return the one verifier that may see a credential, or None if there is none."""
        match classify(credential):
            case CredentialType.ID_TOKEN:
                return self.id_tokens
            case CredentialType.ACCESS_TOKEN:
                return self.access_tokens
            case CredentialType.PASSWORD:
                return None if credential.is_bearer else self.htpasswd

    def _cached_identity(self, credential: Credential) -> Identity | None:
        """
        Return the identity of a credential that is no API token, or None if it takes a wait.

        Raises Unauthenticated if the credential is invalid.
        """
        # before anything else: a static token may look like a credential of another type
        token = self.static_tokens.find(credential.halves)
        if token is not None:
            return token.identity
        if is_service_account_key(credential):
            raise Unauthenticated(
                "A service account's key is not a credential here, and has now been shown to "
                "somebody. Delete it, and send a short-lived token instead."
            ) from CredentialRejected("sa_key_refused")
        is_decodable = credential.is_unicode or classify(credential) is CredentialType.PASSWORD
        if not credential.secret or not is_decodable:
            raise invalid_credential() from CredentialRejected("auth_malformed")
        verifier = self._verifier_of(credential)
        return verifier.cached_identity(credential) if verifier else None

    def _verified_identity(self, credential: Credential, address: str) -> Identity:
        """Return the identity of a credential, verified now within the rate limit."""
        kind, key = classify(credential), address_key(address)
        if kind is CredentialType.ACCESS_TOKEN:  # Google's cannot be guessed: only Google is spared
            key = f"access_token:{client_network(address)}"
        # An invalid signature is cheap to detect and cannot be guessed. A client that had the right
        # password lately does not guess.
        is_limited = kind is not CredentialType.ID_TOKEN and not self.verified_recently(credential)
        if is_limited:
            self._require_try(key, kind.value)
        try:
            return self._verify(credential, kind)
        except Unauthenticated:
            # counted once it has failed: several at once exceed the limit by one each
            if is_limited:
                self.rate_limit.record_failure((key,))
            raise

    def _verify(self, credential: Credential, kind: CredentialType) -> Identity:
        verifier = self._verifier_of(credential)
        if verifier is not None:
            return verifier.verify(credential)
        is_password = kind is CredentialType.PASSWORD and not credential.is_bearer
        if is_password and self.policy.allows_anonymous_uploads:
            return ANONYMOUS_IDENTITY  # upload clients insist on sending some password
        raise invalid_credential() from CredentialRejected("not_enabled")

    def _require_try(self, key: str, prefix: str) -> None:
        """Raise Unavailable (code `rate_limited`) if the rate limit leaves no try for a key."""
        wait = self.rate_limit.seconds_until((key,))
        if wait:
            raise Unavailable(
                "Too many credentials did not hold.", code=RATE_LIMITED, retry_after=ceil(wait)
            ) from CredentialRejected(f"{prefix}_rate")


def rejection_reason(fault: WheelyardError, otherwise: str) -> str:
    """Return the reason of the first CredentialRejected among an error's causes, or `otherwise`."""
    cause: BaseException | None = fault
    while cause is not None:
        if isinstance(cause, CredentialRejected):
            return cause.reason
        cause = cause.__cause__
    return otherwise
