"""
Builds the authenticator of the settings, with a verifier for each type of credential.

A verifier that is not configured is not made: no file is read, no certificate authority is loaded,
and no request can be sent. Its module is not imported either, because the cryptography library
takes longer to load than all other modules together.
"""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct, field

from wheelyard.authentication.api_tokens import ApiTokens
from wheelyard.authentication.authenticator import Authenticator
from wheelyard.authentication.authorization import AuthorizationPolicy
from wheelyard.authentication.recent_callers import RecentCallers
from wheelyard.authentication.rejections import RejectionLog
from wheelyard.authentication.token_owners import TokenOwners
from wheelyard.authentication.verifiers.google_endpoints import GOOGLE, GoogleEndpoints
from wheelyard.authentication.verifiers.login_rate_limit import LoginRateLimit
from wheelyard.authentication.verifiers.static_tokens import StaticTokens
from wheelyard.authentication.verifiers.verifier import VerificationCache, Verifier
from wheelyard.catalog.opening import Catalog
from wheelyard.concurrency.runtime import Runtime
from wheelyard.model.access import (
    EVERY_PROJECT,
    Action,
    Scope,
    holding,
    parse_actions,
    parse_right_indexes,
)
from wheelyard.model.index_name import MAIN
from wheelyard.operations.access_control import AccessControl
from wheelyard.operations.publishing_cleanup import PublishingCleanup
from wheelyard.settings.sections import Settings
from wheelyard.storage.location import is_bucket, parse_location

if TYPE_CHECKING:
    from wheelyard.authentication.trusted_publishing import TrustedPublishing
    from wheelyard.authentication.verifiers.google_access_tokens import AccessTokenVerifier
    from wheelyard.authentication.verifiers.htpasswd import HtpasswdVerifier
    from wheelyard.authentication.verifiers.issuer_keys import IssuerKeys
    from wheelyard.http_client.json_client import JsonClient
    from wheelyard.model.publisher_claim_rules import ProviderIssuer
    from wheelyard.operations.publishers import Publishers

PROCESS_KEY_BYTES: Final = 32
"""Random bytes of the HMAC key for cached credentials, one for each process."""


def build_policy(
    settings: Settings, access: AccessControl, index: str, *, is_open: bool
) -> AuthorizationPolicy:
    """
    Return the authorization rules of the settings for an index, with the grants in force.

    Every caller may read an index that `is_open`. Else a caller may read only what a grant or the
    caller's own credential allows. Uploads without a credential are for main.
    """
    open_to_all = list[Scope]()
    if is_open:
        open_to_all.append(Scope(Action.READ, (EVERY_PROJECT,), (index,)))
    # the right to upload does not imply reading
    if settings.access.anonymous_uploads:
        open_to_all.append(Scope(Action.UPLOAD, (EVERY_PROJECT,), (MAIN,)))
    password_scope: Scope | None = None
    if settings.access.htpasswd_may:
        actions = parse_actions(settings.access.htpasswd_may)
        password_scope = Scope(actions, (EVERY_PROJECT,), (MAIN,))
    return AuthorizationPolicy(access, holding(open_to_all, index), password_scope, index)


