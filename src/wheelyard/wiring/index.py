"""
A package index as a value: its settings and all its parts.

What few callers need is made when it is asked for, and its module is imported only then.
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
    """A private package index: what it has for itself, and the server that it is one of."""

    server: "Server[Index]"
    """What all indexes share."""
    settings: Settings
    """Those of the server, but for its paths, which are those of this index."""
    definition: IndexDefinition
    catalog: Catalog
    """What is stored, also the records that this class has no name for."""
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
    authenticator: Authenticator
    sessions: Sessions
    private_names: "PrivateNames | None" = None
    """Those of its own packages, or of all its layers. None unless `[upstream]` is enabled."""
    downloads: "Downloads | None" = None
    """The counts of downloads, or None if they are not counted."""
    upstream: "UpstreamIndex | None" = None
    """None unless `[upstream]` is enabled, and one of its layers."""

    @property
    def name(self) -> str:
        """The name of the index."""
        return self.definition.name

    def named(self, name: str) -> "Index":
        """
        Return the index of the store that has this name.

        Raises NotFound if there is none. Raises Unavailable if the store does not answer, or what
        it says of the index does not fit (code `wrong_index`).
        """
        if name == self.name:
            return self
        return self.server.indexes.get(name)

    @property
    def repository(self) -> IndexRepository:
        """
        What it shows.

        If that follows from other indexes, raises Unavailable if the store does not say which, and
        NotFound if the index is not served any more.
        """
        return self._own_repository or self.server.indexes.repository(self.name)

    def peek_repository(self) -> IndexRepository | None:
        """
        Return what it shows, or None if a remote store has to be read first.

        If that follows from other indexes, raises Unavailable if the store does not say which, and
        NotFound if the index is not served any more.
        """
        return self._own_repository or self.server.indexes.peek_repository(self.name)

    @property
    def _own_repository(self) -> IndexRepository | None:
        """What it shows, if that follows from no definition of another index."""
        # main has no layers but upstream indexes, which the settings say
        if self.fixed_repository is None and self.definition.is_main:
            return self.server.indexes.repositories.of_main(self)
        return self.fixed_repository

    def as_retained(self) -> "RetainedIndex":
        """Return the index as rules of retention see it."""
        # nothing of it is loaded while there is no rule
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
        Return this index at the end of a day (UTC), which takes no changes.

        Raises NotFound if the day has not begun. Raises Unavailable if the store does not say what
        its layers are.
        """
        if day > self.server.runtime.now().date():
            raise day_to_come(day)
        # the parts that its definition does not decide are those of now, such as who may read it
        definition = replace(self.definition, day=day)
        settings = settings_of_index(self.server.settings, definition)
        return replace(
            self,
            definition=definition,
            settings=replace(settings, server=replace(settings.server, read_only=True)),
            fixed_repository=self.server.indexes.repositories.as_of(self.name, day),
            uploads=replace(self.uploads, definition=definition),
        )

    @property
    def alternatives(self) -> tuple[str, ...]:
        """
        The other indexes, for who finds nothing in main. Another index than main has none.

        There are none either while the store does not say which there are.
        """
        if not self.definition.is_main:
            return ()
        with suppress(Unavailable):
            return tuple(sorted(self.server.definitions.served()))
        return ()

    @property
    def takes_uploads(self) -> bool:
        """Whether clients can publish to it on a server with its settings, as far as is known."""
        if not self.definition.takes_uploads or self.settings.server.read_only:
            return False
        # a page has to be shown also while the store is down
        with suppress(Unavailable):
            return self.uploads.unused is None or not self.uploads.unused.is_closed(LOOK_AGAIN)
        return True

    @property
    def stores(self) -> Stores:
        """Where the objects are."""
        return self.catalog.stores

    @property
    def projects(self) -> Projects:
        """Its own packages."""
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
        """What removes files with their bytes at once."""
        # few need it
        from wheelyard.operations.immediate_deletion import ImmediateDeletion

        return ImmediateDeletion(
            self.projects,
            self.server.removal,
            self.server.indexes.projects_of,
            self.name,
        )

    @property
    def client_projects(self) -> "ClientProjectsReader":
        """What finds the projects that the settings of a client have to name."""
        # few need it
        from wheelyard.operations.names import ClientProjectsReader

        return ClientProjectsReader(
            tuple(own.projects for own in self.repository.own_packages()),
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
        """What decides which projects a caller may read."""
        patterns = self.settings.private_patterns
        has_upstream = self.upstream is not None
        return ReadPolicy(self.authenticator.policy, patterns, has_upstream=has_upstream)

    def may_be_public(self, name: NormalizedName) -> bool:
        """
        Return whether a name is not private, and there is an upstream index that may have it.

        Raises Unavailable if the store does not say whether it is private.
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
