"""Timers: work that is done later, in a thread of its own."""

from collections.abc import Callable
from threading import Timer
from typing import Protocol


class StartedTimer(Protocol):
    """Calls something later, unless it is cancelled."""

    def cancel(self) -> None:
        """Do not call it any more."""


StartTimer = Callable[[float, Callable[[], None]], StartedTimer]
"""Does work after some seconds. A test has one that it moves itself."""


def start_timer(seconds: float, work: Callable[[], None]) -> StartedTimer:
    """Run `work` after some seconds, in a thread that does not keep the process alive."""
    timer = Timer(seconds, work)
    timer.daemon = True
    timer.start()
    return timer
