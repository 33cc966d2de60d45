"""
A deterministic scheduler of the writers of one process: their store calls happen one at a time.

Writers are threads that run the product's own code. Each store call of a writer waits at a gate
until the test chooses its outcome: it is done; it is done and its reply is lost; it is lost before
it is done; or the process crashes. A writer that waits for another one pauses, too; as soon as it
could go on, the test decides when it does.

Exactly one thread runs at a time: that of the test, or of the writer which the test resumed. They
alternate by locks, so a schedule has one result on every machine.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from threading import Lock, Thread, current_thread
from typing import TypeVar

import pytest

from tests.fake_store import WrappedStore
from tests.fake_time import Clock
from wheelyard.catalog import keys
from wheelyard.errors import Unavailable, WheelyardError
from wheelyard.storage.base import ABSENT, Key, ObjectVersion, Store, WebType
from wheelyard.storage.memory import MemoryStore

T = TypeVar("T")

Work = Callable[[], str | None]
"""What a writer does; returns its result, None if there is nothing to tell."""

IMMEDIATE = frozenset({"sign"})
"""Calls that change nothing, and that no other call can change: they wait for nobody."""
START_TIME = Clock().seconds()
DAY_SECONDS = 86_400
START = "start"
"""The gate at which a writer begins: the first one may lead the others."""
LATE = "late"
"""A call of a writer that was told before that its answer is lost."""
GO_ON = "go on"
"""The gate of a writer after the other writer that it waited for has finished."""


class CallOutcome(StrEnum):
    """The outcome of a store call, chosen by the test."""

    DONE = "done"
    LOST_DONE = "lost, done"
    LOST_NOT_DONE = "lost, not done"
    CRASH = "crash"
    LATE = "lost, done late"
    """It happens at any time after the writer was told that the answer is lost."""


Step = tuple[str, CallOutcome]
Schedule = tuple[Step, ...]


class Crash(BaseException):
    """Simulates that the process of this writer died."""


@dataclass(frozen=True)
class Call:
    """A store call that waits at the gate."""

    verb: str
    key: str

    def is_like(self, other: "Call") -> bool:
        """Return whether this has the verb of another call, and its key begins as that one's."""
        return self.verb == other.verb and self.key.startswith(other.key)

    @property
    def outcomes(self) -> tuple[CallOutcome, ...]:
        """The possible outcomes, success first."""
        if self.verb in {START, GO_ON, LATE}:
            return (CallOutcome.DONE,)
        changes = self.verb in {"put", "put_file", "delete"}
        either = (CallOutcome.DONE, CallOutcome.LOST_NOT_DONE, CallOutcome.CRASH)
        return (*either, CallOutcome.LOST_DONE) if changes else either


def reply_to(outcome: CallOutcome, act: Callable[[], object]) -> object:
    """Make a call, unless it is lost; return the reply, or the error that its writer meets."""
    if outcome in {CallOutcome.LOST_NOT_DONE, CallOutcome.LATE}:
        return Unavailable("The call was lost.")
    try:
        reply = act()
    except WheelyardError as fault:
        reply = fault
    # the writer of a lost call cannot know whether the store would have refused it
    return reply if outcome is CallOutcome.DONE else Unavailable("The reply was lost.")


def told(reply: object) -> object:
    """Return a reply in a form that is equal in every run."""
    if isinstance(reply, WheelyardError):
        return type(reply).__name__
    return tuple(reply) if isinstance(reply, list) else reply


def answer_of(work: Work) -> tuple[str, BaseException | None]:
    """Do a writer's work; return its result, and the error that it ended with."""
    try:
        answer = work()
    except Crash:
        return "crashed", None
    except WheelyardError as fault:
        # without the errors before it and their frames, which have all that the writer had
        fault.__cause__ = fault.__context__ = None
        return f"{type(fault).__name__} {fault.code}", fault.with_traceback(None)
    except BaseException as error:  # noqa: BLE001 - never to be raised; the test reports it
        return "surprised", error
    return answer or "ok", None


