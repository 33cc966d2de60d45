"""Writers of several processes that do what a test gives them, for the explorer."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import enumerate as enumerate_threads

from msgspec.structs import replace

from tests.catalog.explorer import Stage, ticking
from tests.catalog.lone_writers import LoneWriters, Position, Writer, is_immediate
from tests.catalog.scheduler import Call, OrdinalStore
from tests.fake_time import Clock, fake_runtime
from wheelyard.settings.sections import Settings
from wheelyard.storage.base import Store, Stores
from wheelyard.storage.spool import Spool
from wheelyard.wiring.build import build_index
from wheelyard.wiring.index import Index
from wheelyard.wiring.stores import StoreTraits


def opened(
    store: Store, folder: Path, seed: int, clock: Clock | None = None, *, is_server: bool = False
) -> Index:
    """
    Return the main index over a store, as a process has it that has read nothing yet.

    A server knows its upstream indexes. A command takes a layer that there is not for one of them.
    """
    runtime = replace(fake_runtime(clock or Clock(), seed), monotonic=ticking())
    stores, spool, traits = Stores.of(store), Spool(folder), StoreTraits()
    index = build_index(stores, spool, Settings(), runtime, traits, is_server=is_server)
    for thread in enumerate_threads():
        if thread.name == "search-index":  # it reads the store, which is no part of a schedule
            thread.join()
    return index


@dataclass(frozen=True)
class Process:
    """A writer, and which of its calls another one can meet: the others wait for nobody."""

    begin: Writer
    meets: Callable[[Call], bool] = lambda _: True

    def is_immediate(self, call: Call) -> bool:
        """Return whether a call is made together with the one before it."""
        return is_immediate(call) or not self.meets(call)


@dataclass
class Processes:
    """What is there at the start, the writers, and what is promised about them."""

    start: Mapping[str, bytes]
    processes: Mapping[str, Process]
    broken: Callable[[Store, Mapping[str, str]], Iterator[str]]
    """Yields every promise that a state breaks, with these answers."""
    again: Callable[[Store], Iterator[str]]
    """Does it all again, and yields what that does not put right."""
    together: bool = field(default=False, init=False)
    late: bool = False

    @contextmanager
    def stage(self) -> Iterator[Stage]:
        """Yield a stage where every writer waits for its first call."""
        yield LoneWriters(OrdinalStore(self.start), dict(self._beginnings))

    @cached_property
    def _beginnings(self) -> dict[str, Position]:
        start = OrdinalStore(self.start)
        return {
            name: Position(process.begin, start, (), process.is_immediate)
            for name, process in self.processes.items()
        }

    def violations(self, store: Store, answers: Mapping[str, str]) -> Iterator[str]:
        """Yield every promise that this state breaks."""
        yield from (f"{name} met an error" for name in answers if answers[name] == "surprised")
        yield from self.broken(store, answers)

    def unhealed(self, store: Store) -> Iterator[str]:
        """Do it all again with these objects, and yield what that does not put right."""
        yield from self.again(store)
        yield from self.broken(store, {})
