"""
Composition of a process: builds the index from the settings.

What is not configured is not imported.
"""

from collections.abc import Mapping
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.authentication.api_tokens import ApiTokens
from wheelyard.authentication.authenticator import Authenticator
from wheelyard.authentication.authorization import (
    ReadPolicy,
)
from wheelyard.authentication.caller_tokens import CallerTokens
from wheelyard.authentication.device_logins import DeviceLogins
from wheelyard.authentication.known_people import KnownPeople
from wheelyard.authentication.sessions import Sessions
from wheelyard.authentication.verifiers.google_endpoints import GOOGLE, GoogleEndpoints
from wheelyard.catalog.changes import Changes
from wheelyard.catalog.document_cache import CachePolicy
from wheelyard.catalog.files import FileRemoval, Files
from wheelyard.catalog.format import Catalog, open_catalog
from wheelyard.catalog.format import open_index as open_catalog_of_index
from wheelyard.catalog.journaled_documents import DecisionRecords
from wheelyard.catalog.package_requests import RequestRecords
from wheelyard.catalog.people import PeopleRecords
from wheelyard.catalog.projects import Projects
from wheelyard.catalog.serials import ProjectSerials
from wheelyard.concurrency.runtime import ConflictRetries, Runtime
from wheelyard.concurrency.threads import PREFETCH_THREADS
from wheelyard.errors import Invalid
from wheelyard.model.access import ANONYMOUS, Caller, parse_name_patterns
from wheelyard.model.brand import MAX_LOGO_BYTES, Brand, Logo, parse_logo
from wheelyard.model.decoding import escaped
from wheelyard.model.grants import GrantFields, describe_fields, describe_grant
from wheelyard.model.index_definition import UPSTREAM_LAYER, IndexDefinition, has_filter
from wheelyard.model.project import Event, Project
from wheelyard.operations.access_control import AccessControl, AddedGrant
from wheelyard.operations.audit_log import log_event
from wheelyard.operations.index_definitions import IndexDefinitions
from wheelyard.operations.lifecycle import Lifecycle
from wheelyard.operations.names import Names, TakenNames
from wheelyard.operations.quotas import QuotaCheck
from wheelyard.operations.search.layered_table import LayeredTable, ShownProjects
from wheelyard.operations.search.project_table import FactsReader
from wheelyard.operations.search.search_index import PublicProjects, SearchIndex
from wheelyard.operations.sweep import PublishingCleanup
from wheelyard.operations.uploads import UploadRules, Uploads
from wheelyard.settings.load import google_endpoints, process_environment
from wheelyard.settings.sections import MIB, SettingPath, Settings, WebSettings
from wheelyard.settings.validation import stored_grant_warnings
from wheelyard.settings.value_checks import bad_setting
from wheelyard.storage.base import Stores
from wheelyard.storage.forwarding import StoreMetrics, instrumented
from wheelyard.storage.spool import Spool
from wheelyard.wiring.authentication import (
    build_authenticator,
    build_policy,
    build_publishers,
)
from wheelyard.wiring.indexes import Indexes, catalog_of, projects_of
from wheelyard.wiring.stores import (
    StoreTraits,
    cache_policy_in,
    empty_store,
    open_store,
    system_runtime,
)

if TYPE_CHECKING:
    from wheelyard.authentication.passwords import PasswordChanges
    from wheelyard.catalog.private_names import PrivateNames
    from wheelyard.downloads.reading import Downloads, LastDownloads
    from wheelyard.operations.check_store import Check
    from wheelyard.operations.immediate_deletion import ImmediateDeletion
    from wheelyard.operations.index_administration import IndexAdministration
    from wheelyard.operations.merged_journal import MergedJournal
    from wheelyard.operations.names import ClientProjectsReader, NameClaims
    from wheelyard.operations.people import PeopleAdministration
    from wheelyard.operations.publishers import Publishers
    from wheelyard.operations.server_state import ServerState
    from wheelyard.operations.sweep import Sweep
    from wheelyard.retention.runs import RetainedIndex, Retention
    from wheelyard.upstream.indexes import UpstreamIndex
    from wheelyard.views.view import View


