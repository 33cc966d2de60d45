"""
Thread pools, and limits of concurrent work.

A `ConcurrencyLimit` leaves slots for other clients. Each request holds one slot while it runs. A
client is a string, such as a principal or a network. It gets another slot only while it holds fewer
slots than are free. So one client has at most half of the slots, the next one half of the others,
and with n slots it takes more than log2(n) clients with slow requests to keep another one waiting.
Clients that wait take turns.
"""

from asyncio import Future, Task, create_task, get_running_loop, shield, wait
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Coroutine, Hashable, Iterable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from contextvars import copy_context
from functools import partial
from typing import Any, Final, TypeVar, TypeVarTuple

from wheelyard.concurrency.threads import Turns
from wheelyard.errors import OVERLOADED, RETRY_AFTER_SECONDS, Unavailable
from wheelyard.operations.server_state import WorkQueue

MAX_WAITING_PER_CLIENT: Final = 256
MAX_WAITING_PASSWORDS: Final = 64
"""How many logins of one client network may wait for password hashing."""
T = TypeVar("T")
Ts = TypeVarTuple("Ts")
PROVIDER_THREADS: Final = 8
"""How many sign-ins of people at one provider a process has under way at a time."""
STALE_AFTER_SECONDS: Final = 1.0
"""How long a shared task runs before its callers get a stale value, if there is one."""


class ConcurrencyLimit:
    """
    Slots for one kind of work.

    Args:
        count: The number of slots.
        work: The plural name of the work, for messages.
        wait_timeout: How many seconds a request waits for a slot.
        max_waiting: How many requests of one client may wait.
    """

    def __init__(
        self,
        count: int,
        work: str,
        *,
        wait_timeout: float = 30.0,
        max_waiting: int = MAX_WAITING_PER_CLIENT,
    ) -> None:
        self._free = count
        self._work = work
        self._wait_timeout = wait_timeout
        self._max_waiting = max_waiting
        self._held = Counter[str]()
        self._queues: dict[str, deque[Future[None]]] = {}
        """The waiting requests by client. The client that was served longest ago comes first."""

    @property
    def queue(self) -> WorkQueue:
        """How much work runs and waits now. Any thread may ask."""
        # copies: the event loop may change both while another thread adds up
        held_slots = list(self._held.values())
        queues = list(self._queues.values())
        waiting = sum(len(queue) for queue in queues)
        return WorkQueue(self._work, sum(held_slots), waiting)

    @asynccontextmanager
    async def acquire(self, client: str) -> AsyncIterator[None]:
        """
        Wait for a slot for one request of `client`, and hold it within an `async with` block.

        Raises Unavailable (code `overloaded`) after `wait_timeout` seconds, or at once if
        `max_waiting` requests of the client wait already.
        """
        queue = self._queues.setdefault(client, deque())
        if len(queue) >= self._max_waiting:
            raise self._overloaded()
        # all callers run in one event loop, so nothing changes between two `await`
        turn: Future[None] = get_running_loop().create_future()
        queue.append(turn)
        self._serve()
        try:
            if not turn.done():
                await wait((turn,), timeout=self._wait_timeout)
            if not turn.done():
                raise self._overloaded()
            yield
        finally:
            self._leave(client, turn)

    def _serve(self) -> None:
        """Give one slot to each waiting client that may have another slot."""
        for client, queue in tuple(self._queues.items()):
            if self._held[client] < self._free:
                self._free -= 1
                self._held[client] += 1
                queue.popleft().set_result(None)
                del self._queues[client]
                if queue:  # from now on behind the other clients
                    self._queues[client] = queue

    def _leave(self, client: str, turn: Future[None]) -> None:
        """Give back the slot of a request, or its place in the queue."""
        # a caller that was cancelled while it waited may have been given its slot in the meantime
        if turn.done():
            self._free += 1
            self._held -= Counter((client,))
            self._serve()
        else:
            self._queues[client].remove(turn)
            if not self._queues[client]:
                del self._queues[client]

    def _overloaded(self) -> Unavailable:
        """Return the error for a request that gets no slot."""
        return Unavailable(
            f"Too many {self._work} are under way.",
            code=OVERLOADED,
            retry_after=RETRY_AFTER_SECONDS,
        )


