"""
Import source `gaepypi`: GAEPyPI's bucket, or a copy, with `packages/NAME/VERSION/FILE`.

NAME is only lowercased, so `my_pkg/` and `my-pkg/` may both exist and are one project. There is no
metadata. The tree may be the bucket, or `packages/` in it.
"""

from collections.abc import Iterator

from wheelyard.sources.candidate import Candidate, Skipped, SourceItem
from wheelyard.sources.file_tree import FileTree


def gaepypi_candidates(_: FileTree, file: Candidate) -> Iterator[SourceItem]:
    """Yield a file if its path is GAEPyPI's, else a `Skipped`."""
    if is_gaepypi_path(file.path, is_bare=True):
        yield file
    else:
        yield Skipped(file.location, "it is not at packages/NAME/VERSION/FILE")


def is_gaepypi_path(path: str, *, is_bare: bool = False) -> bool:
    """Return whether a path is `packages/NAME/VERSION/FILE`; `packages/` may lack if `is_bare`."""
    parts = path.split("/")
    if parts[0] == "packages":
        parts = parts[1:]
    elif not is_bare:
        return False
    return len(parts) == 3 and all(parts)  # noqa: PLR2004 - NAME, VERSION, FILE
