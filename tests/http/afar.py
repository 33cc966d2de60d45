"""A site whose store is far away: what it signs, and when it answers, is as a test wants it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from threading import Event

from tests.http.apps import running_app
from tests.http.servers import Site
from wheelyard.errors import Unavailable
from wheelyard.http.app import App
from wheelyard.index import index_over
from wheelyard.model.ambient import Ambient
from wheelyard.settings.sections import Settings
from wheelyard.storage.base import Entry, Key, NotModified, ObjectVersion, Store, Stored, WebType
from wheelyard.storage.memory import MemoryStore
from wheelyard.storage.spool import Spool
from wheelyard.storage.timed import Tally
from wheelyard.stores import StoreTraits, real_ambient

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


@dataclass
class FarStore(Store):
    """
    A store that the index takes for one behind a network.

    Args:
        store: What really keeps the objects.
    """

    store: Store = field(default_factory=lambda: MemoryStore(lambda: 0.0))
    url: str | None = None
    """What it says when it is asked to sign."""
    fault: Unavailable | None = None
    """What it raises when it is asked to sign."""
    calls: list[tuple[str, str]] = field(default_factory=list)
    """Every question so far: verb and key."""
    lifetimes: list[timedelta] = field(default_factory=list)
    """How long each URL was to hold."""
    streams: list[Watched] = field(default_factory=list)
    answers: Event = field(default_factory=Event)
    """While it is not set, nothing small is answered."""

    def __post_init__(self) -> None:
        self.answers.set()

    def get(
        self, key: Key, unless_version: ObjectVersion | None = None
    ) -> Stored | NotModified | None:
        """Return a small object, once the store answers."""
        self.calls.append(("get", key))
        assert self.answers.wait(PATIENCE)
        return self.store.get(key, unless_version)

    def read(self, key: Key, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Return a stream that is watched."""
        self.calls.append(("read", key))
        stream = Watched(self.store.read(key, start, stop))
        self.streams.append(stream)
        return stream

    def put(
        self,
        key: Key,
        body: bytes | Path,
        expect: ObjectVersion | None,
        kind: WebType | None = None,
    ) -> ObjectVersion:
        """Write."""
        return self.store.put(key, body, expect, kind)

    def delete(self, key: Key, expect: ObjectVersion | None) -> None:
        """Delete."""
        self.store.delete(key, expect)

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """List."""
        return self.store.list(prefix, after)

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
    ambient: Ambient | None = None,
    tally: Tally | None = None,
) -> Iterator[Site]:
    """Serve an index over `store`, which is far, from a thread of this process."""
    traits = StoreTraits(is_near=False, tally=tally or Tally())
    spool = Spool(folder)
    index = index_over(store, spool, settings or Settings(), ambient or real_ambient(), traits)
    with running_app(App(index), index, folder) as site:
        yield site
