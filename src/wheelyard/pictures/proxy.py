"""Fetches pictures from their servers, and keeps them in memory for a while."""

import logging
from contextlib import closing
from hashlib import sha256
from http import HTTPStatus
from importlib.metadata import version
from typing import Final

from msgspec import Struct

from wheelyard.concurrency.caches import LruCache
from wheelyard.concurrency.runtime import LogRateLimit, Runtime
from wheelyard.http_client.client import Network, Requester
from wheelyard.http_client.hosts import AddressPolicy, FetchError
from wheelyard.http_client.urls import BadUrl, parse_url, redact_url
from wheelyard.model.decoding import escaped
from wheelyard.pictures.formats import picture_type
from wheelyard.pictures.signing import PicturePaths

MAX_BYTES: Final = 5 * 1024**2
"""Bytes of one picture."""
CACHE_BYTES: Final = 32 * 1024**2
"""Bytes of the pictures that a process keeps."""
FETCH_SECONDS: Final = 10.0
"""Seconds to receive a picture, from the look-up of the name to its last byte."""
FRESH_SECONDS: Final = 3600.0
"""How long a picture is shown without asking again: a badge may change."""
STALE_SECONDS: Final = 86_400.0
"""How long it is shown while its server does not send it."""
FAULT_SECONDS: Final = 120.0
"""How long a server is not asked again for what it did not send."""
ENTRY_BYTES: Final = 500
"""Estimated bytes of memory besides the picture."""
VIA: Final = "wheelyard-pictures"
"""Says in the header Via that a request is for a picture, so that no index asks itself."""
ACCEPT: Final = "image/avif, image/webp, image/png, image/gif, image/jpeg, image/svg+xml"
LOGGED_PER_MINUTE: Final = 6
"""Pictures that are not shown, and of which the log says why."""

logger = logging.getLogger("wheelyard")


def public_network() -> Network:
    """Return what may be connected to: public addresses, over HTTPS, and no proxy."""
    return Network(
        policies={"https": AddressPolicy()},
        connect=3.0,
        idle=5.0,
        start=FETCH_SECONDS,
        max_redirects=3,
    )


class Picture(Struct, frozen=True):
    """A picture, or why there is none."""

    body: bytes = b""
    media_type: str = ""
    fault: str = ""
    """Why it is not shown, in a few words, or empty if it is."""

    @property
    def etag(self) -> bytes:
        """The ETag, without the quotes."""
        return sha256(self.body).hexdigest()[:32].encode()


class ShownPicture(Struct, frozen=True):
    """What is shown for a URL, and for how long."""

    picture: Picture
    seconds: float
    """How long a browser may keep it."""


class _Kept(Struct, frozen=True):
    """A picture in memory. Times are those of the monotonic clock."""

    picture: Picture
    fetched_at: float
    ask_at: float
    """When its server may be asked again."""


class PictureProxy:
    """
    Fetches pictures, and remembers them.

    Threads may share it. It asks for the same picture as often as it is told to: whoever calls
    `fetch` makes sure that only one thread does.
    """

    def __init__(
        self, paths: PicturePaths, runtime: Runtime, network: Network | None = None
    ) -> None:
        self.paths = paths
        self._monotonic = runtime.monotonic
        self._log_limit = LogRateLimit(LOGGED_PER_MINUTE, runtime.monotonic)
        self._requester = Requester(runtime, network or public_network())
        self._kept: LruCache[str, _Kept] = LruCache(CACHE_BYTES)
        self._headers = {
            "Accept": ACCEPT,
            "Accept-Encoding": "identity",
            "User-Agent": f"wheelyard/{version('wheelyard')}",
            "Via": f"1.1 {VIA}",
        }

    def close(self) -> None:
        """Close all connections."""
        self._requester.close()

    def peek(self, url: str) -> ShownPicture | None:
        """Return what is shown for a URL, or None if its server has to be asked."""
        kept = self._kept.get(url)
        seconds = 0.0 if kept is None else kept.ask_at - self._monotonic()
        return None if kept is None or seconds <= 0 else ShownPicture(kept.picture, seconds)

    def fetch(self, url: str) -> ShownPicture:
        """Ask the server of a picture, and return what is shown. It raises nothing."""
        try:
            picture, seconds = self._received(url), FRESH_SECONDS
        except FetchError as fault:
            picture, seconds = Picture(fault=fault.why), FAULT_SECONDS
            self._log(url, fault.why)
        before, now = self._kept.get(url), self._monotonic()
        fetched_at = now
        if picture.fault and before is not None and now - before.fetched_at < STALE_SECONDS:
            picture, fetched_at = before.picture, before.fetched_at
        weight = ENTRY_BYTES + len(url) + len(picture.body)
        self._kept.put(url, _Kept(picture, fetched_at, now + seconds), weight)
        return ShownPicture(picture, seconds)

    def _log(self, url: str, why: str) -> None:
        unlogged = self._log_limit.acquire()
        if unlogged is not None:
            more = f"; {unlogged} others before it were not logged" if unlogged else ""
            place = escaped(redact_url(url))
            logger.warning("pictures: %s is not shown: %s%s", place, why, more)

    def _received(self, url: str) -> Picture:
        """
        Return a picture from its server.

        Raises FetchError if there is none.
        """
        try:
            parsed = parse_url(url)
        except BadUrl as error:
            raise FetchError(str(error)) from None
        with (
            self._requester.deadline(FETCH_SECONDS),
            closing(self._requester.open(parsed, self._headers, {HTTPStatus.OK})) as response,
        ):
            body = bytes(response.body(MAX_BYTES))
        media_type = picture_type(body)
        if not media_type:
            raise FetchError("what it sends is no picture that is known here")
        return Picture(body, media_type)
