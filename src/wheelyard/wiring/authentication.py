"""
Construction of the authenticator and the authorization rules from the settings.

A verifier that is not configured is not made: no file is read, no certificate authority is loaded,
and it cannot reach the network. Its module is not imported either, because the cryptography library
takes longer to load than everything else together.
"""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from wheelyard.authentication.api_tokens import ApiTokens
from wheelyard.authentication.authenticator import Authenticator, RejectionLog
from wheelyard.authentication.authorization import DEFAULT_HTPASSWD_SCOPE, AuthorizationPolicy
from wheelyard.authentication.recent_callers import RecentCallers
from wheelyard.authentication.verifiers.google_endpoints import GOOGLE, GoogleEndpoints
from wheelyard.authentication.verifiers.login_rate_limit import LoginRateLimit
from wheelyard.authentication.verifiers.static_tokens import StaticTokens
from wheelyard.authentication.verifiers.verifier import VerificationCache, Verifier
from wheelyard.concurrency.runtime import Runtime
from wheelyard.model.access import ANONYMOUS, ANYONE_READS, EVERY_PROJECT, Action, Scope
from wheelyard.operations.access_control import AccessControl
from wheelyard.operations.publishing_cleanup import PublishingCleanup
from wheelyard.settings.sections import Settings
from wheelyard.storage.location import is_bucket, parse_location

if TYPE_CHECKING:
    from wheelyard.authentication.trusted_publishing import TrustedPublishing, VerifyIdToken
    from wheelyard.authentication.verifiers.htpasswd import HtpasswdVerifier
    from wheelyard.authentication.verifiers.issuer_keys import IssuerKeys
    from wheelyard.authentication.verifiers.json_client import JsonClient

PROCESS_KEY_BYTES: Final = 32
"""Random bytes of the HMAC key for cached credentials, one for each process."""


def build_policy(settings: Settings, access: AccessControl) -> AuthorizationPolicy:
    """
    Return the authorization rules of the settings, with the grants in force.

    Every caller may read if the settings have no grants and `private` is not set. Else a caller may
    read only if a grant or the caller's own credential allows it. Grants in the store change no
    default: if they did, a lost document would open what they had closed.
    """
    grants = access.configured
    is_public = not settings.access.private and not grants.all
    public: tuple[Scope, ...] = (ANYONE_READS,) if is_public else ()
    if settings.access.anonymous_uploads:
        public = (*public, Scope(Action.UPLOAD, (EVERY_PROJECT,)))  # does not imply reading
    public = (*public, *grants.scopes_of((ANONYMOUS,)))
    of_passwords = None if grants.all else DEFAULT_HTPASSWD_SCOPE
    if of_passwords and settings.access.htpasswd_may_manage:
        of_passwords = Scope(Action.MANAGE.with_implied, (EVERY_PROJECT,))
    return AuthorizationPolicy(access, public, of_passwords)


def build_authenticator(
    settings: Settings,
    access_control: AccessControl,
    tokens: ApiTokens,
    cleanup: PublishingCleanup,
    runtime: Runtime,
    google: GoogleEndpoints = GOOGLE,
) -> Authenticator:
    """Return the authenticator of the settings; raise Invalid for a file that cannot be read."""
    factory = _VerifierFactory(settings, runtime, google)
    access = settings.access
    has_publishers = settings.publisher and settings.trusted_publishing.audience
    return Authenticator(
        tokens=tokens,
        trusted_publishing=factory.publishing(tokens, cleanup) if has_publishers else None,
        static_tokens=StaticTokens(
            Path(access.static_tokens_file) if access.static_tokens_file else None,
            access.static_token,
            runtime.now,
            runtime.monotonic,
        ),
        htpasswd=factory.htpasswd() if access.htpasswd_file else None,
        id_tokens=factory.id_tokens() if settings.google.id_token.audience else None,
        access_tokens=factory.access_tokens() if settings.google.access_token.resource else None,
        iap=factory.iap() if settings.iap.audience else None,
        rate_limit=LoginRateLimit(access.failed_login_per_minute, runtime.monotonic),
        policy=build_policy(settings, access_control),
        rejection_log=RejectionLog(runtime.monotonic),
        callers=RecentCallers(runtime.random.randbytes(PROCESS_KEY_BYTES), runtime.monotonic),
    )


