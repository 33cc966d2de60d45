"""
Work that is under way, shared by everybody who asks for the same meanwhile.

Where the store is far, a thread that asks it waits for a network. So those who want the same thing
at the same time wait for one thread, in the event loop, where waiting costs next to nothing; and
where an old answer will do, nobody waits long.
"""

from asyncio import Task, create_task, get_running_loop, shield, wait
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Final, TypeVar

T = TypeVar("T")

LATE: Final = 1.0
"""Seconds that work may be under way before an old answer is taken, where there is one."""


class Flights:
    """What is under way, by what it is about; used in one event loop only."""

    def __init__(self) -> None:
        self._tasks: dict[Hashable, tuple[Task[Any], float]] = {}

    @property
    def is_alone(self) -> bool:
        """Whether nothing is under way, but the work that asks."""
        return len(self._tasks) == 1

    async def join(
        self,
        subject: Hashable,
        work: Callable[[], Coroutine[Any, Any, T]],
        excused: Callable[[], T | None] = lambda: None,
    ) -> T:
        """
        Return what the work about `subject` gives: that which is under way, or else new work.

        Whoever goes away does so alone: the work goes on for the others.

        Args:
            subject: What it is about; the same subject always stands for the same work.
            work: Begins it.
            excused: Gives an old answer, if there is one that will do; asked when the work is late.
        """
        now = get_running_loop().time()
        task, begun = self._tasks.get(subject) or self._begun(subject, work, now)
        await wait((task,), timeout=max(0.0, begun + LATE - now))
        old = None if task.done() else excused()
        return await shield(task) if old is None else old

    def _begun(
        self, subject: Hashable, work: Callable[[], Coroutine[Any, Any, T]], now: float
    ) -> tuple[Task[T], float]:
        task = create_task(work())
        task.add_done_callback(lambda done: self._land(subject, done))
        self._tasks[subject] = task, now
        return task, now

    def _land(self, subject: Hashable, task: Task[Any]) -> None:
        del self._tasks[subject]
        if not task.cancelled():
            task.exception()  # looked at, or it is reported where nobody has waited to the end
