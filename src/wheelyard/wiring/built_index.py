"""
What the parts that all indexes of a process share know of an index.

An `Index` has the `Server` that it is one of, and a server finds its indexes. So that both modules
do not import each other, a server and what it is made of know an index by this protocol alone, and
`Server[Index]` is the type of the servers of this program.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

from packaging.utils import NormalizedName

from wheelyard.catalog.files import Files
from wheelyard.catalog.opening import Catalog
from wheelyard.catalog.projects import Projects
from wheelyard.model.index_definition import IndexDefinition, UpstreamLayers
from wheelyard.model.quotas import Quotas
from wheelyard.operations.search.search_index import SearchIndex
from wheelyard.repository.index_repository import IndexRepository

if TYPE_CHECKING:
    from wheelyard.downloads.reading import Downloads
    from wheelyard.repository.index_rules import IndexRules
    from wheelyard.retention.runs import RetainedIndex
    from wheelyard.upstream.indexes import UpstreamIndex


class BuiltIndex(Protocol):
    """An index, as a server and what puts repositories together know it."""

    @property
    def name(self) -> str:
        """The name of the index."""

    @property
    def definition(self) -> IndexDefinition:
        """What the store says of the index."""

    @property
    def catalog(self) -> Catalog:
        """What is stored of the index."""

    @property
    def projects(self) -> Projects:
        """Its own packages."""

    @property
    def files(self) -> Files:
        """The bytes of files, which all indexes share."""

    @property
    def search(self) -> SearchIndex:
        """The table of its own packages, and of public ones if upstream is one of its layers."""

    @property
    def rules(self) -> "IndexRules | None":
        """What decides which files of its layers it shows, or None if all are shown."""

    @property
    def upstream(self) -> "UpstreamIndex | None":
        """Its upstream indexes, or None without any."""

    @property
    def downloads(self) -> "Downloads | None":
        """The counts of downloads, or None if they are not counted."""

    @property
    def repository(self) -> IndexRepository:
        """What it shows. Raises Unavailable if the store does not say which layers it has."""

    def as_retained(self) -> "RetainedIndex":
        """Return the index as rules of retention see it."""

    def may_be_public(self, name: NormalizedName) -> bool:
        """Return whether a name is not private, and there is an upstream index that may have it."""


IndexT = TypeVar("IndexT", bound=BuiltIndex)
BuildIndex = Callable[[IndexDefinition, UpstreamLayers | None, Quotas], IndexT]
"""
Builds the index of a definition.

Its upstream indexes come with it, or None for main, and the quotas of an index without its own.
"""
