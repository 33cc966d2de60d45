"""
A package index as a value: its settings and all its parts.

What few callers need is made when it is asked for, and its module is imported only then.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import date
from functools import cached_property, partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.authentication.api_tokens import ApiTokens
from wheelyard.authentication.authenticator import Authenticator
from wheelyard.authentication.authorization import ReadPolicy
from wheelyard.authentication.caller_tokens import CallerTokens
from wheelyard.authentication.known_people import KnownPeople
from wheelyard.authentication.sessions import Sessions
from wheelyard.catalog.changes import Changes
from wheelyard.catalog.files import Files
from wheelyard.catalog.format import Catalog
from wheelyard.catalog.journaled_documents import DecisionRecords
from wheelyard.catalog.package_requests import RequestRecords
from wheelyard.catalog.people import PeopleRecords
from wheelyard.catalog.projects import Projects
from wheelyard.catalog.serials import ProjectSerials
from wheelyard.concurrency.runtime import ConflictRetries, Runtime
from wheelyard.concurrency.threads import PREFETCH_THREADS
from wheelyard.errors import Unavailable
from wheelyard.model.access import ANONYMOUS, Caller
from wheelyard.model.brand import Brand
from wheelyard.model.grants import GrantFields, describe_fields, describe_grant
from wheelyard.model.index_definition import IndexDefinition
from wheelyard.model.index_name import MAIN, day_to_come
from wheelyard.operations.access_control import AccessControl, AddedGrant
from wheelyard.operations.index_warnings import grant_warnings
from wheelyard.operations.lifecycle import Lifecycle
from wheelyard.operations.names import Names
from wheelyard.operations.search.project_table import FactsReader
from wheelyard.operations.search.search_index import SearchIndex
from wheelyard.operations.sweep import PublishingCleanup
from wheelyard.operations.unused_index import LOOK_AGAIN
from wheelyard.operations.uploads import Uploads
from wheelyard.remedies import Caution
from wheelyard.repository.index_repository import IndexRepository
from wheelyard.settings.sections import SettingPath, Settings
from wheelyard.settings.validation import stored_grant_warnings
from wheelyard.storage.base import Stores
from wheelyard.storage.forwarding import StoreMetrics
from wheelyard.storage.spool import Spool
from wheelyard.wiring.authentication import build_publishers
from wheelyard.wiring.indexes import Indexes, catalog_of, projects_of
from wheelyard.wiring.stores import StoreTraits, upstream_store

if TYPE_CHECKING:
    from wheelyard.catalog.private_names import PrivateNames
    from wheelyard.downloads.reading import Downloads, LastDownloads
    from wheelyard.operations.check_store import Check
    from wheelyard.operations.immediate_deletion import ImmediateDeletion
    from wheelyard.operations.index_administration import IndexAdministration
    from wheelyard.operations.merged_journal import JournalCuts, MergedJournal
    from wheelyard.operations.names import ClientProjectsReader
    from wheelyard.operations.people import PeopleAdministration
    from wheelyard.operations.publishers import Publishers
    from wheelyard.operations.requirements import RequirementCheck
    from wheelyard.operations.server_state import ServerState
    from wheelyard.operations.sweep import Sweep
    from wheelyard.repository.index_rules import IndexRules
    from wheelyard.retention.runs import RetainedIndex, Retention
    from wheelyard.upstream.indexes import UpstreamIndex
    from wheelyard.upstream.kept_files import KeptSize


REMOTE_CHECK_THREADS: Final = 16
"""The number of projects that `check` verifies concurrently in a bucket."""


class Index(Struct, frozen=True, kw_only=True, dict=True):
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
    """What is stored, also the records that this class has no name for."""
    files: Files
    projects: Projects
    store_metrics: StoreMetrics
    """The durations and results of the operations on the store."""
    uploads: Uploads
    search: SearchIndex
    """Of its own packages, and of public ones if upstream is one of its layers."""
    rules: "IndexRules | None" = None
    """What decides which files of its layers it shows, or None if all are shown."""
    fixed_repository: IndexRepository | None = None
    """
    What it shows at the end of a day, as a static site, or by the definitions of one request.

    None for what it shows by the definitions that are current when somebody asks.
    """
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
        """The name of the index."""
        return self.definition.name

    def named(self, name: str) -> "Index":
        """
        Return the index of the store that has this name.

        Raises NotFound if there is none. Raises Unavailable if the store does not answer.
        """
        return self if name == self.name else self.indexes.get(name)

    @property
    def repository(self) -> IndexRepository:
        """
        What it shows.

        Raises Unavailable if the store does not say which indexes there are.
        """
        return self.fixed_repository or self.indexes.repository(self.name)

    def peek_repository(self) -> IndexRepository | None:
        """Return what it shows, or None if a remote store has to be read first."""
        return self.fixed_repository or self.indexes.peek_repository(self.name)

    def last_downloads(self, days: int) -> "LastDownloads | None":
        """
        Return when each version was downloaded in the last days, or None if that is not counted.

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
            documents=self.named(MAIN).stores.documents,
            clock=self.lifecycle.removal.clock,
            requirements=lambda caller: self.requirements(lambda _: caller),
            is_local=self.is_local,
            is_read_only=self.settings.server.read_only,
        )

    def requirements(self, caller_in: "Callable[[Index], Caller]") -> "RequirementCheck":
        """
        Return what finds requirements that an index of the store does not show.

        `caller_in` returns the caller with the rights in an index.
        """
        # only changes of releases need it
        from wheelyard.wiring.requirements import requirement_check

        return requirement_check(self, caller_in)

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

    def as_of(self, day: date) -> "Index":
        """
        Return this index at the end of a day (UTC), which takes no changes.

        Raises NotFound if the day has not begun.
        """
        if day > self.runtime.now().date():
            raise day_to_come(day)
        definition = replace(self.definition, day=day)
        settings = settings_of_index(self.indexes.settings, definition)
        return replace(
            self,
            definition=definition,
            settings=replace(settings, server=replace(settings.server, read_only=True)),
            fixed_repository=self.indexes.repositories.as_of(self.name, day),
            uploads=replace(self.uploads, home=definition),
        )

    @property
    def alternatives(self) -> tuple[str, ...]:
        """
        The other indexes, for who finds nothing in main; another index has none.

        There are none either while the store does not say which there are.
        """
        if not self.definition.is_main:
            return ()
        with suppress(Unavailable):
            return tuple(sorted(self.indexes.definitions()))
        return ()

    @property
    def takes_uploads(self) -> bool:
        """Whether clients can publish to it on a server with its settings, as far as is known."""
        if not self.definition.takes_uploads or self.settings.server.read_only:
            return False
        with suppress(Unavailable):  # a page has to be shown also while the store is down
            return self.uploads.unused is None or not self.uploads.unused.is_closed(LOOK_AGAIN)
        return True

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
    def check(self) -> "Check":
        """The check of the whole store."""
        # only commands need it
        from wheelyard.operations.check_store import Check, CredentialsCheck

        htpasswd = self.authenticator.htpasswd
        line_of = None
        if htpasswd is not None:
            line_of = htpasswd.line_of
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
                self.catalog.outdated_lines,
                line_of,
                self.retries,
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
            partial(projects_of, self),
            self.name,
        )

    @property
    def client_projects(self) -> "ClientProjectsReader":
        """What finds the projects that the settings of a client have to name."""
        from wheelyard.operations.names import ClientProjectsReader

        return ClientProjectsReader(
            tuple(own.projects for own in self.repository.own_packages()),
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
        """What makes, changes and removes indexes."""
        # only administrators need it
        from wheelyard.operations.index_administration import IndexAdministration

        first = self.named(MAIN)
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

    @cached_property
    def kept_size(self) -> "KeptSize":
        """
        What counts how much public packages take, also if no upstream index is configured.

        Raises Invalid or Unavailable as `upstream_store` does.
        """
        # only administrators need it
        from wheelyard.upstream.kept_files import KeptSize

        if self.upstream is not None:
            return KeptSize(self.upstream.files.store, self.runtime)
        counter = self.traits.operation_counter
        return KeptSize(upstream_store(self.settings, self.stores, counter), self.runtime)

    @cached_property
    def journal_cuts(self) -> "JournalCuts":
        """Where readers of the merged journal have left the journals of projects."""
        from wheelyard.operations.merged_journal import JournalCuts

        return JournalCuts()

    @property
    def merged_journal(self) -> "MergedJournal":
        """The journals of everything as one."""
        # only pages for administrators need it
        from wheelyard.operations.merged_journal import (
            DECISIONS,
            IndexJournals,
            MergedJournal,
        )

        names = (MAIN, *sorted(self.indexes.names()))
        catalogs = ((name, catalog_of(self, name)) for name in names)
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
            cuts=self.journal_cuts,
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

    @property
    def _open_indexes(self) -> frozenset[str]:
        """The names of the indexes that anybody may read."""
        if self.settings.access.private:
            return frozenset()
        definitions = {MAIN: self.indexes.in_force.main, **self.indexes.definitions()}
        return frozenset(name for name, definition in definitions.items() if definition.is_open)

    def add_grant(self, fields: GrantFields, by: str) -> AddedGrant:
        """
        Add a grant to the store, and return it, with warnings by the settings and of absent names.

        Raises Invalid as `AccessControl.grant` does, and if there is no such index. Raises
        Unavailable if the store does not answer.
        """
        self.index_administration.require_known(fields.index)
        grant_id = self.access.grant(fields, by)
        grants = self.access.load()
        made = next((grant for grant in grants.all if grant.id == grant_id), None)
        if made is None:  # another process was faster
            gone = Caution("it has been revoked meanwhile")
            return AddedGrant(grant_id, describe_fields(fields), (gone,))
        warnings = [*stored_grant_warnings(self.settings, made, grants.groups, self._open_indexes)]
        warnings += self.known_people.absent(made.principals, "revoke the grant")
        warnings += grant_warnings(made, self.indexes.definitions())
        return AddedGrant(grant_id, describe_grant(made), tuple(warnings))


def settings_of_index(settings: Settings, definition: IndexDefinition) -> Settings:
    """Return the settings of the server with the paths of an index."""
    server, segment = settings.server, definition.segment
    url = f"{server.public_url.rstrip('/')}{segment}" if server.public_url else ""
    paths = replace(server, path_prefix=server.path_prefix + segment, public_url=url, roots=())
    return replace(settings, server=paths)
