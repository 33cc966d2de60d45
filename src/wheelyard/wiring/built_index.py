"""
The protocol by which a server knows its indexes.

An `Index` has its `Server`, and a server finds its indexes. So that the two modules do not import
each other, a server and its parts know an index by this protocol alone, and `Server[Index]` is the
type of the servers of this program.
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
    """An index, as a server and its repositories know it."""

    @property
    def name(self) -> str:
        """The name of the index."""

    @property
    def definition(self) -> IndexDefinition:
        """The definition of the index in the store."""

    @property
    def catalog(self) -> Catalog:
        """The stored documents of the index."""

    @property
    def projects(self) -> Projects:
        """The own packages of the index."""

    @property
    def files(self) -> Files:
        """The bytes of files, which all indexes share."""

    @property
    def search(self) -> SearchIndex:
        """The search table of own packages, and of public ones if a layer is an upstream index."""

    @property
    def rules(self) -> "IndexRules | None":
        """The rules that hide files of its layers, or None if all files are shown."""

    @property
    def upstream(self) -> "UpstreamIndex | None":
        """The upstream indexes among its layers, or None without any."""

    @property
    def downloads(self) -> "Downloads | None":
        """The counts of downloads, or None if they are not counted."""

    @property
    def repository(self) -> IndexRepository:
        """
        The packages that the index shows.

        Raises Unavailable if the store does not say which layers the index has.
        """

    def as_retained(self) -> "RetainedIndex":
        """Return the index as rules of retention see it."""

    def may_be_public(self, name: NormalizedName) -> bool:
        """Return whether the index has an upstream index, and a name is not private."""


IndexT = TypeVar("IndexT", bound=BuiltIndex)
BuildIndex = Callable[[IndexDefinition, UpstreamLayers | None, Quotas], IndexT]
"""
Builds an index from its definition, its upstream layers, and the default quotas.

The upstream layers are None for main. The default quotas are for an index without own quotas.
"""
