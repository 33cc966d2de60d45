"""Which hosts of an upstream index answer: a refusal of one thing is no outage."""

from typing import Final

from msgspec import Struct

from wheelyard.concurrency.caches import ExpiringCache, LruCache
from wheelyard.concurrency.runtime import Clock
from wheelyard.http_client.urls import Url

Origin = tuple[str, str, int]
"""Scheme, host and port."""

FRESH_SECONDS: Final = 1.0
"""Age up to which an answer shows that a host answers: credentials may end at any moment."""
SILENCE_SECONDS: Final = 30.0
"""Seconds for which a host that refuses everything is not tested again, unless it answers."""
MAX_HOSTS: Final = 100
"""Hosts of one index of which the last answer is remembered."""


class _Answer(Struct, frozen=True):
    """An answer of a host."""

    asked: Url
    """The URL that has led to the host."""
    at: float


class AnsweringHosts:
    """The last answers of the hosts of one upstream index. Threads may share it."""

    def __init__(self, monotonic: Clock) -> None:
        self._monotonic = monotonic
        self._last = LruCache[Origin, _Answer](MAX_HOSTS)
        self._silent = ExpiringCache[Origin, bool](monotonic, MAX_HOSTS)

    def record(self, answered: Url, asked: Url) -> None:
        """Note that the host of the URL `answered` has answered a request for `asked`."""
        self._last.put(answered.origin, _Answer(asked, self._monotonic()), 1)
        self._silent.discard(answered.origin)

    def record_silence(self, refused: Url) -> None:
        """Note that the host of a URL refuses everything that was tried."""
        self._silent.put(refused.origin, True, SILENCE_SECONDS)  # noqa: FBT003 - a cached value

    def last(self, refused: Url) -> Url | None:
        """Return the last URL that the host of a URL has answered, or None."""
        answer = self._last.get(refused.origin)
        if answer is None:
            return None
        return answer.asked

    def is_answering(self, refused: Url, asked: Url) -> bool | None:
        """
        Return whether the host of a URL answers requests for others than `asked`.

        Return None if that has to be tried.
        """
        answer = self._last.get(refused.origin)
        # an answer to the same request says nothing: it may be the one that is refused now
        is_of_other_request = answer is not None and answer.asked != asked
        if answer and is_of_other_request and self._monotonic() - answer.at <= FRESH_SECONDS:
            return True
        if self._silent.get(refused.origin):
            return False
        return None
