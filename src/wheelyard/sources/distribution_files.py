"""
Import source `files`: distributions in a folder or a bucket, in any subfolders.

Only the last segment of a path counts: flat, `NAME/FILE` as nginx lists it, or in `raw/` beside a
static site (gcs-pypi). The only metadata is the date. A bucket has the date of upload to that
bucket; a copy of a bucket has new dates, so the original bucket is the better source.
"""

import re
from collections.abc import Callable, Iterator
from typing import Final

from msgspec import Struct

from wheelyard.concurrency.prefetch import PREFETCH_THREADS, prefetch_map
from wheelyard.sources.candidate import Skipped, SourceItem
from wheelyard.sources.candidate_filter import is_distribution_name, is_sidecar
from wheelyard.sources.file_tree import FileTree, FolderTree, TreeEntry, to_candidate

_FROM_UPSTREAM: Final = re.compile(
    r"(?:.+/)?upstream/[^/]+/files/[a-z0-9-]+/[0-9a-f]{64}/[^/]+", re.DOTALL
)
"""The path of a public file that a wheelyard store has kept of an upstream index."""


def as_listed(tree: FileTree, item: TreeEntry) -> Iterator[SourceItem]:
    """Yield one candidate, for a file of a tree, with the data of the listing only."""
    yield to_candidate(tree, item)


class FileTreeSource(Struct, frozen=True):
    """Source of the distributions in a file tree; `describe` yields the items for one file."""

    tree: FileTree
    describe: Callable[[FileTree, TreeEntry], Iterator[SourceItem]] = as_listed

    def candidates(self) -> Iterator[SourceItem]:
        """Yield the items of each distribution, and every `Skipped` of `distribution_entries`."""
        threads = 1 if self.describe is as_listed else PREFETCH_THREADS
        entries = distribution_entries(self.tree)
        for items in prefetch_map(self._items, entries, threads):
            yield from items

    def total(self) -> int | None:
        """Return the number of distributions, after a scan of the folder; None for a bucket."""
        if not isinstance(self.tree, FolderTree):
            return None
        return sum(isinstance(each, TreeEntry) for each in distribution_entries(self.tree))

    def _items(self, entry: TreeEntry | Skipped) -> list[SourceItem]:
        return [entry] if isinstance(entry, Skipped) else list(self.describe(self.tree, entry))


def distribution_entries(tree: FileTree) -> Iterator[TreeEntry | Skipped]:
    """
    Yield the entries of a tree that are named like distributions, and `Skipped` for other files.

    Hidden files, files in hidden folders, and sidecars (`is_sidecar`) are omitted. What a wheelyard
    store has of upstream indexes is skipped, too: an import would make it private.
    """
    for found in tree.entries():
        if isinstance(found, Skipped):
            yield found
        elif _FROM_UPSTREAM.fullmatch(found.path):
            why = "it was fetched from an upstream index, and is no private package"
            yield Skipped(f"{tree}/{found.path}", why)
        elif not (found.path.startswith(".") or "/." in found.path):
            if is_distribution_name(found.filename):
                yield found
            elif not is_sidecar(found.filename):
                why = "it is not named like a distribution"
                yield Skipped(f"{tree}/{found.path}", why)
