"""Threads for work that may be cut off at any moment, when the process ends."""

from collections import Counter, defaultdict, deque
from collections.abc import Callable
from concurrent.futures import Future
from threading import Condition, Thread
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
