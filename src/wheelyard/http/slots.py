"""How many of what is costly may be under way at a time; the others wait, and not for ever."""

from asyncio import Semaphore, timeout
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from wheelyard.errors import Unavailable

WAIT_LIMIT: Final = 30.0
"""Seconds that somebody waits, as a rule."""


class Slots:
    """
    A number of slots for one kind of work.

    Args:
        count: How many there are.
        what: Of what too many are under way, for the message.
        patience: Seconds that somebody waits for others to end.
    """

    def __init__(self, count: int, what: str, patience: float = WAIT_LIMIT) -> None:
        self._free = Semaphore(count)
        self._what = what
        self._patience = patience

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """
        Hold a slot.

        Raises:
            Unavailable: None became free for too long (code `overloaded`).
        """
        try:
            async with timeout(self._patience):
                await self._free.acquire()
        except TimeoutError as error:
            raise Unavailable(
                f"Too many {self._what} are under way. Try again in a moment.",
                code="overloaded",
                short=f"Too many {self._what}.",
            ) from error
        try:
            yield
        finally:
            self._free.release()
