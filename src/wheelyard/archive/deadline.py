"""An end to the time that one archive may take."""

from collections.abc import Callable

from wheelyard.archive.faults import archive_bomb


class Deadline:
    """
    A moment after which an archive is given up; asked between chunks of work.

    Args:
        clock: Monotonic time in seconds.
        seconds: From now on.
    """

    __slots__ = ("_clock", "_end")

    def __init__(self, clock: Callable[[], float], seconds: float) -> None:
        self._clock = clock
        self._end = clock() + seconds

    def check(self) -> None:
        """
        Do nothing until the time is up.

        Raises:
            Invalid: The time is up (code `archive_bomb`).
        """
        if self._clock() > self._end:
            raise archive_bomb("reading it takes too long")
