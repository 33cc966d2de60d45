"""
Work that is under way, shared by everybody who asks for the same meanwhile.

Where the store is far, a thread that asks it waits for a network. So those who want the same thing
at the same time wait for one thread, in the event loop, where waiting costs next to nothing.
"""

from asyncio import Task, create_task, shield
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class Flights:
    """What is under way, by what it is about; used in one event loop only."""

    def __init__(self) -> None:
        self._tasks: dict[Hashable, Task[Any]] = {}

    async def join(self, subject: Hashable, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """
        Return what the work about `subject` gives: that which is under way, or else new work.

        Whoever goes away does so alone: the work goes on for the others.

        Args:
            subject: What it is about; the same subject always stands for the same work.
            work: Begins it.
        """
        task: Task[T] | None = self._tasks.get(subject)
        if task is None:
            task = self._tasks[subject] = create_task(work())
            task.add_done_callback(lambda done: self._land(subject, done))
        return await shield(task)

    def _land(self, subject: Hashable, task: Task[Any]) -> None:
        del self._tasks[subject]
        if not task.cancelled():
            task.exception()  # looked at, or it is reported where nobody has waited to the end
