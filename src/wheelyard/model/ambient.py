"""What the world supplies: time, patience and chance. Made in `wheelyard.stores`, handed down."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from random import Random


@dataclass(frozen=True, slots=True, kw_only=True)
class Ambient:
    """The clocks and the dice that everything below the index uses."""

    now: Callable[[], datetime]
    """The time of day, UTC, to the microsecond."""
    monotonic: Callable[[], float]
    """Seconds that never jump; only differences mean something."""
    pause: Callable[[float], None]
    """Waits for so many seconds."""
    random: Random
    """Unpredictable in the product, seeded in tests."""

    def seconds(self) -> float:
        """Return the time of day in seconds since the epoch."""
        return self.now().timestamp()

    def new_id(self) -> str:
        """Return 16 random hexadecimal digits."""
        return f"{self.random.getrandbits(64):016x}"
