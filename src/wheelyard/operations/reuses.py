"""How often a statement was used that may be used again, because its issuer does not mark it."""

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Final

REUSES: Final = 20
"""Tokens an hour that one statement is good for, in each process."""
REUSE_WINDOW: Final = 3600.0
"""Seconds."""


class Reuses:
    """
    The uses of each such statement in this process.

    Only statements that hold are counted, so there are never many.

    Args:
        monotonic: Seconds that never jump.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = Lock()
        self._begun: OrderedDict[bytes, tuple[float, int]] = OrderedDict()

    def allow(self, digest: bytes) -> bool:
        """Count one use, and return whether it is among the first twenty of an hour."""
        now = self._monotonic()
        with self._lock:
            while self._begun and next(iter(self._begun.values()))[0] + REUSE_WINDOW <= now:
                self._begun.popitem(last=False)
            since, used = self._begun.get(digest, (now, 0))
            self._begun[digest] = (since, used + 1)
            return used < REUSES
