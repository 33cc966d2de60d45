"""
Blocking work in threads, and documents that are read once for all who wait.

Where the store is far, all who want the same thing wait for one thread, in the event loop, and
nobody waits long where an old answer will do. Near, everybody reads: an earlier read may be old.
"""

from asyncio import get_running_loop
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeVar

from wheelyard.http.observability.request_record import in_context

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Threads:
    """The threads of a server, by what they are for."""

    readers: Executor
    """For reading and rendering."""
    streamers: Executor
    """For bodies on their way to clients."""
    writers: Executor
    """For uploads and changes."""
    hashers: Executor
    """For passwords, so that guesses keep nobody from reading."""
    verifiers: Executor
    """For signatures, and for questions to Google."""

    async def read(self, work: Callable[[], T]) -> T:
        """Do blocking work in a thread for reading."""
        return await get_running_loop().run_in_executor(self.readers, in_context(work))

    async def write(self, work: Callable[[], T]) -> T:
        """Do blocking work in a thread for changes."""
        return await get_running_loop().run_in_executor(self.writers, in_context(work))

    @staticmethod
    async def run(threads: Executor, work: Callable[[], T]) -> T:
        """Do blocking work in one of some threads."""
        return await get_running_loop().run_in_executor(threads, in_context(work))

    def close(self) -> None:
        """Let the changes that are under way finish, and nothing else."""
        self.writers.shutdown()
        for threads in (self.readers, self.streamers, self.hashers, self.verifiers):
            threads.shutdown(cancel_futures=True)
