"""
Which hosts of an upstream index answer: a refusal of one URL is no outage.

A request for a URL may be redirected, so the host that answers or refuses the request need not be
the host of that URL. A host may refuse one URL, such as a page that these credentials may not read,
and answer all others. Only a host that refuses everything counts as down.
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
"""Hosts of one index whose last answer is remembered."""


class _Answer(Struct, frozen=True):
    """An answer of a host."""

    request_url: Url
    """The URL of the request, perhaps at another host that has redirected the request."""
    answered_at: float
    """When the host has answered, by the monotonic clock."""


class AnsweringHosts:
    """The last answers of the hosts of one upstream index. Threads may share it."""

    def __init__(self, monotonic: Clock) -> None:
        self._monotonic = monotonic
        self._last_answers = LruCache[Origin, _Answer](MAX_HOSTS)
        self._refusing = ExpiringCache[Origin, bool](monotonic, MAX_HOSTS)

    def record(self, url: Url, request_url: Url) -> None:
        """Note that the host of `url` has answered a request for `request_url`."""
        answer = _Answer(request_url, self._monotonic())
        self._last_answers.put(url.origin, answer, 1)
        self._refusing.discard(url.origin)

    def record_refusal(self, url: Url) -> None:
        """Note that the host of a URL refuses everything that was tried."""
        self._refusing.put(url.origin, True, REFUSAL_SECONDS)  # noqa: FBT003 - a cached value

    def last_answered_url(self, url: Url) -> Url | None:
        """Return the URL of the last request that the host of `url` has answered, or None."""
        answer = self._last_answers.get(url.origin)
        if answer is None:
            return None
        return answer.request_url

    def is_answering(self, url: Url, request_url: Url) -> bool | None:
        """
        Return whether the host of `url` answers requests for other URLs than `request_url`.

        Return None if nothing says it, so that it has to be tried.
        """
        answer = self._last_answers.get(url.origin)
        # an answer to the same request says nothing: it may be the one that is refused now
        if answer is not None and answer.request_url != request_url:
            age = self._monotonic() - answer.answered_at
            if age <= FRESH_SECONDS:
                return True
        if self._refusing.get(url.origin):
            return False
        return None
