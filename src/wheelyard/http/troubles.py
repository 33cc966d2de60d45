"""
What the log says of a store that fails: a client is told of it, and its operator has to know, too.

So many lines a minute, since every client that asks meanwhile is told the same.
"""

import logging
from collections.abc import Callable
from typing import Final

from wheelyard.catalog.races import OVERLOADED
from wheelyard.concurrency.ration import Ration
from wheelyard.errors import IndexFault, Unavailable
from wheelyard.operations.doors import RATE_LIMITED

LINES: Final = 6
"""Lines a minute."""
OF_OTHERS: Final = frozenset({OVERLOADED, RATE_LIMITED, "identity_unavailable"})
"""Codes of what is no store's trouble, or has been logged where it was seen."""
UNAVAILABLE: Final = "storage_unavailable"

logger = logging.getLogger("wheelyard")


class Troubles:
    """
    The lines of one process about its store.

    Args:
        monotonic: Seconds that never jump.
        is_near: Whether the store is a folder; a bucket's silence is logged where it is asked.
    """

    def __init__(self, monotonic: Callable[[], float], *, is_near: bool) -> None:
        self._ration = Ration(LINES, monotonic)
        self._silent = OF_OTHERS if is_near else OF_OTHERS | {UNAVAILABLE}

    def note(self, fault: IndexFault) -> None:
        """Say that a request was refused, if that is the store's doing."""
        if not isinstance(fault, Unavailable) or fault.code in self._silent:
            return
        left_out = self._ration.take()
        if left_out is not None:
            more = f" ({left_out} more were refused since the last such line)" if left_out else ""
            logger.warning("a request was refused, %s: %s%s", fault.code, fault.message, more)
