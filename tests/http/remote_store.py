"""A remote store whose signatures, errors and delays a test controls, and a server over it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from threading import Event

from tests.http.servers import RunningServer, memory_index, running_app
from tests.waiting import TIMEOUT_SECONDS
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Unavailable
from wheelyard.settings.sections import Settings
from wheelyard.storage.base import Found, Key, ObjectVersion, Store
from wheelyard.storage.forwarding import OperationCounter
from wheelyard.storage.memory import MemoryStore
from wheelyard.wiring.stores import StoreTraits


@dataclass
class TrackedStream:
    """A stream that counts the bytes read from it, and records whether it was closed."""

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
        """Record that the stream was closed."""
        self.is_closed = True


class RemoteStore(MemoryStore):
    """
    A store in memory that the index treats as remote.

    Not a `FakeStore`, as it makes up what memory lacks: signed URLs, and streams that are watched.

    Args:
        url: The signed URL that it returns.
        fault: The error that it raises instead of signing.
    """

    def __init__(self, url: str | None = None, fault: Unavailable | None = None) -> None:
        super().__init__(lambda: 0.0)
        self.url, self.fault = url, fault
        self.calls: list[tuple[str, str]] = []
        """Every call so far: verb and key."""
        self.lifetimes: list[timedelta] = []
        """The lifetime of each signed URL."""
        self.streams: list[TrackedStream] = []
        self.answers = Event()
        """While it is not set, reads of small objects block."""
        self.answers.set()

    def get(self, key: Key, unless: ObjectVersion | None = None) -> Found:
        """Return a small object, once the store answers."""
        self.calls.append(("get", key))
        assert self.answers.wait(TIMEOUT_SECONDS)
        return super().get(key, unless)

    def read(self, key: Key, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Return a stream that is watched."""
        self.calls.append(("read", key))
        self.streams.append(TrackedStream(super().read(key, start, stop)))
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
def remote_server(
    folder: Path,
    store: Store,
    settings: Settings | None = None,
    *,
    runtime: Runtime | None = None,
    operation_counter: OperationCounter | None = None,
) -> Iterator[RunningServer]:
    """Serve an index over the remote `store`, from a thread of this process."""
    traits = StoreTraits(is_local=False, operation_counter=operation_counter or OperationCounter())
    index = memory_index(folder, settings, runtime, store=store, traits=traits)
    with running_app(index, folder) as server:
        yield server
