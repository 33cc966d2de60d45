"""
Who sends a credential: every kind that an index takes, and as which of them one is tried.

The order is part of the contract: API tokens by their shape, static tokens by their digest, then
what the user name and the form of the secret say. Exactly one kind decides, so that no credential
is shown to somebody whom it was not meant for.
"""

import logging
import re
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from math import ceil
from typing import TYPE_CHECKING, Any, Final

from wheelyard.authentication.api_tokens import ApiTokens, invalid_credential
from wheelyard.authentication.verifiers.login_rate_limit import (
    UNKNOWN_TOKEN,
    LoginRateLimit,
    address_key,
    client_network,
    login_keys,
    network_of,
)
from wheelyard.authentication.verifiers.reloading_file import ReloadingFile
from wheelyard.authentication.verifiers.static_tokens import StaticTokens
from wheelyard.authentication.verifiers.verifier import (
    SIGNATURE_REMOVED,
    CredentialRejected,
    Verifier,
    decode_segment,
)
from wheelyard.concurrency.log_rate_limit import LogRateLimit
from wheelyard.errors import RATE_LIMITED, Unauthenticated, Unavailable, WheelyardError
from wheelyard.model.access import (
    ANONYMOUS,
    EVERY_PROJECT,
    Action,
    Caller,
    Credential,
    Identity,
    Scope,
    intersection,
)
from wheelyard.model.grants import Grants
from wheelyard.model.text import escaped
from wheelyard.model.token import ApiToken, TokenRecord, has_token_prefix, parse_token

if TYPE_CHECKING:
    from wheelyard.authentication.trusted_publishing import TrustedPublishing
    from wheelyard.authentication.verifiers.htpasswd import HtpasswdVerifier

ANONYMOUS_IDENTITY: Final = Identity(ANONYMOUS, frozenset({ANONYMOUS}))
DEFAULT_HTPASSWD_SCOPE: Final = Scope(Action.UPLOAD.with_implied, (EVERY_PROJECT,))
"""What a password is good for where no grant says anything, as with pypiserver."""

GOOGLE_USER: Final = "oauth2accesstoken"
TOKEN_USERS: Final = frozenset({GOOGLE_USER, "oidc", "__token__"})
"""User names that say that the password is a token of some kind."""
ACCESS_TOKEN_PREFIX: Final = "ya29."  # noqa: S105 - the beginning that all of them have
SERVICE_ACCOUNT_KEY_USERS: Final = frozenset({"_json_key", "_json_key_base64"})
SERVICE_ACCOUNT_KEY_MIN_CHARS: Final = 64
"""Characters that no service account's key has fewer of."""

REJECTIONS_LOGGED_PER_MINUTE: Final = 60
"""Lines a minute about credentials that did not hold."""
SERVICE_ACCOUNT_KEY_REJECTED: Final = "sa_key_refused"
"""The reason for what is a service account's key."""

logger = logging.getLogger("wheelyard")

_SIGNED: Final = re.compile(r"([A-Za-z0-9_-]{4,2048})\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")


class CredentialType(Enum):
    """What a credential is tried as, once it is neither an API token nor a static one."""

    ID_TOKEN = auto()
    ACCESS_TOKEN = auto()
    PASSWORD = auto()


REJECTION_PREFIXES: Final = {
    CredentialType.ID_TOKEN: "jwt",
    CredentialType.ACCESS_TOKEN: "gat",
    CredentialType.PASSWORD: "htpasswd",
}
"""What the reasons of each kind begin with in the log."""


@dataclass(frozen=True, slots=True)
class AuthorizationPolicy:
    """From an identity to what it may do: grants, and what the credential itself brings."""

    grants: Grants
    public: tuple[Scope, ...]
    """What anybody may do, with or without a credential."""
    htpasswd_scope: Scope = DEFAULT_HTPASSWD_SCOPE
    """What a name in the htpasswd file may do where there is no grant."""

    @property
    def allows_anonymous_uploads(self) -> bool:
        """Whether publishing takes no credential."""
        return any(scope.actions & Action.UPLOAD for scope in self.public)

    def authorize(self, identity: Identity) -> Caller:
        """Return the caller that an identity is."""
        scopes = (*identity.scopes, *self.scopes_for(identity.principals))
        if not self.grants.all and identity.principal.startswith("htpasswd:"):
            scopes = (self.htpasswd_scope, *scopes)
        return Caller(identity.principal, scopes, identity.principals)

    def scopes_for(self, names: frozenset[str]) -> tuple[Scope, ...]:
        """Return what somebody may do who goes by these names, now."""
        return (*self.grants.scopes_of(names), *self.public)


