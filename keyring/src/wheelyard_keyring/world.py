"""What the parts of this package need of the world: two clocks and a place for messages."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass


@dataclass(frozen=True)
class World:
    """
    The world as it is handed in.

    Args:
        say: Tells the person one sentence. Standard output belongs to the credential.
        pause: Waits for some seconds.
        monotonic: Seconds, from any beginning.
    """

    say: Callable[[str], None]
    pause: Callable[[float], None]
    monotonic: Callable[[], float]


def real_world() -> World:
    """Return the world."""
    return World(_say, time.sleep, time.monotonic)


def _say(message: str) -> None:
    # A program without a terminal may have no standard error, or a closed one.
    with suppress(AttributeError, OSError, ValueError):
        sys.stderr.write(f"wheelyard-keyring: {message}\n")
