"""
Builds each index of a store: main, and others.

What is not configured is not imported.
"""

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from wheelyard.catalog.files import Files
from wheelyard.catalog.opening import Catalog, open_index
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
    Returns what knows the private names of the other indexes that an index is made from.

    One whose own packages it does not show, as a layer has lost them, counts as well: a stranger's
    package must not take their place.
    """

    server: "Server[Index]"
    name: str

    def __call__(self) -> "list[PrivateNames]":
        """Return one for each of them. Raises Unavailable if the store does not answer."""
        # its own names would ask these again, in a circle
        below = self.server.indexes.below(self.name)
        indexes = [index for index in below if index.name != self.name]
        return [index.private_names for index in indexes if index.private_names is not None]


class _Packages(Struct, frozen=True):
    """What an index has of its own and from upstream indexes, whatever else its definition says."""

    catalog: Catalog
    search: SearchIndex
    upstream: "UpstreamIndex | None"
    """None without any upstream index among its layers."""
    claims: "NameClaims | None"
    """What decides who may take a new name, or None unless `[upstream]` is enabled."""


class IndexBuilder(Struct, frozen=True):
    """
    Builds the indexes of a store.

    One thread at a time may use it: `Indexes` holds a lock while it builds.
    """

    server: "Server[Index]"
    downloads: "dict[str, Downloads]" = {}
    """The counts of downloads by index: another definition of an index must not end its counter."""
    of_main: list[_Packages] = []
    """What main has, once it was built: it belongs to the process, whatever main is by then."""

    def build(
        self, definition: IndexDefinition, layers: UpstreamLayers | None, defaults: Quotas
    ) -> Index:
        """
        Return the index of a definition.

        `layers` are its upstream indexes, or None for main. `defaults` are the quotas of an index
        without its own. When main is built again, it keeps its catalog and its connections.

        Raises Invalid (code `bad_setting`) for a wrong rule. For main, raises Invalid or
        Unavailable if its upstream indexes, or the place of what is kept of them, cannot be used.
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

        # A caller who was just recognised in one index has other rights in another one, so each
        # remembers its own callers.
        authenticator = replace(
            server.authenticator,
            policy=build_policy(settings, server.access, name, is_open=is_open),
            callers=server.authenticator.callers.of_another_index(),
        )
        catalog = packages.catalog
        quotas = self._quotas(name, defaults.overridden_by(definition.quotas), packages.search)
        return Index(
            server=server,
            settings=settings,
            definition=definition,
            private_names=private_names,
            catalog=catalog,
            uploads=self._uploads(definition, packages, quotas),
            search=packages.search,
            rules=self._rules(definition, catalog.files, packages.upstream),
            lifecycle=Lifecycle(
                catalog.projects, catalog.files, server.removal, server.runtime, quotas
            ),
            authenticator=authenticator,
            sessions=server.sessions.of_another_index(authenticator),
            downloads=self._downloads(name, catalog),
            upstream=packages.upstream,
        )

    def _packages(self, definition: IndexDefinition, layers: UpstreamLayers | None) -> _Packages:
        """Return what an index has of its own and from upstream indexes."""
        # Main keeps its own when its definition changes: commits note themselves in its search
        # table, and its upstream indexes have connections.
        if definition.is_main and self.of_main:
            return self.of_main[0]
        server = self.server
        catalog = server.catalog
        if not definition.is_main:
            catalog = open_index(
                catalog,
                definition.name,
                server.caching,
                gives_serials=server.gives_serials,
                is_stored=True,
            )
        upstream, claims, public = self._upstream(catalog, definition, layers)
        reader = FactsReader(catalog.projects, catalog.files, server.traits.is_local)
        search = SearchIndex(
            reader, catalog.changes, public, is_read_only=server.settings.server.read_only
        )

        # called in this order after each commit of this process
        catalog.projects.commits.listeners = (
            log_event,
            search.note_commit,
            catalog.serials.note_commit,
        )
        catalog.serials.committed = server.committed
        packages = _Packages(catalog, search, upstream, claims)
        if definition.is_main:
            self.of_main.append(packages)
        return packages

    def _downloads(self, name: str, catalog: Catalog) -> "Downloads | None":
        """Return the counts of an index, to which a server that may write adds, or None if off."""
        if not self.server.settings.downloads.count:
            return None
        # nothing of it is loaded while it is off
        from wheelyard.downloads.counter import DownloadCounter
        from wheelyard.downloads.reading import Downloads

        if name not in self.downloads:
            documents = catalog.stores.documents
            counter: DownloadCounter | None = None
            # a command, or a server that may not write, only reads what others have counted
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
        self, definition: IndexDefinition, packages: _Packages, quotas: QuotaCheck | None
    ) -> Uploads:
        """Return the operation of uploads to an index."""
        limits = self.server.settings.uploads
        projects = packages.catalog.projects
        other_names: Callable[[], Collection[str]] = _no_names
        if definition.is_main:
            other_names = self.server.definitions.names
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
            TakenNames(other_names),
            definition,
            packages.claims,
            quota_check=quotas,
            unused=self._unused(definition, projects),
            attestations=self._attestations(definition),
            namespaces=self.server.namespaces,
        )

    def _attestations(self, definition: IndexDefinition) -> "AttestationRules | None":
        """Return what decides about attestations of uploads, or None while none are kept."""
        settings = self.server.settings.attestations
        verifier = self.server.attestation_verifier
        if verifier is None:
            return None
        # nothing of it is loaded while it is off
        from wheelyard.operations.upload_attestations import AttestationRules

        # asked with each upload, as publishers change while servers run
        publishers = self.server.publishers
        return AttestationRules(
            verifier,
            lambda: publishers.load().all,
            definition.name,
            parse_name_patterns(settings.require),
        )

    def _unused(self, definition: IndexDefinition, projects: Projects) -> UnusedIndex | None:
        """Return what closes an index that nobody has used, or None if nothing does."""
        if not definition.is_closed_while_unused:
            return None
        return UnusedIndex(projects, self.server.definitions.served, self.server.runtime)

    def _quotas(self, name: str, quotas: Quotas, search: SearchIndex) -> QuotaCheck | None:
        """Return what checks the quotas of an index, or None without any."""
        if not (quotas.index.is_set or quotas.project.is_set):
            return None
        if quotas.index.is_set and not self.server.serves:
            # A server reads the table in a thread of its own, and answers with the one before. A
            # command has none before, so it waits for the usage.
            search.start = lambda refresh: refresh()
        return QuotaCheck(name, quotas, search)

    def _rules(
        self, definition: IndexDefinition, files: Files, upstream: "UpstreamIndex | None"
    ) -> "IndexRules | None":
        """
        Return what applies the rules of an index, or None without any.

        Raises Invalid (code `bad_setting`) for a wrong rule.
        """
        if not definition.hides_files:
            return None
        # nothing of it is loaded while no index has rules
        from wheelyard.wiring.rule_building import build_rules

        return build_rules(definition, files, upstream, self.server.settings, self.server.runtime)

    def _upstream(
        self, catalog: Catalog, definition: IndexDefinition, layers: UpstreamLayers | None
    ) -> "tuple[UpstreamIndex | None, NameClaims | None, PublicProjects | None]":
        """
        Return the upstream indexes, what decides who may take a new name, and the public projects.

        They are None without any upstream index.
        """
        if not self.server.settings.upstream.is_on:
            return None, None, None

        # nothing of it is loaded without an upstream index
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
            # the connections and pages of main, seen with other private names
            upstream_of_main = server.indexes.main().upstream
            assert upstream_of_main is not None  # noqa: S101 - `[upstream]` is enabled
            upstream = upstream_of_main.with_names(names)

        # a name that any upstream index has is free in no index
        claims = name_claims(upstream, server.settings.upstream)
        if layers is not None:
            if not layers.labels:
                return None, claims, None
            upstream = upstream.of_layers(layers)
        return upstream, claims, PublicProjectList(upstream)


def _no_names() -> tuple[str, ...]:
    """Return no name: below the path of an index there is no other index."""
    return ()
