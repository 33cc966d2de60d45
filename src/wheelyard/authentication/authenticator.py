"""
Authentication of credentials: from a credential to a caller.

The order of the checks is part of the contract:

1. A secret that begins as an API token is an API token, or is invalid.
2. A secret whose digest is that of a static token is this static token.
3. The user name and the shape of any other credential tell its type (`classify`). Only the verifier
   of this type gets the credential, so Google gets only secrets that are sent as its access tokens.

`credentials.py` tells the types apart, `recent_callers.py` remembers callers for a second, and
`rejections.py` logs why a credential was rejected.
"""

from math import ceil
from typing import TYPE_CHECKING, Any, Final, Literal

from msgspec import Struct

from wheelyard.authentication.api_tokens import ApiTokens, api_token_in, invalid_credential
from wheelyard.authentication.authorization import AuthorizationPolicy
from wheelyard.authentication.credentials import CredentialType, classify, is_service_account_key
from wheelyard.authentication.recent_callers import RecentCallers
from wheelyard.authentication.rejections import RejectionLog, rejection_reason
from wheelyard.authentication.token_owners import TokenOwners
from wheelyard.authentication.verifiers.login_rate_limit import (
    NETWORK_SIGN_IN,
    SIGN_IN,
    UNKNOWN_TOKEN,
    LoginRateLimit,
    address_key,
    client_network,
    network_of,
)
from wheelyard.authentication.verifiers.reloading_file import ReloadingFile
from wheelyard.authentication.verifiers.static_tokens import StaticTokens
from wheelyard.authentication.verifiers.verifier import CredentialRejected, Verifier
from wheelyard.errors import RATE_LIMITED, Unauthenticated, Unavailable, WheelyardError
from wheelyard.model.access import ANONYMOUS, Caller, Credential, Identity, Scope, intersection
from wheelyard.model.api_token import ApiToken, TokenRecord, has_token_prefix, parse_token
from wheelyard.model.person import counted_as

if TYPE_CHECKING:
    from wheelyard.authentication.trusted_publishing import TrustedPublishing
    from wheelyard.authentication.verifiers.google_access_tokens import AccessTokenVerifier
    from wheelyard.authentication.verifiers.htpasswd import HtpasswdVerifier

Wait = Literal["local", "password", "remote"]
"""
What the verification of a credential waits for.

- local: nothing, or the store
- password: the hash of a password, of which `MAX_PASSWORD_CHECKS` may run at once
- remote: Google, or the keys of an issuer
"""
MAX_PASSWORD_CHECKS: Final = 4
"""The most passwords that a process hashes at once: the size of the pool for them."""
ANONYMOUS_IDENTITY: Final = Identity(ANONYMOUS, frozenset({ANONYMOUS}))


