"""Ordered parallel map that reads its input only a little ahead of its consumer."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

T = TypeVar("T")
R = TypeVar("R")

PREFETCH_THREADS: Final = 8


def prefetch_map(
    work: Callable[[T], R], items: Iterable[T], threads: int = PREFETCH_THREADS
) -> Iterator[R]:
    """
    Yield `work(item)` for each item, in order, computed ahead in so many threads.

    With one thread it is that of the caller, and nothing is computed ahead.

    An exception of `work`, and one of `items`, is raised in its turn. Closing the iterator cancels
    the calls that have not begun; running ones go on, and nobody waits for them.
    """
    if threads == 1:
        yield from map(work, items)
        return
    pool = ThreadPoolExecutor(threads, "prefetch")
    pending = deque[Future[R]]()
    fault: Exception | None = None
    remaining = iter(items)
    try:
        while True:
            try:
                item = next(remaining)
            except StopIteration:
                break
            except Exception as error:  # noqa: BLE001 - raised below, behind what came before it
                fault = error
                break
            pending.append(pool.submit(work, item))
            if len(pending) >= 2 * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
        if fault is not None:
            raise fault
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
