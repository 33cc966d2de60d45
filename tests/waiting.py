"""Waiting for the work of another process or thread."""

import asyncio
import time
from collections.abc import Callable
from subprocess import Popen

TIMEOUT_SECONDS = 45.0
"""
How long a test waits before it fails, on a machine under load.

Less than the minute that a stopping server gives to requests in progress, so that a server that
hangs is not taken for one that stops.
"""
PAUSE = 0.01


def until(
    holds: Callable[[], bool],
    explain: Callable[[], str] = str,
    process: "Popen[bytes] | Popen[str] | None" = None,
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
    end = time.monotonic() + timeout
    while not holds():
        assert process is None or process.poll() is None, explain()
        assert time.monotonic() < end, explain()
        time.sleep(PAUSE)


class StillLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock stands still until it is moved."""

    by = 0.0

    def time(self) -> float:
        """Return what the clock shows."""
        return self.by
