"""
A stage on which writers move one store call at a time, as a director says.

Writers are threads that run the product's own code. Each call that a writer makes to its store
waits at a gate until the director lets it go, with a fate: it happens, it happens and its reply is
lost, it is lost without happening, or the writer's process dies on it. A writer that waits for
another writer of its process gives way, too; once it could go on, the director says when.

Exactly one thread runs at a time: the director's, or that of the writer which it let go. They hand
over by locks, so a schedule goes the same way on every machine.
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
"""The first thing that a writer waits for, where writers meet."""
GO_ON = "go on"
"""What a writer waits for that had to wait for another one, and has to no longer."""


class Fate(StrEnum):
    """What becomes of a store call."""

    DONE = "done"
    LOST_DONE = "lost, done"
    LOST_NOT_DONE = "lost, not done"
    CRASH = "crash"


class Crash(BaseException):
    """The process of this writer has died."""


@dataclass(frozen=True)
class Call:
    """A store call that waits for its fate."""

    verb: str
    key: str

    @property
    def fates(self) -> tuple[Fate, ...]:
        """What could become of it, the smooth way first."""
        if self.verb in {START, GO_ON}:
            return (Fate.DONE,)
        changes = self.verb in {"put", "delete"}
        return tuple(fate for fate in Fate if changes or fate is not Fate.LOST_DONE)


class Actor(Thread):
    """One writer: a name, the process that it lives in, and its answer once it has one."""

    def __init__(self, name: str, process: str, play: Callable[[], None], stage: "Stage") -> None:
        super().__init__(name=name, daemon=True)
        self.process = process
        self.answer: str | None = None
        self.surprise: BaseException | None = None
        """What no code may raise."""
        self.stage = stage
        self.history: list[object] = []
        """Everything that its store has ever told it."""
        self._call: Call | None = None
        self._outcome: Future[object] | None = None
        self._fate = Fate.DONE
        self._turn = Lock()
        self._turn.acquire()
        self._play = play

    def run(self) -> None:
        """Play to the end."""
        self._turn.acquire()
        answer = "ok"
        try:
            if self.stage.sociable:  # whoever comes first may lead the others
                self.stage.gate(START, "", lambda: None)
            self._play()
        except Crash:
            answer = "crashed"
        except WheelyardError as fault:
            answer = f"{type(fault).__name__} {fault.code}"
        except BaseException as error:  # noqa: BLE001 - reported by the director
            answer, self.surprise = "surprised", error
        self.answer = answer
        self.stage.turn.release()

    @property
    def waits_for(self) -> Call | None:
        """Return what it waits for the director to say, if it could go on."""
        if self._outcome is not None:
            return Call(GO_ON, "") if self._outcome.done() else None
        return self._call

    @property
    def rest(self) -> str:
        """Return where it has come to rest."""
        if self.answer is not None:
            return "ended"
        if self._outcome is not None:
            return "woken" if self._outcome.done() else "others"
        return "gate"

    def wait(self, call: Call | None, outcome: Future[object] | None = None) -> Fate:
        """Give way, in this writer's thread, until the director lets it go; return the fate."""
        self._call, self._outcome = call, outcome
        self.stage.turn.release()
        self._turn.acquire()
        self._call, self._outcome = None, None
        return self._fate

    def go(self, fate: Fate) -> None:
        """Run, as the director, this writer until it comes to rest again."""
        self._fate = fate
        self._turn.release()
        self.stage.turn.acquire()


