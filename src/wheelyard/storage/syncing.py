"""What is written reaches the disk: one file or folder, or many files for the price of fewer."""

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

TOGETHER: Final = 16
"""Files that are open at a time."""


def sync(path: Path | str) -> None:
    """Return once a file or a folder is on the disk."""
    with ExitStack() as stack:
        os.fsync(_opened(path, stack))


def sync_all(paths: Sequence[Path]) -> None:
    """Return once files are on the disk; all begin to be written before one is waited for."""
    for start in range(0, len(paths), TOGETHER):
        with ExitStack() as stack:
            descriptors = [_opened(path, stack) for path in paths[start : start + TOGETHER]]
            if sys.platform == "linux":
                for descriptor in descriptors:
                    # it says that nobody reads it soon, and so Linux begins to write what is new
                    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            for descriptor in descriptors:
                os.fsync(descriptor)


def _opened(path: Path | str, stack: ExitStack) -> int:
    descriptor = os.open(path, os.O_RDONLY)
    stack.callback(os.close, descriptor)
    return descriptor
