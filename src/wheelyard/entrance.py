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

from wheelyard.concurrency.pacing import Ambient
from wheelyard.model.access import ANYONE_READS, EVERY_PROJECT, EVERYBODY, Action, Scope
from wheelyard.operations.doors import Doors, RefusedLog, Rights
from wheelyard.operations.spent import Reuses, Spent
from wheelyard.operations.tokens import Tokens
from wheelyard.settings.sections import Settings
from wheelyard.storage.cloud.location import is_bucket, parse_location
from wheelyard.trust.endpoints import GOOGLE, GoogleEndpoints
from wheelyard.trust.static_tokens import StaticTokens
from wheelyard.trust.throttle import Throttle
from wheelyard.trust.verifier import Verifier

if TYPE_CHECKING:
    from wheelyard.operations.publishing import Publishing, Verify
    from wheelyard.trust.keysets import Means
    from wheelyard.trust.passwords import Passwords
    from wheelyard.trust.verifier import Verdicts

PROCESS_KEY: Final = 32
"""Random bytes that credentials are remembered under, for as long as the process lives."""


def rights_of(settings: Settings) -> Rights:
    """
    Return what the settings allow to whom.

    Without a grant anybody may read, unless reading is private; with one, only whom they name.
    """
    grants = settings.grants
    is_open = not settings.access.private and not grants.every
    public: tuple[Scope, ...] = (ANYONE_READS,) if is_open else ()
    if settings.access.anonymous_uploads:
        public = (*public, Scope(Action.UPLOAD, (EVERY_PROJECT,)))  # reading is its own question
    everybody = (*public, *grants.scopes_of((EVERYBODY,)))
    if settings.access.htpasswd_may_manage:
        return Rights(grants, everybody, Scope(Action.MANAGE.with_implied, (EVERY_PROJECT,)))
    return Rights(grants, everybody)


def doors_of(
    settings: Settings,
    tokens: Tokens,
    spent: Spent,
    ambient: Ambient,
    google: GoogleEndpoints = GOOGLE,
) -> Doors:
    """
    Return the ways in that the settings open.

    Raises:
        Invalid: A file that they name cannot be read, or makes no sense (code `bad_setting`).
    """
    builder = _Builder(settings, ambient, google)
    access, publishing = settings.access, settings.trusted_publishing
    is_published = settings.publisher and publishing.audience
    return Doors(
        tokens=tokens,
        publishing=builder.publishing(tokens, spent) if is_published else None,
        static_tokens=StaticTokens(
            Path(access.static_tokens_file) if access.static_tokens_file else None,
            access.static_token,
            ambient.now,
            ambient.monotonic,
        ),
        passwords=builder.passwords() if access.htpasswd_file else None,
        id_tokens=builder.id_tokens() if settings.google.id_token.audience else None,
        access_tokens=builder.access_tokens() if settings.google.access_token.resource else None,
        iap=builder.iap() if settings.iap.audience else None,
        throttle=Throttle(access.failed_login_per_minute, ambient.monotonic),
        rights=rights_of(settings),
        log=RefusedLog(ambient.monotonic),
    )


@dataclass(frozen=True)
class _Builder:
    """Makes verifiers that share a fetcher, and a key of this process."""

    settings: Settings
    ambient: Ambient
    google: GoogleEndpoints

    @cached_property
    def _key(self) -> bytes:
        return self.ambient.random.randbytes(PROCESS_KEY)

    @cached_property
    def _means(self) -> "Means":
        return self._private if self.settings.google.allow_private else self._public

    @cached_property
    def _public(self) -> "Means":
        return self._made(is_private=False)

    @cached_property
    def _private(self) -> "Means":
        return self._made(is_private=True)

    def _made(self, *, is_private: bool) -> "Means":
        from wheelyard.trust.fetching import Fetcher
        from wheelyard.trust.keysets import Means

        return Means(
            Fetcher(self.ambient.monotonic, allow_private=is_private),
            self.ambient.monotonic,
            self.ambient.random,
            lambda work: Thread(target=work, daemon=True).start(),
        )

    def _verdicts(self) -> "Verdicts[Any]":
        from wheelyard.trust.verifier import Verdicts

        return Verdicts(self._key, self.ambient.monotonic)

    def passwords(self) -> "Passwords":
        from wheelyard.trust.passwords import Passwords

        return Passwords(
            Path(self.settings.access.htpasswd_file), self._key, self.ambient.monotonic
        )

    def id_tokens(self) -> Verifier:
        from wheelyard.trust.google import google_login

        asked = self.settings.google.id_token
        domains = frozenset(domain.lower() for domain in asked.allowed_domains)
        audiences, now = frozenset(asked.audience), self.ambient.seconds
        return google_login(
            self._means, self.google.keys, audiences, domains, now, self._verdicts()
        )

    def access_tokens(self) -> Verifier:
        from wheelyard.trust.access_tokens import AccessTokens, Resource

        asked = self.settings.google.access_token
        resource = Resource(
            parse_location(asked.resource).bucket,
            read_only=self._is_of_packages(asked.resource),
            google=self.google,
        )
        return AccessTokens(
            resource,
            self._means.fetcher,
            self.ambient.monotonic,
            self._verdicts(),
            asked.cache_seconds,
        )

    def iap(self) -> Verifier:
        from wheelyard.trust.google import iap_login

        asked = self.settings.iap
        audiences, now = frozenset(asked.audience), self.ambient.seconds
        return iap_login(self._means, self.google.iap_keys, audiences, now, self._verdicts())

    def publishing(self, tokens: Tokens, spent: Spent) -> "Publishing":
        from wheelyard.operations.publishing import Publishing

        return Publishing(
            publishers=self.settings.publishers,
            audiences=self.settings.trusted_publishing.audience,
            tokens=tokens,
            spent=spent,
            verify=self._verify(),
            reuses=Reuses(self.ambient.monotonic),
        )

    def _verify(self) -> "Verify":
        from wheelyard.model.publisher import issuers_of
        from wheelyard.trust.keysets import KeySet
        from wheelyard.trust.statements import Issuer, verify

        audiences = frozenset(self.settings.trusted_publishing.audience)
        issuers = dict[str, Issuer]()
        for issuer, lifetime in issuers_of(self.settings.publishers).items():
            algorithms = frozenset(issuer.algorithms)
            means = self._private if issuer.may_be_private else self._public
            for name in issuer.names:
                keys = KeySet(name, algorithms, means, issuer.keys_url or None)
                issuers[name] = Issuer(name, keys, algorithms, audiences, lifetime)
        return lambda statement: verify(statement, issuers, self.ambient.seconds())

    def _is_of_packages(self, resource: str) -> bool:
        """Return whether a bucket holds the packages: who may write there writes past the index."""
        bucket, store = parse_location(resource).bucket, self.settings.store
        kept = (store.location, store.files, self.settings.access.credentials_store)
        return any(is_bucket(each) and parse_location(each).bucket == bucket for each in kept)
