"""
A bucket in memory that counts operations, and server instances that scale to zero, in this process.

Each call of the store is counted as the operations that `storage/gcs` needs for it; a test compares
both. The clock is the simulation's, so that a month passes without waiting.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from random import Random
from threading import Lock

from benchmarks.stores import BOUNDARY
from tests.fake_time import Clock, fake_runtime
from tests.http.in_process import InProcessResponse, InProcessServer
from wheelyard.catalog.format import read_format, rewrite_format
from wheelyard.http.app import App
from wheelyard.operations.check_store import StoreProbe
from wheelyard.settings.sections import Settings
from wheelyard.storage.base import (
    Entry,
    Found,
    Key,
    ObjectVersion,
    Store,
    Stores,
    WebType,
)
from wheelyard.storage.memory import MemoryStore
from wheelyard.storage.spool import Spool
from wheelyard.wiring.build import build_index
from wheelyard.wiring.index import Index
from wheelyard.wiring.stores import StoreTraits

LIST_PAGE = 1000
"""Objects in one operation that lists."""

Headers = tuple[tuple[str, str], ...]


class CountedBucket(MemoryStore):
    """A store in memory that counts operations by price class and by the first part of the key."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock.seconds)
        self.operations: Counter[tuple[str, str]] = Counter()
        self._counting = Lock()

    def count(self, price_class: str, key: str, times: int = 1) -> None:
        """Count operations on a key or a prefix."""
        with self._counting:
            self.operations[price_class, _kind_of(key)] += times

    def get(self, key: Key, unless: ObjectVersion | None = None) -> Found:
        """See `Store`."""
        self.count("B", key)
        return super().get(key, unless)

    def read(self, key: Key, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """See `Store`."""
        self.count("B", key)
        return super().read(key, start, stop)

    def put(
        self, key: Key, body: bytes, expect: ObjectVersion | None, kind: WebType | None = None
    ) -> ObjectVersion:
        """See `Store`."""
        self.count("A", key)
        return super().put(key, body, expect, kind)

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """See `Store`."""
        self.count("A", prefix)
        for number, entry in enumerate(super().list(prefix, after)):
            if number and number % LIST_PAGE == 0:
                self.count("A", prefix)
            yield entry

    def sign(self, key: Key, lifetime: timedelta) -> str | None:
        """See `Store`; a client that follows the URL is counted by the caller."""
        del lifetime
        return f"https://bucket.example/{key}"


class Instance:
    """A server that starts with the first request, and ends `idle_seconds` after the last one."""

    def __init__(
        self, bucket: Store, clock: Clock, folder: Path, seed: int, idle_seconds: float = 900.0
    ) -> None:
        self.starts = 0
        self._bucket = bucket
        self._clock = clock
        self._folder = folder
        self._idle_seconds = idle_seconds
        self._random = Random(seed)
        self._last_request = 0.0
        self._server: InProcessServer | None = None

    def request(
        self, loop: asyncio.Runner, target: str, headers: Headers, body: bytes = b""
    ) -> InProcessResponse:
        """Send a GET, or a POST of `body`, at the clock's time; return the response."""
        now = self._clock.seconds()
        if self._server is None or now - self._last_request > self._idle_seconds:
            self.stop()
            self._server = self._start(loop)
        self._last_request = now
        if not body:
            return self._server.get(target, *headers)
        return self._server.get(target, *headers, *_form_headers(body), method="POST", body=[body])

    def stop(self) -> None:
        """End the server, if it runs: all that it has cached is gone."""
        if self._server is not None:
            self._server.tell("lifespan", "lifespan.shutdown")
            self._server = None

    def _start(self, loop: asyncio.Runner) -> InProcessServer:
        """Do what `wheelyard serve` does with a bucket before it listens."""
        self.starts += 1
        read_format(self._bucket)  # it may name a bucket for the files
        index = self.index()
        index.tokens.any_active()
        probe = StoreProbe(
            [lambda: rewrite_format(index.stores.documents, index.server.retries)],
            index.server.runtime,
        )
        probe.run()
        app = App(index, write_failure=lambda: probe.reason)
        return InProcessServer(app, index, self._folder, self._clock, loop)

    def index(self) -> Index:
        """Return an index on the bucket with nothing in its caches."""
        runtime = fake_runtime(self._clock, self._random.getrandbits(32))
        traits = StoreTraits(is_local=False)
        return build_index(
            Stores.of(self._bucket), Spool(self._folder), Settings(), runtime, traits
        )


def _form_headers(body: bytes) -> Headers:
    """Return the headers of an upload's form."""
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    return (("Content-Type", kind), ("Content-Length", str(len(body))))


def _kind_of(key: str) -> str:
    """Return what an object is: the first part of its key, and whether it is core metadata."""
    if key.endswith(".metadata"):
        return "core metadata"
    parts = key.split("/")
    return "/".join(parts[:2]) if parts[0] == "credentials" else parts[0]
