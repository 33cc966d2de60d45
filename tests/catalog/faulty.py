"""A store that fails where it is told to: faults are data."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeVar

from wheelyard.errors import Conflict, Unavailable
from wheelyard.storage.base import (
    Entry,
    Key,
    NotModified,
    ObjectVersion,
    Store,
    Stored,
    WebType,
    conflict,
)

T = TypeVar("T")


class Kind(StrEnum):
    """How a call fails."""

    LOST_RACE = "lost race"
    """Conflict, and nothing happened; the next try may succeed."""
    NOT_DONE = "not done"
    """Unavailable, and nothing happened."""
    TOO_OFTEN = "too often"
    """Unavailable, and nothing happened: too many are writing at the same time."""
    DONE = "done"
    """Unavailable, though it happened."""
    CRASH = "crash"
    """The writer stops for ever, and nothing happened."""
    CRASH_AFTER = "crash after"
    """The writer stops for ever, after it happened."""


class Crash(BaseException):
    """The writer's process has died."""


@dataclass(frozen=True)
class Fault:
    """One failure: of the `nth` call that matches, and of the next `times - 1` of them."""

    kind: Kind
    verb: str = "*"
    key: str = "*"
    nth: int = 1
    times: int = 1


@dataclass
class FaultyStore(Store):
    """
    Another store, with faults.

    Args:
        store: What really keeps the objects.
        faults: What fails, and how.
    """

    store: Store
    faults: tuple[Fault, ...] = ()
    calls: list[tuple[str, str]] = field(default_factory=list)
    """Every call so far: verb and key."""
    _seen: dict[int, int] = field(default_factory=dict)
    _dead: bool = False

    def get(
        self, key: Key, unless_version: ObjectVersion | None = None
    ) -> Stored | NotModified | None:
        """Return an object, or fail."""
        return self._call("get", key, lambda: self.store.get(key, unless_version))

    def read(self, key: Key, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Return a stream, or fail."""
        return self._call("read", key, lambda: self.store.read(key, start, stop))

    def put(
        self,
        key: Key,
        body: bytes | Path,
        expect: ObjectVersion | None,
        kind: WebType | None = None,
    ) -> ObjectVersion:
        """Write, or fail."""
        return self._call("put", key, lambda: self.store.put(key, body, expect, kind))

    def delete(self, key: Key, expect: ObjectVersion | None) -> None:
        """Delete, or fail."""
        self._call("delete", key, lambda: self.store.delete(key, expect))

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """List, or fail."""
        return self._call("list", prefix, lambda: self.store.list(prefix, after))

    def sign(self, key: Key, lifetime: timedelta) -> str | None:
        """Return what the store says."""
        return self.store.sign(key, lifetime)

    def path_of(self, key: Key) -> Path | None:
        """Return what the store says."""
        return self.store.path_of(key)

    def _call(self, verb: str, key: str, act: Callable[[], T]) -> T:
        if self._dead:
            raise Crash
        self.calls.append((verb, key))
        kind = self._fault(verb, key)
        if kind is Kind.LOST_RACE:
            raise Conflict(conflict(Key(key)))
        self._dead = kind in {Kind.CRASH, Kind.CRASH_AFTER}
        if kind is Kind.CRASH:
            raise Crash
        if kind is Kind.NOT_DONE:
            raise Unavailable("The store did not answer.")
        if kind is Kind.TOO_OFTEN:
            raise Unavailable("Too many write at once.", code="overloaded")
        reply = act()
        if kind is Kind.DONE:
            raise Unavailable("The reply was lost.")
        if kind is Kind.CRASH_AFTER:
            raise Crash
        return reply

    def _fault(self, verb: str, key: str) -> Kind | None:
        for number, fault in enumerate(self.faults):
            if fnmatchcase(verb, fault.verb) and fnmatchcase(key, fault.key):
                seen = self._seen[number] = self._seen.get(number, 0) + 1
                if fault.nth <= seen < fault.nth + fault.times:
                    return fault.kind
        return None
