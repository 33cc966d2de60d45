"""A store with planned faults."""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import TypeVar

from tests.storage.wrapping import WrappedStore
from wheelyard.errors import Conflict, Unavailable
from wheelyard.storage.base import Key, Store, conflict_message

T = TypeVar("T")


class FaultKind(StrEnum):
    """The way in which a call fails."""

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


class ProcessCrash(BaseException):
    """The writer's process has died."""


@dataclass(frozen=True)
class Fault:
    """One failure: of the `nth` call that matches, and of the next `times - 1` of them."""

    kind: FaultKind
    verb: str = "*"
    key: str = "*"
    nth: int = 1
    times: int = 1


@dataclass
class FaultyStore(WrappedStore):
    """Another store, with faults."""

    store: Store
    faults: tuple[Fault, ...] = ()
    calls: list[tuple[str, str]] = field(default_factory=list)
    """Every call so far: verb and key."""
    _seen: dict[int, int] = field(default_factory=dict)
    _dead: bool = False

    def _call(self, verb: str, key: str, act: Callable[[], T]) -> T:
        if self._dead:
            raise ProcessCrash
        self.calls.append((verb, key))
        kind = self._fault(verb, key)
        if kind is FaultKind.LOST_RACE:
            raise Conflict(conflict_message(Key(key)))
        self._dead = kind in {FaultKind.CRASH, FaultKind.CRASH_AFTER}
        if kind is FaultKind.CRASH:
            raise ProcessCrash
        if kind is FaultKind.NOT_DONE:
            raise Unavailable("The store did not answer.")
        if kind is FaultKind.TOO_OFTEN:
            raise Unavailable("Too many write at once.", code="overloaded")
        reply = act()
        if kind in {FaultKind.DONE, FaultKind.CRASH_AFTER} and isinstance(reply, Generator):
            next(reply, None)  # else it has not begun, and does not close the file that it has
            reply.close()
        if kind is FaultKind.DONE:
            raise Unavailable("The reply was lost.")
        if kind is FaultKind.CRASH_AFTER:
            raise ProcessCrash
        return reply

    def _fault(self, verb: str, key: str) -> FaultKind | None:
        for number, fault in enumerate(self.faults):
            if fnmatchcase(verb, fault.verb) and fnmatchcase(key, fault.key):
                seen = self._seen[number] = self._seen.get(number, 0) + 1
                if fault.nth <= seen < fault.nth + fault.times:
                    return fault.kind
        return None
