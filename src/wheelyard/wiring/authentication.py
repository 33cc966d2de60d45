"""
The ways in that the settings open: every verifier, wired.

What is not configured is not made: no file is watched, no certificate authority loaded, and nothing
can reach the network by it. Nor is it imported: what verifies signatures takes longer to load than
everything else together.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

from wheelyard.authentication.api_tokens import ApiTokens
from wheelyard.authentication.authenticator import Authenticator, AuthorizationPolicy, RejectionLog
from wheelyard.authentication.trusted_publishing import TokenReuseLimit
from wheelyard.authentication.verifiers.google_endpoints import GOOGLE, GoogleEndpoints
from wheelyard.authentication.verifiers.login_rate_limit import LoginRateLimit
from wheelyard.authentication.verifiers.static_tokens import StaticTokens
from wheelyard.authentication.verifiers.verifier import Verifier
from wheelyard.concurrency.runtime import Runtime
from wheelyard.model.access import ANONYMOUS, ANYONE_READS, EVERY_PROJECT, Action, Scope
from wheelyard.operations.publishing_cleanup import PublishingCleanup
from wheelyard.settings.sections import Settings
from wheelyard.storage.gcs.location import is_bucket, parse_location

if TYPE_CHECKING:
    from wheelyard.authentication.trusted_publishing import TrustedPublishing, VerifyIdToken
    from wheelyard.authentication.verifiers.htpasswd import HtpasswdVerifier
    from wheelyard.authentication.verifiers.jwks import JwksDependencies
    from wheelyard.authentication.verifiers.verifier import VerificationCache

PROCESS_KEY_BYTES: Final = 32
"""Random bytes that credentials are remembered under, for as long as the process lives."""


def build_policy(settings: Settings) -> AuthorizationPolicy:
    """
    Return what the settings allow to whom.

    Without a grant anybody may read, unless reading is private; with one, only whom they name.
    """
    grants = settings.grants
    is_open = not settings.access.private and not grants.all
    public: tuple[Scope, ...] = (ANYONE_READS,) if is_open else ()
    if settings.access.anonymous_uploads:
        public = (*public, Scope(Action.UPLOAD, (EVERY_PROJECT,)))  # reading is its own question
    everybody = (*public, *grants.scopes_of((ANONYMOUS,)))
    if settings.access.htpasswd_may_manage:
        return AuthorizationPolicy(
            grants, everybody, Scope(Action.MANAGE.with_implied, (EVERY_PROJECT,))
        )
    return AuthorizationPolicy(grants, everybody)


def build_authenticator(
    settings: Settings,
    tokens: ApiTokens,
    publishing_cleanup: PublishingCleanup,
    runtime: Runtime,
    google: GoogleEndpoints = GOOGLE,
) -> Authenticator:
    """
    Return the ways in that the settings open.

    Raises:
        Invalid: A file that they name cannot be read, or makes no sense (code `bad_setting`).
    """
    builder = _VerifierFactory(settings, runtime, google)
    access, publishing = settings.access, settings.trusted_publishing
    is_published = settings.publisher and publishing.audience
    return Authenticator(
        tokens=tokens,
        trusted_publishing=builder.publishing(tokens, publishing_cleanup) if is_published else None,
        static_tokens=StaticTokens(
            Path(access.static_tokens_file) if access.static_tokens_file else None,
            access.static_token,
            runtime.now,
            runtime.monotonic,
        ),
        htpasswd=builder.passwords() if access.htpasswd_file else None,
        id_tokens=builder.id_tokens() if settings.google.id_token.audience else None,
        access_tokens=builder.access_tokens() if settings.google.access_token.resource else None,
        iap=builder.iap() if settings.iap.audience else None,
        rate_limit=LoginRateLimit(access.failed_login_per_minute, runtime.monotonic),
        policy=build_policy(settings),
        rejection_log=RejectionLog(runtime.monotonic),
    )


@dataclass(frozen=True)
class _VerifierFactory:
    """Makes verifiers that share a fetcher, and a key of this process."""

    settings: Settings
    runtime: Runtime
    google: GoogleEndpoints

    @cached_property
    def _key(self) -> bytes:
        return self.runtime.random.randbytes(PROCESS_KEY_BYTES)

    @cached_property
    def _means(self) -> "JwksDependencies":
        return self._private if self.settings.google.allow_private else self._public

    @cached_property
    def _public(self) -> "JwksDependencies":
        return self._made(is_private=False)

    @cached_property
    def _private(self) -> "JwksDependencies":
        return self._made(is_private=True)

    def _made(self, *, is_private: bool) -> "JwksDependencies":
        from wheelyard.authentication.verifiers.json_client import JsonClient
        from wheelyard.authentication.verifiers.jwks import JwksDependencies

        return JwksDependencies(
            JsonClient(self.runtime.monotonic, allow_private=is_private),
            self.runtime.monotonic,
            self.runtime.random,
            lambda work: Thread(target=work, daemon=True).start(),
        )

    def _verification_cache(self) -> "VerificationCache[Any]":
        from wheelyard.authentication.verifiers.verifier import VerificationCache

        return VerificationCache(self._key, self.runtime.monotonic)

    def passwords(self) -> "HtpasswdVerifier":
        from wheelyard.authentication.verifiers.htpasswd import HtpasswdVerifier

        return HtpasswdVerifier(
            Path(self.settings.access.htpasswd_file), self._key, self.runtime.monotonic
        )

    def id_tokens(self) -> Verifier:
        from wheelyard.authentication.verifiers.google_id_tokens import google_verifier

        asked = self.settings.google.id_token
        domains = frozenset(domain.lower() for domain in asked.allowed_domains)
        audiences, now = frozenset(asked.audience), self.runtime.seconds
        return google_verifier(
            self._means, self.google.keys, audiences, domains, now, self._verification_cache()
        )

    def access_tokens(self) -> Verifier:
        from wheelyard.authentication.verifiers.google_access_tokens import (
            AccessTokenVerifier,
            AuthorizationBucket,
        )

        asked = self.settings.google.access_token
        resource = AuthorizationBucket(
            parse_location(asked.resource).bucket,
            read_only=self._is_of_packages(asked.resource),
            google=self.google,
        )
        return AccessTokenVerifier(
            resource,
            self._means.json_client,
            self.runtime.monotonic,
            self._verification_cache(),
            asked.cache_seconds,
        )

    def iap(self) -> Verifier:
        from wheelyard.authentication.verifiers.google_id_tokens import iap_verifier

        asked = self.settings.iap
        audiences, now = frozenset(asked.audience), self.runtime.seconds
        return iap_verifier(
            self._means, self.google.iap_keys, audiences, now, self._verification_cache()
        )

    def publishing(
        self, tokens: ApiTokens, publishing_cleanup: PublishingCleanup
    ) -> "TrustedPublishing":
        from wheelyard.authentication.trusted_publishing import TrustedPublishing

        return TrustedPublishing(
            publishers=self.settings.publishers,
            audiences=self.settings.trusted_publishing.audience,
            tokens=tokens,
            cleanup=publishing_cleanup,
            verify=self._verify(),
            reuse_limit=TokenReuseLimit(self.runtime.monotonic),
        )

    def _verify(self) -> "VerifyIdToken":
        from wheelyard.authentication.verifiers.jwks import JwksCache
        from wheelyard.authentication.verifiers.signed_jwt import IssuerConfig, verify_jwt
        from wheelyard.model.publisher import max_lifetime_by_issuer

        audiences = frozenset(self.settings.trusted_publishing.audience)
        issuers = dict[str, IssuerConfig]()
        for issuer, lifetime in max_lifetime_by_issuer(self.settings.publishers).items():
            algorithms = frozenset(issuer.algorithms)
            means = self._private if issuer.may_be_private else self._public
            for name in issuer.names:
                keys = JwksCache(name, algorithms, means, issuer.keys_url or None)
                issuers[name] = IssuerConfig(name, keys, algorithms, audiences, lifetime)
        return lambda statement: verify_jwt(statement, issuers, self.runtime.seconds())

    def _is_of_packages(self, resource: str) -> bool:
        """Return whether a bucket holds the packages: who may write there writes past the index."""
        bucket, store = parse_location(resource).bucket, self.settings.store
        kept = (store.location, store.files, self.settings.access.credentials_store)
        return any(is_bucket(each) and parse_location(each).bucket == bucket for each in kept)
