"""What a check has found, and what it tells while it looks."""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Findings:
    """What a check has found so far."""

    projects: int = 0
    files: int = 0
    size: int = 0
    """Bytes that were read and hashed."""
    problems: list[str] = field(default_factory=list)
    """Damage, each with what can be done about it."""
    notes: list[str] = field(default_factory=list)
    """What a crash or a person may leave behind, and what does no harm."""
    mended: list[str] = field(default_factory=list)
    rebuilt: int = 0
    """Documents that were folded again from their journal."""
    swept: int = 0
    """Leftovers that were removed."""


Progress = Callable[[str, int], None]
"""Told what is being looked at, and how many bytes of it were read just now."""


def counted(number: int, thing: str) -> str:
    """Return a number of things: `1 file`, `2 files`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
