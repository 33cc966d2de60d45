"""Thread pools for blocking work, one for each kind of work."""

from asyncio import get_running_loop
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from wheelyard.concurrency.turns import Turns
from wheelyard.http.observability.request_record import in_context

T = TypeVar("T")


class ThreadPools:
    """
    The thread pools of one server process.

    The first arguments are the sizes of three of them. Uploads take `turns`, if there are any.
    """

    def __init__(self, reads: int, writes: int, passwords: int, turns: Turns | None) -> None:
        self.reads = ThreadPoolExecutor(reads, "read")  # store reads and rendering
        self.streams = ThreadPoolExecutor(64, "stream")  # response bodies, chunk by chunk
        self.writes = ThreadPoolExecutor(writes, "write")  # uploads and changes
        # apart, so that guessed passwords do not delay reads
        self.passwords = ThreadPoolExecutor(passwords, "hash")
        self.tokens = ThreadPoolExecutor(16, "verify")  # signatures, requests to Google
        self._turns = turns

    def run_read(self, work: Callable[[], T]) -> Coroutine[Any, Any, T]:
        """Run blocking work in the pool for reads; the coroutine returns its result."""
        return self.run_in(self.reads, work)

    def run_write(self, work: Callable[[], T]) -> Coroutine[Any, Any, T]:
        """Run blocking work in the pool for writes; the coroutine returns its result."""
        return self.run_in(self.writes, work)

    def run_upload(self, work: Callable[[], T]) -> Coroutine[Any, Any, T]:
        """Run the blocking work of an upload as `run_write` does, in turn if uploads take turns."""
        return self.run_write(work if self._turns is None else partial(self._turns.run, work))

    @staticmethod
    async def run_in(pool: Executor, work: Callable[[], T]) -> T:
        """Run blocking work in `pool`, in the context of the request, and return its result."""
        return await get_running_loop().run_in_executor(pool, in_context(work))

    def close(self) -> None:
        """Wait for running work and for queued writes; cancel what is queued in the other pools."""
        self.writes.shutdown()
        for pool in (self.reads, self.streams, self.passwords, self.tokens):
            pool.shutdown(cancel_futures=True)


class NoThreads(ThreadPools):
    """Runs all work at once, in the thread of the event loop: for whoever asks page by page."""

    @staticmethod
    async def run_in(pool: Executor, work: Callable[[], T]) -> T:
        """Run blocking work, and return its result."""
        del pool
        return work()