def build_authenticator(
    settings: Settings,
    catalog: Catalog,
    access_control: AccessControl,
    cleanup: PublishingCleanup,
    runtime: Runtime,
    google: GoogleEndpoints = GOOGLE,
) -> Authenticator:
    """
    Return the authenticator of the settings, whose policy opens no index.

    Each index has a copy of the authenticator with a policy of its own. Raises Invalid (code
    `bad_setting`) if a file with credentials cannot be read, or is wrong.
    """
    # credentials are remembered as digests under this key, which are of no use to another process
    process_key = runtime.random.randbytes(PROCESS_KEY_BYTES)
    factory = _VerifierFactory(settings, catalog, runtime, google, process_key)
    access_settings = settings.access
    records_usage = not settings.server.read_only
    lifetime_limit = settings.token_lifetime_limit
    tokens = ApiTokens(catalog.token_records, runtime, lifetime_limit, records_usage=records_usage)

    # token owners and the authenticator share one verifier, which reads the file once
    htpasswd = factory.htpasswd()
    provider_names = frozenset(provider.name for provider in settings.sign_in_providers)
    owners = TokenOwners(
        people=catalog.people,
        access=access_control,
        providers=provider_names,
        htpasswd=htpasswd,
        runtime=runtime,
        confirmed_for=timedelta(days=settings.tokens.confirmed_days),
    )
    static_tokens_file: Path | None = None
    if access_settings.static_tokens_file:
        static_tokens_file = Path(access_settings.static_tokens_file)
    return Authenticator(
        tokens=tokens,
        owners=owners,
        trusted_publishing=factory.trusted_publishing(tokens, cleanup),
        static_tokens=StaticTokens(
            static_tokens_file, access_settings.static_token, runtime.now, runtime.monotonic
        ),
        htpasswd=htpasswd,
        id_tokens=factory.id_tokens(),
        access_tokens=factory.access_tokens(),
        iap=factory.iap(),
        rate_limit=LoginRateLimit(access_settings.failed_login_per_minute, runtime.monotonic),
        policy=build_policy(settings, access_control, MAIN, is_open=False),
        rejection_log=RejectionLog(runtime.monotonic),
        callers=RecentCallers(process_key, runtime.monotonic),
    )


