"""
A deterministic scheduler of writers, which makes their store calls happen one at a time.

Writers are threads that run the product's own code. Each store call of a writer waits at a gate
until the test chooses its outcome: it is done; it is done and its reply is lost; it is lost before
it is done; or the process of the writer crashes. A writer that waits for another writer of its
process pauses, too; as soon as it could go on, the test decides when it does.

Exactly one thread runs at a time: that of the test, or of the writer which the test resumed. They
alternate by locks, so a schedule has one result on every machine.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from threading import Lock, Thread, current_thread
from typing import TypeVar

import pytest

from tests.storage.wrapping import WrappedStore
from wheelyard.errors import Unavailable, WheelyardError
from wheelyard.storage.base import ObjectVersion, Store, Stored

T = TypeVar("T")

START = "start"
"""The gate at which a writer begins, if writers of one process can wait for each other."""
GO_ON = "go on"
"""The gate of a writer after the other writer that it waited for has finished."""


class CallOutcome(StrEnum):
    """The outcome of a store call, chosen by the test."""

    DONE = "done"
    LOST_DONE = "lost, done"
    LOST_NOT_DONE = "lost, not done"
    CRASH = "crash"


class Crash(BaseException):
    """Simulates that the process of this writer died."""


@dataclass(frozen=True)
class Call:
    """A store call that waits at the gate."""

    verb: str
    key: str

    @property
    def outcomes(self) -> tuple[CallOutcome, ...]:
        """The possible outcomes, success first."""
        if self.verb in {START, GO_ON}:
            return (CallOutcome.DONE,)
        changes = self.verb in {"put", "delete"}
        return tuple(
            outcome for outcome in CallOutcome if changes or outcome is not CallOutcome.LOST_DONE
        )


class WriterThread(Thread):
    """A writer: its name, the process that it belongs to, and its result once it has ended."""

    def __init__(
        self, name: str, process: str, work: Callable[[], None], scheduler: "Scheduler"
    ) -> None:
        super().__init__(name=name, daemon=True)
        self.process = process
        self.answer: str | None = None
        self.surprise: BaseException | None = None
        """An exception that the product must never raise."""
        self.scheduler = scheduler
        self.history: list[object] = []
        """Every reply of its store so far."""
        self._call: Call | None = None
        self._awaited: Future[object] | None = None
        self._outcome = CallOutcome.DONE
        self._turn = Lock()
        self._turn.acquire()
        self._work = work

    def run(self) -> None:
        """Run the writer to its end."""
        self._turn.acquire()
        answer = "ok"
        try:
            if self.scheduler.sociable:  # the first writer may lead the others
                self.scheduler.gate(START, "", lambda: None)
            self._work()
        except Crash:
            answer = "crashed"
        except WheelyardError as fault:
            answer = f"{type(fault).__name__} {fault.code}"
        except BaseException as error:  # noqa: BLE001 - reported by the test
            answer, self.surprise = "surprised", error
        self.answer = answer
        self.scheduler.turn.release()

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

    def wait(self, call: Call | None, awaited: Future[object] | None = None) -> CallOutcome:
        """Pause the thread of this writer until the test resumes it; return the outcome."""
        self._call, self._awaited = call, awaited
        self.scheduler.turn.release()
        self._turn.acquire()
        self._call, self._awaited = None, None
        return self._outcome

    def go(self, outcome: CallOutcome) -> None:
        """Resume this writer, from the thread of the test, until it waits again."""
        self._outcome = outcome
        self._turn.release()
        self.scheduler.turn.acquire()


@dataclass
class Scheduler:
    """Runs writers step by step; if `sociable`, those of one process may wait for each other."""

    store: Store
    sociable: bool
    writers: dict[str, WriterThread] = field(default_factory=dict)
    turn: Lock = field(default_factory=Lock)
    """Released when the test may run."""
    orders: dict[str, list[str]] = field(default_factory=dict)
    """The writers that used each key, in order."""
    _dead: set[str] = field(default_factory=set)
    _queue: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Waiting writers, with the number of replies of every writer when the wait began."""
    _ordinals: dict[tuple[str, ObjectVersion], int] = field(default_factory=dict)
    _writes: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.turn.acquire()

    def add(self, name: str, process: str, work: Callable[[], None]) -> None:
        """Add a writer and run it to its first gate."""
        writer = WriterThread(name, process, work, self)
        writer.start()
        self.writers[name] = writer
        writer.go(CallOutcome.DONE)

    def waiting(self) -> dict[str, Call]:
        """Return the calls that wait at the gate, by writer."""
        return {name: each.waits_for for name, each in self.writers.items() if each.waits_for}

    def answers(self) -> dict[str, str]:
        """Return the results of the writers that have ended."""
        return {name: each.answer for name, each in self.writers.items() if each.answer}

    def let(self, name: str, outcome: CallOutcome) -> None:
        """Give a writer's call its outcome, and run until the writer waits again."""
        writer = self.writers[name]
        if outcome is CallOutcome.CRASH:
            self._kill(writer.process)
        else:
            assert writer.waits_for, f"{name} cannot go on: it waits at {writer.state_name!r}"
            writer.go(outcome)

    def state(self) -> object:
        """Return the state that determines everything that can happen from now on."""
        held = frozenset(
            (entry.key, self._ordinal(entry.key, entry.version), entry.size)
            for entry in self.store.list("")
        )
        writers = tuple((each.state_name, tuple(each.history)) for each in self.writers.values())
        order = frozenset((key, tuple(names)) for key, names in self.orders.items())
        return held, writers, (order, frozenset(self._queue.items())) if self.sociable else None

    def close(self) -> None:
        """End every writer."""
        for writer in self.writers.values():
            self._kill(writer.process)
        for writer in self.writers.values():
            writer.join()

    def gate(self, verb: str, key: str, act: Callable[[], T]) -> T:
        """Make a store call: at once outside a writer, else when the test resumes the writer."""
        writer = current_thread()
        if not isinstance(writer, WriterThread):
            return act()
        if writer.process in self._dead:
            raise Crash
        call = Call(verb, key)
        outcome = writer.wait(call)
        if outcome is CallOutcome.CRASH:
            raise Crash
        self.orders.setdefault(key, []).append(writer.name)
        return self._meet(writer, call, outcome, act)

    def await_others(self, writer: WriterThread, awaited: Future[object]) -> None:
        """Wait, as a writer, for work of another writer of the process."""
        if writer.process in self._dead:
            raise Crash
        self._queue[writer.name] = tuple(len(each.history) for each in self.writers.values())
        outcome = writer.wait(None, awaited)
        del self._queue[writer.name]
        if outcome is CallOutcome.CRASH:
            raise Crash
        writer.history.append(GO_ON)

    def _meet(
        self, writer: WriterThread, call: Call, outcome: CallOutcome, act: Callable[[], T]
    ) -> T:
        try:
            if outcome is CallOutcome.LOST_NOT_DONE:
                raise Unavailable("The call was lost.")
            reply = self._done(call, act)
            if outcome is CallOutcome.LOST_DONE:
                raise Unavailable("The reply was lost.")
        except WheelyardError as fault:
            # the writer of a lost call cannot know whether the store would have refused it
            told = fault if outcome is CallOutcome.DONE else Unavailable("The reply was lost.")
            writer.history.append((call, self._told(call, told)))
            raise told from None
        writer.history.append((call, self._told(call, reply)))
        return reply

    def _done(self, call: Call, act: Callable[[], T]) -> T:
        reply = act()
        if call.verb == "put":
            self._writes[call.key] = count = self._writes.get(call.key, 0) + 1
            self._ordinals[call.key, ObjectVersion(str(reply))] = count
        return reply

    def _told(self, call: Call, reply: object) -> object:
        """Return a reply in a form that is equal in every run: versions become ordinals."""
        if isinstance(reply, WheelyardError):
            return type(reply).__name__
        if isinstance(reply, Stored):
            return self._ordinal(call.key, reply.version), reply.body
        if isinstance(reply, list):
            return tuple((entry.key, self._ordinal(entry.key, entry.version)) for entry in reply)
        if isinstance(reply, str):
            return self._ordinal(call.key, ObjectVersion(reply))
        return type(reply).__name__

    def _ordinal(self, key: str, version: ObjectVersion) -> int:
        return self._ordinals.get((key, version), 0)

    def _kill(self, process: str) -> None:
        self._dead.add(process)
        for writer in self.writers.values():
            if writer.process == process and writer.answer is None:
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
    """The store of the writers: reading bytes is immediate, other calls wait at the gate."""

    scheduler: Scheduler

    @property
    def store(self) -> Store:  # type: ignore[override] # never reassigned
        """The store that the writers share."""
        return self.scheduler.store

    def _call(self, verb: str, key: str, act: Callable[[], T]) -> T:
        return act() if verb in {"read", "sign"} else self.scheduler.gate(verb, key, act)
