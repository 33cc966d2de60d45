"""Writing files and folders durably: write, then fsync."""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final

FSYNC_BATCH: Final = 16
"""The threads of a `FsyncPool`, and how many files it syncs at a time."""


def write_all(descriptor: int, body: bytes) -> None:
    """Write all bytes to a file descriptor; one `os.write` may write only some of them."""
    view = memoryview(body)
    while view:
        view = view[os.write(descriptor, view) :]


class FsyncPool:
    """Threads that call fsync for several files at once: they take as long as one of them."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(FSYNC_BATCH, "fsync")  # starts a thread when needed

    def fsync_all(self, descriptors: Sequence[int], folders: Iterable[str] = ()) -> None:
        """
        Call fsync for open files and for folders, and return when they are durable on the disk.

        A missing folder is left out: it was deleted meanwhile.
        """
        wanted, opened = [*descriptors], list[int]()
        try:
            for folder in folders:
                with suppress(FileNotFoundError):
                    opened.append(os.open(folder, os.O_RDONLY))
            wanted += opened
            for start in range(0, len(wanted), FSYNC_BATCH):
                self._fsync_batch(wanted[start : start + FSYNC_BATCH])
        finally:
            for descriptor in opened:
                os.close(descriptor)

    def _fsync_batch(self, descriptors: Sequence[int]) -> None:
        started = [self._threads.submit(os.fsync, each) for each in descriptors[1:]]
        try:
            os.fsync(descriptors[0])
        finally:
            errors = [each.exception() for each in started]  # they must not be closed before that
        for error in filter(None, errors):
            raise error
