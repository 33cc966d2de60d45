"""Threads for work that may be cut off at any moment, when the process ends."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from threading import Condition, Thread
from typing import Final, TypeVar

T = TypeVar("T")

IDLE_SECONDS: Final = 10.0
"""How long a thread waits for more work before it ends."""


class DaemonThreads:
    """
    Runs work in at most `limit` threads, which do not keep the process from ending.

    The threads of `ThreadPoolExecutor` do: Python waits for them before it ends.
    """

    def __init__(self, limit: int, name: str) -> None:
        self._limit = limit
        self._name = name
        self._queue = deque[Callable[[], object]]()
        self._threads = self._idle = 0
        self._changed = Condition()

    def submit(self, work: Callable[[], object]) -> None:
        """Run `work`, which raises nothing, as soon as a thread is free."""
        with self._changed:
            self._queue.append(work)
            if self._idle >= len(self._queue):
                self._changed.notify()
            elif self._threads < self._limit:
                self._threads += 1
                Thread(target=self._run, name=self._name, daemon=True).start()

    def start(self, work: Callable[[], T]) -> Future[T]:
        """Run `work` as soon as a thread is free; return its result, which cannot be cancelled."""
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()  # one who leaves must not cancel it for all others

        def run() -> None:
            try:
                future.set_result(work())
            except BaseException as error:  # noqa: BLE001 - it goes to those who wait
                future.set_exception(error)

        self.submit(run)
        return future

    def _run(self) -> None:
        while (work := self._next()) is not None:
            work()
            del work  # with all that it holds, which may be open connections

    def _next(self) -> Callable[[], object] | None:
        with self._changed:
            self._idle += 1
            self._changed.wait_for(lambda: self._queue, IDLE_SECONDS)
            self._idle -= 1
            if self._queue:
                return self._queue.popleft()
            self._threads -= 1
            return None
