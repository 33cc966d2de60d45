"""What a check has found, and what it tells while it looks."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Final

from wheelyard.errors import Conflict, IndexFault
from wheelyard.storage.base import Key, ObjectVersion, Store, Stored


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

    def add(self, others: "Findings") -> None:
        """Add what was found elsewhere."""
        for each in fields(self):
            # lists and numbers both know how to be added to
            setattr(self, each.name, getattr(self, each.name) + getattr(others, each.name))


Progress = Callable[[str, int], None]
"""Told what is being looked at, and how many bytes of it were read just now."""


class Unreadable:
    """The answer of `look` where an object is there and cannot be read."""

    __slots__ = ()


UNREADABLE: Final = Unreadable()


def look(store: Store, key: Key, findings: Findings) -> Stored | Unreadable | None:
    """Return an object, None where there is none; one that cannot be read is a problem."""
    try:
        found = store.get(key)
    except IndexFault as fault:
        findings.problems.append(
            f"{key} cannot be read: {fault.message} If something else lies in its place, remove it"
        )
        return UNREADABLE
    return found if isinstance(found, Stored) else None


def mend(store: Store, key: Key, body: bytes, expect: ObjectVersion, findings: Findings) -> bool:
    """Write what was found missing; return whether it was written, and not by somebody else."""
    try:
        store.put(key, body, expect)
    except Conflict:
        return False
    except IndexFault as fault:
        findings.problems.append(f"{key} could not be mended: {fault.message}")
        return False
    return True


def counted(number: int, thing: str) -> str:
    """Return a number of things: `1 file`, `2 files`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
