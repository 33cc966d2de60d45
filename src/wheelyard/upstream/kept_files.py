"""
What the store keeps of public packages, how large it is, and what is removed.

The sweep only ever sees what is below `upstream/`, so it cannot touch what is private. Servers may
run meanwhile: a file that they need again is fetched again. Pages stay, because they say which
index owns a name, and so do the learned digests.
"""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from math import inf
from operator import attrgetter
from threading import Lock
from typing import Final

from msgspec import Struct

from wheelyard.catalog import keys
from wheelyard.catalog.store_clock import StoreClock
from wheelyard.concurrency.runtime import Runtime
from wheelyard.concurrency.threads import prefetch_map
from wheelyard.storage.base import Entry, Store
from wheelyard.storage.forwarding import PrefixedStore

_OBJECT: Final = re.compile(
    rf"([^/]+)/(?:{keys.UPSTREAM_FILES}|({keys.UPSTREAM_USES}))"
    r"([a-z0-9-]+/[0-9a-f]{64}/[^/]+?)(?:\.metadata|\.provenance)?"
)


COUNTED_SECONDS: Final = 600.0
"""How long a size is told again before the keys are listed again."""


class SweepRules(Struct, frozen=True, kw_only=True):
    """Which files are removed."""

    unused_for: timedelta | None = None
    """Those that were not used for so long."""
    max_bytes: int | None = None
    """As many as are too many for so many bytes, those first that were not used for longest."""


class KeptFile(Struct, kw_only=True):
    """A file of an upstream index in the store, with its core metadata and the note of its use."""

    upstream: str
    """The id of the upstream index."""
    path: str
    """Project, digest and filename."""
    size: int = 0
    """Bytes."""
    last_use: float = 0.0
    """When it was used or fetched last, within a day, in seconds since the epoch."""
    objects: list[Entry] = []
    """In the order of their removal."""

    def add(self, entry: Entry, *, is_note: bool) -> None:
        """Count an object as one of this file's."""
        self.last_use = max(self.last_use, entry.modified)
        if is_note:  # removed first: a sweep that is interrupted leaves no note alone
            self.objects.insert(0, entry)
        else:
            self.size += entry.size
            self.objects.append(entry)


class SweepReport(Struct, frozen=True):
    """What was removed, or would be, and what stays."""

    removed: tuple[KeptFile, ...]
    """Those first that were not used for longest."""
    kept: int
    """Files."""
    kept_bytes: int


class UpstreamSweep(Struct, frozen=True):
    """Removes files of upstream indexes from a store."""

    clock: StoreClock
    """That of the store with what is below `upstream/`."""

    def run(self, rules: SweepRules, *, dry_run: bool = False) -> SweepReport:
        """
        Remove what the rules say, or in a dry run nothing, and return what that is.

        A server that runs meanwhile may fetch a removed file again. Raises Unavailable (code
        `clock_differs`), before anything is removed, if the machine's clock is wrong. Raises
        Unavailable if the store does not answer. Some files may be removed then.
        """
        # times of uses are those of the store, so they are compared with its clock
        now = self.clock.estimate() if dry_run else self.clock.require_agreement()
        files = sorted(kept_files(self.clock.store), key=attrgetter("last_use"))
        removed = self._choose(files, rules, now.timestamp())
        if not dry_run:
            for _ in prefetch_map(self._remove, removed):
                pass
        all_bytes = sum(file.size for file in files)
        removed_bytes = sum(file.size for file in removed)
        kept = len(files) - len(removed)
        return SweepReport(tuple(removed), kept, all_bytes - removed_bytes)

    def _remove(self, file: KeptFile) -> None:
        """Remove a file, in a thread of its own. A crash leaves the rest to the next sweep."""
        below = PrefixedStore(self.clock.store, keys.UPSTREAM)
        for entry in file.objects:
            below.delete(entry.key)

    @staticmethod
    def _choose(files: list[KeptFile], rules: SweepRules, now: float) -> list[KeptFile]:
        """Return the files to remove, of `files` in the order of their last use."""
        size = sum(file.size for file in files)
        removed = list[KeptFile]()
        for file in files:
            is_unused = False
            if rules.unused_for is not None:
                is_unused = now - file.last_use >= rules.unused_for.total_seconds()
            is_too_much = rules.max_bytes is not None and size > rules.max_bytes
            if is_unused or is_too_much:
                removed.append(file)
                size -= file.size
        return removed


def kept_files(store: Store) -> Iterable[KeptFile]:
    """
    Return all files that are kept, by listing their keys.

    `store` has what is below `upstream/`. No object is read. Raises Unavailable if the store does
    not answer.
    """
    files = dict[tuple[str, str], KeptFile]()
    for entry in PrefixedStore(store, keys.UPSTREAM).list(""):
        match = _OBJECT.fullmatch(entry.key)
        if match is not None:
            upstream, note, path = match.groups()
            file = files.setdefault((upstream, path), KeptFile(upstream=upstream, path=path))
            file.add(entry, is_note=note is not None)
    return files.values()


class CountedSize(Struct, frozen=True):
    """How much all files that are kept take, and when that was counted."""

    bytes: int
    """Of the files and their core metadata."""
    at: datetime
    """Aware (UTC)."""


class KeptSize:
    """Counts how much all files that are kept take. Threads may share it."""

    def __init__(self, store: Store, runtime: Runtime) -> None:
        self._store = store
        self._runtime = runtime
        self._counted = CountedSize(0, runtime.now())
        self._until = -inf
        """Until when that is told again."""
        self._lock = Lock()

    def latest(self) -> CountedSize:
        """
        Return the size, which is counted at most every ten minutes, and when it was counted.

        No object is read. Raises Unavailable if the store does not answer.
        """
        # a listing may take seconds: of several threads one makes it, and the others wait for it
        with self._lock:
            if self._runtime.monotonic() >= self._until:
                size = sum(file.size for file in kept_files(self._store))
                self._counted = CountedSize(size, self._runtime.now())
                self._until = self._runtime.monotonic() + COUNTED_SECONDS
            return self._counted