class OrdinalStore(MemoryStore):
    """
    A store whose versions count the writes of an object: the same ones in every schedule.

    What is there at the start is two days old.
    """

    def __init__(self, start: Mapping[str, bytes]) -> None:
        super().__init__(lambda: START_TIME - 2 * DAY_SECONDS)
        self._ordinals = Counter[Key]()
        for key, body in start.items():
            self.put(Key(key), body, ABSENT)
        self._clock = lambda: START_TIME

    def put(
        self, key: Key, body: bytes, expect: ObjectVersion | None, kind: WebType | None = None
    ) -> ObjectVersion:
        """See `Store`."""
        self._writes = self._ordinals[key]
        version = super().put(key, body, expect, kind)
        self._ordinals[key] += 1
        return version

    def copy(self) -> "OrdinalStore":
        """Return a store with the same objects and versions."""
        copy = OrdinalStore({})
        copy._objects = dict(self._objects)
        copy._keys = list(self._keys)
        copy._ordinals = Counter(self._ordinals)
        return copy

    def state(self) -> object:
        """Return all that is stored, and the versions that the next writes get."""
        held = frozenset((key, stored) for key, (stored, _) in self._objects.items())
        return held, frozenset(self._ordinals.items())


class WriterThread(Thread):
    """A writer: its name, and its result once it has ended."""

    def __init__(self, name: str, work: Work, scheduler: "Scheduler") -> None:
        super().__init__(name=name, daemon=True)
        self.answer: str | None = None
        self.error: BaseException | None = None
        """The error that it ended with."""
        self.scheduler = scheduler
        self.history: list[object] = []
        """Every reply of its store so far."""
        self._call: Call | None = None
        self._awaited: Future[object] | None = None
        self.outcome = CallOutcome.DONE
        """What becomes of its call."""
        self._turn = Lock()
        self._turn.acquire()
        self._work = work

    def run(self) -> None:
        """Run the writer to its end."""
        self._turn.acquire()
        self.answer, self.error = answer_of(self._enter_and_work)
        self.scheduler.turn.release()

    def _enter_and_work(self) -> str | None:
        self.scheduler.gate(START, "", lambda: None)
        return self._work()

    @property
    def waits_for(self) -> Call | None:
        """The call that waits for the test; None if the writer could not go on."""
        if self._awaited is not None:
            return Call(GO_ON, "") if self._awaited.done() else None
        return self._call

    @property
    def state_name(self) -> str:
        """Where the writer waits: ended, woken, others (waits for another writer) or gate."""
        if self.answer is not None:
            return "ended"
        if self._awaited is not None:
            return "woken" if self._awaited.done() else "others"
        return "gate"

    def wait(self, call: Call | None, awaited: Future[object] | None) -> None:
        """Pause the thread of this writer until the test resumes it."""
        ahead = self.scheduler.ahead
        if call and ahead and ahead[0][0] == self.name and ahead[0][1] is not CallOutcome.CRASH:
            self.outcome = ahead.popleft()[1]  # to change threads would take most of the time
            return
        self._call, self._awaited = call, awaited
        self.scheduler.turn.release()
        self._turn.acquire()
        self._call, self._awaited = None, None

    def go(self, outcome: CallOutcome) -> None:
        """Resume this writer, from the thread of the test, until it waits again."""
        self.outcome = outcome
        self._turn.release()
        self.scheduler.turn.acquire()


