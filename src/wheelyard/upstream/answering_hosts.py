"""
Which hosts of an upstream index answer: a refusal of one thing is no outage.

A request for a URL may be redirected, so the host that answers or refuses it need not be the host
of that URL. A host may refuse one thing, such as a page that these credentials may not read, and
answer all others. Only a host that refuses everything counts as one that is down.
"""

from typing import Final

from msgspec import Struct

from wheelyard.concurrency.caches import ExpiringCache, LruCache
from wheelyard.concurrency.runtime import Clock
from wheelyard.http_client.urls import Url

Origin = tuple[str, str, int]
"""Scheme, host and port."""

FRESH_SECONDS: Final = 1.0
"""Age up to which an answer shows that a host answers: credentials may end at any moment."""
REFUSAL_SECONDS: Final = 30.0
"""Seconds for which a host that refuses everything is not tested again, unless it answers."""
MAX_HOSTS: Final = 100
"""Hosts of one index of which the last answer is remembered."""


class _Answer(Struct, frozen=True):
    """An answer of a host."""

    request_url: Url
    """The URL of the request, perhaps of another host that has redirected it."""
    at: float


class AnsweringHosts:
    """The last answers of the hosts of one upstream index. Threads may share it."""

    def __init__(self, monotonic: Clock) -> None:
        self._monotonic = monotonic
        self._last = LruCache[Origin, _Answer](MAX_HOSTS)
        self._refusing = ExpiringCache[Origin, bool](monotonic, MAX_HOSTS)

    def record(self, url: Url, request_url: Url) -> None:
        """Note that the host of `url` has answered a request for `request_url`."""
        self._last.put(url.origin, _Answer(request_url, self._monotonic()), 1)
        self._refusing.discard(url.origin)

    def record_refusal(self, url: Url) -> None:
        """Note that the host of a URL refuses everything that was tried."""
        self._refusing.put(url.origin, True, REFUSAL_SECONDS)  # noqa: FBT003 - a cached value

    def last_answered_url(self, url: Url) -> Url | None:
        """Return the URL of the last request that the host of `url` has answered, or None."""
        answer = self._last.get(url.origin)
        if answer is None:
            return None
        return answer.request_url

    def is_answering(self, url: Url, request_url: Url) -> bool | None:
        """
        Return whether the host of `url` answers requests for other URLs than `request_url`.

        Return None if that has to be tried.
        """
        answer = self._last.get(url.origin)
        # an answer to the same request says nothing: it may be the one that is refused now
        is_of_other_request = answer is not None and answer.request_url != request_url
        if answer and is_of_other_request and self._monotonic() - answer.at <= FRESH_SECONDS:
            return True
        if self._refusing.get(url.origin):
            return False
        return None