@dataclass
class Stage:
    """The director's view; where `sociable`, writers may wait for one another in one process."""

    store: Store
    sociable: bool
    actors: dict[str, Actor] = field(default_factory=dict)
    turn: Lock = field(default_factory=Lock)
    """Is released when it is the director's turn."""
    orders: dict[str, list[str]] = field(default_factory=dict)
    """Who used each key, in order."""
    _dead: set[str] = field(default_factory=set)
    _queue: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Who waits for others, and how far everybody had come when that began."""
    _ordinals: dict[tuple[str, ObjectVersion], int] = field(default_factory=dict)
    _writes: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.turn.acquire()

    def add(self, name: str, process: str, play: Callable[[], None]) -> None:
        """Let a writer enter, and move to its first gate."""
        actor = Actor(name, process, play, self)
        actor.start()
        self.actors[name] = actor
        actor.go(Fate.DONE)

    def waiting(self) -> dict[str, Call]:
        """Return the calls that wait for their fate, by writer."""
        return {name: each.waits_for for name, each in self.actors.items() if each.waits_for}

    def answers(self) -> dict[str, str]:
        """Return the answers of those who have come to their end."""
        return {name: each.answer for name, each in self.actors.items() if each.answer}

    def let(self, name: str, fate: Fate) -> None:
        """Let a writer's call meet its fate, and wait until the writer rests again."""
        actor = self.actors[name]
        if fate is Fate.CRASH:
            self._kill(actor.process)
        else:
            assert actor.waits_for, f"{name} cannot go on: it has come to rest at {actor.rest!r}"
            actor.go(fate)

    def state(self) -> object:
        """Return everything that what happens from here on depends on."""
        held = frozenset(
            (entry.key, self._ordinal(entry.key, entry.version), entry.size)
            for entry in self.store.list("")
        )
        actors = tuple((each.rest, tuple(each.history)) for each in self.actors.values())
        order = frozenset((key, tuple(names)) for key, names in self.orders.items())
        return held, actors, (order, frozenset(self._queue.items())) if self.sociable else None

    def close(self) -> None:
        """Send everybody home."""
        for actor in self.actors.values():
            self._kill(actor.process)
        for actor in self.actors.values():
            actor.join()

    def gate(self, verb: str, key: str, act: Callable[[], T]) -> T:
        """Make a store call: at once outside of a play, else when the director says so."""
        actor = current_thread()
        if not isinstance(actor, Actor):
            return act()
        if actor.process in self._dead:
            raise Crash
        call = Call(verb, key)
        fate = actor.wait(call)
        if fate is Fate.CRASH:
            raise Crash
        self.orders.setdefault(key, []).append(actor.name)
        return self._meet(actor, call, fate, act)

    def await_others(self, actor: Actor, outcome: Future[object]) -> None:
        """Wait, as a writer, for what another writer of its process is doing."""
        if actor.process in self._dead:
            raise Crash
        self._queue[actor.name] = tuple(len(each.history) for each in self.actors.values())
        fate = actor.wait(None, outcome)
        del self._queue[actor.name]
        if fate is Fate.CRASH:
            raise Crash
        actor.history.append(GO_ON)

    def _meet(self, actor: Actor, call: Call, fate: Fate, act: Callable[[], T]) -> T:
        try:
            if fate is Fate.LOST_NOT_DONE:
                raise Unavailable("The call was lost.")
            reply = self._done(call, act)
            if fate is Fate.LOST_DONE:
                raise Unavailable("The reply was lost.")
        except WheelyardError as fault:
            # whether a lost call would have been refused, its writer never knows
            told = fault if fate is Fate.DONE else Unavailable("The reply was lost.")
            actor.history.append((call, self._told(call, told)))
            raise told from None
        actor.history.append((call, self._told(call, reply)))
        return reply

    def _done(self, call: Call, act: Callable[[], T]) -> T:
        reply = act()
        if call.verb == "put":
            self._writes[call.key] = count = self._writes.get(call.key, 0) + 1
            self._ordinals[call.key, ObjectVersion(str(reply))] = count
        return reply

    def _told(self, call: Call, reply: object) -> object:
        """Return a reply without what differs from run to run: versions become ordinals."""
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
        for actor in self.actors.values():
            if actor.process == process and actor.answer is None:
                actor.go(Fate.CRASH)


@contextmanager
def outcomes_on_stage() -> Iterator[None]:
    """Have writers that wait for the outcome of another writer's work give way on their stage."""
    wait = Future.result

    def result(self: Future[object], timeout: float | None = None) -> object:
        actor = current_thread()
        if isinstance(actor, Actor) and not self.done():
            actor.stage.await_others(actor, self)
        return wait(self, timeout)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Future, "result", result)
        yield


@dataclass(frozen=True)
class GatedStore(WrappedStore):
    """The store as the writers of a stage have it: they read bytes at once, and else in turn."""

    stage: Stage

    @property
    def store(self) -> Store:  # type: ignore[override] # which changes for nobody
        """What the writers share."""
        return self.stage.store

    def _call(self, verb: str, key: str, act: Callable[[], T]) -> T:
        return act() if verb in {"read", "sign"} else self.stage.gate(verb, key, act)
