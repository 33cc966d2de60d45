"""
A stage on which writers move one store call at a time, as a director says.

Writers are threads that run the product's own code. Each call that a writer makes to its store
waits at a gate until the director lets it go, with a fate: it happens, it happens and its reply is
lost, it is lost without happening, or the writer's process dies on it.
"""

import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread, current_thread
from types import FrameType
from typing import TypeVar

from wheelyard.errors import IndexFault, Unavailable
from wheelyard.storage.base import Entry, Key, NotModified, ObjectVersion, Store, Stored

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds until a stage whose writers do not come to rest is given up."""
SCANS = 3
"""How often in a row all writers must be found at rest, where one may wake another."""


START = "start"
"""The first thing that a writer waits for, where writers meet."""


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
        if self.verb == START:
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
        self.waits_for: Call | None = None
        self.turn: SimpleQueue[Fate] = SimpleQueue()
        self.history: list[object] = []
        """Everything that its store has ever told it."""
        self._asks: Future[object] | None = None
        self._play = play
        self._stage = stage

    def run(self) -> None:
        """Play to the end."""
        answer = "ok"
        if self._stage.sociable:
            sys.setprofile(self._watch)
        try:
            if self._stage.sociable:  # whoever comes first may lead the others
                self._stage.gate(START, "", lambda: None)
            self._play()
        except Crash:
            answer = "crashed"
        except IndexFault as fault:
            answer = f"{type(fault).__name__} {fault.code}"
        except BaseException as error:  # noqa: BLE001 - reported by the director
            answer, self.surprise = "surprised", error
        sys.setprofile(None)
        self.answer = answer
        self._stage.moved.put(self.name)

    @property
    def rest(self) -> str | None:
        """Return where it has come to rest, or None while it runs."""
        if self.answer is not None:
            return "ended"
        if self.waits_for is not None:
            return "gate"
        asks = self._asks
        return "others" if asks is not None and not asks.done() else None

    def _watch(self, frame: FrameType, event: str, _: object) -> None:
        """Note, as the profiler of this thread, which outcome of another thread it asks for."""
        if frame.f_code is Future.result.__code__:
            self._asks = frame.f_locals["self"] if event == "call" else None


@dataclass
class Stage:
    """
    The director's view: who waits for what, and what the store holds.

    Args:
        store: What the writers share.
        sociable: Whether writers may wait for one another in one process.
    """

    store: Store
    sociable: bool
    actors: dict[str, Actor] = field(default_factory=dict)
    moved: SimpleQueue[str] = field(default_factory=SimpleQueue)
    orders: dict[str, list[str]] = field(default_factory=dict)
    """Who used each key, in order."""
    _dead: set[str] = field(default_factory=set)
    _queue: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Who waits for others, and how far everybody had come when that began."""
    _ordinals: dict[tuple[str, ObjectVersion], int] = field(default_factory=dict)
    _writes: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, process: str, play: Callable[[], None]) -> None:
        """Let a writer enter, and move to its first gate."""
        actor = self.actors[name] = Actor(name, process, play, self)
        actor.start()
        self.settle()

    def waiting(self) -> dict[str, Call]:
        """Return the calls that wait for their fate, by writer."""
        return {name: each.waits_for for name, each in self.actors.items() if each.waits_for}

    def answers(self) -> dict[str, str]:
        """Return the answers of those who have come to their end."""
        return {name: each.answer for name, each in self.actors.items() if each.answer}

    def let(self, name: str, fate: Fate) -> None:
        """Let a writer's call meet its fate, and wait until everybody rests again."""
        actor = self.actors[name]
        if fate is Fate.CRASH:
            self._kill(actor.process)
        else:
            self._release(actor, fate)
        self.settle()

    def state(self) -> object:
        """Return everything that what happens from here on depends on."""
        held = frozenset(
            (entry.key, self._ordinal(entry.key, entry.version), entry.size)
            for entry in self.store.list("")
        )
        actors = tuple((each.rest, tuple(each.history)) for each in self.actors.values())
        order = frozenset((key, tuple(names)) for key, names in self.orders.items())
        return held, actors, (order, frozenset(self._queue.items())) if self.sociable else None

    def settle(self) -> None:
        """Wait until no writer runs."""
        end, scans = time.monotonic() + PATIENCE, 0
        while scans < (SCANS if self.sociable else 1):
            if all(each.rest for each in self.actors.values()):
                scans += 1
                continue
            scans = 0
            with suppress(Empty):
                self.moved.get(timeout=0.0005 if self.sociable else PATIENCE)
            assert time.monotonic() < end, "the writers do not come to rest"
        waits = [name for name, each in self.actors.items() if each.rest == "others"]
        since = tuple(len(each.history) for each in self.actors.values())
        self._queue = {name: self._queue.get(name, since) for name in waits}

    def close(self) -> None:
        """Send everybody home."""
        for actor in self.actors.values():
            self._kill(actor.process)
        self.settle()
        for actor in self.actors.values():
            actor.join()

    def gate(self, verb: str, key: str, act: Callable[[], T]) -> T:
        """Make a store call: at once outside of a play, else when the director says so."""
        actor = current_thread()
        if not isinstance(actor, Actor):
            return act()
        if actor.process in self._dead:
            raise Crash
        actor.waits_for = Call(verb, key)
        self.moved.put(actor.name)
        fate = actor.turn.get()
        if fate is Fate.CRASH or actor.process in self._dead:
            raise Crash
        self.orders.setdefault(key, []).append(actor.name)
        return self._meet(actor, Call(verb, key), fate, act)

    def _meet(self, actor: Actor, call: Call, fate: Fate, act: Callable[[], T]) -> T:
        try:
            if fate is Fate.LOST_NOT_DONE:
                raise Unavailable("The call was lost.")
            reply = self._done(call, act)
            if fate is Fate.LOST_DONE:
                raise Unavailable("The reply was lost.")
        except IndexFault as fault:
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
        if isinstance(reply, IndexFault):
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

    def _release(self, actor: Actor, fate: Fate) -> None:
        actor.waits_for = None
        actor.turn.put(fate)

    def _kill(self, process: str) -> None:
        self._dead.add(process)
        for actor in self.actors.values():
            if actor.process == process and actor.waits_for is not None:
                self._release(actor, Fate.CRASH)


@dataclass(frozen=True)
class GatedStore:
    """The store as the writers of a stage have it."""

    stage: Stage

    def get(
        self, key: Key, unless_version: ObjectVersion | None = None
    ) -> Stored | NotModified | None:
        """Return an object, when it is this writer's turn."""
        return self.stage.gate("get", key, lambda: self.stage.store.get(key, unless_version))

    def read(self, key: Key, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Return a stream at once: no writer reads bytes."""
        return self.stage.store.read(key, start, stop)

    def put(self, key: Key, body: bytes | Path, expect: ObjectVersion | None) -> ObjectVersion:
        """Write, when it is this writer's turn."""
        return self.stage.gate("put", key, lambda: self.stage.store.put(key, body, expect))

    def delete(self, key: Key, expect: ObjectVersion | None) -> None:
        """Delete, when it is this writer's turn."""
        self.stage.gate("delete", key, lambda: self.stage.store.delete(key, expect))

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """List, when it is this writer's turn."""
        found = self.stage.gate("list", prefix, lambda: [*self.stage.store.list(prefix, after)])
        return iter(found)

    def sign(self, key: Key, method: str, lifetime: timedelta) -> str | None:
        """Return nothing."""
        return self.stage.store.sign(key, method, lifetime)
