"""Single-flight for coroutines: concurrent calls with the same key share one task."""

from asyncio import Task, create_task, get_running_loop, shield, wait
from collections.abc import Callable, Coroutine, Hashable
from functools import partial
from typing import Any, Final, TypeVar

T = TypeVar("T")

STALE_AFTER_SECONDS: Final = 1.0
"""Seconds of work after which an old answer is taken, where there is one."""


class SingleFlight:
    """Work that is under way in an event loop, by what it is about."""

    def __init__(self) -> None:
        self._tasks: dict[Hashable, tuple[Task[Any], float]] = {}

    @property
    def is_alone(self) -> bool:
        """Whether nothing is under way, but the work that asks."""
        return len(self._tasks) == 1

    async def run(
        self,
        subject: Hashable,
        work: Callable[[], Coroutine[Any, Any, T]],
        stale: Callable[[], T | None] = lambda: None,
    ) -> T:
        """
        Return what the work about `subject` gives: that which is under way, or new work.

        Who goes away does so alone. When the work is late, `stale` may give an old answer.
        """
        now = get_running_loop().time()
        if subject not in self._tasks:
            task = create_task(work())
            task.add_done_callback(partial(self._land, subject))
            self._tasks[subject] = task, now
        task, begun = self._tasks[subject]
        await wait((task,), timeout=max(0.0, begun + STALE_AFTER_SECONDS - now))
        old = None if task.done() else stale()
        return await shield(task) if old is None else old

    def _land(self, subject: Hashable, task: Task[Any]) -> None:
        del self._tasks[subject]
        if not task.cancelled():
            task.exception()  # what nobody looks at is reported
