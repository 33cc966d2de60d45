"""
What was found out about a credential, for a while, without keeping the credential.

An entry lies under an HMAC of the secret with a key of this process: nothing in memory can be
replayed, and no two kinds of credential can meet under one name.
"""

import hmac
from collections.abc import Callable
from typing import Final, TypeVar

from wheelyard.concurrency.caches import TimedCache

CAPACITY: Final = 10_000

V = TypeVar("V")


class Verdicts(TimedCache[bytes, V]):
    """
    Verdicts by the mark of a credential.

    Args:
        process_key: 32 random bytes of this process.
        monotonic: Seconds that never jump.
        capacity: How many are kept.
    """

    def __init__(
        self, process_key: bytes, monotonic: Callable[[], float], capacity: int = CAPACITY
    ) -> None:
        super().__init__(monotonic, capacity)
        self._process_key = process_key

    def mark(self, *parts: str) -> bytes:
        """Return what a credential is known by: the HMAC of its kind, context and secret."""
        return hmac.digest(self._process_key, "\0".join(parts).encode(), "sha256")
