"""The log of the store errors that make requests fail."""

import logging
from collections.abc import Callable
from typing import Final

from wheelyard.concurrency.log_rate_limit import LogRateLimit
from wheelyard.errors import OVERLOADED, RATE_LIMITED, Unavailable, WheelyardError

logger = logging.getLogger("wheelyard")

NOT_STORE_ERRORS: Final = frozenset({OVERLOADED, RATE_LIMITED, "identity_unavailable"})
"""Codes of `Unavailable` that are not the store's errors, or that are logged elsewhere."""


class StoreErrorLog:
    """Logs store errors that made requests fail, at most six a minute."""

    def __init__(self, monotonic: Callable[[], float], *, is_local: bool) -> None:
        self._rate_limit = LogRateLimit(6, monotonic)
        # the store of a bucket logs its outages itself
        self._ignored = NOT_STORE_ERRORS | (set() if is_local else {"storage_unavailable"})

    def log(self, error: WheelyardError) -> None:
        """Log a store error, at most six a minute; ignore errors that are logged elsewhere."""
        if not isinstance(error, Unavailable) or error.code in self._ignored:
            return
        left_out = self._rate_limit.acquire()
        if left_out is not None:
            more = f" ({left_out} more were refused since the last such line)" if left_out else ""
            logger.warning("a request was refused, %s: %s%s", error.code, error.message, more)
