"""Log lines about a store that requests fail on."""

import logging
from collections.abc import Callable
from typing import Final

from wheelyard.concurrency.log_rate_limit import LogRateLimit
from wheelyard.errors import (
    OVERLOADED,
    RATE_LIMITED,
    Unavailable,
    WheelyardError,
)

logger = logging.getLogger("wheelyard")

NOT_STORE_ERRORS: Final = frozenset({OVERLOADED, RATE_LIMITED, "identity_unavailable"})
"""Codes of what is no store's trouble, or is logged elsewhere."""


class StoreErrorLog:
    """What the log says of a store that requests fail on."""

    def __init__(self, monotonic: Callable[[], float], *, is_local: bool) -> None:
        self._ration = LogRateLimit(6, monotonic)
        # a bucket's silence is logged where the bucket is asked
        self._silent = NOT_STORE_ERRORS if is_local else NOT_STORE_ERRORS | {"storage_unavailable"}

    def log(self, fault: WheelyardError) -> None:
        """Log that a request was refused, if that is the store's doing."""
        if not isinstance(fault, Unavailable) or fault.code in self._silent:
            return
        left_out = self._ration.take()
        if left_out is not None:
            more = f" ({left_out} more were refused since the last such line)" if left_out else ""
            logger.warning("a request was refused, %s: %s%s", fault.code, fault.message, more)
