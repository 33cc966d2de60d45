"""
Turns: threads compute one after the other, and wait for other things at the same time.

Python lets one thread compute at a time in any case. But it passes its lock on at each system call
to whoever waits for it, so two threads that compute take much more processor time than one after
the other. Work that has run for long holds up nobody: the others go on beside it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock, get_ident
from typing import Final, TypeVar

TURN_SECONDS: Final = 0.05
"""How long a turn may hold up other threads."""

T = TypeVar("T")


class Turns:
    """Runs work of several threads in turn; `monotonic` is a clock in seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = Lock()
        self._taken_at = 0.0

    def run(self, work: Callable[[], T]) -> T:
        """Run work in turn, except while it is in a `waiting` block, and return its result."""
        turn = _Turn(self)
        before = _CURRENT_TURN.set(turn)
        turn.take()
        try:
            return work()
        finally:
            turn.give_up()
            _CURRENT_TURN.reset(before)

    def take(self) -> bool:
        """Take the turn; return False if another thread has had it for long."""
        has_turn = self._lock.acquire(blocking=False)
        if not has_turn:
            seconds = self._taken_at + TURN_SECONDS - self._monotonic()
            has_turn = seconds > 0 and self._lock.acquire(timeout=seconds)
        if has_turn:
            self._taken_at = self._monotonic()
        return has_turn

    def give_up(self) -> None:
        """Let another thread take the turn."""
        self._lock.release()


class _Turn:
    """The turn of one thread, which has it or not."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._has_turn = False
        self.thread = get_ident()

    def take(self) -> None:
        self._has_turn = self._turns.take()

    def give_up(self) -> None:
        if self._has_turn:
            self._has_turn = False
            self._turns.give_up()


_CURRENT_TURN: ContextVar[_Turn | None] = ContextVar("CURRENT_TURN", default=None)


@contextmanager
def waiting() -> Iterator[None]:
    """Give up the turn of this thread, if it takes turns, while it waits for something else."""
    turn = _CURRENT_TURN.get()
    if turn is None or turn.thread != get_ident():  # a context may be copied to another thread
        yield
        return
    turn.give_up()
    try:
        yield
    finally:
        turn.take()
