"""Builds an `Index`: the store, the catalog, the operations and authentication of a process."""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.authentication.api_tokens import ApiTokens
from wheelyard.authentication.authenticator import Authenticator
from wheelyard.authentication.authorization import ReadPolicy
from wheelyard.authentication.caller_tokens import CallerTokens
from wheelyard.authentication.sessions import Sessions
from wheelyard.authentication.verifiers.google import GOOGLE, GoogleEndpoints
from wheelyard.catalog.changes import Changes
from wheelyard.catalog.document_cache import CachePolicy
from wheelyard.catalog.files import FileRemoval, Files
from wheelyard.catalog.format import Catalog, open_catalog
from wheelyard.catalog.journals import DecisionRecords
from wheelyard.catalog.projects import Projects
from wheelyard.concurrency.runtime import ConflictRetries, Runtime
from wheelyard.concurrency.threads import PREFETCH_THREADS
from wheelyard.errors import Invalid
from wheelyard.model.access import ANONYMOUS, Caller
from wheelyard.model.brand import MAX_LOGO_BYTES, Brand, Logo, parse_logo
from wheelyard.model.decoding import escaped
from wheelyard.model.grants import GrantFields, describe_grant
from wheelyard.model.project import Event, Project
from wheelyard.operations.access_control import AccessControl, AddedGrant
from wheelyard.operations.audit_log import log_event
from wheelyard.operations.lifecycle import Lifecycle
from wheelyard.operations.names import Names
from wheelyard.operations.search.facts_reader import FactsReader
from wheelyard.operations.search.search_index import PublicProjects, SearchIndex
from wheelyard.operations.sweep import PublishingCleanup
from wheelyard.operations.upload import UploadRules, Uploads
from wheelyard.settings.load import google_endpoints, process_environment
from wheelyard.settings.sections import MIB, Settings, WebSettings
from wheelyard.settings.validation import stored_grant_warnings
from wheelyard.settings.value_checks import bad_setting
from wheelyard.storage.base import Stores
from wheelyard.storage.instrumented import StoreMetrics, instrumented
from wheelyard.storage.spool import Spool
from wheelyard.wiring.authentication import build_authenticator
from wheelyard.wiring.stores import (
    StoreTraits,
    cache_policy_in,
    empty_store,
    open_store,
    system_runtime,
)

if TYPE_CHECKING:
    from wheelyard.operations.check import Check
    from wheelyard.operations.client_projects import ClientProjectsReader
    from wheelyard.operations.names import NameClaims
    from wheelyard.operations.sweep import Sweep
    from wheelyard.upstream.index import UpstreamIndex


def brand_of(web: WebSettings) -> Brand:
    """Return the brand of the settings; raise Invalid if the logo is missing or unfit."""
    return Brand(web.name, web.accent.lower(), _read_logo(web.logo) if web.logo else None)


def _read_logo(path: str) -> Logo:
    try:
        with Path(path).open("rb") as file:
            return parse_logo(file.read(MAX_LOGO_BYTES + 1))
    except OSError as error:
        raise bad_setting(f"web.logo: {escaped(path)}: {error.strerror}") from error
    except Invalid as error:
        why = error.message.removesuffix(".")
        raise bad_setting(f"web.logo: {escaped(path)}: {why}") from error


REMOTE_CHECK_THREADS: Final = 16
"""The number of projects that `check` verifies concurrently in a bucket."""


class Index(Struct, frozen=True, kw_only=True):
    """A private package index: its settings and all its parts, for routes and commands."""

    settings: Settings
    runtime: Runtime
    spool: Spool
    is_new: bool
    """Whether its store was created just now."""
    traits: StoreTraits
    stores: Stores
    retries: ConflictRetries
    """For writes that lose a race."""
    files: Files
    projects: Projects
    changes: Changes
    store_metrics: StoreMetrics
    """The durations and results of the operations on the store."""
    uploads: Uploads
    search: SearchIndex
    lifecycle: Lifecycle
    tokens: ApiTokens
    access: AccessControl
    decisions: DecisionRecords
    """What was approved and blocked of upstream indexes; there also if none is configured."""
    authenticator: Authenticator
    sessions: Sessions
    brand: Brand
    publishing_cleanup: PublishingCleanup
    upstream: "UpstreamIndex | None" = None
    """None unless `[upstream]` is enabled."""

    @property
    def is_local(self) -> bool:
        """Whether the store is on this machine, so that reads need no worker thread."""
        return self.traits.is_local

    @property
    def caller_tokens(self) -> CallerTokens:
        """The API tokens on behalf of callers."""
        return CallerTokens(self.tokens, self.access)

    @property
    def check(self) -> "Check":
        """The check of the whole store."""
        # only commands need it
        from wheelyard.operations.check import Check, CredentialsCheck  # noqa: PLC0415

        return Check(
            self.stores,
            self.spool,
            self.projects,
            self.sweep,
            self.runtime,
            CredentialsCheck(
                self.stores.credentials, self.publishing_cleanup, self.sessions.records
            ),
            self.changes,
            threads=1 if self.is_local else REMOTE_CHECK_THREADS,
        )

    @property
    def sweep(self) -> "Sweep":
        """What finds and deletes the leftovers of uploads and deletions."""
        from wheelyard.operations.sweep import Sweep  # noqa: PLC0415 - once a day

        return Sweep(self.stores, self.lifecycle.removal, 1 if self.is_local else PREFETCH_THREADS)

    @property
    def client_projects(self) -> "ClientProjectsReader":
        """What finds the projects that the settings of a client have to name."""
        from wheelyard.operations.client_projects import ClientProjectsReader  # noqa: PLC0415 - rare

        return ClientProjectsReader(
            self.projects,
            self.files,
            self.settings.private_patterns,
            is_local=self.is_local,
            has_upstream=self.upstream is not None,
        )

    @property
    def names(self) -> Names:
        """The registry of private names."""
        return Names(self.projects, self.runtime)

    @property
    def read_policy(self) -> ReadPolicy:
        """What decides which projects a caller may read."""
        anonymous = Caller(ANONYMOUS, self.authenticator.policy.public)
        patterns, has_upstream = self.settings.private_patterns, self.upstream is not None
        return ReadPolicy(anonymous, patterns, has_upstream=has_upstream)

    def may_be_public(self, name: NormalizedName) -> bool:
        """
        Return whether a name is not private, and there is an upstream index that may have it.

        Raise Unavailable if the store does not say whether it is private.
        """
        return self.upstream is not None and not self.upstream.names.is_private(name)

    def add_grant(self, fields: GrantFields, by: str) -> AddedGrant:
        """Add a grant to the store; return it, with warnings that the settings give reason for."""
        grant_id = self.access.grant(fields, by)
        made = next(each for each in self.access.load().all if each.id == grant_id)
        warnings = tuple(stored_grant_warnings(self.settings, made))
        return AddedGrant(grant_id, describe_grant(made), warnings)


