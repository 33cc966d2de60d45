"""
The log of requests, in order, with the price class of each request.

The classes are those of the service's price list: A for writes and listings, B for reads, none for
deletions. A resumable upload is one operation, charged when it starts. A record is
made just before the response is sent, so a client with the response finds the record.
"""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from threading import Lock
from typing import Literal

Price = Literal["A", "B", "free"]

PRICES: dict[str, Price] = {
    "insert": "A",
    "resumable-start": "A",
    "resumable-chunk": "free",
    "resumable-status": "free",
    "list": "A",
    "rewrite": "A",
    "get": "B",
    "media": "B",
    "signed": "B",
    "public": "B",
    "delete": "free",
    "sign": "free",
    "metadata": "free",
    "token": "free",
    "unknown": "free",
}


@dataclass(frozen=True, slots=True)
class Record:
    """One request."""

    kind: str
    price: Price
    bucket: str
    name: str
    status: int
    method: str
    target: str
    authorization: bool


class RequestLog:
    """Every request since the start, or since it was cleared."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._records: list[Record] = []

    def add(self, record: Record) -> None:
        """Take down one request."""
        with self._lock:
            self._records.append(record)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._records.clear()

    def records(self, kind: str = "*", name: str = "*", price: Price | None = None) -> list[Record]:
        """Return the requests, in order, whose kind and name match these globs."""
        with self._lock:
            found = list(self._records)
        return [
            each
            for each in found
            if fnmatchcase(each.kind, kind)
            and fnmatchcase(each.name, name)
            and price in (None, each.price)
        ]

    def kinds(self, name: str = "*") -> list[str]:
        """Return the kinds of the requests, in order."""
        return [each.kind for each in self.records(name=name)]

    def count(self, price: Price | None = None, kind: str = "*", name: str = "*") -> int:
        """
        Return how many requests there were, whatever came of them.

        The service does not charge for what it answers with 4xx or 5xx; this counts those too.
        """
        return len(self.records(kind, name, price))
