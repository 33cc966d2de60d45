"""A cache whose values hold for a time, and a cache whose values have weights."""

import pytest

from tests.fake_time import Clock
from wheelyard.concurrency.caches import ExpiringCache, LruCache


@pytest.fixture
def clock() -> Clock:
    """Return the clock of a test."""
    return Clock()


@pytest.fixture
def cache(clock: Clock) -> ExpiringCache[str, int]:
    """Return a cache for two values."""
    return ExpiringCache(clock.seconds, 2)


def test_for_how_long(cache: ExpiringCache[str, int], clock: Clock) -> None:
    """A cached value is there until its time is over; a new one has a time of its own."""
    cache.put("a", 1, 10)
    clock.advance(seconds=9)
    assert cache.get("a") == 1
    cache.put("a", 2, 2)
    clock.advance(seconds=1)
    assert cache.get("a") == 2
    clock.advance(seconds=1)
    assert cache.get("a") is None


@pytest.mark.parametrize("seconds", [0, -1])
def test_for_no_time(cache: ExpiringCache[str, int], seconds: float) -> None:
    """A value that holds for no time is not cached, and the one before it stays."""
    cache.put("a", 1, 10)
    cache.put("a", 2, seconds)
    assert cache.get("a") == 1


def test_the_least_used_goes(cache: ExpiringCache[str, int]) -> None:
    """A full cache evicts the least recently used value."""
    for key in ("a", "b", "a", "c"):
        cache.put(key, 1, 10)
    assert [cache.get(key) for key in ("a", "b", "c")] == [1, None, 1]
    assert cache.get("a") == 1
    cache.put("d", 1, 10)
    assert [cache.get(key) for key in ("a", "c", "d")] == [1, None, 1]


def test_a_value_heavier_than_the_whole_cache() -> None:
    """A value that is too heavy is not cached, and evicts only the earlier value of its key."""
    cache = LruCache[str, int](10)
    cache.put("a", 1, 5)
    cache.put("b", 1, 5)
    cache.put("a", 2, 11)
    assert [cache.get(key) for key in ("a", "b")] == [None, 1]
