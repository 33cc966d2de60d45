"""
Threads: some may be cut off, some compute in turns, some map in parallel.

The first caller for a key becomes the leader: it handles all waiting requests of that key in one
batch. When it has to retry, it adds the requests that have arrived meanwhile. Afterwards the first
caller that still waits becomes the leader, so that no caller works after its own request is done.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Condition, Lock, Thread, get_ident
from typing import Final, Generic, TypeVar

from msgspec import Struct, field

from wheelyard.concurrency.runtime import Clock
from wheelyard.errors import WheelyardError

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
        """Run `work` as `submit` does, and return its result, which cannot be cancelled."""
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
    """
    Runs work of several threads in turn.

    `monotonic` is a clock in seconds.
    """

    def __init__(self, monotonic: Clock) -> None:
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
        """Take the turn, and return False if another thread has had it for long."""
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
    work: Callable[[T], R], arguments: Iterable[T], threads: int = PREFETCH_THREADS
) -> Iterator[R]:
    """
    Yield `work(argument)` for each argument, in order, computed ahead in so many threads.

    With one thread it is that of the caller, and nothing is computed ahead.

    An exception of `work`, and one of `arguments`, is raised in its turn. Closing the iterator
    cancels the calls that have not begun; running ones go on, and nobody waits for them.
    """
    if threads == 1:
        yield from map(work, arguments)
        return
    pool = ThreadPoolExecutor(threads, "prefetch")
    pending = deque[Future[R]]()
    fault: Exception | None = None
    remaining = iter(arguments)
    try:
        while True:
            try:
                argument = next(remaining)
            except StopIteration:
                break
            except Exception as error:  # noqa: BLE001 - raised below, behind what came before it
                fault = error
                break
            pending.append(pool.submit(work, argument))
            if len(pending) >= 2 * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
        if fault is not None:
            raise fault
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


K = TypeVar("K", bound=Hashable)
I = TypeVar("I")  # noqa: E741 - the input of a request

TakeRequests = Callable[[], Sequence[I]]
"""Adds the waiting requests to a batch, and returns all of the batch in order of arrival."""


class _Submission(Struct, Generic[I, R], eq=False):
    """
    A request, and the future of its result.

    A result of None makes its caller the leader.
    """

    request: I
    future: Future[R | None] = field(default_factory=Future)


class GroupCommit(Generic[K, I, R]):
    """
    Handles submitted requests in batches, one batch at a time for each key.

    Args:
        handle: Gets a key and a `TakeRequests`, and handles the batch. Returns a result or an error
            for each request that its last `TakeRequests` returned, in that order. An exception that
            it raises is raised in every caller of the batch.
    """

    def __init__(
        self, handle: Callable[[K, TakeRequests[I]], Sequence[R | WheelyardError]]
    ) -> None:
        self._handle = handle
        self._waiting: dict[K, list[_Submission[I, R]]] = {}
        """The submissions that wait for a batch, by key; a key without an entry has no leader."""
        self._lock = Lock()

    def submit(self, key: K, request: I) -> R:
        """
        Handle `request` in a batch, and return its result or raise its error.

        Blocks.
        """
        own = _Submission[I, R](request)
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
        assert result is not None  # noqa: S101 - the leader's own request has a result
        return result

    def _lead(self, key: K, own: _Submission[I, R]) -> None:
        own.future = Future()
        batch: list[_Submission[I, R]] = []

        def take() -> list[I]:
            with self._lock:
                batch.extend(self._waiting[key])
                self._waiting[key] = []
            return [submission.request for submission in batch]

        take()  # so that the leader's own request is in the batch even if `handle` fails
        try:
            outcomes = self._handle(key, take)
        except BaseException as error:
            for submission in batch:
                submission.future.set_exception(error)
            raise
        else:
            for submission, outcome in zip(batch, outcomes, strict=True):
                if isinstance(outcome, WheelyardError):
                    submission.future.set_exception(outcome)
                else:
                    submission.future.set_result(outcome)
        finally:
            with self._lock:
                waiting = self._waiting[key]
                if waiting:
                    waiting[0].future.set_result(None)
                else:
                    del self._waiting[key]