class RejectionLog:
    """
    The lines of an index about refused credentials; safe to share between threads.

    Nothing of a credential is logged, and a name only if it is known to be one, since people type
    passwords there.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._refused = LogRateLimit(REJECTIONS_LOGGED_PER_MINUTE, monotonic)
        self._keys = LogRateLimit(1, monotonic)
        self._removed = LogRateLimit(1, monotonic)

    def log(self, reason: str, network: str, name: str = "") -> None:
        """
        Say that a credential was refused, unless the log has had enough of them this minute.

        `reason` is a code (`token_expired`), `name` whose it would be, where that is certain.
        """
        if reason == SIGNATURE_REMOVED and self._removed.take() is not None:
            logger.warning(
                "Cloud Run has removed a token's signature: its own check of callers is on. "
                "Deploy with --no-invoker-iam-check."
            )
        left_out = self._refused.take()
        if left_out is None:
            return
        if left_out:
            logger.info("%d more credentials were refused, without a line each", left_out)
        whose = f" for {escaped(name)}" if name else ""
        logger.info("a credential was refused: %s%s, from %s", reason, whose, network)

    def log_service_account_key(self, network: str) -> None:
        """Say, at most once a minute, that somebody has sent a service account's key."""
        left_out = self._keys.take()
        if left_out is not None:
            more = f", and {left_out} more since the last such line" if left_out else ""
            logger.warning(
                "a service account's key was sent as a credential from %s, and refused%s",
                network,
                more,
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Authenticator:
    """The ways in of one index; those that are None are shut."""

    tokens: ApiTokens
    trusted_publishing: "TrustedPublishing | None"
    static_tokens: StaticTokens
    htpasswd: "HtpasswdVerifier | None"
    id_tokens: Verifier | None
    access_tokens: Verifier | None
    iap: Verifier | None
    rate_limit: LoginRateLimit
    policy: AuthorizationPolicy
    rejection_log: RejectionLog

    @property
    def files(self) -> tuple[ReloadingFile[Any], ...]:
        """The files of credentials."""
        held = (self.htpasswd.file if self.htpasswd else None, self.static_tokens.file)
        return tuple(each for each in held if each is not None)

    def needs_file_check(self, credential: Credential) -> bool:
        """Return whether `known` may look at a file, so that it is called in a thread."""
        return self.may_block(credential) and any(each.needs_check for each in self.files)

    def may_block(self, credential: Credential) -> bool:
        """Return whether finding out may keep a thread busy with a slow hash, or with Google."""
        return not any(has_token_prefix(half) for half in credential.halves)

    def authenticate_cached(self, credential: Credential) -> Caller | None:
        """Return who sends a credential, if known at once; raise Unauthenticated if it is bad."""
        with self._noting(credential, credential.client_network):
            token = api_token_in(credential)
            if token is not None:
                record = self.tokens.peek(token)
                return None if record is None else self.caller_for_token(record)
            identity = self._remembered(credential)
            return None if identity is None else self.policy.authorize(identity)

    def authenticate_stale(self, credential: Credential) -> Caller | None:
        """Return who sends a token, as a store that is away has said before, if it has."""
        token = api_token_in(credential)
        record = None if token is None else self.tokens.peek(token, "stale")
        return None if record is None else self.caller_for_token(record)

    def authenticate(self, credential: Credential, address: str) -> Caller:
        """
        Return who sends a credential; this may wait for the store, for Google, and for hashes.

        Args:
            credential: As it was sent.
            address: Whose failures are counted together.

        Raises:
            Unauthenticated: The credential does not hold.
            Unavailable: It cannot be told, or too many have failed (code `rate_limited`).
        """
        with self._noting(credential, address):
            token = api_token_in(credential)
            if token is not None:
                return self.caller_for_token(self._record(token, address))
            identity = self._remembered(credential) or self._counted(credential, address)
            return self.policy.authorize(identity)

    def caller_for_token(self, record: TokenRecord) -> Caller:
        """Return who bears an API token, and what they may do now."""
        if record.publishers:
            minted = self.trusted_publishing.identity(record) if self.trusted_publishing else None
            if minted is None:  # its publisher is gone from the settings
                raise invalid_credential() from CredentialRejected("publisher_gone")
            scopes = (*minted.scopes, *self.policy.public)
            return Caller(minted.principal, scopes, minted.principals)
        name = f"token:{record.id}"
        scopes = (record.scope,)
        if record.owner:
            scopes = intersection(
                record.scope, self.policy.scopes_for(frozenset(record.owner_names))
            )
        return Caller(name, (*scopes, *self.policy.public), frozenset({name}))

    def verified_recently(self, credential: Credential) -> bool:
        """Return whether a password was right before: the guesses of others do not lock it out."""
        return (
            self.htpasswd is not None
            and classify(credential) is CredentialType.PASSWORD
            and self.htpasswd.verified_recently(
                credential.user, credential.secret, credential.client_network
            )
        )

    def _record(self, token: ApiToken, address: str) -> TokenRecord:
        if self._is_in_memory(token):  # nobody guesses 190 bits: what exists is never counted
            return self.tokens.record(token)
        keys = (address_key(address, UNKNOWN_TOKEN),)
        with self._trying(keys, "token", lambda: not self._is_in_memory(token)):
            return self.tokens.record(token)

    def _is_in_memory(self, token: ApiToken) -> bool:
        snapshot = self.tokens.records.peek(token.id, "ever")
        return snapshot is not None and snapshot.value is not None

    @contextmanager
    def _noting(self, credential: Credential, address: str) -> Iterator[None]:
        """Let the log say why a credential is refused; one that only cannot be told is none."""
        try:
            yield
        except (Unauthenticated, Unavailable) as fault:
            # uv asks with a name alone before it asks with the password
            is_question = not credential.secret and not has_token_prefix(credential.user)
            is_no = isinstance(fault, Unauthenticated) or fault.code == RATE_LIMITED
            if is_no and not is_question:
                self._note(fault, credential, network_of(address))
            raise

    def _note(self, fault: WheelyardError, credential: Credential, network: str) -> None:
        reason = rejection_reason(fault, f"{REJECTION_PREFIXES[classify(credential)]}_rejected")
        name = ""
        if reason == SERVICE_ACCOUNT_KEY_REJECTED:
            self.rejection_log.log_service_account_key(network)
        elif reason.startswith("htpasswd_") and self.htpasswd:
            name = f"htpasswd:{credential.user}" if self.htpasswd.has_user(credential.user) else ""
        token = next(filter(None, map(parse_token, credential.halves)), None)
        if token is not None and self._is_in_memory(token):
            name = f"token:{token.id}"
        self.rejection_log.log(reason, network, name)

    def _remembered(self, credential: Credential) -> Identity | None:
        try:
            identity = self.static_tokens.find(credential.halves)
        except Unauthenticated as fault:
            raise fault from CredentialRejected("static_expired")
        if identity is not None:
            return identity
        secret = credential.secret
        match self._checked(credential):
            case CredentialType.ID_TOKEN if self.id_tokens:
                return self.id_tokens.cached_identity(secret)
            case CredentialType.ACCESS_TOKEN if self.access_tokens:
                return self.access_tokens.cached_identity(secret)
            case CredentialType.PASSWORD if self.htpasswd:
                return self.htpasswd.cached_identity(
                    credential.user, secret, credential.client_network
                )
            case _:
                return None

    def _counted(self, credential: Credential, address: str) -> Identity:
        # a signature is cheap to refuse, and nobody guesses one; who was right guesses nothing
        if classify(credential) is CredentialType.ID_TOKEN or self.verified_recently(credential):
            return self._verified(credential)
        # Only a password is a person's by its user name: everybody's tokens go by the same few. And
        # failures of one kind keep no other out, since a whole office may have one address.
        kind = classify(credential)
        keys: tuple[str, ...] = (f"{kind.name.lower()}:{client_network(address)}",)
        if kind is CredentialType.PASSWORD:
            keys = login_keys(address, credential.user)
        with self._trying(keys, REJECTION_PREFIXES[kind]):
            return self._verified(credential)

    @contextmanager
    def _trying(
        self, keys: tuple[str, ...], what: str, counts: Callable[[], bool] = lambda: True
    ) -> Iterator[None]:
        wait = self.rate_limit.reserve(keys)
        if wait:
            raise Unavailable(
                f"Too many credentials did not hold. Try again in {ceil(wait)} seconds.",
                code=RATE_LIMITED,
                short="Too many failed logins.",
            ) from CredentialRejected(f"{what}_rate")
        has_failed = False
        try:
            yield
        except Unauthenticated:
            has_failed = counts()
            raise
        finally:
            self.rate_limit.release(keys, has_failed=has_failed)

    def _verified(self, credential: Credential) -> Identity:
        secret = credential.secret
        match self._checked(credential):
            case CredentialType.ID_TOKEN if self.id_tokens:
                return self.id_tokens.verify(secret)
            case CredentialType.ACCESS_TOKEN if self.access_tokens:
                return self.access_tokens.verify(secret)
            case CredentialType.PASSWORD if self.htpasswd and not credential.is_bearer:
                return self.htpasswd.verify(credential.user, secret, credential.client_network)
            case CredentialType.PASSWORD if self._takes_any(credential):
                # clients of such an index send any pair, because they have to
                return ANONYMOUS_IDENTITY
            case _:
                raise invalid_credential() from CredentialRejected("not_enabled")

    def _takes_any(self, credential: Credential) -> bool:
        return not (self.htpasswd or credential.is_bearer) and self.policy.allows_anonymous_uploads

    def _checked(self, credential: Credential) -> CredentialType:
        if credential.user in SERVICE_ACCOUNT_KEY_USERS or _is_key(credential.secret):
            raise Unauthenticated(
                "A service account's key is not a credential here, and has now been shown to "
                "somebody: delete it. Send a short-lived token instead.",
                short="Service account keys are not accepted.",
            ) from CredentialRejected(SERVICE_ACCOUNT_KEY_REJECTED)
        kind = classify(credential)
        if not credential.secret or (
            kind is not CredentialType.PASSWORD and not credential.is_unicode
        ):
            raise invalid_credential() from CredentialRejected("auth_malformed")
        return kind


def api_token_in(credential: Credential) -> ApiToken | None:
    """
    Return the API token that a credential carries, in whichever half, None if it is none.

    Raises:
        Unauthenticated: It is meant to be one, and is not well formed.
    """
    for half in credential.halves:
        if has_token_prefix(half):
            token = parse_token(half)
            if token is None:
                raise invalid_credential() from CredentialRejected("token_shape")
            return token
    return None


def classify(credential: Credential) -> CredentialType:
    """Return what a credential is tried as; what is nothing else is a password."""
    is_named = credential.is_bearer or credential.user in TOKEN_USERS
    if is_named and _is_signed(credential.secret):
        return CredentialType.ID_TOKEN
    # nothing else that somebody has sent by mistake is to be shown to Google
    if credential.user == GOOGLE_USER or (
        is_named and credential.secret.startswith(ACCESS_TOKEN_PREFIX)
    ):
        return CredentialType.ACCESS_TOKEN
    return CredentialType.PASSWORD


def _is_signed(secret: str) -> bool:
    found = _SIGNED.fullmatch(secret)
    if found is None:
        return False
    try:
        decode_segment(found[1])
    except CredentialRejected:
        return False
    return True


def _is_key(secret: str) -> bool:
    if len(secret) < SERVICE_ACCOUNT_KEY_MIN_CHARS or secret[0] not in "{e":  # e is what { becomes
        return False
    if secret[0] == "{":
        return "private_key" in secret
    try:
        return b"private_key" in b64decode(secret, altchars=b"-_" if "_" in secret else None)
    except ValueError:
        return False


def rejection_reason(fault: WheelyardError, otherwise: str) -> str:
    """Return why a credential was refused, as far as the fault tells."""
    cause: BaseException | None = fault
    while cause is not None:
        if isinstance(cause, CredentialRejected):
            return cause.reason
        cause = cause.__cause__
    return otherwise
