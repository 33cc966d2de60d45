"""A site whose store is far away: what it signs, and when it answers, is as a test wants it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from threading import Event

from tests.http.servers import Site, running_app
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Unavailable
from wheelyard.http.app import App
from wheelyard.settings.sections import Settings
from wheelyard.storage.base import Found, Key, ObjectVersion, Store
from wheelyard.storage.instrumented import OperationCounter
from wheelyard.storage.memory import MemoryStore
from wheelyard.storage.spool import Spool
from wheelyard.wiring.index import build_index
from wheelyard.wiring.stores import StoreTraits, system_runtime

PATIENCE = 30.0


@dataclass
class Watched:
    """A stream that tells how far it was read, and whether it was closed."""

    chunks: Iterator[bytes]
    size: int = 0
    """Bytes that were read."""
    is_closed: bool = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        chunk = next(self.chunks)
        self.size += len(chunk)
        return chunk

    def close(self) -> None:
        """Note that somebody has closed it."""
        self.is_closed = True


class FarStore(MemoryStore):
    """
    A store that the index takes for one behind a network.

    Args:
        url: What it says when it is asked to sign.
        fault: What it raises when it is asked to sign.
    """

    def __init__(self, url: str | None = None, fault: Unavailable | None = None) -> None:
        super().__init__(lambda: 0.0)
        self.url, self.fault = url, fault
        self.calls: list[tuple[str, str]] = []
        """Every question so far: verb and key."""
        self.lifetimes: list[timedelta] = []
        """How long each URL was to hold."""
        self.streams: list[Watched] = []
        self.answers = Event()
        """While it is not set, nothing small is answered."""
        self.answers.set()

    def get(self, key: Key, unless_version: ObjectVersion | None = None) -> Found:
        """Return a small object, once the store answers."""
        self.calls.append(("get", key))
        assert self.answers.wait(PATIENCE)
        return super().get(key, unless_version)

    def read(self, key: Key, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Return a stream that is watched."""
        self.calls.append(("read", key))
        self.streams.append(Watched(super().read(key, start, stop)))
        return self.streams[-1]

    def sign(self, key: Key, lifetime: timedelta) -> str | None:
        """Return what the test wants, or fail as it wants."""
        self.calls.append(("sign", key))
        self.lifetimes.append(lifetime)
        if self.fault is not None:
            raise self.fault
        return self.url

    def asked(self, verb: str, prefix: str = "") -> int:
        """Return how often there was a question about keys with a prefix."""
        return sum(each == verb and key.startswith(prefix) for each, key in self.calls)


@contextmanager
def far_site(
    folder: Path,
    store: Store,
    settings: Settings | None = None,
    *,
    runtime: Runtime | None = None,
    tally: OperationCounter | None = None,
) -> Iterator[Site]:
    """Serve an index over `store`, which is far, from a thread of this process."""
    traits = StoreTraits(is_local=False, tally=tally or OperationCounter())
    spool = Spool(folder)
    index = build_index(store, spool, settings or Settings(), runtime or system_runtime(), traits)
    with running_app(App(index), index, folder) as site:
        yield site