class _VerifierFactory(Struct, frozen=True):
    """
    Makes the verifiers of the settings, which share HTTP clients and an HMAC key.

    A method that makes a verifier returns None if the settings do not configure it, and imports its
    module only if they do.
    """

    settings: Settings
    catalog: Catalog
    runtime: Runtime
    google: GoogleEndpoints
    process_key: bytes
    clients: "dict[bool, JsonClient]" = field(default_factory=dict)
    """The HTTP clients for public (False) and for private (True) issuers."""

    def client(self, *, allow_private: bool) -> "JsonClient":
        """Return the HTTP client for public or for private issuers, which is made once."""
        # no HTTP client is loaded while no issuer is configured
        from wheelyard.http_client.json_client import JsonClient

        # two clients, as a public issuer must not lead one to a private address
        if allow_private not in self.clients:
            client = JsonClient(self.runtime, allow_private=allow_private)
            self.clients[allow_private] = client
        return self.clients[allow_private]

    def issuer_keys(
        self, issuer: str, algorithms: frozenset[str], url: str, *, allow_private: bool
    ) -> "IssuerKeys":
        """Return the public keys of an issuer, which are fetched when they are first needed."""
        from wheelyard.authentication.verifiers.issuer_keys import IssuerKeys

        client = self.client(allow_private=allow_private)
        return IssuerKeys(issuer, algorithms, client, self.runtime.monotonic, url)

    def new_cache(self) -> VerificationCache[Any]:
        """Return a new cache of results of a verifier."""
        return VerificationCache(self.process_key, self.runtime.monotonic)

    def htpasswd(self) -> "HtpasswdVerifier | None":
        """Return the verifier of passwords in an htpasswd file."""
        if not self.settings.access.htpasswd_file:
            return None
        from wheelyard.authentication.verifiers.htpasswd import HtpasswdVerifier

        path = Path(self.settings.access.htpasswd_file)
        outdated_lines = self.catalog.outdated_lines
        return HtpasswdVerifier(path, self.process_key, self.runtime.monotonic, outdated_lines)

    def id_tokens(self) -> Verifier | None:
        """Return the verifier of Google's ID tokens."""
        options = self.settings.google.id_token
        if not options.audience:
            return None
        from wheelyard.authentication.verifiers import google_id_tokens

        keys = self.issuer_keys(
            google_id_tokens.GOOGLE_ISSUERS[0],
            google_id_tokens.ALGORITHMS,
            self.google.keys,
            allow_private=self.settings.google.allow_private,
        )
        allowed_domains = frozenset(domain.lower() for domain in options.allowed_domains)
        return google_id_tokens.google_verifier(
            keys,
            frozenset(options.audience),
            allowed_domains,
            self.runtime.seconds,
            self.new_cache(),
        )

    def access_tokens(self) -> "AccessTokenVerifier | None":
        """Return the verifier of Google's access tokens."""
        settings = self.settings
        options = settings.google.access_token
        if not options.resource:
            return None
        from wheelyard.authentication.verifiers import google_access_tokens

        resource = parse_location(options.resource)

        # people who may write to a bucket with a part of the store could bypass the index
        is_bucket_of_store = False
        store = settings.store
        for location in (store.location, store.files, settings.access.credentials_store):
            if is_bucket(location) and parse_location(location).root == resource.root:
                is_bucket_of_store = True
        authorization_bucket = google_access_tokens.AuthorizationBucket(
            resource.bucket, is_bucket_of_store, self.google
        )
        index_names = parse_right_indexes(",".join(options.indexes), Action.READ)
        return google_access_tokens.AccessTokenVerifier(
            authorization_bucket,
            self.client(allow_private=settings.google.allow_private),
            self.runtime.monotonic,
            self.new_cache(),
            options.cache_seconds,
            index_names,
        )

    def iap(self) -> Verifier | None:
        """Return the verifier of the assertions of Identity-Aware Proxy."""
        if not self.settings.iap.audience:
            return None
        from wheelyard.authentication.verifiers import google_id_tokens

        allow_private = self.settings.google.allow_private
        keys = self.issuer_keys(
            google_id_tokens.IAP_ISSUER,
            google_id_tokens.IAP_ALGORITHMS,
            self.google.iap_keys,
            allow_private=allow_private,
        )
        audiences = frozenset(self.settings.iap.audience)
        return google_id_tokens.iap_verifier(
            keys, audiences, self.runtime.seconds, self.new_cache()
        )

    def trusted_publishing(
        self, tokens: ApiTokens, cleanup: PublishingCleanup
    ) -> "TrustedPublishing | None":
        """Return the exchange of CI jobs' ID tokens for API tokens."""
        audiences = self.settings.trusted_publishing.audience
        if not audiences:
            return None
        from wheelyard.authentication import trusted_publishing
        from wheelyard.authentication.verifiers.job_tokens import JobTokenVerifier

        verifier = JobTokenVerifier(frozenset(audiences), self.job_keys, self.runtime.seconds)
        return trusted_publishing.TrustedPublishing(
            publishers=build_publishers(self.settings, self.catalog, self.runtime),
            audiences=audiences,
            tokens=tokens,
            cleanup=cleanup,
            verify=verifier.verify,
            replay_protection=trusted_publishing.ReplayProtection(
                cleanup.used_id_tokens, self.runtime.monotonic
            ),
        )

    def job_keys(self, name: str, issuer: "ProviderIssuer") -> "IssuerKeys":
        """Return the public keys of an issuer of CI jobs' ID tokens."""
        # decided by the settings, and not by the publisher: an administrator of the index must not
        # make this machine send requests to others of its network
        may_be_private = issuer.may_be_private(self.settings.trusted_publishing.private_issuers)
        algorithms = frozenset(issuer.algorithms)
        return self.issuer_keys(name, algorithms, issuer.keys_url, allow_private=may_be_private)


def build_publishers(settings: Settings, catalog: Catalog, runtime: Runtime) -> "Publishers":
    """Return the trusted publishers of the store."""
    # the modules of the providers take a while to import
    from wheelyard.operations.publishers import Publishers

    private_issuers = frozenset(settings.trusted_publishing.private_issuers)
    return Publishers(catalog.publisher_records, runtime, private_issuers)
