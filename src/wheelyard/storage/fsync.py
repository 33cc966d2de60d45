"""Writing files and folders durably: write, then fsync."""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
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
        wanted: list[int | str] = [*descriptors, *folders]
        for start in range(0, len(wanted), FSYNC_BATCH):
            with ExitStack() as stack:
                batch = _opened(wanted[start : start + FSYNC_BATCH], stack)
                if batch:
                    self._fsync_batch(batch)

    def _fsync_batch(self, descriptors: Sequence[int]) -> None:
        started = [self._threads.submit(os.fsync, each) for each in descriptors[1:]]
        try:
            os.fsync(descriptors[0])
        finally:
            errors = [each.exception() for each in started]  # they must not be closed before that
        for error in filter(None, errors):
            raise error


def _opened(files: Sequence[int | str], stack: ExitStack) -> list[int]:
    """Return descriptors, of folders by their paths as well; `stack` closes what this opens."""
    descriptors = list[int]()
    for file in files:
        if isinstance(file, int):
            descriptors.append(file)
            continue
        with suppress(FileNotFoundError):
            descriptors.append(os.open(file, os.O_RDONLY))
            stack.callback(os.close, descriptors[-1])
    return descriptors
