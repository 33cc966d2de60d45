"""
The files of upstream indexes that the store keeps: how large they are, and which are removed.

The sweep only ever sees what is below `upstream/`, so it cannot touch what is private. Servers may
run meanwhile: a file that they need again is fetched again. Pages stay, because they say which
index owns a name, and so do the pinned digests.
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
"""The key of a file, of its core metadata or provenance, or of the note of its use."""

COUNTED_SECONDS: Final = 600.0
"""How long a counted size is used before the keys are listed again."""


class SweepRules(Struct, frozen=True, kw_only=True):
    """Which files are removed."""

    unused_for: timedelta | None = None
    """Files that were not used for so long are removed, or None to remove none for that."""
    max_bytes: int | None = None
    """
    The most bytes that stay, or None without a limit.

    The files that were not used for longest are removed first.
    """


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
    """The objects of the file, in the order of their removal."""

    def add(self, entry: Entry, *, is_note: bool) -> None:
        """Add an object of this file, or the note of its use."""
        self.last_use = max(self.last_use, entry.modified)
        if is_note:  # removed first: an interrupted sweep leaves no note without its file
            self.objects.insert(0, entry)
        else:
            self.size += entry.size
            self.objects.append(entry)


class SweepReport(Struct, frozen=True):
    """What was removed, or would be, and what stays."""

    removed: tuple[KeptFile, ...]
    """The files that were not used for longest come first."""
    kept: int
    """How many files stay."""
    kept_bytes: int


class UpstreamSweep(Struct, frozen=True):
    """Removes files of upstream indexes from a store."""

    clock: StoreClock
    """The clock of the store that has what is below `upstream/`."""

    def run(self, rules: SweepRules, *, dry_run: bool = False) -> SweepReport:
        """
        Remove the files that the rules choose, or in a dry run none, and return what they are.

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
        kept_count = len(files) - len(removed)
        return SweepReport(tuple(removed), kept_count, all_bytes - removed_bytes)

    def _remove(self, file: KeptFile) -> None:
        """Remove a file, in a thread of its own. After a crash, the next sweep removes the rest."""
        upstream_store = PrefixedStore(self.clock.store, keys.UPSTREAM)
        for entry in file.objects:
            upstream_store.delete(entry.key)

    @staticmethod
    def _choose(files: list[KeptFile], rules: SweepRules, now: float) -> list[KeptFile]:
        """Return the files to remove, of `files` in the order of their last use."""
        remaining_bytes = sum(file.size for file in files)
        removed = list[KeptFile]()
        for file in files:
            is_unused = False
            if rules.unused_for is not None:
                is_unused = now - file.last_use >= rules.unused_for.total_seconds()
            is_too_much = rules.max_bytes is not None and remaining_bytes > rules.max_bytes
            if is_unused or is_too_much:
                removed.append(file)
                remaining_bytes -= file.size
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
    """Bytes of the files, their core metadata and their provenance."""
    at: datetime
    """When that was counted (UTC)."""


class KeptSize:
    """Counts how much all files that are kept take. Threads may share it."""

    def __init__(self, store: Store, runtime: Runtime) -> None:
        self._store = store
        self._runtime = runtime
        self._counted = CountedSize(0, runtime.now())
        self._until = -inf
        """Until when `_counted` is used, by the monotonic clock."""
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
