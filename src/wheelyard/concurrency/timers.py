"""Timers: work that is done later, in a thread of its own."""

from collections.abc import Callable
from threading import Timer
from typing import Protocol


class StartedTimer(Protocol):
    """A timer that calls a function later, unless the timer is cancelled before."""

    def cancel(self) -> None:
        """Let the timer not call its function any more."""


StartTimer = Callable[[float, Callable[[], None]], StartedTimer]
"""Starts a timer, which calls a function after some seconds. Tests have a timer without a clock."""


def start_timer(seconds: float, work: Callable[[], None]) -> StartedTimer:
    """Run `work` after some seconds, in a thread that does not keep the process alive."""
    timer = Timer(seconds, work)
    timer.daemon = True
    timer.start()
    return timer
