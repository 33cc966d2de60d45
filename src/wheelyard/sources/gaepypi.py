"""GAEPyPI's bucket: `packages/NAME/VERSION/FILE`, without any metadata."""

from collections.abc import Iterator
from typing import Final

from wheelyard.sources.candidate import Skipped, SourceItem
from wheelyard.sources.file_tree import FileTree, TreeEntry, to_candidate

PACKAGES_FOLDER: Final = "packages"
"""Where GAEPyPI keeps files."""


def gaepypi_candidates(tree: FileTree, item: TreeEntry) -> Iterator[SourceItem]:
    """Yield a file if it lies where GAEPyPI puts one, in its bucket or below `packages/`."""
    if is_gaepypi_path(item, is_bare=True):
        yield to_candidate(tree, item)
    else:
        yield Skipped(f"{tree}/{item.path}", "it is not at packages/NAME/VERSION/FILE")


def is_gaepypi_path(item: TreeEntry, *, is_bare: bool = False) -> bool:
    """Return whether a file lies where GAEPyPI puts one; `is_bare`: maybe below `packages/`."""
    parts = item.parts
    if parts[0] == PACKAGES_FOLDER:
        parts = parts[1:]
    elif not is_bare:
        return False
    return len(parts) == 3 and all(parts)  # noqa: PLR2004 - NAME, VERSION, FILE
