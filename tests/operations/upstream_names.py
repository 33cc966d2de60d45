"""An index in memory beside an upstream index, of which only the names matter."""

from dataclasses import dataclass, field

from msgspec.structs import replace
from packaging.utils import NormalizedName

from tests.operations.in_memory_index import IndexHarness
from wheelyard.catalog.private_names import PrivateNames
from wheelyard.errors import Unavailable
from wheelyard.model.access import parse_name_patterns
from wheelyard.operations.names import NameClaims
from wheelyard.settings.sections import Settings
from wheelyard.storage.base import Store
from wheelyard.wiring.index import Index


@dataclass
class PublicNames:
    """The names of an upstream index, and every question that it was asked."""

    names: set[str] = field(default_factory=set)
    is_down: bool = False
    asked: list[str] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)

    def ask(self, name: NormalizedName) -> bool:
        """Return whether there is a public package of this name."""
        self.asked.append(name)
        if self.is_down:
            raise Unavailable("The upstream index does not answer.", code="bad_upstream")
        return name in self.names

    def forget(self, name: NormalizedName) -> None:
        """Note a name that nothing more may be known of."""
        self.forgotten.append(name)


@dataclass
class GuardedHarness(IndexHarness):
    """An index in memory whose new names are compared with those of an upstream index."""

    public: PublicNames = field(default_factory=lambda: PublicNames({"requests"}))
    private: tuple[str, ...] = ("acme-*",)
    shadow: tuple[str, ...] = ()
    asks_upstream: bool = True
    is_local: bool = True
    """Whether the store is taken for one of this machine; if not, what was read is cached."""

    def opened(
        self,
        seed: int,
        store: Store | None = None,
        settings: Settings | None = None,
        *,
        tables: str = "",
        is_local: bool | None = None,
    ) -> Index:
        """Return another index as `IndexHarness` does, which compares new names."""
        local = self.is_local if is_local is None else is_local
        index = super().opened(seed, store, settings, tables=tables, is_local=local)
        names = PrivateNames(
            index.projects,
            parse_name_patterns(self.private),
            index.stores.documents,
            is_local=index.server.is_local,
        )
        claims = NameClaims(
            names=names,
            upstream=self.public,
            shadow=parse_name_patterns(self.shadow),
            asks_upstream=self.asks_upstream,
        )
        return replace(index, uploads=replace(index.uploads, claims=claims))

    @property
    def names(self) -> PrivateNames:
        """The private names, as this index sees them."""
        return names_of(self.index)

    def is_private(self, name: str) -> bool:
        """Return whether a process with empty caches takes a name for private."""
        return names_of(self.opened(seed=4)).is_private(NormalizedName(name))


def names_of(index: Index) -> PrivateNames:
    """Return the private names of an index that has an upstream index."""
    assert index.uploads.claims is not None
    return index.uploads.claims.names
