"""The state of a server process, for its operators: its start, its queues and failed writes."""

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from msgspec import Struct


class WorkQueue(Struct, frozen=True):
    """Work of one kind, of which only some runs at a time."""

    work: str
    """The plural name of the work, such as `uploads`."""
    running: int
    """How many run now."""
    waiting: int
    """How many wait now."""


class LimitedWork(Protocol):
    """Lets only some work of one kind run at a time."""

    @property
    def queue(self) -> WorkQueue:
        """How much of the work runs and waits now."""


class ServerState:
    """
    The state of a server process. Threads may share an object.

    Args:
        started_at: When the process has started, UTC.
        write_failure: Returns why no write to the store has succeeded since the start, or an empty
            text.
    """

    def __init__(self, started_at: datetime, write_failure: Callable[[], str]) -> None:
        self.started_at = started_at
        self.write_failure = write_failure
        self._limits = list[LimitedWork]()

    def watch(self, limit: LimitedWork) -> None:
        """Show this work among the queues from now on."""
        self._limits.append(limit)

    @property
    def queues(self) -> tuple[WorkQueue, ...]:
        """The queue of each kind of limited work, as it is now."""
        return tuple(limit.queue for limit in self._limits)
