"""Group commit: which items share a write."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from tests.waiting import TIMEOUT_SECONDS
from wheelyard.concurrency.threads import Batch, GroupCommit
from wheelyard.errors import Unavailable


class NumberBatcher:
    """Handles numbers: waits, tries twice, and fails as a whole where 99 is."""

    def __init__(self) -> None:
        self.batches = GroupCommit[str, int, int](self._handle)
        self.begun = Event()
        self.tries_again = Event()
        self.handled: list[list[int]] = []

    def _handle(self, _: str, batch: Batch[int, int]) -> Sequence[int]:
        batch.take()
        self.begun.set()
        assert self.tries_again.wait(TIMEOUT_SECONDS)
        items = batch.take()
        self.handled.append(list(items))
        if 99 in items:
            raise Unavailable("The batch failed.")
        return [2 * item for item in items]


def waiting(batcher: NumberBatcher) -> int:
    """Return how many wait for the next to lead."""
    return sum(len(items) for items in batcher.batches._waiting.values())  # noqa: SLF001 - no other way


@pytest.mark.parametrize("late", [[2, 3], []])
def test_the_second_try_takes_along_what_has_come(late: list[int]) -> None:
    """Requests that arrive while a batch loses a race join its next try."""
    batcher = NumberBatcher()
    with ThreadPoolExecutor(4) as pool:
        answers = {1: pool.submit(batcher.batches.submit, "key", 1)}
        assert batcher.begun.wait(TIMEOUT_SECONDS)
        answers |= {item: pool.submit(batcher.batches.submit, "key", item) for item in late}
        while waiting(batcher) < len(late):
            pass
        batcher.tries_again.set()
        results = {item: answer.result(TIMEOUT_SECONDS) for item, answer in answers.items()}

    assert [sorted(items) for items in batcher.handled] == [sorted(answers)]
    assert results == {item: 2 * item for item in answers}


def test_a_failure_is_everybodys() -> None:
    """A failed batch is a failure for all who were in it, and the next batch succeeds."""
    batcher = NumberBatcher()
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(batcher.batches.submit, "key", 1)
        assert batcher.begun.wait(TIMEOUT_SECONDS)
        second = pool.submit(batcher.batches.submit, "key", 99)
        while waiting(batcher) < 1:
            pass
        batcher.tries_again.set()
        faults = [each.exception(TIMEOUT_SECONDS) for each in (first, second)]

    assert [type(fault) for fault in faults] == [Unavailable, Unavailable]
    assert batcher.batches.submit("key", 5) == 10