def brand_of(web: WebSettings) -> Brand:
    """
    Return the brand of the settings.

    Raises Invalid if the logo is missing or unfit.
    """
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


LEAST_SCORE: Final = 0.1
"""The CVSS score from which on an advisory counts for the severity that views look at."""
REMOTE_CHECK_THREADS: Final = 16
"""The number of projects that `check` verifies concurrently in a bucket."""


class Index(Struct, frozen=True, kw_only=True):
    """A private package index: its settings and all its parts, for routes and commands."""

    settings: Settings
    """Those of the server, but for its paths, which are those of this index."""
    definition: IndexDefinition
    indexes: Indexes
    """All indexes of the store."""
    runtime: Runtime
    spool: Spool
    traits: StoreTraits
    catalog: Catalog
    """What is stored, also the records that have no name here."""
    files: Files
    projects: Projects
    store_metrics: StoreMetrics
    """The durations and results of the operations on the store."""
    uploads: Uploads
    search: SearchIndex
    """Of its own packages, and of public ones if upstream is one of its layers."""
    shown: ShownProjects
    """All projects that it shows."""
    views: "tuple[View, ...]" = ()
    """What decides which files of its layers it shows: its filter, and that of a day."""
    lifecycle: Lifecycle
    tokens: ApiTokens
    access: AccessControl
    authenticator: Authenticator
    sessions: Sessions
    brand: Brand
    publishing_cleanup: PublishingCleanup
    private_names: "PrivateNames | None" = None
    """Those of its own packages, or of all its layers. None unless `[upstream]` is enabled."""
    downloads: "Downloads | None" = None
    """The counts of downloads, or None if they are not counted."""
    upstream: "UpstreamIndex | None" = None
    """None unless `[upstream]` is enabled, and one of its layers."""
    server: "ServerState | None" = None
    """Of the process that serves it, or None in a command."""
    sources: Mapping[SettingPath, str] = MappingProxyType({})
    """Where each setting comes from: a file, a variable, an option. Others are defaults."""

    @property
    def name(self) -> str:
        """The name of the index, empty for that without one."""
        return self.definition.name

    def named(self, name: str) -> "Index":
        """
        Return the index of the store that has this name, where an empty name is that without one.

        Raises NotFound if there is none. Raises Unavailable if the store does not answer.
        """
        return self if name == self.name else self.indexes.get(name)

    @property
    def parts(self) -> "tuple[Index, ...]":
        """
        The indexes whose own packages it shows, in the order of its layers.

        Raises Unavailable if the store does not answer.
        """
        if not self.name:
            return (self,)
        parts = self.indexes.parts(self.name)
        return tuple(self if part.name == self.name else part for part in parts)

    def last_downloads(self, days: int) -> "LastDownloads | None":
        """
        Return when each file was downloaded in the last days, or None if that is not counted.

        Other indexes may show the files of this one, so the counts of all indexes are read: the
        documents of these months, and what was written since yesterday. Raises Unavailable if the
        store does not answer, or counts are damaged.
        """
        if self.downloads is None:
            return None
        from wheelyard.downloads.reading import LastDownloads

        counts = (index.downloads for index in self.indexes.all())
        return LastDownloads.joined(part.last_downloads(days) for part in counts if part)

    @property
    def is_view(self) -> bool:
        """
        Whether it shows a part of what its layers have, as itself or one of them has a filter.

        Raises Unavailable if the store does not answer.
        """
        if self.views or not self.name:
            return bool(self.views)
        return has_filter(self.definition, self.indexes.definitions())

    @property
    def retention(self) -> "Retention | None":
        """What deletes by the rules of the settings, or None without rules."""
        rules = self.settings.retention_rules
        if not rules:
            return None
        # nothing of it is loaded while there is no rule
        from wheelyard.retention.runs import Retention

        return Retention(
            rules=rules,
            indexes=lambda name: self.named(name).as_retained(),
            documents=self.named("").stores.documents,
            runtime=self.runtime,
            is_local=self.is_local,
            is_read_only=self.settings.server.read_only,
        )

    def as_retained(self) -> "RetainedIndex":
        """Return the index as rules of retention see it."""
        from wheelyard.retention.runs import RetainedIndex

        return RetainedIndex(
            name=self.name,
            has_packages=self.definition.has_packages,
            lifecycle=self.lifecycle,
            reader=FactsReader(self.projects, self.files, self.is_local),
            last_downloads=self.last_downloads,
        )

    @property
    def views_of_upstream(self) -> "tuple[View, ...]":
        """
        The views that public packages pass on their way through its layers, in this order.

        Raises Unavailable if the store does not answer.
        """
        for layer in self.definition.layers:
            if layer == UPSTREAM_LAYER:
                return self.views
            if layer != self.name:
                other = self.named(layer)
                if other.upstream is not None:
                    return (*other.views_of_upstream, *self.views)
        return self.views

    def as_of(self, day: date) -> "Index":
        """
        Return the view of this index at the end of a day (UTC), which takes no changes.

        A promoted file counts from its promotion on.
        """
        # few need it
        from wheelyard.views.view import View
        from wheelyard.wiring.viewed_table import ViewedTable

        definition = replace(self.definition, day=day)
        whole = self.indexes.settings
        settings = settings_of_index(whole, definition)
        view = View(definition.title, f'uploaded <= "{day}"', self.files, self.runtime)
        viewed = replace(
            self,
            definition=definition,
            settings=replace(settings, server=replace(settings.server, read_only=True)),
            views=(*self.views, view),
            uploads=replace(self.uploads, home=definition),
        )
        return replace(viewed, shown=ViewedTable(self.shown, self.indexes, lambda: viewed))

    @property
    def is_new(self) -> bool:
        """Whether its store was created just now."""
        return self.catalog.is_new

    @property
    def stores(self) -> Stores:
        """Where the objects are."""
        return self.catalog.stores

    @property
    def retries(self) -> ConflictRetries:
        """What repeats writes that lose a race."""
        return self.catalog.retries

    @property
    def changes(self) -> Changes:
        """The feed of all changes of projects."""
        return self.catalog.changes

    @property
    def serials(self) -> ProjectSerials:
        """The serials of projects, for mirrors."""
        return self.catalog.serials

    @property
    def decisions(self) -> DecisionRecords:
        """What was approved and blocked of upstream indexes, also if none is configured."""
        return self.catalog.decision_records

    @property
    def package_requests(self) -> RequestRecords:
        """Who asked for hidden public packages, also if no upstream index is configured."""
        return self.catalog.request_records

    @property
    def people(self) -> PeopleRecords:
        """Who has signed in with a provider of `[[sign_in]]`."""
        return self.catalog.people

    @property
    def people_administration(self) -> "PeopleAdministration":
        """What administrators do about people of a provider."""
        # few have such people
        from wheelyard.operations.people import PeopleAdministration

        return PeopleAdministration(
            self.people, self.catalog.person_names, self.access, self.retries
        )

    @property
    def is_local(self) -> bool:
        """Whether the store is on this machine, so that reads need no worker thread."""
        return self.traits.is_local

    @property
    def caller_tokens(self) -> CallerTokens:
        """The API tokens on behalf of callers."""
        authenticator = self.authenticator
        return CallerTokens(self.tokens, authenticator.policy, authenticator.owners)

    @property
    def device_logins(self) -> DeviceLogins:
        """The logins of programs through a browser."""
        authenticator, has_sessions = self.authenticator, self.settings.access.cookie_login
        # a browser asks for a password by itself, but for no ID token
        by_session = has_sessions and (authenticator.id_tokens or authenticator.owners.providers)
        return DeviceLogins(
            records=self.catalog.device_logins,
            keys=self.sessions.records,
            caller_tokens=self.caller_tokens,
            has_people=bool(authenticator.htpasswd or authenticator.iap or by_session),
        )

    @property
    def passwords(self) -> "PasswordChanges | None":
        """What changes the passwords of people, or None without an htpasswd file."""
        if self.authenticator.htpasswd is None:
            return None
        from wheelyard.authentication.passwords import PasswordChanges

        return PasswordChanges(
            self.authenticator.htpasswd,
            self.catalog.changed_passwords,
            self.runtime,
            self.settings.server.read_only,
        )

    @property
    def check(self) -> "Check":
        """The check of the whole store."""
        # only commands need it
        from wheelyard.operations.check_store import Check, CredentialsCheck

        return Check(
            self.stores,
            self.spool,
            partial(catalog_of, self),
            self.indexes.in_force,
            self.sweep,
            self.runtime,
            CredentialsCheck(
                self.stores.credentials,
                self.publishing_cleanup,
                self.sessions.records,
                self.catalog.device_logins,
            ),
            threads=1 if self.is_local else REMOTE_CHECK_THREADS,
        )

    @property
    def sweep(self) -> "Sweep":
        """What finds and deletes the leftovers of uploads and deletions."""
        from wheelyard.operations.sweep import Sweep

        return Sweep(self.stores, self.lifecycle.removal, 1 if self.is_local else PREFETCH_THREADS)

    @property
    def immediate_deletion(self) -> "ImmediateDeletion":
        """What removes files with their bytes at once."""
        # few need it
        from wheelyard.operations.immediate_deletion import ImmediateDeletion

        return ImmediateDeletion(
            self.projects,
            self.lifecycle.removal,
            self.runtime,
            partial(projects_of, self),
            self.name,
        )

    @property
    def client_projects(self) -> "ClientProjectsReader":
        """What finds the projects that the settings of a client have to name."""
        from wheelyard.operations.names import ClientProjectsReader

        return ClientProjectsReader(
            tuple(part.projects for part in self.parts),
            self.files,
            self.settings.private_patterns,
            is_local=self.is_local,
            has_upstream=self.upstream is not None,
        )

    @property
    def known_people(self) -> KnownPeople:
        """Everybody whom the index knows."""
        return KnownPeople(authenticator=self.authenticator)

    @property
    def index_administration(self) -> "IndexAdministration":
        """What makes, changes and removes indexes that have a name."""
        # only administrators need it
        from wheelyard.operations.index_administration import IndexAdministration

        first = self.named("")
        return IndexAdministration(
            in_force=self.indexes.in_force,
            projects=first.projects,
            files=first.lifecycle.removal,
            access=self.access,
            publishers=self.publishers,
            tokens=self.tokens.records,
            runtime=self.runtime,
        )

    @property
    def publishers(self) -> "Publishers":
        """The trusted publishers, also if no job gets a token as the settings have no audience."""
        service = self.authenticator.trusted_publishing
        if service is not None:
            return service.publishers
        return build_publishers(self.settings, self.catalog, self.runtime)

    @property
    def merged_journal(self) -> "MergedJournal":
        """The journals of everything as one."""
        # only pages for administrators need it
        from wheelyard.operations.merged_journal import (
            DECISIONS,
            IndexJournals,
            MergedJournal,
        )

        catalogs = ((name, catalog_of(self, name)) for name in ("", *sorted(self.indexes.names())))
        return MergedJournal(
            indexes=tuple(
                IndexJournals(name, catalog.projects, catalog.changes) for name, catalog in catalogs
            ),
            tokens=self.tokens.records,
            others=(
                ("-access", self.access.records),
                ("-publishers", self.catalog.publisher_records),
                ("-indexes", self.catalog.index_records),
                (DECISIONS, self.decisions),
            ),
            threads=1 if self.is_local else PREFETCH_THREADS,
        )

    @property
    def names(self) -> Names:
        """The registry of private names."""
        return Names(self.projects, self.runtime, self.uploads.taken)

    @property
    def read_policy(self) -> ReadPolicy:
        """What decides which projects a caller may read."""
        anonymous = Caller(ANONYMOUS, self.authenticator.policy.public)
        patterns, has_upstream = self.settings.private_patterns, self.upstream is not None
        return ReadPolicy(anonymous, patterns, has_upstream=has_upstream)

    def may_be_public(self, name: NormalizedName) -> bool:
        """
        Return whether a name is not private, and there is an upstream index that may have it.

        Raises Unavailable if the store does not say whether it is private.
        """
        return self.upstream is not None and not self.upstream.names.is_private(name)

    def add_grant(self, fields: GrantFields, by: str) -> AddedGrant:
        """
        Add a grant to the store, and return it, with warnings by the settings.

        Raises Invalid as `AccessControl.grant` does, and if there is no such index. Raises
        Unavailable if the store does not answer.
        """
        self.index_administration.require_known(fields.index)
        grant_id = self.access.grant(fields, by)
        made = next((grant for grant in self.access.load().all if grant.id == grant_id), None)
        if made is None:  # another process was faster
            return AddedGrant(grant_id, describe_fields(fields), ("it has been revoked meanwhile",))
        warnings = tuple(stored_grant_warnings(self.settings, made))
        return AddedGrant(grant_id, describe_grant(made), warnings)


