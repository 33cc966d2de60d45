"""A cache of signed download URLs, which are made by a slow call."""

from collections.abc import Callable, Hashable
from concurrent.futures import Future
from threading import Lock
from typing import Final

from wheelyard.concurrency.caches import LruCache

URL_CACHE_ENTRIES: Final = 4096
"""Cached URLs, of about 1.3 KB each."""


class UrlCache:
    """Keeps URLs until others replace them; concurrent callers of one URL share its making."""

    def __init__(self) -> None:
        self._urls: LruCache[Hashable, str] = LruCache(URL_CACHE_ENTRIES)
        self._in_flight: dict[Hashable, Future[str]] = {}
        self._lock = Lock()

    def url(self, key: Hashable, make: Callable[[], str]) -> str:
        """
        Return the URL that `make` has returned for an equal key; its error is not cached.

        A key contains all that the URL depends on, and a number that changes before it expires.
        """
        with self._lock:
            cached = self._urls.get(key)
            if cached is not None:
                return cached
            future = self._in_flight.get(key)
            is_leader = future is None
            if future is None:
                future = self._in_flight[key] = Future()
        if is_leader:
            self._make(key, make, future)
        return future.result()

    def _make(self, key: Hashable, make: Callable[[], str], future: Future[str]) -> None:
        try:
            url = make()
            self._urls.put(key, url, 1)
            future.set_result(url)
        except BaseException as error:  # noqa: BLE001 - raised by `future.result()`
            future.set_exception(error)
        finally:
            with self._lock:
                del self._in_flight[key]
