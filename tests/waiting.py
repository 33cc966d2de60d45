"""Waiting for the work of another process or thread."""

import asyncio
import time
from collections.abc import Callable
from subprocess import Popen

PATIENCE = 45.0
"""Seconds until a test gives up; a loaded machine may need some."""
PAUSE = 0.01


def until(
    holds: Callable[[], bool],
    explain: Callable[[], str] = str,
    process: "Popen[bytes] | Popen[str] | None" = None,
    patience: float = PATIENCE,
) -> None:
    """
    Poll until a condition holds.

    Args:
        holds: What is asked.
        explain: Returns what the test says when it gives up, as the log of a server.
        process: The test gives up at once if this one has ended.
        patience: Seconds until the test gives up.
    """
    end = time.monotonic() + patience
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
