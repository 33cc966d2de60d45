"""
Builds each index of a store from its definition: main, and others.

The modules of a feature that is not configured are not imported.
"""

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from wheelyard.catalog.files import Files
from wheelyard.catalog.opening import Catalog, open_index_catalog
from wheelyard.catalog.projects import Projects
from wheelyard.model.access import parse_name_patterns
from wheelyard.model.index_definition import IndexDefinition, UpstreamLayers
from wheelyard.model.quotas import Quotas
from wheelyard.operations.audit_log import log_event
from wheelyard.operations.lifecycle import Lifecycle
from wheelyard.operations.names import TakenNames
from wheelyard.operations.quota_check import QuotaCheck
from wheelyard.operations.search.project_table import FactsReader
from wheelyard.operations.search.search_index import PublicProjects, SearchIndex
from wheelyard.operations.unused_index import UnusedIndex
from wheelyard.operations.uploads import UploadRules, Uploads
from wheelyard.settings.sections import MIB
from wheelyard.wiring.authentication import build_policy
from wheelyard.wiring.index import Index, settings_of_index

if TYPE_CHECKING:
    from wheelyard.catalog.private_names import PrivateNames
    from wheelyard.downloads.reading import Downloads
    from wheelyard.operations.names import NameClaims
    from wheelyard.operations.upload_attestations import AttestationRules
    from wheelyard.repository.index_rules import IndexRules
    from wheelyard.upstream.indexes import UpstreamIndex
    from wheelyard.wiring.server import Server


class _OtherNames(Struct, frozen=True):
    """
    Finds the private names of the other indexes that an index is made from.

    This includes an index whose own packages are not shown any more, as a layer has lost them: a
    stranger's package must not take their place.
    """

    server: "Server[Index]"
    name: str
    """The name of the index that is made from others."""

    def __call__(self) -> "list[PrivateNames]":
        """
        Return the private names of each of the other indexes.

        Raises Unavailable if the store does not answer.
        """
        indexes_below = self.server.indexes.below(self.name)
        # without the index itself, whose names would ask for these again, in a circle
        other_indexes = [index for index in indexes_below if index.name != self.name]
        return [index.private_names for index in other_indexes if index.private_names is not None]


class _Packages(Struct, frozen=True):
    """The packages of an index, its own and those from upstream indexes, and their search table."""

    catalog: Catalog
    search: SearchIndex
    upstream: "UpstreamIndex | None"
    """The upstream indexes among its layers, or None without any."""
    claims: "NameClaims | None"
    """Decides who may take a new name. None unless `[upstream]` is enabled."""


