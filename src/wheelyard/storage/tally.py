"""How often a store was asked what: counted, because a bucket's owner pays for every operation."""

from collections import Counter
from dataclasses import dataclass, field
from threading import Lock


@dataclass(frozen=True, slots=True, order=True)
class Operation:
    """One kind of operation, and the class it is billed in."""

    kind: str
    """insert, copy, list, get, read, delete, or the piece of a large insert."""
    price_class: str
    """Of Cloud Storage's price list: A, B or free."""


@dataclass(frozen=True, slots=True)
class Tally:
    """A count of operations, from the start of the process; safe to share between threads."""

    _counts: Counter[Operation] = field(default_factory=Counter)
    _lock: Lock = field(default_factory=Lock)

    def add(self, operation: Operation) -> None:
        """Count one operation."""
        with self._lock:
            self._counts[operation] += 1

    def counts(self) -> dict[Operation, int]:
        """Return how often each operation was asked for so far."""
        with self._lock:
            return dict(self._counts)
