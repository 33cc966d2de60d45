"""
Writers of separate processes, played without threads: each is a function of what it was told.

What a writer does next depends on the replies of its store so far, and on nothing else. So it is
run from its beginning, against a store that repeats these replies, and then goes on to its end, on
a copy of the store that nobody else uses. All its places are remembered: in every other schedule in
which it is told the same, it asks for the same, and none of its code runs again.
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
    Repeats the replies that a writer got; then the writer goes on alone, which is recorded.

    It has no plan, as `FakeStore` has: what a call becomes is chosen long after its writer ended.
    """

    inner: Store
    replies: Iterator[object] | None = None
    """None before the writer begins: what is read then is there in every schedule."""
    made: list["_Made"] = field(default_factory=list)
    """The calls after those that got the replies."""

    def read(self, key: Key, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Return a stream that can be repeated."""
        return iter(self._call("read", key, lambda: [*self.inner.read(key, start, stop)]))

    def put_file(self, key: Key, body: FileBody, kind: WebType | None = None) -> None:
        """Write the bytes that a file has now: its writer removes it in the end."""
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
        reply = next(self.replies, self)
        if reply is self:  # none is left
            reply = reply_to(CallOutcome.DONE, act)
            self.made.append(_Made(Call(verb, key), act, told(reply)))
        if isinstance(reply, WheelyardError):
            raise reply.with_traceback(None)
        return reply  # type: ignore[return-value] # what the same call returned


@dataclass(frozen=True)
class _Made:
    """A call of a writer that went on alone, and what it was told."""

    call: Call
    act: Callable[[], object]
    told: object


class _Run:
    """What a writer does that gets these replies, and then goes on alone, on a copy of a store."""

    def __init__(
        self, writer: Writer, start: Store, replies: tuple[object, ...], store: OrdinalStore
    ) -> None:
        self.script = _Script(start)
        work = writer(self.script)
        self.script.replies = iter(replies)
        self.script.inner = store.copy()
        self.answer, self.error = answer_of(work)
        self._repeated = len(replies)

    def call_after(self, replies: int) -> _Made | None:
        """Return the call after so many replies, at least those that were repeated."""
        return next(islice(self.script.made, replies - self._repeated, None), None)


class Position:
    """A writer that was told certain things: its next call, or its answer once it has ended."""

    def __init__(
        self,
        writer: Writer,
        start: OrdinalStore,
        replies: tuple[object, ...] = (),
        is_immediate: Callable[[Call], bool] = is_immediate,
        run: _Run | None = None,
    ) -> None:
        self._writer, self._start, self._replies = writer, start, replies
        self._is_immediate = is_immediate
        self._next: dict[object, Position] = {}
        self._run = run or _Run(writer, start, replies, start)
        self._made = self._run.call_after(len(replies))
        self.call: Call | None = self._made.call if self._made else None
        self.answer = None if self._made else self._run.answer
        self.error = None if self._made else self._run.error

    def finish(self, store: Store) -> None:
        """Make the call now; its writer was told long before that the answer is lost."""
        self._ask(store, CallOutcome.DONE)

    def after(self, store: OrdinalStore, outcome: CallOutcome) -> "Position":
        """Make the call on a store, and return where the reply leads the writer."""
        assert self.call is not None
        if outcome is CallOutcome.CRASH:
            return CRASHED
        reply = self._ask(store, outcome)
        name = told(reply)
        if name not in self._next:
            self._next[name] = self._led_by(reply, name, store)
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

    def _ask(self, store: Store, outcome: CallOutcome) -> object:
        assert self._made is not None
        self._run.script.inner = store
        return reply_to(outcome, self._made.act)

    def _led_by(self, reply: object, name: object, store: OrdinalStore) -> "Position":
        """Return where a reply leads the writer, which is known if it got that alone."""
        assert self._made is not None
        replies = (*self._replies, reply)
        run = self._run
        if name != self._made.told:
            run = _Run(self._writer, self._start, replies, store)
        return Position(self._writer, self._start, replies, self._is_immediate, run)


class _Crashed(Position):
    """Where a writer is whose process died."""

    def __init__(self) -> None:
        self.call, self.error = None, None
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

    def copy(self) -> "LoneWriters":
        """Return the same moment, to go on from it in another way."""
        return LoneWriters(self.store.copy(), dict(self.writers), dict(self.late))

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
