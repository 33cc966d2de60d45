"""URLs from which clients download an object of a bucket directly."""

from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from math import inf
from threading import Lock
from typing import Final, Literal
from urllib.parse import quote

from msgspec import Struct

from wheelyard.concurrency.caches import LruCache
from wheelyard.errors import RETRY_AFTER_SECONDS, Invalid, Unavailable

Downloads = Literal["auto", "redirect", "proxy", "public"]

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
        self._urls: LruCache[_Place, Future[str | None]] = LruCache(URL_CACHE_ENTRIES)
        self._lock = Lock()

    def url(self, name: str, lifetime: timedelta) -> str | None:
        """Return a URL, valid for half of `lifetime` at least; an error is not cached."""
        window = min(max(1, int(lifetime.total_seconds()) // 2), self._longest)
        place = name, lifetime, int(self._now() // window)
        with self._lock:
            future = self._urls.get(place)
            if is_first := future is None:
                future = Future()
                self._urls.put(place, future, 1)
        if is_first:
            try:
                future.set_result(self._sign(name, lifetime))
            except BaseException as error:  # noqa: BLE001 - raised by `future.result()`
                self._urls.discard(place)
                future.set_exception(error)
        return future.result()


DownloadUrls = PublicUrls | SignedUrls
"""Makes the URLs from which clients download objects directly."""


def download_urls(
    downloads: Downloads,
    public_base: str,
    sign: Callable[[str, timedelta], str | None] | None,
    now: Callable[[], float],
    longest: float = inf,
) -> DownloadUrls | None:
    """
    Return the URLs of a bucket; None if the server streams its files.

    Args:
        downloads: How clients get files.
        public_base: As of `PublicUrls`.
        sign: As of `SignedUrls`; None if the credentials cannot sign.
        now: The clock, in seconds.
        longest: As of `SignedUrls`.

    Raises:
        Invalid: URLs are required, and nothing can sign them (code `bad_setting`).
    """
    if downloads == "public":
        return PublicUrls(public_base)
    if downloads == "redirect" and sign is None:
        raise Invalid(
            "store.downloads: these credentials cannot sign a URL to redirect to. Use those of a "
            'service account, an account key or an identity, or downloads = "proxy".',
            code="bad_setting",
        )
    if downloads == "proxy" or sign is None:
        return None
    return SignedUrls(sign, now, longest)


def signing_error(why: str, *, is_denied: bool) -> Unavailable:
    """Return the Unavailable for a URL that cannot be signed; `why` is a sentence."""
    return Unavailable(
        f"Download URLs cannot be signed. {why}",
        code="signing_denied" if is_denied else "signing_unavailable",
        retry_after=None if is_denied else RETRY_AFTER_SECONDS,
    )
