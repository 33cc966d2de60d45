"""Threads: some may be cut off, some compute in turns, some map in parallel."""

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Condition, Lock, Thread, get_ident
from typing import Final, TypeVar

T = TypeVar("T")

IDLE_SECONDS: Final = 10.0
"""How long a thread waits for more work before it ends."""

Work = Callable[[], object]


class DaemonThreads:
    """
    Runs work in at most `limit` threads, which do not keep the process from ending.

    The threads of `ThreadPoolExecutor` do: Python waits for them before it ends.
    """

    def __init__(self, limit: int, name: str) -> None:
        self._limit = limit
        self._name = name
        self._queue = deque[tuple[str, Work]]()
        self._shares = Counter[str]()
        """The work of each client that is queued or runs."""
        self._surplus = defaultdict[str, deque[Work]](deque)
        """What waits until other work of the same client has ended."""
        self._threads = self._idle = 0
        self._changed = Condition()

    def submit(self, work: Work, client: str = "") -> None:
        """
        Run `work`, which raises nothing, as soon as a thread is free.

        One client, if it is named, never has more than half of the threads.
        """
        with self._changed:
            if client and self._shares[client] >= max(1, self._limit // 2):
                self._surplus[client].append(work)
            else:
                self._shares[client] += 1
                self._enqueue(client, work)

    def start(self, work: Callable[[], T], client: str = "") -> Future[T]:
        """Run `work` as `submit` does; return its result, which cannot be cancelled."""
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()  # one who leaves must not cancel it for all others

        def run() -> None:
            try:
                future.set_result(work())
            except BaseException as error:  # noqa: BLE001 - it goes to those who wait
                future.set_exception(error)

        self.submit(run, client)
        return future

    def _enqueue(self, client: str, work: Work) -> None:
        self._queue.append((client, work))
        if self._idle >= len(self._queue):
            self._changed.notify()
        elif self._threads < self._limit:
            self._threads += 1
            Thread(target=self._run, name=self._name, daemon=True).start()

    def _run(self) -> None:
        while (taken := self._next()) is not None:
            client, work = taken
            del taken
            work()
            del work  # with all that it holds, which may be open connections
            self._end_share(client)

    def _next(self) -> tuple[str, Work] | None:
        with self._changed:
            self._idle += 1
            self._changed.wait_for(lambda: self._queue, IDLE_SECONDS)
            self._idle -= 1
            if self._queue:
                return self._queue.popleft()
            self._threads -= 1
            return None

    def _end_share(self, client: str) -> None:
        with self._changed:
            if client in self._surplus:
                self._enqueue(client, self._surplus[client].popleft())
                if not self._surplus[client]:
                    del self._surplus[client]
            else:
                self._shares -= Counter((client,))  # without those that are 0


TURN_SECONDS: Final = 0.05
"""How long a turn may hold up other threads."""


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
