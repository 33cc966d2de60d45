"""How pages are cached: the memory that they take, and which of them are compressed."""

import tracemalloc
from random import Random

import pytest

from wheelyard.concurrency.caches import LruCache
from wheelyard.http.page_cache import PAGE_BYTES, PageCache
from wheelyard.storage.base import ObjectVersion


@pytest.mark.parametrize("is_gzip", [True, False])
def test_page_takes_the_memory_that_it_counts_as(*, is_gzip: bool) -> None:
    """A cached page keeps its bytes in memory, and nothing of what compressing it took."""
    body, version = Random(1).randbytes(50_000).hex().encode() * 3, ObjectVersion("1")
    cache = PageCache(LruCache(1 << 20))
    tracemalloc.start(10)
    try:
        page = cache.get_or_render(("page", is_gzip), version, lambda: bytes(bytearray(body)), ())
        memory = tracemalloc.take_snapshot()
    finally:
        tracemalloc.stop()

    # what other threads take meanwhile does not count
    ours = memory.filter_traces([tracemalloc.Filter(True, __file__, all_frames=True)])  # noqa: FBT003
    assert len(page.body) < sum(trace.size for trace in ours.traces) < PAGE_BYTES + len(page.body)


@pytest.mark.parametrize(("size", "is_gzip"), [(255, False), (256, True)])
def test_a_small_page_is_not_compressed(size: int, *, is_gzip: bool) -> None:
    """A page under 256 bytes is sent as it is to clients that take gzip, too."""
    cache = PageCache(LruCache(1 << 20))
    page = cache.get_or_render(("page", True), ObjectVersion("1"), lambda: b"x" * size, ())
    assert page.is_gzip is is_gzip
