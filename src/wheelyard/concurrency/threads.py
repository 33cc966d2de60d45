"""
Threads that may be cut off, threads that compute in turns, parallel maps, and group commits.

In a group commit, the first caller for a key becomes the leader: it handles all waiting requests of
that key in one batch. When it has to retry, it adds the requests that have arrived meanwhile.
Afterwards the first caller that still waits becomes the leader, so that no caller works after its
own request is done.
"""

from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Condition, Lock, Thread, get_ident
from typing import Final, Generic, NamedTuple, TypeVar

from msgspec import Struct, field

from wheelyard.concurrency.runtime import Clock

T = TypeVar("T")
R = TypeVar("R")
K = TypeVar("K", bound=Hashable)
I = TypeVar("I")  # noqa: E741 - the input of a request

IDLE_SECONDS: Final = 10.0
"""How long a thread waits for more work before it ends."""
TURN_SECONDS: Final = 0.05
"""How long a turn may hold up other threads."""
PREFETCH_THREADS: Final = 8

Work = Callable[[], object]


class _SubmittedWork(NamedTuple):
    """Work for the threads, and the sharers that it counts for."""

    sharers: tuple[str, ...]
    work: Work


class DaemonThreads:
    """
    Runs work in at most `limit` threads, which do not keep the process from ending.

    The threads of `ThreadPoolExecutor` would: Python waits for them before it ends.
    """

    def __init__(self, limit: int, name: str) -> None:
        self._limit = limit
        self._name = name
        self._queue = deque[_SubmittedWork]()
        self._shares = Counter[tuple[str, ...]]()
        """How much work of each sharer is queued or runs, by the sharers up to this one."""
        self._surplus = deque[_SubmittedWork]()
        """Work that waits until other work of one of its sharers has ended, the oldest first."""
        self._threads = 0
        self._idle = 0
        # its lock guards all of the above; no work runs under it
        self._changed = Condition()

    def submit(self, work: Work, *sharers: str) -> None:
        """
        Run `work`, which raises nothing, as soon as a thread is free.

        The first sharer, such as an index, never has more than half of the threads, and each
        further one, such as a client of that index, half of what the one before it may have. An
        empty text stands for no sharer.
        """
        submitted = _SubmittedWork(sharers, work)
        with self._changed:
            if self._has_room(submitted):
                self._enqueue(submitted)
            else:
                self._surplus.append(submitted)

    def start(self, work: Callable[[], T], *sharers: str) -> Future[T]:
        """
        Run `work` as soon as a thread is free, and return the future of its result.

        Nobody can cancel the future. It has the exception that `work` raises. The sharers limit how
        many threads such work takes, as in `submit`.
        """
        future: Future[T] = Future()
        # several callers may wait for the future: one who leaves must not cancel it for the others
        future.set_running_or_notify_cancel()

        def run() -> None:
            try:
                future.set_result(work())
            except BaseException as error:  # noqa: BLE001 - it goes to those who wait
                future.set_exception(error)

        self.submit(run, *sharers)
        return future

    def _has_room(self, submitted: _SubmittedWork) -> bool:
        """Return whether each sharer has fewer threads than it may have."""
        for share in _shares_of(submitted):
            # half of the threads for the first sharer, a quarter for the second, one at least
            limit = max(1, self._limit >> len(share))
            if self._shares[share] >= limit:
                return False
        return True

    def _enqueue(self, submitted: _SubmittedWork) -> None:
        """Hand work to an idle thread, or to a new one if there may be more."""
        # the caller holds `_changed`: an idle thread is counted until it has taken its work, so
        # that several pieces of work that come at once do not count on the same idle thread
        self._shares.update(_shares_of(submitted))
        self._queue.append(submitted)
        if self._idle >= len(self._queue):
            self._changed.notify()
        elif self._threads < self._limit:
            self._threads += 1
            Thread(target=self._run, name=self._name, daemon=True).start()

    def _run(self) -> None:
        """Do work after work, in a thread of its own, until none comes for a while."""
        while (submitted := self._next()) is not None:
            shares = _shares_of(submitted)
            submitted.work()
            del submitted  # with all that the work holds, which may be open connections
            self._end_share(shares)

    def _next(self) -> _SubmittedWork | None:
        """Return the next work, or None if this thread has waited long enough and ends."""
        with self._changed:
            self._idle += 1
            self._changed.wait_for(lambda: self._queue, IDLE_SECONDS)
            self._idle -= 1
            if self._queue:
                return self._queue.popleft()
            # still under the lock, so that whoever submits does not count on this thread
            self._threads -= 1
            return None

    def _end_share(self, shares: list[tuple[str, ...]]) -> None:
        """Take ended work out of the counts, and enqueue what may take its place."""
        with self._changed:
            self._shares -= Counter(shares)  # without those that are 0
            surplus = self._surplus
            self._surplus = deque()
            for submitted in surplus:
                if self._has_room(submitted):
                    self._enqueue(submitted)
                else:
                    self._surplus.append(submitted)


