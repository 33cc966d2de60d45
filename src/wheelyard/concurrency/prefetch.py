"""Work on many things at once, in their order, and never far ahead of whoever takes the results."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

T = TypeVar("T")
R = TypeVar("R")

THREADS: Final = 8
"""Pages that are asked for at a time, descriptions that are read, files that are looked for."""


def prefetch_map(work: Callable[[T], R], things: Iterable[T]) -> Iterator[R]:
    """
    Yield what `work` returns, or raises, for each thing, in order; twice THREADS are under way.

    Closing the iterator waits for those that have begun, and begins no more.
    """
    pool = ThreadPoolExecutor(THREADS, "source")
    waiting = deque[Future[R]]()
    try:
        for thing in things:
            waiting.append(pool.submit(work, thing))
            if len(waiting) >= 2 * THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
