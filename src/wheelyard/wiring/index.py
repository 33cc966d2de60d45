"""
A package index as a value: its settings and all its parts.

A part that few callers need is made when a caller asks for it, and its module is imported only
then.
"""

from contextlib import suppress
from datetime import date
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.authentication.api_tokens import ApiTokens
from wheelyard.authentication.authenticator import Authenticator
from wheelyard.authentication.authorization import ReadPolicy
from wheelyard.authentication.caller_tokens import CallerTokens
from wheelyard.authentication.sessions import Sessions
from wheelyard.catalog.changes import Changes
from wheelyard.catalog.files import Files
from wheelyard.catalog.opening import Catalog
from wheelyard.catalog.projects import Projects
from wheelyard.catalog.serials import ProjectSerials
from wheelyard.errors import Unavailable
from wheelyard.model.index_definition import IndexDefinition
from wheelyard.model.index_name import day_to_come
from wheelyard.operations.lifecycle import Lifecycle
from wheelyard.operations.names import Names
from wheelyard.operations.search.project_table import FactsReader
from wheelyard.operations.search.search_index import SearchIndex
from wheelyard.operations.unused_index import LOOK_AGAIN
from wheelyard.operations.uploads import Uploads
from wheelyard.repository.index_repository import IndexRepository
from wheelyard.settings.sections import Settings
from wheelyard.storage.base import Stores

if TYPE_CHECKING:
    from wheelyard.catalog.private_names import PrivateNames
    from wheelyard.downloads.reading import Downloads
    from wheelyard.operations.immediate_deletion import ImmediateDeletion
    from wheelyard.operations.names import ClientProjectsReader
    from wheelyard.repository.index_rules import IndexRules
    from wheelyard.retention.runs import RetainedIndex
    from wheelyard.upstream.indexes import UpstreamIndex
    from wheelyard.wiring.server import Server


