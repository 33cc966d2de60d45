"""Writing files and folders durably: write, then fsync."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

FSYNC_BATCH: Final = 16
"""Files that `FsyncPool` has open at a time, and its threads."""


def write_all(descriptor: int, body: bytes) -> None:
    """Write all bytes to a file descriptor; one `os.write` may write only some of them."""
    view = memoryview(body)
    while view:
        view = view[os.write(descriptor, view) :]


def fsync_path(path: Path | str) -> None:
    """Call fsync for a file or folder, and return when it is durable on the disk."""
    with ExitStack() as stack:
        os.fsync(_open(path, stack))


class FsyncPool:
    """Threads that call fsync for several files at once: they take as long as one of them."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(FSYNC_BATCH, "fsync")  # starts a thread when needed

    def fsync_all(self, paths: Sequence[Path | str]) -> None:
        """
        Call fsync for files and folders, and return when they are durable on the disk.

        A missing one is left out: it was deleted meanwhile.
        """
        for start in range(0, len(paths), FSYNC_BATCH):
            with ExitStack() as stack:
                descriptors = list[int]()
                for path in paths[start : start + FSYNC_BATCH]:
                    with suppress(FileNotFoundError):
                        descriptors.append(_open(path, stack))
                started = [self._threads.submit(os.fsync, each) for each in descriptors[1:]]
                stack.callback(wait, started)  # before the descriptors are closed
                if descriptors:
                    os.fsync(descriptors[0])
                for each in started:
                    each.result()


def _open(path: Path | str, stack: ExitStack) -> int:
    descriptor = os.open(path, os.O_RDONLY)
    stack.callback(os.close, descriptor)
    return descriptor
