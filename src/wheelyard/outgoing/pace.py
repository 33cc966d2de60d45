"""
How fast a file has to come.

A limit on silence alone is none: a server that sends a byte now and then would hold an import up
for days.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

GRACE: Final = 60.0
"""Seconds of waiting for a file in which it may come as slowly as it likes."""
SLOWEST: Final = 10_000
"""Bytes for each second of waiting after that, on average."""


@dataclass(slots=True)
class Pace:
    """
    How fast a file comes, over as many connections as it takes.

    Args:
        monotonic: The clock.
    """

    monotonic: Callable[[], float]
    waited: float = field(default=0.0, init=False)
    """Seconds, without those in which whoever takes the bytes was at work."""
    size: int = field(default=0, init=False)

    def timed(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Yield pieces, and take note of how long they took."""
        source = iter(pieces)
        while True:
            began = self.monotonic()
            try:
                piece = next(source, None)
            finally:
                self.waited += self.monotonic() - began
            if piece is None:
                return
            self.size += len(piece)
            yield piece

    @property
    def is_too_slow(self) -> bool:
        """Whether nobody should wait for the rest."""
        return self.size < SLOWEST * (self.waited - GRACE)
