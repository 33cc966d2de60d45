"""The results of a check, and the reads and repairs that add to them."""

from msgspec import Struct
from msgspec.structs import fields

from wheelyard.errors import Conflict, WheelyardError
from wheelyard.storage.base import Key, ObjectVersion, Store, Stored


class Findings(Struct):
    """The results of a check: counts, damage, notes and repairs."""

    projects: int = 0
    files: int = 0
    size: int = 0
    """Bytes that were read and hashed."""
    problems: list[str] = []
    """Damage; each sentence says what the operator can do."""
    notes: list[str] = []
    """Harmless leftovers of crashes or operators."""
    repaired: list[str] = []
    rebuilt: int = 0
    """Documents that were computed again from their journal."""
    swept: int = 0
    """Leftovers that were deleted."""

    def add(self, other: "Findings") -> None:
        """Add the counts and messages of `other` to these."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))

    def add_foreign_object(self, key: Key) -> None:
        """Add a note that the object at `key` is not one of wheelyard's."""
        self.notes.append(f"{key} is no object of wheelyard's")


def read_or_report(store: Store, key: Key, findings: Findings) -> Stored | WheelyardError | None:
    """Return an object, None if missing; if reading fails, add a problem and return the error."""
    try:
        found = store.get(key)
    except WheelyardError as error:
        findings.problems.append(
            f"{key} cannot be read: {error.message} If something else lies in its place, remove it"
        )
        return error
    return found if isinstance(found, Stored) else None


def repair(store: Store, key: Key, body: bytes, expect: ObjectVersion, findings: Findings) -> bool:
    """
    Write an object over the version `expect`; return whether that succeeded.

    A conflict is ignored, as another process was first; any other failure is added as a problem.
    """
    try:
        store.put(key, body, expect)
    except Conflict:
        return False
    except WheelyardError as fault:
        findings.problems.append(f"{key} could not be repaired: {fault.message}")
        return False
    return True
