"""Settings of the C library's memory allocator for a server process."""

import ctypes
from contextlib import suppress
from typing import Final

M_MMAP_THRESHOLD: Final = -3
M_ARENA_MAX: Final = -8
"""glibc's numbers of its parameters (`malloc.h`)."""
LARGE_BLOCK_BYTES: Final = 1024 * 1024
"""Larger than the batches of an upload, smaller than a page of 2,000 files."""


def return_freed_memory() -> None:
    """
    Make glibc return the memory of freed large blocks, and share one heap between threads.

    By default, the first large page makes glibc keep such blocks, and each thread gets a heap of
    its own, with gaps of its own. Other C libraries have no `mallopt`, and nothing happens.
    """
    with suppress(AttributeError, OSError, TypeError):  # TypeError: on Windows
        library = ctypes.CDLL(None)
        library.mallopt(M_ARENA_MAX, 1)
        library.mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)