def _shares_of(submitted: _SubmittedWork) -> list[tuple[str, ...]]:
    """Return the key of each sharer's share: the sharers before it, and itself."""
    shares = []
    for number, sharer in enumerate(submitted.sharers, 1):
        if sharer:  # an empty text is no sharer, and has no share of the threads
            shares.append(submitted.sharers[:number])
    return shares


class Turns:
    """Runs work of several threads in turn, by the clock `monotonic`."""

    def __init__(self, monotonic: Clock) -> None:
        self._monotonic = monotonic
        self._lock = Lock()
        self._taken_at = 0.0

    def run(self, work: Callable[[], T]) -> T:
        """
        Run work in turn, except while it is in a `waiting` block, and return its result.

        Work that gets no turn for `TURN_SECONDS` runs without one.
        """
        # work that gets no turn in time runs all the same: turns save time, and protect nothing
        turn = _Turn(self)
        token = _CURRENT_TURN.set(turn)
        turn.take()
        try:
            return work()
        finally:
            turn.give_up()
            _CURRENT_TURN.reset(token)

    def take(self) -> bool:
        """
        Take the turn, and return whether this thread has it.

        If another thread has the turn, wait until it has had the turn for `TURN_SECONDS`.
        """
        has_turn = self._lock.acquire(blocking=False)
        if not has_turn:
            # read without the lock: if the turn changes hands meanwhile, this thread waits less
            seconds = self._taken_at + TURN_SECONDS - self._monotonic()
            if seconds > 0:
                has_turn = self._lock.acquire(timeout=seconds)
        if has_turn:
            self._taken_at = self._monotonic()
        return has_turn

    def give_up(self) -> None:
        """Let another thread take the turn."""
        self._lock.release()