@dataclass
class Scheduler:
    """Runs the writers of one process step by step; they may wait for each other."""

    store: OrdinalStore
    writers: dict[str, WriterThread] = field(default_factory=dict)
    turn: Lock = field(default_factory=Lock)
    """Released when the test may run."""
    ahead: deque[Step] = field(default_factory=deque)
    """The steps of a schedule that is played again."""
    orders: dict[str, list[str]] = field(default_factory=dict)
    """The writers that used each key, in order."""
    _has_crashed: bool = False
    _queue: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Waiting writers, with the number of replies of every writer when the wait began."""

    def __post_init__(self) -> None:
        self.turn.acquire()

    def add(self, name: str, work: Work) -> None:
        """Add a writer and run it to its first gate."""
        writer = WriterThread(name, work, self)
        writer.start()
        self.writers[name] = writer
        writer.go(CallOutcome.DONE)

    def waiting(self) -> dict[str, Call]:
        """Return the calls that wait at the gate, by writer."""
        return {name: each.waits_for for name, each in self.writers.items() if each.waits_for}

    def answers(self) -> dict[str, str]:
        """Return the results of the writers that have ended."""
        return {name: each.answer for name, each in self.writers.items() if each.answer}

    def replay(self, schedule: Schedule) -> None:
        """Play a schedule; a writer takes steps of its own that follow each other at once."""
        self.ahead.extend(schedule)
        while self.ahead:
            self.let(*self.ahead.popleft())

    def let(self, name: str, outcome: CallOutcome) -> None:
        """Give a writer's call its outcome, and run until the writer waits again."""
        writer = self.writers[name]
        if outcome is CallOutcome.CRASH:
            self._crash()
        else:
            assert writer.waits_for, f"{name} cannot go on: it waits at {writer.state_name!r}"
            writer.go(outcome)

    def state(self) -> object:
        """Return the state that determines everything that can happen from now on."""
        writers = tuple((each.state_name, tuple(each.history)) for each in self.writers.values())
        order = frozenset((key, tuple(names)) for key, names in self.orders.items())
        return self.store.state(), writers, order, frozenset(self._queue.items())

    def close(self) -> None:
        """End every writer."""
        self._crash()
        for writer in self.writers.values():
            writer.join()

    def gate(self, verb: str, key: str, act: Callable[[], T]) -> T:
        """Make a store call: at once outside a writer, else when the test resumes the writer."""
        writer = current_thread()
        if not isinstance(writer, WriterThread):
            return act()
        call = Call(verb, key)
        self._pause(writer, call)
        self.orders.setdefault(key, []).append(writer.name)
        reply = reply_to(writer.outcome, act)
        writer.history.append((call, told(reply)))
        if isinstance(reply, WheelyardError):
            raise reply from None
        return reply  # type: ignore[return-value] # what `act` returned

    def await_others(self, writer: WriterThread, awaited: Future[object]) -> None:
        """Wait, as a writer, for work of another writer."""
        self._queue[writer.name] = tuple(len(each.history) for each in self.writers.values())
        self._pause(writer, None, awaited)
        del self._queue[writer.name]
        writer.history.append(GO_ON)

    def _pause(
        self, writer: WriterThread, call: Call | None, awaited: Future[object] | None = None
    ) -> None:
        if not self._has_crashed:
            writer.wait(call, awaited)
        if self._has_crashed:
            raise Crash

    def _crash(self) -> None:
        self._has_crashed = True
        for writer in self.writers.values():
            if writer.answer is None:
                writer.go(CallOutcome.CRASH)


@contextmanager
def scheduled_futures() -> Iterator[None]:
    """Make `Future.result` in a writer's thread pause the writer under its scheduler."""
    wait = Future.result

    def result(self: Future[object], timeout: float | None = None) -> object:
        writer = current_thread()
        if isinstance(writer, WriterThread) and not self.done():
            writer.scheduler.await_others(writer, self)
        return wait(self, timeout)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Future, "result", result)
        yield


@dataclass(frozen=True)
class GatedStore(WrappedStore):
    """
    The store of the writers: only reading bytes and marks do not wait at the gate.

    It has no plan, as `FakeStore` has: the outcome of each call is chosen while the call waits.
    """

    scheduler: Scheduler

    @property
    def inner(self) -> Store:  # type: ignore[override] # never reassigned
        """The store that the writers share."""
        return self.scheduler.store

    def _call(self, verb: str, key: str, act: Callable[[], T]) -> T:
        # who writes and follows marks, or reads what others delete, is explored with processes
        is_immediate = verb in IMMEDIATE | {"read"} or key.startswith(keys.PENDING)
        return act() if is_immediate else self.scheduler.gate(verb, key, act)
