"""Two indexes of one store, `dev` and `prod`, between which releases are promoted."""

from dataclasses import dataclass, field

from msgspec.structs import replace
from packaging.utils import NormalizedName
from packaging.version import Version

from tests.distributions import Distribution
from tests.index_tables import toml_of
from tests.operations.in_memory_index import ALICE, IndexHarness
from wheelyard.model.access import Caller
from wheelyard.model.project import File, Project
from wheelyard.operations.promotion import IndexSide, Promoted, Promotion
from wheelyard.settings.sections import Settings
from wheelyard.storage.base import Store
from wheelyard.wiring.index import Index

DEMO = NormalizedName("demo")
ONE = Version("1.0")
BO = replace(ALICE, principal="local:bo")
CY = replace(ALICE, principal="local:cy")


@dataclass
class TwoIndexes:
    """The indexes `dev` and `prod` of a store in memory."""

    harness: IndexHarness
    rules: dict[str, object] = field(default_factory=dict)
    """What `prod` demands of a release: keys of its table."""
    store: Store | None = None
    """The store, through which the store of the harness is seen, or None for that itself."""
    seed: int = 10
    settings: Settings = field(default_factory=Settings)
    """Those of the server."""
    dev: Index = field(init=False)
    prod: Index = field(init=False)

    def __post_init__(self) -> None:
        tables = toml_of(index=({"name": "dev"}, {"name": "prod", **self.rules}))
        root = self.harness.opened(self.seed, self.store, self.settings, tables=tables)
        self.dev, self.prod = root.named("dev"), root.named("prod")

    def reopened(self, store: Store | None = None) -> "TwoIndexes":
        """Return the same indexes with empty caches, perhaps through another store."""
        return TwoIndexes(self.harness, self.rules, store, self.seed + 20)

    def upload(
        self, made: Distribution, index: Index | None = None, caller: Caller = ALICE
    ) -> None:
        """Upload a distribution to `dev`, or to another one."""
        (index or self.dev).uploads.accept(made.arrival(self.harness.folder), caller)

    def promotion(self, caller: Caller = ALICE, source_caller: Caller | None = None) -> Promotion:
        """Return the promotion from `dev` to `prod` by a caller."""
        return Promotion(
            IndexSide(uploads=self.dev.uploads, caller=source_caller or caller),
            IndexSide(uploads=self.prod.uploads, caller=caller),
            self.dev.server.runtime,
        )

    def promote(
        self, version: str = "1.0", caller: Caller = ALICE, *, dry_run: bool = False
    ) -> Promoted:
        """Promote a release of demo to `prod`."""
        return self.promotion(caller).promote(DEMO, Version(version), dry_run=dry_run)

    def listed(self, index: Index | None = None) -> dict[str, File]:
        """Return the files of demo in `prod`, or in another index."""
        return (index or self.prod).projects.read_for_update(DEMO).by_filename

    @property
    def sources(self) -> Project:
        """The project demo in `dev`."""
        return self.dev.projects.read_for_update(DEMO)
