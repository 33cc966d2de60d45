"""
Construction of the authenticator and the authorization rules from the settings.

A verifier that is not configured is not made: no file is read, no certificate authority is loaded,
and it cannot reach the network. Its module is not imported either, because the cryptography library
takes longer to load than everything else together.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct, field

from wheelyard.authentication.api_tokens import ApiTokens
from wheelyard.authentication.authenticator import Authenticator, RecentCallers, RejectionLog
from wheelyard.authentication.authorization import DEFAULT_HTPASSWD_SCOPE, AuthorizationPolicy
from wheelyard.authentication.verifiers.google import GOOGLE, GoogleEndpoints
from wheelyard.authentication.verifiers.login_rate_limit import LoginRateLimit
from wheelyard.authentication.verifiers.static_tokens import StaticTokens
from wheelyard.authentication.verifiers.verifier import VerificationCache, Verifier
from wheelyard.concurrency.runtime import Runtime
from wheelyard.model.access import ANONYMOUS, ANYONE_READS, EVERY_PROJECT, Action, Scope
from wheelyard.operations.access_control import AccessControl
from wheelyard.operations.sweep import PublishingCleanup
from wheelyard.settings.sections import Settings
from wheelyard.storage.location import is_bucket, parse_location

if TYPE_CHECKING:
    from wheelyard.authentication.trusted_publishing import TrustedPublishing
    from wheelyard.authentication.verifiers.htpasswd import HtpasswdVerifier
    from wheelyard.authentication.verifiers.json_client import JsonClient
    from wheelyard.authentication.verifiers.signed_jwt import IssuerKeys

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
    process_key = runtime.random.randbytes(PROCESS_KEY_BYTES)
    factory = _VerifierFactory(settings, runtime, google, process_key)
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
        callers=RecentCallers(process_key, runtime.monotonic),
    )


class _VerifierFactory(Struct, frozen=True):
    """Makes the verifiers of the settings; they share HTTP clients and an HMAC key."""

    settings: Settings
    runtime: Runtime
    google: GoogleEndpoints
    process_key: bytes
    clients: "dict[bool, JsonClient]" = field(default_factory=dict)
    """The HTTP clients for public (False) and for private (True) issuers."""

    def client(self, *, allow_private: bool) -> "JsonClient":
        """Return the HTTP client for public or for private issuers, made once for each."""
        from wheelyard.authentication.verifiers.json_client import JsonClient

        if allow_private not in self.clients:
            client = JsonClient(self.runtime, allow_private=allow_private)
            self.clients[allow_private] = client
        return self.clients[allow_private]

    def keys(
        self, issuer: str, algorithms: frozenset[str], url: str, *, allow_private: bool
    ) -> "IssuerKeys":
        """Return the public keys of an issuer, which are fetched when they are first needed."""
        from wheelyard.authentication.verifiers.signed_jwt import IssuerKeys

        client = self.client(allow_private=allow_private)
        return IssuerKeys(issuer, algorithms, client, self.runtime.monotonic, url)

    def cache(self) -> VerificationCache[Any]:
        """Return a new cache of results."""
        return VerificationCache(self.process_key, self.runtime.monotonic)

    def htpasswd(self) -> "HtpasswdVerifier":
        """Return the verifier of passwords."""
        from wheelyard.authentication.verifiers.htpasswd import HtpasswdVerifier

        path = Path(self.settings.access.htpasswd_file)
        return HtpasswdVerifier(path, self.process_key, self.runtime.monotonic)

    def id_tokens(self) -> Verifier:
        """Return the verifier of Google's ID tokens."""
        from wheelyard.authentication.verifiers import google

        options, allow_private = self.settings.google.id_token, self.settings.google.allow_private
        return google.google_verifier(
            self.keys(
                google.GOOGLE_ISSUERS[0],
                google.ALGORITHMS,
                self.google.keys,
                allow_private=allow_private,
            ),
            frozenset(options.audience),
            frozenset(domain.lower() for domain in options.allowed_domains),
            self.runtime.seconds,
            self.cache(),
        )

    def access_tokens(self) -> Verifier:
        """Return the verifier of Google's access tokens."""
        from wheelyard.authentication.verifiers import google as access_tokens

        settings, options = self.settings, self.settings.google.access_token
        resource = parse_location(options.resource)
        stores = (settings.store.location, settings.store.files, settings.access.credentials_store)
        # who may write to a bucket with a part of the store bypasses the index
        is_store = any(
            is_bucket(each) and parse_location(each).root == resource.root for each in stores
        )
        return access_tokens.AccessTokenVerifier(
            access_tokens.AuthorizationBucket(resource.bucket, is_store, self.google),
            self.client(allow_private=settings.google.allow_private),
            self.runtime.monotonic,
            self.cache(),
            options.cache_seconds,
        )

    def iap(self) -> Verifier:
        """Return the verifier of the assertions of Identity-Aware Proxy."""
        from wheelyard.authentication.verifiers import google

        allow_private = self.settings.google.allow_private
        keys = self.keys(
            google.IAP_ISSUER,
            google.IAP_ALGORITHMS,
            self.google.iap_keys,
            allow_private=allow_private,
        )
        audiences = frozenset(self.settings.iap.audience)
        return google.iap_verifier(keys, audiences, self.runtime.seconds, self.cache())

    def publishing(self, tokens: ApiTokens, cleanup: PublishingCleanup) -> "TrustedPublishing":
        """Return the exchange of CI jobs' ID tokens for API tokens."""
        from wheelyard.authentication import trusted_publishing
        from wheelyard.authentication.verifiers.signed_jwt import IssuerConfig, verified_claims
        from wheelyard.model.publisher import max_lifetime_by_issuer

        audiences = self.settings.trusted_publishing.audience
        issuers = dict[str, IssuerConfig]()
        for issuer, lifetime in max_lifetime_by_issuer(self.settings.publishers).items():
            algorithms, is_private = frozenset(issuer.algorithms), issuer.may_be_private
            for name in issuer.names:
                keys = self.keys(name, algorithms, issuer.keys_url, allow_private=is_private)
                issuers[name] = IssuerConfig(name, keys, algorithms, frozenset(audiences), lifetime)
        return trusted_publishing.TrustedPublishing(
            publishers=self.settings.publishers,
            audiences=audiences,
            tokens=tokens,
            cleanup=cleanup,
            verify=lambda id_token: verified_claims(id_token, issuers, self.runtime.seconds()),
            replay_protection=trusted_publishing.ReplayProtection(
                cleanup.used_id_tokens, self.runtime.monotonic
            ),
        )
