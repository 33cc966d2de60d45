"""
What goes wrong, planned by a test: each fault is used up by the requests that it matches.

    server.faults.add(StatusAfter(503), "insert", "projects/*")       # carried out, then 503
    server.faults.add(StatusBefore(429, retry_after="1"), "resumable-*", count=2)

    hold = Hold("after")                                              # stop the third insert
    server.faults.add(hold, "insert", "projects/*", skip=2)
    hold.wait()                                                       # it is committed by now
    process.kill()
    hold.release()

A request meets one fault at most: the first that was added, matches, and is not used up. The kind
`*` is every kind that concerns objects: tokens and signatures have to be named.
"""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from threading import Condition, Lock
from typing import Literal

from tests.waiting import TIMEOUT_SECONDS

When = Literal["before", "after"]
"""Before or after the request is carried out."""


@dataclass(frozen=True, slots=True)
class StatusBefore:
    """
    Read the request, do nothing, and answer this status, with Retry-After unless empty.

    `reason` is the short name of the error, in the words of the service; it has one by default.
    """

    status: int
    retry_after: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class StatusAfter:
    """Carry the request out, and then answer this status."""

    status: int
    retry_after: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class DropBefore:
    """Close the connection without reading the body: of a multipart body, its first part is."""


@dataclass(frozen=True, slots=True)
class DropAfter:
    """Carry the request out, and close the connection without an answer."""


@dataclass(frozen=True, slots=True)
class CutAt:
    """Promise the whole body, and close the connection after so many bytes of it."""

    position: int


@dataclass(frozen=True, slots=True)
class ResetAt:
    """Promise the whole body, and reset the connection after so many bytes of it, at most."""

    position: int


@dataclass(frozen=True, slots=True)
class FlipByte:
    """Send one byte of the body wrong; the hash in the header stays right."""

    position: int


@dataclass(frozen=True, slots=True)
class OtherRange:
    """Answer as if this had been the header Range; as if there had been none, if it is empty."""

    asked: str = ""


@dataclass(frozen=True, slots=True)
class Stall:
    """Wait so many seconds, before the request is carried out or after."""

    seconds: float
    when: When = "before"


@dataclass(frozen=True, slots=True)
class Slow:
    """Read the body of the request, and send that of the answer, so many bytes a second."""

    rate: int


class Hold:
    """Block requests "before" or "after" they are carried out, until the test releases them."""

    def __init__(self, when: When) -> None:
        self.when = when
        self._changed = Condition()
        self._held = 0
        self._ended: Literal["", "released", "abandoned"] = ""

    def wait(self, count: int = 1, timeout: float = TIMEOUT_SECONDS) -> None:
        """Return as soon as so many requests have been held."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._held >= count, timeout):
                raise TimeoutError(f"{self._held} requests were held, not {count}")

    def release(self) -> None:
        """Let the held requests go on, and those that would have been held."""
        self._end("released")

    def abandon(self) -> None:
        """Close the connections of the held requests; what was held before is never done."""
        self._end("abandoned")

    def enter(self) -> bool:
        """Wait, as a request; return whether it goes on."""
        with self._changed:
            self._held += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: bool(self._ended))
            return self._ended == "released"

    def _end(self, how: Literal["released", "abandoned"]) -> None:
        with self._changed:
            self._ended = self._ended or how
            self._changed.notify_all()


Fault = (
    StatusBefore
    | StatusAfter
    | DropBefore
    | DropAfter
    | CutAt
    | ResetAt
    | FlipByte
    | OtherRange
    | Stall
    | Slow
    | Hold
)

SPECIAL = frozenset({"metadata", "token", "sign", "unknown"})


class Planned:
    """A planned fault; `taken` counts the requests that it has hit."""

    def __init__(self, fault: Fault, kind: str, name: str, count: int, skip: int) -> None:
        self.fault = fault
        self.taken = 0
        self._kind = kind
        self._name = name
        self._count = count
        self._skip = skip

    def matches(self, kind: str, name: str) -> bool:
        """Return whether this is a request for it, and count it if so."""
        known = fnmatchcase(kind, self._kind) and fnmatchcase(name, self._name)
        if not known or (self._kind == "*" and kind in SPECIAL) or self.taken >= self._count:
            return False
        if self._skip:
            self._skip -= 1
            return False
        self.taken += 1
        return True


class FaultPlan:
    """The faults to come, in the order in which they were added."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._planned: list[Planned] = []

    def add(
        self, fault: Fault, kind: str = "*", name: str = "*", *, count: int = 1, skip: int = 0
    ) -> Planned:
        """Plan a fault for `count` requests of a kind and a name (globs), after `skip` of them."""
        planned = Planned(fault, kind, name, count, skip)
        with self._lock:
            self._planned.append(planned)
        return planned

    def clear(self) -> None:
        """Forget the plan, and let go of whatever is held."""
        with self._lock:
            planned, self._planned = self._planned, []
        for each in planned:
            if isinstance(each.fault, Hold):
                each.fault.release()

    def abandon(self) -> None:
        """End every hold: the server goes."""
        with self._lock:
            held = [each.fault for each in self._planned if isinstance(each.fault, Hold)]
        for each in held:
            each.abandon()

    def take(self, kind: str, name: str) -> Fault | None:
        """Return the fault that this request meets, None if it meets none."""
        with self._lock:
            return next((each.fault for each in self._planned if each.matches(kind, name)), None)