def open_index(settings: Settings, *, create: bool = True, is_server: bool = False) -> Index:
    """
    Return the index of the settings, whose store is made if it is missing and `create` is set.

    `is_server` is for a process that serves it, and not for a command.

    Raises Invalid for a wrong setting, a missing store, or one that this version cannot open.
    Raises Unavailable if the store does not answer.
    """
    runtime, google = system_runtime(), google_endpoints(process_environment())
    opened = open_store(settings, runtime, create=create)
    return build_index(
        *(opened.stores, opened.spool, settings, runtime, opened.traits, google),
        is_server=is_server,
    )


def index_without_store(settings: Settings) -> Index:
    """
    Return the index of the settings over an empty store in memory.

    Raises Invalid for a wrong setting.
    """
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
    *,
    is_server: bool = False,
) -> Index:
    """Return an index over stores (local without `traits`), and write the format of a new one."""
    traits = traits or StoreTraits()
    store_metrics = StoreMetrics(runtime.monotonic)
    policy = documents or cache_policy_in(traits, settings.store)
    # commands give serials with these settings, too: there may be no server that does
    gives_serials = not (is_server and settings.server.read_only)
    listener = _EventListener()
    catalog = open_catalog(
        instrumented(stores, store_metrics),
        runtime,
        policy,
        listener,
        traits.files,
        gives_serials=gives_serials,
    )
    access = AccessControl(settings.grants, catalog.access_records, runtime)
    lifetime = timedelta(seconds=settings.trusted_publishing.token_seconds)
    cleanup = PublishingCleanup(catalog.used_id_tokens, catalog.token_records, runtime, lifetime)
    authenticator = build_authenticator(settings, catalog, access, cleanup, runtime, google)
    sessions = _sessions(settings, catalog, authenticator, cleanup, runtime, is_server=is_server)
    builder = _IndexBuilder(
        settings=settings,
        runtime=runtime,
        spool=spool,
        traits=traits,
        catalog=catalog,
        store_metrics=store_metrics,
        policy=policy,
        gives_serials=gives_serials,
        access=access,
        cleanup=cleanup,
        authenticator=authenticator,
        sessions=sessions,
        brand=brand_of(settings.web),
        listener=listener,
        is_server=is_server,
    )
    definitions = IndexDefinitions(
        settings.index,
        catalog.index_records,
        settings.server.roots,
        settings.promotion.rules,
        has_upstream=settings.upstream.is_on,
    )
    if is_server:
        definitions.require_start(catalog.projects)
    return Indexes(settings, definitions, builder.build).get("")


