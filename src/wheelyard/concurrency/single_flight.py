"""Single-flight for coroutines: concurrent calls with equal keys share one task."""

from asyncio import Task, create_task, get_running_loop, shield, wait
from collections.abc import Callable, Coroutine, Hashable
from functools import partial
from typing import Any, Final, TypeVar

T = TypeVar("T")

STALE_AFTER_SECONDS: Final = 1.0
"""How long a shared task runs before its callers get a stale value, if there is one."""


class SingleFlight:
    """Runs work at most once at a time for each key, in one event loop."""

    def __init__(self) -> None:
        self._tasks: dict[Hashable, tuple[Task[Any], float]] = {}

    async def run(
        self,
        key: Hashable,
        work: Callable[[], Coroutine[Any, Any, T]],
        get_stale: Callable[[], T | None] = lambda: None,
    ) -> T:
        """
        Return the result of the task that runs for `key`; without one, start a task with `work`.

        If the task has run for STALE_AFTER_SECONDS, and `get_stale` returns a value, return that
        value instead. A cancelled caller does not cancel the task.
        """
        now = get_running_loop().time()
        if key not in self._tasks:
            started = create_task(work())
            started.add_done_callback(partial(self._finish, key))
            self._tasks[key] = started, now
        task, started_at = self._tasks[key]
        await wait((task,), timeout=max(0.0, started_at + STALE_AFTER_SECONDS - now))
        stale = None if task.done() else get_stale()
        return await shield(task) if stale is None else stale

    def _finish(self, key: Hashable, task: Task[Any]) -> None:
        del self._tasks[key]
        if not task.cancelled():
            task.exception()  # asyncio logs an exception that is never retrieved
