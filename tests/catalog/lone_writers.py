"""
Writers of separate processes, played without threads: each is a function of what it was told.

What a writer does next depends on the replies of its store so far, and on nothing else. So it is
run alone, from its beginning, against a store that repeats these replies, and stopped at the first
call that has none. Its place is remembered: in every other schedule in which it is told the same,
it asks for the same, and none of its code runs again.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TypeVar

from tests.catalog.scheduler import (
    IMMEDIATE,
    LATE,
    Call,
    CallOutcome,
    Crash,
    OrdinalStore,
    Schedule,
    Work,
    answer_of,
    reply_to,
    told,
)
from tests.fake_store import WrappedStore
from wheelyard.catalog import keys
from wheelyard.errors import WheelyardError
from wheelyard.storage.base import Entry, FileBody, Key, Store, WebType

T = TypeVar("T")

Writer = Callable[[Store], Work]
"""Opens a process over a store, and returns what is then to be done there."""


def is_immediate(call: Call) -> bool:
    """Return whether a call waits for nobody, as no other call can change its reply."""
    return call.verb in IMMEDIATE


@dataclass
class _Script(WrappedStore):
    """
    Repeats the replies that a writer got, and stops it at the next call.

    It has no plan, as `FakeStore` has: what a call becomes is chosen long after its writer stopped.
    """

    inner: Store
    replies: Iterator[object] | None = None
    """None before the writer begins: what is read then is there in every schedule."""
    asked: tuple[Call, Callable[[], object]] | None = None

    def read(self, key: Key, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Return a stream that can be repeated."""
        return iter(self._call("read", key, lambda: [*self.inner.read(key, start, stop)]))

    def put_file(self, key: Key, body: FileBody, kind: WebType | None = None) -> None:
        """Write the bytes that a file has now: its writer may be stopped, and remove it."""
        super().put_file(key, body.read_bytes() if isinstance(body, Path) else body, kind)

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """Return the entries; of all indexes the first one, as nobody looks at more at once."""
        limit = 1 if prefix == keys.INDEXES else None
        return iter(
            self._call("list", prefix, lambda: [*islice(self.inner.list(prefix, after), limit)])
        )

    def _call(self, verb: str, key: str, act: Callable[[], T]) -> T:
        if self.replies is None:
            return act()
        if self.asked is not None:  # it is unwinding
            raise Crash
        for reply in self.replies:
            if isinstance(reply, WheelyardError):
                raise reply.with_traceback(None)
            return reply  # type: ignore[return-value] # what the same call returned before
        self.asked = Call(verb, key), act
        raise Crash


class Position:
    """A writer that was told certain things: its next call, or its answer once it has ended."""

    def __init__(
        self,
        writer: Writer,
        start: Store,
        replies: tuple[object, ...] = (),
        is_immediate: Callable[[Call], bool] = is_immediate,
    ) -> None:
        self._writer, self._start, self._replies = writer, start, replies
        self._is_immediate = is_immediate
        self._next: dict[object, Position] = {}
        self._script = _Script(start)
        work = writer(self._script)
        self._script.replies = iter(replies)
        answer, self.surprise = answer_of(work)
        asked = self._script.asked
        self.answer = None if asked else answer
        self.call: Call | None = None
        if asked is not None:
            self.call, self._act = asked

    def finish(self, store: Store) -> None:
        """Make the call now; its writer was told long before that the answer is lost."""
        self._script.inner = store
        reply_to(CallOutcome.DONE, self._act)

    def after(self, store: Store, outcome: CallOutcome) -> "Position":
        """Make the call on a store, and return where the reply leads the writer."""
        assert self.call is not None
        if outcome is CallOutcome.CRASH:
            return CRASHED
        self._script.inner = store
        reply = reply_to(outcome, self._act)
        name = told(reply)
        if name not in self._next:
            replies = (*self._replies, reply)
            self._next[name] = Position(self._writer, self._start, replies, self._is_immediate)
        position = self._next[name]
        is_next = position.call is not None and (
            self._is_immediate(position.call)
            # a sweep looks at the very object right before it deletes it
            or (
                (position.call.verb, self.call.verb) == ("delete", "list")
                and position.call.key == self.call.key
            )
        )
        return position.after(store, CallOutcome.DONE) if is_next else position


class _Crashed(Position):
    """Where a writer is whose process died."""

    def __init__(self) -> None:
        self.call, self.surprise = None, None
        self.answer = "crashed"


CRASHED = _Crashed()


@dataclass
class LoneWriters:
    """Writers at one moment of a schedule; each lives in a process of its own."""

    store: OrdinalStore
    writers: dict[str, Position] = field(default_factory=dict)
    late: dict[str, Position] = field(default_factory=dict)
    """Writers at calls that happen later, when the writer has gone on."""

    def waiting(self) -> dict[str, Call]:
        """Return the calls that wait for their outcome, by writer."""
        calls = {name: each.call for name, each in self.writers.items() if each.call}
        late = {name: Call(LATE, each.call.key) for name, each in self.late.items() if each.call}
        return calls | late

    def answers(self) -> dict[str, str]:
        """Return the results of the writers that have ended."""
        return {name: each.answer for name, each in self.writers.items() if each.answer}

    def replay(self, schedule: Schedule) -> None:
        """Play a schedule."""
        for step in schedule:
            self.let(*step)

    def let(self, name: str, outcome: CallOutcome) -> None:
        """Give a writer's call its outcome, and run until the writer asks again."""
        if name in self.late:
            self.late.pop(name).finish(self.store)
            return
        if outcome is CallOutcome.LATE:
            self.late[f"{LATE} {name} {len(self.late)}"] = self.writers[name]
        self.writers[name] = self.writers[name].after(self.store, outcome)

    def state(self) -> object:
        """Return the state that determines everything that can happen from now on."""
        writers = tuple(each.answer or each for each in self.writers.values())
        return self.store.state(), writers, tuple(self.late.items())