@dataclass(frozen=True)
class _VerifierFactory:
    """Makes the verifiers of the settings; they share HTTP clients and an HMAC key."""

    settings: Settings
    runtime: Runtime
    google: GoogleEndpoints
    _clients: "dict[bool, JsonClient]" = field(default_factory=dict, init=False)

    @cached_property
    def _process_key(self) -> bytes:
        return self.runtime.random.randbytes(PROCESS_KEY_BYTES)

    def _client(self, *, allow_private: bool) -> "JsonClient":
        """Return the HTTP client for public or for private issuers, made once for each."""
        from wheelyard.authentication.verifiers.json_client import JsonClient

        if allow_private not in self._clients:
            client = JsonClient(self.runtime.monotonic, allow_private=allow_private)
            self._clients[allow_private] = client
        return self._clients[allow_private]

    def _keys(
        self, issuer: str, algorithms: frozenset[str], url: str, *, allow_private: bool
    ) -> "IssuerKeys":
        from wheelyard.authentication.verifiers.issuer_keys import IssuerKeys

        client = self._client(allow_private=allow_private)
        return IssuerKeys(issuer, algorithms, client, self.runtime.monotonic, url)

    def _cache(self) -> VerificationCache[Any]:
        return VerificationCache(self._process_key, self.runtime.monotonic)

    def htpasswd(self) -> "HtpasswdVerifier":
        from wheelyard.authentication.verifiers.htpasswd import HtpasswdVerifier

        return HtpasswdVerifier(
            Path(self.settings.access.htpasswd_file), self._process_key, self.runtime.monotonic
        )

    def id_tokens(self) -> Verifier:
        from wheelyard.authentication.verifiers import google_id_tokens as google

        options, now = self.settings.google.id_token, self.runtime.seconds
        domains = frozenset(domain.lower() for domain in options.allowed_domains)
        keys = self._keys(
            google.GOOGLE_ISSUERS[0],
            google.ALGORITHMS,
            self.google.keys,
            allow_private=self.settings.google.allow_private,
        )
        audiences = frozenset(options.audience)
        return google.google_verifier(keys, audiences, domains, now, self._cache())

    def access_tokens(self) -> Verifier:
        from wheelyard.authentication.verifiers import google_access_tokens as access_tokens

        options = self.settings.google.access_token
        resource = parse_location(options.resource)
        read_only = self._is_store_bucket(resource.root)
        bucket = access_tokens.AuthorizationBucket(
            resource.bucket, read_only=read_only, google=self.google
        )
        client = self._client(allow_private=self.settings.google.allow_private)
        return access_tokens.AccessTokenVerifier(
            bucket, client, self.runtime.monotonic, self._cache(), options.cache_seconds
        )

    def iap(self) -> Verifier:
        from wheelyard.authentication.verifiers import google_id_tokens as google

        keys = self._keys(
            google.IAP_ISSUER,
            google.IAP_ALGORITHMS,
            self.google.iap_keys,
            allow_private=self.settings.google.allow_private,
        )
        audiences, now = frozenset(self.settings.iap.audience), self.runtime.seconds
        return google.iap_verifier(keys, audiences, now, self._cache())

    def publishing(self, tokens: ApiTokens, cleanup: PublishingCleanup) -> "TrustedPublishing":
        from wheelyard.authentication.trusted_publishing import (
            ReplayProtection,
            TrustedPublishing,
        )

        used_id_tokens, clock = cleanup.used_id_tokens, self.runtime.monotonic
        return TrustedPublishing(
            publishers=self.settings.publishers,
            audiences=self.settings.trusted_publishing.audience,
            tokens=tokens,
            cleanup=cleanup,
            verify=self._id_token_check(),
            replay_protection=ReplayProtection(used_id_tokens, clock),
        )

    def _id_token_check(self) -> "VerifyIdToken":
        from wheelyard.authentication.verifiers.signed_jwt import IssuerConfig, verified_claims
        from wheelyard.model.publisher import max_lifetime_by_issuer

        audiences = frozenset(self.settings.trusted_publishing.audience)
        issuers = dict[str, IssuerConfig]()
        for issuer, lifetime in max_lifetime_by_issuer(self.settings.publishers).items():
            algorithms = frozenset(issuer.algorithms)
            for name in issuer.names:
                keys = self._keys(
                    name, algorithms, issuer.keys_url, allow_private=issuer.may_be_private
                )
                issuers[name] = IssuerConfig(name, keys, algorithms, audiences, lifetime)
        return lambda id_token: verified_claims(id_token, issuers, self.runtime.seconds())

    def _is_store_bucket(self, root: str) -> bool:
        """Return whether a bucket has a part of the store: writing there would bypass the index."""
        store, tokens = self.settings.store, self.settings.access.credentials_store
        locations = (store.location, store.files, tokens)
        return any(is_bucket(each) and parse_location(each).root == root for each in locations)
