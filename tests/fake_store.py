"""
A store for tests: another one, whose calls are recorded, fail and wait by a plan.

A plan is a few steps. Each is about the calls whose verb and key match, `nth` of them and the next
`times - 1`: `Fault` lets them fail, `Before` and `After` call a function.
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from fnmatch import fnmatchcase
from itertools import count
from math import inf
from threading import Event
from typing import Final, TypeVar

from tests.waiting import TIMEOUT_SECONDS
from wheelyard.errors import Conflict, Unavailable
from wheelyard.storage import base
from wheelyard.storage.base import Key, Store
from wheelyard.storage.forwarding import ForwardingStore

T = TypeVar("T")

ALWAYS: Final = inf
"""As the `times` of a step: all calls that match from the `nth` one on."""
WRITES: Final = "put|put_file|delete"
"""The verbs that change an object."""


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


class Step:
    """A part of a plan: about the `nth` call that matches, and the next `times - 1` of them."""

    verb: str
    """A pattern, or several with `|` between them."""
    key: str
    """A pattern."""
    nth: int
    times: float

    def matches(self, verb: str, key: str) -> bool:
        """Return whether a call is one of those that this step counts."""
        return is_one_of(verb, self.verb) and fnmatchcase(key, self.key)


@dataclass(frozen=True)
class Before(Step):
    """Calls a function before the call happens; what that raises, the call does."""

    action: Callable[[], object]
    verb: str = "*"
    key: str = "*"
    nth: int = 1
    times: float = 1


@dataclass(frozen=True)
class After(Step):
    """Calls a function after the call has happened, and before its caller has the answer."""

    action: Callable[[], object]
    verb: str = "*"
    key: str = "*"
    nth: int = 1
    times: float = 1


@dataclass(frozen=True)
class Fault(Step):
    """Lets the call fail. The steps behind it in the plan do not count this call."""

    kind: FaultKind | Exception
    """An exception is raised instead of the call."""
    verb: str = "*"
    key: str = "*"
    nth: int = 1
    times: float = 1

    def fail_before(self, key: str) -> None:
        """Raise the error of a call that does not happen."""
        match self.kind:
            case FaultKind.LOST_RACE:
                raise Conflict(base.conflict_message(Key(key)))
            case FaultKind.CRASH:
                raise ProcessCrash
            case FaultKind.NOT_DONE:
                raise Unavailable("The store did not answer.")
            case FaultKind.TOO_OFTEN:
                raise Unavailable("Too many write at once.", code="overloaded")
            case Exception():
                raise self.kind

    def fail_after(self, reply: object) -> None:
        """Raise the error of a call that has happened."""
        if isinstance(reply, Generator):
            next(reply, None)  # else it has not begun, and does not close the file that it has
            reply.close()
        if self.kind is FaultKind.DONE:
            raise Unavailable("The reply was lost.")
        raise ProcessCrash


class Pause:
    """The action of a step at which a call waits until the test lets it go on."""

    def __init__(self) -> None:
        self.reached = Event()
        self.go_on = Event()

    def __call__(self) -> None:
        """Wait, as the call."""
        self.reached.set()
        assert self.go_on.wait(TIMEOUT_SECONDS)

    def wait_for_call(self) -> None:
        """Wait, as the test, until a call waits here."""
        assert self.reached.wait(TIMEOUT_SECONDS)


class WrappedStore(ForwardingStore):
    """
    Hands each verb, its key and what carries it out to `_call`.

    The base of `FakeStore`, and of the stores of `tests/catalog` whose calls have no plan, as each
    waits until an exploration of all orders chooses its outcome.
    """

    def get(self, key: Key, unless: base.ObjectVersion | None = None) -> base.Found:
        """Return an object."""
        return self._call("get", key, lambda: self.inner.get(key, unless))

    def read(self, key: Key, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Return a stream."""
        return self._call("read", key, lambda: self.inner.read(key, start, stop))

    def put(
        self,
        key: Key,
        body: bytes,
        expect: base.ObjectVersion | None,
        kind: base.WebType | None = None,
    ) -> base.ObjectVersion:
        """Write."""
        return self._call("put", key, lambda: self.inner.put(key, body, expect, kind))

    def put_file(self, key: Key, body: base.FileBody, kind: base.WebType | None = None) -> None:
        """Write a file."""
        self._call("put_file", key, lambda: self.inner.put_file(key, body, kind))

    def delete(self, key: Key) -> None:
        """Delete."""
        self._call("delete", key, lambda: self.inner.delete(key))

    def list(self, prefix: str, after: str = "") -> Iterator[base.Entry]:
        """List."""
        found = self._call("list", prefix, lambda: [*self.inner.list(prefix, after)])
        return iter(found)

    def sign(self, key: Key, lifetime: timedelta) -> str | None:
        """Return a URL."""
        return self._call("sign", key, lambda: self.inner.sign(key, lifetime))

    def _call(self, verb: str, key: str, act: Callable[[], T]) -> T:
        raise NotImplementedError


class FakeStore(WrappedStore):
    """Another store, whose calls are recorded and follow a plan."""

    def __init__(self, inner: Store, *plan: Step) -> None:
        self.inner = inner
        self.calls: list[tuple[str, str]] = []
        """Every call so far: verb and key."""
        self._has_died = False
        self.follow(*plan)

    def follow(self, *plan: Step) -> None:
        """Follow another plan, whose steps count the calls from now on; without any, none."""
        self._plan = [(step, count(1)) for step in plan]

    def count(self, verb: str, key: str = "*") -> int:
        """Return how many calls so far match these patterns."""
        return sum(is_one_of(one, verb) and fnmatchcase(other, key) for one, other in self.calls)

    def time(self, key: Key) -> float:
        """Return the time."""
        return self._call("time", key, lambda: self.inner.time(key))

    def _call(self, verb: str, key: str, act: Callable[[], T]) -> T:
        if self._has_died:
            raise ProcessCrash
        self.calls.append((verb, key))
        steps = self._due(verb, key)
        fault = next((step for step in steps if isinstance(step, Fault)), None)
        if fault is not None:
            self._has_died = fault.kind in {FaultKind.CRASH, FaultKind.CRASH_AFTER}
        for step in steps:
            if isinstance(step, Before):
                step.action()
        if fault is not None:
            fault.fail_before(key)
        reply = act()
        for step in steps:
            if isinstance(step, After):
                step.action()
        if fault is not None:
            fault.fail_after(reply)
        return reply

    def _due(self, verb: str, key: str) -> list[Step]:
        due = list[Step]()
        for step, numbers in self._plan:
            if step.matches(verb, key) and step.nth <= next(numbers) < step.nth + step.times:
                due.append(step)
                if isinstance(step, Fault):
                    break
        return due


def is_one_of(verb: str, patterns: str) -> bool:
    """Return whether a verb matches one of the patterns, which have `|` between them."""
    return any(fnmatchcase(verb, pattern) for pattern in patterns.split("|"))