class _Turn:
    """The turn of one thread, which may run without having it."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._has_turn = False
        self.thread = get_ident()

    def take(self) -> None:
        """Take the turn for this thread, or go on without it after a wait."""
        self._has_turn = self._turns.take()

    def give_up(self) -> None:
        """Let another thread take the turn, if this thread has it."""
        # a thread that has waited too long runs without the turn: the lock is another thread's
        if self._has_turn:
            self._has_turn = False
            self._turns.give_up()


_CURRENT_TURN: ContextVar[_Turn | None] = ContextVar("CURRENT_TURN", default=None)


@contextmanager
def waiting() -> Iterator[None]:
    """Give up the turn of this thread, if it runs in turn, while it waits for something else."""
    turn = _CURRENT_TURN.get()
    if turn is None or turn.thread != get_ident():  # a context may be copied to another thread
        yield
        return
    turn.give_up()
    try:
        yield
    finally:
        turn.take()


def prefetch_map(
    work: Callable[[T], R], arguments: Iterable[T], threads: int = PREFETCH_THREADS
) -> Iterator[R]:
    """
    Yield `work(argument)` for each argument, in order, computed ahead in `threads` threads.

    At most `2 * threads` calls are ahead of the results that the caller has taken. With one thread,
    each call is made in the thread of the caller, and no call is ahead.

    An exception of `work` or of `arguments` is raised when the results before it were yielded.
    Closing the iterator cancels the calls that have not begun. Running calls go on, and nobody
    waits for them.
    """
    if threads == 1:
        yield from map(work, arguments)
        return
    pool = ThreadPoolExecutor(threads, "prefetch")
    pending = deque[Future[R]]()
    argument_error: Exception | None = None
    remaining_arguments = iter(arguments)
    try:
        while True:
            try:
                argument = next(remaining_arguments)
            except StopIteration:
                break
            except Exception as error:  # noqa: BLE001 - raised below
                argument_error = error
                break
            pending.append(pool.submit(work, argument))
            # a bound, as a caller who takes results slowly must not find all of them in memory
            if len(pending) >= 2 * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
        # only now, after the results of all arguments that came before the error
        if argument_error is not None:
            raise argument_error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


class _Submission(Struct, Generic[I, R], eq=False):
    """The request of one caller, and its result."""

    request: I
    result: Future[R] = field(default_factory=Future)
    woken: Future[None] = field(default_factory=Future)
    """Done once the result is there, or once the caller has to lead."""

    def wake(self) -> None:
        """Let the caller go on. A caller that was woken to lead is woken again by its own batch."""
        if not self.woken.done():
            self.woken.set_result(None)


class Batch(Struct, Generic[I, R], eq=False):
    """The requests for one key that its leader handles together."""

    _queue: list[_Submission[I, R]]
    """The submissions that no batch has taken yet. Their callers append them, under the lock."""
    _lock: Lock
    submissions: list[_Submission[I, R]] = []

    def take(self) -> list[I]:
        """Add the requests that wait now, and return all requests of the batch, as they came."""
        # only the leader calls this; `submissions` needs no lock of its own
        with self._lock:
            self.submissions += self._queue
            self._queue.clear()
        return [submission.request for submission in self.submissions]


class GroupCommit(Generic[K, I, R]):
    """
    Handles submitted requests in batches, one batch at a time for each key.

    Args:
        handle: Handles a batch for a key. It calls `Batch.take` once or, to retry, several times,
            and returns a result for each request of the last call, in that order. An exception that
            it raises is raised in every caller of the batch.
    """

    def __init__(self, handle: Callable[[K, Batch[I, R]], Sequence[R]]) -> None:
        self._handle = handle
        self._waiting: dict[K, list[_Submission[I, R]]] = {}
        """The submissions that wait for a batch, by key. A key without an entry has no leader."""
        # one lock for all keys: it is held for moments, and never while a batch is handled
        self._lock = Lock()

    def submit(self, key: K, request: I) -> R:
        """
        Handle `request` in a batch, and return its result.

        Blocks. Raises what `handle` raised for the batch.
        """
        own_submission = _Submission[I, R](request)
        with self._lock:
            has_leader = key in self._waiting
            self._waiting.setdefault(key, []).append(own_submission)
        if has_leader:
            # another upload may compute while this one waits for the commit of its leader
            with waiting():
                own_submission.woken.result()
        # without a result, this caller is the first in the queue, and nobody leads any more
        if not own_submission.result.done():
            self._lead(key)
        return own_submission.result.result()

    def _lead(self, key: K) -> None:
        """Handle all requests that wait for a key, in the thread of this caller."""
        # only the leader removes the entry of its key, so it is there until the end of this method
        queue = self._waiting[key]
        batch = Batch(queue, self._lock)
        batch.take()  # so that the leader's own request is in the batch even if `handle` fails
        try:
            results = self._handle(key, batch)
            # a missing result is found here, before any caller has got one
            pairs = list(zip(batch.submissions, results, strict=True))
        except BaseException as error:
            # also for an interrupt of this thread: the others would wait for ever
            for submission in batch.submissions:
                submission.result.set_exception(error)
            raise
        else:
            for submission, result in pairs:
                submission.result.set_result(result)
        finally:
            # results first: whoever is woken without one takes itself for the next leader
            for submission in batch.submissions:
                submission.wake()
            with self._lock:
                # what has arrived since the last `take` gets a leader of its own
                if queue:
                    queue[0].wake()
                else:
                    del self._waiting[key]