class Authenticator(Struct, frozen=True, kw_only=True):
    """
    Authenticates credentials.

    Threads may share it. A verifier is None if its type of credential is not enabled.
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
        """The configured files of credentials: the htpasswd file and the file of static tokens."""
        files = list[ReloadingFile[Any]]()
        if self.htpasswd is not None:
            files.append(self.htpasswd.file)
        if self.static_tokens.file is not None:
            files.append(self.static_tokens.file)
        return tuple(files)

    def waits_for(self, credential: Credential) -> Wait:
        """
        Return what `authenticate` would wait for, so that the caller can choose a pool of threads.

        A credential with a cached result, or one that cannot be valid, is `local`, too. This method
        computes no hash and sends no request. It may reload the files of credentials. Raises
        Unavailable if the store does not answer which lines of the htpasswd file are outdated.
        """
        if any(map(has_token_prefix, credential.halves)):
            return "local"
        verifier = self._verifier_of(credential)
        try:
            if verifier is None or self._cached_identity(credential) is not None:
                return "local"
        except Unauthenticated:
            return "local"
        if verifier is self.htpasswd:
            return "password"
        return "remote"

    def authenticate(self, credential: Credential, address: str) -> Caller:
        """
        Return the caller whom a credential identifies.

        May wait for the store, for Google, or for a password hash. The use of an API token is
        recorded. Rejections are logged. Wrong passwords, rejected access tokens and unknown API
        tokens count for the rate limit of the network of `address`. Where everybody may upload and
        there is no htpasswd file, any password gives the anonymous caller.

        Raises Unauthenticated if the credential is invalid or has ended, or if its person or owner
        may not use the index now. Raises Unavailable if the credential cannot be verified now, or
        (code `rate_limited`) after too many failures.
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

        An invalid assertion is logged. Raises Unauthenticated if the assertion is invalid, if the
        index is not behind such a proxy, or (code `person_ended`) if the access of the person was
        ended. Raises Unavailable if the assertion cannot be verified now, or if the grants cannot
        be read.
        """
        if self.iap is None:
            raise invalid_credential()
        try:
            identity = self.iap.verify(Credential("", assertion, is_bearer=True))
        except Unauthenticated as fault:
            reason = rejection_reason(fault, otherwise=fault.code)
            # every assertion comes from the proxy, so there is no network of a client to name
            self.rejection_log.log(reason, "the proxy")
            raise
        return self.policy.authorize(identity)

    def caller_for_token(self, record: TokenRecord) -> Caller:
        """
        Return the caller for the record of an API token, with its present scopes.

        The state of the token is not checked. Raises Unauthenticated if the token is of a CI job,
        and none of its publishers is in force any more. Raises Unauthenticated if the owner of the
        token may not use the index any more (code `owner_ended`), was not confirmed for too long,
        or was refused by the provider (code `owner_unconfirmed`). Raises Unavailable if the
        publishers, the owner, the grants or the list of indexes cannot be read.
        """
        if record.publishers:
            job = self._job_identity(record)
            principal = job.principal
            principals = job.principals
            scopes = self.policy.holding(job.scopes)
        else:
            principal = f"token:{record.id}"
            scopes = self.policy.holding((record.scope,), names_index=record.names_index)
            principals = frozenset({principal})
        public_scopes = self.policy.public()
        if record.owner:
            scopes = self._limit_to_owner(record, scopes, public_scopes)
        return Caller(
            principal=principal,
            scopes=scopes + public_scopes,
            principals=principals,
            name=record.name,
            owner=record.owner,
            owner_names=record.token_owner.names,
            index=self.policy.index,
        )

    def _job_identity(self, record: TokenRecord) -> Identity:
        """
        Return the identity of a CI job that has an API token.

        Raises Unauthenticated if none of the token's publishers is in force.
        """
        job = None
        # without trusted publishing in the settings, tokens that it has made do not hold any more
        if self.trusted_publishing is not None:
            job = self.trusted_publishing.identity(record)
        if job is None:
            raise invalid_credential() from CredentialRejected("publisher_gone")
        return job

    def _limit_to_owner(
        self, record: TokenRecord, scopes: tuple[Scope, ...], public_scopes: tuple[Scope, ...]
    ) -> tuple[Scope, ...]:
        """
        Return what the scopes of a token and those of its owner have in common now.

        Scopes are limited at each use: a right that the owner has lost, the token has lost, too.
        """
        owner_principals = self.owners.principals(record)
        owner_scopes = self.policy.own_scopes(record.owner, owner_principals) + public_scopes
        limited_scopes = list[Scope]()
        for scope in scopes:
            limited_scopes += intersection(scope, owner_scopes)
        return tuple(limited_scopes)

    def verified_recently(self, credential: Credential) -> bool:
        """Return whether a credential is a password that was right in the last day."""
        return self.htpasswd is not None and self.htpasswd.verified_recently(credential)

    def count_sign_in(self, caller: Caller, address: str) -> None:
        """
        Count a sign-in in a browser, which has succeeded.

        Raises Unavailable (code `rate_limited`) after too many sign-ins of the person or network.
        """
        keys = (f"{SIGN_IN}:{counted_as(caller)}", address_key(address, NETWORK_SIGN_IN))
        wait = ceil(self.rate_limit.seconds_until(keys))
        if wait:
            self.rejection_log.log("sign_in_rate", network_of(address), caller.principal)
            raise Unavailable("There were too many sign-ins.", code=RATE_LIMITED, retry_after=wait)
        self.rate_limit.take_tries(keys)

    def _token_record(self, token: ApiToken, address: str) -> TokenRecord:
        """
        Return the record of the token that a client has sent, within the rate limit.

        Raises Unauthenticated if the token is not valid. Raises Unavailable if the store does not
        answer, or (code `rate_limited`) after too many unknown tokens.
        """
        # A cached id costs no read of the store, so the limit counts neither an existing token nor
        # an unknown one that comes again. The 190 bits of a secret cannot be guessed.
        if self.tokens.records.peek(token.id, "any") is not None:
            return self.tokens.get(token)
        key = address_key(address, UNKNOWN_TOKEN)
        self._require_attempt_left(key, "token")
        try:
            return self.tokens.get(token)
        except Unauthenticated:
            # without a record in the cache after the read, there is no token with this id
            if not self._has_cached_record(token):
                self.rate_limit.take_tries((key,))
            raise

    def _has_cached_record(self, token: ApiToken) -> bool:
        """Return whether memory has the record of a token with this id, whatever its secret."""
        snapshot = self.tokens.records.peek(token.id, "any")
        return snapshot is not None and snapshot.value is not None

    def _log_rejection(self, fault: WheelyardError, credential: Credential, network: str) -> None:
        """Log why a credential is rejected, unless it is a user name without a password."""
        # uv sends a name without a password first
        is_probe = not credential.secret and not has_token_prefix(credential.user)
        is_rejection = isinstance(fault, Unauthenticated) or fault.code == RATE_LIMITED
        if is_probe or not is_rejection:
            return
        reason = rejection_reason(fault, f"{classify(credential).value}_rejected")
        # only a name that exists: any other text may be a password in the wrong field
        user = self._known_user(credential, reason)
        token = self._known_token(credential)
        self.rejection_log.log(reason, network, token or user)

    def _known_user(self, credential: Credential, reason: str) -> str:
        """Return `htpasswd:` and the user of a rejected password, or an empty text if unknown."""
        is_password = reason.startswith("htpasswd_")
        if is_password and self._has_password_user(credential.user):
            return f"htpasswd:{credential.user}"
        return ""

    def _known_token(self, credential: Credential) -> str:
        """Return `token:` and the id of the API token in a credential, or an empty text."""
        for half in credential.halves:
            token = parse_token(half)
            if token is not None:
                return f"token:{token.id}" if self._has_cached_record(token) else ""
        return ""

    def _has_password_user(self, name: str) -> bool:
        """Return whether the htpasswd file is there, and has a user of this name."""
        return self.htpasswd is not None and self.htpasswd.has_user(name)

    def _verifier_of(self, credential: Credential) -> Verifier | None:
        """Return the one verifier that may see a credential, or None if it is not enabled."""
        match classify(credential):
            case CredentialType.ID_TOKEN:
                return self.id_tokens
            case CredentialType.ACCESS_TOKEN:
                return self.access_tokens
            case CredentialType.PASSWORD:
                # a Bearer token has no user name
                if credential.is_bearer:
                    return None
                return self.htpasswd

    def _cached_identity(self, credential: Credential) -> Identity | None:
        """
        Return the identity of a credential that is no API token, if no verification is needed.

        None if a verifier has to verify the credential.

        Raises Unauthenticated if the credential is invalid.
        """
        # before all other checks: a static token may look like a credential of another type
        token = self.static_tokens.find(credential.halves)
        if token is not None:
            return token.identity
        if is_service_account_key(credential):
            raise Unauthenticated(
                "A service account's key is not a credential here, and has now been shown to "
                "somebody. Delete it, and send a short-lived token instead."
            ) from CredentialRejected("sa_key_refused")
        # tokens are ASCII; a password may be in Latin-1, as clients built on requests send it
        is_decodable = credential.is_unicode or classify(credential) is CredentialType.PASSWORD
        if not credential.secret or not is_decodable:
            raise invalid_credential() from CredentialRejected("auth_malformed")
        verifier = self._verifier_of(credential)
        if verifier is None:
            return None
        return verifier.cached_identity(credential)

    def _verified_identity(self, credential: Credential, address: str) -> Identity:
        """
        Return the identity of a credential, verified now within the rate limit.

        Raises Unauthenticated if the credential is invalid. Raises Unavailable if it cannot be
        verified now, or (code `rate_limited`) after too many failures.
        """
        credential_type = classify(credential)
        key = address_key(address)
        # Google's tokens cannot be guessed: the limit for them spares Google requests
        if credential_type is CredentialType.ACCESS_TOKEN:
            key = f"access_token:{client_network(address)}"
        # An invalid signature is cheap to detect, and a valid one cannot be guessed. A client that
        # had the right password lately does not guess.
        is_signed = credential_type is CredentialType.ID_TOKEN
        is_limited = not is_signed and not self.verified_recently(credential)
        if is_limited:
            self._require_attempt_left(key, credential_type.value)
        try:
            return self._verify(credential, credential_type)
        except Unauthenticated:
            # counted after the failure: attempts at the same moment exceed the limit by one each
            if is_limited:
                self.rate_limit.take_tries((key,))
            raise

    def _verify(self, credential: Credential, credential_type: CredentialType) -> Identity:
        """Return the identity that the verifier of this type finds, or raise Unauthenticated."""
        verifier = self._verifier_of(credential)
        if verifier is not None:
            return verifier.verify(credential)
        is_password = credential_type is CredentialType.PASSWORD and not credential.is_bearer
        # upload clients insist on sending some password, also where nobody asks for one
        if is_password and self.policy.allows_anonymous_uploads:
            return ANONYMOUS_IDENTITY
        raise invalid_credential() from CredentialRejected("not_enabled")

    def _require_attempt_left(self, key: str, prefix: str) -> None:
        """Raise Unavailable (code `rate_limited`) if the rate limit allows no attempt for a key."""
        wait = self.rate_limit.seconds_until((key,))
        if wait:
            raise Unavailable(
                "Too many credentials did not hold.", code=RATE_LIMITED, retry_after=ceil(wait)
            ) from CredentialRejected(f"{prefix}_rate")
