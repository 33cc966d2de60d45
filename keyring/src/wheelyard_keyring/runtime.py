"""The credential, and the clock, sleep and message functions that other modules are given."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Credential:
    """A user name and a password."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Runtime:
    """The injected clock, sleep and message functions."""

    say: Callable[[str], None]
    """Prints one sentence on standard error. Standard output is for the credential."""
    pause: Callable[[float], None]
    """Sleeps for some seconds."""
    monotonic: Callable[[], float]
    """Seconds since an arbitrary start."""


def system_runtime() -> Runtime:
    """Return the runtime with the real clock and sleep, and messages on standard error."""
    return Runtime(_say, time.sleep, time.monotonic)


def _say(message: str) -> None:
    # A program without a terminal may have no standard error, or a closed one.
    with suppress(AttributeError, OSError, ValueError):
        sys.stderr.write(f"wheelyard-keyring: {message}\n")
