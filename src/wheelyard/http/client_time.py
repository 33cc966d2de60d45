"""The time that a client may take, without the time in which this server did not run."""

from asyncio import Timeout, get_running_loop, timeout
from collections.abc import Awaitable
from typing import Final, TypeVar

T = TypeVar("T")

STOPPED_SECONDS: Final = 1.0
"""A timer that comes later than this shows that this server did not run, as in a paused VM."""


async def wait_for_client(step: Awaitable[T], seconds: float, seconds_after_stop: float) -> T:
    """
    Return the result of a step that a client has to do, such as to send or take a chunk.

    If this server did not run when the seconds were over, the client has `seconds_after_stop` from
    then on. Raises TimeoutError if the step takes longer.
    """
    loop = get_running_loop()
    due_at = loop.time() + seconds
    async with timeout(None) as limit:
        timer = loop.call_at(due_at, _end_wait, limit, due_at, seconds_after_stop)
        try:
            return await step
        finally:
            timer.cancel()


def _end_wait(limit: Timeout, due_at: float, seconds_after_stop: float) -> None:
    """End a wait whose time is over, or give the client more time if this server did not run."""
    now = get_running_loop().time()
    seconds = 0.0
    if now - due_at > STOPPED_SECONDS:
        # what the client has sent meanwhile is about to be received, and what was lost on the way
        # to a paused machine is sent again some seconds later
        seconds = seconds_after_stop
    limit.reschedule(now + seconds)
