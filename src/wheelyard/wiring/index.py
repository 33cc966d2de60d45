"""The index: every part, wired once. A route or a command gets an `Index`, and asks it."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from wheelyard.authentication.api_tokens import ApiTokens
from wheelyard.authentication.authenticator import Authenticator
from wheelyard.authentication.verifiers.google_endpoints import GOOGLE, GoogleEndpoints
from wheelyard.catalog.files import Files
from wheelyard.catalog.format import open_catalog
from wheelyard.catalog.projects import Projects
from wheelyard.concurrency.runtime import Runtime
from wheelyard.operations.audit_log import log_event
from wheelyard.operations.check import Check
from wheelyard.operations.lifecycle import Lifecycle
from wheelyard.operations.publishing_cleanup import PublishingCleanup
from wheelyard.operations.search_index import SearchIndex
from wheelyard.operations.upload import UploadRules, Uploads
from wheelyard.settings.load import google_endpoints, process_environment
from wheelyard.settings.sections import MIB, Settings
from wheelyard.storage.base import Store
from wheelyard.storage.instrumented import InstrumentedStore, StoreMetrics
from wheelyard.storage.spool import Spool
from wheelyard.wiring.authentication import build_authenticator
from wheelyard.wiring.stores import (
    StoreTraits,
    cache_policy_in,
    no_store,
    open_store,
    system_runtime,
)

REMOTE_CHECK_THREADS: Final = 16
"""Projects that are checked at a time on a bucket, which answers slowly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """A private package index."""

    settings: Settings
    runtime: Runtime
    spool: Spool
    is_new: bool
    """Whether its store has just been made."""
    traits: StoreTraits
    files: Files
    projects: Projects
    store_metrics: StoreMetrics
    """How long its store took for what."""
    uploads: Uploads
    search: SearchIndex
    lifecycle: Lifecycle
    tokens: ApiTokens
    authenticator: Authenticator
    check: Check

    @property
    def is_local(self) -> bool:
        """Whether the store may be asked on the way, without a thread to wait in."""
        return self.traits.is_local


def open_index(settings: Settings, *, create: bool = True) -> Index:
    """
    Return the index that the settings describe; with `create`, make a store where there is none.

    Raises:
        Invalid: The location is none that this version knows, has a newer format, or there is no
            store and none was to be made.
        Unavailable: The store does not answer.
    """
    runtime, google = system_runtime(), google_endpoints(process_environment())
    opened = open_store(settings, runtime, create=create)
    return build_index(opened.store, opened.spool, settings, runtime, opened.traits, google)


def authenticator_of_settings(settings: Settings) -> Authenticator:
    """
    Return the ways in that the settings open, without a look at their store.

    Raises:
        Invalid: A file that they name cannot be read, or makes no sense (code `bad_setting`).
    """
    opened, google = no_store(), google_endpoints(process_environment())
    return build_index(
        opened.store, opened.spool, settings, system_runtime(), google=google
    ).authenticator


def build_index(
    store: Store,
    spool: Spool,
    settings: Settings,
    runtime: Runtime,
    traits: StoreTraits | None = None,
    google: GoogleEndpoints = GOOGLE,
) -> Index:
    """Return an index over a store, which is near unless `traits` say else."""
    traits = traits or StoreTraits()
    store_metrics = StoreMetrics(runtime.monotonic)
    store = InstrumentedStore(store, store_metrics)
    cache_policy = cache_policy_in(traits, settings.store)
    catalog = open_catalog(store, runtime, cache_policy, log_event, traits.files)
    projects, files, credentials = catalog.projects, catalog.files, catalog.credentials
    limit, notes = settings.token_lifetime_limit, not settings.server.read_only
    tokens = ApiTokens(credentials, runtime, limit, records_usage=notes)
    lifetime = timedelta(seconds=settings.trusted_publishing.token_seconds)
    publishing_cleanup = PublishingCleanup(catalog.claims, credentials, runtime, lifetime)
    rules = UploadRules(
        max_size=settings.uploads.max_file_size * MIB, zip_sdists=settings.uploads.zip_sdists
    )
    return Index(
        settings=settings,
        runtime=runtime,
        spool=spool,
        is_new=catalog.is_new,
        traits=traits,
        store_metrics=store_metrics,
        files=files,
        projects=projects,
        uploads=Uploads(projects, files, spool, runtime, rules),
        search=SearchIndex(projects, traits.is_local),
        lifecycle=Lifecycle(projects, files, runtime),
        tokens=tokens,
        authenticator=build_authenticator(settings, tokens, publishing_cleanup, runtime, google),
        check=Check(
            store,
            spool,
            projects,
            runtime,
            publishing_cleanup,
            1 if traits.is_local else REMOTE_CHECK_THREADS,
        ),
    )