class _OtherNames(Struct, frozen=True):
    """Returns what knows the private names of the other indexes that an index shows."""

    indexes: Indexes
    name: str

    def __call__(self) -> "list[PrivateNames]":
        """Return one for each of them. Raises Unavailable if the store does not answer."""
        others = (part for part in self.indexes.parts(self.name) if part.name != self.name)
        return [part.private_names for part in others if part.private_names is not None]


class _Tables(Struct, frozen=True):
    """Returns the tables of all indexes whose own packages an index shows."""

    indexes: Indexes
    name: str

    def __call__(self) -> list[ShownProjects]:
        """Return one for each, in the order of the layers. Raises as `Indexes.parts`."""
        return [part.search for part in self.indexes.parts(self.name)]


class _EventListener:
    """Is told of each event of a project right after its commit."""

    def __init__(self) -> None:
        self.catalog: Catalog | None = None
        self.search: SearchIndex | None = None
        """Both are set before anything is committed."""

    def __call__(self, project: Project, event: Event) -> None:
        """Log an event, and note that search table and serials have something to read."""
        log_event(project.name, event)
        if self.search is not None:
            self.search.note_commit(project.name)
        if self.catalog is not None:
            self.catalog.serials.note_commit()


class _IndexBuilder(Struct, frozen=True, kw_only=True):
    """Builds the indexes of a store from the parts that all of them share."""

    settings: Settings
    runtime: Runtime
    spool: Spool
    traits: StoreTraits
    catalog: Catalog
    """That of the index without a name."""
    store_metrics: StoreMetrics
    policy: CachePolicy
    gives_serials: bool
    access: AccessControl
    cleanup: PublishingCleanup
    authenticator: Authenticator
    sessions: Sessions
    brand: Brand
    listener: _EventListener
    """That of the index without a name."""
    is_server: bool
    downloads: "dict[str, Downloads]" = {}
    """The counts of downloads by index: another definition of an index must not end its counter."""

    def build(self, definition: IndexDefinition, indexes: Indexes) -> Index:
        """Return the index of a definition, one of `indexes`."""
        name, listener = definition.name, self.listener
        settings, catalog, authenticator = self.settings, self.catalog, self.authenticator
        sessions = self.sessions
        if name:
            listener = _EventListener()
            catalog = open_catalog_of_index(
                catalog, name, self.policy, listener, gives_serials=self.gives_serials
            )
            settings = settings_of_index(settings, definition)
            authenticator = replace(
                authenticator,
                policy=build_policy(settings, self.access, name),
                callers=authenticator.callers.of_another_index(),
            )
            sessions = sessions.of_another_index(authenticator)
        upstream, claims, public = self._upstream(catalog, definition, indexes)
        projects, files = catalog.projects, catalog.files
        reader = FactsReader(projects, files, self.traits.is_local)
        search = SearchIndex(
            reader, catalog.changes, public, is_read_only=settings.server.read_only
        )
        listener.catalog, listener.search = catalog, search
        uploads = self._uploads(catalog, definition, indexes, claims, search)
        return Index(
            settings=settings,
            definition=definition,
            indexes=indexes,
            private_names=claims.names if claims else None,
            runtime=self.runtime,
            spool=self.spool,
            traits=self.traits,
            catalog=catalog,
            store_metrics=self.store_metrics,
            files=files,
            projects=projects,
            uploads=uploads,
            search=search,
            shown=self._shown(search, definition, indexes),
            views=self._views(definition, files),
            lifecycle=Lifecycle(projects, files, self._removal, self.runtime, uploads.quota_check),
            tokens=authenticator.tokens,
            access=self.access,
            authenticator=authenticator,
            sessions=sessions,
            brand=self.brand,
            publishing_cleanup=self.cleanup,
            downloads=self._downloads(name, catalog),
            upstream=upstream,
        )

    def _downloads(self, name: str, catalog: Catalog) -> "Downloads | None":
        """Return the counts of an index, to which a server that may write adds, or None if off."""
        if not self.settings.downloads.count:
            return None
        # nothing of it is loaded while it is off
        from wheelyard.downloads.counter import DownloadCounter
        from wheelyard.downloads.reading import Downloads

        if name not in self.downloads:
            documents = catalog.stores.documents
            counts = self.is_server and not self.settings.server.read_only
            self.downloads[name] = Downloads(
                documents,
                self.runtime,
                DownloadCounter(documents, self.runtime) if counts else None,
                is_local=self.traits.is_local,
            )
        return self.downloads[name]

    @property
    def _removal(self) -> FileRemoval:
        """What deletes bytes, which all indexes share."""
        # what everybody can read in the bucket is not kept
        is_public = self.settings.store.downloads == "public"
        return FileRemoval(self.catalog.stores, self.runtime, keeps_deleted=not is_public)

    def _uploads(
        self,
        catalog: Catalog,
        definition: IndexDefinition,
        indexes: Indexes,
        claims: "NameClaims | None",
        search: SearchIndex,
    ) -> Uploads:
        limits = self.settings.uploads
        return Uploads(
            catalog.projects,
            catalog.files,
            self.spool,
            self.runtime,
            UploadRules(max_size=limits.max_file_size * MIB, zip_sdists=limits.zip_sdists),
            TakenNames(_no_names if definition.name else indexes.names),
            definition,
            claims,
            quota_check=self._quotas(definition, search),
        )

    def _quotas(self, definition: IndexDefinition, search: SearchIndex) -> QuotaCheck | None:
        """Return the quotas of an index, or None without any."""
        quotas = self.settings.quotas.quotas.overridden_by(definition.quotas)
        if not (quotas.index.is_set or quotas.project.is_set):
            return None
        if quotas.index.is_set and not self.is_server:
            # a command has to know the usage now
            search.start = lambda refresh: refresh()
        return QuotaCheck(definition.name, quotas, search)

    def _views(self, definition: IndexDefinition, files: Files) -> "tuple[View, ...]":
        """Return what applies the filter of an index, or nothing without one."""
        if not definition.filter:
            return ()
        from wheelyard.views.view import View

        advisories, upstream = None, self.settings.upstream
        if upstream.is_on and upstream.osv and "severity" in definition.filter:
            from wheelyard.upstream.policy.osv_source import OsvSource

            advisories = OsvSource(Path(upstream.osv), LEAST_SCORE, self.runtime.monotonic)
        return (View(definition.name, definition.filter, files, self.runtime, advisories),)

    @staticmethod
    def _shown(search: SearchIndex, definition: IndexDefinition, indexes: Indexes) -> ShownProjects:
        """Return the table of all projects that an index shows."""
        if set(definition.layers) <= {definition.name, UPSTREAM_LAYER} and not definition.filter:
            return search
        from wheelyard.wiring.viewed_table import ViewedTable

        shown = LayeredTable(search, _Tables(indexes, definition.name))
        return ViewedTable(shown, indexes, partial(indexes.get, definition.name))

    def _upstream(
        self, catalog: Catalog, definition: IndexDefinition, indexes: Indexes
    ) -> "tuple[UpstreamIndex | None, NameClaims | None, PublicProjects | None]":
        """
        Return the upstream indexes, what decides who may take a new name, and the public projects.

        They are None without any upstream index.
        """
        if not self.settings.upstream.is_on:
            return None, None, None
        # nothing of it is loaded without an upstream index
        from wheelyard.catalog.private_names import PrivateNames
        from wheelyard.upstream.search_facts import PublicProjectList
        from wheelyard.wiring.upstream import build_upstream, name_claims

        names = PrivateNames(
            catalog.projects,
            parse_name_patterns(self.settings.upstream_private),
            self.catalog.stores.documents,
            is_local=self.traits.is_local,
            index=definition.name,
            others=_OtherNames(indexes, definition.name) if definition.name else None,
        )
        if definition.name:
            first = indexes.get("").upstream
            assert first is not None  # noqa: S101 - `[upstream]` is enabled
            upstream = first.with_names(names)
        else:
            upstream = build_upstream(
                self.settings, catalog, self.spool, self.runtime, self.traits, names
            )
        claims = name_claims(upstream, self.settings.upstream)
        if definition.name and not indexes.shows_upstream(definition.name):
            return None, claims, None
        return upstream, claims, PublicProjectList(upstream)


def _sessions(
    settings: Settings,
    catalog: Catalog,
    authenticator: Authenticator,
    cleanup: PublishingCleanup,
    runtime: Runtime,
    *,
    is_server: bool,
) -> Sessions:
    domains = frozenset(domain.lower() for domain in settings.google.id_token.allowed_domains)
    sessions = Sessions(catalog.session_records, authenticator, runtime, domains)
    if settings.sign_in and is_server:
        # nothing of it is loaded where nobody signs in with a provider
        from wheelyard.wiring.sign_in import build_sign_in

        sessions.sign_in = build_sign_in(settings, catalog, authenticator, cleanup, runtime)
    return sessions


def settings_of_index(settings: Settings, definition: IndexDefinition) -> Settings:
    """Return the settings of the server with the paths of an index that has a name."""
    server, segment = settings.server, definition.segment
    url = f"{server.public_url.rstrip('/')}{segment}" if server.public_url else ""
    paths = replace(server, path_prefix=server.path_prefix + segment, public_url=url, roots=())
    return replace(settings, server=paths)


def _no_names() -> tuple[str, ...]:
    """Return no name: below the path of an index there is no other index."""
    return ()
