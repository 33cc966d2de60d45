"""URLs from which clients download an object of a bucket directly."""

import re
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Final, Protocol
from urllib.parse import quote

import obstore
from msgspec import Struct

from wheelyard.errors import RETRY_AFTER_SECONDS, Unavailable
from wheelyard.storage.location import AZURE, BucketLocation
from wheelyard.storage.objects.calls import answer_of
from wheelyard.storage.objects.clients import Client
from wheelyard.storage.objects.errors import READ, Failure, FailureKind, unavailable
from wheelyard.storage.url_cache import UrlCache

TEMPORARY_SECONDS: Final = 240
"""How long a URL is reused that temporary credentials have signed: they are renewed when five
minutes of their life are left, and the URL dies with them."""
_SIGNED_BY_AZURE: Final = re.compile(r"[A-Za-z0-9._/+!-]+")
"""Names for which the signature that obstore makes is right."""


class DownloadUrls(Protocol):
    """Makes the URL of an object."""

    def url(self, name: str, lifetime: timedelta) -> str | None:
        """Return a URL, valid for half of `lifetime` at least; None if the object has none."""
        ...


class PublicUrls(Struct, frozen=True):
    """The URLs of a bucket that everybody may read."""

    base: str
    """Of the bucket, with a slash at the end."""

    def url(self, name: str, lifetime: timedelta) -> str | None:
        """Return the object's URL, which does not expire."""
        del lifetime
        return self.base + quote(name)


class SignedUrls:
    """Signs URLs, and reuses each for at most half of its lifetime."""

    def __init__(
        self,
        client: Client,
        location: BucketLocation,
        now: Callable[[], float],
        *,
        is_temporary: bool,
    ) -> None:
        self._client = client
        self._location = location
        self._now = now
        self._is_temporary = is_temporary
        self._urls = UrlCache()

    def url(self, name: str, lifetime: timedelta) -> str | None:
        """Return a URL; None for a name that cannot be signed. Raises Unavailable."""
        if self._location.scheme == AZURE and not _SIGNED_BY_AZURE.fullmatch(name):
            return None
        window = max(1, int(lifetime.total_seconds()) // 2)
        if self._is_temporary:
            window = min(window, TEMPORARY_SECONDS)
        # obstore's own change every second
        key = name, lifetime, self._now() // window
        return self._urls.url(key, partial(self._sign, name, lifetime))

    def _sign(self, name: str, lifetime: timedelta) -> str:
        try:
            return answer_of(partial(obstore.sign, self._client, "GET", name, lifetime))
        except Failure as failure:
            fault = unavailable(failure, self._location, READ)
            is_denied = failure.kind is FailureKind.DENIED
        raise Unavailable(
            f"Download URLs cannot be signed. {fault.message}",
            code="signing_denied" if is_denied else "signing_unavailable",
            short="Download URLs cannot be signed.",
            retry_after=None if is_denied else RETRY_AFTER_SECONDS,
        )
