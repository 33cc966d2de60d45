"""The number of API tokens that expire soon, for the metrics."""

from threading import Lock
from typing import Final

from prometheus_client import CollectorRegistry, Gauge

from wheelyard.authentication.api_tokens import ApiTokens
from wheelyard.catalog.token_records import StartThread, in_background
from wheelyard.errors import WheelyardError
from wheelyard.model.token import EXPIRY_WARNING

INTERVAL_SECONDS: Final = 3600.0
"""Seconds from one count to the next one, at least; also after a failed one."""


class ExpiringTokens:
    """
    Counts the tokens that expire soon: in the background, when somebody asks, and once an hour.

    On a bucket a count costs one class A operation for each thousand tokens, and one class B
    operation for each record that this process has not read yet. So a server whose metrics nobody
    reads never counts, and a request for the metrics never waits for the store.
    """

    def __init__(
        self, tokens: ApiTokens, registry: CollectorRegistry, start: StartThread = in_background
    ) -> None:
        self._tokens = tokens
        self._start = start
        self._next_at = float("-inf")
        self._lock = Lock()
        self._count = Gauge(
            "wheelyard_expiring_tokens",
            f"Active API tokens that expire within {EXPIRY_WARNING.days} days, without those of CI "
            "jobs and those that another replaces; counted once an hour.",
            registry=registry,
            multiprocess_mode="mostrecent",
        )

    def refresh(self) -> None:
        """Start a count, unless one was started within the last hour; never waits or raises."""
        now = self._tokens.runtime.monotonic()
        with self._lock:
            if now < self._next_at:
                return
            self._next_at = now + INTERVAL_SECONDS
        try:
            self._start(self._count_tokens)
        except RuntimeError:  # no more threads
            return

    def _count_tokens(self) -> None:
        try:
            self._count.set(len(self._tokens.expiring()))
        except WheelyardError:  # the store logs its errors itself
            return
