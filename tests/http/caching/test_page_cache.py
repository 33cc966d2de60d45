"""The memory that cached pages take."""

import tracemalloc
from random import Random

from wheelyard.http.caching.page_cache import PageCache
from wheelyard.storage.base import ObjectVersion


def test_page_takes_the_memory_that_it_counts_as() -> None:
    """A cached page keeps its bytes in memory, and nothing of what compressing it took."""
    body, version = Random(1).randbytes(50_000).hex().encode() * 3, ObjectVersion("1")
    cache = PageCache(1 << 20)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        page = cache.get_or_render("page", version, lambda: bytes(bytearray(body)), ())
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert after - before < 4096 + sum(map(len, page.bodies.values()))
