"""
What was found out about a credential, for a while, without keeping the credential.

An entry lies under an HMAC of the secret with a key of this process: nothing in memory can be
replayed, and no two kinds of credential can meet under one name.
"""

import hmac
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Final, Generic, TypeVar

CAPACITY: Final = 10_000

V = TypeVar("V")


class Verdicts(Generic[V]):
    """
    Verdicts by the mark of a credential; the least recently used are forgotten first.

    Args:
        process_key: 32 random bytes of this process.
        monotonic: Seconds that never jump.
        capacity: How many are kept.
    """

    def __init__(
        self, process_key: bytes, monotonic: Callable[[], float], capacity: int = CAPACITY
    ) -> None:
        self._process_key = process_key
        self._monotonic = monotonic
        self._capacity = capacity
        self._held: OrderedDict[bytes, tuple[V, float]] = OrderedDict()
        self._lock = Lock()

    def mark(self, *parts: str) -> bytes:
        """Return what a credential is known by: the HMAC of its kind, context and secret."""
        return hmac.digest(self._process_key, "\0".join(parts).encode(), "sha256")

    def get(self, mark: bytes) -> V | None:
        """Return the verdict, if there is one that still holds."""
        with self._lock:
            held = self._held.get(mark)
            if held is None:
                return None
            if self._monotonic() >= held[1]:
                del self._held[mark]
                return None
            self._held.move_to_end(mark)
            return held[0]

    def put(self, mark: bytes, verdict: V, seconds: float) -> None:
        """Keep a verdict for so many seconds; for none or fewer it is not kept."""
        if seconds <= 0:
            return
        with self._lock:
            self._held[mark] = (verdict, self._monotonic() + seconds)
            self._held.move_to_end(mark)
            if len(self._held) > self._capacity:
                self._held.popitem(last=False)
