"""
Import source `files`: distributions in a folder or a bucket, in any subfolders.

Only the last segment of a path counts: flat, `NAME/FILE` as nginx lists it, or in `raw/` beside a
static site (gcs-pypi). The only metadata is the date. A bucket has the date of upload to that
bucket; a copy of a bucket has new dates, so the original bucket is the better source.
"""

import re
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Final

from msgspec import Struct

from wheelyard.concurrency.prefetch import prefetch_map
from wheelyard.sources.candidate import Candidate, Skipped, SourceItem
from wheelyard.sources.candidate_filter import is_distribution_name, is_sidecar
from wheelyard.sources.file_tree import FileTree, FolderTree

_FROM_UPSTREAM: Final = re.compile(
    r"(?:.+/)?upstream/[^/]+/files/[a-z0-9-]+/[0-9a-f]{64}/[^/]+", re.DOTALL
)
"""The path of a public file that a wheelyard store has kept of an upstream index."""


class FileTreeSource(Struct, frozen=True):
    """Source of the distributions in a file tree; `describe` yields the items for one file."""

    tree: FileTree
    describe: Callable[[FileTree, Candidate], Iterator[SourceItem]] | None = None

    def candidates(self) -> Iterator[SourceItem]:
        """Yield the items of each distribution, and every `Skipped` of `distribution_files`."""
        if self.describe is None:
            return distribution_files(self.tree)
        return chain.from_iterable(prefetch_map(self._items, distribution_files(self.tree)))

    def total(self) -> int | None:
        """Return the number of distributions, after a scan of the folder; None for a bucket."""
        if not isinstance(self.tree, FolderTree):
            return None
        return sum(isinstance(each, Candidate) for each in distribution_files(self.tree))

    def _items(self, file: SourceItem) -> list[SourceItem]:
        if isinstance(file, Skipped) or self.describe is None:
            return [file]
        return list(self.describe(self.tree, file))


def distribution_files(tree: FileTree) -> Iterator[SourceItem]:
    """
    Yield the files of a tree that are named like distributions, and `Skipped` for other files.

    Hidden files, files in hidden folders, and sidecars (`is_sidecar`) are omitted. What a wheelyard
    store has of upstream indexes is skipped, too: an import would make it private.
    """
    for file in tree.entries():
        if isinstance(file, Skipped):
            yield file
        elif _FROM_UPSTREAM.fullmatch(file.path):
            why = "it was fetched from an upstream index, and is no private package"
            yield Skipped(file.location, why)
        elif not (file.path.startswith(".") or "/." in file.path):
            if is_distribution_name(file.filename):
                yield file
            elif not is_sidecar(file.filename):
                yield Skipped(file.location, "it is not named like a distribution")
