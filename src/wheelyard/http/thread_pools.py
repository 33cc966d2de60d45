"""Thread pools for blocking work, one for each kind of work."""

from asyncio import get_running_loop
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeVar

from wheelyard.http.observability.request_record import in_context

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadPools:
    """The thread pools of one server process."""

    reads: Executor
    """For store reads and rendering."""
    streams: Executor
    """For response bodies that are read chunk by chunk."""
    writes: Executor
    """For uploads and changes."""
    passwords: Executor
    """For password hashing, apart so that guessed passwords do not delay reads."""
    tokens: Executor
    """For token signatures and requests to Google."""

    async def run_read(self, work: Callable[[], T]) -> T:
        """Run blocking work in the pool for reads."""
        return await self.run_in(self.reads, work)

    async def run_write(self, work: Callable[[], T]) -> T:
        """Run blocking work in the pool for writes."""
        return await self.run_in(self.writes, work)

    @staticmethod
    async def run_in(pool: Executor, work: Callable[[], T]) -> T:
        """Run blocking work in `pool`, with the context variables of the request."""
        return await get_running_loop().run_in_executor(pool, in_context(work))

    def close(self) -> None:
        """Wait for running and queued writes; cancel what is queued in the other pools."""
        self.writes.shutdown()
        for pool in (self.reads, self.streams, self.passwords, self.tokens):
            pool.shutdown(cancel_futures=True)
