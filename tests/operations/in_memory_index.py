"""A whole index in memory, whose clock stands still until a test moves it."""

from collections.abc import Iterator
from dataclasses import InitVar, dataclass, field
from pathlib import Path
from typing import Final

from packaging.utils import NormalizedName

from tests.distributions import Distribution
from tests.fake_time import Clock, fake_runtime
from tests.index_tables import put_tables
from wheelyard.errors import WheelyardError
from wheelyard.model.access import EVERY_PROJECT, Action, Caller, Scope
from wheelyard.model.index_name import EVERY_INDEX
from wheelyard.model.project import Commit, File
from wheelyard.model.stored_indexes import IndexRemoved
from wheelyard.operations.findings import Findings
from wheelyard.operations.immediate_deletion import RemovedFiles
from wheelyard.settings.sections import Settings
from wheelyard.storage.base import Key, Store, Stored, Stores
from wheelyard.storage.memory import MemoryStore
from wheelyard.storage.spool import Spool
from wheelyard.wiring.build import build_index
from wheelyard.wiring.index import Index
from wheelyard.wiring.stores import StoreTraits

EVERYTHING = Scope(Action.ADMIN.with_implied, (EVERY_PROJECT,), (EVERY_INDEX,))
OPEN_MAIN: Final = {"promote_only": False}
"""The keys by which main takes uploads, also while it is empty beside other indexes."""
ALICE = Caller("local:alice", (EVERYTHING,))


@dataclass
class IndexHarness:
    """An index over a store in memory or another one, its clock, and shortcuts for tests."""

    folder: Path
    clock: Clock = field(default_factory=Clock)
    store: Store = field(init=False)
    index: Index = field(init=False)
    other: InitVar[Store | None] = None

    def __post_init__(self, other: Store | None) -> None:
        self.store = other or MemoryStore(self.clock.seconds)
        self.index = self.opened(seed=1)

    def opened(
        self,
        seed: int,
        store: Store | None = None,
        settings: Settings | None = None,
        *,
        tables: str = "",
        is_local: bool = True,
    ) -> Index:
        """
        Return another index, with empty caches, as a second process has it.

        It is over `store` instead of the harness's, which it takes for remote unless `is_local`.
        Before, `tables` are put into the harness's store.
        """
        spool, runtime = Spool(self.folder), fake_runtime(self.clock, seed)
        traits = StoreTraits(is_local=is_local)
        settings = settings or Settings()
        if tables:
            before = fake_runtime(self.clock, 1000 + seed)
            put_tables(build_index(Stores.of(self.store), spool, settings, before), tables)
        return build_index(Stores.of(store or self.store), spool, settings, runtime, traits)

    def lose(self, name: str) -> None:
        """Take an index out of the store without a look at what it has, and who has it."""
        gone = IndexRemoved(at=self.clock.now, by="local:bo", name=name)
        self.index.server.definitions.records.change(lambda _: (gone,))

    def upload(self, made: Distribution, caller: Caller = ALICE, **claims: str) -> File:
        """Check that the caller may upload this filename, and upload it with such a form."""
        self.index.uploads.authorize(made.filename, caller)
        arrival = made.arrival(self.folder, **claims)
        published = self.index.uploads.accept(arrival, caller)
        project = self.index.projects.get(NormalizedName(published.project))
        return project.by_filename[published.filename]

    def check(self, *, rebuild: bool = False, sweep: bool = False) -> Findings:
        """Check the store, from an index with empty caches."""
        return self.opened(seed=2).server.check.run(rebuild=rebuild, sweep=sweep)

    def bytes_at(self, key: Key) -> bytes:
        """Return the bytes of an object that exists."""
        stored = self.store.get(key)
        assert isinstance(stored, Stored)
        return stored.body

    def snapshot(self, prefix: str = "") -> dict[str, bytes]:
        """Return every object below a prefix, by its key."""
        return dict(objects(self.store, prefix))


def objects(store: Store, prefix: str = "") -> Iterator[tuple[str, bytes]]:
    """Yield every key below a prefix with its bytes."""
    for entry in store.list(prefix):
        yield entry.key, b"".join(store.read(entry.key))


def remove_now(
    index: Index, sha256: str, name: str = "demo", *, everywhere: bool = False
) -> RemovedFiles:
    """Remove the files with a digest from a project for good, as Alice."""
    deletion, project = index.immediate_deletion, NormalizedName(name)
    return deletion.delete(lambda _: ALICE, project, sha256, "", everywhere=everywhere)


def code_of(fault: WheelyardError) -> tuple[str, str]:
    """Return the class name and the code of an error."""
    return type(fault).__name__, fault.code


def history(index: Index, name: NormalizedName) -> list[Commit]:
    """Return every commit of a project."""
    project = index.projects.get(name)
    numbers = range(1, project.revision + 1)
    commits = [index.projects.journal(project).find(number) for number in numbers]
    return [each for each in commits if each is not None]
