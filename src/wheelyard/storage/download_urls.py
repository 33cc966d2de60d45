"""URLs from which clients download an object of a bucket directly."""

from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from math import inf
from threading import Lock
from typing import Final
from urllib.parse import quote

from msgspec import Struct

from wheelyard.concurrency.caches import LruCache
from wheelyard.errors import RETRY_AFTER_SECONDS, Unavailable

URL_CACHE_ENTRIES: Final = 4096
"""Cached URLs, of about 1.3 KB each."""

_Place = tuple[str, timedelta, int]


class PublicUrls(Struct, frozen=True):
    """The URLs of a bucket that everybody may read."""

    base: str
    """Of the bucket, with a slash at the end."""

    def url(self, name: str, lifetime: timedelta) -> str:
        """Return the object's URL, which does not expire."""
        del lifetime
        return self.base + quote(name)


class SignedUrls:
    """
    Signs URLs, and reuses each for at most half of its lifetime, and `longest` seconds.

    `sign` returns the URL of an object's name for a lifetime; None if it has none. Concurrent
    callers of one URL share a call.
    """

    def __init__(
        self,
        sign: Callable[[str, timedelta], str | None],
        now: Callable[[], float],
        longest: float = inf,
    ) -> None:
        self._sign = sign
        self._now = now
        self._longest = longest
        self._urls: LruCache[_Place, str] = LruCache(URL_CACHE_ENTRIES)
        self._in_flight: dict[_Place, Future[str | None]] = {}
        self._lock = Lock()

    def url(self, name: str, lifetime: timedelta) -> str | None:
        """Return a URL, valid for half of `lifetime` at least; an error is not cached."""
        window = min(max(1, int(lifetime.total_seconds()) // 2), self._longest)
        place = name, lifetime, int(self._now() // window)
        with self._lock:
            cached = self._urls.get(place)
            if cached is not None:
                return cached
            future = self._in_flight.get(place)
            is_leader = future is None
            if future is None:
                future = self._in_flight[place] = Future()
        if is_leader:
            self._make(place, future)
        return future.result()

    def _make(self, place: _Place, future: Future[str | None]) -> None:
        try:
            url = self._sign(*place[:2])
            if url is not None:
                self._urls.put(place, url, 1)
            future.set_result(url)
        except BaseException as error:  # noqa: BLE001 - raised by `future.result()`
            future.set_exception(error)
        finally:
            with self._lock:
                del self._in_flight[place]


def signing_error(why: str, *, is_denied: bool) -> Unavailable:
    """Return the Unavailable for a URL that cannot be signed; `why` is a sentence."""
    return Unavailable(
        f"Download URLs cannot be signed. {why}",
        code="signing_denied" if is_denied else "signing_unavailable",
        retry_after=None if is_denied else RETRY_AFTER_SECONDS,
    )
