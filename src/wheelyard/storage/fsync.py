"""Writing files and folders durably: write, then fsync."""

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

FSYNC_BATCH: Final = 16
"""Files that `fsync_all` has open at a time."""


def write_all(descriptor: int, body: bytes) -> None:
    """Write all bytes to a file descriptor; one `os.write` may write only some of them."""
    view = memoryview(body)
    while view:
        view = view[os.write(descriptor, view) :]


def fsync_path(path: Path | str) -> None:
    """Call fsync for a file or folder, and return when it is durable on the disk."""
    with ExitStack() as stack:
        os.fsync(_open(path, stack))


def fsync_all(paths: Sequence[Path]) -> None:
    """
    Call fsync for files, and return when they are durable on the disk.

    On Linux, the writes of a batch of `FSYNC_BATCH` files are started before the first wait.
    """
    for start in range(0, len(paths), FSYNC_BATCH):
        with ExitStack() as stack:
            descriptors = [_open(path, stack) for path in paths[start : start + FSYNC_BATCH]]
            if sys.platform == "linux":
                for descriptor in descriptors:
                    # makes Linux start to write the file's dirty pages
                    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            for descriptor in descriptors:
                os.fsync(descriptor)


def _open(path: Path | str, stack: ExitStack) -> int:
    descriptor = os.open(path, os.O_RDONLY)
    stack.callback(os.close, descriptor)
    return descriptor
