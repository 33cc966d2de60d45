"""
Group commit: many callers, one write.

Whoever comes first for a key leads: it takes everything that waits for that key and handles it in
one go; where it has to try again, it takes what has arrived meanwhile along. The first of those
that are left leads next, so that nobody works for others once its own item is done.
"""

from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from threading import Lock
from typing import Generic, TypeVar

from wheelyard.errors import WheelyardError

K = TypeVar("K", bound=Hashable)
I = TypeVar("I")  # noqa: E741 - an item
R = TypeVar("R")

Take = Callable[[], Sequence[I]]
"""Returns the items of a batch, in their order: those that it had before, and whatever waits."""


class _Waiting(Generic[I, R]):
    """One caller's item, and where its turn or its outcome is announced."""

    __slots__ = ("item", "turn")

    def __init__(self, item: I) -> None:
        self.item = item
        self.turn: Future[R | None] = Future()
        """None: lead now."""


class GroupCommit(Generic[K, I, R]):
    """
    Items by key, handled in batches.

    Args:
        handle: Is given a key and what takes its items; returns an outcome for each of those that
            it took last, in their order: a result or a refusal. What it raises is told to all.
    """

    def __init__(self, handle: Callable[[K, Take[I]], Sequence[R | WheelyardError]]) -> None:
        self._handle = handle
        self._waiting: dict[K, list[_Waiting[I, R]]] = {}
        self._lock = Lock()

    def submit(self, key: K, item: I) -> R:
        """Return the outcome of `item`, handled with what else waits; raise its refusal."""
        me = _Waiting[I, R](item)
        with self._lock:
            leads = key not in self._waiting
            self._waiting.setdefault(key, []).append(me)
        if leads:
            me.turn.set_result(None)
        outcome = me.turn.result()
        if outcome is None:
            self._lead(key, me)
            outcome = me.turn.result()
        assert outcome is not None  # noqa: S101 - a leader's turn ends with an outcome
        return outcome

    def _lead(self, key: K, me: _Waiting[I, R]) -> None:
        me.turn = Future()
        batch: list[_Waiting[I, R]] = []

        def take() -> list[I]:
            with self._lock:
                batch.extend(self._waiting[key])
                self._waiting[key] = []
            return [each.item for each in batch]

        take()  # the leader's own item leaves the queue, whatever becomes of it
        try:
            outcomes = self._handle(key, take)
        except BaseException as error:
            for each in batch:
                each.turn.set_exception(error)
            raise
        else:
            for each, outcome in zip(batch, outcomes, strict=True):
                if isinstance(outcome, WheelyardError):
                    each.turn.set_exception(outcome)
                else:
                    each.turn.set_result(outcome)
        finally:
            self._hand_over(key)

    def _hand_over(self, key: K) -> None:
        with self._lock:
            waiting = self._waiting[key]
            if waiting:
                waiting[0].turn.set_result(None)
            else:
                del self._waiting[key]