class Index(Struct, frozen=True, kw_only=True, dict=True):
    """A private package index: its own parts, and the server that has the shared ones."""

    server: "Server[Index]"
    """The parts that all indexes share."""
    settings: Settings
    """The settings of the server, with the paths of this index."""
    definition: IndexDefinition
    catalog: Catalog
    """The stored documents, also those for which this class has no property."""
    uploads: Uploads
    search: SearchIndex
    """The search table of own packages, and of public ones if a layer is an upstream index."""
    rules: "IndexRules | None" = None
    """The rules that hide files of its layers, or None if all files are shown."""
    fixed_repository: IndexRepository | None = None
    """
    The packages that it shows at the end of a day, in a static site, or during one request.

    None means: those that it shows by the definitions that are current when somebody asks.
    """
    lifecycle: Lifecycle
    authenticator: Authenticator
    sessions: Sessions
    private_names: "PrivateNames | None" = None
    """The private names of the index and its layers. None unless `[upstream]` is enabled."""
    downloads: "Downloads | None" = None
    """The counts of downloads, or None if they are not counted."""
    upstream: "UpstreamIndex | None" = None
    """The upstream indexes among its layers, or None without any."""

    @property
    def name(self) -> str:
        """The name of the index."""
        return self.definition.name

    def named(self, name: str) -> "Index":
        """
        Return the index of the store that has this name.

        Raises NotFound if there is no such index. Raises Unavailable if the store does not answer,
        or the definition of the index does not fit (code `wrong_index`).
        """
        if name == self.name:
            return self
        return self.server.indexes.get(name)

    @property
    def repository(self) -> IndexRepository:
        """
        The packages that the index shows.

        For an index beside main, raises Unavailable if the store does not say which layers it has,
        and NotFound if it is not served any more.
        """
        return self._independent_repository or self.server.indexes.repository(self.name)

    def peek_repository(self) -> IndexRepository | None:
        """
        Return the packages that the index shows, or None if a remote store has to be read first.

        For an index beside main, raises Unavailable if the store does not say which layers it has,
        and NotFound if it is not served any more.
        """
        return self._independent_repository or self.server.indexes.peek_repository(self.name)

    @property
    def _independent_repository(self) -> IndexRepository | None:
        """The packages that the index shows, if they depend on no definition of another index."""
        # the layers of main are its own packages and upstream indexes, which the settings name
        if self.fixed_repository is None and self.definition.is_main:
            return self.server.indexes.repositories.of_main(self)
        return self.fixed_repository

    def as_retained(self) -> "RetainedIndex":
        """Return the index as rules of retention see it."""
        # no module of retention is loaded while there is no rule
        from wheelyard.retention.runs import RetainedIndex

        return RetainedIndex(
            name=self.name,
            has_packages=self.definition.has_packages,
            lifecycle=self.lifecycle,
            reader=FactsReader(self.projects, self.files, self.server.traits.is_local),
            last_downloads=self.server.last_downloads,
        )

    def as_of(self, day: date) -> "Index":
        """
        Return this index as it was at the end of a day (UTC), which takes no changes.

        Raises NotFound if the day has not begun. Raises Unavailable if the store does not say which
        layers the index has.
        """
        if day > self.server.runtime.now().date():
            raise day_to_come(day)
        # the other parts are those of now: the rights to read, for example
        definition = replace(self.definition, day=day)
        settings = settings_of_index(self.server.settings, definition)
        read_only_server = replace(settings.server, read_only=True)
        return replace(
            self,
            definition=definition,
            settings=replace(settings, server=read_only_server),
            fixed_repository=self.server.indexes.repositories.as_of(self.name, day),
            uploads=replace(self.uploads, definition=definition),
        )

    @property
    def alternatives(self) -> tuple[str, ...]:
        """
        The names of the other indexes, of which main tells people who find nothing in it.

        The tuple is empty for an index beside main, and while the store does not say which indexes
        there are.
        """
        if not self.definition.is_main:
            return ()
        with suppress(Unavailable):
            return tuple(sorted(self.server.definitions.served()))
        return ()

    @property
    def takes_uploads(self) -> bool:
        """Whether clients can publish to the index, or True if the store does not say."""
        if not self.definition.takes_uploads or self.settings.server.read_only:
            return False
        if self.uploads.unused is None:
            return True
        # a page has to be shown also while the store is down
        with suppress(Unavailable):
            return not self.uploads.unused.is_closed(LOOK_AGAIN)
        return True

    @property
    def stores(self) -> Stores:
        """The stores with the objects of the index."""
        return self.catalog.stores

    @property
    def projects(self) -> Projects:
        """The own packages of the index."""
        return self.catalog.projects

    @property
    def files(self) -> Files:
        """The bytes of files, which all indexes share."""
        return self.catalog.files

    @property
    def tokens(self) -> ApiTokens:
        """The API tokens, which all indexes share."""
        return self.authenticator.tokens

    @property
    def changes(self) -> Changes:
        """The feed of all changes of projects."""
        return self.catalog.changes

    @property
    def serials(self) -> ProjectSerials:
        """The serials of projects, for mirrors."""
        return self.catalog.serials

    @property
    def caller_tokens(self) -> CallerTokens:
        """The API tokens on behalf of callers."""
        authenticator = self.authenticator
        return CallerTokens(self.tokens, authenticator.policy, authenticator.owners)

    @property
    def immediate_deletion(self) -> "ImmediateDeletion":
        """The operation that deletes files together with their bytes."""
        # few processes delete in this way
        from wheelyard.operations.immediate_deletion import ImmediateDeletion

        return ImmediateDeletion(
            self.projects,
            self.server.removal,
            self.server.indexes.projects_of,
            self.name,
        )

    @property
    def client_projects(self) -> "ClientProjectsReader":
        """The reader that finds the projects that the settings of a client have to name."""
        # few processes need it
        from wheelyard.operations.names import ClientProjectsReader

        shown_projects = tuple(layer.projects for layer in self.repository.own_packages())
        return ClientProjectsReader(
            shown_projects,
            self.files,
            self.settings.private_patterns,
            is_local=self.server.traits.is_local,
            has_upstream=self.upstream is not None,
        )

    @property
    def names(self) -> Names:
        """The registry of private names."""
        return Names(self.projects, self.server.runtime, self.uploads.taken)

    @property
    def read_policy(self) -> ReadPolicy:
        """The policy by which a caller may read projects."""
        patterns = self.settings.private_patterns
        has_upstream = self.upstream is not None
        return ReadPolicy(self.authenticator.policy, patterns, has_upstream=has_upstream)

    def may_be_public(self, name: NormalizedName) -> bool:
        """
        Return whether the index has an upstream index, and a name is not private.

        Raises Unavailable if the store does not say whether the name is private.
        """
        return self.upstream is not None and not self.upstream.names.is_private(name)


def settings_of_index(settings: Settings, definition: IndexDefinition) -> Settings:
    """Return the settings of the server with the paths of an index."""
    server = settings.server
    segment = definition.segment
    url = ""
    if server.public_url:
        url = f"{server.public_url.rstrip('/')}{segment}"
    # the other roots are paths of the whole server
    paths = replace(server, path_prefix=server.path_prefix + segment, public_url=url, roots=())
    return replace(settings, server=paths)
