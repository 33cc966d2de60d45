"""Server processes that count downloads, over one store in memory."""

from collections import Counter
from dataclasses import dataclass, field

from packaging.utils import NormalizedName

from tests.fake_time import Clock, Timers, fake_runtime
from wheelyard.downloads.counter import DownloadCounter
from wheelyard.downloads.folding import SETTLED_SECONDS, fold
from wheelyard.downloads.reading import Downloads
from wheelyard.model.downloads import KEPT_DAYS
from wheelyard.storage.base import Store
from wheelyard.storage.memory import MemoryStore

DEMO = NormalizedName("demo")


@dataclass
class Process:
    """A process that counts, whose timer a test moves."""

    store: Store
    clock: Clock
    seed: int = 1

    def __post_init__(self) -> None:
        self.timers = Timers(self.clock)
        runtime = fake_runtime(self.clock, self.seed)
        self.counter = DownloadCounter(self.store, runtime, self.timers.start)
        self.downloads = Downloads(self.store, runtime, self.counter, is_local=True)

    def note(self, version: str = "1.0", name: str = "demo") -> None:
        """Count a download of a wheel."""
        self.counter.note(NormalizedName(name), version)

    def pass_an_hour(self) -> None:
        """Let an hour pass, and do what was planned for its end."""
        self.clock.advance(hours=1)
        for timer in self.timers.take():
            timer.work()


@dataclass
class CountedStore:
    """A store in memory, its clock, and what another process finds in it."""

    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.memory = MemoryStore(self.clock.seconds)

    def process(self, seed: int = 1, store: Store | None = None) -> Process:
        """Return a process of this store, or of another one around it."""
        return Process(store or self.memory, self.clock, seed)

    def fold(self, store: Store | None = None) -> None:
        """Add the batches up, as a sweep does when all of them are old enough."""
        self.clock.advance(seconds=SETTLED_SECONDS + 1)
        fold(store or self.memory, self.clock.seconds())

    def listed(self) -> list[str]:
        """Return the keys of all objects."""
        return [entry.key for entry in self.memory.list("")]

    def versions(self) -> Counter[str]:
        """Return how often each version was downloaded, as a new process reads it."""
        report, _ = self.process(seed=99).downloads.report(DEMO, KEPT_DAYS)
        return Counter({count.version: count.downloads for count in report.versions})