class IndexBuilder(Struct, frozen=True):
    """
    Builds the indexes of a store.

    One thread at a time may use it: `Indexes` holds a lock while it builds.
    """

    server: "Server[Index]"
    downloads: "dict[str, Downloads]" = {}
    """The download counts by index: an index keeps its counter when its definition changes."""
    packages_of_main: list[_Packages] = []
    """The packages of main, or an empty list before it was built. They belong to the process."""

    def build(
        self, definition: IndexDefinition, layers: UpstreamLayers | None, default_quotas: Quotas
    ) -> Index:
        """
        Return the index of a definition.

        `layers` are its upstream indexes, or None for main. `default_quotas` are those of an index
        without own quotas. When main is built again, it keeps its catalog and its connections.

        Raises Invalid (code `bad_setting`) for a wrong rule. For main, raises Invalid or
        Unavailable if its upstream indexes cannot be used, or the store in which their pages and
        files are kept.
        """
        server = self.server
        name = definition.name
        settings = self.server.settings
        packages = self._packages(definition, layers)
        if not definition.is_main:
            settings = settings_of_index(settings, definition)
        private_names: PrivateNames | None = None
        if packages.claims is not None:
            private_names = packages.claims.names
        is_open = definition.is_open and not settings.access.private

        # A caller has other rights in another index, so each index remembers its own callers.
        authenticator = replace(
            server.authenticator,
            policy=build_policy(settings, server.access, name, is_open=is_open),
            callers=server.authenticator.callers.of_another_index(),
        )
        catalog = packages.catalog
        quotas = default_quotas.overridden_by(definition.quotas)
        quota_check = self._quota_check(name, quotas, packages.search)
        lifecycle = Lifecycle(
            catalog.projects, catalog.files, server.removal, server.runtime, quota_check
        )
        return Index(
            server=server,
            settings=settings,
            definition=definition,
            private_names=private_names,
            catalog=catalog,
            uploads=self._uploads(definition, packages, quota_check),
            search=packages.search,
            rules=self._rules(definition, catalog.files, packages.upstream),
            lifecycle=lifecycle,
            authenticator=authenticator,
            sessions=server.sessions.of_another_index(authenticator),
            downloads=self._downloads(name, catalog),
            upstream=packages.upstream,
        )

    def _packages(self, definition: IndexDefinition, layers: UpstreamLayers | None) -> _Packages:
        """Return the packages of an index, which are made once for main."""
        # Main keeps its packages when its definition changes: commits note themselves in its
        # search table, and its upstream indexes have connections.
        if definition.is_main and self.packages_of_main:
            return self.packages_of_main[0]
        server = self.server
        catalog = server.catalog
        if not definition.is_main:
            catalog = open_index_catalog(
                catalog,
                definition.name,
                server.caching,
                gives_serials=server.gives_serials,
                is_stored=True,
            )
        upstream, claims, public_projects = self._upstream(catalog, definition, layers)
        reader = FactsReader(catalog.projects, catalog.files, server.traits.is_local)
        is_read_only = server.settings.server.read_only
        search = SearchIndex(reader, catalog.changes, public_projects, is_read_only=is_read_only)

        # called in this order after each commit of this process
        catalog.projects.commits.listeners = (
            log_event,
            search.note_commit,
            catalog.serials.note_commit,
        )
        catalog.serials.committed = server.committed
        packages = _Packages(catalog, search, upstream, claims)
        if definition.is_main:
            self.packages_of_main.append(packages)
        return packages

    def _downloads(self, name: str, catalog: Catalog) -> "Downloads | None":
        """
        Return the download counts of an index, with a counter on a server that may write.

        None means that downloads are not counted.
        """
        if not self.server.settings.downloads.count:
            return None
        # no module of download counts is loaded while they are off
        from wheelyard.downloads.counter import DownloadCounter
        from wheelyard.downloads.reading import Downloads

        if name not in self.downloads:
            documents = catalog.stores.documents
            counter: DownloadCounter | None = None
            # a command, or a server that may not write, only reads counts
            if self.server.serves and not self.server.settings.server.read_only:
                counter = DownloadCounter(documents, self.server.runtime)
            self.downloads[name] = Downloads(
                documents,
                self.server.runtime,
                counter,
                is_local=self.server.traits.is_local,
            )
        return self.downloads[name]

    def _uploads(
        self, definition: IndexDefinition, packages: _Packages, quota_check: QuotaCheck | None
    ) -> Uploads:
        """Return the operation of uploads to an index."""
        limits = self.server.settings.uploads
        projects = packages.catalog.projects
        # below the path of another index than main there are no indexes
        index_names: Callable[[], Collection[str]] = _no_names
        if definition.is_main:
            index_names = self.server.definitions.names
        rules = UploadRules(
            max_size=limits.max_file_size * MIB,
            zip_sdists=limits.zip_sdists,
            wheel_variants=limits.wheel_variants,
        )
        return Uploads(
            projects,
            packages.catalog.files,
            self.server.spool,
            self.server.runtime,
            rules,
            TakenNames(index_names),
            definition,
            packages.claims,
            quota_check=quota_check,
            unused=self._unused_index(definition, projects),
            attestations=self._attestation_rules(definition),
            namespaces=self.server.namespaces,
        )

    def _attestation_rules(self, definition: IndexDefinition) -> "AttestationRules | None":
        """Return the rules for attestations of uploads, or None if the settings accept none."""
        settings = self.server.settings.attestations
        verifier = self.server.attestation_verifier
        if verifier is None:
            return None
        # no module of attestations is loaded while they are off
        from wheelyard.operations.upload_attestations import AttestationRules

        publishers = self.server.publishers
        return AttestationRules(
            verifier,
            # called with each upload, as publishers change while servers run
            lambda: publishers.load().all,
            definition.name,
            parse_name_patterns(settings.require),
        )

    def _unused_index(self, definition: IndexDefinition, projects: Projects) -> UnusedIndex | None:
        """Return the check that closes an index while it is unused, or None if it stays open."""
        if not definition.is_closed_while_unused:
            return None
        return UnusedIndex(projects, self.server.definitions.served, self.server.runtime)

    def _quota_check(self, name: str, quotas: Quotas, search: SearchIndex) -> QuotaCheck | None:
        """Return the check of the quotas of an index, or None without any quota."""
        has_quota = quotas.index.is_set or quotas.project.is_set
        if not has_quota:
            return None
        if quotas.index.is_set and not self.server.serves:
            # A server refreshes the search table in a thread, and meanwhile answers with the
            # table before. A command has no table before, so it waits for the usage.
            search.start = _refresh_now
        return QuotaCheck(name, quotas, search)

    def _rules(
        self, definition: IndexDefinition, files: Files, upstream: "UpstreamIndex | None"
    ) -> "IndexRules | None":
        """
        Return the rules of an index, or None if it hides no files.

        Raises Invalid (code `bad_setting`) for a wrong rule.
        """
        if not definition.hides_files:
            return None
        # no module of rules is loaded while no index has any
        from wheelyard.wiring.rule_building import build_rules

        return build_rules(definition, files, upstream, self.server.settings, self.server.runtime)

    def _upstream(
        self, catalog: Catalog, definition: IndexDefinition, layers: UpstreamLayers | None
    ) -> "tuple[UpstreamIndex | None, NameClaims | None, PublicProjects | None]":
        """
        Return the upstream indexes, the claims of new names, and the public projects.

        All three are None unless `[upstream]` is enabled. The first and the last are None if none
        of the layers is an upstream index.
        """
        if not self.server.settings.upstream.is_on:
            return None, None, None

        # no module of upstream indexes is loaded while they are off
        from wheelyard.catalog.private_names import PrivateNames
        from wheelyard.upstream.search_facts import PublicProjectList
        from wheelyard.wiring.upstream import build_upstream, name_claims

        server = self.server
        other_names: _OtherNames | None = None
        if not definition.is_main:
            other_names = _OtherNames(server, definition.name)
        names = PrivateNames(
            catalog.projects,
            parse_name_patterns(server.settings.upstream_private),
            server.stores.documents,
            is_local=server.traits.is_local,
            is_in_namespace=server.namespaces.has,
            index=definition.name,
            other_indexes=other_names,
        )
        if definition.is_main:
            upstream = build_upstream(
                server.settings, catalog, server.spool, server.runtime, server.traits, names
            )
        else:
            # shares the connections and pages of main, and has other private names
            upstream_of_main = server.indexes.main().upstream
            assert upstream_of_main is not None  # noqa: S101 - `[upstream]` is enabled
            upstream = upstream_of_main.with_names(names)

        # asks all upstream indexes: a name that one of them has is free in no index
        claims = name_claims(upstream, server.settings.upstream)
        if layers is not None:
            if not layers.labels:
                return None, claims, None
            upstream = upstream.of_layers(layers)
        return upstream, claims, PublicProjectList(upstream)


def _no_names() -> tuple[str, ...]:
    """Return no name of an index."""
    return ()


def _refresh_now(refresh: Callable[[], None]) -> None:
    """Refresh a search table in this thread, and return when that is done."""
    refresh()
