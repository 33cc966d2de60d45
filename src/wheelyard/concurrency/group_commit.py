"""
Group commit: concurrent callers with equal keys share one write.

The first caller for a key becomes the leader: it handles all waiting items of that key in one
batch. When it has to retry, it adds the items that have arrived meanwhile. Afterwards the first
caller that still waits becomes the leader, so that no caller works after its own item is done.
"""

from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from threading import Lock
from typing import Generic, TypeVar

from msgspec import Struct, field

from wheelyard.concurrency.threads import waiting
from wheelyard.errors import WheelyardError

K = TypeVar("K", bound=Hashable)
I = TypeVar("I")  # noqa: E741 - an item
R = TypeVar("R")

TakeItems = Callable[[], Sequence[I]]
"""Adds the waiting items to a batch, and returns all items of the batch in order of arrival."""


class _Submission(Struct, Generic[I, R], eq=False):
    """An item, and the future of its result; a result of None makes its caller the leader."""

    item: I
    future: Future[R | None] = field(default_factory=Future)


class GroupCommit(Generic[K, I, R]):
    """
    Handles submitted items in batches, one batch at a time for each key.

    Args:
        handle: Gets a key and a `TakeItems`, and handles the batch. Returns a result or an error
            for each item that its last call of `TakeItems` returned, in that order. An exception
            that it raises is raised in every caller of the batch.
    """

    def __init__(self, handle: Callable[[K, TakeItems[I]], Sequence[R | WheelyardError]]) -> None:
        self._handle = handle
        self._waiting: dict[K, list[_Submission[I, R]]] = {}
        """The submissions that wait for a batch, by key; a key without an entry has no leader."""
        self._lock = Lock()

    def submit(self, key: K, item: I) -> R:
        """Handle `item` in a batch, and return its result or raise its error; blocks."""
        own = _Submission[I, R](item)
        with self._lock:
            is_leader = key not in self._waiting
            self._waiting.setdefault(key, []).append(own)
        result = None
        if not is_leader:
            with waiting():
                result = own.future.result()
        if result is None:
            self._lead(key, own)
            result = own.future.result()
        assert result is not None  # noqa: S101 - the leader's own item has a result
        return result

    def _lead(self, key: K, own: _Submission[I, R]) -> None:
        own.future = Future()
        batch: list[_Submission[I, R]] = []

        def take() -> list[I]:
            with self._lock:
                batch.extend(self._waiting[key])
                self._waiting[key] = []
            return [each.item for each in batch]

        take()  # so that the leader's own item is in the batch even if `handle` fails
        try:
            outcomes = self._handle(key, take)
        except BaseException as error:
            for each in batch:
                each.future.set_exception(error)
            raise
        else:
            for each, outcome in zip(batch, outcomes, strict=True):
                if isinstance(outcome, WheelyardError):
                    each.future.set_exception(outcome)
                else:
                    each.future.set_result(outcome)
        finally:
            with self._lock:
                waiting = self._waiting[key]
                if waiting:
                    waiting[0].future.set_result(None)
                else:
                    del self._waiting[key]
