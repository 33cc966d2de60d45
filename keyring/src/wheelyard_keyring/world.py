"""What the parts of this package share: answers, and what they need of the world."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Answer:
    """A user name and a password."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class World:
    """Two clocks and a place for messages, as they are handed in."""

    say: Callable[[str], None]
    """Tells the person one sentence. Standard output belongs to the credential."""
    pause: Callable[[float], None]
    """Waits for some seconds."""
    monotonic: Callable[[], float]
    """Seconds, from any beginning."""


def real_world() -> World:
    """Return the world."""
    return World(_say, time.sleep, time.monotonic)


def _say(message: str) -> None:
    # A program without a terminal may have no standard error, or a closed one.
    with suppress(AttributeError, OSError, ValueError):
        sys.stderr.write(f"wheelyard-keyring: {message}\n")
