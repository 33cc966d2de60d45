"""
Files in a bucket or a folder, named as distributions are.

In whatever folders: flat, `NAME/FILE` as nginx lists it, or in `raw/` beside a static site
(gcs-pypi), only the last part of a path counts. Nothing else is known of a file but when it was put
there. A bucket says that itself; copying from bucket to bucket begins anew, so the first one is the
better source.

GAEPyPI's bucket, or a copy of it, has `packages/NAME/VERSION/FILE`. NAME was only put into lower
case, so `my_pkg/` and `my-pkg/` may both be there, and are one project. There is nothing beside the
files. The place may be the bucket, or `packages/` in it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from wheelyard.sources.candidate import Skipped, SourceItem
from wheelyard.sources.candidate_filter import is_distribution_name, is_sidecar
from wheelyard.sources.file_tree import FileTree, FolderTree, TreeEntry, to_candidate


def as_listed(tree: FileTree, item: TreeEntry) -> Iterator[SourceItem]:
    """Yield a file with what the place itself knows of it."""
    yield to_candidate(tree, item)


@dataclass(frozen=True, slots=True)
class FileTreeSource:
    """Whatever is named like a distribution, as `describe` tells of it."""

    tree: FileTree
    describe: Callable[[FileTree, TreeEntry], Iterator[SourceItem]] = as_listed

    def candidates(self) -> Iterator[SourceItem]:
        """Yield what there is."""
        for found in distribution_entries(self.tree):
            if isinstance(found, Skipped):
                yield found
            else:
                yield from self.describe(self.tree, found)

    def total(self) -> int | None:
        """Return how many distributions there are, None where it costs requests to know that."""
        if not isinstance(self.tree, FolderTree):
            return None
        return sum(isinstance(each, TreeEntry) for each in distribution_entries(self.tree))


def distribution_entries(tree: FileTree) -> Iterator[TreeEntry | Skipped]:
    """
    Yield what is named like a distribution, and what a report says of other files.

    A file that nobody would miss is passed by: a hidden one, or one that goes with a distribution.
    """
    for found in tree.items():
        if isinstance(found, Skipped):
            yield found
        elif not (found.path.startswith(".") or "/." in found.path):
            if is_distribution_name(found.filename):
                yield found
            elif not is_sidecar(found.filename):
                why = "it is not named like a distribution"
                yield Skipped(f"{tree}/{found.path}", why)