class ProviderThreads:
    """The threads that wait for one provider of sign-ins, of which one client has at most half."""

    def __init__(self, provider: str) -> None:
        self.pool = ThreadPoolExecutor(PROVIDER_THREADS, f"sign-in-{provider}")
        self._limit = ConcurrencyLimit(PROVIDER_THREADS, "sign-ins")

    async def run(self, client: str, work: Callable[[*Ts], T], *args: *Ts) -> T:
        """
        Run work of a client that waits for the provider, and return its result.

        Raises Unavailable (code `overloaded`) if there is no thread for it in time.
        """
        async with self._limit.acquire(client):
            return await ThreadPools.run_in(self.pool, work, *args)


class ThreadPools:
    """
    The thread pools of one server process.

    Args:
        reads: The number of threads for reads of the store, and for rendering.
        writes: The number of threads for uploads and changes.
        passwords: The number of threads that hash passwords.
        turns: The turns that uploads take, or None if they take none.
        providers: The names of the providers that people sign in with.
    """

    def __init__(
        self,
        reads: int,
        writes: int,
        passwords: int,
        turns: Turns | None,
        providers: Iterable[str] = (),
    ) -> None:
        self.reads = ThreadPoolExecutor(reads, "read")  # store reads and rendering
        self.streams = ThreadPoolExecutor(64, "stream")  # response bodies, chunk by chunk
        self.writes = ThreadPoolExecutor(writes, "write")  # uploads and changes
        # apart, so that guessed passwords do not delay reads
        self.passwords = ThreadPoolExecutor(passwords, "hash")
        self.tokens = ThreadPoolExecutor(16, "verify")  # signatures, requests to Google
        # apart, so that a slow provider delays neither another provider nor other work
        self.providers = {name: ProviderThreads(name) for name in providers}
        self._turns = turns

    def run_upload(self, work: Callable[[*Ts], T], *args: *Ts) -> Coroutine[Any, Any, T]:
        """Run an upload's blocking work in the pool for writes, in turn, and return its result."""
        if self._turns is None:
            return self.run_in(self.writes, work, *args)
        return self.run_in(self.writes, self._turns.run, partial(work, *args))

    @staticmethod
    async def run_in(pool: Executor, work: Callable[[*Ts], T], *args: *Ts) -> T:
        """Run blocking work in a pool, and return its result."""
        # a thread has no CURRENT_REQUEST of its own, and the log asks for it there
        run = copy_context().run
        return await get_running_loop().run_in_executor(pool, run, work, *args)

    def close(self) -> None:
        """Wait for running work and for queued writes, and cancel what other pools have queued."""
        # an upload that was taken is finished: its client waits for the answer
        self.writes.shutdown()
        pools = [self.reads, self.streams, self.passwords, self.tokens]
        pools += [threads.pool for threads in self.providers.values()]
        for pool in pools:
            pool.shutdown(cancel_futures=True)


class NoThreads(ThreadPools):
    """Runs all work in the thread that asks, for a static site, which is made page by page."""

    @staticmethod
    async def run_in(pool: Executor, work: Callable[[*Ts], T], *args: *Ts) -> T:
        """Run blocking work, and return its result."""
        del pool
        return work(*args)


class SingleFlight:
    """Runs work at most once at a time for each key, in one event loop."""

    def __init__(self) -> None:
        self._tasks: dict[Hashable, tuple[Task[Any], float]] = {}
        """The tasks that run, by key, each with the time when it was started."""

    async def run(
        self,
        key: Hashable,
        work: Callable[[*Ts], Coroutine[Any, Any, T]],
        *args: *Ts,
        get_stale: Callable[[], T | None] | None = None,
    ) -> T:
        """
        Return the result of the task that runs for `key`, or else of a new task `work(*args)`.

        If the task has run for STALE_AFTER_SECONDS, and `get_stale` returns a value, return that
        value instead. A cancelled caller does not cancel the task. Raises what `work` raises.
        """
        now = get_running_loop().time()
        if key not in self._tasks:
            new_task = create_task(work(*args))
            new_task.add_done_callback(partial(self._finish, key))
            self._tasks[key] = new_task, now
        task, started_at = self._tasks[key]
        if get_stale is not None:
            seconds_left = started_at + STALE_AFTER_SECONDS - now
            await wait((task,), timeout=max(0.0, seconds_left))
            if not task.done():
                stale_value = get_stale()
                if stale_value is not None:
                    return stale_value
        return await shield(task)  # other callers may wait for the task, too

    def _finish(self, key: Hashable, task: Task[Any]) -> None:
        """Forget a task that has ended."""
        del self._tasks[key]
        if not task.cancelled():
            task.exception()  # else asyncio logs an exception that no caller has waited for
