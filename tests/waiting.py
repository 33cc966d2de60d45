"""Waiting for the work of another process or thread."""

import asyncio
import sys
import time
from collections.abc import Callable
from traceback import walk_stack
from types import CodeType
from typing import Protocol

TIMEOUT_SECONDS = 45.0
"""
How long a test waits before it fails, on a machine under load.

Less than the minute that a stopping server gives to requests in progress, so that a server that
hangs is not taken for one that stops.
"""
START_SECONDS = 120.0
"""
How long a server may take until it answers.

Its start takes two seconds of processor time, and a test at a low priority gets a fraction of that.
"""
FIRST_PAUSE, LAST_PAUSE = 0.01, 0.05
"""Seconds between two looks at a condition: first, and after some seconds, as each look costs."""


class Process(Protocol):
    """A process that may have ended."""

    def poll(self) -> int | None:
        """Return its exit status, or None while it runs."""


def until(
    holds: Callable[[], bool],
    explain: Callable[[], str] = str,
    process: Process | None = None,
    timeout: float = TIMEOUT_SECONDS,
) -> None:
    """
    Poll until a condition holds.

    Args:
        holds: The condition.
        explain: Returns the message of the failure, for example the log of a server.
        process: The test fails at once if this process has ended.
        timeout: Seconds until the test fails.
    """
    begin = time.monotonic()
    while not holds():
        waited = time.monotonic() - begin
        assert process is None or process.poll() is None, explain()
        assert waited < timeout, explain()
        time.sleep(min(LAST_PAUSE, max(FIRST_PAUSE, waited / 50)))


def threads_in(code: CodeType) -> int:
    """Return how many threads execute the code of a function."""
    stacks = (walk_stack(frame) for frame in sys._current_frames().values())  # noqa: SLF001
    return sum(any(frame.f_code is code for frame, _ in each) for each in stacks)


class StillLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock stands still until it is moved."""

    by = 0.0

    def time(self) -> float:
        """Return what the clock shows."""
        return self.by
