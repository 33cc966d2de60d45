"""
Removal of files of upstream indexes that nobody has used for long, or that take too much room.

It only ever sees what is below `upstream/`, so it cannot touch what is private. Servers may run
meanwhile: a file that they need again is fetched again. Pages stay, because they say which index
owns a name, and so do the learned digests.
"""

import re
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Final

from msgspec import Struct

from wheelyard.catalog import keys
from wheelyard.concurrency.runtime import Runtime
from wheelyard.concurrency.threads import prefetch_map
from wheelyard.storage.base import Entry, Store
from wheelyard.storage.forwarding import PrefixedStore

_OBJECT: Final = re.compile(
    rf"([^/]+)/(?:{keys.UPSTREAM_FILES}|({keys.UPSTREAM_USES}))"
    r"([a-z0-9-]+/[0-9a-f]{64}/[^/]+?)(?:\.metadata)?"
)


class SweepRules(Struct, frozen=True, kw_only=True):
    """Which files are removed."""

    unused_for: timedelta | None = None
    """Those that were not used for so long."""
    max_bytes: int | None = None
    """As many as are too many for so many bytes; those first that were not used for longest."""


class SweptFile(Struct, kw_only=True):
    """A file of an upstream index in the store, with its core metadata and the note of its use."""

    upstream: str
    """The id of the upstream index."""
    path: str
    """Project, digest and filename."""
    size: int = 0
    """Bytes."""
    last_use: float = 0.0
    """When it was used or fetched last, within a day; seconds since the epoch."""
    objects: list[Entry] = []
    """In the order of their removal."""

    def add(self, entry: Entry, *, is_note: bool) -> None:
        """Count an object as one of this file's."""
        self.last_use = max(self.last_use, entry.modified)
        if is_note:  # an interrupted removal leaves no note alone
            self.objects.insert(0, entry)
        else:
            self.size += entry.size
            self.objects.append(entry)


class SweepReport(Struct, frozen=True):
    """What was removed, or would be, and what stays."""

    removed: tuple[SweptFile, ...]
    """Those first that were not used for longest."""
    kept: int
    """Files."""
    kept_bytes: int


class UpstreamSweep(Struct, frozen=True):
    """Removes files of upstream indexes from a store."""

    store: Store
    runtime: Runtime

    def run(
        self,
        rules: SweepRules,
        *,
        dry_run: bool = False,
        progress: Callable[[SweptFile], None] = lambda _: None,
    ) -> SweepReport:
        """Remove what the rules say, and call `progress` for each; it may be fetched again."""
        below = PrefixedStore(self.store, keys.UPSTREAM)
        files = sorted(_files(below), key=lambda file: file.last_use)
        chosen = self._choose(files, rules)
        removals = prefetch_map(lambda file: None if dry_run else _remove(below, file), chosen)
        for file, _ in zip(chosen, removals, strict=True):
            progress(file)
        kept_bytes = sum(each.size for each in files) - sum(each.size for each in chosen)
        return SweepReport(tuple(chosen), len(files) - len(chosen), kept_bytes)

    def _choose(self, files: list[SweptFile], rules: SweepRules) -> list[SweptFile]:
        """Return the files to remove, of `files` in the order of their last use."""
        now, size = self.runtime.seconds(), sum(each.size for each in files)
        chosen = list[SweptFile]()
        for file in files:
            is_unused = (
                rules.unused_for is not None
                and now - file.last_use >= rules.unused_for.total_seconds()
            )
            if is_unused or (rules.max_bytes is not None and size > rules.max_bytes):
                chosen.append(file)
                size -= file.size
        return chosen


def _files(store: Store) -> Iterable[SweptFile]:
    files = dict[tuple[str, str], SweptFile]()
    for entry in store.list(""):
        match = _OBJECT.fullmatch(entry.key)
        if match is not None:
            upstream, note, path = match.groups()
            file = files.setdefault((upstream, path), SweptFile(upstream=upstream, path=path))
            file.add(entry, is_note=note is not None)
    return files.values()


def _remove(store: Store, file: SweptFile) -> None:
    for entry in file.objects:
        store.delete(entry.key)