def open_index(settings: Settings, *, create: bool = True) -> Index:
    """Return the index of the settings; if its store is missing, `create` it or raise Invalid."""
    runtime, google = system_runtime(), google_endpoints(process_environment())
    opened = open_store(settings, runtime, create=create)
    return build_index(opened.stores, opened.spool, settings, runtime, opened.traits, google)


def index_without_store(settings: Settings) -> Index:
    """Return the index of the settings over an empty store in memory; may raise Invalid."""
    opened, google = empty_store(), google_endpoints(process_environment())
    settings = replace(settings, upstream=replace(settings.upstream, bucket=""))
    return build_index(opened.stores, opened.spool, settings, system_runtime(), google=google)


def build_index(  # noqa: PLR0913, PLR0917 - all parts of an index
    stores: Stores,
    spool: Spool,
    settings: Settings,
    runtime: Runtime,
    traits: StoreTraits | None = None,
    google: GoogleEndpoints = GOOGLE,
    documents: CachePolicy | None = None,
) -> Index:
    """Return an index over its stores, local without `traits`; write the format of a new one."""
    traits = traits or StoreTraits()
    store_metrics = StoreMetrics(runtime.monotonic)
    stores = instrumented(stores, store_metrics)
    policy = documents or cache_policy_in(traits, settings.store)

    def on_event(project: Project, event: Event) -> None:
        log_event(project.name, event)
        search.note_commit(project.name)

    catalog = open_catalog(stores, runtime, policy, on_event, traits.files)
    projects, files, credentials = catalog.projects, catalog.files, catalog.token_records
    is_read_only, limit = settings.server.read_only, settings.token_lifetime_limit
    tokens = ApiTokens(credentials, runtime, limit, records_usage=not is_read_only)
    access = AccessControl(settings.grants, catalog.access_records, runtime)
    lifetime = timedelta(seconds=settings.trusted_publishing.token_seconds)
    publishing_cleanup = PublishingCleanup(catalog.used_id_tokens, credentials, runtime, lifetime)
    authenticator = build_authenticator(
        settings, access, tokens, publishing_cleanup, runtime, google
    )
    domains = frozenset(each.lower() for each in settings.google.id_token.allowed_domains)
    sessions = Sessions(catalog.session_records, authenticator, runtime, domains)
    upstream, claims, public = _upstream(settings, catalog, spool, runtime, traits)
    limits = settings.uploads
    upload_rules = UploadRules(max_size=limits.max_file_size * MIB, zip_sdists=limits.zip_sdists)
    reader = FactsReader(projects, files, traits.is_local)
    search = SearchIndex(reader, catalog.changes, public, is_read_only=is_read_only)
    return Index(
        settings=settings,
        runtime=runtime,
        spool=spool,
        is_new=catalog.is_new,
        traits=traits,
        stores=catalog.stores,
        retries=catalog.retries,
        store_metrics=store_metrics,
        files=files,
        projects=projects,
        changes=catalog.changes,
        uploads=Uploads(projects, files, spool, runtime, upload_rules, claims),
        search=search,
        lifecycle=Lifecycle(projects, FileRemoval(catalog.stores, runtime), runtime),
        tokens=tokens,
        access=access,
        decisions=catalog.decision_records,
        authenticator=authenticator,
        sessions=sessions,
        brand=brand_of(settings.web),
        publishing_cleanup=publishing_cleanup,
        upstream=upstream,
    )


def _upstream(
    settings: Settings,
    catalog: Catalog,
    spool: Spool,
    runtime: Runtime,
    traits: StoreTraits,
) -> "tuple[UpstreamIndex | None, NameClaims | None, PublicProjects | None]":
    """
    Return the upstream indexes, what decides who may take a new name, and the public projects.

    They are None without any upstream index.
    """
    if not settings.upstream.enabled:
        return None, None, None
    # nothing of it is loaded without an upstream index
    from wheelyard.upstream.search_facts import PublicProjectList  # noqa: PLC0415
    from wheelyard.wiring.upstream import build_upstream, name_claims  # noqa: PLC0415

    upstream = build_upstream(settings, catalog, spool, runtime, traits)
    return upstream, name_claims(upstream, settings.upstream), PublicProjectList(upstream)
